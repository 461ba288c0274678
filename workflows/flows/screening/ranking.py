"""Screened compounds filtered, sorted and compared with their ranking before."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workflows.analysis.dissolution import dissolution

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stores.learning.screenings import ScreeningRecord

SMALL_DRIVE = 0.5  # difference to Mg below which a second phase drives little galvanic corrosion (V)

EMITTER = 2.7
"""Work function of LaB6, the common thermionic emitter (eV): Lafferty, J. Appl. Phys. 22, 299 (1951)."""

VISIBLE = 3.1  # photon energy at 400 nm (eV): a photocathode of a lower work function emits in visible light
NOBLE = 4.5  # work function above which a semiconductor makes a heterojunction with a noble metal (eV)


def _above_magnesium(record: ScreeningRecord) -> float | None:
    """Return the dissolution potential less that of Mg at the same concentration and temperature (V)."""
    concentration, temperature = (
        float(value) if isinstance(value := record.settings.get(name), int | float) else usual
        for name, usual in (("concentration", 1e-6), ("temperature", 298.15))
    )
    magnesium = dissolution({"Mg": 1}, 0.0, concentration=concentration, temperature=temperature).potential
    return None if record.potential is None or magnesium is None else record.potential - magnesium


def _drives_little(record: ScreeningRecord) -> bool:
    above = _above_magnesium(record)
    return bool(record.semiconductor) or (above is not None and -1e-3 <= above <= SMALL_DRIVE)


class Application(StrEnum):
    """What compounds are ranked for; criteria after Shi et al., J. Magnes. Alloys (2024), section 3.2."""

    CORROSION = "corrosion"
    EMITTER = "emitter"
    CATHODE = "cathode"
    PHOTOCATALYST = "photocatalyst"


class Sort(StrEnum):
    """Columns that a ranking can be sorted by."""

    FORMULA = "formula"
    POTENTIAL = "potential"
    WORK_FUNCTION = "work_function"
    SURFACE_ENERGY = "surface_energy"


CRITERIA: dict[Application, tuple[str, Sort, Callable[[ScreeningRecord], bool]]] = {
    Application.CORROSION: (
        f"dissolves at or up to {SMALL_DRIVE} V above Mg, or a semiconductor",
        Sort.POTENTIAL,
        _drives_little,
    ),
    Application.EMITTER: (
        f"metal with a work function of at most {EMITTER} eV, that of LaB6",
        Sort.WORK_FUNCTION,
        lambda r: not r.semiconductor and r.work_function is not None and r.work_function <= EMITTER,
    ),
    Application.CATHODE: (
        f"metal with a work function of at most {VISIBLE} eV, which emits in visible light",
        Sort.WORK_FUNCTION,
        lambda r: not r.semiconductor and r.work_function is not None and r.work_function <= VISIBLE,
    ),
    Application.PHOTOCATALYST: (
        f"semiconductor with a work function of at least {NOBLE} eV",
        Sort.WORK_FUNCTION,
        lambda r: bool(r.semiconductor) and r.work_function is not None and r.work_function >= NOBLE,
    ),
}
"""By application: the criterion in words, the column that the ranking is sorted by, and the criterion."""


@dataclass(frozen=True)
class Range:
    """Bounds of a value, both included; a value that is unknown lies in no range."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float | None) -> bool:
        """Whether a value lies within; True for any value without bounds."""
        if self.low is None and self.high is None:
            return True
        if value is None:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def rank(
    records: Sequence[ScreeningRecord],
    *,
    application: Application | None = None,
    potential: Range | None = None,
    work_function: Range | None = None,
    surface_energy: Range | None = None,
    sort: Sort | None = None,
    descending: bool = False,
) -> list[ScreeningRecord]:
    """Filter and sort screened compounds; those without the value they are sorted by come last.

    Parameters
    ----------
    records
        Screened compounds.
    application
        Keep those that meet its criterion, sorted by its column.
    potential, work_function, surface_energy
        V against SHE, eV and eV/A^2.
    sort, descending
        Another column, and its direction.
    """
    unbounded = Range()
    kept = [
        record
        for record in records
        if (potential or unbounded).holds(record.potential)
        and (work_function or unbounded).holds(record.work_function)
        and (surface_energy or unbounded).holds(record.surface_energy)
        and (application is None or CRITERIA[application][2](record))
    ]
    column = sort or (CRITERIA[application][1] if application else Sort.WORK_FUNCTION)
    if application is Application.PHOTOCATALYST and sort is None:
        descending = True
    known = [record for record in kept if getattr(record, column.value) is not None]
    known.sort(key=lambda record: getattr(record, column.value), reverse=descending)
    return known + [record for record in kept if getattr(record, column.value) is None]


def changes(records: Sequence[ScreeningRecord]) -> list[str]:
    """Return a line for each compound whose place by work function changed since the screening before."""
    known = [
        (value if record.past is None else record.past.work_function, value, record)
        for record in records
        if (value := record.work_function) is not None
    ]
    rated = [(old, new, record) for old, new, record in known if old is not None]
    before = [id(one[2]) for one in sorted(rated, key=lambda one: one[0])]
    lines = []
    for place, (old, new, record) in enumerate(sorted(rated, key=lambda one: one[1]), start=1):
        last = before.index(id(record)) + 1
        if last != place:
            models = f" ({record.past.model or 'DFT'} -> {record.model or 'DFT'})" if record.past else ""
            lines.append(
                f"{record.label}: place {last} -> {place} by work function, {old:.3f} -> {new:.3f} eV{models}"
            )
    return lines
