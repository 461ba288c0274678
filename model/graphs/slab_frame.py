"""A slab in its own frame: unwrapped, normal along z, reduced in-plane cell, no vacuum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stores.errors import InputError
from stores.structures.document import read_document
from stores.structures.reading import MAX_EDGE, MAX_FRACTION
from stores.structures.vacuum import across_slab, find_vacuum, vacuum_directions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

MIN_DISTANCE = 0.5  # two atoms closer than this are a mistake (A)


@dataclass(frozen=True, eq=False)
class PlainSlab:
    """A periodic structure as arrays."""

    numbers: NDArray[np.int64]  # [N] int64, atomic numbers
    lattice: NDArray[np.float64]  # [3, 3], lattice vectors as rows (A)
    fractional: NDArray[np.float64]  # [N, 3]

    @classmethod
    def from_structure(cls, structure: Structure) -> Self:
        """Convert a pymatgen structure; raises InputError if sites are disordered."""
        try:
            numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
        except AttributeError as error:
            raise InputError(
                f"The slab {structure.formula} has sites that are shared or hold no element; order it first."
            ) from error
        fractional = np.array([site.frac_coords for site in structure], dtype=np.float64)
        return cls(numbers, structure.lattice.matrix, fractional)

    @classmethod
    def from_dict(cls, structure: dict[str, Any], where: str = "the stored slab") -> Self:
        """Read a stored structure (pymatgen's ``as_dict``) without making a pymatgen object.

        Errors name it as `where`: InputError if `stores.structures.document.read_document` refuses it.
        """
        plain = read_document(structure, where)
        return cls(plain.numbers, plain.lattice, plain.fractional)


@dataclass(frozen=True, eq=False)
class SlabFrame:
    """N atoms, periodic in two directions only: the vacuum does not exist here."""

    numbers: NDArray[np.int64]  # [N] int64, atomic numbers
    cell: NDArray[np.float64]  # [2, 2], in-plane lattice vectors as rows, reduced to the shortest (A)
    plane: NDArray[np.float64]  # [N, 2], coordinates in units of `cell`, in [0, 1)
    heights: NDArray[np.float64]  # [N], distance along the surface normal from the lowest atom (A)
    vacuum: float  # from the highest atom to the next image's lowest (A)

    @property
    def thickness(self) -> float:
        """From the lowest to the highest atom (A)."""
        return float(self.heights.max())

    @property
    def positions(self) -> NDArray[np.float64]:
        """[N, 3], Cartesian (A)."""
        return np.column_stack([self.plane @ self.cell, self.heights])

    @property
    def area(self) -> float:
        """Of the in-plane cell (A^2)."""
        return float(abs(np.linalg.det(self.cell)))


def slab_frame(structure: Structure) -> SlabFrame:
    """Find the slab in a periodic cell whose c leads across the vacuum.

    Heights are measured along a x b, so that c may be tilted; the slab is unwrapped at the widest gap along
    the normal, so that it may lie across the cell's boundary.

    Parameters
    ----------
    structure
        Ordered, periodic; a and b span the surface.

    Raises
    ------
    InputError
        If sites are disordered, the cell is flat, c does not lead across vacuum, or the cell holds several
        slabs, a wire or a molecule.
    """
    return frame_of(PlainSlab.from_structure(structure))


def frame_of(slab: PlainSlab) -> SlabFrame:
    """Find the slab in a cell given as arrays; see `slab_frame`."""
    numbers, lattice, fractional = slab.numbers, slab.lattice, slab.fractional
    if not len(numbers):
        raise InputError("The slab has no atoms; check its file.")
    if not np.isfinite(lattice).all() or not np.isfinite(fractional).all():
        raise InputError("The slab's cell or coordinates are not finite numbers; correct its file.")
    longest, farthest = float(np.abs(lattice).max()), float(np.abs(fractional).max())
    if longest > MAX_EDGE or farthest > MAX_FRACTION:
        raise InputError(
            f"The slab's cell has a vector of {longest:.3g} A, or a fractional coordinate is {farthest:.3g}; "
            "give lattice vectors in A and fractional coordinates."
        )
    normal = np.cross(lattice[0], lattice[1])
    area = float(np.linalg.norm(normal))
    height = abs(float(lattice[2] @ normal)) / area if area > 1e-6 else 0.0
    if height < 1e-3:
        raise InputError("The slab's cell is flat; check its lattice vectors.")
    across = across_slab(vacuum_directions(lattice, fractional))
    if across.plane != (0, 0, 1):
        raise InputError(
            f"The vacuum of {across} is not along c; give a slab whose third lattice vector leads across the "
            "vacuum."
        )
    gap = find_vacuum(fractional[:, 2], 1.0)
    lifted = gap.heights - gap.bottom
    heights = lifted * height

    # orthonormal axes in the plane; a left-handed cell is as good as a right-handed one here
    axis = lattice[0] / np.linalg.norm(lattice[0])
    axes = np.array([axis, np.cross(normal / area, axis)])
    cell = _reduced(lattice[:2] @ axes.T)
    in_plane = (fractional[:, :2] @ lattice[:2] + lifted[:, None] * lattice[2]) @ axes.T
    plane = in_plane @ np.linalg.inv(cell)
    plane -= np.floor(plane)
    return SlabFrame(numbers, cell, plane, heights, gap.width * height)


def _reduced(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two shortest vectors of a plane lattice (Gauss), the shorter first."""
    first, second = cell
    if second @ second < first @ first:
        first, second = second, first
    while True:
        second = second - round(float(first @ second) / float(first @ first)) * first
        if second @ second >= first @ first * (1 - 1e-9):
            return np.array([first, second])
        first, second = second, first
