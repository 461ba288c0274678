"""What a target is judged by: the error of a quantity or of classes, its name, and changes of it.

A finished training has one error of each target, which is lower where it is better: the MAE of a quantity,
the log loss of classes. Studies and ablations compare this one. While a network trains, and in a search for
settings, the error of classes is the missed probability (`model.training.train.validation_errors`):
probabilities get their temperature only in the end, and until then a log loss would judge how sure a network
is rather than what it knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.metrics import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Criterion:
    """What a target is judged by."""

    name: str
    higher: bool  # whether it is a score, of which changes are differences; else an error: ratios minus one

    def change(self, ours: Sequence[float], theirs: Sequence[float]) -> Interval:
        """Return the mean change over pairs of runs with its 95 % interval by Student's t.

        Of ratios the mean is geometric. One pair has no interval: both ends are its change.
        """
        a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        if not self.higher and a.min() > 0 and b.min() > 0:
            each = _t_interval(np.log(a / b))
            return Interval(*(math.expm1(value) for value in (each.mean, each.low, each.high)))
        return _t_interval(a - b)

    def gain(self, change: Interval) -> int:
        """Return 1 if the interval shows a gain, -1 if it shows a loss, 0 if neither."""
        sign = (change.low > 0) - (change.high < 0)
        return sign if self.higher else -sign


MAE = Criterion("MAE", higher=False)
LOG_LOSS = Criterion("log loss", higher=False)  # natural logarithm, without a unit
MISSED = Criterion("missed probability", higher=False)  # that the true class is not given
F1 = Criterion("F1", higher=True)
RECALL = Criterion("recall", higher=True)  # F1 and recall are means over classes

CRITERIA = {one.name: one for one in (MAE, LOG_LOSS, F1, RECALL)}
"""By their names, as tables have them."""


def _t_interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    from scipy.stats import t

    n, mean = len(values), float(values.mean())
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class TargetError:
    """Error of a target in a finished training."""

    criterion: Criterion  # `MAE` or `LOG_LOSS`
    unit: str | None  # of a quantity, where the labels state it
    # by set (train, val, test): n labels, and the error in this unit, None without labels and for classes of
    # older runs whose predictions are gone
    n: Mapping[str, int]
    values: Mapping[str, float | None]

    @property
    def val(self) -> float | None:
        """Error of the validation set."""
        return self.values["val"]

    @property
    def test(self) -> float | None:
        """Error of the test set."""
        return self.values["test"]


def judged_targets(run: Mapping[str, Any]) -> list[str]:
    """Return the targets that a finished training has errors of, quantities first; run: its ``run.json``."""
    return [*run["metrics"], *run.get("classes", {})]


def error_of(run: Mapping[str, Any], target: str) -> TargetError:
    """Return the error of a target; run: content of ``run.json``, see `model.training.runs.read_run`."""
    if target in run["metrics"]:
        criterion, key, found = MAE, "mae", run["metrics"][target]
    else:
        criterion, key, found = LOG_LOSS, "log_loss", run["classes"][target]
    sets = {part: found[part] for part in ("train", "val", "test") if part in found}
    return TargetError(
        criterion,
        found.get("unit"),
        {part: errors["n"] for part, errors in sets.items()},
        {part: errors.get(key) for part, errors in sets.items()},
    )
