"""`mgsurf query`: surfaces of the store as a table, JSON or CSV."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stores.connections import open_store, resolve_store_uri
from stores.errors import pluralize
from workflows.cli.console import check_one_format, print_table
from workflows.report.tables import ROW_FIELDS, flat_rows, rows, surface_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stores.surfaces import SurfaceStore
    from workflows.cli.filters import SurfaceFilter
    from workflows.cli.stable_windows import PhaseChoice

SHOWN = (*ROW_FIELDS, "spacegroup_number")
"""Fields that are read from the store; the space group decides whether a plane is written hkil."""

TABLE_ROWS = 100
"""A table without --limit stops here: nobody reads more, and laying out 1,000 rows takes 2 s."""


@contextmanager
def existing_store(uri: str | None, campaign_store: str | None = None) -> Iterator[SurfaceStore]:
    """Open the store of a command that only reads.

    Parameters
    ----------
    uri
        Value of ``--store``.
    campaign_store
        What the campaign file says.

    Raises
    ------
    InputError
        If there is no store, or it is none of ours.
    """
    with open_store(resolve_store_uri(uri, campaign_store), must_exist=True) as store:
        yield store


def select(
    store: SurfaceStore, filters: SurfaceFilter, properties: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the surfaces that the filters pass.

    Parameters
    ----------
    store
        Where to look.
    filters
        What was asked for; records that lack the field they are sorted by come last.
    properties
        Fields to read; all if None.

    Returns
    -------
    list of dict
    """
    criteria, order, limit = filters.criteria(), filters.sort_field(), filters.limit or 0
    if filters.labels:
        from stores.imported import imported_surfaces

        field, descending = order or ("formula", False)
        found = list(store.query(criteria, properties and [*properties, field]))
        found += imported_surfaces(store, criteria, with_slabs="slab" in (properties or ["slab"]))
        return _sorted(found, field, descending)[: limit or None]
    if order is None:
        return list(store.query(criteria, properties, sort={"formula": 1}, limit=limit))
    field, descending = order
    present = {"$and": [criteria, {field: {"$ne": None}}]}
    found = list(store.query(present, properties, sort={field: -1 if descending else 1}, limit=limit))
    if not limit or len(found) < limit:
        missing = {"$and": [criteria, {field: None}]}
        found += store.query(missing, properties, limit=limit - len(found) if limit else 0)
    return found


def _sorted(found: list[dict[str, Any]], field: str, descending: bool) -> list[dict[str, Any]]:
    """Sort surfaces by a field; those without it come last."""
    known = [surface for surface in found if surface.get(field) is not None]
    known.sort(key=lambda surface: surface[field], reverse=descending)
    return known + [surface for surface in found if surface.get(field) is None]


def explain_empty(store: SurfaceStore, filters: SurfaceFilter) -> str:
    """Say in one line which filters found nothing and what the store holds instead."""
    total, n_imported = store.count(), store.count(collection="labels")
    asked = ", ".join(filters.describe())
    if filters.labels and n_imported:
        holds = f"{pluralize(total, 'computed surface')} and {pluralize(n_imported, 'imported slab')}"
        unknown = store.count({"miller_index": None}, "labels") if filters.miller is not None else 0
        planes = f", of {unknown} of which no plane is known" if unknown else ""
        return f"no surface matches {asked}; the store {store.uri} holds {holds}{planes}"
    imported = _imported_line(store, filters) if n_imported else ""
    if total == 0:
        computes = "" if imported else "; mgsurf run CAMPAIGN.yaml computes some"
        return f"the store {store.uri} holds no computed surfaces yet{computes}{imported}"
    formulas = store.distinct("formula")
    named = ", ".join(formulas[:8]) + (f" and {len(formulas) - 8} more" if len(formulas) > 8 else "")
    holds = f"the store {store.uri} holds {pluralize(total, 'surface')} of {named}"
    return f"no surface matches {asked}; {holds}{imported}"


def _imported_line(store: SurfaceStore, filters: SurfaceFilter) -> str:
    """Report how many imported slabs the filters pass; empty if none."""
    from stores.imported import imported_surfaces

    number = sum(1 for _ in imported_surfaces(store, filters.criteria()))
    return f"; {pluralize(number, 'imported slab')} found with --labels" if number else ""


def show_surfaces(
    filters: SurfaceFilter,
    store_uri: str | None,
    as_json: bool,
    as_csv: bool,
    stable: PhaseChoice | None = None,
) -> int:
    """Print what the filters pass.

    Parameters
    ----------
    filters
        What was asked for.
    store_uri
        Value of ``--store``.
    as_json, as_csv
        Instead of a table.
    stable
        Add the window in which each compound is stable, against these phases; None leaves it out.

    Returns
    -------
    int
        Exit status.
    """
    check_one_format(as_json, as_csv)
    criteria = filters.criteria()  # a filter that cannot be read is told before a store that is not there
    shortened = filters.limit is None and not (as_json or as_csv)
    if shortened:
        filters = replace(filters, limit=TABLE_ROWS)
    fields: tuple[str, ...] = SHOWN
    if stable is not None:
        from workflows.analysis.stability_window import StableWindow
        from workflows.cli.stable_windows import SURFACE_FIELDS, windows_of
        from workflows.report.tables import flat_window_fields, stable_window_table, window_fields

        fields = tuple(dict.fromkeys((*SHOWN, *SURFACE_FIELDS)))
    with existing_store(store_uri) as store:
        found = select(store, filters, fields)
        windows = [] if stable is None else windows_of(store, found, stable)
        remark = "" if found else explain_empty(store, filters)
        if (
            shortened
            and len(found) == TABLE_ROWS
            and (total := _count(store, filters, criteria)) > TABLE_ROWS
        ):
            remark = f"{TABLE_ROWS} of {total} surfaces shown; --limit {total}, --json or --csv show all"
    if as_json:
        import json

        shown = rows(found)
        if filters.labels:
            shown = [r | _source(s) for r, s in zip(shown, found, strict=True)]
        if stable is not None:
            shown = [r | window_fields(s, w) for r, s, w in zip(shown, found, windows, strict=True)]
        print(json.dumps(shown, indent=2))
    elif as_csv:
        # an empty result still has its header
        lines, header = flat_rows(found), flat_rows([{}])[0]
        if filters.labels:
            lines = [r | _source(s) for r, s in zip(lines, found, strict=True)]
            header |= _source({})
        if stable is not None:
            lines = [r | flat_window_fields(s, w) for r, s, w in zip(lines, found, windows, strict=True)]
            header |= flat_window_fields({}, StableWindow(None))
        _print_csv(lines, list(header))
    elif found:
        ordered = filters.sort is None
        if stable is None:
            print_table(surface_table(found, sort=ordered))
        else:
            print_table(stable_window_table(found, windows, sort=ordered))
    if remark:
        print(f"mgsurf: {remark}", file=sys.stderr)
    return 0


def _count(store: SurfaceStore, filters: SurfaceFilter, criteria: dict[str, Any]) -> int:
    """Return how many surfaces the filters pass without their limit."""
    if not filters.labels:
        return store.count(criteria)
    return len(select(store, replace(filters, limit=None), ["id"]))


def _source(surface: Mapping[str, Any]) -> dict[str, Any]:
    """Return where an imported slab comes from; None for computed surfaces."""
    return {"source": surface.get("source"), "source_id": surface.get("source_id")}


def _print_csv(lines: list[dict[str, Any]], header: list[str]) -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
