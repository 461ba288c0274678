"""Blend weights of networks, trees and process, fitted on the validation set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


STEPS = 12
"""The share of networks, trees and process that is not `LEAST` is given out in so many equal parts."""

LEAST = 1 / 6
"""Share that each of the three has, whatever their errors on the validation set: a few chemical systems do
not represent others."""

FEWEST_LABELS = 60
"""Validation labels below which nothing is chosen by their errors: that would be chance, and intervals that
are calibrated on them too narrow. The weights are fixed then, and the process is that of `UNCHOSEN`."""

UNCHOSEN = 2  # place among `model.baselines.gaussian_process.STAGES`


@dataclass(frozen=True)
class BlendRule:
    """How the blend weights of networks, trees and process, in this order, follow from a validation set."""

    least: float = LEAST
    fewest: int | None = None  # validation labels that weights are fitted from; None: `FEWEST_LABELS`
    few: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)  # weights with fewer labels


USUAL = BlendRule()
RULES = {"composition": BlendRule(0.0, 30, (1 / 6, 1 / 2, 1 / 3))}
"""By kind; others: `USUAL`. Labels of compositions are not of facets of a few compounds, so that fewer can
choose; and networks that learn from few of them err so much that a fixed share would spoil the blend."""


def least_error(candidates: list[Array], true: Array, used: NDArray[np.bool_] | None = None) -> int:
    """Return which predictions [n] have the least MAE; the first with few labels. See `fit_blend_weights`."""
    known = _counting(true, used)
    return 0 if known is None else int(np.argmin([np.abs(one - true)[known].mean() for one in candidates]))


def fit_blend_weights(
    network: Array,
    trees: Array,
    stages: list[Array],
    true: Array,
    used: NDArray[np.bool_] | None = None,
    *,
    rule: BlendRule = USUAL,
) -> tuple[int, tuple[float, float, float]]:
    """Return the stage of the process and the blend weights with the least MAE on the validation set.

    Parameters
    ----------
    network, trees
        Their predictions, [n], in the target's unit.
    stages
        Predictions of the process at each stage, [n] each.
    true
        [n], NaN where there is no label.
    used
        [n], slabs whose errors count; None: all. Whether anything is fitted depends on all labels.
    rule
        Least weight of each, and what holds with few labels.

    Returns
    -------
    stage, weights
        Place among `stages`; weights of network, trees and process.
    """
    known = _counting(true, used, rule.fewest)
    if known is None:
        return UNCHOSEN, rule.few
    parts = np.array([(i, j, STEPS - i - j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)])
    shares = rule.least + (1 - 3 * rule.least) * parts / STEPS  # [choices, 3]
    errors = [
        np.abs(shares @ np.stack([network, trees, process])[:, known] - true[known]).mean(axis=1)
        for process in stages
    ]
    stage, choice = np.unravel_index(np.argmin(errors), (len(stages), len(shares)))
    a, b, c = (float(share) for share in shares[choice])
    return int(stage), (a, b, c)


def _counting(
    true: Array, used: NDArray[np.bool_] | None, fewest: int | None = None
) -> NDArray[np.bool_] | None:
    """Which errors count [n]; None with too few labels to choose anything by them."""
    known = np.isfinite(true)
    if known.sum() < (FEWEST_LABELS if fewest is None else fewest):
        return None
    return known & used if used is not None and (known & used).any() else known
