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
import shutil
import time
from typing import TYPE_CHECKING, Any

from model.ablation import Step
from model.ensemble import load_ensemble, save_ensemble
from model.folder_lock import InUseError, alone_in
from model.run_folder import write_text
from model.simulation_learning import choose_next, judge_on_holdout, train_on_revealed
from model.simulation_plan import Stage, front_share, start_set, world_of
from stores.errors import InputError
from stores.input_files import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from model.ensemble import Ensemble
    from model.runs import Datasets
    from model.simulation_plan import SimulationPlan, World
    from model.training import Progress


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
    world = world_of(datasets, plan)
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


def _replay(
    world: World,
    sizes: Sequence[int],
    strategy: str,
    seed: int,
    folder: Path,
    tell: Callable[..., None],
) -> list[dict[str, Any]]:
    """Go through the rounds of one strategy with one seed."""
    own = folder / strategy / f"seed-{seed}"
    own.mkdir(parents=True, exist_ok=True)
    revealed = start_set(world, seed)
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
    world: World,
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
        ensemble = train_on_revealed(world, revealed, stage, before, on_epoch)
        if world.plan.warm:
            save_ensemble(ensemble, own / f"model-{stage.number}")
    hidden = [i for i in world.pool if i not in set(revealed)]
    chosen = choose_next(world, ensemble, revealed, hidden, strategy, stage) if hidden else []
    mae, score = judge_on_holdout(world, ensemble)
    return {
        "key": world.key,
        "strategy": strategy,
        "seed": stage.seed,
        "round": stage.number,
        "slabs": len(revealed),
        "share": len(revealed) / len(world.pool),
        "mae": mae,
        "score": score,
        "front": front_share(world, revealed),
        "epochs": [len(member.history) for member in ensemble.members],
        "cpu_seconds": round(time.process_time() - began, 2),
        "chosen": [world.dataset[i].record_id for i in chosen],
    }


def _start_model(
    world: World, revealed: list[int], stage: Stage, folder: Path, on_epoch: Callable[[int, Progress], None]
) -> Ensemble:
    """Train on the start set, once for all strategies of a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, "lock", "another process simulates"):
        path = folder / "start.json"
        if _read(path, world.key) is None:
            ensemble = train_on_revealed(world, revealed, stage, None, on_epoch)
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


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """Return a finished round.

    Raises
    ------
    InputError
        If it is of another simulation, or damaged.
    """
    try:
        content: dict[str, Any] = read_json(path)
        if content["key"] != key:
            raise InputError(
                f"{path}: of a simulation with other settings or data; choose another folder with --output"
            )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it, and the round is done again") from error
    return content
