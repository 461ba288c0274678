"""How well classes are predicted: accuracy, F1 of each class, area under the ROC curve of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.splits import PARTS
from model.evaluation.metrics import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.data.splits import Split
    from model.evaluation.metrics import Predictions

    Array = NDArray[np.float64]


def evaluate_classes(dataset: Dataset, split: Split, predicted: Predictions) -> dict[str, Any]:
    """Judge the probabilities of classes for every entry of a data set, in its order.

    Returns
    -------
    dict
        By target: ``classes`` (their names), and `class_errors` of ``train``, ``val`` and ``test``.
    """
    found: dict[str, Any] = {}
    for target, probabilities in predicted.probabilities.items():
        names, true = dataset.classes[target], labels(dataset, target)
        found[target] = {"classes": list(names)}
        for part in PARTS:
            indices = list(split.part(part))
            found[target][part] = class_errors(true[indices], probabilities[indices], names)
    return found


def class_errors(true: Array, probabilities: Array, names: Sequence[str]) -> dict[str, Any]:
    """Compare probabilities [n, K] with places of the true classes [n], NaN where there is no label.

    Returns
    -------
    dict
        ``n`` labels, ``accuracy``, ``f1`` of each class by name (harmonic mean of precision and recall) and
        their mean ``macro_f1``, and for two classes ``roc_auc``. None where a number is not defined: F1 of a
        class that neither occurs nor is predicted, the area with one class alone.
    """
    known = np.isfinite(true)
    places, shares = true[known].astype(int), probabilities[known]
    chosen = shares.argmax(axis=1) if len(shares) else places
    f1: dict[str, float | None] = {}
    for k, name in enumerate(names):
        both = int(((chosen == k) & (places == k)).sum())
        either = int((chosen == k).sum() + (places == k).sum())
        f1[name] = 2 * both / either if either else None
    defined = [value for value in f1.values() if value is not None]
    errors: dict[str, Any] = {
        "n": len(places),
        "accuracy": float((chosen == places).mean()) if len(places) else None,
        "f1": f1,
        "macro_f1": float(np.mean(defined)) if defined else None,
    }
    if len(names) == 2:
        errors["roc_auc"] = roc_auc(places, shares[:, 1])
    return errors


def roc_auc(places: NDArray[np.int_], share: Array) -> float | None:
    """Return the share of pairs of one entry of each class (places 0 and 1, [n]) that are in order.

    `share` [n] is the probability of class 1; ties count one half (Mann and Whitney). None without a pair.
    """
    from scipy.stats import rankdata

    n_one = int((places == 1).sum())
    n_zero = len(places) - n_one
    if not n_one or not n_zero:
        return None
    ranks = float(rankdata(share)[places == 1].sum())
    return (ranks - n_one * (n_one + 1) / 2) / (n_one * n_zero)
