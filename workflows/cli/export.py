"""`mgsurf export`: surfaces as files for other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import pluralize
from workflows.cli.console import print_note
from workflows.cli.filters import SurfaceFilter
from workflows.cli.options import OUTPUT, OutputFile, StoreOption
from workflows.cli.typer_app import LOOK, app
from workflows.report.surface_filter import explain_empty, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stores.imported import ImportedSurface
    from stores.records import SurfaceRecord
    from stores.surfaces import SurfaceStore
    from workflows.execution.progress_bar import ProgressBar

DEFAULT_NAMES = {
    "csv": "surfaces.csv",
    "jsonl": "surfaces.jsonl",
    "extxyz": "surfaces.extxyz",
    "ase": "surfaces.db",
    "cgcnn": "cgcnn",
}


class ExportFormat(StrEnum):
    """Format that `mgsurf export` writes."""

    CSV = "csv"
    JSONL = "jsonl"
    EXTXYZ = "extxyz"
    ASE = "ase"
    CGCNN = "cgcnn"


@app.command(rich_help_panel=LOOK)
def export(
    format: Annotated[ExportFormat, typer.Argument(help="Format of the file or folder.")],
    filters: SurfaceFilter,
    target: OutputFile,
    relaxed: Annotated[
        bool, typer.Option("--relaxed", help="The relaxed slabs, not those as cut.", rich_help_panel=OUTPUT)
    ] = False,
    include_rejected: Annotated[
        bool,
        typer.Option(
            "--include-rejected", help="Also values whose verdict is not accepted.", rich_help_panel=OUTPUT
        ),
    ] = False,
    store: StoreOption = None,
) -> int:
    """Write surfaces for other programs: CSV, JSON lines, extended XYZ, ASE database, CGCNN folder.

    Examples: [cyan]mgsurf export csv -o surfaces.csv[/cyan],
    [cyan]mgsurf export cgcnn --verdict accepted -o dataset/[/cyan]
    """
    from stores.export import export as write
    from workflows.cli.access import existing_store
    from workflows.execution.progress_bar import ProgressBar

    path = target.checked(DEFAULT_NAMES[format])
    filters.criteria()  # an unreadable filter is reported before a missing store
    with existing_store(store) as opened:
        found = select(opened, filters, ["id"])
        if not found:
            print_note(explain_empty(opened, filters))
            return 1
        with ProgressBar() as bar:
            count = write(
                _records(opened, found, bar),
                path,
                format,
                relaxed=relaxed,
                include_rejected=include_rejected,
                overwrite=target.overwrite,
            )
    print(f"{pluralize(count, 'surface')} in {path}")
    return 0


def _records(
    store: SurfaceStore, found: Sequence[Mapping[str, Any]], bar: ProgressBar
) -> Iterator[SurfaceRecord | ImportedSurface]:
    """Yield the records of what was found, one at a time: a hundred thousand do not fit in memory."""
    from stores.imported import imported_surface
    from stores.records import SurfaceRecord

    for number, document in enumerate(found, start=1):
        record: SurfaceRecord | ImportedSurface | None
        if "source" in document:
            record = imported_surface(store, document["id"])
        else:
            record = store.get(SurfaceRecord, document["id"])
        if record is not None:
            yield record
        bar.show("writing", number, len(found))
