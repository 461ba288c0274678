"""Compositions side by side as tensors, from which batches are picked without a loop over them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from model.compositions.features import composition_features, element_fractions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from model.compositions.composition import PlainComposition

ROWS_PER_BATCH = 512  # of batches that are only predicted: what a processor's cache holds


class WithFeatures(tuple["PlainComposition", ...]):
    """Compositions whose features are computed once, for network and trees."""

    @property
    def features(self) -> NDArray[np.float32]:
        """Their features [n, 406]."""
        if not hasattr(self, "_features"):
            self._features = composition_features(self)
        return self._features


def features_of(compositions: Sequence[PlainComposition]) -> NDArray[np.float32]:
    """Return the features [n, 406] of compositions, those computed before if there are some."""
    if isinstance(compositions, WithFeatures):
        return compositions.features
    return composition_features(compositions)


@dataclass(frozen=True, eq=False)
class CompositionBatch:
    """B compositions of at most k elements each, with M numeric columns."""

    features: torch.Tensor  # [B, 406] float32, see `model.compositions.features`
    fractions: torch.Tensor  # [B, 100] float32, of the elements 1 to 100
    extras: torch.Tensor  # [B, M] float32, NaN where missing
    numbers: torch.Tensor  # [B, k] int64, atomic numbers, 0 where there are fewer elements
    amounts: torch.Tensor  # [B, k] float32, their fractions, 0 where there are fewer elements

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def of(cls, compositions: Sequence[PlainComposition], device: torch.device | str = "cpu") -> Self:
        """Pack compositions (at least one), all with the same numeric columns, onto a device."""
        counts = np.array([len(one.numbers) for one in compositions])
        there = np.arange(counts.max()) < counts[:, None]  # [B, k]
        numbers = np.zeros(there.shape, dtype=np.int64)
        amounts = np.zeros(there.shape, dtype=np.float32)
        numbers[there] = np.concatenate([one.numbers for one in compositions])
        amounts[there] = np.concatenate([one.fractions for one in compositions])
        extras = np.stack([one.extras for one in compositions]).astype(np.float32)
        arrays = (
            features_of(compositions),
            element_fractions(compositions),
            extras,
            numbers,
            amounts,
        )
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def select(self, rows: torch.Tensor) -> Self:
        """Return the compositions with these numbers [B] as a batch, in this order."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def in_order(self) -> Iterator[Self]:
        """All compositions in their order, in batches of `ROWS_PER_BATCH`."""
        for begin in range(0, len(self), ROWS_PER_BATCH):
            rows = slice(begin, begin + ROWS_PER_BATCH)
            yield type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))
