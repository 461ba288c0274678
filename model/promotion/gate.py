"""The gate: a new model replaces another if it is better by more than chance on the same held-out slabs.

Errors are absolute, in standard deviations of the training labels, so that targets of different units can be
averaged. Slabs of one compound are alike, so the compound is what counts: each compound's error is the mean
over its slabs, and every compound has the same weight. The difference of two models is resampled over
compounds, both models on the same draw (paired bootstrap of clusters: Efron and Tibshirani, An Introduction
to the Bootstrap, 1993, ch. 13; Field and Welsh, J. R. Stat. Soc. B 69 (2007) 369; the percentile interval is
expanded for few compounds, see `model.evaluation.metrics.bootstrap`). The new model is better if

1. the 95 % interval of the difference, averaged over targets, lies below zero, and
2. no single target got worse with its whole interval above zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.metrics import Interval, bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_COMPOUNDS = 6
"""Held-out compounds below which nothing can be decided: n pairs all point one way by chance alone with
probability 2**-n, which is below the 2.5 % of one side of the interval from six on."""


@dataclass(frozen=True)
class Judgement:
    """Two models compared."""

    better: bool  # whether the new one is better by more than chance
    reason: str  # why, in words and numbers
    # ours, theirs: mean scaled errors of the new model and of the other
    ours: float
    theirs: float
    difference: Interval  # ours minus theirs with its 95 % interval; below zero is better
    by_target: dict[str, Interval]  # the same for each target
    compounds: int  # held-out compounds


def compound_errors(
    compounds: Sequence[str],
    true: Mapping[str, Array],
    predicted: Mapping[str, Array],
    scale: Mapping[str, float],
) -> Array:
    """Return the mean scaled error of each compound and target.

    Parameters
    ----------
    compounds
        Name of each slab's compound, [n].
    true, predicted
        [n] by target; NaN in `true` where there is no label.
    scale
        Standard deviation of the training labels by target.

    Returns
    -------
    ndarray
        [compounds in alphabetical order, targets in the order of `true`]; NaN without labels.
    """
    names, place = np.unique(np.asarray(compounds), return_inverse=True)
    columns = []
    for target, values in true.items():
        known = np.isfinite(values)
        error = np.abs(predicted[target] - values)[known] / scale[target]
        sums = np.bincount(place[known], error, minlength=len(names))
        counts = np.bincount(place[known], minlength=len(names))
        columns.append(np.divide(sums, counts, out=np.full(len(names), np.nan), where=counts > 0))
    return np.stack(columns, axis=1)


def judge(
    compounds: Sequence[str],
    true: Mapping[str, Array],
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
    scale: Mapping[str, float],
    rival: str,
) -> Judgement:
    """Compare the predictions of a new model (`ours`) with those of a `rival` on held-out slabs.

    compounds, true, scale: see `compound_errors`; `rival` is a name, such as "v3" or "predicting the training
    mean".
    """
    mine = compound_errors(compounds, true, ours, scale)
    other = compound_errors(compounds, true, theirs, scale)
    # what one model cannot predict is no difference, but an error
    if not np.array_equal(np.isnan(mine), np.isnan(other)):
        raise ValueError("a model predicted NaN for a held-out slab")
    difference = mine - other
    overall = bootstrap(difference, _mean_over_targets)
    by_target = {
        target: bootstrap(column[np.isfinite(column)])
        for target, column in zip(true, difference.T, strict=True)
        if np.isfinite(column).any()
    }
    n = len(difference)
    scores = (float(_mean_over_targets(mine[None])[0]), float(_mean_over_targets(other[None])[0]))
    worse = [name for name, interval in by_target.items() if interval.low > 0]
    numbers = (
        f"mean scaled error {scores[0]:.3f} against {scores[1]:.3f} on {n} held-out compounds, "
        f"difference {_words(overall)}"
    )
    if n < FEWEST_COMPOUNDS:
        better, verdict = False, f"{n} held-out compounds are too few to tell (at least {FEWEST_COMPOUNDS})"
    elif overall.low > 0:
        better, verdict = False, f"worse than {rival}"
    elif overall.high >= 0:
        better, verdict = False, f"not better than {rival} by more than chance"
    elif worse:
        better, verdict = False, f"better on the whole, but worse in {', '.join(worse)}"
    else:
        better, verdict = True, f"better than {rival}"
    if len(by_target) > 1:
        numbers += f" ({', '.join(f'{name} {_words(value)}' for name, value in by_target.items())})"
    return Judgement(better, f"{verdict}: {numbers}", *scores, overall, by_target, n)


def _mean_over_targets(drawn: Array) -> Array:
    """Mean over targets of the mean over compounds with a label: [draws, compounds, targets] to [draws]."""
    known = np.isfinite(drawn)
    counts = known.sum(axis=1)
    sums = np.where(known, drawn, 0.0).sum(axis=1)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    present = (counts > 0).sum(axis=1)
    overall: Array = np.divide(means.sum(axis=1), present, out=np.zeros(len(drawn)), where=present > 0)
    return overall


def _words(interval: Interval) -> str:
    return f"{interval.mean:+.3f} (95 %: {interval.low:+.3f} to {interval.high:+.3f})"
