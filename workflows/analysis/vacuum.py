"""Where the slab ends and the vacuum begins along the normal of a periodic cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class VacuumGap:
    """The vacuum of a slab cell, found from its atoms.

    Attributes
    ----------
    bottom, top
        Heights of the lowest and the highest atom once the slab is made whole (A); `top` may lie above
        the cell's upper boundary when the slab wraps around it.
    width
        From the highest atom to the next image's lowest (A).
    heights
        Height of each atom in the whole slab (A), in the order given.
    """

    bottom: float
    top: float
    width: float
    heights: NDArray[np.float64]

    @property
    def middle(self) -> float:
        """Height of the middle of the vacuum above the slab (A)."""
        return self.top + self.width / 2


def find_vacuum(heights: ArrayLike, period: float) -> VacuumGap:
    """Find the vacuum as the widest gap between atoms along the normal and make the slab whole.

    Parameters
    ----------
    heights
        Position of each atom along the surface normal (A), in any periodic image.
    period
        Height of the cell along the normal (A).

    Returns
    -------
    VacuumGap
        The gap and every atom's height in one uninterrupted slab whose lowest atom is in the cell.

    Raises
    ------
    InputError
        If there is no atom or the period is not positive.
    """
    given = np.asarray(heights, dtype=float)
    if given.size == 0 or not period > 0:
        raise InputError(
            f"cannot locate the vacuum: {given.size} atoms in a cell of height {period} A; "
            "give the heights of all atoms and the cell's height along the normal"
        )
    inside = np.mod(given, period)
    inside[inside >= period] = 0.0  # np.mod of a tiny negative number rounds up to the period itself
    ordered = np.sort(inside)
    gaps = np.diff(ordered, append=ordered[0] + period)
    below = int(np.argmax(gaps))
    bottom = float(ordered[(below + 1) % len(ordered)])
    whole = np.where(inside < bottom, inside + period, inside)
    return VacuumGap(bottom=bottom, top=float(whole.max()), width=float(gaps[below]), heights=whole)
