"""From the disagreement of an ensemble to a standard deviation that can be trusted.

The variance of a prediction is modelled as a s^2 + b d^2 + e t^2 + c: s is the members' standard deviation,
d the distance of the slab from the training slabs in the network's embedding, t the standard deviation over
the trees (`model.forest`), if there are any, c what none of them knows of. a, b, e and c maximise the
likelihood of the validation errors under a normal distribution. The scale is then set by split conformal
prediction (Papadopoulos et al., ECML 2002; Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018): the 90 %
interval is as wide as it must be to hold 90 % of the validation errors, whatever their distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

COVERAGE = 0.9
NORMAL_QUANTILE = 1.6448536269514722
"""Half-width of the central 90 % of the standard normal distribution."""

FEWEST_LABELS = 20
"""With fewer validation labels only the constant c is fitted: three numbers would follow the noise."""


@dataclass(frozen=True)
class Calibration:
    """Turns spread and distance into a standard deviation of one target.

    Attributes
    ----------
    spread, distance
        a and b in units of the target squared, for s in the target's unit and d as it is given.
    floor
        c, in the target's unit squared.
    scale
        Factor of the standard deviation that makes the 90 % interval cover 90 % of the validation errors.
    n
        Validation labels behind it.
    trees
        e, without unit.
    """

    spread: float
    distance: float
    floor: float
    scale: float
    n: int
    trees: float = 0.0

    def sigma(self, spread: ArrayLike, distance: ArrayLike, trees: ArrayLike | None = None) -> Array:
        """Return the standard deviation.

        Parameters
        ----------
        spread
            [n], standard deviation over the members, in the target's unit; zero for one member.
        distance
            [n], from the training slabs.
        trees
            [n], standard deviation over the trees, in the target's unit; None: there are no trees.
        """
        s, d, t = (np.asarray(a, dtype=float) for a in (spread, distance, 0.0 if trees is None else trees))
        variance = self.spread * s**2 + self.distance * d**2 + self.floor + self.trees * t**2
        return np.asarray(self.scale * np.sqrt(variance))


def calibrate(
    error: ArrayLike, spread: ArrayLike, distance: ArrayLike, trees: ArrayLike | None = None
) -> Calibration:
    """Fit the standard deviation to validation errors.

    Parameters
    ----------
    error
        [n], predicted minus true; NaN without a label.
    spread, distance, trees
        [n], see `Calibration.sigma`; None: there are no trees.

    Returns
    -------
    Calibration
        Infinitely wide if there is no label at all.
    """
    e = np.asarray(error, dtype=float)
    known = np.isfinite(e)
    disagreement = np.zeros_like(e) if trees is None else trees
    s, d, t = (np.asarray(a, dtype=float)[known] for a in (spread, distance, disagreement))
    e = e[known]
    n = len(e)
    if n == 0:
        return Calibration(0.0, 0.0, 1.0, np.inf, 0)
    mean_square = float((e**2).mean()) or np.finfo(float).tiny
    weights = (0.0, 0.0, 0.0, mean_square)
    if n >= FEWEST_LABELS:
        weights = _most_likely(e**2, (s**2, d**2, t**2), mean_square)
    a, b, of_trees, c = weights
    raw = np.sqrt(a * s**2 + b * d**2 + of_trees * t**2 + c)
    # the smallest value that at least ceil((n + 1) 0.9) of the n scores do not exceed
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    width = float(np.sort(np.abs(e) / raw)[rank - 1])
    return Calibration(a, b, c, width / NORMAL_QUANTILE, n, of_trees)


def _most_likely(
    e2: Array, told: tuple[Array, Array, Array], mean_square: float
) -> tuple[float, float, float, float]:
    """Maximise the normal likelihood over weights >= 0 of what is told and of a constant."""
    from scipy.optimize import minimize

    units = [mean_square / mean if (mean := float(x.mean())) > 0 else 0.0 for x in told]
    terms = np.stack(
        [*(x * unit for x, unit in zip(told, units, strict=True)), np.full_like(e2, mean_square)], axis=1
    )

    def loss(weights: Array) -> tuple[float, Array]:
        variance = terms @ weights
        value = float((np.log(variance / mean_square) + e2 / variance).mean())
        slope = terms.T @ (1 / variance - e2 / variance**2) / len(e2)
        return value, np.asarray(slope)

    # the constant stays above 1 % of the mean square: members that agree by chance are not certain
    bounds = [(0, 100)] * len(told) + [(0.01, 100)]
    start = np.array([0.4, 0.3, 0.3, 0.3])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    a, b, t, c = (float(w) for w in found.x)
    return a * units[0], b * units[1], t * units[2], c * mean_square
