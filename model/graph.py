"""A slab as a graph: what the network sees of it, and the settings that decide how it is built."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.folding import fold
from model.neighbours import neighbour_edges
from model.recut import NoRepeatError, thicken_frame
from model.slab_frame import PlainSlab, frame_of
from stores.method import content_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from model.slab_frame import SlabFrame

MIDDLE = 1.0
"""Within this distance of the middle plane the outward normal fades from one side's to the other's (A)."""

THICK_ENOUGH = 20.0
"""Slabs are thickened to it (A), nearly all of the paper's being thicker: where a network averages over all
atoms, the surface atoms of a thinner slab would weigh more."""


@dataclass(frozen=True)
class GraphSettings:
    """How graphs are built; hashed into the key of the graph cache.

    Attributes
    ----------
    max_neighbours
        Nearest neighbours of each atom.
    cutoff
        Farthest neighbour (A); an atom with fewer neighbours within it has fewer edges.
    whole_shells
        Keep all neighbours as far away as the last one, so that no tie has to be broken; degrees then differ.
    shell_tolerance
        Distances closer than this are equal (A).
    min_thickness
        Slabs thinner than this are thickened first, by repeating their middle (A); 0: as they are. A slab
        that does not show how its crystal continues stays thin; its graph's `thickness` tells.
    fold
        Join atoms that no network can tell apart into one node with a multiplicity, and equal edges of a
        node into one edge with a multiplicity. Exact for every message passing network whose sums carry
        the multiplicities, and several times smaller.
    """

    max_neighbours: int = 12
    cutoff: float = 12.0
    whole_shells: bool = False
    shell_tolerance: float = 0.01
    min_thickness: float = 0.0
    fold: bool = False


@dataclass(frozen=True, eq=False)
class SlabGraph:
    """One slab with N nodes and E directed edges, sorted by the centre atom (CSR).

    The edges of node i are ``offsets[i]:offsets[i + 1]``. A node is an atom unless the graph is folded.

    Attributes
    ----------
    numbers
        [N] int16, atomic numbers.
    depth
        [N] float32, distance along the surface normal from the nearer outermost atom (A).
    thickness
        From the lowest to the highest atom (A).
    area
        Of one surface of the cell (A^2).
    offsets
        [N + 1] int32.
    neighbours
        [E] int32, node at the edge's other end.
    distances
        [E] float32 (A).
    cosines
        [E] float32, edge direction times the normal that points out of the nearer surface: 1 is straight
        outward. Goes linearly to zero within 1 A of the middle plane, where neither surface is nearer.
    multiplicity
        [N] float32, atoms that a node stands for: 1 unless the graph is folded.
    edge_multiplicity
        [E] float32, edges of one atom that an edge stands for: 1 unless the graph is folded.
    identity
        Content hash of the geometry; equal for slabs that differ by a motion, by the order of atoms, the
        in-plane cell or the vacuum, up to rounding. Equal slabs are grouped with a tolerance by `signature`.
    signature
        [S] float32, the invariants that are hashed into `identity`.
    """

    numbers: NDArray[np.int16]
    depth: NDArray[np.float32]
    thickness: float
    area: float
    offsets: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    distances: NDArray[np.float32]
    cosines: NDArray[np.float32]
    multiplicity: NDArray[np.float32]
    edge_multiplicity: NDArray[np.float32]
    identity: str
    signature: NDArray[np.float32]

    @property
    def n_nodes(self) -> int:
        """Number of nodes N."""
        return len(self.numbers)

    @property
    def n_edges(self) -> int:
        """Number of directed edges E."""
        return len(self.neighbours)


def build_graph(structure: Structure, settings: GraphSettings | None = None) -> SlabGraph:
    """Turn a slab into its graph.

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
    """Turn a slab given as arrays into its graph; see `build_graph`."""
    frame = frame_of(slab)
    if frame.thickness < settings.min_thickness:
        with suppress(NoRepeatError):
            frame = thicken_frame(frame, settings.min_thickness)
    return graph_of(frame, settings)


def graph_of(frame: SlabFrame, settings: GraphSettings) -> SlabGraph:
    """Turn a slab in its own frame into its graph; see `build_graph`."""
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
    """Return averages over atoms and edges that tell slabs apart but change little with a little noise.

    For each element: its number, its share, mean and root mean square depth, and of its edges the means of
    distance, distance times depth, squared rise and distance times the neighbour's number, near ones
    counting most; all of the order of 1 to 10.
    """
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
