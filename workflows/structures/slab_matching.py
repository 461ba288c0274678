"""Slabs that others built: their cell with c along the normal, their symmetry, and the plane they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from stores.structures.vacuum import find_vacuum
from workflows.structures.facets import distinct_facets
from workflows.structures.planes import plane_of
from workflows.structures.slabs import slabs_like
from workflows.structures.space_group import found_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from workflows.structures.crystal import Crystal
    from workflows.structures.planes import Plane
    from workflows.structures.slabs import SymmetricSlab


LARGEST_INDEX = 3  # planes are tried up to this Miller index
MAX_STRAIN = 0.03  # largest relative difference of in-plane lengths between a slab and its bulk
THICKNESS_SLACK = 1.0  # largest difference of thickness by relaxation (A)

MAX_SHIFT = 0.35
"""Largest distance of an atom from its place in the ideal slab, over the nearest-neighbour distance."""

MAX_MEAN_SHIFT = 0.12
"""Largest root mean square of these distances, over the nearest-neighbour distance: relaxed slabs stay below
half of it, another stacking of the same layers lies beyond twice of it."""


@dataclass(frozen=True)
class SlabMatch:
    """A plane and termination that a slab shows.

    `slab` is the ideal slab in its primitive in-plane cell, `strain` the largest relative difference of
    in-plane lengths, `distance` the root mean square distance of the atoms from their ideal places (A).
    """

    slab: SymmetricSlab
    strain: float
    distance: float


def match_slab(slab: Structure, crystal: Crystal) -> SlabMatch | None:
    """Find the plane and termination of a crystal that a symmetric slab (c along the normal) shows.

    Every symmetric slab of the crystal with as many atoms per area and about the thickness is laid over the
    given one; the best fit is returned, None if no slab fits. A strained, relaxed or repeated (p x q) slab is
    recognised.
    """
    if {site.specie.symbol for site in slab} - set(crystal.species):
        return None
    in_plane = np.asarray(slab.lattice.matrix, dtype=float)[:2, :2]
    found: list[SlabMatch] = []
    for facet in distinct_facets(crystal, LARGEST_INDEX):
        plane = plane_of(crystal, facet)
        strain = supercell_strain(in_plane, plane)
        if plane.is_polar or strain is None:
            continue
        for candidate in _candidates(slab, plane):
            distance = _distance(slab, candidate.structure)
            if distance is not None:
                found.append(SlabMatch(candidate, strain, distance))
    # of equally good ones the first: small indices
    return min(found, key=lambda match: round(match.distance, 2), default=None)


def supercell_strain(in_plane: NDArray[np.float64], plane: Plane) -> float | None:
    """Return how much a slab's in-plane cell is strained against a supercell of a plane's cell.

    Parameters
    ----------
    in_plane
        Lattice vectors of the slab in its surface, shape (2, 2) (A).
    plane
        Whose primitive in-plane cell is repeated.

    Returns
    -------
    float or None
        Largest relative difference of lengths, up to `MAX_STRAIN`; None if it is no supercell.
    """
    primitive = plane.cartesian_basis[:2, :2]
    ratio = abs(np.linalg.det(in_plane) / np.linalg.det(primitive))
    n = round(ratio)
    if n < 1 or abs(ratio / n - 1) > 2 * MAX_STRAIN:
        return None
    # lattice vectors of the plane as long as those of the slab, then the angle between them
    reach = int(np.ceil(max(np.linalg.norm(in_plane, axis=1)) / _shortest(primitive))) + 1
    grid = np.array(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)).reshape(2, -1).T
    vectors = grid @ primitive
    lengths = np.linalg.norm(vectors, axis=1)
    target_a, target_b = np.linalg.norm(in_plane, axis=1)
    target_d = np.linalg.norm(in_plane[0] - in_plane[1])
    near_a = vectors[np.abs(lengths / target_a - 1) <= MAX_STRAIN]
    near_b = vectors[np.abs(lengths / target_b - 1) <= MAX_STRAIN]
    if not len(near_a) or not len(near_b):
        return None
    third = np.linalg.norm(near_a[:, None] - near_b[None, :], axis=2)
    strains = np.max(
        [
            np.broadcast_to(np.abs(np.linalg.norm(near_a, axis=1) / target_a - 1)[:, None], third.shape),
            np.broadcast_to(np.abs(np.linalg.norm(near_b, axis=1) / target_b - 1)[None, :], third.shape),
            np.abs(third / target_d - 1),
        ],
        axis=0,
    )
    best = float(strains.min())
    return best if best <= MAX_STRAIN else None


def _shortest(primitive: NDArray[np.float64]) -> float:
    """Height of the flattest direction of the cell (A): no lattice row lies closer to its neighbour."""
    return float(abs(np.linalg.det(primitive)) / np.linalg.norm(primitive, axis=1).max())


def _candidates(slab: Structure, plane: Plane) -> list[SymmetricSlab]:
    """Symmetric slabs of the plane with the slab's composition per area and about its thickness."""
    height = slab.lattice.c
    thickness = height - find_vacuum(slab.frac_coords[:, 2] * height, height).width
    amounts = slab.composition.get_el_amt_dict()
    area = abs(np.linalg.det(slab.lattice.matrix[:2, :2]))
    kept = []
    for candidate in slabs_like(plane, thickness, THICKNESS_SLACK, height):
        n = round(area / candidate.area)
        wanted = {e: n * x for e, x in candidate.structure.composition.get_el_amt_dict().items()}
        if wanted == amounts:
            kept.append(candidate)
    return kept


def _distance(slab: Structure, ideal: Structure) -> float | None:
    """Root mean square distance of the slab's atoms from the ideal places (A), None without a fit."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    length = (slab.volume / len(slab)) ** (1 / 3)
    nearest = min(
        float(distances[distances > 0.1].min())
        for distances in [ideal.get_neighbor_list(6.0)[3]]
        if len(distances)
    )
    matcher = StructureMatcher(
        ltol=2 * MAX_STRAIN,
        stol=MAX_SHIFT * nearest / length,
        angle_tol=4,
        primitive_cell=True,
        scale=False,
    )
    fit = matcher.get_rms_dist(slab, ideal)  # type: ignore[no-untyped-call]
    if fit is None:
        return None
    mean, largest = (float(value) * length / nearest for value in fit)
    return None if largest > MAX_SHIFT or mean > MAX_MEAN_SHIFT else mean * nearest


SYMMETRY_TOLERANCE = 0.15  # distance within which the two sides of a relaxed slab count as equal (A)


def upright(structure: Structure, axis: int) -> Structure:
    """Return the same slab with c along the normal; the lattice vector numbered `axis` becomes c.

    The lattice vectors are renumbered in turn until the one that leads through the vacuum is c, the cell is
    turned so that a lies along x and the normal along z, and c loses its part parallel to the surface. That
    shifts periodic images sideways against each other across the vacuum and changes nothing else.
    Fractional coordinates along c stay as they are, so that planes of a LOCPOT keep their heights.
    """
    order = list(upright_order(structure, axis))
    rows = np.asarray(structure.lattice.matrix, dtype=float)[order]
    fractional = np.asarray(structure.frac_coords, dtype=float)[:, order].copy()
    a, b, c = rows
    x = a / np.linalg.norm(a)
    normal = np.cross(a, b)
    z = normal / np.linalg.norm(normal)
    frame = np.array([x, np.cross(z, x), z])
    cartesian = fractional @ rows @ frame.T
    cell = np.array([a, b, (c @ z) * z]) @ frame.T
    cell[0, 1:] = cell[1, 2] = cell[2, :2] = 0.0
    new = np.linalg.solve(cell.T, cartesian.T).T
    new[:, :2] %= 1.0
    new[:, 2] = fractional[:, 2]
    return Structure(Lattice(cell), [site.specie for site in structure], new)


def upright_order(structure: Structure, axis: int) -> tuple[int, int, int]:
    """Return which lattice vectors become a, b and c when the one numbered `axis` becomes c."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    # in a left-handed cell the other order of a and b makes c point upward
    return (a, b, axis) if np.linalg.det(structure.lattice.matrix) > 0 else (b, a, axis)


def asymmetry(slab: Structure, free: Sequence[bool] | None = None) -> str:
    """Return in one line why the two sides of a slab differ; empty if they do not.

    They are equal if an operation that reverses the normal maps the slab onto itself. `free` states whether
    each atom was free to relax: the sides must agree in this too.
    """
    labels = _labels(slab, None)
    if not _is_symmetric(slab, labels):
        return f"no symmetry operation maps one side onto the other within {SYMMETRY_TOLERANCE:g} A"
    if free is not None and not _is_symmetric(slab, _labels(slab, free)):
        return "other atoms were free to relax on one side than on the other"
    return ""


def _labels(slab: Structure, free: Sequence[bool] | None) -> list[int]:
    flags = [False] * len(slab) if free is None else list(free)
    return [2 * site.specie.Z + flag for site, flag in zip(slab, flags, strict=True)]


def _is_symmetric(slab: Structure, labels: list[int]) -> bool:
    cell = (slab.lattice.matrix.tolist(), slab.frac_coords.tolist(), labels)
    for precision in (SYMMETRY_TOLERANCE, SYMMETRY_TOLERANCE / 3, SYMMETRY_TOLERANCE / 10):
        found = found_by(spglib.get_symmetry, cell, symprec=precision)
        # c stands on a and b, so that an operation reverses the normal if it takes c to -c
        if found is not None and any((r[2] == (0, 0, -1)).all() for r in np.asarray(found["rotations"])):
            return True
    return False
