"""How the nodes of a slab become one vector: over all of them, or over those near the surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from model.edges import SlabSum

if TYPE_CHECKING:
    from model.batch import GraphBatch
    from model.network import NetworkConfig


class MeanPooling(nn.Module):
    """Mean over the atoms of a slab, eq. (3) of Shi et al."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.embedding

    def forward(self, v: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Pool [N, C] to [B, C]."""
        if batch.multiplicity is not None:
            v = v * batch.multiplicity[:, None]
        return _slab_sum(v, batch) / batch.n_atoms[:, None]


class SurfaceAttention(nn.Module):
    """Attention over the atoms near the surface: [N, C] to [B, 4 C].

    Head h pools v with weights m w(depth) exp(a_h(v)) / sum, where w falls smoothly from 1 at the surface
    to 0 at 6 A: what lies deeper, and how much of it there is, does not count. Three heads attend, one has
    a = 0.
    """

    heads = 4
    reach = 6.0  # A
    bound = 4.0  # of |a|: no maximum has to be taken out before the exponential

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = self.heads * config.embedding
        self.score = nn.Linear(config.embedding, self.heads - 1)

    def forward(self, v: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Pool [N, C] to [B, 4 C]."""
        score = self.bound * torch.tanh(self.score(v) / self.bound)  # [N, 3]
        weight = _window(batch.depth, self.reach)
        if batch.multiplicity is not None:
            weight = weight * batch.multiplicity
        alpha = torch.cat([weight[:, None], weight[:, None] * score.exp()], dim=1)  # [N, 4]
        total = _slab_sum(alpha, batch)  # [B, 4]
        heads = [_slab_sum(v * alpha[:, h : h + 1], batch) / total[:, h : h + 1] for h in range(self.heads)]
        return torch.cat(heads, dim=1)


POOLINGS: dict[str, type[MeanPooling | SurfaceAttention]] = {
    "mean": MeanPooling,
    "surface": SurfaceAttention,
}


def _slab_sum(values: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    """Sum nodes [N, C] over each slab: [B, C]."""
    total: torch.Tensor = SlabSum.apply(values, batch.slab_index, batch.n_nodes)  # type: ignore[no-untyped-call]
    return total


def _window(depth: torch.Tensor, end: float) -> torch.Tensor:
    """Go smoothly from 1 at the surface to 0 at depth `end` (A) and below: half a cosine; shape of depth."""
    return 0.5 + 0.5 * torch.cos(torch.pi * (depth / end).clamp(max=1.0))
