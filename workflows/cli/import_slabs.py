"""`mgsurf import`: labelled slabs of others become records."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from model.data.importers import import_slabs
from model.data.label_units import units_from_options
from stores.connections import resolve_store_uri
from stores.errors import pluralize
from workflows.execution.kept import kept_in_words
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from model.data.importers import Imported

SHOWN_LINES = 40
"""Problems beyond this many are counted, not printed."""


def import_labels(
    path: str,
    *,
    format: str,
    targets: str | None,
    source: str | None,
    relaxed: bool,
    units: list[str],
    store_uri: str | None,
    as_json: bool,
) -> int:
    """Read labelled slabs, store them and print a summary.

    Parameters
    ----------
    path, format, source, relaxed
        See `model.data.importers.import_slabs`.
    targets
        Names separated by commas.
    units
        Values of ``--unit``, each ``TARGET=UNIT``.
    store_uri
        Value of ``--store``.
    as_json
        Print what was done as JSON.

    Returns
    -------
    int
        Exit status: 1 if a line of the source could not be used, else 0.
    """
    names = None if targets is None else [name.strip() for name in targets.split(",") if name.strip()]
    unchanged = "The source was only read: the same command imports all of it again."
    with kept_in_words(lambda _: unchanged), ProgressBar() as bar:
        result = import_slabs(
            path,
            resolve_store_uri(store_uri),
            format=format,
            targets=names,
            source=source,
            relaxed=relaxed,
            units=units_from_options(units),
            tick=lambda number, total, name: bar.show("importing", number, total or None, name),
        )
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(result), indent=2))
    else:
        print(_summary(result))
    for line in result.notes:
        print(f"mgsurf: {line}", file=sys.stderr)
    for line in result.problems[:SHOWN_LINES]:
        print(f"mgsurf: {line}", file=sys.stderr)
    if len(result.problems) > SHOWN_LINES:
        left = len(result.problems) - SHOWN_LINES
        print(f"mgsurf: and {left} more lines could not be used; --json shows all", file=sys.stderr)
    return 1 if result.problems else 0


def _summary(result: Imported) -> str:
    slabs = pluralize(result.n_read, "slab")
    labels = ", ".join(f"{count} {target}" for target, count in result.n_labels.items() if count)
    changed = f"{pluralize(result.n_changed, 'record')} new or changed"
    text = f"{slabs} read from {result.source} ({labels or 'no labels'}); "
    return text + (changed if result.n_changed else "nothing new")
