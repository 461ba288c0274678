"""Distance of a slab from the training slabs, in the network's own embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEAREST = 3  # the distance is the mean over so many nearest training slabs
MOST_SLABS = 5000  # of a larger training set, evenly spaced ones are kept

UNUSUAL = 0.9
"""A distance of one is what this share of the training slabs does not exceed, each seen from the others but
for identical ones. It does not depend on the validation slabs: where these are of unseen elements, what they
do not exceed would be no alarm for other unseen elements."""

PLACE_UNIT = 0.99
"""The unit of places is the distance that this share of the validation slabs does not exceed; that of
`model.selection.acquisition.ALIKE`."""

MOST_AXES = 16
"""Principal axes of `TrainingMap.place` at most: enough for distances between slabs, and few to keep."""

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class TrainingMap:
    """Where the training slabs lie in the embedding."""

    points: torch.Tensor  # [m, D] float32, standardised embeddings of training slabs
    # mean, std: [D] float32, of the embeddings of the training slabs
    mean: torch.Tensor
    std: torch.Tensor
    # unit, place_unit: distance that counts as one in `distance`, and in `place`
    unit: float
    place_unit: float

    @classmethod
    def of(cls, training: torch.Tensor, validation: torch.Tensor, groups: Sequence[int]) -> Self:
        """Learn the map from embeddings [n, D] of both sets; equal `groups` are identical training slabs."""
        mean, std = training.mean(0), training.std(0, correction=0)
        std = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # what never varies separates nothing
        step = max(1, -(-len(training) // MOST_SLABS))
        plain = cls((training[::step] - mean) / std, mean, std, 1.0, 1.0)
        unit = _quantile(plain._from_the_others(torch.as_tensor(groups)[::step]), UNUSUAL)
        return replace(plain, unit=unit, place_unit=_quantile(plain.distance(validation), PLACE_UNIT))

    def distance(self, embedding: torch.Tensor) -> Array:
        """Return the distance [n] of embeddings [n, D]: mean over the nearest training slabs."""
        x = (embedding - self.mean) / self.std
        parts = [_nearest(torch.cdist(rows, self.points)) for rows in torch.split(x, _ROWS_AT_ONCE)]
        found = torch.cat(parts) if parts else x.new_zeros(0)
        return np.asarray((found / self.unit).double().numpy())

    def _from_the_others(self, groups: torch.Tensor) -> Array:
        """Return the distance [m] of the points from those of other groups; infinite with too few of them."""
        parts = [
            _nearest(torch.cdist(rows, self.points).masked_fill(own[:, None] == groups, torch.inf))
            for rows, own in zip(
                torch.split(self.points, _ROWS_AT_ONCE), torch.split(groups, _ROWS_AT_ONCE), strict=True
            )
        ]
        return np.asarray(torch.cat(parts).double().numpy())

    def place(self, embedding: torch.Tensor) -> Array:
        """Return where embeddings [n, D] lie along the training slabs' principal axes: [n, up to 16].

        With nearly the embedding's distances between slabs, in `place_unit`.
        """
        x = (embedding - self.mean) / self.std
        return np.asarray(((x - self._centre) @ self._axes / self.place_unit).double().numpy())

    @property
    def places(self) -> Array:
        """Return where the training slabs lie, as `place` does: [m, up to 16]."""
        return np.asarray(((self.points - self._centre) @ self._axes / self.place_unit).double().numpy())

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
        return {name: getattr(self, name) for name in ("points", "mean", "std", "unit", "place_unit")}

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state` of an embedding of D = `width`; maps of older versions have one unit.

        Raises
        ------
        AttributeError, KeyError, RuntimeError, TypeError, ValueError
            If it is damaged.
        """
        points, mean, std = state["points"].float(), state["mean"].float(), state["std"].float()
        unit = float(state["unit"])
        place_unit = float(state.get("place_unit", unit))
        whole = points.ndim == 2 and len(points) and points.shape[1:] == mean.shape == std.shape == (width,)
        if not whole or not math.isfinite(points.sum() + mean.sum()) or not (std > 0).all():
            raise ValueError("its points do not fit the embedding")
        if not (0 < unit < math.inf and 0 < place_unit < math.inf):
            raise ValueError("its units are no distances")
        return cls(points, mean, std, unit, place_unit)


def _nearest(distances: torch.Tensor) -> torch.Tensor:
    """Return the mean of the smallest distances in each row of [n, m]: [n]."""
    return distances.topk(min(NEAREST, distances.shape[1]), largest=False).values.mean(1)


def _quantile(distances: Array, share: float) -> float:
    """Return a quantile of those distances that are finite; 1 if that is no distance."""
    finite = distances[np.isfinite(distances)]
    found = float(np.quantile(finite, share)) if len(finite) else 0.0
    return found if found > 0 else 1.0
