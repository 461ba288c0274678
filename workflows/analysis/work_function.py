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

MIN_PLATEAU = 1.0  # shortest plateau from which a level and a slope are read (A)
MARGIN = 1e-6  # distance kept from mid-vacuum (A), well below any grid spacing


@dataclass(frozen=True)
class Plateau:
    """The vacuum level of one side."""

    # start, end: range averaged over (A along the normal); outside [0, height] where the vacuum crosses the
    # cell's boundary
    start: float
    end: float
    level: float  # mean of the potential (eV)
    slope: float  # of a straight line through it, along the upward normal (eV/A)
    spread: float  # largest minus smallest value (eV)


@dataclass(frozen=True)
class WorkFunction:
    """Work function of a slab; every value is None when `reason` gives why there is none."""

    work_function: float | None = None  # mean of both vacuum levels minus the Fermi energy (eV)
    sides: tuple[float, float] | None = None  # bottom and top side (eV)
    plateaus: tuple[Plateau, Plateau] | None = None  # bottom and top
    reason: str = ""  # one line; empty if there is a number

    @property
    def slopes(self) -> tuple[float, float] | None:
        """Slopes of the bottom and the top plateau (eV/A)."""
        return None if self.plateaus is None else (self.plateaus[0].slope, self.plateaus[1].slope)

    @property
    def spreads(self) -> tuple[float, float] | None:
        """Spreads of the bottom and the top plateau (eV)."""
        return None if self.plateaus is None else (self.plateaus[0].spread, self.plateaus[1].spread)

    def unevenness(self, max_slope: float, max_spread: float) -> list[str]:
        """Return a line for each plateau that is steeper (eV/A) or wider spread (eV) than allowed."""
        lines = []
        for side, plateau in zip(("bottom", "top"), self.plateaus or (), strict=False):
            if abs(plateau.slope) > max_slope:
                lines.append(f"{side} vacuum slopes by {plateau.slope:.4f} eV/A (limit {max_slope:g})")
            if plateau.spread > max_spread:
                lines.append(f"{side} vacuum spreads over {plateau.spread:.4f} eV (limit {max_spread:g})")
        return lines


def work_function(
    z: ArrayLike, potential: ArrayLike, heights: ArrayLike, fermi_energy: float, period: float
) -> WorkFunction:
    """Read the work function of both sides off the plateaus of the planar-averaged potential.

    The vacuum level of a side is the mean from `PLATEAU_START` beyond its outermost atom to mid-vacuum. The
    cell is periodic: the slab may lie anywhere in it, cut by the boundary or not, and so may the vacuum.
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

    gap = find_vacuum(heights, period)
    plateaus = []
    # The point at mid-vacuum belongs to neither side: a dipole correction puts its step there.
    for low, high in (
        (gap.middle - period + MARGIN, gap.bottom - PLATEAU_START),
        (gap.top + PLATEAU_START, gap.middle - MARGIN),
    ):
        # height of each point in the periodic image that lies in [low, low + period)
        image = low + np.mod(grid - low, period)
        inside = image <= high
        if high - low < MIN_PLATEAU or np.count_nonzero(inside) < 3:
            return WorkFunction(
                reason=f"vacuum of {gap.width:.1f} A leaves no plateau {PLATEAU_START:g} A beyond the "
                f"outermost atoms; at least {2 * (PLATEAU_START + MIN_PLATEAU):g} A and a grid finer than "
                f"{MIN_PLATEAU / 3:.1f} A are needed"
            )
        level = values[inside]
        slope = float(np.polyfit(image[inside] - image[inside].mean(), level, 1)[0])
        plateaus.append(Plateau(low, high, float(level.mean()), slope, float(np.ptp(level))))
    bottom, top = plateaus
    sides = (bottom.level - fermi_energy, top.level - fermi_energy)
    return WorkFunction((sides[0] + sides[1]) / 2, sides, (bottom, top))
