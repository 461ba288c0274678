"""Expected labels: predictions out of sample, learned from the other compounds of a store.

Extremely randomised trees on the descriptors of slabs are fitted without the compound they predict, so that
a wrong label cannot teach them. They look at a third of the descriptors at each split and keep two slabs to
a leaf, which takes a quarter of the time of a model's trees (`model.baselines.extra_trees`). Needs
scikit-learn (the extra ``model``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.calibration import FOLDS, fold_numbers
from stores.errors import InputError, install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from model.audit.slabs import AuditSlabs
    from model.graphs.cache import GraphCache
    from model.training.ensemble import Ensemble

    Array = NDArray[np.float64]

TREES = 40
FEWEST_LABELS = 100  # with fewer labels trees predict other compounds too poorly to judge a label
FEWEST_COMPOUNDS = 16
QUANTILE = 0.9


@dataclass(frozen=True, eq=False)
class Expectation:
    """Expected labels of N slabs."""

    values: Array  # [N], in the target's unit; NaN where nothing is expected
    spread: Array  # [N], standard deviation over the trees, or of the model
    half_width: Array  # [N], of the interval that holds `QUANTILE` of the labels
    source: str  # where they come from, for people


def cross_validated(
    descriptors: NDArray[np.float32],
    labels: Array,
    compounds: Sequence[str],
    *,
    without: Collection[str] = (),
    tick: Callable[[int, int], None] | None = None,
) -> Expectation | None:
    """Predict each slab by trees that were fitted without its compound; None with too few labels.

    Parameters
    ----------
    descriptors, labels
        [N, D] and [N], NaN where there is no label.
    compounds
        [N], their keys.
    without
        Compounds that no tree is fitted to.
    tick
        Called with the number of folds done and how many there are.

    Raises
    ------
    InputError
        If scikit-learn is missing.
    """
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError as error:
        raise InputError(
            f"expected values need scikit-learn ({error}): {install_command('model')}"
        ) from error

    known = np.isfinite(labels)
    names = np.array(compounds)
    if known.sum() < FEWEST_LABELS or len(set(names[known])) < FEWEST_COMPOUNDS:
        return None
    fold = fold_numbers(compounds)
    trusted = known & ~np.isin(names, list(without))
    values, spread = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    for k in range(FOLDS):
        test = fold == k
        if test.any() and (trusted & ~test).any():
            trees = ExtraTreesRegressor(
                TREES, max_features=0.33, min_samples_leaf=2, random_state=k, n_jobs=1
            )
            trees.fit(descriptors[trusted & ~test], labels[trusted & ~test])
            each = np.stack([tree.predict(descriptors[test]) for tree in trees.estimators_])
            values[test], spread[test] = each.mean(axis=0), each.std(axis=0)
        if tick is not None:
            tick(k + 1, FOLDS)
    # normalised errors, as of conformal prediction; the constant keeps leaves of one value from zero widths
    usual = spread + np.nanmedian(spread)
    half = np.nanquantile(np.abs(labels - values)[trusted] / usual[trusted], QUANTILE) * usual
    return Expectation(values, spread, half, "trees grown without it")


def by_model(
    ensemble: Ensemble, uri: str, slabs: AuditSlabs, cache: GraphCache | None
) -> dict[str, Expectation]:
    """Predict the slabs of an audit (from the store `uri`) with a trained model; by target.

    A model that was trained on a wrong label knows it: such labels stand out less than out of sample.
    """
    from model.data.dataset import Dataset

    dataset = Dataset.from_store(
        uri,
        [name for name, labels in slabs.labels.items() if np.isfinite(labels).any()],
        settings=ensemble.graph_settings,
        methods=[slabs.method],
        cache=cache,
    )
    graphs = {entry.record_id: entry.graph for entry in dataset}
    places = [i for i, entry in enumerate(slabs.entries) if entry.record_id in graphs]
    predicted = ensemble.predict([graphs[slabs.entries[i].record_id] for i in places])
    found = {}
    for target in set(predicted.mean) & set(slabs.labels):
        values, half = np.full(len(slabs.entries), np.nan), np.full(len(slabs.entries), np.nan)
        values[places] = predicted.mean[target]
        half[places] = predicted.interval(target)[1] - predicted.mean[target]
        found[target] = Expectation(values, half, half, "the model")
    return found
