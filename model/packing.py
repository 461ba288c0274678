"""All graphs of a data set in one set of tensors, from which batches are picked without a loop over slabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch.nn import functional

from model.batch import GraphBatch, collate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.graph import SlabGraph

EDGES_PER_BATCH = 100_000
"""Of batches that are only predicted: what fits in little memory and still keeps a processor busy."""


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """n slabs side by side.

    Attributes
    ----------
    everything
        One batch of all slabs.
    first_node, first_edge
        [n + 1] int64, where the nodes and edges of each slab begin.
    """

    everything: GraphBatch
    first_node: torch.Tensor
    first_edge: torch.Tensor

    @classmethod
    def of(cls, graphs: Sequence[SlabGraph], device: torch.device | str = "cpu") -> Self:
        """Pack graphs (at least one) onto a device."""
        batch = collate(graphs).to(device)
        first_node = functional.pad(batch.n_nodes.cumsum(0), (1, 0))
        return cls(batch, first_node, batch.offsets[first_node])

    def __len__(self) -> int:
        return len(self.everything)

    def select(self, slabs: torch.Tensor) -> GraphBatch:
        """Return the slabs with these numbers [B] as a batch, in this order."""
        all_ = self.everything
        n_nodes = all_.n_nodes[slabs]
        n_edges = (self.first_edge[1:] - self.first_edge[:-1])[slabs]
        nodes, new_node = _ranges(self.first_node[slabs], n_nodes)
        edges, _ = _ranges(self.first_edge[slabs], n_edges)
        shift = torch.repeat_interleave(new_node - self.first_node[slabs], n_edges)
        degrees = (all_.offsets[1:] - all_.offsets[:-1])[nodes]
        return GraphBatch(
            numbers=all_.numbers[nodes],
            depth=all_.depth[nodes],
            multiplicity=None if all_.multiplicity is None else all_.multiplicity[nodes],
            slab_index=torch.repeat_interleave(torch.arange(len(slabs), device=slabs.device), n_nodes),
            n_nodes=n_nodes,
            n_atoms=all_.n_atoms[slabs],
            thickness=all_.thickness[slabs],
            offsets=functional.pad(degrees.cumsum(0), (1, 0)),
            centre=all_.centre[edges] + shift,
            neighbour=all_.neighbour[edges] + shift,
            distance=all_.distance[edges],
            edge_multiplicity=None if all_.edge_multiplicity is None else all_.edge_multiplicity[edges],
            fixed_degree=all_.fixed_degree,
        )

    def in_order(self, edges_per_batch: int = EDGES_PER_BATCH) -> Iterator[GraphBatch]:
        """All slabs in their order, in batches of about this many edges."""
        number = torch.div(self.first_edge[:-1], edges_per_batch, rounding_mode="floor")
        slabs = torch.arange(len(self), device=number.device)
        for part in torch.split(slabs, torch.unique_consecutive(number, return_counts=True)[1].tolist()):
            yield self.select(part)


def _ranges(starts: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenate arange(start, start + length) of each pair; also where each begins in the result."""
    begins = lengths.cumsum(0) - lengths
    total = int(lengths.sum())
    index = torch.arange(total, device=starts.device)
    return index + torch.repeat_interleave(starts - begins, lengths), begins
