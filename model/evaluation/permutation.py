"""Importance of the inputs of a network on compositions: the rise of its error when one is shuffled.

L. Breiman, Mach. Learn. 45, 5 (2001); A. Fisher, C. Rudin and F. Dominici, J. Mach. Learn. Res. 20, 177
(2019).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from model.compositions.batch import CompositionBatch
from model.compositions.element_properties import element_properties
from model.compositions.features import STATISTICS
from model.evaluation.class_calibration import log_loss
from model.evaluation.metrics import labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from model.compositions.composition import PlainComposition
    from model.data.dataset import Dataset
    from model.training.ensemble import Ensemble

    Array = NDArray[np.float64]

REPEATS = 3  # shuffles of each input, whose errors are averaged
ELEMENTS = "elements and fractions"  # name of the input of elements and their fractions, shuffled together


def permutation_importance(
    ensemble: Ensemble, dataset: Dataset, indices: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Return by target and input how much the error of the networks rises when the input is shuffled.

    Inputs are each property of the elements (its seven statistics together), `ELEMENTS`, and each numeric
    column. Trees beside the networks are not counted: they would have to be shuffled with them.

    Parameters
    ----------
    ensemble
        Trained on compositions.
    dataset, indices
        The entries that it is judged on, e.g. of the test set.

    Returns
    -------
    dict
        Rise as a share of the error as it was: mean absolute error of quantities, cross-entropy of classes.
        Targets without a label among the entries are left out.
    """
    part = dataset.subset(indices)
    compositions = cast("Sequence[PlainComposition]", [entry.graph for entry in part])
    if not compositions:
        return {}
    device = next(ensemble.members[0].network.parameters()).device
    batch = CompositionBatch.of(compositions, device)
    true = {name: labels(part, name) for name in ensemble.targets}
    true = {name: values for name, values in true.items() if np.isfinite(values).any()}
    before = _errors(ensemble, batch, true)
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, float]] = {name: {} for name in true}
    for name, variants in _shuffled(batch, ensemble.extras, rng):
        errors = [_errors(ensemble, variant, true) for variant in variants]
        for target, error in before.items():
            mean = float(np.mean([one[target] for one in errors]))
            found[target][name] = (mean - error) / error if error else 0.0
    return found


def _shuffled(
    batch: CompositionBatch, extras: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, list[CompositionBatch]]]:
    """Yield each input with the batches in which it alone is shuffled."""

    def orders() -> list[torch.Tensor]:
        return [torch.from_numpy(rng.permutation(len(batch))) for _ in range(REPEATS)]

    yield (
        ELEMENTS,
        [
            replace(
                batch,
                fractions=batch.fractions[order],
                numbers=batch.numbers[order],
                amounts=batch.amounts[order],
            )
            for order in orders()
        ],
    )
    names = element_properties().names
    for k, name in enumerate(names):
        columns = torch.arange(len(STATISTICS)) * len(names) + k  # see `feature_names`
        yield name, [replace(batch, features=_with(batch.features, columns, order)) for order in orders()]
    for k, name in enumerate(extras):
        column = torch.tensor([k])
        yield name, [replace(batch, extras=_with(batch.extras, column, order)) for order in orders()]


def _with(values: torch.Tensor, columns: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return values with columns in another order of the rows."""
    changed = values.clone()
    changed[:, columns] = values[order][:, columns]
    return changed


def _errors(ensemble: Ensemble, batch: CompositionBatch, true: dict[str, Array]) -> dict[str, float]:
    """Return the error of the mean of the members for each target."""
    found, errors = ensemble.outputs(batch), {}
    mean = found.mean()
    for name, labelled in true.items():
        known = np.isfinite(labelled)
        if name in found.probabilities:
            errors[name] = log_loss(found.probabilities[name][known], labelled[known])
        else:
            errors[name] = float(np.abs(mean[name][known] - labelled[known]).mean())
    return errors
