"""Optimiser, learning rate schedules, and moving average of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from model.training.presets import OptimiserConfig


class Schedule(Protocol):
    """Learning rate at a step, as a pure function: a resumed training needs no state of it."""

    def __init__(self, config: OptimiserConfig, epochs: int, steps_per_epoch: int) -> None: ...

    def rate(self, step: int) -> float:
        """Learning rate at a step, counted from 0 over the whole training."""


class StepSchedule:
    """A tenth of the learning rate after a number of epochs (Shi et al.: 1e-3, 100 epochs)."""

    def __init__(self, config: OptimiserConfig, epochs: int, steps_per_epoch: int) -> None:
        self.config, self.last = config, config.drop_after * steps_per_epoch

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        return self.config.learning_rate * (1.0 if step < self.last else 0.1)


class OneCycle:
    """Linear rise over the first tenth, then half a cosine down to zero (after Smith and Topin 2018)."""

    warm_up = 0.1

    def __init__(self, config: OptimiserConfig, epochs: int, steps_per_epoch: int) -> None:
        self.config, self.total = config, max(1, epochs * steps_per_epoch)

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        done = (step + 1) / (self.total + 1)
        if done < self.warm_up:
            return self.config.learning_rate * done / self.warm_up
        angle = torch.pi * (done - self.warm_up) / (1 - self.warm_up)
        return self.config.learning_rate * 0.5 * float(1 + torch.cos(torch.tensor(angle)))


SCHEDULES: dict[str, type[Schedule]] = {"step": StepSchedule, "one-cycle": OneCycle}


def make_schedule(config: OptimiserConfig, epochs: int, steps_per_epoch: int) -> Schedule:
    """Make the schedule of a configuration; raises InputError if unknown."""
    if config.name not in SCHEDULES:
        raise InputError(f"no schedule {config.name!r}: choose {', '.join(SCHEDULES)}")
    return SCHEDULES[config.name](config, epochs, steps_per_epoch)


def make_optimiser(
    parameters: Iterable[nn.Parameter],
    config: OptimiserConfig,
    steps_down: Mapping[nn.Parameter, int] | None = None,
) -> torch.optim.Optimizer:
    """Adam, or AdamW when there is weight decay; one dimensional parameters (norms, biases) do not decay.

    Parameters equally many steps below the heads (`steps_down`, 0 by default) share groups with that number.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(((steps_down or {}).get(parameter, 0), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[key],
                "weight_decay": config.weight_decay if key[1] else 0.0,
                "steps_down": key[0],
            }
            for key in sorted(groups, key=lambda key: (key[0], not key[1]))
        ],
        lr=config.learning_rate,
        fused=True,
    )


class Averaging:
    """Exponential moving average of all weights and running statistics.

    The decay grows from 0 as (1 + t) / (10 + t), so that the average forgets the start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._network = network.state_dict()  # its tensors, which a training changes in place
        self.average = {name: value.clone() for name, value in self._network.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        numbers: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for name, value in self._network.items():
            if value.is_floating_point():
                numbers[0].append(self.average[name])
                numbers[1].append(value)
            else:
                self.average[name].copy_(value)
        torch._foreach_lerp_(*numbers, share)
