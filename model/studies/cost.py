"""What a study will cost, from a timed epoch of each data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import process_time
from typing import TYPE_CHECKING

from model.data.splits import Split
from model.training.presets import find_preset, with_params
from model.training.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.studies.data import StudyData
    from model.studies.study import Study, Task

SAMPLE = 64
"""Training graphs of a data set that are timed; an epoch of them takes a tenth of a second."""


@dataclass(frozen=True)
class Cost:
    """Processor time of trainings."""

    trainings: int
    seconds: float  # of one core, at most: no training stops early


def estimate_cost(data: StudyData, tasks: Sequence[Task]) -> Cost:
    """Time an epoch on a sample of each data set and add up the epochs of the trainings.

    The share that goes to the validation set is timed, too: with few labels it is most of an epoch. Trees,
    Gaussian process and reading are left out.
    """
    study = data.study
    rates = {name: _seconds_per_graph(data, name) for name in {name for t in tasks for name in t.sets}}
    total = 0.0
    for task in tasks:
        params = {**study.params, **(study.tuning_params if task.source is not None else {})}
        epochs = with_params(find_preset(study.preset), params).training.epochs
        for name in task.sets:
            learn, judge = rates[name]
            ranked = data.training_labels(name, task.seed)
            n_val = sum(
                part == "val" and data.heads[name] in entry.targets
                for entry, part in zip(data.union, data.parts(task.seed), strict=True)
            )
            total += epochs * (learn * min(task.size or len(ranked), len(ranked)) + judge * n_val)
    return Cost(len(tasks), total)


def _seconds_per_graph(data: StudyData, name: str) -> tuple[float, float]:
    """Return the seconds that a graph of a data set takes to train on, and to predict, in one epoch."""
    study: Study = data.study
    labelled = data.labelled(name)
    sample = [labelled[i * len(labelled) // SAMPLE] for i in range(min(SAMPLE, len(labelled)))]
    part = data.union.subset(sorted(set(sample)))
    preset = with_params(find_preset(study.preset), study.params)
    preset = replace(
        preset,
        network=replace(preset.network, targets=(data.heads[name],)),
        training=replace(preset.training, epochs=2),
    )
    everyone = tuple(range(len(part)))
    clock: list[float] = []  # processor time: other work on the machine does not count
    model = train(
        part,
        Split("timed", 0, everyone, everyone, everyone),
        preset,
        progress=lambda _: clock.append(process_time()),
    )
    graphs = [entry.graph for entry in part]
    began = process_time()
    model.predict(graphs)
    judge = (process_time() - began) / len(part)
    learn = (clock[1] - clock[0]) / len(part) - judge
    return max(learn, 0.0), judge
