"""`mgsurf export`: surfaces as files for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import counted
from workflows.cli.access import existing_store
from workflows.cli.plot import check_output
from workflows.cli.query import explain_empty, select
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stores.imported import ImportedSurface
    from stores.records import SurfaceRecord
    from stores.surfaces import SurfaceStore
    from workflows.cli.filters import SurfaceFilter

DEFAULT_NAMES = {
    "csv": "surfaces.csv",
    "jsonl": "surfaces.jsonl",
    "extxyz": "surfaces.extxyz",
    "ase": "surfaces.db",
    "cgcnn": "cgcnn",
}


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


def write_export(
    format: str,
    filters: SurfaceFilter,
    output: Path | None,
    *,
    overwrite: bool,
    relaxed: bool,
    include_rejected: bool,
    store_uri: str | None,
) -> int:
    """Write the surfaces that the filters pass, and say where they are.

    Parameters
    ----------
    format
        One of `stores.export.FORMATS`.
    filters
        Which surfaces.
    output
        File, or folder for cgcnn; a name of `DEFAULT_NAMES` if None.
    overwrite, relaxed, include_rejected
        See `stores.export.export`.
    store_uri
        Value of ``--store``.

    Returns
    -------
    int
        Exit status; 1 if no surface matches.
    """
    from stores.export import export

    path = check_output(output or Path(DEFAULT_NAMES[format]), overwrite)
    filters.criteria()
    with existing_store(store_uri) as store:
        found = select(store, filters, ["id"])
        if not found:
            print(f"mgsurf: {explain_empty(store, filters)}", file=sys.stderr)
            return 1
        with ProgressBar() as bar:
            count = export(
                _records(store, found, bar),
                path,
                format,
                relaxed=relaxed,
                include_rejected=include_rejected,
                overwrite=overwrite,
            )
    print(f"{counted(count, 'surface')} in {path}")
    return 0
