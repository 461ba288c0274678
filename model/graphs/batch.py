"""Slab and bulk graphs side by side as tensors, from which batches are picked without a loop over them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.nn import functional

from model.graphs.bulk_graph import BulkGraph, is_bulk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.graphs.bond_angles import LineGraph
    from model.graphs.graph import SlabGraph


@dataclass(frozen=True, eq=False)
class LineBatch:
    """Line graphs of the crystals of a batch with E edges: A angles, sorted by the edge they begin at."""

    bond_weights: torch.Tensor  # [E] float32, zero of edges that are no bonds
    offsets: torch.Tensor  # [E + 1] int64, where the angles of each edge begin
    others: torch.Tensor  # [A] int64, edge that each angle leads to
    cosines: torch.Tensor  # [A] float32
    counts: torch.Tensor  # [A] float32, angles that each stands for

    def to(self, device: torch.device | str) -> Self:
        """Return the same on another device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))

    @classmethod
    def of(cls, lines: Sequence[LineGraph]) -> Self:
        """Put line graphs (at least one) side by side."""
        edges = np.array([len(line.bond_weights) for line in lines])
        angles = np.array([len(line.others) for line in lines])
        degrees = np.concatenate([np.diff(line.offsets) for line in lines]).astype(np.int64)
        others = np.concatenate([line.others for line in lines]).astype(np.int64)
        return cls(
            torch.from_numpy(np.concatenate([line.bond_weights for line in lines])),
            torch.from_numpy(np.concatenate([[0], np.cumsum(degrees)])),
            torch.from_numpy(others + np.repeat(np.cumsum(edges) - edges, angles)),
            torch.from_numpy(np.concatenate([line.cosines for line in lines])),
            torch.from_numpy(np.concatenate([line.counts for line in lines])),
        )

    def select(self, edges: torch.Tensor, shift: torch.Tensor) -> LineBatch:
        """Return the angles of edges [e], which move by `shift` [e] places."""
        degrees = self.offsets[1:] - self.offsets[:-1]
        angles, _ = _ranges(self.offsets[edges], degrees[edges])
        others = self.others[angles] + torch.repeat_interleave(shift, degrees[edges])
        offsets = functional.pad(degrees[edges].cumsum(0), (1, 0))
        return LineBatch(self.bond_weights[edges], offsets, others, self.cosines[angles], self.counts[angles])


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """B slabs with N nodes and E edges together; edges are sorted by their centre."""

    numbers: torch.Tensor  # [N] int64, atomic numbers
    depth: torch.Tensor  # [N] float32 (A)
    # [N] float32, atoms that a node stands for; None if every node is one atom
    multiplicity: torch.Tensor | None
    slab_index: torch.Tensor  # [N] int64, slab of each node
    n_nodes: torch.Tensor  # [B] int64, nodes of each slab
    n_atoms: torch.Tensor  # [B] float32, atoms of each slab: the sum of its multiplicities
    offsets: torch.Tensor  # [N + 1] int64, where the edges of each node begin
    # centre, neighbour: [E] int64, the nodes at the ends of each edge
    centre: torch.Tensor
    neighbour: torch.Tensor
    distance: torch.Tensor  # [E] float32 (A)
    edge_multiplicity: torch.Tensor | None  # [E] float32; None if every edge is one edge
    # [N] float32, one for nodes of slabs, zero for those of bulk crystals, whose depth means nothing; None if
    # all are slabs
    has_surface: torch.Tensor | None = None
    line: LineBatch | None = None  # None unless all are crystals whose graphs carry angles

    def __len__(self) -> int:
        return len(self.n_nodes)

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on another device."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if torch.is_tensor(value):
                values[field.name] = value.to(device, non_blocking=True)
            else:
                values[field.name] = value.to(device) if isinstance(value, LineBatch) else value
        return type(self)(**values)


def collate(graphs: Sequence[SlabGraph]) -> GraphBatch:
    """Put graphs (at least one) side by side; nodes and edges keep their order."""
    nodes = np.array([graph.n_nodes for graph in graphs], dtype=np.int64)
    edges = np.array([graph.n_edges for graph in graphs], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(nodes)[:-1]])
    degrees = np.concatenate([np.diff(graph.offsets) for graph in graphs]).astype(np.int64)
    neighbour = np.concatenate([graph.neighbours for graph in graphs]).astype(np.int64)
    neighbour += np.repeat(first, edges)
    multiplicity = np.concatenate([graph.multiplicity for graph in graphs])
    edge_multiplicity = np.concatenate([graph.edge_multiplicity for graph in graphs])
    slab_index = np.repeat(np.arange(len(graphs)), nodes)
    bulk = np.array([is_bulk(graph) for graph in graphs])
    lines = [graph.line for graph in graphs if isinstance(graph, BulkGraph) and graph.line is not None]
    return GraphBatch(
        numbers=torch.from_numpy(np.concatenate([graph.numbers for graph in graphs]).astype(np.int64)),
        depth=torch.from_numpy(np.concatenate([graph.depth for graph in graphs])),
        multiplicity=None if (multiplicity == 1).all() else torch.from_numpy(multiplicity),
        slab_index=torch.from_numpy(slab_index),
        n_nodes=torch.from_numpy(nodes),
        n_atoms=torch.from_numpy(
            np.bincount(slab_index, weights=multiplicity, minlength=len(graphs)).astype(np.float32)
        ),
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(degrees)])),
        centre=torch.from_numpy(np.repeat(np.arange(len(degrees)), degrees)),
        neighbour=torch.from_numpy(neighbour),
        distance=torch.from_numpy(np.concatenate([graph.distances for graph in graphs])),
        edge_multiplicity=None if (edge_multiplicity == 1).all() else torch.from_numpy(edge_multiplicity),
        has_surface=None
        if not bulk.any()
        else torch.from_numpy(np.repeat(1 - bulk.astype(np.float32), nodes)),
        line=LineBatch.of(lines) if len(lines) == len(graphs) else None,
    )


EDGES_PER_BATCH = 100_000
"""Of batches that are only predicted: what fits in little memory and still keeps a processor busy."""


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """n slabs side by side."""

    everything: GraphBatch  # one batch of all slabs
    # first_node, first_edge: [n + 1] int64, where the nodes and edges of each slab begin
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
        edges, new_edge = _ranges(self.first_edge[slabs], n_edges)
        shift = torch.repeat_interleave(new_node - self.first_node[slabs], n_edges)
        degrees = (all_.offsets[1:] - all_.offsets[:-1])[nodes]
        return GraphBatch(
            numbers=all_.numbers[nodes],
            depth=all_.depth[nodes],
            multiplicity=None if all_.multiplicity is None else all_.multiplicity[nodes],
            slab_index=torch.repeat_interleave(torch.arange(len(slabs), device=slabs.device), n_nodes),
            n_nodes=n_nodes,
            n_atoms=all_.n_atoms[slabs],
            offsets=functional.pad(degrees.cumsum(0), (1, 0)),
            centre=all_.centre[edges] + shift,
            neighbour=all_.neighbour[edges] + shift,
            distance=all_.distance[edges],
            edge_multiplicity=None if all_.edge_multiplicity is None else all_.edge_multiplicity[edges],
            has_surface=None if all_.has_surface is None else all_.has_surface[nodes],
            line=None
            if all_.line is None
            else all_.line.select(edges, torch.repeat_interleave(new_edge - self.first_edge[slabs], n_edges)),
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
