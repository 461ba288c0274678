"""Strategies of acquisition: what each scores a candidate by, and how scores fall as others are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from model.selection.improvement import expected_improvement, front_of, hypervolume, improvement_chance
from model.selection.pool import NO_COMPOUND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.selection.improvement import Objective
    from model.selection.pool import Pool

    Array = NDArray[np.float64]
    Indices = NDArray[np.intp]


_ROWS_AT_ONCE = 2048
_SAMPLE = 500
_NOISE = 1e-6
"""Variance, as a share of a slab's own, that computing it leaves: DFT has no noise to speak of."""


class Rule(Protocol):
    """Scores of candidates, which fall as others are taken."""

    def scores(self, which: Indices) -> Array:
        """Score candidates after all that was taken, [len(which)]."""
        ...

    def reason(self, index: int) -> str:
        """Describe why a candidate is taken, before it is."""
        ...

    def take(self, index: int) -> None:
        """Count a candidate as computed."""
        ...


class ConditionalVariance:
    """The share of a candidate's variance that is left once others are known.

    The correlation of the errors of two slabs is a_i a_j for slabs of one compound, a = `common`
    (`model.evaluation.joint_errors`), plus (1 - a_i^2)^1/2 (1 - a_j^2)^1/2 exp(-d^2 / (2 length^2)), d being
    their distance. What is left is the conditional variance of a Gaussian process, which does not depend on
    the values that come out ("kriging believer": Ginsbourger, Le Riche and Carraro, in Computational
    Intelligence in Expensive Optimization Problems, Springer 2010, p. 131).
    """

    def __init__(self, pool: Pool, length: float | None) -> None:
        self._features, self._compounds = pool.features, pool.compounds
        self._length = length or _usual_length(pool.features)
        common = pool.common if pool.common.any() else pool.common[:, :1]  # all targets are alike then
        self._common, self._own = common.T, np.sqrt(1.0 - common.T**2)  # [T or 1, n]
        self._taken: list[int] = []
        self._factors = np.zeros((len(self._common), 0, 0))

    def share(self, which: Indices) -> Array:
        """Return the share by target, [len(which), T or 1], 1 for what nothing is known of."""
        if not self._taken:
            return np.ones((len(which), len(self._common)))
        known = [
            solve_triangular(factor, alike.T, lower=True, check_finite=False)
            for factor, alike in zip(self._factors, self._alike(which), strict=True)
        ]
        return np.stack([np.clip(1.0 - (rows**2).sum(axis=0), 0.0, 1.0) for rows in known], axis=1)

    def take(self, index: int) -> None:
        """Count a candidate as known: one more row of the Cholesky factors."""
        size = len(self._taken)
        larger = np.zeros((len(self._common), size + 1, size + 1))
        larger[:, :size, :size] = self._factors
        own = np.full(len(larger), 1.0 + _NOISE)
        if size:
            alike = self._alike(np.array([index]))[:, 0]
            for target, factor in enumerate(self._factors):
                row = solve_triangular(factor, alike[target], lower=True, check_finite=False)
                larger[target, size, :size] = row
                own[target] -= float(row @ row)
        larger[:, size, size] = np.sqrt(np.maximum(own, _NOISE))
        self._factors = larger
        self._taken.append(index)

    def _alike(self, which: Indices) -> Array:
        """Correlations, [T or 1, len(which), taken]."""
        squared = cdist(self._features[which], self._features[self._taken], "sqeuclidean")
        near = np.exp(-squared / (2 * self._length**2))
        own, numbers = self._compounds[which][:, None], self._compounds[self._taken]
        same = (own == numbers) & (numbers != NO_COMPOUND)
        return np.asarray(
            self._common[:, which, None] * self._common[:, None, self._taken] * same
            + self._own[:, which, None] * self._own[:, None, self._taken] * near
        )


def _usual_length(features: Array) -> float:
    """Return a sixth of the median distance between candidates; 1 where all are one."""
    sample = features[np.linspace(0, len(features) - 1, min(_SAMPLE, len(features))).astype(np.intp)]
    between = cdist(sample, sample)[np.triu_indices(len(sample), 1)]
    between = between[between > 0]
    return float(np.median(between)) / 6 if len(between) else 1.0


class Uncertain:
    """Greatest conditional standard deviation: greedy maximisation of the batch's entropy.

    Of several targets the root mean square counts, each in units of its spread. Source: Krause, Singh and
    Guestrin, J. Mach. Learn. Res. 9, 235 (2008), section 4.
    """

    def __init__(self, relative: Array, variance: ConditionalVariance) -> None:
        self._relative, self._variance = relative, variance
        self._median = float(np.median(root_mean_square(relative))) or 1.0

    def scores(self, which: Indices) -> Array:
        """Score candidates, see `Rule`."""
        return root_mean_square(self._relative[which] * np.sqrt(self._variance.share(which)))

    def reason(self, index: int) -> str:
        """Describe why, see `Rule`."""
        which = np.array([index])
        whole = float(root_mean_square(self._relative[which])[0])
        share = float(self.scores(which)[0]) / whole if whole > 0 else 1.0
        words = f"σ {whole / self._median:.1f} × the median"
        return words if share > 0.95 else f"{words}, {100 * share:.0f} % of it left after those above"

    def take(self, index: int) -> None:
        """Count as computed, see `Rule`."""
        self._variance.take(index)


def root_mean_square(relative: Array) -> Array:
    """Return the root mean square over targets [n] of standard deviations in units of spreads [n, T]."""
    return np.asarray(np.sqrt(np.mean(relative**2, axis=1)))


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
        """Describe why, see `Rule`."""
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
    """Expected improvement of the front, assuming that what was taken comes out as predicted."""

    def __init__(
        self,
        mean: Array,
        sigma: Array,
        objective: Objective,
        values: Array,
        variance: ConditionalVariance,
        least_chance: float = 0.0,
    ) -> None:
        self._mean, self._sigma = objective.upward(mean), objective.sigma(sigma)
        self._variance, self._least_chance = variance, least_chance
        known = objective.upward(values)
        known = known[np.isfinite(known).all(axis=1)]
        self._reference = objective.reference(known) if len(known) else self._mean.min(axis=0)
        self._front = front_of(known, self._reference)
        self._any = len(known) > 0
        # of one known value, or none, no share of a gain is defined
        self._whole = hypervolume(self._front, self._reference) if len(np.unique(known, axis=0)) > 1 else 0.0

    def scores(self, which: Indices) -> Array:
        """Score candidates, see `Rule`; minus infinity where the chance to improve is too small."""
        sigma = self._sigma_left(which)
        gain = expected_improvement(self._mean[which], sigma, self._front, self._reference)
        return gain if not self._any else np.where(self._chance(which) >= self._least_chance, gain, -np.inf)

    def reason(self, index: int) -> str:
        """Describe why, see `Rule`."""
        which = np.array([index])
        if not self._any:
            return "no value is known yet that it could beat"
        words = f"{100 * self._chance(which)[0]:.0f} % chance to beat the best"
        gain = float(self.scores(which)[0]) / self._whole if self._whole > 0 else 0.0
        return f"{words}, expected gain {100 * gain:.2g} %" if 0 < gain < 10 else words

    def take(self, index: int) -> None:
        """Count as computed, see `Rule`."""
        self._variance.take(index)
        self._any = True
        self._front = front_of(np.vstack([self._front, self._mean[index]]), self._reference)

    def _sigma_left(self, which: Indices) -> Array:
        return np.asarray(self._sigma[which] * np.sqrt(self._variance.share(which)))

    def _chance(self, which: Indices) -> Array:
        return improvement_chance(self._mean[which], self._sigma_left(which), self._front, self._reference)
