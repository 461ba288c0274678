"""What a node knows of its depth and an edge of its length: smooth functions of distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from model.batch import GraphBatch
    from model.network import NetworkConfig


class NoDepth(nn.Module):
    """Atoms do not know where they are (CGCNN)."""

    width = 0

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 0]."""
        return depth.new_empty(len(depth), 0)


class SurfaceFlag(nn.Module):
    """One for atoms within a threshold depth, else zero (section 2.2.2 of Shi et al.; 2 A there)."""

    width = 1

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.threshold = config.surface_threshold

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 1]."""
        return (depth <= self.threshold).float()[:, None]


class DepthProfile(nn.Module):
    """Smooth functions of depth that are constant below 5 A, so that thickness cannot be read from them.

    Gaussians of width 0.7 A at 0, 0.7, ..., 4.9 A of min(depth, 5 A).
    """

    width = 8
    saturation = 5.0  # A

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer("centres", torch.arange(8) * 0.7, persistent=False)  # [8], A
        self.centres: torch.Tensor

    def forward(self, depth: torch.Tensor) -> torch.Tensor:
        """Return [N, 8]."""
        return torch.exp(-(((depth.clamp(max=self.saturation)[:, None] - self.centres) / 0.7) ** 2))


DEPTHS: dict[str, type[NoDepth | SurfaceFlag | DepthProfile]] = {
    "none": NoDepth,
    "flag": SurfaceFlag,
    "profile": DepthProfile,
}


class DistanceExpansion(nn.Module):
    """Gaussian distance expansion u_k = exp(-(d - mu_k)^2 / w^2), w = 0.2 A (CGCNN).

    CGCNN places 41 centres from 0 to 8 A. Atoms are never closer than 1.6 A and twelfth neighbours rarely
    farther than 6 A, so 24 centres from 1.6 to 6.2 A carry the same, and each distance costs half as much.
    """

    width = 24
    step = 0.2  # A

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer(
            "centres", 1.6 + self.step * torch.arange(self.width), persistent=False
        )  # [K], A
        self.centres: torch.Tensor

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Return [E, K]."""
        return _gaussian(batch.distance[:, None], self.centres, self.step)


EDGES: dict[str, type[DistanceExpansion]] = {"distance": DistanceExpansion}


def _gaussian(x: torch.Tensor, centres: torch.Tensor, width: float) -> torch.Tensor:
    """Return exp(-((x - centre) / width)^2); x [n, 1] and centres [k] give [n, k].

    Never below 1e-9: the far tail would be denormal numbers, with which processors multiply matrices some
    twenty times more slowly.
    """
    return (x - centres).div_(width).square_().neg_().clamp_(min=-20.0).exp_()
