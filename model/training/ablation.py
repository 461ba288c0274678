"""Many trainings side by side: Table 1 of Shi et al. over several seeds, folds and training-set sizes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from model.evaluation.criteria import MAE, error_of, judged_targets
from model.evaluation.metrics import bootstrap, mean_and_spread, relative_change
from model.training.runs import RunSettings, run_training
from stores.errors import MgsurfError
from stores.files import InUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.training.runs import Datasets, Transfer
    from model.training.train import Progress


TABLE_1 = ("stl-surface-energy", "stl-work-function", "mtl", "gradnorm", "surface", "sem-cgcnn")
"""Presets of the paper's Table 1, in its order."""

PAPER: dict[str, dict[str, tuple[float, float]]] = {
    "stl-surface-energy": {"surface_energy": (0.0055, 0.9056)},
    "stl-work-function": {"work_function": (0.1253, 0.8578)},
    "mtl": {"surface_energy": (0.0059, 0.8807), "work_function": (0.1261, 0.8843)},
    "gradnorm": {"surface_energy": (0.0053, 0.9081), "work_function": (0.1288, 0.8802)},
    "surface": {"surface_energy": (0.0056, 0.8986), "work_function": (0.1211, 0.8843)},
    "sem-cgcnn": {"surface_energy": (0.0053, 0.9348), "work_function": (0.1180, 0.9072)},
}
"""MAE and R2 on the test set that Table 1 prints, by preset and target: one split, 3,526 slabs."""

PAPER_LOSS = {"stl": 0.1727, "mtl": 0.1836, "gradnorm": 0.1708, "surface": 0.1776, "sem-cgcnn": 0.1570}
"""Total loss that Table 1 prints; the two single-task models have one together."""

REFERENCE = "sem-cgcnn"  # the preset that `best` is compared with
COMPARED = (("best", REFERENCE), ("best-foundation", "best"), ("best-angles", "best"))
"""Pairs of presets that an ablation compares where it trained both."""


@dataclass(frozen=True)
class Plan:
    """Runs with every preset, seed, fold, training-set size and start; what they share is in `settings`."""

    # presets, seeds: at least one each
    presets: tuple[str, ...] = (*TABLE_1, "best")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fractions: tuple[float, ...] = (1.0,)  # shares of the training set
    # how each run begins: None from scratch, else from a pre-trained model
    transfers: tuple[Transfer | None, ...] = (None,)
    # of all runs; preset, seed, fold, fraction and transfer are replaced
    settings: RunSettings = field(default_factory=lambda: RunSettings(REFERENCE))

    def runs(self) -> list[RunSettings]:
        """List the runs: all presets with the first seed first, so that a first table comes early."""
        return [
            replace(
                self.settings, preset=preset, seed=seed, fold=fold, train_fraction=fraction, transfer=transfer
            )
            for seed in self.seeds
            for fold in range(max(self.settings.folds, 1))
            for fraction in self.fractions
            for preset in self.presets
            for transfer in self.transfers
        ]


class Run(Protocol):
    """A training or a replay of acquisition, for progress."""

    @property
    def members(self) -> int:
        """How many networks are trained."""
        ...

    def label(self) -> str:
        """Name for people."""
        ...


R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class Step:
    """Argument of a progress callback: which run of how many, and, while it trains, its last epoch."""

    number: int
    total: int
    run: Run
    member: int = 0
    line: Progress | None = None


def ablate(
    datasets: Datasets, plan: Plan, folder: Path, progress: Callable[[Step], None] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run a plan; finished runs of the folder are read, unfinished ones are resumed.

    `progress` is called before each run and after each epoch. Returns the content of each run's ``run.json``,
    and a line for each run that failed.
    """
    return train_all(datasets, plan.runs(), folder, folder_name, progress)


def train_all(
    datasets: Datasets,
    runs: Sequence[RunSettings],
    folder: Path,
    name: Callable[[RunSettings], str],
    progress: Callable[[Step], None] | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Train each of the runs in the folder that `name` gives it; see `ablate`."""
    found, problems = each_run(
        runs,
        lambda settings, on_epoch: run_training(
            datasets, settings, folder / name(settings), progress=on_epoch
        ),
        progress,
    )
    return [result for _, result in found], problems


def each_run(
    runs: Sequence[R],
    train_one: Callable[[R, Callable[[int, Progress], None]], dict[str, Any]],
    progress: Callable[[Step], None] | None = None,
) -> tuple[list[tuple[R, dict[str, Any]]], list[str]]:
    """Train each of the runs; one that fails, or is in work elsewhere, does not stop the others.

    Returns the finished runs with what `train_one` returned, and a line for each of the others. Raises
    MgsurfError if none finished.
    """
    tell = progress or (lambda _: None)
    results, problems = [], []
    for number, run in enumerate(runs):
        tell(Step(number, len(runs), run))

        def on_epoch(member: int, line: Progress, number: int = number, run: R = run) -> None:
            tell(Step(number, len(runs), run, member, line))

        try:
            results.append((run, train_one(run, on_epoch)))
        except InUseError:
            problems.append(f"{run.label()}: is in work elsewhere; run the same command again later")
        except MgsurfError as error:
            # a training that diverges must not cost the table of all others
            problems.append(f"{run.label()}: {error}")
    if not results and problems:
        raise MgsurfError(problems[0])
    return results, problems


def folder_name(settings: RunSettings) -> str:
    """Name the folder of a run by what sets it apart."""
    split = settings.split.replace(":", "-").replace("/", "_")
    parts = [f"seed-{settings.seed}"]
    if settings.folds:
        parts.append(f"fold-{settings.fold + 1}-of-{settings.folds}")
    if settings.train_fraction < 1:
        parts.append(f"train-{settings.train_fraction:g}")
    if settings.members > 1:
        parts.append(f"members-{settings.members}")
    if settings.epochs is not None:
        parts.append(f"epochs-{settings.epochs}")
    if settings.twins:
        parts.append(f"twins-{settings.twins}")
    if settings.transfer is not None:
        heads = "-new-heads" if settings.transfer.reset_heads else ""
        parts.append(f"from-{settings.transfer.key[:8]}-{settings.transfer.freeze}-frozen{heads}")
    return f"{split}/{settings.preset}/{'-'.join(parts)}"


def table(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Summarise runs: one row for each preset and training-set size, mean and spread over seeds.

    Returns
    -------
    list of dict
        ``preset``, ``train_fraction``, ``runs`` (how many), ``targets``: by target ``metric`` (what its error
        is) and ``error``; of quantities ``mae``, ``r2``, ``rmse``, ``macro_mae``, ``kendall_tau``,
        ``coverage_90``, ``spearman_sigma``, of classes ``accuracy``, ``macro_f1`` (each mean and standard
        deviation over runs), ``unit`` (None: not stated) and ``paper`` (mae, r2); ``total_loss`` of the
        quantities likewise and ``paper_loss``. A row ``stl`` adds up the losses of the two single-task
        presets.
    """
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        groups[name_of(result), result["settings"]["train_fraction"]].append(result)
    rows = [_row(preset, fraction, group) for (preset, fraction), group in groups.items()]
    return rows + _single_task_rows(groups)


def comparisons(
    results: Sequence[Mapping[str, Any]], ours: str = "best", theirs: str = REFERENCE
) -> dict[str, dict[str, Any]]:
    """Compare two presets by target, paired by seed and fold, and by chemical system.

    Returns
    -------
    dict
        By target ``pairs``, ``metric``, ``error`` (difference of the test errors) and ``error_relative``
        (ratio minus one), both with their 95 % bootstrap interval over runs; of quantities the same as
        ``mae`` and ``mae_relative``, and ``systems_relative`` (ratio of the macro-averages minus one,
        interval over chemical systems). Empty where the presets have no run in common.
    """
    paired = _pairs(results, ours, theirs)
    targets = judged_targets(paired[0][0]) if paired else []
    found = {}
    for target in (name for name in targets if name in judged_targets(paired[0][1])):
        errors = _test_errors(paired, target)
        if not len(errors):
            continue
        change = {
            "": asdict(bootstrap(errors[:, 0] - errors[:, 1])),
            "_relative": asdict(relative_change(errors[:, 0], errors[:, 1])),
        }
        metric = error_of(paired[0][0], target).criterion.name
        found[target] = {"pairs": len(errors), "metric": metric}
        found[target] |= {f"error{ending}": value for ending, value in change.items()}
        if metric == MAE.name:
            systems = _system_maes(paired, target)
            found[target] |= {f"mae{ending}": value for ending, value in change.items()}
            found[target] |= {
                "systems": len(systems),
                "systems_relative": asdict(relative_change(systems[:, 0], systems[:, 1])),
            }
    return found


def learning_curve(results: Sequence[Mapping[str, Any]], target: str) -> list[dict[str, Any]]:
    """Return the test error against training-set size: ``preset``, ``n``, ``metric``, ``error``, ``spread``.

    ``mae`` is the error where it is one, else None.
    """
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        if target in judged_targets(result):
            groups[name_of(result), result["settings"]["train_fraction"]].append(result)
    points = []
    for (preset, _), group in sorted(groups.items()):
        error = mean_and_spread([error_of(run, target).test for run in group])
        metric = error_of(group[0], target).criterion.name
        points.append(
            {
                "preset": preset,
                "n": round(np.mean([run["sizes"]["train"] for run in group])),
                "mae": error["mean"] if metric == MAE.name else None,
                "spread": error["spread"],
                "metric": metric,
                "error": error["mean"],
            }
        )
    return points


def transfer_gains(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare each way of fine-tuning with training from scratch at each training-set size, paired by seed.

    Returns
    -------
    list of dict
        ``name``, ``target``, ``metric``, ``n`` (training slabs), ``pairs``, ``scratch`` and ``transfer``
        (mean test error), ``relative`` (ratio minus one with its 95 % bootstrap interval over the pairs),
        smallest sets first.
    """
    names = dict.fromkeys(name_of(run) for run in results if run["settings"].get("transfer"))
    gains = []
    for name in names:
        tuned = next(run for run in results if name_of(run) == name)
        by_size = defaultdict(list)
        for pair in _pairs(results, name, tuned["settings"]["preset"]):
            by_size[pair[0]["settings"]["train_fraction"]].append(pair)
        for target in judged_targets(tuned):
            for _, pairs in sorted(by_size.items()):
                errors = _test_errors(pairs, target)
                if not len(errors):
                    continue
                gains.append(
                    {
                        "name": name,
                        "target": target,
                        "metric": error_of(tuned, target).criterion.name,
                        "n": round(np.mean([run["sizes"]["train"] for run, _ in pairs])),
                        "pairs": len(errors),
                        "scratch": float(errors[:, 1].mean()),
                        "transfer": float(errors[:, 0].mean()),
                        "relative": asdict(relative_change(errors[:, 0], errors[:, 1])),
                    }
                )
    return gains


def name_of(run: Mapping[str, Any]) -> str:
    """Name what a run is compared by: its preset, and how it was fine-tuned."""
    settings = run["settings"]
    name = str(settings["preset"])
    if transfer := settings.get("transfer"):
        parts = [f"{name} fine-tuned"]
        parts += [f"{transfer['freeze']} frozen"] if transfer["freeze"] != "none" else []
        name = ", ".join(parts + (["new heads"] if transfer["reset_heads"] else []))
    return name


def _row(preset: str, fraction: float, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    targets = {}
    for target in group[0]["metrics"]:
        each = [run["metrics"][target] for run in group]
        paper = PAPER.get(preset, {}).get(target)
        targets[target] = {
            **_error_of_group(group, target),
            **{name: mean_and_spread([m["test"][name] for m in each]) for name in ("mae", "rmse", "r2")},
            **{
                name: mean_and_spread([m[name] for m in each])
                for name in ("macro_mae", "coverage_90", "spearman_sigma")
            },
            "kendall_tau": mean_and_spread([m["facet_order"]["kendall_tau"] for m in each]),
            "paper": {"mae": paper[0], "r2": paper[1]} if paper else None,
            "unit": each[0].get("unit"),
        }
    for target in group[0].get("classes", {}):
        tests = [run["classes"][target]["test"] for run in group]
        scores = {name: mean_and_spread([test[name] for test in tests]) for name in ("accuracy", "macro_f1")}
        targets[target] = {**_error_of_group(group, target), **scores, "unit": None, "paper": None}
    return {
        "preset": preset,
        "train_fraction": fraction,
        "runs": len(group),
        "targets": targets,
        "total_loss": mean_and_spread([run["total_loss"] for run in group]),
        "paper_loss": PAPER_LOSS.get(preset),
    }


def _error_of_group(group: Sequence[Mapping[str, Any]], target: str) -> dict[str, Any]:
    """Name of the error of a target, and its mean and spread over runs on the test set."""
    found = [error_of(run, target) for run in group]
    return {
        "metric": found[0].criterion.name,
        "error": mean_and_spread([one.test for one in found]),
    }


def _test_errors(
    paired: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], target: str
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Test errors of a target in the pairs of runs that both know theirs: [pairs, 2]."""
    errors = [[error_of(run, target).test for run in pair] for pair in paired]
    return np.array([pair for pair in errors if None not in pair], dtype=float).reshape(-1, 2)


def _single_task_rows(
    groups: Mapping[tuple[str, float], Sequence[Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """Add up the losses of the two single-task presets, as the paper does; one row per training-set size."""
    rows = []
    for fraction in dict.fromkeys(fraction for _, fraction in groups):
        energy = groups.get((TABLE_1[0], fraction), ())
        work = {_key(run): run for run in groups.get((TABLE_1[1], fraction), ())}
        sums = [run["total_loss"] + work[_key(run)]["total_loss"] for run in energy if _key(run) in work]
        if sums:
            rows.append(
                {
                    "preset": "stl",
                    "train_fraction": fraction,
                    "runs": len(sums),
                    "targets": {},
                    "total_loss": mean_and_spread(sums),
                    "paper_loss": PAPER_LOSS["stl"],
                }
            )
    return rows


def _pairs(
    results: Sequence[Mapping[str, Any]], ours: str, theirs: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    others = {_key(run): run for run in results if name_of(run) == theirs}
    return [(run, others[_key(run)]) for run in results if name_of(run) == ours and _key(run) in others]


def _key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    s = run["settings"]
    return s["split"], s["seed"], s["folds"], s["fold"], s["train_fraction"]


def _system_maes(
    paired: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], target: str
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """MAE of both presets in each chemical system, averaged over the runs that tested it: [systems, 2]."""
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for ours, theirs in paired:
        for system, errors in ours["metrics"][target]["by_system"].items():
            other = theirs["metrics"][target]["by_system"].get(system)
            if errors["n"] and other and other["n"]:
                values[system].append((errors["mae"], other["mae"]))
    return np.array([np.mean(values[system], axis=0) for system in sorted(values)]).reshape(-1, 2)
