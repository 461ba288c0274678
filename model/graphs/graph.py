"""A slab as a graph: nearest neighbours of every atom, optionally folded, and the settings for building it.

Folding: two atoms of equal element and depth, whose neighbours look alike at every step of message passing,
end with the same features (the classes of colour refinement form an equitable partition). A symmetric slab
has at least two of each, its two surfaces being equal, and most have many more. The folded graph has one node
for each class and carries how many atoms that is; equal edges of a node become one edge and carry how many
they are. A network that weights its sums and means with these numbers returns for the folded graph what it
returns for the whole one.

Source: B. Weisfeiler, A. Leman (1968); K. Xu et al., ICLR 2019, arXiv:1810.00826 (message passing networks
distinguish no more than colour refinement does).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from model.graphs.slab_frame import MIN_DISTANCE, PlainSlab, frame_of
from model.graphs.thickness import NoRepeatError, thicken_frame
from stores.errors import InputError
from stores.records import content_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from model.graphs.slab_frame import SlabFrame

    Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


MIDDLE = 1.0
"""Within this distance of the middle plane the outward normal fades from one side's to the other's (A)."""

THICK_ENOUGH = 20.0
"""Slabs are thickened to it (A), nearly all of the paper's being thicker: where a network averages over all
atoms, the surface atoms of a thinner slab would weigh more."""


@dataclass(frozen=True)
class GraphSettings:
    """How graphs are built; hashed into the key of the graph cache."""

    max_neighbours: int = 12  # nearest neighbours of each atom
    cutoff: float = 12.0  # farthest neighbour (A); an atom with fewer neighbours within it has fewer edges
    # keep all neighbours as far away as the last one, so that no tie has to be broken; degrees then differ
    whole_shells: bool = False
    shell_tolerance: float = 0.01  # distances closer than this are equal (A)
    # slabs thinner than this are thickened first, by repeating their middle (A); 0: as they are. A slab that
    # does not show how its crystal continues stays thin; see its graph's `thickness`
    min_thickness: float = 0.0
    # join atoms that no network can tell apart into one node with a multiplicity, and equal edges of a node
    # into one edge with a multiplicity. Exact for every message passing network whose sums carry the
    # multiplicities, and several times smaller
    fold: bool = False
    # universal potential whose features of a slab its graph carries, a key of
    # `model.foundation.potential.WEIGHTS`; empty: none
    potential: str = ""
    # graphs of bulk crystals carry the angles between bonds, see `model.graphs.bond_angles`
    angles: bool = False

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON; those that older versions do not know only where they are set."""
        values = asdict(self)
        return {k: v for k, v in values.items() if v or k not in ("potential", "angles")}


@dataclass(frozen=True, eq=False)
class SlabGraph:
    """One slab with N nodes and E directed edges, sorted by the centre atom (CSR).

    The edges of node i are ``offsets[i]:offsets[i + 1]``. A node is an atom unless the graph is folded.
    """

    numbers: NDArray[np.int16]  # [N] int16, atomic numbers
    # [N] float32, distance along the surface normal from the nearer outermost atom (A)
    depth: NDArray[np.float32]
    thickness: float  # from the lowest to the highest atom (A)
    area: float  # of one surface of the cell (A^2)
    offsets: NDArray[np.int32]  # [N + 1] int32
    neighbours: NDArray[np.int32]  # [E] int32, node at the edge's other end
    distances: NDArray[np.float32]  # [E] float32 (A)
    # [E] float32, edge direction times the normal that points out of the nearer surface: 1 is straight
    # outward. Goes linearly to zero within 1 A of the middle plane, where neither surface is nearer
    cosines: NDArray[np.float32]
    # [N] float32, atoms that a node stands for: 1 unless the graph is folded
    multiplicity: NDArray[np.float32]
    # [E] float32, edges of one atom that an edge stands for: 1 unless the graph is folded
    edge_multiplicity: NDArray[np.float32]
    # content hash of the geometry; equal for slabs that differ by a motion, by the order of atoms, the in-
    # plane cell or the vacuum, up to rounding. Equal slabs are grouped with a tolerance by `signature`
    identity: str
    signature: NDArray[np.float32]  # [S] float32, the invariants that are hashed into `identity`
    # [F] float32, see `model.foundation.features`; None without `GraphSettings.potential`
    potential: NDArray[np.float32] | None = None

    @property
    def n_nodes(self) -> int:
        """Number of nodes N."""
        return len(self.numbers)

    @property
    def n_edges(self) -> int:
        """Number of directed edges E."""
        return len(self.neighbours)


def build_graph(structure: Structure, settings: GraphSettings | None = None) -> SlabGraph:
    """Build the graph of a slab.

    Parameters
    ----------
    structure
        Ordered slab; a and b span the surface, c leads across the vacuum (it may be tilted, and the slab may
        lie across the cell's boundary).
    settings
        The defaults are the paper's.

    Raises
    ------
    InputError
        If the structure is no slab, has disordered sites or atoms on top of each other.
    """
    return graph_of_plain(PlainSlab.from_structure(structure), settings or GraphSettings())


def graph_of_plain(slab: PlainSlab, settings: GraphSettings) -> SlabGraph:
    """Build the graph of a slab given as arrays; see `build_graph`."""
    return graph_of(frame_for(slab, settings), settings)


def frame_for(slab: PlainSlab, settings: GraphSettings) -> SlabFrame:
    """Return a slab in its own frame, made as thick as its graph needs it where it shows its crystal."""
    frame = frame_of(slab)
    if frame.thickness < settings.min_thickness:
        with suppress(NoRepeatError):
            return thicken_frame(frame, settings.min_thickness)
    return frame


def graph_of(frame: SlabFrame, settings: GraphSettings) -> SlabGraph:
    """Build the graph of a slab in its own frame; see `build_graph`."""
    centre, neighbour, distance, rise = neighbour_edges(frame, settings)
    n_atoms, thickness = len(frame.numbers), frame.thickness
    height = frame.heights
    depth = np.minimum(height, thickness - height)
    outward = np.clip((height - thickness / 2) / MIDDLE, -1.0, 1.0)
    signature = _signature(frame, depth, centre, neighbour, distance, rise)
    graph = SlabGraph(
        numbers=frame.numbers.astype(np.int16),
        depth=depth.astype(np.float32),
        thickness=thickness,
        area=frame.area,
        offsets=np.searchsorted(centre, np.arange(n_atoms + 1)).astype(np.int32),
        neighbours=neighbour.astype(np.int32),
        distances=distance.astype(np.float32),
        cosines=(rise / distance * outward[centre]).astype(np.float32),
        multiplicity=np.ones(n_atoms, dtype=np.float32),
        edge_multiplicity=np.ones(len(centre), dtype=np.float32),
        # adding zero turns -0 into 0, which would hash differently
        identity=content_hash((np.round(signature.astype(float), 2) + 0.0).tolist()),
        signature=signature,
    )
    return fold(graph) if settings.fold else graph


def _signature(
    frame: SlabFrame,
    depth: NDArray[np.float64],
    centre: NDArray[np.int64],
    neighbour: NDArray[np.int64],
    distance: NDArray[np.float64],
    rise: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return averages over atoms and edges that tell slabs apart but change little with a little noise."""
    # for each element: its number, its share, mean and root mean square depth, and of its edges the means of
    # distance, distance times depth, squared rise and distance times the neighbour's number, near ones
    # counting most; all of the order of 1 to 10
    n_atoms = len(frame.numbers)
    near = np.exp(-((distance / 2.5) ** 2))
    moments = (distance, distance * depth[centre] / 5, rise**2, distance * frame.numbers[neighbour] / 10)
    sums = [
        np.bincount(centre, weights=near * value, minlength=n_atoms) for value in (*moments, 1.0 + 0 * near)
    ]
    values = [frame.thickness]
    for number in np.unique(frame.numbers):
        own = frame.numbers == number
        weight = max(float(sums[-1][own].sum()), 1e-9)
        values += [float(number), float(own.mean()), depth[own].mean(), np.sqrt((depth[own] ** 2).mean())]
        values += [float(total[own].sum()) / weight for total in sums[:-1]]
    return np.array(values, dtype=np.float32)


LENGTH_TOLERANCE = 2e-3  # depths and distances closer than this are equal (A)
COSINE_TOLERANCE = 1e-3
_WIDEST = 5  # a run of neighbouring values is cut where it gets wider than this many tolerances


def fold(graph: SlabGraph) -> SlabGraph:
    """Join equal nodes and equal edges: one node per class of atoms, in the order of their first atom."""
    n = graph.n_nodes
    degrees = np.diff(graph.offsets)
    centre = np.repeat(np.arange(n), degrees)
    edge_kind = _pairs(_classes(graph.distances, LENGTH_TOLERANCE), _classes(graph.cosines, COSINE_TOLERANCE))
    colour = _pairs(graph.numbers.astype(np.int64), _classes(graph.depth, LENGTH_TOLERANCE))
    n_colours = int(colour.max()) + 1
    while True:
        # the multiset of (edge, colour of the neighbour) as a sum of scrambled numbers
        edge_hash = scramble(edge_kind * np.int64(n) + colour[graph.neighbours])
        sums = np.zeros(n, dtype=np.uint64)
        np.add.at(sums, centre, edge_hash)
        refined = _pairs(colour, np.unique(sums, return_inverse=True)[1])
        if refined.max() + 1 == n_colours:
            break
        colour, n_colours = refined, int(refined.max()) + 1

    _, first = np.unique(colour, return_index=True)
    order = np.argsort(first)
    node_of = np.argsort(order)[colour]  # class of each atom, classes in the order of their first atom
    first = first[order]
    multiplicity = np.bincount(node_of)

    chosen = np.zeros(n, dtype=bool)
    chosen[first] = True
    of_chosen = chosen[centre]
    key = np.stack(
        [node_of[centre[of_chosen]], node_of[graph.neighbours[of_chosen]], edge_kind[of_chosen]], axis=1
    )
    kinds, edge_first, counts = np.unique(key, axis=0, return_index=True, return_counts=True)
    return replace(
        graph,
        numbers=graph.numbers[first],
        depth=graph.depth[first],
        offsets=np.searchsorted(kinds[:, 0], np.arange(n_colours + 1)).astype(np.int32),
        neighbours=kinds[:, 1].astype(np.int32),
        distances=graph.distances[of_chosen][edge_first],
        cosines=graph.cosines[of_chosen][edge_first],
        multiplicity=multiplicity.astype(np.float32),
        edge_multiplicity=counts.astype(np.float32),
    )


def _classes(values: NDArray[np.float32], tolerance: float) -> NDArray[np.int64]:
    """Return a number for each value, the same for values closer than a tolerance."""
    order = np.argsort(values)
    ascending = values[order].astype(np.float64)
    new = np.diff(ascending, prepend=ascending[:1]) > tolerance
    start = np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
    # values that creep on without a gap are cut by their distance from the first
    block = np.floor((ascending - ascending[start]) / (_WIDEST * tolerance)).astype(np.int64)
    steps = new | (np.diff(block, prepend=block[:1]) != 0)
    numbered = np.empty(len(values), dtype=np.int64)
    numbered[order] = np.cumsum(steps)
    return numbered


def _pairs(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each pair of entries, from 0, the same for equal pairs."""
    if not len(one):
        return one
    numbered: NDArray[np.int64] = np.unique(one * (int(other.max()) + 1) + other, return_inverse=True)[1]
    return numbered


def scramble(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Map integers to well mixed 64-bit numbers (the finaliser of splitmix64)."""
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_SPARE = 4  # candidates beyond the wanted number, so that most ties are seen at the first look


def neighbour_edges(frame: SlabFrame, settings: GraphSettings) -> Edges:
    """Find the nearest neighbours of every atom; across the vacuum there are none. Ties ignore atoms' order.

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
    """Select which candidates (rows sorted by distance) are neighbours."""
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
