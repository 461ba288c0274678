"""Acquisition replayed on slabs whose labels are known: what each strategy would have computed and learned.

The compounds of the hold-out (`model.holdout`) are never revealed. Of the other slabs, the pool, a start set
is; then, round by round, a network is trained on what is revealed, judged on the hold-out, and a strategy
chooses the batch that is revealed next. Everything follows from the seed: strategies of one seed share their
start.

A folder holds ``STRATEGY/seed-N/round-K.json``, one per finished round and written last, and the models that
the next rounds need. What is there is never done again.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model.ablation import Step
from model.acquisition import STRATEGIES, Known, Pool, check_strategy, choose
from model.ensemble import load_ensemble, save_ensemble, train_ensemble
from model.evaluation import labels
from model.features import FEATURES
from model.folder_lock import InUseError, alone_in
from model.holdout import fixed_split
from model.improvement import Goal, front_of, hypervolume
from model.presets import find_preset
from model.run_folder import write_text
from model.runs import data_key, heads_of, labelled
from model.splits import Split, draw
from model.transfer import Start
from stores.errors import InputError
from stores.method import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.dataset import Dataset
    from model.ensemble import Ensemble
    from model.evaluation import Predictions
    from model.presets import Preset
    from model.runs import Datasets
    from model.training import Progress

FORMAT = "mgsurf simulation 1"

VALIDATION = 0.15
"""Share of the revealed slabs that validates; the other revealed slabs train."""

LEAST_STEPS = 15
"""A training on few slabs takes more epochs than asked for: as many steps as if an epoch had so many."""

WARM_EPOCHS, WARM_RATE = 0.4, 0.4
"""Shares of epochs and learning rate of a training that begins with the weights of the round before.

With 400 shared slabs after 300, preset best: error 0.315 after 8 warm epochs (8 s of processor time), 0.383
after 8 and 0.332 after 16 epochs from scratch (17 s)."""


@dataclass(frozen=True)
class SimulationPlan:
    """What is replayed.

    Attributes
    ----------
    strategies
        Of `model.acquisition.STRATEGIES`.
    seeds
        One replay of every strategy each.
    start, batch
        Slabs revealed before the first training, and after each.
    rounds
        Batches; None: as many as `until` needs.
    until
        Share of the pool that is revealed in the end, and at which random sets the mark for the others.
    preset, epochs, members
        Of each training.
    warm
        Begin each training with the weights of the round before.
    """

    strategies: tuple[str, ...] = STRATEGIES
    seeds: tuple[int, ...] = (0, 1, 2)
    start: int = 100
    batch: int = 100
    rounds: int | None = None
    until: float = 0.5
    preset: str = "best"
    epochs: int = 20
    members: int = 1
    warm: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be replayed."""
        for name in self.strategies:
            check_strategy(name)
        if not 0 < self.until <= 1:
            raise InputError(f"--until {self.until:g}: must be above 0 and at most 1, a share of the pool")

    def sizes(self, pool: int) -> list[int]:
        """Return how many slabs are revealed in each round; the last reaches the share that is asked for.

        Raises
        ------
        InputError
            If the pool is too small.
        """
        if self.start >= pool:
            raise InputError(f"--start {self.start}: the pool has {pool} slabs; begin with fewer")
        rounds = self.rounds
        if rounds is None:
            rounds = math.ceil(max(self.until * pool - self.start, 0) / self.batch)
        return list(dict.fromkeys(min(self.start + k * self.batch, pool) for k in range(rounds + 1)))

    def training(self) -> dict[str, Any]:
        """Return what decides the numbers of a round; a longer simulation goes on from a shorter one."""
        values = asdict(self)
        for name in ("strategies", "seeds", "rounds", "until"):
            del values[name]
        return values


@dataclass(frozen=True)
class Stage:
    """Which round of which replay; for progress."""

    strategy: str
    seed: int
    number: int
    slabs: int
    members: int

    def label(self) -> str:
        """Name it for people."""
        return f"{self.strategy}, seed {self.seed}, {self.slabs} slabs"


@dataclass(frozen=True, eq=False)
class _World:
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
        return self.preset.network.targets


def simulate(
    datasets: Datasets,
    plan: SimulationPlan,
    folder: Path,
    progress: Callable[[Step], None] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, int], list[str]]:
    """Replay a plan; rounds that the folder holds are read.

    Parameters
    ----------
    datasets
        The labelled slabs.
    plan
        What is replayed.
    folder
        Made if it does not exist.
    progress
        Called before each round and after each of its epochs.

    Returns
    -------
    rounds
        One per strategy, seed and round: ``strategy``, ``seed``, ``round``, ``slabs``, ``share`` (of the
        pool), ``mae`` by target, ``score`` (MAE in standard deviations of the hold-out's labels, mean over
        targets), ``front`` (share found of what the pool's Pareto front spans; None without both targets),
        ``epochs``, ``cpu_seconds``, ``chosen`` (ids of the slabs revealed next).
    sizes
        ``pool`` and ``holdout``.
    problems
        What could not be done, one line each.

    Raises
    ------
    InputError
        If the data are too few, or the folder holds another simulation.
    """
    world = _world(datasets, plan)
    sizes = plan.sizes(len(world.pool))
    tell = progress or (lambda _: None)
    total = len(plan.seeds) * len(plan.strategies) * len(sizes)
    found: list[dict[str, Any]] = []
    waiting = [(seed, strategy) for seed in plan.seeds for strategy in plan.strategies]
    problems: list[str] = []
    while waiting:
        busy = []
        for seed, strategy in waiting:
            done = len(found)

            def on_round(
                stage: Stage, member: int = 0, line: Progress | None = None, done: int = done
            ) -> None:
                tell(Step(done + stage.number, total, stage, member, line))

            try:
                found += _replay(world, sizes, strategy, seed, folder, on_round)
            except InUseError:
                busy.append((seed, strategy))
        if len(busy) == len(waiting):
            again = "is in work elsewhere; run the same command again later"
            problems = [f"{strategy}, seed {seed}: {again}" for seed, strategy in busy]
            break
        waiting = busy
    return found, {"pool": len(world.pool), "holdout": len(world.holdout)}, problems


def _world(datasets: Datasets, plan: SimulationPlan) -> _World:
    preset = find_preset(plan.preset)
    found = datasets(preset.graph, preset.network.targets)
    heads = heads_of(found, preset.network.targets)
    preset = replace(preset, network=replace(preset.network, targets=heads))
    dataset = labelled(found, heads)
    split = fixed_split(dataset)
    if not split.test:
        raise InputError("none of the compounds falls into the hold-out; add slabs of more compounds")
    for name in heads:
        if np.isnan(labels(dataset.subset(split.test), name)).all():
            raise InputError(f"no slab of the {len(split.test)} held out has a label of {name}; add data")
    key = content_hash([FORMAT, data_key(dataset), plan.training()])[:32]
    pool = sorted((*split.train, *split.val), key=lambda i: dataset[i].record_id)
    return _World(dataset, tuple(pool), split.test, preset, plan, key)


def _replay(
    world: _World,
    sizes: Sequence[int],
    strategy: str,
    seed: int,
    folder: Path,
    tell: Callable[..., None],
) -> list[dict[str, Any]]:
    """Go through the rounds of one strategy with one seed."""
    own = folder / strategy / f"seed-{seed}"
    own.mkdir(parents=True, exist_ok=True)
    revealed = _start_set(world, seed)
    rounds: list[dict[str, Any]] = []
    with alone_in(own, "lock", "another process simulates"):
        for number, size in enumerate(sizes):
            stage = Stage(strategy, seed, number, size, world.plan.members)
            path = own / f"round-{number}.json"
            finished = _read(path, world.key)
            if finished is None:
                tell(stage)

                def on_epoch(member: int, line: Progress, stage: Stage = stage) -> None:
                    tell(stage, member, line)

                finished = _round(world, revealed, strategy, stage, folder, own, on_epoch)
                write_text(path, json.dumps(finished, indent=1) + "\n")
            shutil.rmtree(own / f"model-{number - 1}", ignore_errors=True)
            rounds.append(finished)
            revealed = revealed + [world.by_id[name] for name in finished["chosen"]]
    return rounds


def _round(
    world: _World,
    revealed: list[int],
    strategy: str,
    stage: Stage,
    folder: Path,
    own: Path,
    on_epoch: Callable[[int, Progress], None],
) -> dict[str, Any]:
    """Train on what is revealed, judge, and choose what comes next."""
    began = time.process_time()
    if stage.number == 0:
        ensemble = _start_model(world, revealed, stage, folder / "start" / f"seed-{stage.seed}", on_epoch)
    else:
        before = _model_before(own, folder, stage) if world.plan.warm else None
        ensemble = _train(world, revealed, stage, before, on_epoch)
        if world.plan.warm:
            save_ensemble(ensemble, own / f"model-{stage.number}")
    hidden = [i for i in world.pool if i not in set(revealed)]
    chosen = _choose(world, ensemble, revealed, hidden, strategy, stage) if hidden else []
    mae, score = _judge(world, ensemble)
    return {
        "key": world.key,
        "strategy": strategy,
        "seed": stage.seed,
        "round": stage.number,
        "slabs": len(revealed),
        "share": len(revealed) / len(world.pool),
        "mae": mae,
        "score": score,
        "front": _front_share(world, revealed),
        "epochs": [len(member.history) for member in ensemble.members],
        "cpu_seconds": round(time.process_time() - began, 2),
        "chosen": [world.dataset[i].record_id for i in chosen],
    }


def _start_set(world: _World, seed: int) -> list[int]:
    """Return the slabs that are revealed at first, the same for every strategy of a seed."""
    names = {i: world.dataset[i].record_id for i in world.pool}
    return sorted(world.pool, key=lambda i: (draw(seed, "start", names[i]), names[i]))[: world.plan.start]


def _start_model(
    world: _World, revealed: list[int], stage: Stage, folder: Path, on_epoch: Callable[[int, Progress], None]
) -> Ensemble:
    """Train on the start set, once for all strategies of a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, "lock", "another process simulates"):
        path = folder / "start.json"
        if _read(path, world.key) is None:
            ensemble = _train(world, revealed, stage, None, on_epoch)
            save_ensemble(ensemble, folder / "model")
            write_text(path, json.dumps({"key": world.key}) + "\n")
        return load_ensemble(folder / "model")


def _model_before(own: Path, folder: Path, stage: Stage) -> Ensemble:
    if stage.number == 1:
        return load_ensemble(folder / "start" / f"seed-{stage.seed}" / "model")
    path = own / f"model-{stage.number - 1}"
    try:
        return load_ensemble(path)
    except InputError as error:
        raise InputError(
            f"{path}: the model that the next round begins with is missing or damaged; delete {own} and "
            "repeat the command"
        ) from error


def _train(
    world: _World,
    revealed: list[int],
    stage: Stage,
    before: Ensemble | None,
    on_epoch: Callable[[int, Progress], None],
) -> Ensemble:
    split = _parts(world, revealed, stage.seed)
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
    )


def _parts(world: _World, revealed: Sequence[int], seed: int) -> Split:
    """Divide what is revealed; a slab, with its twins, always falls into the same part."""
    position = {i: draw(seed, "validation", world.unit[i]) for i in revealed}
    lowest = min(position.values())
    val = tuple(i for i in sorted(revealed) if position[i] < VALIDATION or position[i] == lowest)
    train = tuple(i for i in sorted(revealed) if i not in set(val))
    return Split("simulation", seed, train, val, ())


def _choose(
    world: _World,
    ensemble: Ensemble,
    revealed: list[int],
    hidden: list[int],
    strategy: str,
    stage: Stage,
) -> list[int]:
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
        goal=_goal(targets),
    )
    return [hidden[pick.index] for pick in picks]


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


def _goal(targets: tuple[str, ...]) -> Goal | None:
    if "surface_energy" in targets and "work_function" in targets:
        return Goal.of(targets, maximise=["work_function"], minimise=["surface_energy"])
    return None


def _judge(world: _World, ensemble: Ensemble) -> tuple[dict[str, float], float]:
    held = world.dataset.subset(world.holdout)
    predicted = ensemble.predict([entry.graph for entry in held]).mean
    mae, scores = {}, []
    for name in world.targets:
        true = labels(held, name)
        mae[name] = float(np.nanmean(np.abs(predicted[name] - true)))
        scores.append(mae[name] / (float(np.nanstd(true)) or 1.0))
    return mae, float(np.mean(scores))


def _front_share(world: _World, revealed: Sequence[int]) -> float | None:
    """Return how much of the pool's Pareto front the revealed slabs span: high work function, low energy."""
    if (goal := _goal(world.targets)) is None:
        return None

    def points(indices: Sequence[int]) -> NDArray[np.float64]:
        part = world.dataset.subset(indices)
        values = goal.upward(np.stack([labels(part, name) for name in world.targets], axis=1))
        return values[np.isfinite(values).all(axis=1)]

    everything = points(world.pool)
    if not len(everything):
        return None
    reference = goal.reference(everything)
    whole = hypervolume(front_of(everything, reference), reference)
    return hypervolume(front_of(points(revealed), reference), reference) / whole if whole > 0 else None


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """Return a finished round.

    Raises
    ------
    InputError
        If it is of another simulation, or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != key:
            raise InputError(
                f"{path}: of a simulation with other settings or data; choose another folder with --output"
            )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it, and the round is done again") from error
    return content
