"""Imported slabs seen as surfaces: with the fields that both have, so that one filter finds either."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stores.backends.filters import checked, predicate
from stores.errors import InputError, first_problem
from stores.labelled import BULK, COLLECTION, COMPOSITION, LabelRecord
from stores.records import Verdict, Verdicts, VerdictStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stores.surfaces import SurfaceStore

UNITS = {"surface_energy": "eV/A^2", "work_function": "eV"}  # of the targets that surfaces have, too

_STORED = ("id", "chemsys", "method_fingerprint", "created_at", "source", "source_id")
"""Fields of imported slabs that they have as surfaces without a change, in columns of their own."""

WITHOUT_SURFACE = {BULK: "bulk crystal", COMPOSITION: "composition"}
"""Geometries of records that are no slabs, and their names."""
IS_SLAB = {"geometry": {"$nin": list(WITHOUT_SURFACE)}}
"""Filter that imported slabs pass, bulk crystals and compositions do not."""

UNKNOWN_TERMINATION = "?"
UNKNOWN_PLANE = (0, 0, 0)  # in place of the Miller index of a slab whose plane its source does not give


def as_surface(document: dict[str, Any]) -> dict[str, Any]:
    """Return an imported slab as stored with the fields of a surface added.

    ``formula`` is that of the crystal inside the slab; ``surface_energy`` (eV/A^2) and ``work_function`` (eV)
    are None where the source has none, or in another unit; ``verdicts`` are accepted, faulty where an audit
    excluded the value, and failed where there is none; ``miller_index`` is `UNKNOWN_PLANE` where the source
    gives none.
    """
    values, verdicts = {}, {}
    for target in UNITS:
        values[target], verdicts[target] = _value(document, target)
    return {
        **document,
        **values,
        "formula": document["compound"].partition(" ")[0],
        "verdicts": verdicts,
        "miller_index": document.get("miller_index") or list(UNKNOWN_PLANE),
        "termination": None,
        "termination_label": document.get("termination") or UNKNOWN_TERMINATION,
    }


def _value(document: dict[str, Any], target: str) -> tuple[float | None, dict[str, str]]:
    """Return the value of a target and its verdict."""
    value, unit = document["targets"].get(target), (document.get("units") or {}).get(target, UNITS[target])
    if value is None:
        return None, {"status": VerdictStatus.FAILED.value, "reason": "its source has no value"}
    if unit != UNITS[target]:
        return None, {
            "status": VerdictStatus.FAILED.value,
            "reason": f"in {unit}; import it again with --unit",
        }
    reason = (document.get("excluded") or {}).get(target)
    return value, {
        "status": VerdictStatus.FAULTY.value if reason else VerdictStatus.ACCEPTED.value,
        "reason": reason or "",
    }


def imported_surfaces(
    store: SurfaceStore, criteria: dict[str, Any], *, with_slabs: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the imported slabs that a MongoDB filter on surfaces passes, as `as_surface`.

    Bulk crystals and compositions, which are no surfaces, are left out. Fields that imported slabs
    do not have are missing there. `with_slabs` reads ``slab`` too, which is most of what is read.
    """
    passes = predicate(checked(criteria))
    fields = [name for name in LabelRecord.model_fields if with_slabs or name != "slab"]
    slabs = {"$and": [_narrowed(criteria), IS_SLAB]}
    for document in store.query(slabs, fields, collection=COLLECTION):
        surface = as_surface(document)
        if passes(surface):
            yield surface


def _narrowed(criteria: dict[str, Any]) -> dict[str, Any]:
    """Return a filter on imported slabs as stored that all which pass a filter on surfaces pass, too."""
    parts: list[dict[str, Any]] = []
    for part in criteria.get("$and", [criteria]):
        parts += [{name: condition} for name, condition in part.items() if name in _STORED]
        formula = part.get("formula")  # the slab has at least the elements of the crystal inside
        elements = re.findall("[A-Z][a-z]?", formula) if isinstance(formula, str) else []
        parts += [{"chemsys": {"$regex": f"(^|-){element}(-|$)"}} for element in elements]
    return {"$and": parts} if parts else {}


def imported_surface(store: SurfaceStore, label_id: str) -> ImportedSurface | None:
    """Return an imported slab by its id, None if not found; `InputError` if it is damaged or newer."""
    document = next(store.query({"id": label_id}, collection=COLLECTION, limit=1), None)
    if document is None:
        return None
    if noun := WITHOUT_SURFACE.get(document.get("geometry", "")):
        raise InputError(f"The record {label_id} in {store.uri} is a {noun}, no surface; name a slab")
    try:
        return ImportedSurface.of(LabelRecord.model_validate(document))
    except ValidationError as error:
        raise InputError(
            f"The imported slab {label_id} in {store.uri} cannot be read ({first_problem(error)}); import "
            "it again, or upgrade mgsurf if a newer one wrote it"
        ) from None


@dataclass(frozen=True)
class ImportedSurface:
    """An imported slab as the writers of `stores.export` take it; see `as_surface`."""

    label: LabelRecord
    id: str
    formula: str
    chemsys: str
    miller_index: tuple[int, int, int]
    termination_label: str
    surface_energy: float | None
    work_function: float | None
    verdicts: Verdicts
    n_atoms: int
    method_fingerprint: str
    created_at: datetime
    slab: dict[str, Any]
    relaxed_slab: dict[str, Any] | None
    source: str
    source_id: str
    termination: int | None = None
    surface_energy_x_rich: float | None = None
    surface_energy_slope: float | None = None
    work_function_sides: tuple[float, float] | None = None
    n_layers: int | None = None
    thickness: float | None = None
    area: float | None = None
    spacegroup_number: int | None = None
    campaign: str = ""
    bulk_id: str | None = None
    excess: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, label: LabelRecord) -> ImportedSurface:
        """Return an imported slab as a surface."""
        plain = as_surface(label.model_dump())
        verdicts = {target: Verdict(**verdict) for target, verdict in plain["verdicts"].items()}
        h, k, l_ = plain["miller_index"]
        return cls(
            label=label,
            **{
                name: plain[name]
                for name in (
                    "id", "formula", "chemsys", "termination_label", "surface_energy", "work_function",
                    "n_atoms", "method_fingerprint", "created_at", "slab", "source", "source_id",
                )
            },
            miller_index=(h, k, l_),
            verdicts=Verdicts(**verdicts),
            relaxed_slab=label.slab if label.geometry == "relaxed" else None,
        )  # fmt: skip

    def model_copy(self, *, update: dict[str, Any]) -> ImportedSurface:
        """Return a copy with other values, as pydantic's records do."""
        targets = {name: value for name, value in update.items() if name in UNITS}
        label = self.label.model_copy(update={"targets": {**self.label.targets, **targets}})
        return replace(self, label=label, **update)

    def model_dump_json(self) -> str:
        """Return the record of the imported slab as JSON."""
        return self.label.model_dump_json()
