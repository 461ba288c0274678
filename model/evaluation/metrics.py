"""Errors of predictions, their spread, and how far they can be trusted; as plain values for JSON and reports.

Arrays of one target hold NaN where a slab has no label; such slabs do not count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.splits import PARTS
from model.evaluation.calibration import NORMAL_QUANTILE
from stores.plain import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from model.data.dataset import Dataset
    from model.data.splits import Split

    Array = NDArray[np.float64]


BOOTSTRAP_DRAWS = 10_000
_BOOTSTRAP_NUMBERS = 2_000_000
"""Drawn at once (16 MB): 10,000 draws of 5,000 compounds with two targets would be 800 MB."""


@dataclass(frozen=True)
class Errors:
    """How well one target is predicted on one part."""

    n: int  # labelled slabs
    # mae, rmse: in the target's unit
    mae: float
    rmse: float
    r2: float  # one minus the residual over the total sum of squares; NaN if the labels are all equal
    mape: float  # mean absolute error in per cent of the label; labels of zero do not count


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float


def errors(true: ArrayLike, predicted: ArrayLike) -> Errors:
    """Compare predictions [n] with labels [n], NaN where there is no label."""
    y, p = _labelled(true, predicted)
    if not len(y):
        return Errors(0, np.nan, np.nan, np.nan, np.nan)
    residual = p - y
    total = float(((y - y.mean()) ** 2).sum())
    nonzero = y != 0
    return Errors(
        n=len(y),
        mae=float(np.abs(residual).mean()),
        rmse=float(np.sqrt((residual**2).mean())),
        r2=1 - float((residual**2).sum()) / total if total > 0 else np.nan,
        mape=100 * float(np.abs(residual[nonzero] / y[nonzero]).mean()) if nonzero.any() else np.nan,
    )


def per_element(
    elements: Sequence[Iterable[str]], true: ArrayLike, predicted: ArrayLike
) -> dict[str, Errors]:
    """Return the errors over the slabs that hold each element, in alphabetical order."""
    return {name: errors(*pair) for name, pair in _grouped(elements, true, predicted).items()}


def by_system(systems: Sequence[str], true: ArrayLike, predicted: ArrayLike) -> dict[str, Errors]:
    """Return the errors of each chemical system, in alphabetical order."""
    return per_element([(system,) for system in systems], true, predicted)


def macro_average(errors_by_system: dict[str, Errors]) -> float:
    """Return the mean of the systems' MAEs, each system counting once, however many slabs it has."""
    values = [e.mae for e in errors_by_system.values() if e.n]
    return float(np.mean(values)) if values else np.nan


def facet_order(compounds: Sequence[str], true: ArrayLike, predicted: ArrayLike) -> tuple[float, int]:
    """Measure how well facets of a compound are ordered: Kendall's tau-b, averaged over compounds.

    Returns
    -------
    tuple
        Mean tau (1: every order right, 0: chance) and the number of compounds that entered: those with at
        least two different labels. NaN if there is none.
    """
    from scipy.stats import kendalltau

    taus = []
    for y, p in _grouped([(c,) for c in compounds], true, predicted).values():
        if len(np.unique(y)) > 1:
            # equal predictions for different facets tell nothing about their order
            taus.append(float(kendalltau(y, p).statistic) if len(np.unique(p)) > 1 else 0.0)
    return (float(np.mean(taus)), len(taus)) if taus else (np.nan, 0)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[Array], Array] | None = None,
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
) -> Interval:
    """Return a statistic of values and its 95 % percentile interval over resamples, expanded for few values.

    The plain percentile interval is too narrow by the missing n / (n - 1) of the variance and by the normal
    in place of Student's t; its tails are moved out so that the interval of a mean has the right width:
    Hesterberg, Am. Stat. 69 (2015) 371, doi 10.1080/00031305.2015.1089789 (expanded percentile interval).

    Parameters
    ----------
    values
        [n] or [n, k]: one row per unit that is drawn (a seed, a chemical system).
    statistic
        Maps [draws, n, ...] to [draws]; the mean over n by default.
    """
    array = np.asarray(values, dtype=float)
    measure = statistic or (lambda drawn: np.asarray(drawn.mean(axis=1)))
    rng, at_once = np.random.default_rng(seed), max(1, _BOOTSTRAP_NUMBERS // max(array.size, 1))
    found = [
        measure(array[rng.integers(len(array), size=(min(at_once, draws - done), len(array)))])
        for done in range(0, draws, at_once)
    ]
    tail = _expanded_tail(len(array))
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return Interval(float(measure(array[None])[0]), float(low), float(high))


def _expanded_tail(n: int) -> float:
    """Return the share of resamples beyond each end of a 95 % interval over n values; 0 for a single one."""
    from scipy.stats import norm, t

    return float(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf(0.975, n - 1))) if n > 1 else 0.0


def relative_change(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Return mean(ours) / mean(theirs) - 1 with its 95 % interval, drawn over the pairs.

    Below zero, ours is lower; -0.12 is 12 % lower.
    """
    pairs = np.stack([np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)], axis=1)
    return bootstrap(pairs, lambda drawn: drawn[..., 0].mean(axis=1) / drawn[..., 1].mean(axis=1) - 1)


def mean_and_spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Return mean and standard deviation over runs of the values that are known; None where undefined."""
    known = [value for value in values if value is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": float(np.mean(known)) if known else None, "spread": spread}


def coverage(true: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of labels within their interval; NaN without labels."""
    y = np.asarray(true, dtype=float)
    inside = (y >= np.asarray(low)) & (y <= np.asarray(high))
    return float(inside[np.isfinite(y)].mean()) if np.isfinite(y).any() else np.nan


def spearman_of_sigma(true: ArrayLike, predicted: ArrayLike, sigma: ArrayLike) -> float:
    """Return Spearman's rank correlation of the predicted standard deviation with the absolute error.

    NaN for fewer than three labels or a standard deviation that is the same for all.
    """
    from scipy.stats import spearmanr

    y, p, s = (np.asarray(a, dtype=float) for a in (true, predicted, sigma))
    known = np.isfinite(y)
    if known.sum() < 3 or np.ptp(s[known]) == 0:
        return np.nan
    return float(spearmanr(s[known], np.abs(p - y)[known]).statistic)


def _labelled(true: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    y, p = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    known = np.isfinite(y)
    return y[known], p[known]


def _grouped(
    names: Sequence[Iterable[str]], true: ArrayLike, predicted: ArrayLike
) -> dict[str, tuple[Array, Array]]:
    """Return labels and predictions of the slabs that carry each name."""
    y, p = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    members: dict[str, list[int]] = defaultdict(list)
    for i, own in enumerate(names):
        for name in own:
            members[name].append(i)
    return {name: _labelled(y[members[name]], p[members[name]]) for name in sorted(members)}


@dataclass(frozen=True, eq=False)
class Predictions:
    """Numbers for n slabs."""

    mean: dict[str, Array]  # [n] by target, in the target's unit
    sigma: dict[str, Array]  # [n] by target, calibrated standard deviation
    # [n], from the training slabs in the embedding: above one a slab is less like them than nine in ten of
    # them are like the others, see `model.evaluation.familiarity`
    distance: Array
    # [n, K] by target: probability of each class of the targets that are classes; these have no mean
    probabilities: dict[str, Array] = field(default_factory=dict)
    # [n] by target, standard deviation of the part of the error that the slabs of a compound share, see
    # `model.evaluation.joint_errors`; targets only that the model knows it of
    shared: dict[str, Array] = field(default_factory=dict)
    # [n], whether the training set has slabs of the compound; None where the model cannot tell
    trained: NDArray[np.bool_] | None = None

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Join predictions of one model for several lots of slabs, in their order."""
        first = parts[0]

        def together(name: str) -> dict[str, Array]:
            lots = [getattr(part, name) for part in parts]
            return {target: np.concatenate([lot[target] for lot in lots]) for target in lots[0]}

        return cls(
            together("mean"),
            together("sigma"),
            np.concatenate([part.distance for part in parts]),
            together("probabilities"),
            together("shared"),
            None if first.trained is None else np.concatenate([part.trained for part in parts]),
        )

    def interval(self, target: str) -> tuple[Array, Array]:
        """Return both ends of the 90 % interval, [n] each."""
        half = NORMAL_QUANTILE * self.sigma[target]
        return self.mean[target] - half, self.mean[target] + half

    def take(self, indices: Sequence[int] | NDArray[np.intp]) -> Predictions:
        """Return the predictions of these slabs."""
        chosen = np.asarray(indices, dtype=np.intp)
        return Predictions(
            {name: values[chosen] for name, values in self.mean.items()},
            {name: values[chosen] for name, values in self.sigma.items()},
            self.distance[chosen],
            {name: values[chosen] for name, values in self.probabilities.items()},
            {name: values[chosen] for name, values in self.shared.items()},
            None if self.trained is None else self.trained[chosen],
        )


def labels(dataset: Dataset, target: str) -> Array:
    """Return a target's labels, [n]; NaN where a slab has none."""
    values = [entry.targets.get(target) for entry in dataset]
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def evaluate(dataset: Dataset, split: Split, predicted: Predictions) -> dict[str, Any]:
    """Judge predictions for every slab of a data set, in its order.

    Returns
    -------
    dict
        By target: ``train``, ``val`` and ``test`` (n, mae, rmse, r2, mape), and of the test set
        ``coverage_90``, ``spearman_sigma``, ``facet_order`` (mean Kendall tau within compounds, and how many
        compounds), ``macro_mae`` (over chemical systems), ``by_element`` and ``by_system``. None where a
        number is not defined. ``unit``, where the data set states it.
    """
    return {target: _of_target(dataset, split, predicted, target) for target in predicted.mean}


def _of_target(dataset: Dataset, split: Split, predicted: Predictions, target: str) -> dict[str, Any]:
    result: dict[str, Any] = {"unit": dataset.units[target]} if target in dataset.units else {}
    for name in PARTS:
        indices = list(split.part(name))
        true = labels(dataset.subset(indices), target)
        result[name] = _plain(errors(true, predicted.mean[target][indices]))
    test = list(split.test)
    part = dataset.subset(test)
    ours = predicted.take(test)
    true, mean = labels(part, target), ours.mean[target]
    # crystals have no facets: each is alone
    facets = [entry.compound if entry.kind == "slab" else entry.record_id for entry in part]
    tau, compounds = facet_order(facets, true, mean)
    systems = by_system([entry.chemsys for entry in part], true, mean)
    return result | {
        "coverage_90": finite(coverage(true, *ours.interval(target))),
        "spearman_sigma": finite(spearman_of_sigma(true, mean, ours.sigma[target])),
        "facet_order": {"kendall_tau": finite(tau), "compounds": compounds},
        "macro_mae": finite(macro_average(systems)),
        "by_element": {
            name: _plain(e) for name, e in per_element([e.elements for e in part], true, mean).items()
        },
        "by_system": {name: _plain(e) for name, e in systems.items()},
    }


def prediction_rows(dataset: Dataset, split: Split, predicted: Predictions) -> list[dict[str, Any]]:
    """Return one row per slab of the split, for parity plots.

    Keys: ``record_id``, ``formula``, ``chemsys``, ``part``, ``distance`` and, for each target, its label
    under its own name, ``<target>_predicted``, ``<target>_sigma`` and, where the model states it,
    ``<target>_shared``, the part of sigma that slabs of a compound have in common; for classes, which are
    numbered from 0, ``<target>_p_<class>`` instead of these two.
    """
    rows = []
    for name in PARTS:
        for i in split.part(name):
            entry = dataset[i]
            row: dict[str, Any] = {
                "record_id": entry.record_id,
                "formula": entry.formula,
                "chemsys": entry.chemsys,
                "part": name,
                "distance": finite(float(predicted.distance[i])),
            }
            for target, mean in predicted.mean.items():
                row[target] = entry.targets.get(target)
                row[f"{target}_predicted"] = finite(float(mean[i]))
                row[f"{target}_sigma"] = finite(float(predicted.sigma[target][i]))
                if target in predicted.shared:
                    row[f"{target}_shared"] = finite(float(predicted.shared[target][i]))
            for target, probabilities in predicted.probabilities.items():
                row[target] = entry.targets.get(target)
                row[f"{target}_predicted"] = int(probabilities[i].argmax())
                for one, share in zip(dataset.classes[target], probabilities[i].tolist(), strict=True):
                    row[f"{target}_p_{one}"] = share
            rows.append(row)
    return rows


def total_loss(evaluation: Mapping[str, Any], spread: Mapping[str, float]) -> float:
    """Return the sum over targets of the test set's mean squared error in units of the labels' variance.

    The nearest to the "total loss" of Shi et al., who do not say how theirs is standardised. `spread` is the
    standard deviation of the training labels by target.
    """
    return float(sum((evaluation[t]["test"]["rmse"] / spread[t]) ** 2 for t in evaluation))


def _plain(e: Errors) -> dict[str, Any]:
    return {name: finite(value) if name != "n" else value for name, value in asdict(e).items()}
