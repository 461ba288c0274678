"""The nearest neighbours of every atom of a slab; ties are broken without regard to the order of atoms."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from model.slab_frame import MIN_DISTANCE
from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.graph import GraphSettings
    from model.slab_frame import SlabFrame

    Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

_SPARE = 4
"""Candidates beyond the wanted number, so that most ties are seen at the first look."""


def neighbour_edges(frame: SlabFrame, settings: GraphSettings) -> Edges:
    """Find the nearest neighbours of every atom.

    Parameters
    ----------
    frame
        The slab; neighbours across its vacuum do not exist.
    settings
        Number, cut-off, and what happens to ties at the last place.

    Returns
    -------
    tuple
        centre [E] ascending, neighbour [E], distance [E] (A), and height of the neighbour above its centre
        [E] (A).

    Raises
    ------
    InputError
        If two atoms are closer than `MIN_DISTANCE`.
    """
    wanted, tolerance = settings.max_neighbours, settings.shell_tolerance
    positions = frame.positions
    n_atoms = len(positions)
    count = wanted + _SPARE
    # a surface atom sees half a space: twice the volume that holds the candidates in the bulk
    volume = frame.area * max(frame.thickness, 2.0) / n_atoms
    radius = min((2.0 * count * volume * 3 / (4 * np.pi)) ** (1 / 3), settings.cutoff)
    while True:
        tree, images = _images(frame, positions, radius)
        # the atom itself is found, too: at distance 0
        k = min(count + 1, len(images))
        distance, found = tree.query(positions, k=k, distance_upper_bound=radius)
        distance, found = distance.reshape(n_atoms, -1), found.reshape(n_atoms, -1)
        seen = np.isfinite(distance)
        last = distance[:, min(wanted, k - 1)]
        # all atoms within the last one's distance must have been seen
        open_ended = seen[:, -1] & (distance[:, -1] <= last + tolerance) if k == count + 1 else ~seen[:, 0]
        too_near = ~seen[:, min(wanted, k - 1)] | (last + tolerance > radius) | (k <= wanted)
        if too_near.any() and radius < settings.cutoff:
            radius = min(radius * 1.3, settings.cutoff)
        elif open_ended.any():
            count *= 2
        else:
            break
    # images of the atom itself in a small cell are neighbours; the atom is the one at distance 0
    distance, found = distance[:, 1:], found[:, 1:]
    seen = seen[:, 1:]
    if seen.size and distance[:, 0].min() < MIN_DISTANCE:
        raise InputError(
            f"Two atoms of the slab are {distance[:, 0].min():.2f} A apart; check its coordinates and cell."
        )
    keep = seen & _kept(frame, distance, found, images, wanted, tolerance, settings.whole_shells)
    centre, slot = np.nonzero(keep)
    image = found[centre, slot]
    rise = tree.data[image, 2] - positions[centre, 2]
    return centre, images[image], distance[centre, slot], rise


def _images(
    frame: SlabFrame, positions: NDArray[np.float64], radius: float
) -> tuple[cKDTree, NDArray[np.int64]]:
    """Return all atoms within a distance of the cell's parallelogram, and which atom each is an image of."""
    lengths = np.linalg.norm(frame.cell, axis=1)
    reach = radius / (frame.area / lengths[::-1])  # in units of the cell's heights
    n = [ceil(r) for r in reach]
    shifts = np.array(
        [(i, j) for i in range(-n[0], n[0] + 1) for j in range(-n[1], n[1] + 1)], dtype=np.float64
    )
    plane = frame.plane + shifts[:, None, :]
    low, high = frame.plane.min(axis=0) - reach - 1e-9, frame.plane.max(axis=0) + reach + 1e-9
    which, atom = np.nonzero(((plane >= low) & (plane <= high)).all(axis=2))
    points = np.empty((len(atom), 3))
    points[:, :2] = plane[which, atom] @ frame.cell
    points[:, 2] = positions[atom, 2]
    return cKDTree(points, leafsize=16, compact_nodes=False, balanced_tree=False), atom


def _kept(
    frame: SlabFrame,
    distance: NDArray[np.float64],
    found: NDArray[np.int64],
    images: NDArray[np.int64],
    wanted: int,
    tolerance: float,
    whole_shells: bool,
) -> NDArray[np.bool_]:
    """Say which candidates (rows sorted by distance) are neighbours."""
    n_candidates = distance.shape[1]
    if n_candidates <= wanted:
        return np.ones(distance.shape, dtype=bool)
    last = distance[:, wanted - 1 : wanted]
    with np.errstate(invalid="ignore"):
        if whole_shells:
            return distance <= last + tolerance
        keep = np.broadcast_to(np.arange(n_candidates) < wanted, distance.shape).copy()
        tied = np.nonzero(distance[:, wanted] - last[:, 0] <= tolerance)[0]
    if len(tied):
        # of the shell that is cut, the neighbours of lowest atomic number, then of least depth, are kept
        depth = np.minimum(frame.heights, frame.thickness - frame.heights)
        rows = distance[tied]
        with np.errstate(invalid="ignore"):
            shell = abs(rows - last[tied]) <= tolerance
        atom = images[np.minimum(found[tied], len(images) - 1)]
        rank = np.where(rows < last[tied], 0.0, np.inf)  # nearer shells first
        rank[shell] = 1.0 + 1e6 * frame.numbers[atom[shell]] + np.round(depth[atom[shell]] / (2 * tolerance))
        order = np.argsort(rank, axis=1, kind="stable")
        chosen = np.zeros(rows.shape, dtype=bool)
        np.put_along_axis(chosen, order[:, :wanted], True, axis=1)
        keep[tied] = chosen
    return keep
