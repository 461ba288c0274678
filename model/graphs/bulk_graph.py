"""Bulk crystals as graphs: periodic in three directions, nearest neighbours of every atom, folded like slabs.

A crystal has no surface: its atoms have no depth. The depths of a `BulkGraph` are zeros that
`model.graphs.batch` masks, so that no feature and no weight is computed from them.

Many crystals are built at once: what follows the search for neighbours is done for all of them together,
each by its own numbers only, so that a graph does not depend on what was built beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from model.graphs.bond_angles import angle_statistics, environments, line_graphs
from model.graphs.graph import LENGTH_TOLERANCE, SlabGraph, scramble
from model.graphs.slab_frame import MIN_DISTANCE, PlainSlab
from stores.errors import InputError
from stores.records import content_hash
from stores.structures.reading import MAX_EDGE, MAX_FRACTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from model.graphs.bond_angles import LineGraph
    from model.graphs.graph import GraphSettings

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]


class PlainBulk(PlainSlab):
    """A bulk crystal as arrays: wherever its cell is empty, it is periodic there."""


@dataclass(frozen=True, eq=False)
class BulkGraph(SlabGraph):
    """One crystal with N nodes and E directed edges, as `SlabGraph` has them.

    ``depth`` [N] and ``cosines`` [E], ``thickness`` and ``area`` are zero and mean nothing.
    """

    # statistics of angles, [A] float32, and the angles themselves; None without `GraphSettings.angles`
    angles: NDArray[np.float32] | None = None
    line: LineGraph | None = None


def build_bulk_graph(structure: Structure, settings: GraphSettings) -> BulkGraph:
    """Build the graph of a crystal; see `bulk_graphs` for settings and errors."""
    (graph,) = bulk_graphs([PlainBulk.from_structure(structure)], settings)
    if isinstance(graph, InputError):
        raise graph
    return graph


def is_bulk(graph: SlabGraph) -> bool:
    """Whether a graph is that of a crystal without surface."""
    return isinstance(graph, BulkGraph)


def bulk_graphs(crystals: Sequence[PlainBulk], settings: GraphSettings) -> list[BulkGraph | InputError]:
    """Build the graphs of crystals, in their order.

    Parameters
    ----------
    crystals
        Ordered; their cells need not be reduced.
    settings
        ``min_thickness`` means nothing here.

    Returns
    -------
    list
        A graph for each crystal; where there is none, an `InputError` with the reason: no atoms, a flat or
        too large cell, atoms on top of each other, or an atom without neighbour within the cut-off.
    """
    found: list[_Neighbours | InputError] = []
    for crystal in crystals:
        try:
            found.append(_search(crystal, settings))
        except InputError as error:
            found.append(error)
    good = [one for one in found if isinstance(one, _Neighbours)]
    graphs = iter(_joined(good, settings)) if good else iter(())
    return [one if isinstance(one, InputError) else next(graphs) for one in found]


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Candidates for neighbours of N atoms, nearest first, no shell cut in two."""

    numbers: Integers  # [N]
    volume: float  # of the cell (A^3)
    distance: Floats  # [N, K] (A); infinite behind the last one
    atom: Integers  # [N, K], number of the atom that each is an image of
    way: Floats  # [N, K, 3], from the atom to each (A)


_SPARE = 8  # candidates beyond the wanted number: most shells of crystals are whole with them
_MARGIN = 1.05  # of the first radius, over that of a sphere that holds the candidates on average
_MOST_IMAGES = 5_000_000  # a cell that needs more is no crystal's


def _search(crystal: PlainBulk, settings: GraphSettings) -> _Neighbours:
    """Find candidates for the neighbours of every atom."""
    numbers, lattice = crystal.numbers, crystal.lattice
    n_atoms = len(numbers)
    _check(crystal)
    inverse = np.linalg.inv(lattice)
    volume = abs(float(np.linalg.det(lattice)))
    across = np.sqrt((inverse * inverse).sum(axis=0))  # 1 / distance between the faces of the cell
    fractional = crystal.fractional - np.floor(crystal.fractional)
    positions = fractional @ lattice
    wanted, tolerance, cutoff = settings.max_neighbours, settings.shell_tolerance, settings.cutoff
    count = wanted + _SPARE
    radius = min(_MARGIN * (count * volume / n_atoms * 3 / (4 * np.pi)) ** (1 / 3), cutoff)
    while True:
        points, images = _images(fractional, lattice, radius * across)
        tree = cKDTree(points, leafsize=16, compact_nodes=False, balanced_tree=False)
        # the atom itself is found, too: at distance 0
        distance, found = tree.query(positions, k=range(1, count + 2), distance_upper_bound=radius)
        last = distance[:, wanted]
        if radius < cutoff and float(last.max()) + tolerance > radius:
            radius = min(radius * 1.3, cutoff)
        # all atoms within the last one's distance must have been seen
        elif (np.isfinite(distance[:, -1]) & (distance[:, -1] <= last + tolerance)).any():
            count *= 2
        else:
            break
    distance, found = distance[:, 1:], found[:, 1:]
    nearest = distance[:, 0]
    if nearest.min() < MIN_DISTANCE:
        raise InputError(
            f"Two atoms of the crystal are {nearest.min():.2f} A apart; check its coordinates and cell."
        )
    if not np.isfinite(nearest).all():
        raise InputError(
            f"{int((~np.isfinite(nearest)).sum())} of {n_atoms} atoms of the crystal have no neighbour "
            f"within {cutoff:g} A; check its cell, or leave it out."
        )
    found = np.minimum(found, len(images) - 1)
    return _Neighbours(numbers, volume, distance, images[found], points[found] - positions[:, None, :])


def _check(crystal: PlainBulk) -> None:
    """Refuse a structure without atoms, with numbers that are not finite, or with a flat or huge cell."""
    lattice, fractional = crystal.lattice, crystal.fractional
    if not len(crystal.numbers):
        raise InputError("The crystal has no atoms; check its file.")
    longest, farthest = float(np.abs(lattice).max()), float(np.abs(fractional).max())
    if not (np.isfinite(longest) and np.isfinite(farthest)):
        raise InputError("The crystal's cell or coordinates are not finite numbers; correct its file.")
    if longest > MAX_EDGE or farthest > MAX_FRACTION:
        raise InputError(
            f"The crystal's cell has a vector of {longest:.3g} A, or a fractional coordinate is "
            f"{farthest:.3g}; give lattice vectors in A and fractional coordinates."
        )
    if abs(float(np.linalg.det(lattice))) < 1e-3 * longest * longest:
        raise InputError("The crystal's cell is flat; check its lattice vectors.")


def _images(fractional: Floats, lattice: Floats, reach: Floats) -> tuple[Floats, Integers]:
    """Return the places [M, 3] (A) of all images within `reach` (in cells) of the atoms, and their atoms."""
    low, high = fractional.min(axis=0) - reach - 1e-9, fractional.max(axis=0) + reach + 1e-9
    first, last = np.floor(low).astype(np.int64), np.floor(high).astype(np.int64)
    spans = last - first + 1
    if int(spans.prod()) * len(fractional) > _MOST_IMAGES:
        raise InputError("The crystal's cell is too flat to find neighbours in; give a reduced cell.")
    shifts = np.indices(spans).reshape(3, -1) + first[:, None]
    # coordinates first: comparing along the last, short axis would take twice as long
    places = (fractional.T[:, None, :] + shifts[:, :, None]).reshape(3, -1)
    within = ((places >= low[:, None]) & (places <= high[:, None])).all(axis=0)
    inside = np.flatnonzero(within)
    return places[:, inside].T @ lattice, inside % len(fractional)


@dataclass(frozen=True, eq=False)
class _Union:
    """Crystals side by side: n atoms and e edges in all, edges sorted by centre."""

    first: Integers  # [crystals + 1], first atom of each
    crystal: Integers  # [n], crystal of each atom
    numbers: Integers  # [n]
    centre: Integers  # [e]
    neighbour: Integers  # [e]
    distance: Floats  # [e] (A)
    environment: Floats | None = None  # [e], further numbers by which edges differ, if any


def _joined(found: Sequence[_Neighbours], settings: GraphSettings) -> list[BulkGraph]:
    """Select the neighbours of all atoms and make the graphs."""
    sizes = np.array([len(one.numbers) for one in found])
    first = np.concatenate([[0], np.cumsum(sizes)])
    crystal = np.repeat(np.arange(len(found)), sizes)
    numbers = np.concatenate([one.numbers for one in found])
    widest = max(one.distance.shape[1] for one in found)
    distance = np.full((len(numbers), widest), np.inf)
    atom = np.zeros((len(numbers), widest), dtype=np.int64)
    for start, one in zip(first[:-1].tolist(), found, strict=True):
        n, k = one.distance.shape
        distance[start : start + n, :k] = one.distance
        atom[start : start + n, :k] = one.atom + start
    keep = _kept(distance, atom, numbers, settings)
    centre, slot = np.nonzero(keep)
    union = _Union(first, crystal, numbers, centre, atom[centre, slot], distance[centre, slot])
    signatures = _signatures(union, [one.volume for one in found])
    vector = np.zeros((0, 3))
    if settings.angles:
        way = np.zeros((len(numbers), widest, 3))
        for start, one in zip(first[:-1].tolist(), found, strict=True):
            way[start : start + len(one.way), : one.way.shape[1]] = one.way
        vector = way[centre, slot]
        around = environments(centre, union.neighbour, vector, union.distance, numbers)
        union = replace(union, environment=around)
    if settings.fold:
        nodes, edges, multiplicity, edge_multiplicity, node_of, edge_of = _fold(union)
    else:
        nodes, edges = np.arange(len(numbers)), np.arange(len(centre))
        multiplicity, edge_multiplicity = np.ones_like(nodes), np.ones_like(edges)
        node_of, edge_of = nodes, edges
    # where the nodes and the edges of each crystal begin, then where the edges of each node do
    starts = np.searchsorted(union.crystal[nodes], np.arange(len(found) + 1))
    degrees = np.bincount(node_of[centre[edges]], minlength=len(nodes))
    first_edge = np.concatenate([[0], np.cumsum(degrees)])
    neighbours, distances = node_of[union.neighbour[edges]], union.distance[edges].astype(np.float32)
    numbers_of_nodes = numbers[nodes].astype(np.int16)
    angles: Sequence[NDArray[np.float32] | None] = [None] * len(found)
    lines: Sequence[LineGraph | None] = [None] * len(found)
    if settings.angles:
        angles = list(angle_statistics(centre, vector, union.distance, first).astype(np.float32))
        lines = line_graphs(centre, vector, union.distance, edges, edge_of, first_edge[starts])
    graphs = []
    for k, signature in enumerate(signatures):
        a, b = int(starts[k]), int(starts[k + 1])
        e, f = int(first_edge[a]), int(first_edge[b])
        graphs.append(
            BulkGraph(
                numbers=numbers_of_nodes[a:b],
                depth=np.zeros(b - a, dtype=np.float32),
                thickness=0.0,
                area=0.0,
                offsets=(first_edge[a : b + 1] - e).astype(np.int32),
                neighbours=(neighbours[e:f] - a).astype(np.int32),
                distances=distances[e:f],
                cosines=np.zeros(f - e, dtype=np.float32),
                multiplicity=multiplicity[a:b].astype(np.float32),
                edge_multiplicity=edge_multiplicity[e:f].astype(np.float32),
                # adding zero turns -0 into 0, which would hash differently
                identity=content_hash(["bulk", *(np.round(signature.astype(float), 2) + 0.0).tolist()]),
                signature=signature,
                angles=angles[k],
                line=lines[k],
            )
        )
    return graphs


def _kept(distance: Floats, atom: Integers, numbers: Integers, settings: GraphSettings) -> NDArray[np.bool_]:
    """Select which candidates [n, K] (rows sorted by distance) are neighbours."""
    # of a shell that is cut, the neighbours of lowest atomic number are kept, then those whose own neighbours
    # are nearest: what is left to the order of the atoms is a choice between equal ones
    wanted, tolerance = settings.max_neighbours, settings.shell_tolerance
    last = distance[:, wanted - 1 : wanted]
    if settings.whole_shells:
        return np.isfinite(distance) & (distance <= last + tolerance)
    keep = np.isfinite(distance) & (np.arange(distance.shape[1]) < wanted)
    with np.errstate(invalid="ignore"):
        tied = np.flatnonzero(distance[:, wanted] - last[:, 0] <= tolerance)
    if not len(tied):
        return keep
    near = np.where(keep, distance, 0.0).sum(axis=1) / keep.sum(axis=1)
    rows, cut = distance[tied], last[tied]
    shell = np.abs(rows - cut) <= tolerance
    rank = np.where(rows < cut, 0.0, np.inf)  # nearer shells first
    others = atom[tied][shell]
    rank[shell] = 1.0 + 1e6 * numbers[others] + np.round(near[others] / (2 * tolerance))
    order = np.argsort(rank, axis=1, kind="stable")
    chosen = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :wanted], True, axis=1)
    keep[tied] = chosen
    return keep


def _signatures(union: _Union, volumes: Sequence[float]) -> list[NDArray[np.float32]]:
    """Return averages over atoms and edges that tell crystals apart but change little with a little noise."""
    # the cube root of the volume per atom; for each element its number, its share, and of its edges the means
    # of distance, its square and distance times the neighbour's number, and their weight, near ones counting
    # most; all of the order of 1 to 10
    n = len(union.numbers)
    near = np.exp(-((union.distance / 2.5) ** 2))
    weighted = near * union.distance
    moments = (weighted, weighted * union.distance / 3, weighted * union.numbers[union.neighbour] / 10)
    kinds, kind = np.unique(union.crystal * 1000 + union.numbers, return_inverse=True)
    atoms = np.bincount(kind)
    total = np.maximum(_sum_by(kind, np.bincount(union.centre, weights=near, minlength=n)), 1e-9)
    sizes = np.diff(union.first)
    columns = [kinds % 1000, atoms / sizes[kinds // 1000]]
    columns += [_sum_by(kind, np.bincount(union.centre, weights=one, minlength=n)) / total for one in moments]
    columns.append(total / atoms)
    rows = np.stack(columns, axis=1).astype(np.float32)
    begins = np.searchsorted(kinds, np.arange(len(sizes) + 1) * 1000)
    return [
        np.concatenate([np.array([(volume / size) ** (1 / 3)], dtype=np.float32), rows[a:b].ravel()])
        for volume, size, a, b in zip(volumes, sizes, begins[:-1], begins[1:], strict=True)
    ]


def _sum_by(kind: Integers, values: NDArray[Any]) -> NDArray[Any]:
    """Sum values of equal kind."""
    return np.bincount(kind, weights=values)


def _fold(union: _Union) -> tuple[Integers, Integers, Integers, Integers, Integers, Integers]:
    """Join equal nodes and equal edges, see `model.graphs.graph`: the same partition, without depths.

    Returns
    -------
    nodes, edges
        One atom for each node, and one edge (of these atoms) for each edge that is left.
    multiplicity, edge_multiplicity
        Atoms that a node, edges of one atom that an edge stands for.
    node_of
        [n], node of each atom.
    edge_of
        [e], place among `edges` of the edge that each is joined to, -1 where its atom is not a node's.
    """
    n = len(union.numbers)
    edge_kind = _distance_classes(union.distance, union.crystal[union.centre])
    if union.environment is not None:
        seen = _distance_classes(union.environment, union.crystal[union.centre])
        edge_kind = np.unique(edge_kind * (int(seen.max()) + 1) + seen, return_inverse=True)[1].astype(
            np.int64
        )
    colour = np.unique(union.crystal * 1000 + union.numbers, return_inverse=True)[1].astype(np.int64)
    begins = np.searchsorted(union.centre, np.arange(n))
    n_colours = int(colour.max()) + 1
    # the multiset of (edge, colour of the neighbour) as a sum of scrambled numbers
    scrambled_kind = scramble(edge_kind)
    while True:
        sums = np.add.reduceat(
            scramble(scrambled_kind.view(np.int64) + colour[union.neighbour]), begins
        )  # every atom has an edge
        different = np.unique(sums, return_inverse=True)[1]
        refined = np.unique(colour * n + different, return_inverse=True)[1].astype(np.int64)
        if int(refined.max()) + 1 == n_colours:
            break
        colour, n_colours = refined, int(refined.max()) + 1

    _, first = np.unique(colour, return_index=True)
    order = np.argsort(first)  # nodes in the order of their first atom
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    node_of, nodes = place[colour], first[order]
    chosen = np.zeros(n, dtype=bool)
    chosen[nodes] = True
    own = np.flatnonzero(chosen[union.centre])
    key = node_of[union.centre[own]] * n_colours + node_of[union.neighbour[own]]
    key = key * (int(edge_kind.max()) + 1) + edge_kind[own]
    _, edges, place_of, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    edge_of = np.full(len(union.centre), -1, dtype=np.int64)
    edge_of[own] = place_of
    return nodes, own[edges], np.bincount(node_of), counts, node_of, edge_of


_WIDEST = 5  # a run of neighbouring distances is cut where it gets wider than this many tolerances


def _distance_classes(distance: Floats, crystal: Integers) -> Integers:
    """Return a number for each edge, the same for edges of one crystal with equal distances."""
    order = np.lexsort((distance, crystal))
    ascending = distance[order]
    new = np.diff(ascending, prepend=ascending[:1]) > LENGTH_TOLERANCE
    new |= np.diff(crystal[order], prepend=-1) != 0
    start = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    # values that creep on without a gap are cut by their distance from the first
    block = np.floor((ascending - ascending[start]) / (_WIDEST * LENGTH_TOLERANCE)).astype(np.int64)
    numbered = np.empty(len(order), dtype=np.int64)
    numbered[order] = np.cumsum(new | (np.diff(block, prepend=block[:1]) != 0)) - 1
    return numbered
