"""`mgsurf ingest`: records of finished VASP calculations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import pluralize
from workflows.cli.console import print_note, print_table
from workflows.cli.options import JsonOption, StoreOption
from workflows.cli.typer_app import COMPUTE, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.jobs.ingest.ingest import Ingestion
    from workflows.jobs.ingest.pairs import Pair

SHOWN_LINES = 40  # problems and notes beyond this many are counted, not printed


@app.command(rich_help_panel=COMPUTE)
def ingest(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIRECTORY]", help="Folder of finished VASP calculations.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV file with the columns bulk,slab and perhaps reference."),
    ] = None,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be paired and stop.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Make records of finished VASP calculations; duplicates are skipped.

    Examples: [cyan]mgsurf ingest old_runs --dry-run[/cyan],
    [cyan]mgsurf ingest --pairs pairs.csv[/cyan]
    """
    from stores.connections import resolve_store_uri
    from workflows.execution.kept import kept_in_words
    from workflows.execution.progress_bar import ProgressBar
    from workflows.jobs.ingest.ingest import ingest as ingest_runs
    from workflows.jobs.ingest.ingest import plan
    from workflows.report.tables import surface_table

    with ProgressBar() as bar:

        def tick(folder: str, number: int, total: int) -> None:
            bar.show("reading folders", number, total, folder)

        if dry_run:
            result, _ = plan(directory, pairs, tick)
        else:
            unchanged = "The folders were only read: the same command ingests all of them again."
            with kept_in_words(lambda _: unchanged):
                result = ingest_runs(directory, resolve_store_uri(store), pairs, tick)
    if as_json:
        print(json.dumps(_plain(result), indent=2))
    else:
        if dry_run:
            print_table(pair_table(result.pairs))
        elif result.surfaces:
            print_table(surface_table([surface.model_dump(mode="json") for surface in result.surfaces]))
        print(_summary(result, dry_run))
    for lines in (result.notes, result.problems):
        for line in lines[:SHOWN_LINES]:
            print_note(line)
        if len(lines) > SHOWN_LINES:
            print_note(f"and {len(lines) - SHOWN_LINES} more; --json shows all")
    return 1 if result.problems else 0


def _summary(result: Ingestion, dry_run: bool) -> str:
    slabs = pluralize(len(result.pairs), "slab")
    if dry_run:
        return f"{slabs} found; nothing was written (--dry-run)"
    changed = f"{pluralize(result.changed, 'record')} new or changed"
    return f"{slabs} and {result.n_bulks} bulk crystals read; {changed if result.changed else 'nothing new'}"


def pair_table(pairs: Sequence[Pair]) -> Table:
    """Table of the slabs that were found with their plane, bulk and references."""
    from workflows.structures.naming import format_plane

    headings = ("slab", "plane", "bulk", "references", "remark")
    table = Table([Column(name, wrap=True, room=24 if name == "remark" else 0) for name in headings])
    for pair in pairs:
        plane = "?"
        if pair.match is not None:
            slab = pair.match.slab
            plane = f"{format_plane(slab.miller_index, slab.spacegroup_number)} {slab.termination_label}"
        table.add_row(
            str(pair.slab.last.directory),
            plane,
            str(pair.bulk.last.directory) if pair.bulk else "none",
            ", ".join(sorted(pair.references)),
            pair.reason or (f"asymmetric: {pair.asymmetric}" if pair.asymmetric else ""),
        )
    return table


def _plain(result: Ingestion) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {
        "slabs": [
            {
                "slab": str(pair.slab.last.directory),
                "bulk": str(pair.bulk.last.directory) if pair.bulk else None,
                "references": {e: str(c.last.directory) for e, c in sorted(pair.references.items())},
                "miller_index": list(pair.match.slab.miller_index) if pair.match else None,
                "termination": pair.match.slab.termination_label if pair.match else None,
                "remark": pair.reason or pair.asymmetric,
            }
            for pair in result.pairs
        ],
        "surfaces": [surface.id for surface in result.surfaces],
        "changed": result.changed,
        "problems": result.problems,
        "notes": result.notes,
    }
