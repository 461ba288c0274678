"""Surfaces as rows of a table: the columns of CSV files and data frames."""

from __future__ import annotations

from typing import Any, TypeVar

from stores.records import VerdictStatus

R = TypeVar("R")

# fields that mean nothing once the value they belong to is rejected
_OF_SURFACE_ENERGY = ("surface_energy", "surface_energy_x_rich", "surface_energy_slope")
_OF_WORK_FUNCTION = ("work_function", "work_function_sides")

CSV_COLUMNS = (
    "id", "formula", "chemsys", "h", "k", "l", "termination", "termination_label", "surface_energy",
    "surface_energy_x_rich", "work_function", "surface_energy_verdict", "work_function_verdict", "n_atoms",
    "n_layers", "thickness", "area", "spacegroup_number", "method_fingerprint", "campaign", "bulk_id",
    "created_at", "source", "source_id",
)  # fmt: skip


def labelled(record: R, *, include_rejected: bool) -> R:
    """Return the record with the values that its verdicts reject taken out, unless they are wanted.

    Parameters
    ----------
    record
        A `SurfaceRecord` or an imported slab seen as one (`stores.imported.ImportedSurface`).
    include_rejected
        Leave all values.
    """
    if include_rejected:
        return record
    plain: Any = record
    verdicts = plain.verdicts
    emptied: dict[str, None] = {}
    if verdicts.surface_energy.status is not VerdictStatus.ACCEPTED:
        emptied |= dict.fromkeys(_OF_SURFACE_ENERGY)
    if verdicts.work_function.status is not VerdictStatus.ACCEPTED:
        emptied |= dict.fromkeys(_OF_WORK_FUNCTION)
    emptied_record: R = plain.model_copy(update=emptied)
    return emptied_record


def table_row(record: Any) -> dict[str, Any]:
    """Return a record by `CSV_COLUMNS`."""
    special = dict(zip("hkl", record.miller_index, strict=True)) | {
        "surface_energy_verdict": record.verdicts.surface_energy.status.value,
        "work_function_verdict": record.verdicts.work_function.status.value,
        "created_at": record.created_at.isoformat(),
        # of imported slabs
        "source": getattr(record, "source", ""),
        "source_id": getattr(record, "source_id", ""),
    }
    return {name: special[name] if name in special else getattr(record, name) for name in CSV_COLUMNS}
