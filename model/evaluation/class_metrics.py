"""How well classes are predicted: log loss; precision, recall and F1 of each class; ROC curve of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.splits import PARTS
from model.evaluation.class_calibration import SMALLEST, log_loss
from model.evaluation.metrics import labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        ``n`` labels, ``log_loss`` (see `_log_loss`), ``accuracy``; by name of the class ``precision`` (of the
        entries predicted to be of it, the share that is), ``recall`` (of those that are, the share found) and
        ``f1``, their harmonic mean; the means over classes ``macro_recall`` and ``macro_f1``; for two classes
        ``roc_auc``. None where a number is not defined: recall of a class that does not occur, precision of
        one that is not predicted, F1 of one to which both apply, the area with one class alone.
    """
    known = np.isfinite(true)
    places, shares = true[known].astype(int), probabilities[known]
    chosen = shares.argmax(axis=1) if len(shares) else places
    precision, recall, f1 = _by_class(places, chosen, names)
    errors: dict[str, Any] = {
        "n": len(places),
        "log_loss": _log_loss(true, probabilities),
        "accuracy": float((chosen == places).mean()) if len(places) else None,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "macro_recall": _mean(recall),
        "macro_f1": _mean(f1),
    }
    if len(names) == 2:
        errors["roc_auc"] = roc_auc(places, shares[:, 1])
    return errors


def add_log_loss(classes: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the log loss to what `evaluate_classes` of an older version returned.

    rows: of the same training, see `model.evaluation.metrics.prediction_rows`.
    """
    for target, found in classes.items():
        columns = [f"{target}_p_{name}" for name in found["classes"]]
        for part in PARTS:
            own = [row for row in rows if row["part"] == part and row[target] is not None]
            shares = np.array([[row[name] for name in columns] for row in own], dtype=float)
            found[part]["log_loss"] = _log_loss(np.array([row[target] for row in own], dtype=float), shares)


def _log_loss(true: Array, probabilities: Array) -> float | None:
    """Return the log loss of probabilities [n, K], above zero; None without labels."""
    known = np.isfinite(true)
    if not known.any():
        return None
    # so that its ratio to another one is finite, where all are right and sure
    return log_loss(np.clip(probabilities[known], SMALLEST, 1 - SMALLEST), true[known])


def _by_class(
    places: NDArray[np.int_], chosen: NDArray[np.int_], names: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, float | None], dict[str, float | None]]:
    """Precision, recall and F1 of each class from true and predicted places."""
    found: list[dict[str, float | None]] = [{}, {}, {}]
    for k, name in enumerate(names):
        both = int(((chosen == k) & (places == k)).sum())
        predicted, true = int((chosen == k).sum()), int((places == k).sum())
        ratios = (both, predicted), (both, true), (2 * both, predicted + true)
        for values, (part, whole) in zip(found, ratios, strict=True):
            values[name] = part / whole if whole else None
    return found[0], found[1], found[2]


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return float(np.mean(known)) if known else None


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
