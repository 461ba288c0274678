"""What the strategies of `model.acquisition` hope for of a candidate, after all that was taken before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from model.improvement import expected_improvement, front_of, hypervolume, improvement_chance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.improvement import Goal

    Array = NDArray[np.float64]
    Indices = NDArray[np.intp]

_ROWS_AT_ONCE = 2048
_SAMPLE = 500
_NOISE = 1e-6
"""Variance, as a share of a slab's own, that computing it leaves: DFT has no noise to speak of."""


class Rule(Protocol):
    """Scores that fall as candidates are taken."""

    def scores(self, which: Indices) -> Array:
        """Score candidates after all that was taken, [len(which)]."""
        ...

    def reason(self, index: int) -> str:
        """Say why a candidate is taken, before it is."""
        ...

    def take(self, index: int) -> None:
        """Count a candidate as computed."""
        ...


class Left:
    """The share of a candidate's variance that is left once others are known.

    What two slabs have in common falls with their distance d as exp(-d^2 / (2 length^2)); the rest is the
    conditional variance of a Gaussian process, which does not depend on the values that come out ("kriging
    believer": Ginsbourger, Le Riche and Carraro, in Computational Intelligence in Expensive Optimization
    Problems, Springer 2010, p. 131).
    """

    def __init__(self, features: Array, length: float | None) -> None:
        self._features = features
        self._length = length or _usual_length(features)
        self._taken: list[int] = []
        self._factor = np.zeros((0, 0))

    def share(self, which: Indices) -> Array:
        """Return the share, [len(which)], 1 for what nothing is known of."""
        if not self._taken:
            return np.ones(len(which))
        known = solve_triangular(self._factor, self._alike(which).T, lower=True, check_finite=False)
        return np.asarray(np.clip(1.0 - (known**2).sum(axis=0), 0.0, 1.0))

    def take(self, index: int) -> None:
        """Count a candidate as known: one more row of the Cholesky factor."""
        size = len(self._taken)
        larger = np.zeros((size + 1, size + 1))
        larger[:size, :size] = self._factor
        own = 1.0 + _NOISE
        if size:
            alike = self._alike(np.array([index]))[0]
            row = solve_triangular(self._factor, alike, lower=True, check_finite=False)
            larger[size, :size] = row
            own -= float(row @ row)
        larger[size, size] = np.sqrt(max(own, _NOISE))
        self._factor = larger
        self._taken.append(index)

    def _alike(self, which: Indices) -> Array:
        """[len(which), taken]."""
        squared = cdist(self._features[which], self._features[self._taken], "sqeuclidean")
        return np.asarray(np.exp(-squared / (2 * self._length**2)))


def _usual_length(features: Array) -> float:
    """Return a sixth of the median distance between candidates; 1 where all are one."""
    sample = features[np.linspace(0, len(features) - 1, min(_SAMPLE, len(features))).astype(np.intp)]
    between = cdist(sample, sample)[np.triu_indices(len(sample), 1)]
    between = between[between > 0]
    return float(np.median(between)) / 6 if len(between) else 1.0


class Uncertain:
    """Greatest conditional standard deviation: greedy maximisation of the batch's entropy.

    Source: Krause, Singh and Guestrin, J. Mach. Learn. Res. 9, 235 (2008), section 4.
    """

    def __init__(self, relative: Array, left: Left) -> None:
        self._relative, self._left = relative, left
        self._median = float(np.median(relative)) or 1.0

    def scores(self, which: Indices) -> Array:
        """Score candidates, see `Rule`."""
        return np.asarray(self._relative[which] * np.sqrt(self._left.share(which)))

    def reason(self, index: int) -> str:
        """Say why, see `Rule`."""
        share = float(np.sqrt(self._left.share(np.array([index]))[0]))
        words = f"σ {self._relative[index] / self._median:.1f} × the median"
        return words if share > 0.95 else f"{words}, {100 * share:.0f} % of it left after those above"

    def take(self, index: int) -> None:
        """Count as computed, see `Rule`."""
        self._left.take(index)


class Diverse:
    """Greedy k-centre with weights: standard deviation times the distance from the nearest known slab.

    Source: Sener and Savarese, ICLR 2018 (core-set), after Gonzalez, Theor. Comput. Sci. 38, 293 (1985); the
    weights are ours, so that a far slab of which the model is sure does not come first. Without any known
    slab the middle of the pool stands for one.
    """

    def __init__(self, relative: Array, features: Array, known: Array) -> None:
        self._relative, self._features = relative, features
        centres = known if len(known) else features.mean(axis=0, keepdims=True)
        self._nearest = np.concatenate(
            [
                cdist(features[i : i + _ROWS_AT_ONCE], centres).min(axis=1)
                for i in range(0, len(features), _ROWS_AT_ONCE)
            ]
        )
        self._medians = [float(np.median(values)) or 1.0 for values in (self._nearest, relative)]
        self._taken: list[int] = []

    def scores(self, which: Indices) -> Array:
        """Score candidates, see `Rule`."""
        return np.asarray(self._relative[which] * self._distance(which))

    def reason(self, index: int) -> str:
        """Say why, see `Rule`."""
        far = self._distance(np.array([index]))[0] / self._medians[0]
        uncertain = self._relative[index] / self._medians[1]
        return f"{far:.2g} × as far from known and chosen slabs as the median, σ {uncertain:.1f} × the median"

    def take(self, index: int) -> None:
        """Count as computed, see `Rule`."""
        self._taken.append(index)

    def _distance(self, which: Indices) -> Array:
        if not self._taken:
            return self._nearest[which]
        taken = cdist(self._features[which], self._features[self._taken]).min(axis=1)
        return np.asarray(np.minimum(self._nearest[which], taken))


class Improvement:
    """Expected improvement of the front, after what was taken is believed to come out as predicted."""

    def __init__(
        self, mean: Array, sigma: Array, goal: Goal, values: Array, left: Left, least_chance: float = 0.0
    ) -> None:
        self._mean, self._sigma = goal.upward(mean), goal.sigma(sigma)
        self._left, self._least_chance = left, least_chance
        known = goal.upward(values)
        known = known[np.isfinite(known).all(axis=1)]
        self._reference = goal.reference(known) if len(known) else self._mean.min(axis=0)
        self._front = front_of(known, self._reference)
        self._any = len(known) > 0
        # of one known value, or none, no share of a gain can be told
        self._whole = hypervolume(self._front, self._reference) if len(np.unique(known, axis=0)) > 1 else 0.0

    def scores(self, which: Indices) -> Array:
        """Score candidates, see `Rule`; minus infinity where the chance to improve is too small."""
        sigma = self._sigma_left(which)
        gain = expected_improvement(self._mean[which], sigma, self._front, self._reference)
        return gain if not self._any else np.where(self._chance(which) >= self._least_chance, gain, -np.inf)

    def reason(self, index: int) -> str:
        """Say why, see `Rule`."""
        which = np.array([index])
        if not self._any:
            return "no value is known yet that it could beat"
        words = f"{100 * self._chance(which)[0]:.0f} % chance to beat the best"
        gain = float(self.scores(which)[0]) / self._whole if self._whole > 0 else 0.0
        return f"{words}, expected gain {100 * gain:.2g} %" if 0 < gain < 10 else words

    def take(self, index: int) -> None:
        """Count as computed, see `Rule`."""
        self._left.take(index)
        self._any = True
        self._front = front_of(np.vstack([self._front, self._mean[index]]), self._reference)

    def _sigma_left(self, which: Indices) -> Array:
        return np.asarray(self._sigma[which] * np.sqrt(self._left.share(which))[:, None])

    def _chance(self, which: Indices) -> Array:
        return improvement_chance(self._mean[which], self._sigma_left(which), self._front, self._reference)
