"""Which settings of a preset are searched, and the objective of the search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.presets import with_params
from stores.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from model.presets import Preset
    from model.runs import Datasets, RunSettings
    from model.tuning import Objective, Report


def space_of(preset: Preset) -> dict[str, BaseDistribution]:
    """Return what is searched for a preset; the paper does not print its Table S2, so the ranges are ours.

    Settings that make a preset what it is (depth, pooling, balancing) stay; those that only some presets
    have (threshold of the surface flag, alpha of GradNorm, one-cycle's weight decay) are searched there.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {
        "network.embedding": CategoricalDistribution([32, 48, 64, 96, 128]),
        "network.convolutions": IntDistribution(2, 5),
        "network.hidden": CategoricalDistribution([64, 128, 192, 256]),
        "network.hidden_layers": IntDistribution(1, 4),
        "training.batch_size": CategoricalDistribution([32, 64, 128]),
        "training.optimiser.learning_rate": FloatDistribution(3e-4, 1e-2, log=True),
    }
    if preset.network.depth == "flag":
        space["network.surface_threshold"] = CategoricalDistribution([1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
    if preset.training.balance.name == "gradnorm":
        space["training.balance.alpha"] = CategoricalDistribution([0.5, 1.0, 1.5, 2.0])
    if preset.training.optimiser.name == "one-cycle":
        space["training.optimiser.weight_decay"] = FloatDistribution(1e-4, 1e-1, log=True)
        space["network.dropout"] = CategoricalDistribution([0.0, 0.05, 0.1, 0.2])
    return space


@dataclass(frozen=True)
class TrainingTask:
    """Makes the objective of a search: best validation score of one training; the test part is not looked at.

    Attributes
    ----------
    datasets
        The labelled slabs; called once in each process.
    settings
        Of the run whose preset is searched.
    """

    datasets: Datasets
    settings: RunSettings

    def __call__(self) -> Objective:
        """Return the objective."""
        import torch

        from model.features import FEATURES
        from model.runs import chosen_preset, labelled, make_split
        from model.training import train

        base = chosen_preset(self.settings)
        targets = base.network.targets
        dataset = labelled(self.datasets(base.graph, targets), targets)
        split = make_split(dataset, self.settings)
        elements = torch.from_numpy(FEATURES[base.features]().table)

        def objective(params: dict[str, Any], report: Report) -> float:
            preset = with_params(base, params)
            try:
                model = train(
                    dataset,
                    split,
                    preset.network,
                    preset.training,
                    elements,
                    preset.graph,
                    progress=lambda line: report(line.epoch.epoch, line.epoch.score),
                )
            except InputError as error:
                if "diverged" in str(error):  # a bad choice of settings, not a mistake of the user
                    return math.nan
                raise
            return float(min(line["score"] for line in model.history))

        return objective
