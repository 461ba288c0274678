"""Which slabs to compute next: strategies over what a model says of candidates, as functions on arrays.

========================= ==========================================================================
strategy                  takes first
========================= ==========================================================================
``random``                any
``uncertain``             the greatest standard deviation that the slabs taken before leave
``diverse``               the farthest from all known and taken slabs, weighted by standard deviation
``improvement``           the largest expected improvement toward a goal (`model.improvement`)
========================= ==========================================================================

All but the first are greedy and look at what was taken before, so that a batch is not one facet many times
over. Each may weigh what it hopes for by cost. Scores only fall as slabs are taken, so that few candidates
need a second look (lazy greedy; Minoux, Lecture Notes in Control and Information Sciences 7, 234, 1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.batch_rules import Diverse, Improvement, Left, Uncertain
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from model.batch_rules import Rule
    from model.improvement import Goal

    Array = NDArray[np.float64]
    Indices = NDArray[np.intp]

STRATEGIES = ("random", "uncertain", "diverse", "improvement")
"""In the order of how much they ask of a model; only the first asks nothing."""

ALIKE = 0.25
"""Slabs nearer than this (in `model.familiarity.TrainingMap.place`) tell much of one another. Of the shared
Mg slabs (preset best) the nearest facets of one compound lie 0.18 apart, any two facets of one compound 0.68,
any two slabs 1.45 (medians)."""

LEAST_CHANCE = 0.005
"""Chance to improve the front from which on ``improvement`` suggests a slab: what rounds to 0 % is no
suggestion."""

_LOOKED_AT = 256
"""Candidates whose scores are renewed at once; doubled while the best is not among them."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known of n candidates.

    Attributes
    ----------
    mean, sigma
        [n, T], predictions of T targets and their standard deviations, in the targets' units.
    features
        [n, D], places of the slabs; near ones are alike. Distances are Euclidean.
    cost
        [n], positive, in any unit.
    """

    mean: Array
    sigma: Array
    features: Array
    cost: Array

    @classmethod
    def of(
        cls, mean: ArrayLike, sigma: ArrayLike, features: ArrayLike, cost: ArrayLike | None = None
    ) -> Pool:
        """Take over arrays; one target may come as [n], a cost of one stands for all.

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
        return cls(m, s, x, c)

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of m slabs that were computed.

    Attributes
    ----------
    values
        [m, T], targets in the order of the pool's; NaN where a slab has none.
    features
        [k, D], places of computed slabs: any number of them, not necessarily those of `values`.
    """

    values: Array
    features: Array


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen.

    Attributes
    ----------
    index
        Its number in the pool.
    score
        What the strategy took it for, when it did; in units of the strategy.
    reason
        The same in words.
    """

    index: int
    score: float
    reason: str


def choose(
    pool: Pool,
    n: int,
    strategy: str,
    *,
    seed: int = 0,
    known: Known | None = None,
    scale: Sequence[float] | None = None,
    goal: Goal | None = None,
    length: float | None = None,
    per_cost: bool = False,
    budget: float | None = None,
    least_chance: float = 0.0,
) -> list[Choice]:
    """Choose candidates, the best first.

    Parameters
    ----------
    pool
        The candidates.
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
    goal
        Of ``improvement``: what is to grow and what to shrink.
    length
        Distance at which a slab tells exp(-1/2) of what there is to know of another. By default a sixth of
        the median distance between candidates, about `ALIKE` on the shared Mg slabs.
    per_cost
        Divide what is hoped for by the cost.
    budget
        Largest sum of costs; what no longer fits is passed over.
    least_chance
        Of ``improvement``: candidates with a smaller chance to improve the front are left out.

    Raises
    ------
    InputError
        If the strategy is unknown, lacks a goal, or needs uncertainties where there are none.
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
    relative = np.sqrt(np.mean((pool.sigma / np.where(spread > 0, spread, 1.0)) ** 2, axis=1))
    nothing = Known(np.zeros((0, pool.mean.shape[1])), np.zeros((0, pool.features.shape[1])))
    rule: Rule
    if strategy == "uncertain":
        rule = Uncertain(relative, Left(pool.features, length))
    elif strategy == "diverse":
        rule = Diverse(relative, pool.features, (known or nothing).features)
    else:
        if goal is None:
            raise InputError("the strategy improvement needs a goal: what is to grow, what to shrink")
        values = (known or nothing).values
        rule = Improvement(pool.mean, pool.sigma, goal, values, Left(pool.features, length), least_chance)
    return _greedy(rule, pool.cost, n, per_cost, budget)


def check_strategy(name: str) -> None:
    """Refuse an unknown strategy.

    Raises
    ------
    InputError
        Naming those there are.
    """
    if name not in STRATEGIES:
        raise InputError(f"strategy {name!r} is unknown; there are {', '.join(STRATEGIES)}")


def check_sigma(sigma: Array, strategy: str) -> None:
    """Refuse uncertainties that tell no candidate from another.

    Raises
    ------
    InputError
        If one is missing or negative, or all are equal.
    """
    advice = "train an ensemble (mgsurf train --members 5), or take --strategy random"
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise InputError(f"the model tells no uncertainty, which --strategy {strategy} needs; {advice}")
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
