"""Folding a graph: atoms that no message passing network can tell apart become one node.

Two atoms of equal element and depth, whose neighbours look alike at every step of message passing, end with
the same features (the classes of colour refinement form an equitable partition). A symmetric slab has at
least two of each, its two surfaces being equal, and most have many more. The folded graph has one node for
each class and carries how many atoms that is; equal edges of a node become one edge and carry how many they
are. A network that weights its sums and means with these numbers returns for the folded graph what it
returns for the whole one.

Source: B. Weisfeiler, A. Leman (1968); K. Xu et al., ICLR 2019, arXiv:1810.00826 (message passing networks
distinguish no more than colour refinement does).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.graph import SlabGraph

LENGTH_TOLERANCE = 2e-3
"""Depths and distances closer than this are equal (A)."""
COSINE_TOLERANCE = 1e-3
_WIDEST = 5
"""A run of neighbouring values is cut where it gets wider than this many tolerances."""


def fold(graph: SlabGraph) -> SlabGraph:
    """Join equal nodes and equal edges.

    Parameters
    ----------
    graph
        With one node for each atom.

    Returns
    -------
    SlabGraph
        One node for each class of atoms, in the order of their first atom.
    """
    n = graph.n_nodes
    degrees = np.diff(graph.offsets)
    centre = np.repeat(np.arange(n), degrees)
    edge_kind = _pairs(_classes(graph.distances, LENGTH_TOLERANCE), _classes(graph.cosines, COSINE_TOLERANCE))
    colour = _pairs(graph.numbers.astype(np.int64), _classes(graph.depth, LENGTH_TOLERANCE))
    n_colours = int(colour.max()) + 1
    while True:
        # the multiset of (edge, colour of the neighbour) as a sum of scrambled numbers
        edge_hash = _scramble(edge_kind * np.int64(n) + colour[graph.neighbours])
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


def _scramble(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Map integers to well mixed 64-bit numbers (the finaliser of splitmix64)."""
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
