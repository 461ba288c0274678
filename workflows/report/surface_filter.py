"""Filters of stored surfaces: their texts, the Mongo filter they make, and the surfaces that pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, pluralize
from stores.input_files import load_json
from stores.verdicts import STATUSES, TARGETS
from workflows.report.tables import EV_PER_A2_IN_J_PER_M2

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

SORTABLE = (
    "surface_energy",
    "surface_energy_x_rich",
    "work_function",
    "formula",
    "chemsys",
    "miller_index",
    "termination",
    "formation_energy",
    "thickness",
    "area",
    "n_atoms",
    "n_layers",
    "campaign",
    "created_at",
)

_MAX_ELEMENT = r"[A-Z][a-z]?"
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class EnergyUnit(StrEnum):
    """Unit of the bounds of surface energies."""

    EV_PER_A2 = "eV/A2"
    J_PER_M2 = "J/m2"


@dataclass(frozen=True)
class SurfaceFilter:
    """Filters of `mgsurf query`, `export` and `plot`, and of the pages of `mgsurf serve`.

    Surface energies are in `unit` (``eV/A2`` or ``J/m2``), work functions in eV. With `labels` imported slabs
    count as well. `raw` is a Mongo filter as JSON. Each field is described at its option
    (`workflows.cli.filters`).
    """

    chemsys: str | None = None
    formula: str | None = None
    element: list[str] | None = None
    miller: str | None = None
    termination: str | None = None
    min_surface_energy: float | None = None
    max_surface_energy: float | None = None
    unit: EnergyUnit = EnergyUnit.EV_PER_A2
    min_work_function: float | None = None
    max_work_function: float | None = None
    verdict: list[str] | None = None
    method: str | None = None
    campaign: str | None = None
    since: str | None = None
    sort: str | None = None
    limit: int | None = None
    raw: str | None = None
    labels: bool = False

    def criteria(self) -> dict[str, Any]:
        """Return the Mongo filter; an InputError if an option cannot be read."""
        try:
            parts = [part for _, part in self._parts()]
        except (ValueError, OverflowError, RecursionError, TypeError, UnicodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"A filter cannot be read ({reason}); correct its text or its number") from None
        if len(parts) == 1:
            return parts[0]
        return {"$and": parts} if parts else {}

    def describe(self) -> list[str]:
        """Describe each filter in words."""
        return [words for words, _ in self._parts()]

    def sort_field(self) -> tuple[str, bool] | None:
        """Return (field, descending), None without --sort; an InputError if the field is not sortable."""
        if self.sort is None:
            return None
        field, descending = self.sort.removeprefix("-"), self.sort.startswith("-")
        if field not in SORTABLE:
            raise InputError(f"--sort: {field!r} cannot be sorted by{_nearest(field, SORTABLE)}")
        return field, descending

    def _parts(self) -> list[tuple[str, dict[str, Any]]]:
        parts: list[tuple[str, dict[str, Any]]] = []
        if self.chemsys is not None:
            system = parse_chemsys(self.chemsys)
            parts.append((f"chemical system {system}", {"chemsys": system}))
        if self.formula is not None:
            formula = parse_formula(self.formula)
            parts.append((f"formula {formula}", {"formula": formula}))
        for element in self.element or ():
            symbol = _symbol(element, "--element")
            parts.append((f"with {symbol}", {"chemsys": {"$regex": f"(^|-){symbol}(-|$)"}}))
        if self.miller is not None:
            parts.append(self._plane(self.miller))
        if self.termination is not None:
            parts.append(_termination(self.termination))
        parts += self._ranges()
        parts += [_verdict(text) for text in self.verdict or ()]
        if self.method is not None:
            condition: Any = {"$regex": f"^{re.escape(self.method)}"}
            parts.append((f"method {self.method}*", {"method_fingerprint": condition}))
        if self.campaign is not None:
            parts.append((f"campaign {self.campaign}", {"campaign": self.campaign}))
        if self.since is not None:
            moment = parse_moment(self.since)
            # without the trailing Z a bound sorts before every later time of the same second
            text = moment.strftime("%Y-%m-%dT%H:%M:%S")
            parts.append((f"since {text} UTC", {"created_at": {"$gte": text}}))
        if self.raw is not None:
            parts.append((f"filter {self.raw}", parse_raw(self.raw)))
        return parts

    @staticmethod
    def _plane(text: str) -> tuple[str, dict[str, Any]]:
        from workflows.structures.naming import (
            FIRST_TRIGONAL,
            LAST_HEXAGONAL,
            FourIndex,
            format_miller,
            parse_miller,
        )

        try:
            plane = parse_miller(text)
        except InputError as error:
            raise InputError(f"--miller: {error}") from None
        # which of the planes that symmetry makes equal is stored as miller_index is a convention
        h, k, l_ = plane
        either = [[h, k, l_], [-h, -k, -l_]]
        condition: dict[str, Any] = {
            "$or": [{"miller_index": {"$in": either}}, {"equivalent_planes": [h, k, l_]}]
        }
        if not isinstance(plane, FourIndex):
            return f"plane {format_miller(plane)}", condition
        condition["spacegroup_number"] = {"$gte": FIRST_TRIGONAL, "$lte": LAST_HEXAGONAL}
        indices = format_miller((h, k, -(h + k), l_))
        return f"plane {indices} of a hexagonal or trigonal crystal", condition

    def _ranges(self) -> list[tuple[str, dict[str, Any]]]:
        factor = EV_PER_A2_IN_J_PER_M2 if self.unit == "J/m2" else 1.0
        found: list[tuple[str, dict[str, Any]]] = []
        for field, low, high, scale, unit in (
            ("surface_energy", self.min_surface_energy, self.max_surface_energy, factor, self.unit),
            ("work_function", self.min_work_function, self.max_work_function, 1.0, "eV"),
        ):
            name = field.replace("_", " ")
            if low is not None and high is not None and low > high:
                option = field.replace("_", "-")
                raise InputError(f"--min-{option} {low:g} is above --max-{option} {high:g}; swap them")
            if low is not None:
                found.append((f"{name} at least {low:g} {unit}", {field: {"$gte": low / scale}}))
            if high is not None:
                found.append((f"{name} at most {high:g} {unit}", {field: {"$lte": high / scale}}))
        return found


def _nearest(word: str, allowed: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, allowed, n=1)
    return f"{f'; did you mean {near[0]!r}?' if near else ';'} known are {', '.join(allowed)}"


def _symbol(text: str, option: str) -> str:
    symbol = text.strip().capitalize()
    if not re.fullmatch(_MAX_ELEMENT, symbol):
        raise InputError(f"{option}: {text!r} is no element symbol; write it like Mg or Ag")
    return symbol


def parse_chemsys(text: str) -> str:
    """Return a chemical system as it is stored, ``Ag-Mg``, from elements in any order.

    They may be joined by hyphens, commas or spaces.
    """
    words = [word for word in re.split(r"[-,\s]+", text) if word]
    if not words:
        raise InputError("--chemsys: is empty; write elements joined by hyphens, e.g. Mg-Ag")
    return "-".join(sorted({_symbol(word, "--chemsys") for word in words}))


def parse_formula(text: str) -> str:
    """Return a formula such as ``AgMg``, ``Mg34Al24`` or ``NiAl`` as it is stored: reduced, Mg first."""
    text = text.strip()
    if not re.fullmatch(rf"({_MAX_ELEMENT}\d{{0,9}})+", text):
        raise InputError(f"--formula: {text[:60]!r} is no formula; write it like MgAg or Mg17Al12")
    amounts: dict[str, float] = {}
    for symbol, count in re.findall(rf"({_MAX_ELEMENT})(\d*)", text):
        amounts[symbol] = amounts.get(symbol, 0.0) + float(count or 1)
    if text in amounts:  # a symbol alone, without waiting for pymatgen
        return text
    from workflows.structures.naming import mg_first_formula

    return mg_first_formula(amounts)


def parse_moment(text: str) -> datetime:
    """Return a point in time in UTC.

    The text is ISO 8601 (``2026-01-31``, ``2026-01-31T12:00``; local time unless a zone is given) or a span
    before now: ``30m``, ``12h``, ``7d``, ``2w``.
    """
    span = re.fullmatch(r"(\d+)\s*([mhdw])", text.strip())
    try:
        if span:
            return datetime.now(UTC) - timedelta(**{_SPANS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"--since: {text!r} cannot be read; write a date such as 2026-01-31 or a span such as 12h or 7d"
        ) from None


def parse_raw(text: str) -> dict[str, Any]:
    """Read a raw Mongo filter; an InputError if it is no JSON object or its numbers or brackets never end."""
    from json import JSONDecodeError

    try:
        criteria = load_json(text, parse_int=_whole_number)
    except JSONDecodeError as error:
        raise InputError(
            f"--filter: not valid JSON at character {error.colno}: {error.msg}; write for example "
            """'{"surface_energy": {"$lt": 0.05}}'"""
        ) from None
    except ValueError as error:  # a number of thousands of digits; brackets without end
        reason = " ".join(str(error).split(";")[0].split())
        raise InputError(f"--filter: cannot be read ({reason}); write it shorter") from None
    if not isinstance(criteria, dict):
        raise InputError("""--filter: must be a JSON object, e.g. '{"surface_energy": {"$lt": 0.05}}'""")
    return criteria


def _whole_number(digits: str) -> int:
    # stores keep 64 bits
    if len(digits) > 19 or not -(2**63) <= int(digits) < 2**63:
        raise InputError(f"--filter: {digits[:30]} is too large a number; write one below 9.2e18")
    return int(digits)


def _termination(text: str) -> tuple[str, dict[str, Any]]:
    text = text.strip()
    if re.fullmatch(r"\d{7,}", text):
        raise InputError(f"--termination: {text[:30]} is beyond every number of a termination; count from 0")
    if text.isdecimal():
        return f"termination number {text}", {"termination": int(text)}
    return f"termination {text}", {"termination_label": text}


def _verdict(text: str) -> tuple[str, dict[str, Any]]:
    target, _, status = text.rpartition("=")
    target, status = target.strip().replace("-", "_"), status.strip().replace("-", "_")
    if status not in STATUSES:
        raise InputError(f"--verdict: {status!r} is not known{_nearest(status, STATUSES)}")
    if target and target not in TARGETS:
        raise InputError(f"--verdict: {target!r} is no target; known are {' and '.join(TARGETS)}")
    conditions = [{f"verdicts.{name}.status": status} for name in ([target] if target else TARGETS)]
    if target:
        return f"{target} {status}", conditions[0]
    if status == "accepted":
        return "both verdicts accepted", {"$and": conditions}
    return f"a verdict {status}", {"$or": conditions}


def select(
    store: SurfaceStore, filters: SurfaceFilter, properties: Sequence[str] | None = None, skip: int = 0
) -> list[dict[str, Any]]:
    """Return the surfaces that pass the filters, after the first `skip` of them.

    At most `filters.limit` are returned; records without the field they are sorted by come last.
    """
    criteria, order, limit = filters.criteria(), filters.sort_field(), filters.limit or 0
    if filters.labels:
        from stores.imported import imported_surfaces

        field, descending = order or ("formula", False)
        found = list(store.query(criteria, properties and [*properties, field]))
        found += imported_surfaces(store, criteria, with_slabs="slab" in (properties or ["slab"]))
        return _sorted(found, field, descending)[skip : skip + limit if limit else None]
    if order is None:
        return list(store.query(criteria, properties, sort={"formula": 1}, skip=skip, limit=limit))
    field, descending = order
    present = {"$and": [criteria, {field: {"$ne": None}}]}
    direction = {field: -1 if descending else 1}
    found = list(store.query(present, properties, sort=direction, skip=skip, limit=limit))
    if not limit or len(found) < limit:
        missing = {"$and": [criteria, {field: None}]}
        there = store.count(present) if limit or skip else 0  # damaged ones, which are not found, included
        left = skip + limit - max(there, skip)
        if not limit or left > 0:
            found += store.query(missing, properties, skip=max(skip - there, 0), limit=left if limit else 0)
    return found


def count_selected(store: SurfaceStore, filters: SurfaceFilter) -> int:
    """Return how many surfaces pass the filters, their limit aside."""
    if not filters.labels:
        return store.count(filters.criteria())
    return len(select(store, replace(filters, limit=None), ["id"]))


def _sorted(found: list[dict[str, Any]], field: str, descending: bool) -> list[dict[str, Any]]:
    """Sort surfaces by a field; those without it come last."""
    known = [surface for surface in found if surface.get(field) is not None]
    known.sort(key=lambda surface: surface[field], reverse=descending)
    return known + [surface for surface in found if surface.get(field) is None]


def explain_empty(store: SurfaceStore, filters: SurfaceFilter) -> str:
    """Report in one line which filters match nothing, and what the store holds instead."""
    from stores.imported import IS_SLAB
    from stores.labelled import BULK, COMPOSITION

    total, n_imported = store.count(), store.count(IS_SLAB, "labels")
    applied = ", ".join(filters.describe())
    if filters.labels and n_imported:
        holds = f"{pluralize(total, 'computed surface')} and {pluralize(n_imported, 'imported slab')}"
        unknown = (
            store.count({"miller_index": None, **IS_SLAB}, "labels") if filters.miller is not None else 0
        )
        planes = f", of {unknown} of which no plane is known" if unknown else ""
        return f"no surface matches {applied}; the store {store.uri} holds {holds}{planes}"
    imported = ""
    if n_imported:
        from stores.imported import imported_surfaces

        if number := sum(1 for _ in imported_surfaces(store, filters.criteria())):
            imported = f"; {pluralize(number, 'imported slab')} found with --labels"
    if crystals := store.count({"geometry": BULK}, "labels"):
        imported += f"; {pluralize(crystals, 'bulk crystal')} for mgsurf train"
    if compositions := store.count({"geometry": COMPOSITION}, "labels"):
        imported += f"; {pluralize(compositions, 'composition')} for mgsurf train"
    if total == 0:
        computes = "" if imported else "; mgsurf run CAMPAIGN.yaml computes some"
        return f"the store {store.uri} holds no computed surfaces yet{computes}{imported}"
    formulas = store.distinct("formula")
    named = ", ".join(formulas[:8]) + (f" and {len(formulas) - 8} more" if len(formulas) > 8 else "")
    holds = f"the store {store.uri} holds {pluralize(total, 'surface')} of {named}"
    return f"no surface matches {applied}; {holds}{imported}"
