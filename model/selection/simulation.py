"""Acquisition replayed on slabs whose labels are known, to compare strategies.

The compounds of the hold-out (`model.data.splits`) are never revealed. Of the other slabs, the pool, a start
set is; then, round by round, a network is trained on what is revealed, judged on the hold-out, and a strategy
chooses the batch that is revealed next. Everything follows from the seed: strategies of one seed share their
start.

A folder holds ``STRATEGY/seed-N/round-K.json``, one per finished round and written last, and the models that
the next rounds need; finished rounds are read.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.metrics import labels, mean_and_spread
from model.selection.acquisition import choose
from model.selection.pool import Known, Pool
from model.selection.simulation_plan import (
    RULES,
    Stage,
    front_share,
    objective_of,
    parts,
    start_set,
    world_of,
)
from model.training.ablation import Step
from model.training.checked_json import read_json, write_json
from model.training.checkpoint import code_version, written_by
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.transfer import Start
from stores.errors import InputError
from stores.files import InUseError, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.evaluation.metrics import Predictions
    from model.selection.simulation_plan import SimulationPlan, World
    from model.training.ensemble import Ensemble
    from model.training.runs import Datasets
    from model.training.train import Progress

    Round = Mapping[str, Any]


RANDOM = "random"
SCORE = "score"
"""Name of the error over all targets: MAE in standard deviations of the hold-out's labels, their mean."""

LEAST_STEPS = 15
"""A training on few slabs takes more epochs than requested: as many steps as if an epoch had so many."""

WARM_EPOCHS, WARM_RATE = 0.4, 0.4
"""Shares of epochs and learning rate of a training that begins with the weights of the round before.

With 400 slabs of the Mg set after 300, preset best: error 0.315 after 8 warm epochs (8 s of processor time),
0.383 after 8 and 0.332 after 16 epochs from scratch (17 s)."""


def curve(rounds: Sequence[Round], strategy: str) -> list[dict[str, Any]]:
    """Average a strategy's rounds over seeds.

    Returns
    -------
    list of dict
        ``strategy``, ``slabs``, ``share``, ``seeds`` (how many) and ``errors``: mean and spread (standard
        deviation over seeds, None for one) by target and for `SCORE`; ``front`` likewise. Fewest slabs first.
    """
    by_size = defaultdict(list)
    for line in rounds:
        if line["strategy"] == strategy:
            by_size[line["slabs"]].append(line)
    points = []
    for slabs, lines in sorted(by_size.items()):
        names = [*lines[0]["mae"], SCORE]
        fronts = [line["front"] for line in lines if line["front"] is not None]
        points.append(
            {
                "strategy": strategy,
                "slabs": slabs,
                "share": lines[0]["share"],
                "seeds": len(lines),
                "errors": {name: mean_and_spread([error_of(line, name) for line in lines]) for name in names},
                "front": mean_and_spread(fronts),
            }
        )
    return points


def error_of(line: Round, name: str) -> float:
    """Return the error of a round, of one target or over all (`SCORE`)."""
    return float(line[SCORE] if name == SCORE else line["mae"][name])


def savings(rounds: Sequence[Round], reference: float) -> list[dict[str, Any]]:
    """Count the slabs that each strategy needs for the error that random has reached at its end.

    Slabs are counted from after the start set, which all strategies of a seed share and none has chosen.

    Parameters
    ----------
    reference
        Slabs at which random sets the mark; its curve is interpolated there.

    Returns
    -------
    list of dict
        By strategy and error (`SCORE` first): ``strategy``, ``error``, ``mark`` (random's error at the
        reference), ``slabs`` (from which on the mean curve stays at or below the mark, as far as the
        reference, the start set included; None: never), ``ratio`` (those chosen after the start over those
        that random chose after it), ``ratios`` (of single seeds against random with the same seed; None:
        never). Empty where random has not been replayed that far, or no further than the start set.
    """
    base = curve(rounds, RANDOM)
    if not base or base[-1]["slabs"] < reference or reference <= base[0]["slabs"]:
        return []
    found = []
    for strategy in dict.fromkeys(line["strategy"] for line in rounds):
        points = curve(rounds, strategy)
        for name in (SCORE, *(n for n in points[0]["errors"] if n != SCORE)):
            mark = _line(base, name, reference)[-1][1]
            slabs = reached(_line(points, name, reference), mark)
            found.append(
                {
                    "strategy": strategy,
                    "error": name,
                    "mark": mark,
                    "slabs": slabs,
                    "ratio": _ratio(slabs, base[0]["slabs"], reference),
                    "ratios": _seed_ratios(rounds, strategy, name, reference),
                }
            )
    return found


def reached(points: Sequence[tuple[float, float]], mark: float) -> float | None:
    """Return from where on a curve (slabs, error) stays at or below a mark, interpolated; None: never."""
    tolerance = 1e-12 * abs(mark)  # a curve that sets the mark reaches it
    if not points or points[-1][1] > mark + tolerance:
        return None
    where = points[0][0]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 > mark + tolerance >= y1:
            where = x0 + (x1 - x0) * (y0 - mark) / (y0 - y1)
    return min(float(where), float(points[-1][0]))


def _seed_ratios(rounds: Sequence[Round], strategy: str, name: str, reference: float) -> list[float | None]:
    ratios: list[float | None] = []
    for seed in sorted({line["seed"] for line in rounds if line["strategy"] == strategy}):
        own = [line for line in rounds if line["seed"] == seed]
        base = _line(curve(own, RANDOM), name, reference)
        if not base or base[-1][0] < reference:
            continue
        slabs = reached(_line(curve(own, strategy), name, reference), base[-1][1])
        ratios.append(_ratio(slabs, base[0][0], reference))
    return ratios


def _ratio(slabs: float | None, start: float, reference: float) -> float | None:
    """Return the share of the slabs that random chose after the start; at most 0 where the start suffices."""
    return None if slabs is None else (slabs - start) / (reference - start)


def _line(points: Sequence[Mapping[str, Any]], name: str, until: float) -> list[tuple[float, float]]:
    """Return (slabs, error) up to a number of slabs, where the curve is interpolated."""
    line = [(float(point["slabs"]), float(point["errors"][name]["mean"])) for point in points]
    kept = [point for point in line if point[0] < until]
    if line and line[-1][0] >= until:
        slabs, errors = zip(*line, strict=True)
        kept.append((float(until), float(np.interp(until, slabs, errors))))
    return kept


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
        replace(world.preset, training=replace(config, epochs=epochs)),
        members=world.plan.members,
        progress=on_epoch,
        starts=starts,
    )


def choose_next(
    world: World, ensemble: Ensemble, revealed: list[int], hidden: list[int], strategy: str, stage: Stage
) -> list[int]:
    """Choose the hidden slabs that a strategy reveals next, best first."""
    graphs = [world.dataset[i].graph for i in hidden]
    predicted, targets = ensemble.predict(graphs), world.targets
    known_graphs = [world.dataset[i].graph for i in revealed]
    values = np.stack([labels(world.dataset.subset(revealed), name) for name in targets], axis=1)
    none = np.full(len(hidden), np.nan)
    picks = choose(
        Pool.of(
            np.stack([predicted.mean[name] for name in targets], axis=1),
            _sigma(predicted, targets),
            _places(ensemble, graphs),
            shared=np.stack([predicted.shared.get(name, none) for name in targets], axis=1),
            compounds=[world.dataset[i].compound for i in hidden],
        ),
        min(world.plan.batch, len(hidden)),
        strategy,
        seed=1000 * stage.seed + stage.number,
        known=Known(values, _places(ensemble, known_graphs)),
        scale=ensemble.members[0].scaler.std,
        objective=objective_of(targets),
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
    """Return standard deviations [n, T], distinguished at least by the distance from what is revealed."""
    # calibrated on few slabs, a model may find no use for that distance and be equally uncertain of all; it
    # then stands for the missing part, for a strategy must choose
    sigma = np.stack([predicted.sigma[name] for name in targets], axis=1)
    flat = np.ptp(sigma, axis=0) <= 1e-9 * sigma.max(axis=0)
    return np.where(flat, sigma * (1 + predicted.distance[:, None]), sigma)


def _places(ensemble: Ensemble, graphs: Sequence[Any]) -> NDArray[np.float64]:
    """Return places in the first member's embedding, in units of the training slabs' spread; [n, D]."""
    points = ensemble.training_map
    return np.asarray(((ensemble.embed(graphs) - points.mean) / points.std).double().numpy())


def simulate(
    datasets: Datasets, plan: SimulationPlan, folder: Path, progress: Callable[[Step], None] | None = None
) -> tuple[list[dict[str, Any]], dict[str, int], list[str]]:
    """Replay a plan; rounds that the folder holds are read.

    Parameters
    ----------
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
    world: World, sizes: Sequence[int], strategy: str, seed: int, folder: Path, tell: Callable[..., None]
) -> list[dict[str, Any]]:
    """Go through the rounds of one strategy with one seed."""
    own = folder / strategy / f"seed-{seed}"
    own.mkdir(parents=True, exist_ok=True)
    revealed = start_set(world, seed)
    rounds: list[dict[str, Any]] = []
    with locked(own / "lock", 0):
        for number, size in enumerate(sizes):
            stage = Stage(strategy, seed, number, size, world.plan.members)
            path = own / f"round-{number}.json"
            finished = _read(path, world.key)
            if finished is None:
                _check_rule(own, strategy, rounds)
                tell(stage)

                def on_epoch(member: int, line: Progress, stage: Stage = stage) -> None:
                    tell(stage, member, line)

                finished = _round(world, revealed, strategy, stage, folder, own, on_epoch)
                write_json(path, finished)
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
        "code": code_version(),
        "rule": RULES.get(strategy, 1),
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
    with locked(folder / "lock", 0):
        path = folder / "start.json"
        if _read(path, world.key) is None:
            ensemble = train_on_revealed(world, revealed, stage, None, on_epoch)
            save_ensemble(ensemble, folder / "model")
            write_json(path, {"key": world.key, "code": code_version()})
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
    """Return a finished round; raises InputError if it is of another simulation, or damaged."""
    try:
        content = read_json(path, "delete it, and the round is done again")
    except FileNotFoundError:
        return None
    if content.get("key") != key:
        version = f" ({made})" if (made := written_by(content.get("code"))) else ""
        raise InputError(
            f"{path}: of a simulation with other settings or data{version}; choose another folder with "
            "--output, or delete this one"
        )
    return content


def _check_rule(own: Path, strategy: str, rounds: Sequence[Round]) -> None:
    """Refuse to add to rounds whose batches were chosen by the rule of another version."""
    others = [one for one in rounds if one.get("rule", 1) != RULES.get(strategy, 1)]
    if others:
        made = written_by(others[-1].get("code"))
        raise InputError(
            f"{own}: the rule that chose {len(others)} rounds differs from that of this version ({made}); "
            "finish them with that version, or delete this folder and repeat the command"
        )
