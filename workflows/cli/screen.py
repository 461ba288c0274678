"""`mgsurf screen`: compounds ranked by averages over their Wulff shapes and dissolution potentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.options import QuietOption, StoreOption, TableFormat, short_number
from workflows.cli.typer_app import LOOP, app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.screenings import ScreeningRecord
    from workflows.flows.screening.ranking import Application, Sort
    from workflows.flows.screening.screening import ScreeningSettings
    from workflows.structures.sources.local import PrototypeSource

PROTOTYPES = "Prototypes"
RANKING = "Ranking"
CONDITIONS = "Conditions"
FILES = "Files"
SHOWN_PROBLEMS = 20
SHOWN_ROWS = 100


@dataclass(frozen=True)
class ScreeningConditions:
    """Chemical potential, dissolution and uncertainty of a screening."""

    max_index: Annotated[
        int, typer.Option(min=1, max=5, help="Largest Miller index.", rich_help_panel=CONDITIONS)
    ] = 1
    dmu: Annotated[
        float,
        typer.Option(
            metavar="EV",
            max=0.0,
            help="Chemical potential of Mg relative to its metal (eV, negative); 0, Mg-rich, by default. "
            "Without Mg: of the less electronegative element.",
            rich_help_panel=CONDITIONS,
        ),
    ] = 0.0
    x_rich: Annotated[
        bool, typer.Option("--x-rich", help="At the X-rich end.", rich_help_panel=CONDITIONS)
    ] = False
    draws: Annotated[
        int,
        typer.Option(
            min=2, max=10_000, metavar="N", help="Draws of the facet values.", rich_help_panel=CONDITIONS
        ),
    ] = 200
    concentration: Annotated[
        float, typer.Option(metavar="MOL/L", help="Of dissolved cations.", rich_help_panel=CONDITIONS)
    ] = 1e-6
    temperature: Annotated[
        float, typer.Option(metavar="K", help="Of the solution.", rich_help_panel=CONDITIONS)
    ] = 298.15
    ion: Annotated[
        list[str] | None,
        typer.Option(
            "--ion",
            metavar="EL=CHARGE",
            help="Cation formed, such as Fe=2 (may be repeated); else the one of lowest potential.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None

    def settings(self) -> ScreeningSettings:
        """Return the settings; an InputError names a condition that makes no sense."""
        from workflows.analysis.dissolution import dissolution, parse_ions
        from workflows.flows.screening.screening import ScreeningSettings

        if self.x_rich and self.dmu:
            raise InputError("--dmu and --x-rich exclude each other; choose one")
        charges = parse_ions(self.ion or ())
        dissolution({}, None, concentration=self.concentration, temperature=self.temperature)
        return ScreeningSettings(
            max_index=self.max_index, dmu=self.dmu, x_rich=self.x_rich, draws=self.draws,
            concentration=self.concentration, temperature=self.temperature, charges=charges,
        )  # fmt: skip


@dataclass(frozen=True)
class DecoratedPrototypes:
    """Structure types that are screened beside, or instead of, the inputs."""

    formula: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            callback=short_number,
            help="In all structure types that fit, or those of --prototype (may be repeated).",
            rich_help_panel=PROTOTYPES,
        ),
    ] = None
    partner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EL",
            help="Mg and this element, both ways round, in those types (may be repeated).",
            rich_help_panel=PROTOTYPES,
        ),
    ] = None
    prototype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL",
            help="Strukturbericht symbol: B2, C14 (may be repeated); else all.",
            rich_help_panel=PROTOTYPES,
        ),
    ] = None

    def source(self) -> PrototypeSource | None:
        """Return the source of the crystals; an InputError names a prototype that is unknown."""
        if not (self.formula or self.partner or self.prototype):
            return None
        if not (self.formula or self.partner):
            raise InputError(
                f"--prototype {self.prototype[0] if self.prototype else ''}: name compounds by --formula "
                "MgZn2 or partners of Mg by --partner Zn"
            )
        from workflows.structures.sources.local import PrototypeSource

        return PrototypeSource(self.formula or (), self.partner or (), self.prototype or None)


@dataclass(frozen=True)
class RankingOptions:
    """Which screened compounds are shown, and in which order."""

    application: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="corrosion, emitter, cathode or photocatalyst: keep what meets its criterion.",
            rich_help_panel=RANKING,
        ),
    ] = None
    min_potential: Annotated[
        float | None, typer.Option(metavar="V", rich_help_panel=RANKING, help="Against SHE.")
    ] = None
    max_potential: Annotated[
        float | None, typer.Option(metavar="V", rich_help_panel=RANKING, help="Against SHE.")
    ] = None
    min_work_function: Annotated[
        float | None, typer.Option(metavar="EV", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    max_work_function: Annotated[
        float | None, typer.Option(metavar="EV", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    max_surface_energy: Annotated[
        float | None, typer.Option(metavar="EV/A2", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="formula, potential, work_function or surface_energy; -COLUMN sorts downwards.",
            rich_help_panel=RANKING,
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show the first N.", rich_help_panel=RANKING)
    ] = None

    def ranked(self, records: Sequence[ScreeningRecord]) -> list[ScreeningRecord]:
        """Filter and sort screened compounds."""
        from workflows.flows.screening.ranking import Range, rank

        application, sort, descending = self.checked()
        return rank(
            records,
            application=application,
            potential=Range(self.min_potential, self.max_potential),
            work_function=Range(self.min_work_function, self.max_work_function),
            surface_energy=Range(None, self.max_surface_energy),
            sort=sort,
            descending=descending,
        )

    def checked(self) -> tuple[Application | None, Sort | None, bool]:
        """Return application, column and direction; an InputError names one that is unknown."""
        from workflows.flows.screening.ranking import Application, Sort

        name = (self.sort or "").removeprefix("-")
        if self.application is not None and self.application not in list(Application):
            raise InputError(f"--application {self.application}: choose one of {', '.join(Application)}")
        if name and name not in list(Sort):
            raise InputError(f"--sort {name}: choose one of {', '.join(Sort)}")
        return (
            Application(self.application) if self.application else None,
            Sort(name) if name else None,
            (self.sort or "").startswith("-"),
        )


class WulffFormat(StrEnum):
    """Format of the pictures of Wulff shapes."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


@dataclass(frozen=True)
class ScreeningFiles:
    """Files that a screening writes."""

    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Potential against work function (PNG, PDF, SVG).", rich_help_panel=FILES
        ),
    ] = None
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Interactive page.", rich_help_panel=FILES)
    ] = None
    wulff: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A Wulff shape of each ranked compound.", rich_help_panel=FILES),
    ] = None
    wulff_format: Annotated[
        WulffFormat, typer.Option(help="Of the pictures of --wulff.", rich_help_panel=FILES)
    ] = WulffFormat.PNG
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="galvcalc FILE.json",
            help="What galvcalc draws polarization curves from.",
            rich_help_panel=FILES,
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=FILES)
    ] = False

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
            help="Campaign or lock files, CIF or POSCAR files, folders, stores.",
            show_default=False,
        ),
    ] = None,
    *,
    prototypes: DecoratedPrototypes,
    conditions: ScreeningConditions,
    ranking: RankingOptions,
    files: ScreeningFiles,
    shown: TableFormat,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of a model, or champion, latest, v3; else ./mgsurf_model."),
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
    if not inputs and source is None:
        raise InputError(
            "nothing to screen; name campaign, lock or structure files, folders or stores, or --formula"
        )
    compounds = compounds_of(inputs or (), problems.append, prototypes=source)
    if not compounds:
        raise InputError("\n".join(problems) or "no compound to screen")
    require_network()
    import os

    from workflows.engines.gpaw.process import logical_cores
    from workflows.flows.learning.suggestion import version_of
    from workflows.flows.screening.ranking import changes
    from workflows.flows.screening.screening import screen as screen_compounds

    ensemble, loaded = None, ""
    if model is not None or os.environ.get("MGSURF_MODEL") or MODEL_FOLDER.exists():
        ensemble, loaded = chosen_ensemble(model, store)
    with open_store(resolve_store_uri(store)) as opened, ProgressBar(quiet) as bar:
        version = version_of(loaded, opened) if ensemble is not None else ""
        compounds = with_formation_energies(
            compounds, opened, table, formation_energies.name if formation_energies else ""
        )
        records = screen_compounds(
            compounds, opened, ensemble, version, settings,
            workers=workers or logical_cores(),
            progress=partial(bar.show, "compounds screened", total=len(compounds)),
        )  # fmt: skip
    if ensemble is None and not any(record.facets for record in records):
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
    for line in changed[:SHOWN_PROBLEMS]:
        print_text(line)
