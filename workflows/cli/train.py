"""`mgsurf train`: one network, or an ensemble, from the labelled slabs of a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, duration, pluralize
from workflows.cli.access import MODEL_FOLDER, existing_store
from workflows.cli.completion import snapshot_ids
from workflows.cli.console import print_note, print_table, print_text
from workflows.cli.learning import (
    DEFAULT_PRESET,
    PRESETS,
    MembersOption,
    PretrainedModel,
    SeedOption,
    TargetsOption,
    TrainingOptions,
    TrainingProgress,
    classes_table,
    errors_table,
    labelled_slabs,
    require_network,
    run_folder,
    target_names,
)
from workflows.cli.options import JsonOption, MethodOption, OutputOption, QuietOption
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRETRAINABLE = "best"
"""Preset that starts from a pre-trained model of the store: docs/transfer.md has what that gains."""

FILES_OF_RUN = ("run.json", "run.lock", "predictions.csv", "split.csv", "report.html", "parity.png",
                "elements.png", "history.png", "importance.png")  # fmt: skip


@app.command(rich_help_panel=LEARN)
def train(
    *,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"{PRESETS}; else that of --from, else {DEFAULT_PRESET}."),
    ] = None,
    training: TrainingOptions,
    seed: SeedOption = 0,
    members: MembersOption = 1,
    bagging: Annotated[
        bool, typer.Option("--bagging", help="Each member on slabs drawn with replacement.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Train each network in N processes, on N GPUs if there are GPUs.",
        ),
    ] = 1,
    train_fraction: Annotated[
        float, typer.Option(metavar="X", help="Share of the training set that is used.")
    ] = 1.0,
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings that mgsurf tune found (best.json).")
    ] = None,
    pretrained: PretrainedModel,
    targets: TargetsOption = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URI",
            help="As everywhere; repeat it to train on several stores, with different targets, at once.",
        ),
    ] = None,
    method: MethodOption = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="A head for each method that a target was computed by.")
    ] = False,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            autocompletion=snapshot_ids,
            help="On this snapshot instead of the store as it is; its first digits do.",
        ),
    ] = None,
    output: OutputOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again where the folder holds a training.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train the network on the labelled slabs of a store; the same command resumes if interrupted.

    Examples: [cyan]mgsurf train --preset sem-cgcnn --split chemsys --seed 1[/cyan],
    [cyan]mgsurf train --preset best --members 5 --output model/[/cyan],
    [cyan]mgsurf train --from model/ --freeze embedding --store metals.sqlite --output tuned/[/cyan]
    """
    require_network()
    from model.training.presets import find_preset
    from model.training.runs import RunSettings, read_rows, read_run, run_training
    from workflows.report.training_report import write_report

    find_preset(preset or DEFAULT_PRESET)  # a typo is reported before any data are read
    folder = run_folder(output, MODEL_FOLDER)
    heads = tuple(dict.fromkeys(target_names(targets)))
    transfer, theirs = pretrained.load(store or [], lambda: _offered(preset, heads, store or [], params))
    settings = RunSettings(
        preset or theirs.get("preset", DEFAULT_PRESET),
        seed=seed,
        members=members,
        bagging=bagging,
        train_fraction=train_fraction,
        params=_params(params) if params is not None else theirs.get("params", {}),
        targets=heads,
        transfer=transfer,
        **training.settings(),
    )
    slabs = labelled_slabs(store or [], method, snapshot, separate=separate)
    if overwrite:
        if transfer is not None and transfer.folder.resolve() in (
            folder.resolve(),
            folder.resolve() / "model",
        ):
            raise InputError(f"{folder}: holds the model of --from; choose another folder with --output")
        clear_run(folder)
    known = read_run(folder) is not None
    if snapshot is not None:
        _report_deleted(store[0] if store else None, snapshot)
    with ProgressBar(quiet) as bar:
        run = run_training(
            slabs, settings, folder, progress=TrainingProgress(bar).member(members), processes=processes
        )
    report = folder / "report.html"
    if not (known and report.is_file()):
        report = write_report(folder, run, read_rows(folder))
    if as_json:
        print(json.dumps(_plain(run, folder), indent=2))
    else:
        _print(run)
        print(f"model in {folder}, report in {report}")
    if known:
        print_note("trained before with these settings and data; --overwrite trains again")
    return 0


def _offered(
    preset: str | None, targets: Sequence[str], stores: Sequence[str], params: Path | None
) -> tuple[Path, dict[str, Any]] | None:
    """Return the pre-trained model of the stores that `best`, as it is, starts from."""
    from model.training.presets import find_preset
    from workflows.cli.access import pretrained_for

    if preset != PRETRAINABLE or params is not None:
        return None
    return pretrained_for(preset, targets or find_preset(preset).network.targets, stores)


def _params(path: Path) -> dict[str, Any]:
    """Read settings as `mgsurf tune` writes them."""
    from stores.input_files import read_json

    try:
        return dict(read_json(path)["params"])
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the best.json of mgsurf tune"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no settings; give the best.json that mgsurf tune wrote") from error


def clear_run(folder: Path) -> None:
    """Remove what a run left in a folder, and nothing else."""
    for name in FILES_OF_RUN:
        (folder / name).unlink(missing_ok=True)
    for figure in folder.glob("classes-*.png"):
        figure.unlink()
    for name in ("model", "training"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _report_deleted(store: str | None, snapshot: str) -> None:
    """Report deleted records of a snapshot, which keeps their training data."""
    from stores.learning.snapshot_changes import deleted_records
    from stores.learning.snapshots import find_snapshot

    with existing_store(store) as opened:
        deleted = deleted_records(opened, find_snapshot(opened, snapshot))
    if deleted:
        named = ", ".join(deleted[:3]) + (", ..." if len(deleted) > 3 else "")
        print_note(
            f"no longer in the store: {pluralize(len(deleted), 'record')} of the snapshot ({named}); "
            "training uses what the snapshot keeps of them"
        )


def _plain(run: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "label": run["label"],
        **{name: run["settings"][name] for name in ("preset", "split", "seed", "members")},
        "sizes": run["sizes"],
        "epochs": [len(history) for history in run["history"]],
        "seconds": run["seconds"],
        "total_loss": run["total_loss"],
        "targets": run["metrics"],
        "classes": run.get("classes", {}),
        "data": run["data"],
        "snapshot": run.get("snapshot"),
        "excluded": run.get("excluded", {}),
        "twins": run.get("twins"),
        "seen_before": run.get("seen_before"),
        "output": str(folder),
    }


def _print(run: Mapping[str, Any]) -> None:
    from workflows.report.training_report import twins_line

    epochs = sum(len(history) for history in run["history"])
    print_text(f"{run['label']}: {pluralize(epochs, 'epoch')} in {duration(run['seconds'])}")
    if run["metrics"]:
        print_table(errors_table(run["metrics"], "target", run.get("noun", "slab")))
    if run.get("classes"):
        print_table(classes_table(run["classes"], run.get("noun", "slab")))
    if twins := run.get("twins"):
        print_text(twins_line(twins))
