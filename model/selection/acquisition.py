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
from typing import TYPE_CHECKING

import numpy as np

from model.selection.pool import Known
from model.selection.strategies import ConditionalVariance, Diverse, Improvement, Uncertain, root_mean_square
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.selection.improvement import Objective
    from model.selection.pool import Pool
    from model.selection.strategies import Rule

    Array = NDArray[np.float64]
    Indices = NDArray[np.intp]


STRATEGIES = ("random", "uncertain", "diverse", "improvement")
"""In the order of how much they need of a model; only the first needs none."""

ALIKE = 0.25
"""Slabs nearer than this (in `model.evaluation.familiarity.TrainingMap.place`) tell much of one another. Of
the Mg set (preset best) the nearest facets of one compound lie 0.18 apart, any two facets of one
compound 0.68, any two slabs 1.45 (medians)."""

LEAST_CHANCE = 0.005
"""Chance to improve the front from which on ``improvement`` suggests a slab: what rounds to 0 % is no
suggestion."""

_LOOKED_AT = 256
"""Candidates whose scores are renewed at once; doubled while the best is not among them."""


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
        the median distance between candidates, about `ALIKE` on the Mg set.
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
    """Draw without replacement; per cost with chances that fall as the cost grows."""
    # an exponential variate divided by a candidate's weight, and the smallest first, draws as weights ask for
    # (Efraimidis and Spirakis, Information Processing Letters 97, 181, 2006)
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
