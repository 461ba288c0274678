"""Which settings of a preset are searched, and how found ones are put into it.

A setting is named by its path: ``network.embedding``, ``training.optimiser.learning_rate``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.distributions import BaseDistribution

    from model.presets import Preset
    from model.runs import Datasets, RunSettings
    from model.tuning import Objective, Report

T = TypeVar("T")


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


def with_params(preset: Preset, params: Mapping[str, Any]) -> Preset:
    """Return a preset with other settings.

    Raises
    ------
    InputError
        If a setting does not exist or its value is of another kind.
    """
    for name, value in params.items():
        preset = _with(preset, name.split("."), value, name)
    return preset


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


def _with(target: T, path: list[str], value: Any, name: str) -> T:
    if not is_dataclass(target) or path[0] not in {f.name for f in fields(target)}:
        raise InputError(f"no setting {name!r}; settings are named like training.optimiser.learning_rate")
    old = getattr(target, path[0])
    if len(path) > 1:
        new = _with(old, path[1:], value, name)
    elif is_dataclass(old) or not _fits(value, old):
        raise InputError(f"setting {name}: {value!r} does not fit; it is {old!r} by default")
    else:
        new = value
    changed: Callable[..., T] = replace
    return changed(target, **{path[0]: new})


def _fits(value: Any, old: Any) -> bool:
    if isinstance(old, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(old, bool)
    return isinstance(value, (int, float) if isinstance(old, float) else type(old))
