"""Which nodes of a batch are connected, and sums over edges and neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from model.graphs.batch import GraphBatch


# 3,000 edges times 128 channels are 1.5 MB: they stay in cache, and the cost of calling each step is small
EDGES_PER_CHUNK = 3000


@dataclass(frozen=True, eq=False)
class EdgeIndex:
    """Who is connected to whom in a batch with N nodes and E edges; made once, used by every layer.

    Attributes
    ----------
    centre, neighbour
        [E] int64, edges sorted by centre.
    pairs
        [2 E] int64: centre and N + neighbour of each edge, rows of the stacked atom parts.
    offsets
        [N + 1] int64, where the edges of each node begin.
    incoming
        [E] int64, the edges sorted by neighbour.
    incoming_offsets
        [N + 1] int64, where the edges that end in a node begin in `incoming`.
    multiplicity
        [E] float32, edges of one atom that an edge stands for; None: one each.
    weight
        [E] float32, edges of the slab that an edge stands for (the above times its centre's).
    node_weight
        [N] float32, atoms that a node stands for.
    chunks
        (first node, end node, first edge, end edge): whole slabs, so no edge leaves a chunk.
    """

    centre: torch.Tensor
    neighbour: torch.Tensor
    pairs: torch.Tensor
    offsets: torch.Tensor
    incoming: torch.Tensor
    incoming_offsets: torch.Tensor
    multiplicity: torch.Tensor | None
    weight: torch.Tensor
    node_weight: torch.Tensor
    chunks: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, batch: GraphBatch) -> EdgeIndex:
        """Build the edge_index of a batch."""
        n_nodes = len(batch.numbers)
        neighbour, centre = batch.neighbour, batch.centre
        incoming = torch.argsort(neighbour, stable=True)
        degree = torch.bincount(neighbour, minlength=n_nodes)
        node_weight = torch.ones_like(batch.depth) if batch.multiplicity is None else batch.multiplicity
        weight = node_weight[centre]
        if batch.edge_multiplicity is not None:
            weight = weight * batch.edge_multiplicity
        return cls(
            centre=centre,
            neighbour=neighbour,
            pairs=torch.stack([centre, neighbour + n_nodes], dim=1).flatten(),
            offsets=batch.offsets,
            incoming=incoming,
            incoming_offsets=functional.pad(degree.cumsum(0), (1, 0)),
            multiplicity=batch.edge_multiplicity,
            weight=weight,
            node_weight=node_weight,
            chunks=_chunks(batch),
        )

    def sum_outgoing(self, values: torch.Tensor) -> torch.Tensor:
        """Sum edge values [E, C] over the edges that begin at each node: [N, C]."""
        index = torch.arange(len(values), device=values.device)
        return sum_in_bags(index, values, self.offsets, None)

    def sum_neighbours(self, values: torch.Tensor) -> torch.Tensor:
        """Sum node values over the neighbours of one atom of each node: sum_(e of i) m_e b_(j(e)); [N, C]."""
        return sum_in_bags(self.neighbour, values, self.offsets, self.multiplicity)

    def sum_neighbours_backward(self, grad: torch.Tensor) -> torch.Tensor:
        """Transpose of `sum_neighbours`: [N, C] to [N, C]."""
        weight = None if self.multiplicity is None else self.multiplicity[self.incoming]
        return sum_in_bags(self.centre[self.incoming], grad, self.incoming_offsets, weight)

    def sum_incoming(self, values: torch.Tensor) -> torch.Tensor:
        """Sum edge values [E, C] over the edges that end in each node: [N, C]."""
        return sum_in_bags(self.incoming, values, self.incoming_offsets, None)


def _chunks(batch: GraphBatch) -> tuple[tuple[int, int, int, int], ...]:
    """Cut a batch between slabs into pieces of about `EDGES_PER_CHUNK` edges."""
    last_node = batch.n_nodes.cumsum(0)
    if batch.numbers.device.type != "cpu":
        return ((0, len(batch.numbers), 0, len(batch.neighbour)),)
    last_edge = batch.offsets[last_node]
    # the slab in which each multiple of the chunk size falls closes its chunk
    marks = torch.arange(EDGES_PER_CHUNK, max(int(last_edge[-1]), EDGES_PER_CHUNK), EDGES_PER_CHUNK)
    closing = torch.unique(torch.searchsorted(last_edge, marks))
    nodes = [0, *last_node[closing].tolist()]
    edges = [0, *last_edge[closing].tolist()]
    if nodes[-1] != len(batch.numbers):
        nodes.append(len(batch.numbers))
        edges.append(len(batch.neighbour))
    return tuple(zip(nodes[:-1], nodes[1:], edges[:-1], edges[1:], strict=True))


def sum_in_bags(
    index: torch.Tensor, table: torch.Tensor, offsets: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Sum the rows `index` of a table, times their weights, in bags that begin at `offsets`."""
    if not len(index):
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    # the function below functional.embedding_bag, which would check its arguments again for every chunk
    if weight is not None:
        weight = weight.to(table.dtype)
    return torch.embedding_bag(table, index, offsets, False, 0, False, weight, True)[0]
