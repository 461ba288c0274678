"""How unlike the training slabs a slab is: its distance from them in the network's own embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEAREST = 3
"""The distance is the mean over so many nearest training slabs."""

MOST_SLABS = 5000
"""Of a larger training set, evenly spaced ones are kept."""

UNUSUAL = 0.99
"""A distance of one is what this share of the validation slabs does not exceed."""

MOST_AXES = 16
"""Principal axes of `TrainingMap.place` at most: enough for distances between slabs, and few to keep."""

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class TrainingMap:
    """Where the training slabs lie in the embedding.

    Attributes
    ----------
    points
        [m, D] float32, standardised embeddings of training slabs.
    mean, std
        [D] float32, of the embeddings of the training slabs.
    unit
        Distance that counts as one.
    """

    points: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    unit: float

    @classmethod
    def of(cls, training: torch.Tensor, validation: torch.Tensor) -> Self:
        """Learn the map.

        Parameters
        ----------
        training, validation
            [n, D], embeddings of the slabs of both parts.
        """
        mean, std = training.mean(0), training.std(0, correction=0)
        std = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # what never varies tells nothing
        step = max(1, -(-len(training) // MOST_SLABS))
        plain = cls((training[::step] - mean) / std, mean, std, 1.0)
        unit = float(np.quantile(plain.distance(validation), UNUSUAL))
        return cls(plain.points, mean, std, unit if unit > 0 else 1.0)

    def distance(self, embedding: torch.Tensor) -> Array:
        """Return the distance [n] of embeddings [n, D]: mean over the nearest training slabs."""
        x = (embedding - self.mean) / self.std
        nearest = min(NEAREST, len(self.points))
        parts = [
            torch.cdist(rows, self.points).topk(nearest, largest=False).values.mean(1)
            for rows in torch.split(x, _ROWS_AT_ONCE)
        ]
        found = torch.cat(parts) if parts else x.new_zeros(0)
        return np.asarray((found / self.unit).double().numpy())

    def place(self, embedding: torch.Tensor) -> Array:
        """Return where embeddings [n, D] lie along the training slabs' principal axes: [n, up to 16].

        In the unit of `distance`, and with nearly its distances between slabs.
        """
        x = (embedding - self.mean) / self.std
        return np.asarray(((x - self._centre) @ self._axes / self.unit).double().numpy())

    @property
    def places(self) -> Array:
        """Return where the training slabs lie, as `place` does: [m, up to 16]."""
        return np.asarray(((self.points - self._centre) @ self._axes / self.unit).double().numpy())

    @cached_property
    def _centre(self) -> torch.Tensor:
        return self.points.mean(0)

    @cached_property
    def _axes(self) -> torch.Tensor:
        """[D, up to 16], orthonormal, the widest first, the largest entry of each positive."""
        axes = torch.linalg.svd(self.points - self._centre, full_matrices=False)[2][:MOST_AXES].T
        signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        turned: torch.Tensor = axes * torch.where(signs == 0, 1.0, signs)
        return turned

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {"points": self.points, "mean": self.mean, "std": self.std, "unit": self.unit}
