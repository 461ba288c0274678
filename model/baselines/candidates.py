"""Forests and Gaussian processes of one target, among which the validation set chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import GaussianProcess
from model.baselines.label_ranks import RankedProcess, ranked_forest
from model.baselines.recent_fits import recall
from model.baselines.tree_columns import TREES, better_columns
from model.baselines.unseen_elements import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.baselines.carried_rows import LabelledRows

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Forests and processes of one target on some rows, among which the validation set chooses."""

    rows: LabelledRows
    labels: Array  # [n] of the target
    forests: tuple[Forest, ...]  # of the labels, then of their ranks where these are tried
    stages: tuple[GaussianProcess, ...]  # of the labels
    ranked: tuple[RankedProcess, ...]  # of their ranks, at each stage

    @classmethod
    def of(
        cls,
        rows: LabelledRows,
        true: Array,
        trees: int,
        seed: int,
        *,
        offsets: bool,
        ranked: bool,
        columns: NDArray[np.intp] | None = None,
    ) -> Self | None:
        """Fit all to the labels [n] of the rows, trees to some of their columns; None with too few."""
        numbers = rows.compounds if offsets else None
        forests, stages, processes = recall(
            _fit, rows.descriptors, true, trees, seed, numbers, ranked, columns
        )
        return cls(rows, true, forests, stages, processes) if forests and stages else None

    @property
    def processes(self) -> tuple[GaussianProcess | RankedProcess, ...]:
        """All that a process is chosen from."""
        return (*self.stages, *self.ranked)

    def error(self, descriptors: NDArray[np.float32], recognised: NDArray[np.int64], true: Array) -> float:
        """Return the least MAE of the mean of a forest and a process; 0 without labels."""
        known = np.isfinite(true)
        if not known.any():
            return 0.0
        trees = [forest.predict(descriptors[known])[0] for forest in self.forests]
        each = [process.predict(descriptors[known], recognised[known]) for process in self.processes]
        return min(float(np.abs((t + p) / 2 - true[known]).mean()) for t in trees for p in each)

    def sample(self, compounds: Sequence[str]) -> Sample:
        """Return the rows for `fit_unseen`; compounds: names of those of the training set, the first ones."""
        names = [*compounds, *(f"carried {number}" for number in self.rows.compounds[len(compounds) :])]
        return Sample(self.rows.descriptors, self.labels, names, self.rows.compounds)


def _fit(
    descriptors: NDArray[np.float32],
    true: Array,
    trees: int,
    seed: int,
    compounds: NDArray[np.int64] | None,
    ranked: bool,
    columns: NDArray[np.intp] | None,
) -> tuple[tuple[Forest, ...], tuple[GaussianProcess, ...], tuple[RankedProcess, ...]]:
    """Fit forests and processes of labels [n], and of their ranks where these are tried."""
    grown = [Forest.fit(descriptors, true, trees, seed, columns)]
    if ranked:
        grown.append(ranked_forest(descriptors, true, trees, seed))
    return (
        tuple(forest for forest in grown if forest is not None),
        GaussianProcess.fit(descriptors, true, seed, compounds),
        RankedProcess.fit(descriptors, true, seed) if ranked else (),
    )


def composition_columns(
    descriptors: NDArray[np.float32], true: Array, groups: NDArray[np.int64], seed: int
) -> NDArray[np.intp] | None:
    """Return the columns that trees for a target see, see `model.baselines.tree_columns`."""

    def grow(columns: NDArray[np.intp] | None, rows: NDArray[np.intp], others: NDArray[np.intp]) -> Array:
        forest = Forest.fit(descriptors[rows], true[rows], TREES, seed, columns)
        return (
            np.full(len(others), true[rows].mean())
            if forest is None
            else forest.predict(descriptors[others])[0]
        )

    return better_columns(grow, descriptors.shape[1], true, groups, seed, of_class=False)
