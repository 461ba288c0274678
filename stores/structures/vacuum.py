"""Where a cell is empty: bulk crystals have no vacuum, a slab one gap of it, wires and molecules several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core.structure import Structure

MIN_VACUUM = 6.0
"""Distance between neighbouring planes of atoms (A) from which the space between them is vacuum. In crystals
the widest gaps are those of bcc Cs (4.3 A) and of layers that PBE binds too weakly (HfNI: 5.2 A)."""

_LEAST = MIN_VACUUM - 1e-3  # a vacuum of 6 A in a file with rounded coordinates is one
_MOST_PLANES = 2_000_000  # a cell with more is larger than any that is computed
_FEW = 24  # atoms
_ONE_LAYER = 0.1  # A; atoms closer than this along the normal are one layer


@dataclass(frozen=True)
class VacuumDirection:
    """A direction along which the cell is empty from one plane of atoms to the next."""

    # indices h, k, l in the cell's own lattice of the planes that bound the vacuum; (0, 0, 1) where a and b
    # span a slab's surface
    plane: tuple[int, int, int]
    # distances of `MIN_VACUUM` or more between neighbouring planes of atoms within one repeat of the cell
    # (A), the widest first: one for each slab in it
    gaps: tuple[float, ...]
    is_layered: bool  # whether the cell holds several layers of one atom's thickness, all equally far apart

    def __str__(self) -> str:
        widths = " and ".join(f"{gap:.1f}" for gap in self.gaps)
        h, k, l = self.plane
        axis = {(1, 0, 0): "along a", (0, 1, 0): "along b", (0, 0, 1): "along c"}.get(self.plane)
        return f"{widths} A {axis or f'normal to the ({h} {k} {l}) planes of the cell'}"


def vacuum_directions(lattice: NDArray[np.float64], fractional: NDArray[np.float64]) -> list[VacuumDirection]:
    """Find all vacuum of a periodic cell, whatever its lattice vectors are.

    An empty space between two parallel planes repeats with the lattice, so that its normal is a vector G of
    the reciprocal lattice, and its width is at most the planes' spacing 1/|G|. Those of a spacing of
    `MIN_VACUUM` or more are few; each is looked at, |h| <= |a| |G| bounds the indices.

    Returns
    -------
    list of VacuumDirection
        Independent directions, the one with the widest gap first: none of a bulk crystal, one of a slab or
        a sheet, two of a wire, three of a molecule in a box.

    Raises
    ------
    InputError
        If the cell is larger than any structure that is computed.
    """
    reach = (np.linalg.norm(lattice, axis=1) / _LEAST).astype(int)
    if not reach.any() or not len(fractional):
        return []
    if np.prod(2.0 * reach + 1) > _MOST_PLANES:
        edges = " x ".join(f"{edge:.4g}" for edge in np.linalg.norm(lattice, axis=1))
        raise InputError(f"the cell of {edges} A is too large; give lattice vectors in A")
    planes = np.indices(2 * reach + 1).reshape(3, -1).T - reach
    planes = planes[len(planes) // 2 + 1 :]  # of G and -G the one whose first index is positive
    lengths = np.linalg.norm(planes @ np.linalg.inv(lattice).T, axis=1)
    wide = np.flatnonzero(lengths <= 1 / _LEAST)
    # multiples of a shorter G see the same gaps within a part of its spacing
    wide = wide[np.gcd.reduce(planes[wide], axis=1) == 1]
    # where some of the atoms leave no gap all of them leave none, which rules out most planes at little cost
    few = fractional[:: -(-len(fractional) // _FEW)]
    wide = wide[(_gaps(few, planes[wide]).max(axis=0) / lengths[wide]) >= _LEAST]
    found: list[VacuumDirection] = []
    for i in wide:
        gaps = _gaps(fractional, planes[i : i + 1])[:, 0] / lengths[i]
        if widths := sorted(gaps[gaps >= _LEAST].tolist(), reverse=True):
            h, k, l = planes[i].tolist()
            between = gaps[gaps > _ONE_LAYER]
            is_layered = len(between) > 1 and bool(np.ptp(between) < _ONE_LAYER)
            found.append(VacuumDirection((h, k, l), tuple(widths), is_layered))
    # rounding makes equal gaps differ in their last digits: of these the lowest indices come first
    found.sort(key=lambda one: (-round(one.gaps[0], 6), np.abs(one.plane).sum(), np.abs(one.plane).argmax()))
    independent: list[VacuumDirection] = []
    for one in found:
        planes_so_far = [other.plane for other in independent]
        if not planes_so_far or np.linalg.matrix_rank([*planes_so_far, one.plane]) > len(planes_so_far):
            independent.append(one)
    return independent


def _gaps(fractional: NDArray[np.float64], planes: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N, M], gaps between atoms along the normals of planes, in units of the planes' spacings."""
    heights = np.sort((fractional @ planes.T) % 1.0, axis=0)
    return np.diff(heights, axis=0, append=heights[:1] + 1.0)


def check_bulk(structure: Structure, where: str) -> list[str]:
    """Refuse a cell with vacuum that is given as a bulk crystal, naming gap, direction and remedy.

    Several layers of one element and one atom's thickness that are all equally far apart are no slab in a box
    but a crystal, however unlikely: of these a line is returned.
    """
    found = vacuum_directions(structure.lattice.matrix, structure.frac_coords)
    if not found:
        return []
    if len(found) == 1 and found[0].is_layered and structure.composition.is_element:
        return [
            f"{where}: its layers are apart by {found[0]}, more than in any known crystal; check the cell"
        ]
    remedy = "; use mgsurf predict FILE for a slab" if len(found) == 1 else ""
    raise InputError(
        f"{where} is not a bulk crystal: its cell has a vacuum of {', '.join(map(str, found))}; give the "
        f"cell of the bulk crystal{remedy}"
    )


def across_slab(found: Sequence[VacuumDirection]) -> VacuumDirection:
    """Return the direction across the vacuum of a cell that holds one slab, from `vacuum_directions`.

    Raises `InputError` if it holds no vacuum, several slabs, or something bounded in more than one direction.
    """
    if not found:
        raise InputError(
            f"No vacuum: no gap of {MIN_VACUUM:g} A or more between planes of atoms; give a slab with vacuum "
            "along c, or mgsurf predict --bulk FILE for a bulk crystal"
        )
    if len(found) > 1:
        raise InputError(
            f"vacuum of {', '.join(map(str, found))}: a wire or a molecule in a box; give a slab, with "
            "vacuum along one direction"
        )
    if (n_slabs := len(found[0].gaps)) > 1:
        raise InputError(
            f"{n_slabs} slabs in one cell, with vacuum gaps of {found[0]}; give a cell with one slab"
        )
    return found[0]


@dataclass(frozen=True)
class VacuumGap:
    """The widest gap of a cell along one direction, found from its atoms; lengths in A.

    `bottom` and `top` are heights of the lowest and the highest atom once the slab is made whole; `top` may
    lie above the cell's upper boundary when the slab wraps around it. `width` is from the highest atom to the
    next image's lowest; `heights` are those of the atoms in the whole slab, in the order given.
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

    `heights` are positions of the atoms along the normal (A), in any periodic image; `period` is the height
    of the cell (A). The lowest atom of the slab found is in the cell.
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
