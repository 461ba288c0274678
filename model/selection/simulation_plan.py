"""Plan of a simulation, the slabs that may be revealed, and those that are held out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.splits import Split, draw, fixed_split
from model.evaluation.metrics import labels
from model.selection.acquisition import STRATEGIES, check_strategy
from model.selection.improvement import Objective, front_of, hypervolume
from model.training.presets import find_preset
from model.training.runs import data_key, labelled_data
from stores.errors import InputError
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.training.presets import Preset
    from model.training.runs import Datasets

FORMAT = "mgsurf simulation 1"

RULES = {"uncertain": 2, "improvement": 2}
"""Version of how a strategy chooses: rounds of two versions are no replay of either. 1 for others, and in
files that state none: errors that facets of one compound share are not counted."""

VALIDATION = 0.15  # share of the revealed slabs that validates; the other revealed slabs train


@dataclass(frozen=True)
class SimulationPlan:
    """What is replayed."""

    strategies: tuple[str, ...] = STRATEGIES  # of `model.selection.acquisition.STRATEGIES`
    seeds: tuple[int, ...] = (0, 1, 2)  # one replay of every strategy each
    # start, batch: slabs revealed before the first training, and after each
    start: int = 100
    batch: int = 100
    rounds: int | None = None  # batches; None: as many as `until` needs
    # share of the pool that is revealed in the end, and at which random sets the mark for the others
    until: float = 0.5
    # preset, epochs, members: of each training
    preset: str = "best"
    epochs: int = 20
    members: int = 1
    warm: bool = True  # begin each training with the weights of the round before

    def __post_init__(self) -> None:
        """Refuse what cannot be replayed."""
        for name in self.strategies:
            check_strategy(name)
        if not 0 < self.until <= 1:
            raise InputError(f"--until {self.until:g}: must be above 0 and at most 1, a share of the pool")

    def sizes(self, pool: int) -> list[int]:
        """Return the slabs revealed in each round, to the share `until`; InputError if too few."""
        if self.start >= pool:
            raise InputError(f"--start {self.start}: the pool has {pool} slabs; begin with fewer")
        rounds = self.rounds
        if rounds is None:
            rounds = math.ceil(max(self.until * pool - self.start, 0) / self.batch)
        return list(dict.fromkeys(min(self.start + k * self.batch, pool) for k in range(rounds + 1)))

    def training(self) -> dict[str, Any]:
        """Return what decides the numbers of a round; a longer simulation continues a shorter one."""
        values = asdict(self)
        for name in ("strategies", "seeds", "rounds", "until"):
            del values[name]
        return values


@dataclass(frozen=True)
class Stage:
    """A round of a replay, for progress."""

    strategy: str
    seed: int
    number: int
    slabs: int
    members: int

    def label(self) -> str:
        """Name for people."""
        return f"{self.strategy}, seed {self.seed}, {self.slabs} slabs"


@dataclass(frozen=True, eq=False)
class World:
    """Everything that all replays share."""

    dataset: Dataset
    pool: tuple[int, ...]
    holdout: tuple[int, ...]
    preset: Preset
    plan: SimulationPlan
    key: str

    @cached_property
    def by_id(self) -> dict[str, int]:
        """Numbers of the pool's slabs by record id."""
        return {self.dataset[i].record_id: i for i in self.pool}

    @cached_property
    def unit(self) -> dict[int, str]:
        """Name of what a slab stays together with: the first record of identical slabs."""
        first: dict[int, str] = {}
        for i in self.pool:  # sorted by record id
            first.setdefault(self.dataset[i].group, self.dataset[i].record_id)
        return {i: first[self.dataset[i].group] for i in self.pool}

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the names of the targets."""
        return self.preset.network.targets


def world_of(datasets: Datasets, plan: SimulationPlan) -> World:
    """Divide the labelled slabs into pool and hold-out; InputError if a target has no held-out label."""
    preset, dataset = labelled_data(datasets, find_preset(plan.preset))
    split = fixed_split(dataset)
    if not split.test:
        raise InputError("none of the compounds falls into the hold-out; add slabs of more compounds")
    for name in preset.network.targets:
        if np.isnan(labels(dataset.subset(split.test), name)).all():
            raise InputError(f"no slab of the {len(split.test)} held out has a label of {name}; add data")
    key = content_hash([FORMAT, data_key(dataset), plan.training()])[:32]
    pool = sorted((*split.train, *split.val), key=lambda i: dataset[i].record_id)
    return World(dataset, tuple(pool), split.test, preset, plan, key)


def start_set(world: World, seed: int) -> list[int]:
    """Return the slabs that are revealed at first, the same for every strategy of a seed."""
    names = {i: world.dataset[i].record_id for i in world.pool}
    return sorted(world.pool, key=lambda i: (draw(seed, "start", names[i]), names[i]))[: world.plan.start]


def parts(world: World, revealed: Sequence[int], seed: int) -> Split:
    """Divide what is revealed; a slab, with its twins, always falls into the same part."""
    position = {i: draw(seed, "validation", world.unit[i]) for i in revealed}
    lowest = min(position.values())
    val = tuple(i for i in sorted(revealed) if position[i] < VALIDATION or position[i] == lowest)
    train = tuple(i for i in sorted(revealed) if i not in set(val))
    return Split("simulation", seed, train, val, ())


def objective_of(targets: tuple[str, ...]) -> Objective | None:
    """Return the objective of expected improvement, None without both of its targets."""
    if "surface_energy" in targets and "work_function" in targets:
        return Objective.of(targets, maximise=["work_function"], minimise=["surface_energy"])
    return None


def front_share(world: World, revealed: Sequence[int]) -> float | None:
    """Return how much of the pool's Pareto front the revealed slabs span: high work function, low energy."""
    if (objective := objective_of(world.targets)) is None:
        return None

    def points(indices: Sequence[int]) -> NDArray[np.float64]:
        part = world.dataset.subset(indices)
        values = objective.upward(np.stack([labels(part, name) for name in world.targets], axis=1))
        return values[np.isfinite(values).all(axis=1)]

    everything = points(world.pool)
    if not len(everything):
        return None
    reference = objective.reference(everything)
    whole = hypervolume(front_of(everything, reference), reference)
    return hypervolume(front_of(points(revealed), reference), reference) / whole if whole > 0 else None
