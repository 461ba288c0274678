"""`mgsurf train`: one network, or an ensemble, from the labelled slabs of a store."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, counted, duration
from stores.input_files import read_json
from workflows.cli.access import MODEL_FOLDER
from workflows.cli.console import print_table, print_text
from workflows.cli.learning import TrainingProgress, labelled_slabs, require_network
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.training.pretrained import Transfer

DEFAULT_PRESET = "sem-cgcnn"

"""Where `mgsurf train` writes and `mgsurf predict` looks unless told otherwise."""

OF_A_RUN = ("run.json", "run.lock", "predictions.csv", "split.csv", "report.html", "parity.png",
            "elements.png", "history.png")  # fmt: skip


def train_model(
    *,
    preset: str | None,
    split: str,
    twins: str,
    seed: int,
    epochs: int | None,
    members: int,
    bagging: bool,
    train_fraction: float,
    params: Path | None,
    start: Path | None,
    freeze: str | None,
    reset_heads: bool,
    targets: str | None,
    store: list[str],
    method: str | None,
    separate: bool,
    snapshot: str | None,
    output: Path | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train, judge, draw the report and print the errors.

    Returns
    -------
    int
        Exit status.
    """
    require_network()
    from model.training.presets import find_preset
    from model.training.runs import RunSettings, read_rows, read_run, run_training
    from workflows.report.training_report import write_report

    find_preset(preset or DEFAULT_PRESET)  # a slip in a name is told before any data are read
    folder = output or MODEL_FOLDER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --output takes a folder")
    transfer, theirs = pretrained(start, freeze, reset_heads)
    settings = RunSettings(
        preset or theirs.get("preset", DEFAULT_PRESET),
        split,
        seed,
        epochs,
        members,
        bagging,
        train_fraction,
        params=_params(params) if params is not None else theirs.get("params", {}),
        targets=_names(targets),
        transfer=transfer,
        twins=twins,
    )
    if overwrite and start is not None and start.resolve() in (folder.resolve(), folder.resolve() / "model"):
        raise InputError(f"{folder}: holds the model to begin with; choose another folder with --output")
    slabs = labelled_slabs(store, method, snapshot, separate=separate)
    if overwrite:
        clear_run(folder)
    known = read_run(folder) is not None
    if snapshot is not None:
        _tell_of_deleted(store, snapshot)
    with ProgressBar(quiet) as bar:
        run = run_training(slabs, settings, folder, progress=TrainingProgress(bar).member(members))
    report = folder / "report.html"
    if not (known and report.is_file()):
        report = write_report(folder, run, read_rows(folder))
    if as_json:
        print(json.dumps(plain(run, folder), indent=2))
    else:
        _print(run)
        print(f"model in {folder}, report in {report}")
    if known:
        print(
            "mgsurf: trained before with these settings and data; --overwrite trains again", file=sys.stderr
        )
    return 0


def pretrained(
    folder: Path | None, freeze: str | None, reset_heads: bool
) -> tuple[Transfer | None, dict[str, Any]]:
    """Return how to begin with a trained model, and with which preset and settings it was trained.

    Parameters
    ----------
    folder
        As `mgsurf train` wrote it; None: training begins from scratch.
    freeze, reset_heads
        See `model.training.transfer.Start`.

    Raises
    ------
    InputError
        If there is no model, or the others are given without one.
    """
    from model.training.pretrained import Transfer
    from model.training.runs import read_run

    if folder is None:
        if freeze is not None or reset_heads:
            raise InputError("--freeze and --reset-heads need a model to begin with: --from MODEL")
        return None, {}
    transfer = Transfer.of(folder, freeze or "none", reset_heads=reset_heads)
    run = read_run(folder) or read_run(folder.parent)
    return transfer, dict(run["settings"]) if run is not None else {}


def _names(text: str | None) -> tuple[str, ...]:
    """Read names with commas between them."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    if text is not None and not names:
        raise InputError("--targets: names nothing; write surface_energy,work_function")
    return names


def _tell_of_deleted(store: Sequence[str], name: str) -> None:
    """Say which records of a snapshot are gone; what training reads of them is kept."""
    from stores.learning.snapshot_diff import deleted_records
    from stores.learning.snapshots import find_snapshot
    from workflows.cli.access import existing_store

    with existing_store(store[0] if store else None) as opened:
        gone = deleted_records(opened, find_snapshot(opened, name))
    if gone:
        many = f"{len(gone)} records of the snapshot are" if len(gone) > 1 else "1 record of the snapshot is"
        named = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
        print(
            f"mgsurf: {many} no longer in the store ({named}); what was kept of them is used", file=sys.stderr
        )


def clear_run(folder: Path) -> None:
    """Remove what a run left in a folder, and nothing else."""
    for name in OF_A_RUN:
        (folder / name).unlink(missing_ok=True)
    for name in ("model", "training"):
        shutil.rmtree(folder / name, ignore_errors=True)


def plain(run: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a script wants to know of a run."""
    return {
        "label": run["label"],
        **{name: run["settings"][name] for name in ("preset", "split", "seed", "members")},
        "sizes": run["sizes"],
        "epochs": [len(history) for history in run["history"]],
        "seconds": run["seconds"],
        "total_loss": run["total_loss"],
        "targets": run["metrics"],
        "data": run["data"],
        "snapshot": run.get("snapshot"),
        "excluded": run.get("excluded", {}),
        "twins": run.get("twins"),
        "output": str(folder),
    }


def _params(path: Path | None) -> dict[str, Any]:
    """Read settings as `mgsurf tune` writes them."""
    if path is None:
        return {}
    try:
        content = read_json(path)
        return dict(content["params"])
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the best.json of mgsurf tune"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no settings; give the best.json that mgsurf tune wrote") from error


def error_table(run: Mapping[str, Any]) -> Table:
    """Table of the errors of a run in training, validation and test set."""
    from workflows.report.training_figures import PART_NAMES, PARTS, significant, target_name, unit_of

    columns = [Column("target", wrap=True, once=True), Column("set")]
    table = Table([*columns, *(Column(name, right=True) for name in ("slabs", "MAE", "RMSE", "R²"))])
    for target, metrics in run["metrics"].items():
        unit = unit_of(target)
        for part in PARTS:
            e = metrics[part]
            table.add_row(
                target_name(target) + (f" ({unit})" if unit else ""),
                PART_NAMES[part],
                str(e["n"]),
                *("-" if e[name] is None else significant(e[name]) for name in ("mae", "rmse")),
                "-" if e["r2"] is None else f"{e['r2']:.4f}",
                style="bold" if part == "test" else "",
            )
    return table


def _print(run: Mapping[str, Any]) -> None:
    from workflows.report.training_report import twins_line

    epochs = sum(len(history) for history in run["history"])
    print_text(f"{run['label']}: {counted(epochs, 'epoch')} in {duration(run['seconds'])}")
    print_table(error_table(run))
    if twins := run.get("twins"):
        print_text(twins_line(twins))
