"""How far a relaxed slab left its as-cut positions, graded against the frozen core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.records import Reconstruction
from stores.structures.vacuum import find_vacuum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    Floats = NDArray[np.float64]

BOND_FACTOR = 1.25
"""Two atoms are bonded within this multiple of the mean of their nearest-neighbour distances: it takes in
both inner shells of a bcc-like packing (ratio 1.155) and leaves out the second shell of a close-packed
one (1.414)."""

HYSTERESIS = 0.15
"""A bond counts as broken or formed only if its length also changed by more than this share of the mean
nearest-neighbour distance, so that a pair sitting at the limit does not flip with a small relaxation."""

_IMAGES = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).T.reshape(-1, 3)


def score_reconstruction(
    initial: Structure,
    final: Structure,
    free: Sequence[bool],
    layer_tolerance: float = 0.1,
) -> Reconstruction:
    """Grade how far the free atoms of a slab moved from their as-cut places.

    - displacement: largest displacement of a free atom over its nearest-neighbour distance in the as-cut
      slab, after the common translation of the frozen core is taken off;
    - bonds_changed: of the bonds that free atoms have in the as-cut slab, the share broken plus formed,
      on the side where it is larger (at most 1);
    - layers_swapped: two layers' mean heights changed their order by more than `layer_tolerance`.

    All three are independent of which periodic image an atom is given in.

    Parameters
    ----------
    initial
        As-cut slab, c along the surface normal (A).
    final
        Relaxed slab in the same cell, atoms in the same order (A).
    free
        Whether each atom was free to relax, shape (n_atoms,). Without a frozen atom the mean
        displacement of all atoms is taken off instead.
    layer_tolerance
        Atoms closer than this along the normal are one layer (A).

    Returns
    -------
    Reconstruction
        The three scores; thresholds are `workflows.analysis.verdicts.VerdictThresholds`.

    Raises
    ------
    InputError
        If the two structures differ in atoms or cell, or `free` has another length.
    """
    is_free = np.asarray(free, dtype=bool)
    _check_same(initial, final, is_free)
    lattice = np.asarray(initial.lattice.matrix, dtype=float)
    height = abs(np.linalg.det(lattice)) / float(np.linalg.norm(np.cross(lattice[0], lattice[1])))
    heights = find_vacuum(np.asarray(initial.frac_coords)[:, 2] * height, height).heights
    moved = _displacements(initial, final, ~is_free)
    shifts = moved @ lattice
    new_heights = heights + moved[:, 2] * height

    nearest = _nearest_distances(initial)
    lengths = np.linalg.norm(shifts, axis=1)
    displacement = float((lengths / nearest)[is_free].max(initial=0.0))
    return Reconstruction(
        displacement=displacement,
        bonds_changed=_bonds_changed(initial, shifts, nearest, is_free, heights),
        layers_swapped=_layers_swapped(heights, new_heights, layer_tolerance),
    )


def _check_same(initial: Structure, final: Structure, free: NDArray[np.bool_]) -> None:
    if [site.species_string for site in initial] != [site.species_string for site in final]:
        raise InputError("reconstruction: as-cut and relaxed slab differ in their atoms or the atoms' order")
    if free.shape != (len(initial),):
        raise InputError(f"reconstruction: {free.size} free/frozen marks for {len(initial)} atoms")
    if not np.allclose(initial.lattice.matrix, final.lattice.matrix, atol=1e-3):
        raise InputError("reconstruction: the relaxed slab has another cell; a slab's cell must stay fixed")


def _displacements(initial: Structure, final: Structure, core: NDArray[np.bool_]) -> Floats:
    """Fractional displacements by the shortest periodic image, relative to the core."""
    lattice = np.asarray(initial.lattice.matrix, dtype=float)
    moved = np.asarray(final.frac_coords - initial.frac_coords, dtype=float)
    anchors = core if core.any() else np.ones(len(moved), dtype=bool)
    # Wrapping is only meaningful once the common translation, which may be any vector, is nearly off:
    # the anchor atom closest to all others gives a first estimate, their mean the rest.
    candidates = moved[anchors]
    spread = [np.linalg.norm(_shortest(candidates - c, lattice) @ lattice, axis=1).sum() for c in candidates]
    first = candidates[int(np.argmin(spread))]
    relative = _shortest(moved - first, lattice)
    mean = relative[anchors].mean(axis=0)
    return _shortest(relative - mean, lattice)


def _shortest(fractional: Floats, lattice: Floats) -> Floats:
    """Replace fractional vectors, shape (n, 3), by their shortest periodic images."""
    wrapped = fractional - np.round(fractional)
    images = wrapped[:, None, :] + _IMAGES[None, :, :]  # (n, 27, 3): rounding alone fails in skewed cells
    best = np.argmin(np.linalg.norm(images @ lattice, axis=2).round(9), axis=1)
    shortest: Floats = images[np.arange(len(images)), best]
    return shortest


def _nearest_distances(structure: Structure) -> Floats:
    """Nearest-neighbour distance of each atom (A), periodic images included."""
    nearest = np.full(len(structure), np.inf)
    radius = 4.0
    while not np.isfinite(nearest).all():
        centres, _, _, distances = structure.get_neighbor_list(radius)
        nearest = np.full(len(structure), np.inf)
        np.minimum.at(nearest, centres, distances)
        radius *= 1.5
    return nearest


def _bonds_changed(
    initial: Structure, shifts: Floats, nearest: Floats, free: NDArray[np.bool_], heights: Floats
) -> float:
    """Share of the free atoms' bonds broken or formed, the larger of the two sides."""
    # A pair farther apart than this cannot come within bonding distance by the displacements at hand.
    reach = BOND_FACTOR * nearest.max() + 2 * np.linalg.norm(shifts, axis=1).max(initial=0.0) + 1e-6
    first, second, images, before = initial.get_neighbor_list(reach)
    lattice = np.asarray(initial.lattice.matrix, dtype=float)
    coordinates = np.asarray(initial.cart_coords, dtype=float)
    vectors = coordinates[second] + images @ lattice - coordinates[first] + shifts[second] - shifts[first]
    after = np.linalg.norm(vectors, axis=1)
    reference = (nearest[first] + nearest[second]) / 2

    bonded, bonded_after = before <= BOND_FACTOR * reference, after <= BOND_FACTOR * reference
    changed = (bonded != bonded_after) & (np.abs(after - before) > HYSTERESIS * reference)
    middle = (heights.min() + heights.max()) / 2
    shares = [0.0]
    for side in (heights < middle, heights >= middle):
        chosen = free & side
        # every pair is listed from both its ends, so that counting the list weighs all bonds alike
        mine = chosen[first] | chosen[second]
        total, count = np.count_nonzero(bonded & mine), np.count_nonzero(changed & mine)
        shares.append(min(1.0, count / total) if total else float(count > 0))
    return max(shares)


def _layers_swapped(before: Floats, after: Floats, tolerance: float) -> bool:
    """Whether two layers' mean heights (A) changed order by more than `tolerance`."""
    order = np.argsort(before, kind="stable")
    breaks = np.flatnonzero(np.diff(before[order]) > tolerance) + 1
    means = np.array([after[layer].mean() for layer in np.split(order, breaks)])
    highest_so_far = np.maximum.accumulate(means)
    return bool((highest_so_far - means > tolerance).any())
