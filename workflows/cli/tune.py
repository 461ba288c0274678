"""`mgsurf tune`: search for hyper-parameters of a preset on validation data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import (
    DEFAULT_PRESET,
    PRESETS,
    SeedOption,
    StudyOptions,
    TargetsOption,
    TrainingOptions,
    require_network,
    run_folder,
    target_names,
    writing,
)
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.network.heads import HeadsConfig
    from model.training.tuning import TrialSummary

_SHOWN = 8


@app.command(rich_help_panel=LEARN)
def tune(
    *,
    preset: Annotated[str, typer.Option(metavar="NAME", help=f"{PRESETS}.")] = DEFAULT_PRESET,
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="Those of earlier calls count.")] = 200,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1,
    training: TrainingOptions,
    targets: TargetsOption = None,
    seed: SeedOption = 0,
    study: StudyOptions,
) -> int:
    """Search for better settings of a preset on validation data; the same command resumes if interrupted.

    Example: [cyan]mgsurf tune --preset best --trials 200 --workers 2 --epochs 60[/cyan]
    """
    require_network("optuna")
    from model.training.presets import find_preset
    from model.training.runs import RunSettings, chosen_preset, labelled_data
    from model.training.tuning import TrainingTask, space_of
    from model.training.tuning import tune as search

    folder = run_folder(study.output, Path("mgsurf_tuning"))
    heads = tuple(dict.fromkeys(target_names(targets)))
    settings = RunSettings(preset, seed=seed, targets=heads, **training.settings())
    space = space_of(find_preset(preset))
    slabs = study.slabs()
    # mistakes in the data are reported before a process starts
    network = labelled_data(slabs, chosen_preset(settings))[0].network
    task = TrainingTask(slabs, settings)
    label = ", ".join([settings.label(), *heads])
    _same_search(folder, label)
    with ProgressBar(study.quiet) as bar:
        progress = _show_trials(bar, trials)
        found = search(folder, space, task, trials=trials, workers=workers, seed=seed, progress=progress)
    best = _write(folder, found, label, _metrics(network))
    if study.as_json:
        print(json.dumps({"best": best, "trials": len(found), "output": str(folder)}, indent=2))
    else:
        pruned = sum(trial.pruned for trial in found)
        print_text(f"{pluralize(len(found), 'trial')}, {pruned} of them stopped early; the best:")
        print_table(trial_table([trial for trial in found if not trial.pruned]))
        words = " or ".join(dict.fromkeys(best["metrics"].values()))
        print_text(f"score: validation {words}, mean over targets")
        print(f"best settings in {folder / 'best.json'}; train them with:")
        of_heads = f" --targets {','.join(heads)}" if heads else ""
        print(f"  mgsurf train --preset {preset}{of_heads} --params {folder / 'best.json'}")
    if len(found) < trials:
        print_note(f"{pluralize(len(found), 'trial')}; nothing new was left to try")
    return 0


def _metrics(network: HeadsConfig) -> dict[str, str]:
    """Return what the score counts of each target, see `model.training.train.Epoch`."""
    from model.evaluation.criteria import MAE, MISSED

    classes = network.class_names()
    of_quantity, of_classes = f"{MAE.name} in standard deviations", f"{MISSED.name} of the true class"
    return {target: of_classes if target in classes else of_quantity for target in network.targets}


def _same_search(folder: Path, label: str) -> None:
    """Refuse to resume a search of another preset, split, number of epochs or of other targets."""
    path = folder / "search.txt"
    if path.is_file():
        if (before := path.read_text(encoding="utf-8").strip()) != label:
            raise InputError(f"{folder}: holds a search of {before}; choose another folder with --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(label + "\n", encoding="utf-8")


def _write(
    folder: Path, found: Sequence[TrialSummary], label: str, metrics: dict[str, str]
) -> dict[str, Any]:
    if not found or not math.isfinite(found[0].loss):
        raise InputError("no trial ended well; give more --trials, or more data")
    best = {"search": label, "score": found[0].loss, "metrics": metrics, "params": found[0].params}
    names = sorted({name for trial in found for name in trial.params})
    rows = [
        {"trial": one.number, "score": "" if one.pruned else one.loss, "pruned": one.pruned, **one.params}
        for one in sorted(found, key=lambda trial: trial.number)
    ]
    with writing(folder):
        (folder / "best.json").write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
        with (folder / "trials.csv").open("w", encoding="utf-8", newline="") as file:
            print_csv(rows, ["trial", "score", "pruned", *names], file)
    return best


def trial_table(good: Sequence[TrialSummary]) -> Table:
    """Table of the best trials: score and parameters."""
    names = sorted({name for trial in good for name in trial.params})
    headings = [name.rpartition(".")[2].replace("_", " ") for name in names]
    table = Table([Column("score", right=True), *(Column(heading, right=True) for heading in headings)])
    for trial in good[:_SHOWN]:
        table.add_row(f"{trial.loss:.4f}", *(str(trial.params.get(name, "")) for name in names))
    return table


def _show_trials(bar: ProgressBar, trials: int) -> Callable[[list[TrialSummary]], None]:
    """Return a callback that shows how many trials are done, the best score and the time left."""
    start, first = monotonic(), -1

    def show(found: list[TrialSummary]) -> None:
        nonlocal first
        if first < 0:  # those of an earlier call took no time
            first = max(len(found) - 1, 0)
        seconds = (trials - len(found)) * (monotonic() - start) / max(len(found) - first, 1)
        best = f"best {found[0].loss:.4f}" if found and math.isfinite(found[0].loss) else ""
        bar.show("trials", len(found), trials, best, seconds_left=seconds)

    return show
