"""`mgsurf export`: surfaces as files for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stores.words import counted
from workflows.cli.plot import check_output
from workflows.cli.query import existing_store, explain_empty, select
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def _records(store: SurfaceStore, ids: Sequence[str], bar: ProgressBar) -> Iterator[SurfaceRecord]:
    """Yield the records by their ids, one at a time."""
    from stores.records import SurfaceRecord

    for number, surface_id in enumerate(ids, start=1):
        if (record := store.get(SurfaceRecord, surface_id)) is not None:
            yield record
        bar.show("writing", number, len(ids))


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
        What ``--store`` said.

    Returns
    -------
    int
        Exit status; 1 if no surface matches.
    """
    from stores.export import export

    path = check_output(output or Path(DEFAULT_NAMES[format]), overwrite)
    filters.criteria()
    with existing_store(store_uri) as store:
        # ids first: whole records are read one by one, because a hundred thousand do not fit in memory
        ids = [document["id"] for document in select(store, filters, ["id"])]
        if not ids:
            print(f"mgsurf: {explain_empty(store, filters)}", file=sys.stderr)
            return 1
        with ProgressBar() as bar:
            count = export(
                _records(store, ids, bar),
                path,
                format,
                relaxed=relaxed,
                include_rejected=include_rejected,
                overwrite=overwrite,
            )
    print(f"{counted(count, 'surface')} in {path}")
    return 0
