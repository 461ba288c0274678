"""Which descriptors of a composition its trees see: all, or the fractions and numeric columns alone.

Statistics of the properties of elements carry over to other elements. In alloys of one family (steels) they
move with the main element, and hide from trees what a tenth of a per cent of another does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.compositions.features import feature_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.baselines.extra_trees import Forest

    Array = NDArray[np.float64]
    Columns = NDArray[np.intp] | None
    # predictions [m] or [m, K] of trees on some columns: columns, training rows, other rows
    Grow = Callable[[Columns, NDArray[np.intp], NDArray[np.intp]], Array]

FOLDS = 5
TREES = 60  # of each fold
MOST_ROWS = 1500  # that the choice is made by, drawn at random: time grows with them
LEAST_GAIN = 0.01  # share of the error by which fractions alone must be better


def without_properties(width: int) -> NDArray[np.intp]:
    """Return the columns of fractions and numeric columns among D = `width` descriptors."""
    return np.arange(len(feature_names()), width)


def better_columns(
    grow: Grow, width: int, true: Array, groups: NDArray[np.int64], seed: int, *, of_class: bool
) -> Columns:
    """Return the columns whose trees err less on rows that they have not seen; None: all.

    Parameters
    ----------
    grow
        Fits `TREES` trees on columns and rows, and predicts other rows.
    width
        D, number of descriptors.
    true
        [n], labels, NaN where there is none; places of classes if `of_class`.
    groups
        [n], equal for rows of one composition: they share a fold.
    seed
        Of the folds.
    of_class
        Errors are squared differences of probabilities (Brier score), else absolute ones.
    """
    rng = np.random.default_rng(seed % 2**32)
    rows = rng.permutation(np.flatnonzero(np.isfinite(true)))[:MOST_ROWS]
    numbers, place = np.unique(groups[rows], return_inverse=True)
    if len(numbers) < 2 * FOLDS:
        return None
    fold = rng.permutation(len(numbers))[place] % FOLDS
    errors = []
    for columns in (None, without_properties(width)):
        lost = np.zeros(len(rows))
        for number in range(FOLDS):
            own = fold == number
            found, known = grow(columns, rows[~own], rows[own]), true[rows[own]]
            if of_class:
                given = np.arange(found.shape[1]) == known[:, None]
                lost[own] = ((found - given) ** 2).sum(axis=1)
            else:
                lost[own] = np.abs(found - known)
        errors.append(lost.mean())
    return without_properties(width) if errors[1] < (1 - LEAST_GAIN) * errors[0] else None


def columns_of(forest: Forest) -> Columns:
    """Return the columns that a forest of compositions was grown on; None: all."""
    used = forest.feature[forest.feature >= 0]
    return without_properties(forest.width) if len(used) and used.min() >= len(feature_names()) else None
