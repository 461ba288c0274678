"""A trained model judged on its training, validation and test parts, as plain values for JSON and reports."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.calibration import NORMAL_QUANTILE
from model.metrics import (
    by_system,
    coverage,
    errors,
    facet_order,
    macro_average,
    per_element,
    spearman_of_sigma,
)
from model.splits import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.dataset import Dataset
    from model.metrics import Errors
    from model.splits import Split

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Numbers for n slabs.

    Attributes
    ----------
    mean
        [n] by target, in the target's unit.
    sigma
        [n] by target, calibrated standard deviation.
    distance
        [n], from the training slabs in the embedding: above one a slab is less like them than nine in ten of
        them are like the others, see `model.familiarity`.
    """

    mean: dict[str, Array]
    sigma: dict[str, Array]
    distance: Array

    def interval(self, target: str) -> tuple[Array, Array]:
        """Return both ends of the 90 % interval, [n] each."""
        half = NORMAL_QUANTILE * self.sigma[target]
        return self.mean[target] - half, self.mean[target] + half

    def take(self, indices: Sequence[int] | NDArray[np.intp]) -> Predictions:
        """Return the predictions of these slabs."""
        chosen = np.asarray(indices, dtype=np.intp)
        return Predictions(
            {name: values[chosen] for name, values in self.mean.items()},
            {name: values[chosen] for name, values in self.sigma.items()},
            self.distance[chosen],
        )


def labels(dataset: Dataset, target: str) -> Array:
    """Return a target's labels, [n]; NaN where a slab has none."""
    values = [entry.targets.get(target) for entry in dataset]
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def evaluate(dataset: Dataset, split: Split, predicted: Predictions) -> dict[str, Any]:
    """Judge predictions for every slab of a data set.

    Parameters
    ----------
    dataset
        The slabs.
    split
        Their parts.
    predicted
        Of all slabs, in the data set's order.

    Returns
    -------
    dict
        By target: ``train``, ``val`` and ``test`` (n, mae, rmse, r2, mape), and of the test part
        ``coverage_90``, ``spearman_sigma``, ``facet_order`` (mean Kendall tau within compounds, and how many
        compounds), ``macro_mae`` (over chemical systems), ``by_element`` and ``by_system``. None where a
        number cannot be told.
    """
    return {target: _of_target(dataset, split, predicted, target) for target in predicted.mean}


def _of_target(dataset: Dataset, split: Split, predicted: Predictions, target: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in PARTS:
        indices = list(split.part(name))
        true = labels(dataset.subset(indices), target)
        result[name] = _plain(errors(true, predicted.mean[target][indices]))
    test = list(split.test)
    part = dataset.subset(test)
    ours = predicted.take(test)
    true, mean = labels(part, target), ours.mean[target]
    tau, compounds = facet_order([entry.compound for entry in part], true, mean)
    systems = by_system([entry.chemsys for entry in part], true, mean)
    return result | {
        "coverage_90": _number(coverage(true, *ours.interval(target))),
        "spearman_sigma": _number(spearman_of_sigma(true, mean, ours.sigma[target])),
        "facet_order": {"kendall_tau": _number(tau), "compounds": compounds},
        "macro_mae": _number(macro_average(systems)),
        "by_element": {
            name: _plain(e) for name, e in per_element([e.elements for e in part], true, mean).items()
        },
        "by_system": {name: _plain(e) for name, e in systems.items()},
    }


def prediction_rows(dataset: Dataset, split: Split, predicted: Predictions) -> list[dict[str, Any]]:
    """Return one row per slab of the split: what parity plots are drawn from.

    Returns
    -------
    list of dict
        ``record_id``, ``formula``, ``chemsys``, ``part``, ``distance`` and, for each target, its label under
        its own name, ``<target>_predicted`` and ``<target>_sigma``.
    """
    rows = []
    for name in PARTS:
        for i in split.part(name):
            entry = dataset[i]
            row: dict[str, Any] = {
                "record_id": entry.record_id,
                "formula": entry.formula,
                "chemsys": entry.chemsys,
                "part": name,
                "distance": _number(float(predicted.distance[i])),
            }
            for target, mean in predicted.mean.items():
                row[target] = entry.targets.get(target)
                row[f"{target}_predicted"] = _number(float(mean[i]))
                row[f"{target}_sigma"] = _number(float(predicted.sigma[target][i]))
            rows.append(row)
    return rows


def total_loss(evaluation: Mapping[str, Any], spread: Mapping[str, float]) -> float:
    """Return the sum over targets of the test part's mean squared error in units of the labels' variance.

    The nearest to the "total loss" of Shi et al., who do not say how theirs is standardised.

    Parameters
    ----------
    evaluation
        As `evaluate` makes it.
    spread
        Standard deviation of the training labels by target.
    """
    return float(sum((evaluation[t]["test"]["rmse"] / spread[t]) ** 2 for t in evaluation))


def _plain(e: Errors) -> dict[str, Any]:
    return {name: _number(value) if name != "n" else value for name, value in asdict(e).items()}


def _number(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return float(value) if math.isfinite(value) else None
