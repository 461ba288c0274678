"""`mgsurf enumerate`: from a campaign's sources to a list of compounds, frozen in a lock file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, MgsurfError, pluralize
from workflows.cli.console import TABLE_ROWS, page, print_csv, print_table, print_text
from workflows.cli.options import OUTPUT, QuietOption, StoreOption, TableFormat
from workflows.cli.typer_app import COMPUTE, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from rich.console import Console

    from workflows.engines.protocol import Engine
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.enumeration.cost import CostModel
    from workflows.flows.enumeration.enumeration import Enumeration
    from workflows.flows.enumeration.lock_model import LockedCompound

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 3


@app.command("enumerate", rich_help_panel=COMPUTE)
def enumerate_(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="A campaign file with sources.")],
    store: StoreOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Query the databases again, whatever the cache holds.")
    ] = False,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Oldest answer of a database to take from the cache: 12h, 7d."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Replace a lock file whose compounds have changed.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that count slabs; one per core.")
    ] = None,
    quiet: QuietOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="LOCK",
            help="Lock file to write instead of CAMPAIGN.lock.json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    shown: TableFormat,
) -> int:
    """List the compounds of a campaign's sources with their estimated cost, and freeze them in a lock file.

    Exit status 1 if a source could not deliver everything.

    Examples: [cyan]mgsurf enumerate binaries.yaml[/cyan],
    [cyan]mgsurf enumerate binaries.yaml --refresh --update[/cyan]
    """
    from workflows.engines.registry import make_engine
    from workflows.execution.progress_bar import ProgressBar
    from workflows.flows.campaign.file import load_campaign
    from workflows.flows.enumeration.cost import Meshes
    from workflows.flows.enumeration.enumeration import enumerate_campaign
    from workflows.flows.enumeration.lock_file import lock_path

    settings = load_campaign(campaign)
    engine = make_engine(settings.engine.name, settings.engine.preset, **settings.engine.options)
    with ProgressBar(quiet) as bar:
        found = enumerate_campaign(
            settings,
            Meshes.of(engine.method(), settings.slabs.vacuum),
            refresh=refresh,
            max_age=_age(max_age),
            workers=workers,
            progress=bar.show,
        )
    model = cost_model(settings, engine, store, must_exist=store is not None)
    rows, left_out = _rows(found, model, engine)
    if shown.as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif shown.as_csv:
        print_csv([_flat(plain) for plain in rows], list(rows[0]) if rows else ["formula"])
    elif rows:
        print_table(compound_table(rows))
    console = page(stderr=shown.as_json or shown.as_csv)
    _conclude(console, settings, found, rows, [*found.notes, *left_out], model)
    if not rows:
        return 1
    for line in settle(found, output or lock_path(settings), settings, update=update):
        print_text(line, console)
    return 1 if found.problems else 0


def _age(text: str | None) -> timedelta | None:
    from datetime import timedelta

    from workflows.flows.campaign.resources import seconds_in

    if text is None:
        return None
    seconds = seconds_in(text)
    if seconds is None:
        raise InputError(f"--max-age: {text!r} is no span of time; write it as 30min, 12h or 7d")
    return timedelta(seconds=seconds)


def cost_model(
    settings: Campaign, engine: Engine, store: str | None, *, must_exist: bool = False
) -> CostModel:
    """Return the cost model calibrated on a store, else the campaign's, as far as it can be read."""
    from stores.connections import open_store, resolve_store_uri
    from workflows.flows.enumeration.cost import calibrated

    try:
        with open_store(resolve_store_uri(store, settings.store), must_exist=True) as results:
            return calibrated(engine.method(), results)
    except MgsurfError:
        if must_exist:
            raise
        return calibrated(engine.method(), None)


def _rows(found: Enumeration, model: CostModel, engine: Engine) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what is shown of each compound, and one line for each reason not to compute some."""
    from workflows.flows.campaign.file import left_out_line, why_not

    known: dict[tuple[str, ...], str] = {}
    reasons: dict[str, list[str]] = {}
    rows = []
    for compound, work in zip(found.lock.compounds, found.works, strict=True):
        elements = tuple(sorted({site[0] for site in compound.sites}))
        if elements not in known:
            known[elements] = why_not(elements, engine)
        reason = known[elements]
        if reason:
            reasons.setdefault(reason, []).append(compound.label)
        rows.append(_row(compound, None if reason else model.core_hours(work), reason))
    return rows, [left_out_line(*item) for item in sorted(reasons.items())]


def _row(compound: LockedCompound, core_hours: float | None, left_out: str) -> dict[str, Any]:
    """Return what is shown of a compound; without core-hours and with a reason if it is not computed."""
    return {
        "formula": compound.formula,
        "label": compound.label,
        "spacegroup_number": compound.spacegroup_number,
        "spacegroup_symbol": compound.spacegroup_symbol,
        "n_atoms": compound.n_atoms,
        "identifiers": compound.provenance.identifiers,
        "geometry_from": compound.provenance.source,
        "lattice_is_guess": compound.provenance.lattice_is_guess,
        "energy_above_hull": compound.hull.energy if compound.hull else None,
        "hull_method": compound.hull.method if compound.hull else None,
        "slabs": compound.slabs,
        "n_slabs": compound.n_slabs,
        "core_hours": None if core_hours is None else round(core_hours, 3),
        "left_out": left_out,
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for CSV, lists and mappings as text."""
    slabs = " ".join(f"{plane}:{number}" for plane, number in row["slabs"].items())
    return {**row, "identifiers": " ".join(row["identifiers"]), "slabs": slabs}


def compound_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Lay out the first `TABLE_ROWS` compounds."""
    from rich.text import Text

    table = Table(
        [
            Column("compound"),
            Column("space group", wrap=True),
            Column("atoms", right=True),
            Column("above hull eV/atom", right=True),
            Column("geometry", wrap=True),
            Column("identifiers", wrap=True),
            Column("slabs", right=True),
            Column("core-h", right=True),
        ]
    )
    for plain in rows[:TABLE_ROWS]:
        hull, hours, names = plain["energy_above_hull"], plain["core_hours"], plain["identifiers"]
        more = f" +{len(names) - SHOWN_NAMES}" if len(names) > SHOWN_NAMES else ""
        table.add_row(
            plain["formula"],
            f"{plain['spacegroup_symbol']} ({plain['spacegroup_number']})",
            str(plain["n_atoms"]),
            "–" if hull is None else f"{hull:.3f}",
            plain["geometry_from"] + (" (estimated)" if plain["lattice_is_guess"] else ""),
            ", ".join(names[:SHOWN_NAMES]) + more,
            str(plain["n_slabs"]),
            Text("not run", style="yellow") if hours is None else hours_text(hours),
        )
    return table


def hours_text(hours: float) -> str:
    """Write core-hours with two significant digits, which is more than an estimate is worth."""
    if hours >= 100:
        return f"{float(f'{hours:.2g}'):,.0f}"
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}"


def _conclude(
    console: Console,
    settings: Campaign,
    found: Enumeration,
    rows: list[dict[str, Any]],
    notes: list[str],
    model: CostModel,
) -> None:
    """Print totals, what was done on purpose, and what went wrong."""

    def show(text: str) -> None:
        print_text(text, console)

    if not rows:
        show(f"no compound is left of {found.n_candidates} structures; no lock file was written")
    else:
        hours = [plain["core_hours"] for plain in rows if plain["core_hours"] is not None]
        n_slabs = sum(plain["n_slabs"] for plain in rows)
        show(
            f"{settings.name}: {pluralize(len(rows), 'compound')} from {found.n_candidates} structures, "
            f"{n_slabs} symmetric slabs, about {hours_text(sum(hours))} core-hours"
            + (" (from the cache)" if found.from_cache else "")
        )
        if len(rows) > TABLE_ROWS:
            show(f"  the table shows {TABLE_ROWS} of them; --json or --csv list all")
        show(f"  {model.words()}")
    for line in notes:
        show(f"  {line}")
    if found.problems:
        n = len(found.problems)
        console.print(f"[red]{pluralize(n, 'problem')}[/red]; the others completed:")
        for line in found.problems[:SHOWN_PROBLEMS]:
            show(f"  {line}")
        if n > SHOWN_PROBLEMS:
            show(f"  ... and {n - SHOWN_PROBLEMS} more; the lock file lists all (left_out)")


def settle(found: Enumeration, path: Path, settings: Campaign, *, update: bool) -> list[str]:
    """Write a lock file, or list what it would change; return what was done, in lines for people.

    A lock file is replaced when the campaign file was edited since, or with `update`; what only changed in
    the databases, or could not be fetched this time, never replaces it by itself. An edit of slab settings
    replaces the counts, so it does not count where other crystals would come along with them.

    Raises
    ------
    InputError
        If the lock file there cannot be read, and is not to be replaced.
    """
    from workflows.flows.enumeration.lock_file import changes, is_made_from, read_lock, write_lock

    where = f"lock file {path}"
    if not path.exists():
        write_lock(found.text, path)
        return [f"{where} written; mgsurf run {settings.path} computes it"]
    if _is_same(path, found.text):
        return [f"{where} is up to date"]
    command = f"mgsurf enumerate {settings.path}"
    try:
        old = read_lock(path, command)
    except InputError:
        if not update:
            raise
        write_lock(found.text, path)
        return [f"{where} could not be read and was replaced"]
    lock = found.lock
    difference = changes(old, lock)
    edited, recounted = not is_made_from(old, settings), old.slab_settings != lock.slab_settings
    requested = edited or (recounted and not difference.of_crystals)
    lines = [f"  {line}" for line in difference.lines()]
    if update or (requested and found.whole):
        write_lock(found.text, path)
        return [f"{where} replaced" + (":" if lines else "; its compounds stay the same"), *lines]
    if not difference and not edited and not recounted:
        return [f"{where} lists the same compounds and was kept"]
    why = "entries of the databases have changed"
    if not found.whole:
        why = "not every source answered in full"
    elif old.lock_version < lock.lock_version and not difference.of_crystals:
        why = "it was written by an older mgsurf"
    return [
        f"{where} was kept, for {why}" + (":" if lines else ""),
        *lines,
        f"  {command} --update replaces it",
    ]


def _is_same(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False
