"""Targets to mean zero and standard deviation one, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.dataset import Dataset


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each target on the training set, in the target's unit.

    Attributes
    ----------
    mean, std
        T numbers in the order of the network's targets.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, values: torch.Tensor, names: Sequence[str]) -> Self:
        """Take mean and standard deviation of the labels there are.

        Parameters
        ----------
        values
            [n, T] float64, NaN where there is no label.
        names
            Of the targets, for the error message.

        Raises
        ------
        InputError
            If a target has no label in the training set.
        """
        known = ~values.isnan()
        counts = known.sum(0)
        for name, count in zip(names, counts.tolist(), strict=True):
            if count == 0:
                raise InputError(
                    f"target {name!r} has no label in the training set: leave it out or add data"
                )
        filled = torch.where(known, values, 0.0)
        mean = filled.sum(0) / counts
        std = (torch.where(known, filled - mean, 0.0).square().sum(0) / counts).sqrt()
        std = torch.where(std > 0, std, 1.0)  # one label, or all equal: any scale will do
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def scale(self, values: torch.Tensor) -> torch.Tensor:
        """Turn targets [n, T] in their units into standardised ones (float32)."""
        mean, std = self._tensors(values)
        return ((values.double() - mean) / std).float()

    def unscale(self, values: torch.Tensor) -> torch.Tensor:
        """Turn standardised values [n, T] into ones with units (float64)."""
        mean, std = self._tensors(values)
        return values.double() * std + mean

    def _tensors(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.tensor(self.mean, dtype=torch.float64, device=like.device),
            torch.tensor(self.std, dtype=torch.float64, device=like.device),
        )


def target_matrix(dataset: Dataset, names: Sequence[str]) -> torch.Tensor:
    """Labels of a data set: [n, T] float64, NaN where there is none."""
    rows = [[entry.targets.get(name) for name in names] for entry in dataset]
    values = [[float("nan") if value is None else value for value in row] for row in rows]
    return torch.tensor(values, dtype=torch.float64).reshape(len(rows), len(names))
