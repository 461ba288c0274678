"""Labels as normal scores of their ranks, for targets whose labels have a long tail or many equal values.

A Gaussian process takes labels to be normally distributed: one dielectric constant of a hundred times the
median, or a half of crystals without band gap, pull its mean everywhere. The score of a label is the quantile
of the standard normal distribution at the share of labels below it (B. L. van der Waerden, Indag. Math. 14,
453 (1952)). What is predicted in scores becomes a label by interpolation between the training labels: a
median rather than a mean, and never beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.special import ndtri

from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import GaussianProcess
from stores.errors import InputError, refusing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelRanks:
    """A monotone map between labels and scores."""

    labels: Array  # [k], distinct training labels in ascending order, in the target's unit
    scores: Array  # [k], ascending

    @classmethod
    def of(cls, labels: Array) -> Self:
        """Rank training labels [n], NaN where there is none; at least one is known."""
        values, counts = np.unique(labels[np.isfinite(labels)], return_counts=True)
        below = np.cumsum(counts) - counts / 2
        return cls(values, ndtri(below / counts.sum()))

    def scores_of(self, labels: Array) -> Array:
        """Return scores [n] of labels [n]; NaN stays."""
        return np.interp(labels, self.labels, self.scores)

    def labels_of(self, scores: Array) -> Array:
        """Return labels, in the target's unit, of scores, in their shape."""
        return np.interp(scores, self.scores, self.labels)


@dataclass(frozen=True, eq=False)
class RankedProcess:
    """A Gaussian process of scores."""

    process: GaussianProcess
    ranks: LabelRanks

    @classmethod
    def fit(cls, descriptors: NDArray[np.float32], labels: Array, seed: int) -> tuple[Self, ...]:
        """Return the process at each stage, none with few labels; see `GaussianProcess.fit`."""
        if not np.isfinite(labels).any():
            return ()
        ranks = LabelRanks.of(labels)
        return tuple(
            cls(process, ranks) for process in GaussianProcess.fit(descriptors, ranks.scores_of(labels), seed)
        )

    def predict(self, descriptors: NDArray[np.float32], compounds: NDArray[np.int64] | None = None) -> Array:
        """Return the label [n] of the mean score for descriptors [n, D]; compounds are not used."""
        return self.ranks.labels_of(self.process.predict(descriptors))

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        ranks = {name: torch.from_numpy(getattr(self.ranks, name)) for name in ("labels", "scores")}
        return {**self.process.state(), "ranks": ranks}

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state` of D = `width` descriptors; raises InputError if its parts do not fit together."""
        process = GaussianProcess.from_state({k: v for k, v in state.items() if k != "ranks"}, width)
        with refusing("the ranks of its labels are damaged"):
            ranks = LabelRanks(*(state["ranks"][name].double().numpy() for name in ("labels", "scores")))
            labels, scores = ranks.labels, ranks.scores
            whole = labels.ndim == 1 and labels.shape == scores.shape and labels.size > 0
            whole = whole and all(np.isfinite(v).all() and (np.diff(v) > 0).all() for v in (labels, scores))
        if not whole:
            raise InputError("the ranks of its labels do not fit together")
        return cls(process, ranks)


def ranked_forest(descriptors: NDArray[np.float32], labels: Array, trees: int, seed: int) -> Forest | None:
    """Grow trees that divide scores, with labels in their leaves; see `Forest.fit`."""
    if not np.isfinite(labels).any():
        return None
    ranks = LabelRanks.of(labels)
    forest = Forest.fit(descriptors, ranks.scores_of(labels), trees, seed)
    if forest is None:
        return None
    return replace(forest, value=ranks.labels_of(forest.value.astype(np.float64)).astype(np.float32))
