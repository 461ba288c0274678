"""From the disagreement of an ensemble to a standard deviation that can be trusted.

The variance of a prediction is modelled as a s^2 + b d^2 + c: s is the members' standard deviation, d the
distance of the slab from the training slabs in the network's embedding, c what neither knows of. a, b and c
maximise the likelihood of the validation errors under a normal distribution. The scale is then set by split
conformal prediction (Papadopoulos et al., ECML 2002; Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018): the
90 % interval is as wide as it must be to hold 90 % of the validation errors, whatever their distribution.
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
    """

    spread: float
    distance: float
    floor: float
    scale: float
    n: int

    def sigma(self, spread: ArrayLike, distance: ArrayLike) -> Array:
        """Return the standard deviation.

        Parameters
        ----------
        spread
            [n], standard deviation over the members, in the target's unit; zero for one member.
        distance
            [n], from the training slabs.
        """
        s, d = np.asarray(spread, dtype=float), np.asarray(distance, dtype=float)
        variance = self.spread * s**2 + self.distance * d**2 + self.floor
        return np.asarray(self.scale * np.sqrt(variance))


def calibrate(error: ArrayLike, spread: ArrayLike, distance: ArrayLike) -> Calibration:
    """Fit the standard deviation to validation errors.

    Parameters
    ----------
    error
        [n], predicted minus true; NaN without a label.
    spread, distance
        [n], see `Calibration.sigma`.

    Returns
    -------
    Calibration
        Infinitely wide if there is no label at all.
    """
    e, s, d = (np.asarray(a, dtype=float) for a in (error, spread, distance))
    known = np.isfinite(e)
    e, s, d = e[known], s[known], d[known]
    n = len(e)
    if n == 0:
        return Calibration(0.0, 0.0, 1.0, np.inf, 0)
    mean_square = float((e**2).mean()) or np.finfo(float).tiny
    a, b, c = (0.0, 0.0, mean_square) if n < FEWEST_LABELS else _most_likely(e**2, s**2, d**2, mean_square)
    raw = np.sqrt(a * s**2 + b * d**2 + c)
    # the smallest value that at least ceil((n + 1) 0.9) of the n scores do not exceed
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    width = float(np.sort(np.abs(e) / raw)[rank - 1])
    return Calibration(a, b, c, width / NORMAL_QUANTILE, n)


def _most_likely(e2: Array, s2: Array, d2: Array, mean_square: float) -> tuple[float, float, float]:
    """Maximise the normal likelihood over a, b, c >= 0; each is scaled to be of order one."""
    from scipy.optimize import minimize

    units = [mean_square / mean if (mean := float(x.mean())) > 0 else 0.0 for x in (s2, d2)]
    terms = np.stack([s2 * units[0], d2 * units[1], np.full_like(e2, mean_square)], axis=1)

    def loss(weights: Array) -> tuple[float, Array]:
        variance = terms @ weights
        value = float((np.log(variance / mean_square) + e2 / variance).mean())
        slope = terms.T @ (1 / variance - e2 / variance**2) / len(e2)
        return value, np.asarray(slope)

    # c stays above 1 % of the mean square: members that agree by chance are not certain
    found = minimize(
        loss, np.array([0.4, 0.3, 0.3]), jac=True, method="L-BFGS-B", bounds=[(0, 100), (0, 100), (0.01, 100)]
    )
    a, b, c = (float(w) for w in found.x)
    return a * units[0], b * units[1], c * mean_square
