"""`mgsurf figures`: the figures of the paper with their data, from a store and trained models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stores.errors import InputError, duration, pluralize
from workflows.cli.completion import models_and_folders
from workflows.cli.console import print_note, print_table, print_text
from workflows.cli.learning import (
    EpochsOption,
    TrainingProgress,
    labelled_slabs,
    require_network,
    run_folder,
    writing,
)
from workflows.cli.options import MethodOption, OutputOption, QuietOption, StoreOption
from workflows.cli.typer_app import LOOK, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.depth_scan import DepthScan
    from model.training.runs import Datasets
    from workflows.flows.figures.paper import Written

_scan_option = partial(typer.Option, rich_help_panel="Scan of the surface depth (figure S3)")
FOLDER = Path("mgsurf_figures")


@dataclass(frozen=True)
class ScanOptions:
    """Trainings of `sem-cgcnn` with different depths of the surface."""

    scan_depth: Annotated[
        bool,
        _scan_option("--scan-depth", help="Make the trainings that figure S3 lacks; resumes if interrupted."),
    ] = False
    depth: Annotated[
        list[float] | None,
        _scan_option(metavar="A", min=0.0, help="Depth (may be repeated); 0 to 6 by default."),
    ] = None
    seeds: Annotated[
        int | None,
        _scan_option(min=1, metavar="N", help="Seeds 0 to N - 1; one by default."),
    ] = None
    epochs: EpochsOption = None

    def plan(self) -> DepthScan | None:
        """Return the trainings wanted, None without ``--scan-depth``; an InputError if options need it."""
        if not self.scan_depth:
            if self.depth or self.seeds or self.epochs:
                raise InputError("--depth, --seeds and --epochs set up trainings: add --scan-depth")
            return None
        from model.training.depth_scan import DEPTHS, DepthScan

        depths = tuple(sorted(set(self.depth or DEPTHS)))
        if len(depths) < 2:
            raise InputError("--depth: one depth makes no curve; repeat it with others")
        return DepthScan(depths, self.seeds or 1, self.epochs)


@app.command(rich_help_panel=LOOK)
def figures(
    trainings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[TRAININGS]...",
            help="Folders of mgsurf train and ablate, or an ablation.csv; else ./mgsurf_model.",
            show_default=False,
        ),
    ] = None,
    *,
    only: Annotated[
        str | None,
        typer.Option(metavar="1a,2,...", help="1a, 2, 3, 4, 5, 6a, 6b, S1, S3, S5; all by default."),
    ] = None,
    style: Annotated[
        Literal["screen", "paper"],
        typer.Option(
            metavar="screen|paper",
            help="Both at the width of one (8.6 cm) or two columns (17.8 cm). paper: PDF and PNG, 300 dpi, "
            "no titles.",
        ),
    ] = "screen",
    title: Annotated[
        bool | None, typer.Option("--title/--no-title", help="Titles above figures, or none.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            autocompletion=models_and_folders,
            help="Model of figures 4 and S5: a folder, or champion, latest, v3; else one of TRAININGS.",
        ),
    ] = None,
    scan: ScanOptions,
    method: MethodOption = None,
    output: OutputOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> int:
    """Draw the figures of the paper, each with its data as CSV; files of the same names are replaced.

    Figures whose data are missing are left out; a line names what makes them.

    5 needs trainings of ablate --from, 6a of --split compound:NAME, 6b mgsurf screen.

    Examples: [cyan]mgsurf figures mtl/ sem-cgcnn/ transfer/ --style paper --output figures/[/cyan],
    [cyan]mgsurf figures --only S3 --scan-depth --epochs 30[/cyan]
    """
    from workflows.flows.figures.paper import chosen_figures

    numbers = chosen_figures(only)
    folder = run_folder(output, FOLDER)
    require_network()
    from stores.connections import resolve_store_uri
    from workflows.cli.access import MODEL_FOLDER, chosen_ensemble
    from workflows.flows.figures.inputs import DEPTH_FOLDER, FigureInputs, find_trainings
    from workflows.flows.figures.paper import write_figures

    plan = scan.plan()
    datasets = labelled_slabs([store], method)
    ensemble, name = (None, "") if model is None else chosen_ensemble(model, store)
    problems: list[str] = []
    with ProgressBar(quiet) as bar:
        if plan is not None:
            problems += _scan(datasets, plan, folder / DEPTH_FOLDER, bar)
        paths = list(trainings or ([MODEL_FOLDER] if MODEL_FOLDER.exists() else []))
        if (folder / DEPTH_FOLDER).is_dir():
            paths.append(folder / DEPTH_FOLDER)
        runs, rows, unusable = find_trainings(paths)
        inputs = FigureInputs(
            resolve_store_uri(store), datasets, method, runs, rows, ensemble, name, plan
        )  # fmt: skip
        with writing(folder):
            written, missing = write_figures(
                numbers, inputs, folder, style,
                title=style == "screen" if title is None else title,
                progress=lambda done, about: bar.show("figures", done, len(numbers), about),
            )  # fmt: skip
    problems += unusable + missing
    if written:
        print_table(figure_table(written))
        print_text(f"{pluralize(len(written), 'figure')} in {folder}, the data beside them (CSV)")
    for line in problems:
        print_note(line)
    return 1 if problems else 0


def figure_table(written: Sequence[Written]) -> Table:
    """Table of figures: number, what it shows, and statistics."""
    from workflows.flows.figures.paper import FIGURES

    columns = [
        Column("figure"),
        Column("shows", wrap=True, room=16),
        Column("result", wrap=True, room=30, spare=True),
    ]
    table = Table(columns)
    for one in written:
        table.add_row(one.number, FIGURES[one.number].title, "\n".join(one.remarks))
    return table


def _scan(datasets: Datasets, plan: DepthScan, folder: Path, bar: ProgressBar) -> list[str]:
    """Make the trainings that are lacking, after a line about their cost; return a line for each failure."""
    from model.training.depth_scan import PRESET, scan, unfinished
    from model.training.presets import find_preset

    preset = find_preset(PRESET)
    lacking = unfinished(plan, folder)
    if lacking:
        bar.show("reading slabs")
        n = len(datasets(preset.graph, preset.network.targets))
        cost = duration(plan.seconds(n, len(lacking)))
        print_note(
            f"{pluralize(len(lacking), 'training')} of {PRESET} on {n} slabs: about {cost} of one core; "
            "resumes with the same command if interrupted"
        )
    return scan(datasets, plan, folder, TrainingProgress(bar).step)[1]
