"""Which of several equally standard settings names the facets of a crystal.

Where the lattice has more rotations than the crystal (Laue classes 4/m, -3, -3m on a hexagonal lattice, 6/m
and m-3), turning the axes by one of them gives another standard setting in which (101) and (011), or (210)
and (120), have swapped their names. Which setting a standardisation returns then depends on how the input
was written. As in the indexing of twins by merohedry, the reflections decide: the setting is taken in which
the facet that is named first has the weaker structure factor. That is how the La2O3 type is described
(Mg3Sb2: origin on the octahedral Mg, Sb at 1/3, 2/3, 0.23, strongest line 011), so (101) and (10-1) of such
compounds keep their usual names.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TWO_ALONG_A = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
TWO_ALONG_C = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
TWO_ALONG_AB = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
FOUR_ALONG_C = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]

PA3 = 205
"""The only group concerned whose standard setting is unique: turned by 90 degrees it would be Pb-3."""

REFLECTIONS = np.array(
    sorted(
        (h for h in product(range(-3, 4), repeat=3) if any(h)),
        key=lambda h: (max(map(abs, h)), sum(map(abs, h)), sum(i < 0 for i in h), tuple(-i for i in h)),
    )
)
"""Small indices first, few minus signs first: the order in which facets are named."""

TIE = 1e-9
"""Relative difference below which two settings are the same; rounding is far smaller."""


def axis_rotations(spacegroup_number: int, symbol: str) -> list[NDArray[np.int64]]:
    """Return the rotations between the standard settings of a space group, besides the identity.

    Rotations that belong to the Laue class do no harm, as they rename nothing; other than these, the list is
    complete for every space group on a lattice without accidental symmetry (checked against the Euclidean
    normalisers, International Tables A, 3.5.2).

    Parameters
    ----------
    spacegroup_number
        International number.
    symbol
        Hermann-Mauguin symbol, for the centring.

    Returns
    -------
    list of arrays of shape (3, 3)
        ``x -> Q x`` in fractional coordinates of the conventional cell.
    """
    if 75 <= spacegroup_number <= 88:
        names = [TWO_ALONG_A]
    elif spacegroup_number in (146, 148):
        names = [TWO_ALONG_AB]
    elif 143 <= spacegroup_number <= 165 and symbol[0] == "P":
        names = [TWO_ALONG_C, TWO_ALONG_AB, (np.array(TWO_ALONG_C) @ TWO_ALONG_AB).tolist()]
    elif 168 <= spacegroup_number <= 176:
        names = [TWO_ALONG_AB]
    elif 195 <= spacegroup_number <= 206 and spacegroup_number != PA3:
        names = [FOUR_ALONG_C]
    else:
        names = []
    return [np.array(q, dtype=np.int64) for q in names]


def preferred_rotation(
    positions: NDArray[np.float64], atomic_numbers: NDArray[np.int64], rotations: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Return the rotation of the axes after which the reflections named first are the weakest.

    Compares ``sum_i |F(h_i)|^2 / i`` over the reflections in the order of `REFLECTIONS`, with the structure
    factor ``F(h) = sum_j Z_j exp(2 pi i h.x_j)``: independent of the origin, and equal for h and -h.

    Parameters
    ----------
    positions
        Fractional coordinates, shape (n, 3).
    atomic_numbers
        Z of each atom, shape (n,).
    rotations
        Candidates besides the identity, from `axis_rotations`.
    """
    best: NDArray[np.int64] = np.eye(3, dtype=np.int64)
    if not rotations:
        return best
    weights = 1.0 / np.arange(1, len(REFLECTIONS) + 1)

    def strength(rotation: NDArray[np.int64]) -> float:
        phases = np.exp(2j * np.pi * (REFLECTIONS @ rotation) @ positions.T)
        return float(weights @ np.abs(phases @ atomic_numbers) ** 2)

    weakest = strength(best)
    for rotation in rotations:
        s = strength(rotation)
        if s < weakest * (1 - TIE):
            best, weakest = rotation, s
    return best
