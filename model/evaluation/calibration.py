"""From the disagreement of an ensemble to a standard deviation that can be trusted.

The variance of a prediction is modelled as a s^2 + b d^2 + e t^2 + c: s is the members' standard deviation,
d the distance of the slab from the training slabs in the network's embedding, t the standard deviation over
the trees (`model.baselines.extra_trees`), if there are any, c what none of them knows of. a, b, e and c
maximise the likelihood of the validation errors under a normal distribution; the scale is then set so that
the 90 % interval holds 90 % of the validation errors.

The scale is cross-fitted: the validation slabs are divided into folds, and an error counts as it is with
blend weights (`model.baselines.blend_weights`) and a, b, e, c found without its fold. This is cross-conformal
prediction (V. Vovk, Ann. Math. Artif. Intell. 74, 9, 2015), with one exception that takes its guarantee away:
the same slabs chose the epoch at which each network was kept. What the intervals cover is measured
(``benchmarks/coverage.py``), not proved.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]
    Weights = tuple[float, float, float, float]

COVERAGE = 0.9
NORMAL_QUANTILE = 1.6448536269514722  # half-width of the central 90 % of the standard normal distribution

FOLDS = 5

FEWEST_LABELS = 20
"""With fewer validation labels only the constant c is fitted: three numbers would follow the noise."""


@dataclass(frozen=True)
class Calibration:
    """Turns spread and distance into a standard deviation of one target."""

    # spread, distance: a and b in units of the target squared, for s in the target's unit and d as it is
    # given
    spread: float
    distance: float
    floor: float  # c, in the target's unit squared
    # factor of the standard deviation that makes the 90 % interval cover 90 % of the cross-fitted validation
    # errors
    scale: float
    n: int  # validation labels behind it
    trees: float = 0.0  # e, without unit

    def sigma(self, spread: ArrayLike, distance: ArrayLike, trees: ArrayLike | None = None) -> Array:
        """Return the standard deviation [n].

        Parameters
        ----------
        spread, trees
            [n], standard deviations over the members (zero for one) and over the trees (None: no trees), in
            the target's unit.
        distance
            [n], from the training slabs.
        """
        s, d, t = (np.asarray(a, dtype=float) for a in (spread, distance, 0.0 if trees is None else trees))
        variance = self.spread * s**2 + self.distance * d**2 + self.floor + self.trees * t**2
        return np.asarray(self.scale * np.sqrt(variance))


def fold_numbers(names: Sequence[str]) -> NDArray[np.intp]:
    """Return the fold [n], from 0, of each validation slab: by a hash of its name, in any order."""
    ranked = sorted(set(names), key=lambda name: (hashlib.sha256(name.encode()).digest(), name))
    fold = {name: number % FOLDS for number, name in enumerate(ranked)}
    return np.array([fold[name] for name in names], dtype=np.intp)


def calibrate(
    error: ArrayLike,
    spread: ArrayLike,
    distance: ArrayLike,
    trees: ArrayLike | None = None,
    *,
    folds: ArrayLike,
    held_out: ArrayLike | None = None,
) -> Calibration:
    """Fit the standard deviation to validation errors.

    Parameters
    ----------
    error
        [n], predicted minus true; NaN without a label.
    spread, distance, trees
        [n], see `Calibration.sigma`.
    folds
        [n], see `fold_numbers`.
    held_out
        [folds, n], errors of predictions for which nothing was chosen by the labels of each fold; None:
        nothing was chosen by any, `error` stands for all.

    Returns
    -------
    Calibration
        Infinitely wide if there is no label at all. With fewer than nine labels the 90 % interval is as wide
        as the largest error and covers n / (n + 1) of exchangeable errors.
    """
    e = np.asarray(error, dtype=float)
    known = np.isfinite(e)
    disagreement = np.zeros_like(e) if trees is None else trees
    s, d, t = (np.asarray(a, dtype=float)[known] for a in (spread, distance, disagreement))
    e, fold, n = e[known], np.asarray(folds, dtype=np.intp)[known], int(known.sum())
    if n == 0:
        return Calibration(0.0, 0.0, 1.0, np.inf, 0)
    numbers = np.unique(fold)
    without = np.tile(e, (int(fold.max()) + 1, 1)) if held_out is None else np.asarray(held_out)[:, known]
    known_of = (s**2, d**2, t**2)
    scores = np.empty(n)
    for number in numbers:
        own = fold == number
        others = ~own if len(numbers) > 1 else own
        shape = _shape(_fitted(without[number], known_of, others), known_of)
        scores[own] = np.abs(without[number])[own] / shape[own]
    weights = _fitted(e, known_of, np.ones(n, dtype=bool))
    unit = float(np.mean(_variance(weights, known_of)))
    # the smallest value that at least ceil((n + 1) 0.9) of the n scores do not exceed
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    width = float(np.sort(scores)[rank - 1])
    a, b, of_trees, c = weights
    return Calibration(a, b, c, width / (NORMAL_QUANTILE * unit**0.5), n, of_trees)


def _fitted(error: Array, known_of: tuple[Array, Array, Array], used: NDArray[np.bool_]) -> Weights:
    """Return a, b, e and c for some of the labels; c alone where there are few in all."""
    mean_square = float((error[used] ** 2).mean()) or np.finfo(float).tiny
    if len(error) < FEWEST_LABELS:
        return 0.0, 0.0, 0.0, mean_square
    s2, d2, t2 = known_of
    return _most_likely(error[used] ** 2, (s2[used], d2[used], t2[used]), mean_square)


def _variance(weights: Weights, known_of: tuple[Array, Array, Array]) -> Array:
    s2, d2, t2 = known_of
    a, b, of_trees, c = weights
    return a * s2 + b * d2 + of_trees * t2 + c


def _shape(weights: Weights, known_of: tuple[Array, Array, Array]) -> Array:
    """Return the standard deviation up to a factor, its mean square over all labels being one."""
    # the factor is what the scores are to find: that of a few folds would add its own noise to them
    variance = _variance(weights, known_of)
    return np.asarray(np.sqrt(variance / variance.mean()))


def _most_likely(e2: Array, known_of: tuple[Array, Array, Array], mean_square: float) -> Weights:
    """Maximise the normal likelihood over weights >= 0 of s^2, d^2, t^2 and of a constant."""
    from scipy.optimize import minimize

    units = [mean_square / mean if (mean := float(x.mean())) > 0 else 0.0 for x in known_of]
    terms = np.stack(
        [*(x * unit for x, unit in zip(known_of, units, strict=True)), np.full_like(e2, mean_square)], axis=1
    )

    def loss(weights: Array) -> tuple[float, Array]:
        variance = terms @ weights
        value = float((np.log(variance / mean_square) + e2 / variance).mean())
        slope = terms.T @ (1 / variance - e2 / variance**2) / len(e2)
        return value, np.asarray(slope)

    # the constant stays above 1 % of the mean square: members that agree by chance are not certain
    bounds = [(0, 100)] * len(known_of) + [(0.01, 100)]
    start = np.array([0.4, 0.3, 0.3, 0.3])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    a, b, t, c = (float(w) for w in found.x)
    return a * units[0], b * units[1], t * units[2], c * mean_square
