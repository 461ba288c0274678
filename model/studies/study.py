"""A study of transfer between data sets: which trainings it has, and in which order.

Every ordered pair of data sets is trained (pre-trained on one, fine-tuned on the other with each strategy and
number of labels), from scratch beside it, and, if wanted, with a pre-training on all sets together, one head
for each property. After "Optimal pre-train/fine-tune strategies for accurate material property predictions"
(npj Comput. Mater. 2024), whose names of strategies are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from model.compositions.image import LAYOUTS
from model.network.network import DEPTHS, EDGES, POOLINGS, NetworkConfig
from model.training.losses import BALANCERS
from model.training.optimisers import SCHEDULES
from model.training.presets import find_preset, with_params
from model.training.transfer import Adaptation
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from model.training.presets import Preset
    from model.training.runs import Datasets

SPLITS = {"random": "record_id", "compound": "crystal", "chemsys": "chemsys"}
"""What a study keeps apart, and the field of an entry that names it; identical structures always."""


@dataclass(frozen=True)
class Strategy:
    """A way of fine-tuning."""

    about: str  # one line
    freeze: str = "none"  # a key of `model.training.transfer.FREEZE`
    reset_heads: bool = False
    adaptation: Adaptation = field(default_factory=lambda: Adaptation(carry_heads=True))


STRATEGIES: dict[str, Strategy] = {
    "ALL-UF": Strategy("all weights are free"),
    "LAST-LAY": Strategy("only the last layer learns", "all-but-last"),
    "NPH": Strategy(
        "new shared layers and head on a frozen body",
        "body",
        reset_heads=True,
        adaptation=Adaptation(reset_shared=True),
    ),
    "2B": Strategy("all after the convolutions and node maps of the last two learn", "all-but-nodes"),
    "3B": Strategy("all after the convolutions and edge maps of the last two learn", "all-but-edges"),
    "DISCR": Strategy(
        "each part learns at half the rate of the part after it",
        adaptation=Adaptation(carry_heads=True, layer_decay=0.5),
    ),
    "GRADUAL": Strategy(
        "one part more learns every two epochs, from the heads down",
        adaptation=Adaptation(carry_heads=True, gradual=2),
    ),
}

SCRATCH = "scratch"  # in the place of the source and of the strategy
TOGETHER = "mpt"  # name of a pre-training on all sets begins with it


@dataclass(frozen=True)
class StudySet:
    """A data set of a study."""

    datasets: Datasets  # reads it
    target: str
    only_target: bool = False  # fine-tuned on, never pre-trained on: out of distribution
    sizes: tuple[int, ...] = ()  # of fine-tuning, instead of the study's


@dataclass(frozen=True)
class Task:
    """One training of a study."""

    sets: tuple[str, ...]  # data sets whose labels are learned: one, or several of a pre-training together
    size: int  # training labels of each set; 0: all
    seed: int
    source: Task | None = None  # whose weights it begins with
    strategy: str = SCRATCH
    balance: str = ""  # of the losses of several sets

    members = 1  # networks, see `model.training.ablation.Run`

    @property
    def origin(self) -> str:
        """Name of what it was pre-trained on, the same for every seed."""
        first = self.source or self
        if first.balance:
            return f"{TOGETHER}-{first.balance}"
        if self.source is None:
            return SCRATCH
        return f"{first.sets[0]}-{first.size}" if first.size else first.sets[0]

    def folder(self) -> str:
        """Return the path of its run below that of the study."""
        labels = f"labels-{self.size or 'all'}/seed-{self.seed}"
        if self.balance:
            return f"{TOGETHER}-{self.balance}/{'+'.join(self.sets)}/{labels}"
        if self.source is None:
            return f"{self.sets[0]}/{SCRATCH}/{labels}"
        return f"{self.sets[0]}/from-{self.origin}/{self.strategy}/{labels}"

    def label(self) -> str:
        """Name for people."""
        size = f"{self.size} labels" if self.size else "all labels"
        name = f"{' + '.join(self.sets) if len(self.sets) < 3 else f'{len(self.sets)} sets'}"
        how = "" if self.source is None else f" from {self.origin}, {self.strategy}"
        return f"{name}{how}, {size}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """Data sets and what is trained on them."""

    sets: Mapping[str, StudySet]  # by name, at least two
    split: str = "random"  # a key of `SPLITS`
    validation: float = 0.2  # share of the data
    test: float = 0.2
    preset: str = "sem-cgcnn"
    params: Mapping[str, Any] = field(default_factory=dict)  # instead of the preset's
    # at most so many labels of a data set, ascending, 0: all
    pretraining_sizes: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = (10, 100, 200, 500, 800)  # of fine-tuning, 0: all
    strategies: tuple[str, ...] = ("ALL-UF",)
    tuning_params: Mapping[str, Any] = field(default_factory=dict)  # of fine-tuning, beside `params`
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: bool = True  # False: no pair-wise transfer
    balances: tuple[str, ...] = ()  # of pre-trainings on all sets together, keys of `BALANCERS`
    temperature: float = 1.0  # of sampling in these, see `model.training.ensemble.resampled`
    with_target: bool = False  # whether these see the training labels of the set that is fine-tuned on
    # at most so many labels of each set in these, 0: all; None: the largest of `pretraining_sizes`
    together_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, before any data are read.

        Raises
        ------
        InputError
            If a strategy, split, balancing, preset or setting is unknown, or there is no pair.
        """
        for name in self.strategies:
            _known("strategy", name, STRATEGIES)
        for name in self.balances:
            _known("loss balancing", name, [name for name in BALANCERS if name != "fixed"])
        _known("split", self.split, SPLITS)
        if len(self.sets) < 2 or all(one.only_target for one in self.sets.values()):
            raise InputError("a study needs two data sets or more, one of them to pre-train on; add one")
        if not 0 < self.validation < 1 or not 0 < self.test < 1 or self.validation + self.test >= 1:
            raise InputError(
                f"validation {self.validation:g} and test {self.test:g}: shares above 0 that leave some "
                "of the data to train on; write 0.2 and 0.2"
            )
        if self.temperature < 1:
            raise InputError(f"temperature {self.temperature:g}: must be 1 (as the data are) or above")
        if other := [name for name in self.tuning_params if not name.startswith("training.")]:
            raise InputError(
                f"setting {other[0]} of fine-tuning: network and graphs are those of the pre-training; "
                "move it to the study's params"
            )
        preset = with_params(find_preset(self.preset), self.params)
        check_trainable(preset)
        check_trainable(with_params(preset, self.tuning_params))

    @property
    def sources(self) -> list[str]:
        """Names of the data sets that are pre-trained on."""
        return [name for name, one in self.sets.items() if not one.only_target]

    def sizes_of(self, name: str) -> tuple[int, ...]:
        """Return the sizes of fine-tuning of a data set."""
        return self.sets[name].sizes or self.sizes

    def params_of(self, task: Task) -> dict[str, Any]:
        """Return the settings of a training instead of the preset's."""
        params = {**self.params, **(self.tuning_params if task.source is not None else {})}
        if task.balance:
            params["training.balance.name"] = task.balance
        return params

    def tasks(self) -> list[Task]:
        """List the trainings: each after the one that it begins with, each once, seed by seed."""
        return list(dict.fromkeys(task for seed in self.seeds for task in self._of_seed(seed)))

    def _of_seed(self, seed: int) -> Iterator[Task]:
        for target in self.sets:
            starts = list(self._starts(target, seed))
            yield from (source for source in starts)
            for size in self.sizes_of(target):
                yield Task((target,), size, seed)
                for source in starts:
                    for strategy in self.strategies:
                        yield Task((target,), size, seed, source, strategy)

    def _starts(self, target: str, seed: int) -> Iterator[Task]:
        """Pre-trainings that a data set is fine-tuned from."""
        if self.pairs:
            for source in self.sources:
                for size in self.pretraining_sizes if source != target else ():
                    yield Task((source,), size, seed)
        together = tuple(name for name in self.sources if self.with_target or name != target)
        if len(together) > 1:
            for balance in self.balances:
                size = self.pretraining_sizes[-1] if self.together_size is None else self.together_size
                yield Task(together, size, seed, balance=balance)


_AT_LEAST = {
    "training.epochs": 1,
    "training.batch_size": 1,
    "training.optimiser.learning_rate": 1e-12,
    "network.embedding": 1,
    "network.convolutions": 1,
    "network.hidden": 1,
    "network.hidden_layers": 1,
    "network.head_layers": 0,
}


def check_trainable(preset: Preset) -> None:
    """Refuse settings that no network can be made or trained with; InputError naming the first."""
    network, training = preset.network, preset.training
    for name, least in _AT_LEAST.items():
        if (value := attrgetter(name)(preset)) < least:
            raise InputError(f"setting {name} {value:g}: must be {'above 0' if least else '0 or above'}")
    if not 0 <= network.dropout < 1:
        raise InputError(f"setting network.dropout {network.dropout:g}: must be 0 or above, and below 1")
    if isinstance(network, NetworkConfig):
        _known("depth", network.depth, DEPTHS)
        _known("edges", network.edges, EDGES)
        _known("pooling", network.pooling, POOLINGS)
    else:
        _known("image", network.image, ("none", *LAYOUTS))
    _known("loss", training.loss, ("mse", "huber"))
    _known("schedule", training.optimiser.name, SCHEDULES)


def _known(what: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise InputError(f"unknown {what} {name!r}: choose {', '.join(names)}")
