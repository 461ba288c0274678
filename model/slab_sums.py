"""Atoms and bonds of many slabs, with sums and means over each: what descriptors are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from model.features import element_property

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.graph import SlabGraph

    Array = NDArray[np.float64]

MAGNESIUM = 12
BULK_DEPTH, BULK_WIDTH = 7.5, 2.2
"""The bulk is seen through cos^2 from 5.3 to 9.7 A (A): atoms that a slab of 20 A has, too."""
DEEPEST = BULK_DEPTH + BULK_WIDTH
SURFACE_FADES = (5.0, 7.0)
"""Between these depths atoms stop counting as the surface (A)."""
BOND_REACH = 1.35
"""In sums of covalent radii."""
LEAST = 1e-6
"""Weights that add up to no more are of atoms that are not there."""
MISSING = -1.0
"""Stands for a mean over atoms that are not there."""


@dataclass(frozen=True, eq=False)
class SlabSums:
    """N nodes and E edges of n slabs; sums carry the multiplicities of folded graphs.

    Attributes
    ----------
    n
        Number of slabs.
    numbers, depth, count, slab
        [N], atomic numbers, depths (A), atoms that a node stands for, and slab of each node.
    both_areas
        [n], of the two surfaces together (A^2).
    centre, neighbour, distance, cosine, edge_count
        [E], as in `SlabGraph`; nodes are numbered across slabs.
    """

    n: int
    numbers: NDArray[np.int64]
    depth: Array
    count: Array
    slab: NDArray[np.int64]
    both_areas: Array
    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    distance: Array
    cosine: Array
    edge_count: Array

    @classmethod
    def of(cls, graphs: Sequence[SlabGraph]) -> Self:
        """Put graphs (at least one) side by side."""
        nodes = np.array([graph.n_nodes for graph in graphs])
        edges = np.array([graph.n_edges for graph in graphs])
        degrees = np.concatenate([np.diff(graph.offsets) for graph in graphs])

        def joined(name: str) -> Array:
            return np.concatenate([getattr(graph, name) for graph in graphs]).astype(np.float64)

        return cls(
            n=len(graphs),
            numbers=joined("numbers").astype(np.int64),
            depth=joined("depth"),
            count=joined("multiplicity"),
            slab=np.repeat(np.arange(len(graphs)), nodes),
            both_areas=np.array([2 * graph.area for graph in graphs]),
            centre=np.repeat(np.arange(len(degrees)), degrees),
            neighbour=joined("neighbours").astype(np.int64) + np.repeat(np.cumsum(nodes) - nodes, edges),
            distance=joined("distances"),
            cosine=joined("cosines"),
            edge_count=joined("edge_multiplicity"),
        )

    def total(self, values: Array) -> Array:
        """Sum over the nodes of each slab: [N] to [n]."""
        return np.asarray(np.bincount(self.slab, values, self.n), dtype=np.float64)

    def mean(self, values: Array, weights: Array) -> Array:
        """Weighted mean over the nodes of each slab: [N] to [n]; `MISSING` where there are none."""
        return ratio(self.total(values * weights), self.total(weights))

    def over_edges(self, values: Array) -> Array:
        """Sum over the edges of each node: [E] to [N]."""
        return np.asarray(np.bincount(self.centre, values, len(self.numbers)), dtype=np.float64)

    def edge_total(self, values: Array) -> Array:
        """Sum over the edges of each slab: [E] to [n]."""
        return np.asarray(np.bincount(self.slab[self.centre], values, self.n), dtype=np.float64)

    def window(self, centre: float, width: float) -> Array:
        """Weights of nodes seen through a Gaussian of their depth (A): [N]."""
        seen: Array = self.count * np.exp(-(((self.depth - centre) / width) ** 2))
        return seen

    @cached_property
    def partner(self) -> Array:
        """One for every node but Mg: [N]."""
        return np.asarray(self.numbers != MAGNESIUM, dtype=np.float64)

    @cached_property
    def scaled(self) -> Array:
        """Lengths of edges in sums of covalent radii: [E]."""
        radius = element_property("covalent radius")[self.numbers]
        return np.asarray(self.distance / (radius[self.centre] + radius[self.neighbour]))

    @cached_property
    def bond(self) -> Array:
        """Weights of edges as bonds: [E]; 1 for short ones, 1/e at `BOND_REACH`."""
        weight: Array = np.exp(-((self.scaled / BOND_REACH) ** 8)) * self.edge_count
        return weight

    @cached_property
    def bulk(self) -> Array:
        """Weights of nodes as bulk: [N]."""
        x = np.clip((self.depth - BULK_DEPTH) / BULK_WIDTH, -1, 1)
        return np.cos(np.pi / 2 * x) ** 2 * self.count

    @cached_property
    def bulk_or_any(self) -> Array:
        """The same and a little of all nodes above, which stand in for elements it misses: [N]."""
        return self.bulk + 1e-3 * np.clip(DEEPEST - self.depth, 0, 1) * self.count

    @cached_property
    def surface(self) -> Array:
        """Weights of nodes as surface, per area (1/A^2): [N]."""
        low, high = SURFACE_FADES
        return np.clip((high - self.depth) / (high - low), 0, 1) * self.count / self.both_areas[self.slab]


def ratio(above: Array, below: Array, least: float | Array = LEAST) -> Array:
    """Divide where the divisor is more than `least`, else give `MISSING`; [n]."""
    enough = below > least
    return np.where(enough, above / np.where(enough, below, 1.0), MISSING)
