"""`mgsurf screen`: compounds ranked by averages over their Wulff shapes and dissolution potentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stores.errors import InputError, pluralize
from workflows.cli.completion import models_and_folders
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.options import QuietOption, StoreOption, TableFormat
from workflows.cli.screen_options import (
    CompositionOptions,
    DecoratedPrototypes,
    RankingOptions,
    ScreeningConditions,
)
from workflows.cli.typer_app import LOOP, app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.screenings import ScreeningRecord

_files_option = partial(typer.Option, rich_help_panel="Files")
SHOWN_PROBLEMS = 20
SHOWN_ROWS = 100


@dataclass(frozen=True)
class ScreeningFiles:
    """Files that a screening writes."""

    plot: Annotated[
        Path | None,
        _files_option(metavar="FILE", help="Potential against work function (PNG, PDF, SVG)."),
    ] = None
    page: Annotated[Path | None, _files_option(metavar="FILE.html", help="Interactive page.")] = None
    wulff: Annotated[
        Path | None,
        _files_option(metavar="FOLDER", help="A Wulff shape of each ranked compound."),
    ] = None
    wulff_format: Annotated[
        Literal["png", "svg", "pdf"], _files_option(help="Of the pictures of --wulff.")
    ] = "png"
    export: Annotated[
        tuple[str, Path] | None,
        _files_option(metavar="galvcalc FILE.json", help="What galvcalc draws polarization curves from."),
    ] = None
    overwrite: Annotated[bool, _files_option("--overwrite", help="Replace files that exist.")] = False

    def check(self) -> None:
        """Refuse paths that cannot be written, before the work that would be lost."""
        from workflows.cli.options import FIGURES, writable_path

        program, export = self.export or ("galvcalc", None)
        if program != "galvcalc":
            raise InputError(f"--export {program}: choose galvcalc, as in --export galvcalc FILE.json")
        for option, path, endings in (
            ("--plot", self.plot, FIGURES),
            ("--page", self.page, (".html",)),
            ("--export galvcalc", export, (".json",)),
        ):
            if path is not None:
                writable_path(path, option, overwrite=self.overwrite, suffixes=endings)
        if self.page is not None:
            from workflows.report.screening_page import check_installed

            check_installed()
        if self.wulff is not None and self.wulff.exists() and not self.wulff.is_dir():
            raise InputError(f"--wulff {self.wulff}: is no folder; choose another")
        if self.wulff is not None:
            self.wulff.mkdir(parents=True, exist_ok=True)

    def write(self, ranked: Sequence[ScreeningRecord]) -> list[str]:
        """Write the files; return one line for each that could not be drawn."""
        from workflows.report.style import save

        problems: list[str] = []
        if self.plot is not None:
            from workflows.report.screening import potential_figure

            try:
                save(potential_figure(ranked), self.plot)
            except InputError as error:
                problems.append(f"{self.plot}: {error}")
        if self.page is not None:
            from stores.files import write_file
            from workflows.report.screening_page import screening_page

            try:
                write_file(self.page, screening_page(ranked))
            except InputError as error:
                problems.append(f"{self.page}: {error}")
        if self.export is not None:
            from stores.files import write_file
            from workflows.report.galvcalc import galvcalc_document

            path = self.export[1]
            try:
                document, left_out = galvcalc_document(ranked)
                write_file(path, document)
                problems += left_out
            except InputError as error:
                problems.append(f"{path}: {error}")
        if self.wulff is not None:
            from workflows.report.screening import wulff_shape_figure

            for number, record in enumerate((r for r in ranked if r.shape_factor is not None), start=1):
                name = f"{number:03d}_{record.formula}_{record.spacegroup_number}.{self.wulff_format}"
                path = self.wulff / name
                if path.exists() and not self.overwrite:
                    problems.append(f"{path}: exists already; add --overwrite")
                    continue
                save(wulff_shape_figure(record), path)
        return problems


@app.command(rich_help_panel=LOOP)
def screen(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUTS]...",
            help="Campaign or lock files, CIF or POSCAR files, folders, stores, CSV files of formulas.",
            show_default=False,
        ),
    ] = None,
    *,
    prototypes: DecoratedPrototypes,
    compositions: CompositionOptions,
    conditions: ScreeningConditions,
    ranking: RankingOptions,
    files: ScreeningFiles,
    shown: TableFormat,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            autocompletion=models_and_folders,
            help="Folder of a model, or champion, latest, v3; else ./mgsurf_model.",
        ),
    ] = None,
    formation_energies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Formation energies (eV/atom) by formula where neither DFT nor a lock file has one.",
        ),
    ] = None,
    store: StoreOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that build graphs; one per core.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Every N-th compound from the I-th, into --store; a call without it ranks all.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> int:
    """Rank compounds by Wulff-weighted work function and surface energy and by dissolution potential.

    Facets have their DFT values where the store holds them, else a model's (starred).

    What was screened before with equal inputs is taken from the store.

    Examples: [cyan]mgsurf screen binaries.yaml --plot potentials.png --page screening.html[/cyan],
    [cyan]mgsurf screen crystals/ --model champion --application emitter[/cyan],
    [cyan]mgsurf screen --prototype B2 --partner Ag --partner Zn[/cyan]
    """
    from stores.connections import open_store, resolve_store_uri
    from workflows.cli.access import MODEL_FOLDER, chosen_ensemble
    from workflows.cli.learning import require_network
    from workflows.execution.progress_bar import ProgressBar
    from workflows.flows.screening.compounds import (
        compounds_of,
        read_formation_energies,
        with_formation_energies,
    )

    settings = conditions.settings()
    ranking.checked()
    files.check()
    table = read_formation_energies(formation_energies) if formation_energies else {}
    problems: list[str] = []
    source = prototypes.source()
    stated = compositions.stated()
    if not inputs and source is None and not stated:
        raise InputError(
            "nothing to screen; name campaign, lock or structure files, folders or stores, --formula or "
            "--composition"
        )
    compounds = compounds_of(inputs or (), problems.append, prototypes=source, compositions=stated)
    if not compounds:
        raise InputError("\n".join(problems) or "no compound to screen")
    if shard is not None:
        from workflows.flows.learning.prediction_shards import Shard

        part, n_compounds = Shard.parse(shard), len(compounds)
        compounds = [one for place, one in enumerate(compounds) if part.takes(place)]
        print_note(f"shard {part}: {len(compounds)} of {pluralize(n_compounds, 'compound')}")
        if not compounds:
            return 0
    have_crystals = any(compound.structure is not None for compound in compounds)
    require_network()
    import os

    from workflows.engines.gpaw.process import logical_cores
    from workflows.flows.learning.suggestion import version_of
    from workflows.flows.screening.composition_energies import with_predicted_energies
    from workflows.flows.screening.ranking import changes
    from workflows.flows.screening.screening import screen as screen_compounds

    ensemble, loaded = None, ""
    if have_crystals and (model is not None or os.environ.get("MGSURF_MODEL") or MODEL_FOLDER.exists()):
        ensemble, loaded = chosen_ensemble(model, store)
    by_composition = compositions.load(store)
    with open_store(resolve_store_uri(store)) as opened, ProgressBar(quiet) as bar:
        version = version_of(loaded, opened) if ensemble is not None else ""
        compounds = with_formation_energies(
            compounds, opened, table, formation_energies.name if formation_energies else ""
        )
        if by_composition is not None:
            compounds = with_predicted_energies(
                compounds, by_composition[0], version_of(by_composition[1], opened)
            )
        records = screen_compounds(
            compounds, opened, ensemble, version, settings,
            workers=workers or logical_cores(),
            progress=partial(bar.show, "compounds screened", total=len(compounds)),
        )  # fmt: skip
    if have_crystals and ensemble is None and not any(record.facets for record in records):
        raise InputError(
            f"no model and no DFT records of {pluralize(len(compounds), 'compound')}; mgsurf train makes a "
            "model, --model names one, mgsurf run computes records"
        )
    ranked = ranking.ranked(records)
    problems += files.write(ranked)
    _print(ranked, len(records), shown, changes(records), ranking)
    for line in problems[:SHOWN_PROBLEMS]:
        print_note(line)
    if len(problems) > SHOWN_PROBLEMS:
        print_note(f"and {len(problems) - SHOWN_PROBLEMS} more")
    return 1 if problems or any(record.reasons for record in records) else 0


def _print(
    ranked: Sequence[ScreeningRecord],
    total: int,
    shown: TableFormat,
    changed: Sequence[str],
    ranking: RankingOptions,
) -> None:
    """Print the ranking, the criterion it follows, and what changed since the screening before."""
    from workflows.flows.screening.ranking import CRITERIA, Application
    from workflows.report.screening import flat_row, screening_table

    if shown.as_json:
        print(json.dumps([record.model_dump(mode="json") for record in ranked[: ranking.limit]], indent=2))
        return
    if shown.as_csv:
        rows = [flat_row(record) for record in ranked[: ranking.limit]]
        print_csv(rows, list(rows[0]) if rows else ["label"])
        return
    if ranking.application:
        print_text(f"{ranking.application}: {CRITERIA[Application(ranking.application)][0]}")
    first = ranked[: ranking.limit or SHOWN_ROWS]
    if first:
        print_table(screening_table(first))
    print_text(f"{len(ranked)} of {pluralize(total, 'compound')} pass, {len(first)} shown")
    if any(facet.source == "model" for record in first for facet in record.facets):
        print_text("* by the model; ± is one standard deviation of the averages over the Wulff shape")
    if any(record.potential_sigma is not None for record in first):
        print_text("± of E is one standard deviation, by that of the formation energy by composition")
    for line in changed[:SHOWN_PROBLEMS]:
        print_text(line)
