"""Trees and Gaussian process of a model of compositions, fitted again once the validation set has served.

Blend weights and calibration need labels that no part of a model has seen. Once they are known, trees and
process are fitted to training and validation set together: more labels cannot make them worse on average, so
that intervals stay as wide as they need be. Networks are not trained again: nothing would choose their epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.metrics import Predictions
from model.training.inputs import is_composition

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.data.splits import Split
    from model.training.ensemble import Ensemble


def with_validation_labels(ensemble: Ensemble, dataset: Dataset, split: Split, seed: int) -> Ensemble:
    """Return the model with trees and process that know the labels of the validation set, too.

    Blend weights, calibration and temperatures stay. Models of slabs or crystals come back as they are, and
    fine-tuned ones, whose trees look at their source.

    Parameters
    ----------
    ensemble
        As `model.training.ensemble.train_ensemble` returns it.
    dataset, split
        That it was trained on.
    seed
        What the branches of the trees are drawn by.
    """
    if not is_composition(ensemble.members[0].network.config) or ensemble.source is not None:
        return ensemble
    both = dataset.subset((*split.train, *split.val))
    models = {kind: one.refitted(both, seed) for kind, one in ensemble.descriptor_models.items()}
    classes = None if ensemble.class_models is None else ensemble.class_models.refitted(both, seed)
    return replace(ensemble, descriptor_models=models, class_models=classes)


def predict_unseen(chosen: Ensemble, final: Ensemble, dataset: Dataset, split: Split) -> Predictions:
    """Predict a whole data set, in its order, no entry of the validation set with trees that know its label.

    chosen, final: the model before and after `with_validation_labels`.
    """
    graphs = [entry.graph for entry in dataset]
    if final is chosen:
        return chosen.predict(graphs)
    held_out = set(split.val)
    order = [*sorted(held_out), *(i for i in range(len(dataset)) if i not in held_out)]
    parts = (order[: len(held_out)], order[len(held_out) :])
    found = [
        one.predict([graphs[i] for i in part])
        for one, part in zip((chosen, final), parts, strict=True)
        if part
    ]
    return Predictions.joined(found).take(np.argsort(order))
