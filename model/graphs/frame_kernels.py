"""Slabs in their own frames, many in one go, compiled by Numba.

The numbers are those of `model.graphs.slab_frame.frame_of`, where they are described: in double precision,
sums in their order. A cell without one clear vacuum across c is left to it; it also words the errors. The
functions hold no lock of the interpreter, so that threads run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.network.compiled import exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_MOST_PLANES = 20_000  # lattice planes that may bound a vacuum


@exact
def _dot(a: Floats, b: Floats) -> float:
    total: float = a[0] * b[0]
    for i in range(1, len(a)):
        total += a[i] * b[i]
    return total


@exact
def _widest_gap(fractional: Floats, h: int, k: int, l: int, step: int, room: Floats) -> tuple[float, int]:
    """Widest gap between planes of atoms in units of the spacing, and how many atoms were looked at."""
    n = 0
    for i in range(0, len(fractional), step):
        room[n] = (fractional[i, 0] * h + fractional[i, 1] * k + fractional[i, 2] * l) % 1.0
        n += 1
    heights = room[:n]
    heights.sort()
    widest = heights[0] + 1.0 - heights[n - 1]
    for i in range(1, n):
        widest = max(widest, heights[i] - heights[i - 1])
    return widest, n


@exact
def _common_divisor(a: int, b: int) -> int:
    a, b = abs(a), abs(b)
    while b:
        a, b = b, a % b
    return a


@exact
def _has_one_vacuum(lattice: Floats, inverse: Floats, fractional: Floats, least: float, few: int) -> bool:
    """Whether one vacuum, across the planes of a and b, is all that `vacuum_directions` finds."""
    reach = np.empty(3, np.int64)
    for i in range(3):
        reach[i] = int(np.sqrt(_dot(lattice[i], lattice[i])) / least)
    if (2 * reach[0] + 1) * (2 * reach[1] + 1) * (2 * reach[2] + 1) > _MOST_PLANES or reach[2] < 1:
        return False
    room = np.empty(len(fractional))
    step = -(-len(fractional) // few)
    across = False
    for h in range(reach[0] + 1):
        for k in range(-reach[1] if h else 0, reach[1] + 1):
            for l in range(-reach[2] if h or k else 1, reach[2] + 1):
                squared = 0.0
                for i in range(3):
                    squared += (inverse[i, 0] * h + inverse[i, 1] * k + inverse[i, 2] * l) ** 2
                length = np.sqrt(squared)
                if length > 1 / least or _common_divisor(_common_divisor(h, k), l) != 1:
                    continue
                if _widest_gap(fractional, h, k, l, step, room)[0] / length < least:
                    continue
                if h == 0 and k == 0 and l == 1:
                    _, n = _widest_gap(fractional, h, k, l, 1, room)
                    wide = int((room[0] + 1.0 - room[n - 1]) / length >= least)
                    for i in range(1, n):
                        wide += int((room[i] - room[i - 1]) / length >= least)
                    if wide > 1:
                        return False
                    across = wide == 1
                elif _widest_gap(fractional, h, k, l, 1, room)[0] / length >= least:
                    return False
    return across


@exact
def _reduce(cell: Floats) -> None:
    """Replace two vectors of a plane lattice by the shortest two (Gauss), the shorter first."""
    a, b, c, d = cell[0, 0], cell[0, 1], cell[1, 0], cell[1, 1]
    if c * c + d * d < a * a + b * b:
        a, b, c, d = c, d, a, b
    while True:
        times = np.round((a * c + b * d) / (a * a + b * b))
        c, d = c - times * a, d - times * b
        if c * c + d * d >= (a * a + b * b) * (1 - 1e-9):
            break
        a, b, c, d = c, d, a, b
    cell[0, 0], cell[0, 1], cell[1, 0], cell[1, 1] = a, b, c, d


@exact
def _frame(
    lattice: Floats, fractional: Floats, cell: Floats, plane: Floats, heights: Floats
) -> tuple[float, float]:
    """Fill the frame of a slab; return its thickness and vacuum (A)."""
    a, b, c = lattice[0], lattice[1], lattice[2]
    normal = np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    area = np.sqrt(_dot(normal, normal))
    height = abs(_dot(c, normal)) / area
    n = len(fractional)
    for i in range(n):
        lifted = fractional[i, 2] % 1.0
        heights[i] = 0.0 if lifted >= 1.0 else lifted
    ordered = np.sort(heights)
    widest, bottom = ordered[0] + 1.0 - ordered[n - 1], ordered[0]
    for i in range(n - 1, 0, -1):  # of equal gaps the lowest counts
        if ordered[i] - ordered[i - 1] >= widest:
            widest, bottom = ordered[i] - ordered[i - 1], ordered[i]
    axis = a / np.sqrt(_dot(a, a))
    unit = normal / area
    other = np.array(
        [
            unit[1] * axis[2] - unit[2] * axis[1],
            unit[2] * axis[0] - unit[0] * axis[2],
            unit[0] * axis[1] - unit[1] * axis[0],
        ]
    )
    for i in range(2):
        cell[i, 0], cell[i, 1] = _dot(lattice[i], axis), _dot(lattice[i], other)
    _reduce(cell)
    determinant = cell[0, 0] * cell[1, 1] - cell[0, 1] * cell[1, 0]
    place = np.empty(3)
    top = 0.0
    for i in range(n):
        lifted = heights[i] + 1.0 - bottom if heights[i] < bottom else heights[i] - bottom
        heights[i] = lifted * height
        top = max(top, heights[i])
        for k in range(3):
            place[k] = fractional[i, 0] * a[k] + fractional[i, 1] * b[k] + lifted * c[k]
        x, y = _dot(place, axis), _dot(place, other)
        u = (x * cell[1, 1] - y * cell[1, 0]) / determinant
        v = (y * cell[0, 0] - x * cell[0, 1]) / determinant
        plane[i, 0], plane[i, 1] = u - np.floor(u), v - np.floor(v)
    return top, widest * height


def frames(
    lattice: Floats,
    inverse: Floats,
    fractional: Floats,
    first: Integers,
    least: float,
    few: int,
    cell: Floats,
    plane: Floats,
    heights: Floats,
    sizes: Floats,
    usual: NDArray[np.bool_],
) -> None:
    """Find n slabs in their cells, see `model.graphs.slab_frame.frame_of`.

    lattice and inverse: [n, 3, 3]; fractional [N, 3] of all slabs, whose atoms are `first[i]:first[i + 1]`;
    least: vacuum (A); few: atoms that rule planes out. Filled: cell [n, 2, 2], plane [N, 2], heights [N],
    sizes [n, 2] (thickness and vacuum, A) and whether a slab is a usual one [n]; of others all else is void.
    """
    for s in range(len(lattice)):
        atoms = slice(first[s], first[s + 1])
        usual[s] = _has_one_vacuum(lattice[s], inverse[s], fractional[atoms], least, few)
        if usual[s]:
            sizes[s] = _frame(lattice[s], fractional[atoms], cell[s], plane[atoms], heights[atoms])
