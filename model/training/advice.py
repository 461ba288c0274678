"""Learn targets together or alone: the trainings that decide it, on the same sets with the same seeds.

Each target is learned alone, and in every pair and all together with each `Strategy` of balancing losses. All
trainings of one seed divide the entries in one way, so that they validate and test on the same ones. After
"Multi-Task Learning for Metal Alloy Property Prediction" (arXiv:2512.22740), which found that learning
together harms some targets, that PCGrad repairs it, and that label distribution smoothing with GradNorm is
best over all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from model.data.splits import Split
from model.training.ablation import each_run, folder_name
from model.training.runs import RunSettings, chosen_preset, labelled_data, make_split, read_run, run_training
from stores.errors import InputError
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model.data.dataset import Dataset
    from model.training.ablation import Step
    from model.training.presets import Preset
    from model.training.runs import Datasets
    from model.training.train import Progress


@dataclass(frozen=True)
class Strategy:
    """How the losses of targets that are learned together are balanced."""

    about: str  # one line
    balance: str = "equal"  # a key of `model.training.losses.BALANCERS`
    smoothing: bool = False  # label distribution smoothing: rare labels count more

    def params(self) -> dict[str, Any]:
        """Return the settings of the training."""
        return {"training.balance.name": self.balance, "training.smoothing": self.smoothing}


STRATEGIES: dict[str, Strategy] = {
    "equal": Strategy("sum of all losses"),
    "gradnorm": Strategy("weights that let all targets train at one rate", "gradnorm"),
    "uncertainty": Strategy("weights learned as noise of each target", "uncertainty"),
    "pcgrad": Strategy("gradients that conflict are projected", "pcgrad"),
    "smoothing": Strategy("sum of all losses, rare labels count more", smoothing=True),
    "gradnorm+smoothing": Strategy("GradNorm, rare labels count more", "gradnorm", smoothing=True),
    "uncertainty+smoothing": Strategy("uncertainty, rare labels count more", "uncertainty", smoothing=True),
    "pcgrad+smoothing": Strategy("PCGrad, rare labels count more", "pcgrad", smoothing=True),
}

PLAIN = "equal"
"""Strategy without balancing; of a target alone it is the single-task model that others are compared with."""

ALONE = ("equal", "smoothing")  # strategies that differ for a target alone: there is nothing to balance
ANGLE_BATCHES = 4  # batches of each epoch in which the angles between gradients are recorded

MOST_EPOCHS = 10
"""A group with few labels is trained for so many times the epochs at most, see `AdvicePlan.trainings`."""


@dataclass(frozen=True)
class Training:
    """Some of the targets learned together, or one of them alone."""

    targets: tuple[str, ...]
    strategy: str  # a key of `STRATEGIES`
    settings: RunSettings

    members = 1  # networks, see `model.training.ablation.Run`

    def label(self) -> str:
        """Name for people."""
        how = self.strategy if len(self.targets) > 1 else alone_name(self.strategy)
        seed = f"seed {self.settings.seed}"
        fold = f", fold {self.settings.fold + 1} of {self.settings.folds}" if self.settings.folds else ""
        return f"{' + '.join(self.targets)}, {how}, {seed}{fold}"

    def folder(self) -> str:
        """Return the path of its run below that of the advice."""
        names = "+".join(name.replace("/", "_") for name in self.targets)
        if len(names) > _LONGEST_NAME:
            names = f"{len(self.targets)}-targets-{content_hash(list(self.targets))[:12]}"
        return f"advice/{names}/{self.strategy}/{folder_name(self.settings)}"


_LONGEST_NAME = 100  # characters of a folder, of which file systems take 255


def alone_name(strategy: str) -> str:
    """Name a strategy of a target that is learned alone."""
    return "alone" if strategy == PLAIN else f"alone+{strategy}"


@dataclass(frozen=True)
class AdvicePlan:
    """Which targets, strategies and seeds are tried."""

    # of all runs; seed, fold, targets, and the settings of a strategy are replaced
    settings: RunSettings
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    strategies: tuple[str, ...] = tuple(STRATEGIES)

    def __post_init__(self) -> None:
        """Refuse strategies that do not exist; InputError naming the first."""
        for name in self.strategies:
            if name not in STRATEGIES:
                raise InputError(f"unknown strategy {name!r}: choose {', '.join(STRATEGIES)}")

    def trainings(self, data: AdviceData) -> list[Training]:
        """List the trainings, seed by seed, those of one target before those of several.

        A group of targets with few labels makes fewer steps in an epoch than all targets together. It is
        trained for as many steps, but at most `MOST_EPOCHS` times the epochs: a target that is learned alone
        shall not look worse only because its training was short.
        """
        targets = data.targets
        groups = [group for n in range(1, len(targets) + 1) for group in combinations(targets, n)]
        if len(targets) > 3:  # every pair, and all together: what lies between is too much to try
            groups = [group for group in groups if len(group) in (1, 2, len(targets))]
        found = []
        for seed in self.seeds:
            for fold in range(max(self.settings.folds, 1)):
                settings = replace(self.settings, seed=seed, fold=fold)
                for group in groups:
                    of_group = replace(
                        settings, targets=group, epochs=data.epochs(group, settings), params=self._params()
                    )
                    smoothed = any(STRATEGIES[name].smoothing for name in self.strategies)
                    names = ALONE if smoothed else (PLAIN,)  # what smoothing alone gains is no transfer
                    for strategy in names if len(group) == 1 else self.strategies:
                        params = {**of_group.params, **STRATEGIES[strategy].params()}
                        found.append(Training(group, strategy, replace(of_group, params=params)))
        return found

    def _params(self) -> dict[str, Any]:
        """Return the settings of all trainings: the network alone, for trees see each target alone anyway."""
        return {**self.settings.params, "trees": 0}


class AdviceData:
    """Entries with a label of any of the targets, and how each seed and fold divides them."""

    def __init__(self, dataset: Dataset, preset: Preset) -> None:
        self.dataset, self.preset = dataset, preset
        self.targets = preset.network.targets
        self._splits: dict[tuple[int, int], Split] = {}

    @classmethod
    def read(cls, datasets: Datasets, settings: RunSettings) -> AdviceData:
        """Read the labels of the targets of a run.

        Raises
        ------
        InputError
            If there are fewer than two targets, or one has no labels.
        """
        wanted = chosen_preset(settings)
        if len(wanted.network.targets) < 2:
            raise InputError(
                f"--advise compares targets that are learned together or alone; {settings.preset} has only "
                f"{wanted.network.targets[0]}: name two or more with --targets"
            )
        preset, dataset = labelled_data(datasets, wanted)
        return cls(dataset, preset)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of those targets that are no quantities."""
        return self.preset.network.class_names()

    def labels(self, target: str) -> int:
        """Count the labels of a target."""
        return sum(entry.targets.get(target) is not None for entry in self.dataset)

    def split(self, settings: RunSettings) -> Split:
        """Divide all entries, whichever targets they have."""
        key = settings.seed, settings.fold
        if key not in self._splits:
            self._splits[key] = make_split(self.dataset, settings)
        return self._splits[key]

    def of_group(self, group: tuple[str, ...], settings: RunSettings) -> tuple[Dataset, Split]:
        """Return the entries with a label of the group, divided as all entries are."""
        split = self.split(settings)
        kept = self._labelled(group)
        place = {i: n for n, i in enumerate(kept)}
        parts = [tuple(place[i] for i in part if i in place) for part in (split.train, split.val, split.test)]
        return self.dataset.subset(kept), Split(split.name, split.seed, *parts, twins=split.twins)

    def epochs(self, group: tuple[str, ...], settings: RunSettings) -> int | None:
        """Return the epochs of a group, see `AdvicePlan.trainings`; None: those of the preset."""
        epochs = settings.epochs or self.preset.training.epochs
        training, batch = self.split(settings).train, self.preset.training.batch_size
        known = set(self._labelled(group))
        own = math.ceil(sum(i in known for i in training) / batch)
        longer = min(MOST_EPOCHS * epochs, round(epochs * math.ceil(len(training) / batch) / max(own, 1)))
        return settings.epochs if longer <= epochs else longer

    def _labelled(self, group: tuple[str, ...]) -> list[int]:
        return [
            i for i, entry in enumerate(self.dataset) if any(entry.targets.get(n) is not None for n in group)
        ]


Finished = tuple[Training, dict[str, Any]]  # a training and the content of its ``run.json``


def run_advice(
    data: AdviceData, plan: AdvicePlan, folder: Path, progress: Callable[[Step], None] | None = None
) -> tuple[list[Finished], list[str]]:
    """Run a plan; finished runs of the folder are read, unfinished ones are resumed.

    Returns the trainings with what they found, and a line for each that failed. Raises MgsurfError if all
    failed.
    """

    def train_one(training: Training, on_epoch: Callable[[int, Progress], None]) -> dict[str, Any]:
        dataset, split = data.of_group(training.targets, training.settings)
        return run_training(
            lambda *_: dataset,
            training.settings,
            folder / training.folder(),
            progress=on_epoch,
            divide=lambda _: split,
            keep_model=False,
            angle_batches=ANGLE_BATCHES if len(training.targets) > 1 else 0,
        )

    return each_run(plan.trainings(data), train_one, progress)


def unfinished(trainings: list[Training], folder: Path) -> list[Training]:
    """Return the trainings that a folder does not hold finished."""
    return [training for training in trainings if read_run(folder / training.folder()) is None]


@dataclass(frozen=True)
class Angles:
    """Angle between the gradients of two targets at the last shared layer, over training."""

    first: str
    second: str
    strategy: str
    group: tuple[str, ...]  # targets that were learned together
    degrees: list[list[float | None]] = field(default_factory=list)  # by run and epoch

    @property
    def known(self) -> list[float]:
        """All angles (degrees)."""
        return [value for run in self.degrees for value in run if value is not None]

    def plain(self) -> dict[str, Any]:
        """Return mean angle (degrees), share of epochs with an angle above 90 degrees, and all angles."""
        known = self.known
        return {
            "first": self.first,
            "second": self.second,
            "strategy": self.strategy,
            "group": list(self.group),
            "mean": sum(known) / len(known) if known else None,
            "conflicts": sum(value > 90 for value in known) / len(known) if known else None,
            "degrees": self.degrees,
        }


def angles(results: list[Finished]) -> list[Angles]:
    """Collect the angles of each pair of targets in each group and strategy."""
    from model.training.train import pair_name

    found: dict[tuple[str, ...], Angles] = {}
    for training, run in results:
        for first, second in combinations(training.targets, 2):
            key = (first, second, training.strategy, *training.targets)
            one = found.setdefault(key, Angles(first, second, training.strategy, training.targets))
            cosines = [line.get("cosines", {}).get(pair_name(first, second)) for line in run["history"][0]]
            one.degrees.append(
                [None if c is None else math.degrees(math.acos(min(1.0, max(-1.0, c)))) for c in cosines]
            )
    return list(found.values())
