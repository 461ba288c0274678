"""One finding of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from model.data.label_units import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.audit.bulk_offset import Offset
    from model.audit.slabs import AuditSlabs

CHECKS = ("range", "bulk-energy", "outlier", "duplicates", "order")
FAULTY, SUSPECT = "faulty", "suspect"

_PLAIN = ("compound", "formula", "check", "level", "target", "size", "compared", "reason", "method")


@dataclass(frozen=True, eq=False)
class Finding:
    """Labels of one compound that one check finds fault with.

    Attributes
    ----------
    compound, formula
        Key and formula.
    check
        One of `CHECKS`.
    level
        `FAULTY` or `SUSPECT`.
    target
        Whose labels.
    size
        How far they are off, in the target's unit.
    records
        Ids of the records.
    compared
        Facets that the check looked at.
    reason
        One line.
    method
        Fingerprint of the labels.
    offset
        Of the check ``bulk-energy``.
    points
        Of the same check: formula units per area (1/A^2) and shift of each facet (eV/A^2).
    """

    compound: str
    formula: str
    check: str
    level: str
    target: str
    size: float
    records: tuple[str, ...]
    compared: int
    reason: str
    method: str
    offset: Offset | None = None
    points: tuple[tuple[float, float], ...] = ()

    @classmethod
    def on(
        cls,
        slabs: AuditSlabs,
        compound: str,
        kind: tuple[str, str, str],
        size: float,
        numbers: Iterable[int],
        compared: int,
        reason: str,
        **of_offset: Any,
    ) -> Self:
        """Make a finding on slabs of one compound.

        Parameters
        ----------
        slabs
            All slabs of the method.
        compound
            Its key.
        kind
            Check, level and target.
        numbers
            Of the slabs that it is on.
        size, compared, reason, of_offset
            See the attributes.
        """
        records = tuple(slabs.entries[i].record_id for i in numbers)
        formula = slabs.compounds[compound].formula
        return cls(compound, formula, *kind, size, records, compared, reason, slabs.method, **of_offset)

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {name: getattr(self, name) for name in _PLAIN}
        values["unit"] = UNITS[self.target]
        values["records"] = list(self.records)
        if self.offset is not None:
            values["bulk_energy_error"] = self.offset.energy
            values["work_function_shift"] = self.offset.work_function
        return values
