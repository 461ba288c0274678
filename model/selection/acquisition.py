"""Which slabs to compute next: strategies over the predictions for candidates, as functions on arrays.

========================= ==========================================================================
strategy                  takes first
========================= ==========================================================================
``random``                any
``uncertain``             the greatest standard deviation that the slabs taken before leave
``diverse``               the farthest from all known and taken slabs, weighted by standard deviation
``improvement``           the largest expected improvement toward an objective
                          (`model.selection.improvement`)
========================= ==========================================================================

All but the first are greedy and look at what was taken before, so that a batch is not one facet many times
over; the standard deviation left counts that facets of one compound share a part of their errors. Each may
rank by score per cost. Scores only fall as slabs are taken, so that few candidates need a second look (lazy
greedy; Minoux, Lecture Notes in Control and Information Sciences 7, 234, 1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from model.selection.improvement import expected_improvement, front_of, hypervolume, improvement_chance
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from model.selection.improvement import Objective

    Array = NDArray[np.float64]
    Indices = NDArray[np.intp]


_ROWS_AT_ONCE = 2048
_SAMPLE = 500
_NOISE = 1e-6
"""Variance, as a share of a slab's own, that computing it leaves: DFT has no noise to speak of."""

NO_COMPOUND = -1
"""Number of the compound of a slab that shares no error with another."""
MOST_COMMON = 0.99
"""Largest part of sigma that slabs of a compound are taken to share: no two are one."""


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


STRATEGIES = ("random", "uncertain", "diverse", "improvement")
"""In the order of how much they need of a model; only the first needs none."""

ALIKE = 0.25
"""Slabs nearer than this (in `model.evaluation.familiarity.TrainingMap.place`) tell much of one another. Of
the shared Mg slabs (preset best) the nearest facets of one compound lie 0.18 apart, any two facets of one
compound 0.68, any two slabs 1.45 (medians)."""

LEAST_CHANCE = 0.005
"""Chance to improve the front from which on ``improvement`` suggests a slab: what rounds to 0 % is no
suggestion."""

_LOOKED_AT = 256
"""Candidates whose scores are renewed at once; doubled while the best is not among them."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known of n candidates."""

    # mean, sigma: [n, T], predictions of T targets and their standard deviations, in the targets' units
    mean: Array
    sigma: Array
    features: Array  # [n, D], places of the slabs; near ones are alike. Distances are Euclidean
    cost: Array  # [n], positive, in any unit
    common: Array  # [n, T], part of sigma that slabs of one compound share, in units of sigma: from 0 to 1
    compounds: NDArray[np.int64]  # [n], equal for slabs of one compound; `NO_COMPOUND`: a slab alone

    @classmethod
    def of(
        cls,
        mean: ArrayLike,
        sigma: ArrayLike,
        features: ArrayLike,
        cost: ArrayLike | None = None,
        shared: ArrayLike | None = None,
        compounds: Sequence[str] | None = None,
    ) -> Pool:
        """Convert arrays; one target may come as [n], a cost of one stands for all.

        Parameters
        ----------
        shared
            [n, T], part of sigma that slabs of one compound share, in its unit, see
            `model.evaluation.joint_errors`; NaN where it is not known. None: nowhere.
        compounds
            [n], keys; None: each slab for itself.

        Raises
        ------
        InputError
            If shapes do not fit, a mean, place or cost is no number, or a cost is not positive.
        """
        m, s, x = (np.asarray(a, dtype=np.float64) for a in (mean, sigma, features))
        m, s, x = (a[:, None] if a.ndim == 1 else a for a in (m, s, x))
        c = np.ones(len(m)) if cost is None else np.asarray(cost, dtype=np.float64)
        if m.shape != s.shape or not len(m) == len(x) == len(c) or c.ndim != 1:
            shapes = ", ".join(str(a.shape) for a in (m, s, x, c))
            raise InputError(f"mean, sigma, features and cost do not fit together: shapes {shapes}")
        if not (np.isfinite(m).all() and np.isfinite(x).all() and np.isfinite(c).all() and (c > 0).all()):
            raise InputError("a candidate has a prediction, place or cost that is no number; leave it out")
        common, numbers = np.zeros_like(m), np.full(len(m), NO_COMPOUND, dtype=np.int64)
        if shared is not None and compounds is not None:
            part = np.nan_to_num(np.asarray(shared, dtype=np.float64).reshape(m.shape))
            common = np.clip(part / np.where(s > 0, s, np.inf), 0.0, MOST_COMMON)
            numbers = np.unique(np.asarray(compounds, dtype=str), return_inverse=True)[1].astype(np.int64)
        return cls(m, s, x, c, common, numbers)

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of m slabs that were computed."""

    values: Array  # [m, T], targets in the order of the pool's; NaN where a slab has none
    features: Array  # [k, D], places of computed slabs: any number of them, not necessarily those of `values`


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen."""

    index: int  # its number in the pool
    score: float  # what the strategy took it for, when it did; in units of the strategy
    reason: str  # the same in words


def choose(
    pool: Pool,
    n: int,
    strategy: str,
    *,
    seed: int = 0,
    known: Known | None = None,
    scale: Sequence[float] | None = None,
    objective: Objective | None = None,
    length: float | None = None,
    per_cost: bool = False,
    budget: float | None = None,
    least_chance: float = 0.0,
) -> list[Choice]:
    """Choose candidates, the best first.

    Parameters
    ----------
    n
        How many; fewer come back where the pool or the budget is smaller, or the chances are too small.
    strategy
        One of `STRATEGIES`.
    seed
        Of ``random``.
    known
        Computed slabs: places to keep away from (``diverse``), values to improve on (``improvement``).
    scale
        T numbers, the spread of each target; uncertainties are added up in units of it. By default the
        standard deviation of the pool's predictions.
    objective
        Of ``improvement``: what is to grow and what to shrink.
    length
        Distance at which the correlation of two slabs is exp(-1/2). By default a sixth of
        the median distance between candidates, about `ALIKE` on the shared Mg slabs.
    per_cost
        Rank by score per cost.
    budget
        Largest sum of costs; what no longer fits is passed over.
    least_chance
        Of ``improvement``: candidates with a smaller chance to improve the front are left out.

    Raises
    ------
    InputError
        If the strategy is unknown, lacks an objective, or needs uncertainties where there are none.
    """
    check_strategy(strategy)
    if n < 1:
        raise InputError(f"{n} slabs cannot be chosen; ask for at least 1")
    if not len(pool):
        return []
    if strategy == "random":
        return _random(pool, n, seed, per_cost, budget)
    check_sigma(pool.sigma, strategy)
    spread = np.asarray(scale, dtype=np.float64) if scale is not None else pool.mean.std(axis=0)
    relative = pool.sigma / np.where(spread > 0, spread, 1.0)
    nothing = Known(np.zeros((0, pool.mean.shape[1])), np.zeros((0, pool.features.shape[1])))
    rule: Rule
    if strategy == "uncertain":
        rule = Uncertain(relative, ConditionalVariance(pool, length))
    elif strategy == "diverse":
        rule = Diverse(root_mean_square(relative), pool.features, (known or nothing).features)
    else:
        if objective is None:
            raise InputError("the strategy improvement needs an objective: what is to grow, what to shrink")
        values = (known or nothing).values
        rule = Improvement(
            pool.mean, pool.sigma, objective, values, ConditionalVariance(pool, length), least_chance
        )
    return _greedy(rule, pool.cost, n, per_cost, budget)


def check_strategy(name: str) -> None:
    """Refuse an unknown strategy; raises InputError."""
    if name not in STRATEGIES:
        raise InputError(f"strategy {name!r} is unknown; there are {', '.join(STRATEGIES)}")


def check_sigma(sigma: Array, strategy: str) -> None:
    """Refuse uncertainties that are missing, negative or all equal; raises InputError."""
    advice = "train an ensemble (mgsurf train --members 5), or take --strategy random"
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise InputError(f"the model has no uncertainty, which --strategy {strategy} needs; {advice}")
    if len(sigma) > 1 and (np.ptp(sigma, axis=0) <= 1e-9 * sigma.max(axis=0)).all():
        raise InputError(
            f"the model is equally uncertain of every candidate, so that --strategy {strategy} has nothing "
            f"to go by (a single network, or too few validation slabs); {advice}"
        )


def _greedy(rule: Rule, cost: Array, n: int, per_cost: bool, budget: float | None) -> list[Choice]:
    divisor = cost if per_cost else np.ones_like(cost)
    bound = rule.scores(np.arange(len(cost))) / divisor
    renewed = np.zeros(len(cost), dtype=np.int64)  # how many were taken when the score was last computed
    left = np.inf if budget is None else budget
    chosen: list[Choice] = []
    while len(chosen) < min(n, len(cost)):
        bound[cost > left] = -np.inf
        best, block = int(bound.argmax()), _LOOKED_AT
        while renewed[best] < len(chosen) and bound[best] > -np.inf:
            which = _largest(bound, block)
            which = which[(renewed[which] < len(chosen)) & (bound[which] > -np.inf)]
            bound[which] = rule.scores(which) / divisor[which]
            renewed[which] = len(chosen)
            best, block = int(bound.argmax()), 2 * block
        if bound[best] == -np.inf:
            break
        words = rule.reason(best) + (f"; {cost[best]:.3g} core-hours" if per_cost else "")
        chosen.append(Choice(best, float(bound[best]), words))
        rule.take(best)
        left -= cost[best]
        bound[best] = -np.inf
    return chosen


def _largest(values: Array, count: int) -> Indices:
    """Return where the largest values are, in any order."""
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, -count)[-count:]


def _random(pool: Pool, n: int, seed: int, per_cost: bool, budget: float | None) -> list[Choice]:
    """Draw without replacement; per cost with chances that fall as the cost grows.

    An exponential variate divided by a candidate's weight, and the smallest first, draws as weights ask for
    (Efraimidis and Spirakis, Information Processing Letters 97, 181, 2006).
    """
    keys = np.random.default_rng(seed).exponential(size=len(pool))
    words = f"drawn at random (seed {seed})"
    if per_cost:
        keys, words = keys * pool.cost, f"drawn at random, cheap ones more often (seed {seed})"
    left = np.inf if budget is None else budget
    chosen: list[Choice] = []
    for index in np.argsort(keys):
        if len(chosen) == n:
            break
        if pool.cost[index] <= left:
            chosen.append(Choice(int(index), float(-keys[index]), words))
            left -= pool.cost[index]
    return chosen
