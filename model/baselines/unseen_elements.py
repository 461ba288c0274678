"""Trees and Gaussian process for slabs with elements that the training set lacks, for each target.

Only slabs with a label of the target count: elements that are labelled for another target alone are unseen.

What errs least on a random validation set, where all elements are known, is not what carries to others: a
process of learned lengths and trees that know the neighbouring slabs win there, equal lengths win here. So
the training set is divided into folds by chemical system, and trees and process that never saw the elements
of a fold predict it: their errors choose the process and its share against the trees, calibrate the interval,
and show how alike the errors of one compound are. Validation slabs with such elements count as well; where
there are enough of them, they have chosen the blend of all three already, and it is kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import MOST_FOR_LENGTHS, GaussianProcess
from model.baselines.recent_fits import recall
from model.data.splits import k_fold
from model.evaluation.calibration import Calibration, calibrate
from model.evaluation.joint_errors import correlation_within
from stores.errors import InputError, refusing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.baselines.carried_rows import LabelledRows
    from model.data.dataset import Dataset

    Array = NDArray[np.float64]
    Shares = tuple[float, float, float]

FOLDS = 5
TREES = 50
"""Trees of a fold: so many show the error of more, and cost little beside a training."""
NO_FOLD = -1
FEWEST_LABELS = 60
"""Slabs predicted without their elements below which nothing is chosen by them."""
NETWORK_SHARE = 1 / 6
"""Share of the networks, of which no fold has any: the least that they have elsewhere, too."""
TREE_SHARES = np.linspace(0.2, 0.8, 7)
"""Shares of the trees in what the networks leave: a few chemical systems do not represent others, so that
neither trees nor process are silenced."""


@dataclass(frozen=True, eq=False)
class UnseenElements:
    """What predicts one target of slabs with elements that the training set lacks."""

    process: GaussianProcess
    shares: Shares  # of networks, trees and process; they sum to 1
    calibration: Calibration  # of the deviation of the trees
    correlation: float  # between the errors of two slabs of one compound, from 0 to below 1
    # atomic numbers of the training slabs with a label; None in files of older versions, which took those of
    # all training slabs for known
    elements: frozenset[int] | None = None

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {
            "process": self.process.state(),
            "shares": list(self.shares),
            "calibration": asdict(self.calibration),
            "correlation": self.correlation,
            **({} if self.elements is None else {"elements": sorted(self.elements)}),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state` of D = `width` descriptors; raises InputError if its parts do not fit together."""
        process = GaussianProcess.from_state(state["process"], width)
        with refusing("its numbers for unseen elements are damaged"):
            a, b, c = (float(share) for share in state["shares"])
            numbers = dict(state["calibration"])
            calibration = Calibration(**{name: float(v) for name, v in numbers.items() if name != "n"},
                                      n=int(numbers["n"]))  # fmt: skip
            correlation = float(state["correlation"])
            elements = frozenset(int(z) for z in state["elements"]) if "elements" in state else None
            whole = min(a, b, c) >= 0 and abs(a + b + c - 1) < 1e-6 and 0 <= correlation < 1
        if not whole or not calibration.scale > 0:
            raise InputError("its numbers for unseen elements do not fit together")
        return cls(process, (a, b, c), calibration, correlation, elements)


@dataclass(frozen=True, eq=False)
class Folds:
    """The training set by chemical system, each fold once without its elements."""

    fold: NDArray[np.intp]  # [n], of each training slab
    elements: tuple[frozenset[int], ...]  # [n], atomic numbers of each training slab

    def known_elements(self, labelled: NDArray[np.bool_]) -> frozenset[int]:
        """Return the atomic numbers of the slabs [n] that have a label."""
        return frozenset().union(*(self.elements[i] for i in np.flatnonzero(labelled)))

    def unseen(self, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether no labelled slab of another fold has one of the slab's elements: [n]."""
        others = [self.known_elements(labelled & (self.fold != number)) for number in range(FOLDS)]
        pairs = zip(self.fold.tolist(), self.elements, strict=True)
        return np.array([not others[number].issuperset(own) for number, own in pairs], dtype=bool)

    @classmethod
    def of(cls, train_part: Dataset) -> Self | None:
        """Divide a training set; None with too few chemical systems."""
        try:
            splits = k_fold(train_part, "chemsys", FOLDS)
        except InputError:
            return None
        fold = np.zeros(len(train_part), dtype=np.intp)
        for number, split in enumerate(splits):
            fold[list(split.test)] = number
        return cls(fold, tuple(frozenset(entry.graph.numbers.tolist()) for entry in train_part))

    def beside(self, n: int) -> Folds:
        """Return the folds of n rows, the training set first: the others are in no fold, so in all rests.

        Their elements do not count.
        """
        more = n - len(self.fold)
        return Folds(
            np.concatenate([self.fold, np.full(more, NO_FOLD)]), (*self.elements, *[frozenset[int]()] * more)
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """Slabs with labels of one target: [n] each, descriptors [n, D]."""

    descriptors: NDArray[np.float32]
    labels: Array  # NaN where there is none
    compounds: Sequence[str]  # keys, equal for slabs of one compound
    numbers: NDArray[np.int64]  # of the compounds, as the processes know them


def fit_trees_ahead(rows: LabelledRows, name: str, folds: Folds, seed: int) -> None:
    """Grow the trees that `fit_unseen` needs of the training set; it recalls them."""
    known = np.isfinite(rows.labels[name])
    judged = known & folds.unseen(known)
    recall(_fold_trees, rows.descriptors, rows.labels[name], folds.fold, judged, seed)


def _fold_trees(
    descriptors: NDArray[np.float32],
    labels: Array,
    fold: NDArray[np.intp],
    judged: NDArray[np.bool_],
    seed: int,
) -> tuple[Array, Array]:
    """Predict the judged slabs of each fold by trees that grew without it; mean and deviation, [n] each."""
    known = np.isfinite(labels)
    mean, spread = np.full(len(known), np.nan), np.full(len(known), np.nan)
    for number in range(FOLDS):
        out, rest = judged & (fold == number), known & (fold != number)
        if out.any() and (forest := Forest.fit(descriptors[rest], labels[rest], TREES, seed)) is not None:
            mean[out], spread[out] = forest.predict(descriptors[out])
    return mean, spread


def fit_unseen(
    stages: Sequence[GaussianProcess],
    training: Sample,
    folds: Folds,
    validation: Sample,
    validation_trees: tuple[Array, Array],
    blend: tuple[Shares, Array],
    seed: int,
) -> UnseenElements | None:
    """Choose process and shares for slabs of unseen elements, and calibrate them.

    Parameters
    ----------
    stages
        Processes of the whole training set, among which one is chosen, the last being that of all other
        slabs; refitted without each fold, with the lengths that they have.
    training, folds
        The training set.
    validation, validation_trees
        Validation slabs with elements that no training slab with a label has, and what its trees predict
        for them: mean and deviation.
    blend
        Shares of networks, trees and process for all other slabs, and what they predict for these.
    seed
        Of the trees.

    Returns
    -------
    UnseenElements or None
        None with fewer than `FEWEST_LABELS` slabs in all.
    """
    known = np.isfinite(training.labels)
    judged = known & folds.unseen(known)
    judged_val = np.isfinite(validation.labels)
    if judged.sum() + judged_val.sum() < FEWEST_LABELS or not judged.any():
        return None
    trees, spread = recall(_fold_trees, training.descriptors, training.labels, folds.fold, judged, seed)
    each = np.full((len(stages), len(known)), np.nan)
    for number in range(FOLDS):
        out = judged & (folds.fold == number) & np.isfinite(trees)
        rest = known & (folds.fold != number)
        if not out.any():
            continue
        some = np.random.default_rng(seed % 2**32).permutation(np.flatnonzero(rest))[:MOST_FOR_LENGTHS]
        for place, process in enumerate(stages):
            without = process.refitted(
                training.descriptors[some], training.labels[some], training.numbers[some]
            )
            each[place, out] = without.predict(training.descriptors[out])
    used = np.isfinite(trees)
    if used.sum() + judged_val.sum() < FEWEST_LABELS:
        return None
    deviation = np.concatenate([spread[used], validation_trees[1][judged_val]])
    true, true_val = training.labels[used], validation.labels[judged_val]
    if judged_val.sum() >= FEWEST_LABELS:
        stage, shares = len(stages) - 1, blend[0]
        without_networks = (shares[1] * trees + shares[2] * each[stage])[used] / (shares[1] + shares[2])
        error = np.concatenate([without_networks - true, blend[1][judged_val] - true_val])
    else:
        tree, truth = np.concatenate([trees[used], validation_trees[0][judged_val]]), [*true, *true_val]
        processes = [
            np.concatenate([row[used], process.predict(validation.descriptors[judged_val])])
            for row, process in zip(each, stages, strict=True)
        ]
        errors = np.array([np.multiply.outer(TREE_SHARES, tree - p) + p - truth for p in processes])
        stage, step = np.unravel_index(np.abs(errors).mean(axis=2).argmin(), errors.shape[:2])
        share, error = float(TREE_SHARES[step]), errors[stage, step]
        shares = (NETWORK_SHARE, (1 - NETWORK_SHARE) * share, (1 - NETWORK_SHARE) * (1 - share))
    names = [training.compounds[i] for i in np.flatnonzero(used).tolist()]
    names += [validation.compounds[i] for i in np.flatnonzero(judged_val).tolist()]
    numbers = np.concatenate([folds.fold[used], np.full(int(judged_val.sum()), FOLDS)])
    nothing = np.zeros(len(error))
    calibration = calibrate(error, nothing, nothing, deviation, folds=numbers)
    correlation = correlation_within(error / calibration.sigma(0.0, 0.0, deviation), names)
    elements = folds.known_elements(known)
    return UnseenElements(stages[stage], shares, calibration, correlation, elements)
