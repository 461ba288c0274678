"""The learning in one round of a simulation: train on what is revealed, judge, choose what comes next."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model.acquisition import Known, Pool, choose
from model.ensemble import train_ensemble
from model.evaluation import labels
from model.features import FEATURES
from model.simulation_plan import goal_of, parts
from model.transfer import Start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.ensemble import Ensemble
    from model.evaluation import Predictions
    from model.simulation_plan import Stage, World
    from model.training import Progress

LEAST_STEPS = 15
"""A training on few slabs takes more epochs than asked for: as many steps as if an epoch had so many."""

WARM_EPOCHS, WARM_RATE = 0.4, 0.4
"""Shares of epochs and learning rate of a training that begins with the weights of the round before.

With 400 shared slabs after 300, preset best: error 0.315 after 8 warm epochs (8 s of processor time), 0.383
after 8 and 0.332 after 16 epochs from scratch (17 s)."""


def train_on_revealed(
    world: World,
    revealed: list[int],
    stage: Stage,
    before: Ensemble | None,
    on_epoch: Callable[[int, Progress], None],
) -> Ensemble:
    """Train on what is revealed, from random weights or from the ensemble of the round before."""
    split = parts(world, revealed, stage.seed)
    config = replace(world.preset.training, seed=stage.seed)
    steps = math.ceil(len(split.train) / config.batch_size)
    epochs = math.ceil(world.plan.epochs * max(1.0, LEAST_STEPS / steps))
    starts: list[Start] = []
    if before is not None:
        epochs = math.ceil(WARM_EPOCHS * epochs)
        rate = WARM_RATE * config.optimiser.learning_rate
        config = replace(config, optimiser=replace(config.optimiser, learning_rate=rate))
        starts = [Start(member) for member in before.members]
    return train_ensemble(
        world.dataset,
        split,
        world.preset.network,
        replace(config, epochs=epochs),
        torch.from_numpy(FEATURES[world.preset.features]().table),
        world.preset.graph,
        members=world.plan.members,
        progress=on_epoch,
        starts=starts,
        trees=world.preset.trees,
    )


def choose_next(
    world: World,
    ensemble: Ensemble,
    revealed: list[int],
    hidden: list[int],
    strategy: str,
    stage: Stage,
) -> list[int]:
    """Let a strategy choose the slabs that are revealed next, best first, among the hidden ones."""
    graphs = [world.dataset[i].graph for i in hidden]
    predicted, targets = ensemble.predict(graphs), world.targets
    known_graphs = [world.dataset[i].graph for i in revealed]
    values = np.stack([labels(world.dataset.subset(revealed), name) for name in targets], axis=1)
    picks = choose(
        Pool.of(
            np.stack([predicted.mean[name] for name in targets], axis=1),
            _sigma(predicted, targets),
            _places(ensemble, graphs),
        ),
        min(world.plan.batch, len(hidden)),
        strategy,
        seed=1000 * stage.seed + stage.number,
        known=Known(values, _places(ensemble, known_graphs)),
        scale=ensemble.members[0].scaler.std,
        goal=goal_of(targets),
    )
    return [hidden[pick.index] for pick in picks]


def judge_on_holdout(world: World, ensemble: Ensemble) -> tuple[dict[str, float], float]:
    """Return the MAE on the hold-out by target, and its mean in standard deviations of the labels."""
    held = world.dataset.subset(world.holdout)
    predicted = ensemble.predict([entry.graph for entry in held]).mean
    mae, scores = {}, []
    for name in world.targets:
        true = labels(held, name)
        mae[name] = float(np.nanmean(np.abs(predicted[name] - true)))
        scores.append(mae[name] / (float(np.nanstd(true)) or 1.0))
    return mae, float(np.mean(scores))


def _sigma(predicted: Predictions, targets: tuple[str, ...]) -> NDArray[np.float64]:
    """Return standard deviations [n, T], each at least told apart by the distance from what is revealed.

    Calibrated on few slabs, a model may find no use for that distance and be equally uncertain of all; it
    then stands for the missing part, for a strategy must choose.
    """
    sigma = np.stack([predicted.sigma[name] for name in targets], axis=1)
    flat = np.ptp(sigma, axis=0) <= 1e-9 * sigma.max(axis=0)
    return np.where(flat, sigma * (1 + predicted.distance[:, None]), sigma)


def _places(ensemble: Ensemble, graphs: Sequence[Any]) -> NDArray[np.float64]:
    """Return places in the first member's embedding, in units of the training slabs' spread; [n, D]."""
    points = ensemble.training_map
    embedded = torch.from_numpy(ensemble.members[0].embed(graphs))
    return np.asarray(((embedded - points.mean) / points.std).double().numpy())
