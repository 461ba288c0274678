"""`mgsurf transfer`: what is gained by pre-training on other data, for every pair of data sets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import duration, pluralize
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import (
    TrainingProgress,
    each_line_once,
    labelled_slabs,
    require_network,
    run_folder,
    writing,
)
from workflows.cli.options import JsonOption, OutputOption, QuietOption
from workflows.cli.transfer_submit import StudySubmission
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.training.runs import Datasets


@app.command(rich_help_panel=LEARN)
def transfer(
    *,
    study_file: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", help="Data sets, sizes, strategies, seeds.")
    ],
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Trainings side by side, a core each.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the trainings and estimate their cost.")
    ] = False,
    submission: StudySubmission,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Pre-train on each data set, fine-tune on each other one, and compare with training from scratch.

    Prints trainings and core-hours first. The same command resumes if interrupted; finished runs are kept.
    Exit status 1 if a training failed or is running in another process.

    With --submit the trainings are jobs of a queue; afterwards the command without it makes the tables.

    Examples: [cyan]mgsurf transfer study.yaml --dry-run[/cyan],
    [cyan]mgsurf transfer study.yaml --processes 4 --output study/[/cyan],
    [cyan]mgsurf transfer study.yaml --submit --project cluster --jobs 4 --processes 8 --output study/[/cyan]
    """
    require_network()
    from model.studies import results as results_of
    from model.studies.runs import estimate_cost, read_data, run_study, unfinished
    from workflows.flows.learning.study_file import make_study, read_study

    folder = run_folder(output, Path("mgsurf_transfer"))
    read = read_study(study_file)
    if submission.submit:
        read.for_nodes()  # stores that no node can open are refused before they are read
    study = make_study(read, study_file, _open_set)
    with each_line_once(), ProgressBar(quiet) as bar:
        progress = TrainingProgress(bar)
        data = read_data(study)
        tasks = study.tasks()
        data.check_sizes()
        left = unfinished(tasks, folder)
        seconds = estimate_cost(data, left)
        finished = f" ({len(tasks) - len(left)} finished)" if len(left) < len(tasks) else ""
        print_note(
            f"{pluralize(len(tasks), 'training')}{finished} of {pluralize(len(study.sets), 'data set')}, "
            f"about {duration(seconds)} of one core ({seconds / 3600:.2g} core-hours)"
        )
        if dry_run:
            return 0
        if submission.submit:
            from workflows.execution.remote.study import QueuedStudy

            queued = QueuedStudy(
                read, study_file.absolute(), Path(os.path.normpath(folder.absolute())), processes
            )
            return submission.run(queued, len(left), study_file, folder, as_json=as_json)
        results, problems = run_study(study, data, folder, processes=processes, tell=progress.step)
    rows = results_of.flat_rows(data, results)
    cells = results_of.cells(rows)
    best = results_of.best_sources(cells)
    curves = {name: results_of.curves(rows, cells, name) for name in study.sets}
    spent = sum(result.run["seconds_in_all"] for result in results)
    summary = {
        "targets": data.heads,
        "units": data.union.units,
        "cells": [results_of.plain(cell) for cell in cells],
        "best_sources": [results_of.plain(cell) for cell in best],
        "curves": curves,
        "trainings": len(results),
        "seconds": round(spent, 1),
        "problems": problems,
    }
    text = json.dumps(summary, indent=2)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, text, rows, results_of.COLUMNS, summary, study.sets)
    if as_json:
        print(text)
    else:
        print_table(matrix_table(summary["cells"], data.heads, data.union.units))
        for cell in summary["best_sources"]:
            print_text(_best_line(cell))
        print_text(
            f"{pluralize(len(results), 'training')}, {duration(spent)} of training; matrix.png, curves.png, "
            f"runs.csv, matrix.csv and transfer.json in {folder}"
        )
    for problem in problems:
        print_note(problem)
    return 1 if problems else 0


def matrix_table(
    cells: Sequence[Mapping[str, Any]], targets: Mapping[str, str], units: Mapping[str, str]
) -> Table:
    """Return the table of a study: a row for each data set, source and number of labels."""
    from workflows.report.study_figures import error_name, percent
    from workflows.report.training_figures import significant, unit_of

    error = error_name(cells)
    table = Table(
        [
            Column("fine-tuned on", wrap=True, once=True),
            Column("labels", right=True, once=True),
            Column("pre-trained on"),
            Column("strategy"),
            Column(f"test {error}", right=True),
            Column("scratch", right=True),
            Column("change", right=True),
            Column("95 % interval", right=True),
        ]
    )
    for cell in cells:
        target, metric = targets[cell["data_set"]], cell["metric"]
        unit = unit_of(target, units.get(target))
        about = [*([metric] if metric != error else []), *([unit] if unit else [])]
        interval = f"{percent(cell['change_low'])} to {percent(cell['change_high'])}"
        table.add_row(
            f"{cell['data_set']} ({', '.join(about)})" if about else cell["data_set"],
            f"{cell['n_train']}",
            cell["source"],
            cell["strategy"],
            significant(cell["test_error"]),
            significant(cell["scratch_error"]),
            f"{percent(cell['change'])} %{'*' if cell['significant'] else ''}",
            interval if cell["pairs"] > 1 else "one seed",
            style="bold" if cell["significant"] else "",
        )
    return table


def _best_line(cell: Mapping[str, Any]) -> str:
    from workflows.report.study_figures import percent

    sure = "" if cell["significant"] else ", not significant"
    return (
        f"{cell['data_set']}, {cell['n_train']} labels: best by validation from {cell['source']} "
        f"({cell['strategy']}), test {cell['metric']} {percent(cell['change'])} % against scratch{sure}"
    )


def _open_set(store: str, method: str | None, snapshot: str | None) -> Datasets:
    return labelled_slabs([store], method, snapshot)


def _write(
    folder: Path,
    text: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    summary: Mapping[str, Any],
    names: Mapping[str, Any],
) -> None:
    """Write tables and figures of a study."""
    from workflows.report.study_figures import curves_figure, matrix_figure
    from workflows.report.style import save

    (folder / "transfer.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "runs.csv").open("w", encoding="utf-8", newline="") as file:
        print_csv(rows, columns, file)
    cells = summary["cells"]
    if not cells:
        return
    with (folder / "matrix.csv").open("w", encoding="utf-8", newline="") as file:
        print_csv(cells, list(cells[0]), file)
    save(matrix_figure(cells, list(names)), folder / "matrix.png")
    curves = {n: c for n, c in summary["curves"].items() if c}
    save(curves_figure(curves, summary["targets"], summary["units"]), folder / "curves.png")
