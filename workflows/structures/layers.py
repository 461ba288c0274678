"""Atomic layers of a slab, and which of them relax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.structures.vacuum import find_vacuum

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

DEPTH_SLACK = 0.05
"""A layer this much (A) deeper than the free depth still counts: spacings close to 3 A fall on one side."""

FINEST_TOLERANCE = 1e-3  # planes closer than this (A) are one layer whatever happens


def atomic_layers(structure: Structure, layer_tolerance: float = 0.1) -> list[list[int]]:
    """Group the atoms of a slab into atomic layers, from bottom to top, as indices into the structure.

    Atoms closer than `layer_tolerance` (A) along the normal belong to one layer, chains of such atoms too. c
    lies along the surface normal, else a ValueError. The slab may lie across the cell boundary: the vacuum is
    taken to be the widest gap.
    """
    return [sorted(layer) for layer in _grouped(_heights(structure), layer_tolerance)]


def free_atoms(structure: Structure, free_depth: float = 3.0, layer_tolerance: float = 0.1) -> list[bool]:
    """Mark the atoms that relax: whole layers close to a surface, the same number on both sides.

    A layer is free when all its atoms lie within `free_depth` + 0.05 A of the outermost atom of that side.
    If the sides differ (slab not symmetric), the smaller number of layers counts. At least one layer in the
    middle stays frozen: of n layers at most (n - 1) // 2 are free on each side, so that a slab of one or two
    layers is frozen altogether. Where the planes of a thick slab follow each other so closely that not even
    its outermost layer ends within `free_depth`, the tolerance is halved until one does.

    Parameters
    ----------
    structure
        Slab with c along the surface normal.
    free_depth
        How deep the free layers reach, measured from the outermost atom (A); 0 freezes everything.
    layer_tolerance
        As for `atomic_layers` (A).

    Returns
    -------
    list of bool
        One for each atom, True if it is free.
    """
    heights = _heights(structure)
    free = [False] * len(structure)
    if free_depth <= 0:
        return free
    layers = _grouped(heights, layer_tolerance)
    is_thick = float(np.ptp(heights)) > 2 * (free_depth + DEPTH_SLACK)
    while (
        is_thick and _free_per_side(heights, layers, free_depth) == 0 and layer_tolerance > FINEST_TOLERANCE
    ):
        layer_tolerance /= 2
        layers = _grouped(heights, layer_tolerance)
    n_free = _free_per_side(heights, layers, free_depth)
    for layer in layers[:n_free] + layers[len(layers) - n_free :]:
        for i in layer:
            free[i] = True
    return free


def _free_per_side(heights: NDArray[np.float64], layers: list[list[int]], free_depth: float) -> int:
    depth = free_depth + DEPTH_SLACK
    bottom, top = heights.min(), heights.max()
    from_bottom = sum(bool(heights[layer].max() <= bottom + depth) for layer in layers)
    from_top = sum(bool(heights[layer].min() >= top - depth) for layer in layers)
    return min(from_bottom, from_top, (len(layers) - 1) // 2)


def _grouped(heights: NDArray[np.float64], layer_tolerance: float) -> list[list[int]]:
    """Split the atoms, sorted by height, wherever a gap exceeds the tolerance."""
    order = np.argsort(heights, kind="stable")
    ends = np.flatnonzero(np.diff(heights[order]) > layer_tolerance) + 1
    return [part.tolist() for part in np.split(order, ends)]


def _heights(structure: Structure) -> NDArray[np.float64]:
    """Return the height of every atom above the lower end of the slab's cell (A), unwrapped."""
    if not len(structure):
        raise ValueError("a slab without atoms has no layers")
    a, b, c = structure.lattice.matrix
    height = float(np.linalg.norm(c))
    if max(abs(a @ c), abs(b @ c)) > 1e-3 * height:
        raise ValueError("layers need c along the surface normal: a.c and b.c must be 0")
    gap = find_vacuum(structure.frac_coords[:, 2] * height, height)
    return gap.heights - gap.bottom
