"""Work function from the plateaus of the planar-averaged potential on both sides of a slab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.vacuum import find_vacuum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PLATEAU_START = 5.0
"""Distance from the outermost atom at which the potential has reached its vacuum level (A): of Mg and
MgAg slabs it is 0.06 eV off at 3 A and 0.002 eV at 5 A."""

MIN_PLATEAU = 1.0
"""Shortest plateau on which a level and a slope mean something (A)."""


MARGIN = 1e-6
"""Distance kept from mid-vacuum (A), well below any grid spacing."""


@dataclass(frozen=True)
class Plateau:
    """The vacuum level of one side.

    Attributes
    ----------
    start, end
        Range averaged over (A along the normal); outside [0, height] where the vacuum crosses the
        cell's boundary.
    level
        Mean of the potential (eV).
    slope
        Of a straight line through it, along the upward normal (eV/A).
    spread
        Largest minus smallest value (eV).
    """

    start: float
    end: float
    level: float
    slope: float
    spread: float


@dataclass(frozen=True)
class WorkFunction:
    """Work function of a slab; every value is None when `reason` says why there is none.

    Attributes
    ----------
    work_function
        Mean of both vacuum levels minus the Fermi energy (eV).
    sides
        Bottom and top side (eV).
    dipole_step
        Vacuum level of the top side minus that of the bottom side (eV); 0 for a symmetric slab.
    plateaus
        Bottom and top.
    reason
        One line; empty if there is a number.
    """

    work_function: float | None = None
    sides: tuple[float, float] | None = None
    dipole_step: float | None = None
    plateaus: tuple[Plateau, Plateau] | None = None
    reason: str = ""

    @property
    def slopes(self) -> tuple[float, float] | None:
        """Slopes of the bottom and the top plateau (eV/A)."""
        return None if self.plateaus is None else (self.plateaus[0].slope, self.plateaus[1].slope)

    @property
    def spreads(self) -> tuple[float, float] | None:
        """Spreads of the bottom and the top plateau (eV)."""
        return None if self.plateaus is None else (self.plateaus[0].spread, self.plateaus[1].spread)

    def unevenness(self, max_slope: float = 0.01, max_spread: float = 0.02) -> list[str]:
        """Say, one line each, where a plateau is steeper (eV/A) or wider spread (eV) than allowed."""
        lines = []
        for side, plateau in zip(("bottom", "top"), self.plateaus or (), strict=False):
            if abs(plateau.slope) > max_slope:
                lines.append(f"{side} vacuum slopes by {plateau.slope:.4f} eV/A (limit {max_slope:g})")
            if plateau.spread > max_spread:
                lines.append(f"{side} vacuum spreads over {plateau.spread:.4f} eV (limit {max_spread:g})")
        return lines


def plateau_ranges(
    heights: ArrayLike, period: float, start: float = PLATEAU_START
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the vacuum level of the bottom and the top side is read (A along the normal).

    Each range goes from `start` beyond the outermost atom to mid-vacuum. The end lies before the
    beginning when the vacuum is thinner than twice `start`.
    """
    gap = find_vacuum(heights, period)
    return (gap.middle - period, gap.bottom - start), (gap.top + start, gap.middle)


def work_function(
    z: ArrayLike,
    potential: ArrayLike,
    heights: ArrayLike,
    fermi_energy: float,
    period: float,
    start: float = PLATEAU_START,
) -> WorkFunction:
    """Read the work function of both sides off the plateaus of the planar-averaged potential.

    The vacuum level of a side is the mean from `start` beyond its outermost atom to mid-vacuum. The cell
    is periodic: the slab may lie anywhere in it, cut by the boundary or not, and so may the vacuum.
    The maximum of the potential is never used: noise and a dipole step move it.

    Parameters
    ----------
    z
        Heights of the potential's points (A), shape (n,).
    potential
        Planar average of the electrostatic (Hartree + ionic, no XC) potential (eV), shape (n,).
    heights
        Position of each atom along the normal (A), same origin as `z`.
    fermi_energy
        On the scale of `potential` (eV).
    period
        Height of the cell along the normal (A).
    start
        Distance beyond the outermost atom where the plateau begins (A).

    Returns
    -------
    WorkFunction
        Values of both sides, or a reason when the vacuum is too thin for a plateau.

    Raises
    ------
    InputError
        If `z` and `potential` differ in length, hold no point or hold a value that is not finite.
    """
    grid, values = np.asarray(z, dtype=float), np.asarray(potential, dtype=float)
    if grid.shape != values.shape or grid.ndim != 1 or grid.size == 0:
        raise InputError(f"planar potential: {grid.shape} heights do not match {values.shape} values")
    if not (np.isfinite(values).all() and np.isfinite(grid).all() and np.isfinite(fermi_energy)):
        raise InputError("planar potential: a value is not finite; run the static calculation again")

    vacuum = find_vacuum(heights, period).width
    (bottom_low, bottom_high), (top_low, top_high) = plateau_ranges(heights, period, start)
    plateaus = []
    # The point at mid-vacuum belongs to neither side: a dipole correction puts its step there.
    for low, high in ((bottom_low + MARGIN, bottom_high), (top_low, top_high - MARGIN)):
        # height of each point in the periodic image that lies in [low, low + period)
        image = low + np.mod(grid - low, period)
        inside = image <= high
        if high - low < MIN_PLATEAU or np.count_nonzero(inside) < 3:
            return WorkFunction(
                reason=f"vacuum of {vacuum:.1f} A leaves no plateau {start:g} A beyond the outermost atoms; "
                f"at least {2 * (start + MIN_PLATEAU):g} A and a grid finer than {MIN_PLATEAU / 3:.1f} A "
                "are needed"
            )
        level = values[inside]
        slope = float(np.polyfit(image[inside] - image[inside].mean(), level, 1)[0])
        plateaus.append(Plateau(low, high, float(level.mean()), slope, float(np.ptp(level))))
    bottom, top = plateaus
    sides = (bottom.level - fermi_energy, top.level - fermi_energy)
    return WorkFunction(
        work_function=(sides[0] + sides[1]) / 2,
        sides=sides,
        dipole_step=top.level - bottom.level,
        plateaus=(bottom, top),
    )
