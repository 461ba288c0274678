"""Options that select stored surfaces, and the Mongo filter they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from stores.errors import InputError
from stores.input_files import load_json
from workflows.cli.options import FILTERS, OUTPUT, short_number
from workflows.report.tables import EV_PER_A2_IN_J_PER_M2

TARGETS = ("surface_energy", "work_function")

# Those of stores.records.VerdictStatus and SurfaceRecord, which would cost the import of pydantic (0.2 s).
STATUSES = (
    "accepted",
    "unconverged",
    "negative",
    "reconstructed",
    "vacuum_not_flat",
    "asymmetric",
    "inconsistent_settings",
    "faulty",
    "failed",
)
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


LARGEST_LIMIT = 10**9
"""Databases take no larger limit."""


class EnergyUnit(StrEnum):
    """Unit of surface energies on the command line."""

    EV_PER_A2 = "eV/A2"
    J_PER_M2 = "J/m2"


def _databases_can_count(value: int | None) -> int | None:
    """Refuse a limit that a database cannot take; as a range of the option it would fill the help text."""
    if value is not None and value > LARGEST_LIMIT:
        raise typer.BadParameter(f"{value} is above the largest limit, {LARGEST_LIMIT}")
    return value


def _filter(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=FILTERS, **settings)


@dataclass(frozen=True)
class SurfaceFilter:
    """Filters of `mgsurf query`, `export` and `plot`.

    Surface energies are in `unit` (``eV/A2`` or ``J/m2``), work functions in eV. With `labels` imported slabs
    count as well.
    """

    chemsys: Annotated[str | None, _filter(help="Chemical system, elements in any order: Mg-Ag.")] = None
    formula: Annotated[str | None, _filter(callback=short_number, help="Formula: MgAg, Mg2Ni.")] = None
    element: Annotated[list[str] | None, _filter(help="Holds this element (may be repeated).")] = None
    miller: Annotated[
        str | None,
        _filter(metavar="HKL", callback=short_number, help="Plane: 110, 10-1, '1 0 -1', '(10-10)'."),
    ] = None
    termination: Annotated[str | None, _filter(help="Number or label of the termination: 0, Ag.")] = None
    min_surface_energy: Annotated[float | None, _filter(metavar="X", help="In --unit.")] = None
    max_surface_energy: Annotated[float | None, _filter(metavar="X", help="In --unit.")] = None
    unit: Annotated[EnergyUnit, _filter(help="Unit of the two options above.")] = EnergyUnit.EV_PER_A2
    min_work_function: Annotated[float | None, _filter(metavar="EV", help="In eV.")] = None
    max_work_function: Annotated[float | None, _filter(metavar="EV", help="In eV.")] = None
    verdict: Annotated[
        list[str] | None,
        _filter(
            metavar="[TARGET=]STATUS",
            help="accepted (both targets), or surface_energy=accepted, work_function=vacuum_not_flat, ... "
            "(may be repeated).",
        ),
    ] = None
    method: Annotated[str | None, _filter(help="Method fingerprint or its beginning: gpaw-demo.")] = None
    campaign: Annotated[str | None, _filter(metavar="NAME", help="Name of the campaign.")] = None
    since: Annotated[str | None, _filter(metavar="WHEN", help="Written since: 2026-01-31, 12h, 7d.")] = None
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="surface_energy, work_function, formula, ... ; -FIELD for descending. Records without the "
            "field come last.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=_databases_can_count,
            metavar="N",
            help="At most N records.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    raw: Annotated[
        str | None, _filter("--filter", metavar="JSON", help="Raw Mongo filter, joined to the others by AND.")
    ] = None
    labels: Annotated[bool, _filter("--labels", help="Also slabs brought in by mgsurf import.")] = False

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
    if not re.fullmatch(rf"({_MAX_ELEMENT}\d*)+", text):
        raise InputError(f"--formula: {text!r} is no formula; write it like MgAg or Mg17Al12")
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
