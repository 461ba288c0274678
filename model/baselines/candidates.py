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
from stores.method_names import quantity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.baselines.carried_rows import LabelledRows

    Array = NDArray[np.float64]


RANKED = ("bulk",)
"""Kinds of structures whose trees and process are fitted to the ranks of the labels as well, see
`model.baselines.label_ranks`: the validation set chooses. Labels of slabs have no long tail."""

WITHOUT_OFFSET = ("work_function",)
"""Targets whose process has no offset of compounds: no energy of the bulk enters them, nor does it help."""


@dataclass(frozen=True, eq=False)
class FitSettings:
    """How forests and processes of one target are fitted."""

    trees: int
    seed: int
    offsets: bool  # whether compounds have offsets in the processes
    ranked: bool  # whether ranks of the labels are fitted as well
    columns: NDArray[np.intp] | None = None  # that forests of the labels see; None: all

    @classmethod
    def of(cls, kind: str, name: str, rows: LabelledRows, trees: int, seed: int) -> Self:
        """Choose for a target of inputs of a kind, whose training rows are given."""
        columns = None
        if kind == "composition":
            columns = recall(composition_columns, rows.descriptors, rows.labels[name], rows.compounds, seed)
        offsets = kind == "slab" and quantity_of(name) not in WITHOUT_OFFSET
        return cls(trees, seed, offsets, kind in RANKED, columns)

    def fit(self, rows: LabelledRows, true: Array) -> Fitted | None:
        """Fit to the labels [n] of rows; None with too few."""
        numbers, described = rows.compounds if self.offsets else None, rows.descriptors
        grown = [recall(Forest.fit, described, true, self.trees, self.seed, self.columns)]
        if self.ranked:
            grown.append(recall(ranked_forest, described, true, self.trees, self.seed))
        forests = tuple(forest for forest in grown if forest is not None)
        stages = recall(GaussianProcess.fit, described, true, self.seed, numbers)
        processes = recall(RankedProcess.fit, described, true, self.seed) if self.ranked else ()
        return Fitted(rows, true, forests, stages, processes) if forests and stages else None


@dataclass(frozen=True, eq=False)
class Fitted:
    """Forests and processes of one target on some rows, among which the validation set chooses."""

    rows: LabelledRows
    labels: Array  # [n] of the target
    forests: tuple[Forest, ...]  # of the labels, then of their ranks where these are tried
    stages: tuple[GaussianProcess, ...]  # of the labels
    ranked: tuple[RankedProcess, ...]  # of their ranks, at each stage

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
