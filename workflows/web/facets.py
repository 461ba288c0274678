"""Page of all facets: a table with the filters of `mgsurf query`, sorted and in pages."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.verdicts import STATUSES
from workflows.report.style import sort_key
from workflows.report.surface_filter import (
    EnergyUnit,
    SurfaceFilter,
    count_selected,
    explain_empty,
    select,
)
from workflows.report.tables import ROW_FIELDS, method_names, rich_end, rows
from workflows.web.pages import PageRouter, TableLinks, one, page_number, query_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from stores.surfaces import SurfaceStore

ROWS = 100
"""Of one page of the table."""

MOST_PAGES = 10**6

TEXTS = ("chemsys", "formula", "miller", "termination", "method", "campaign", "since", "sort", "filter")
NUMBERS = ("min_surface_energy", "max_surface_energy", "min_work_function", "max_work_function")
LISTS = ("element", "verdict")
KNOWN = (*TEXTS, *NUMBERS, *LISTS, "unit", "page")

READ = (*ROW_FIELDS, "spacegroup_number")

router = PageRouter()


def filters_from(given: Mapping[str, list[str]]) -> SurfaceFilter:
    """Return the filters of `mgsurf query` that an address names; an InputError if one cannot be read."""
    values: dict[str, Any] = {name: one(given, name) for name in TEXTS}
    values["raw"] = values.pop("filter")
    values |= {name: _number(name, one(given, name)) for name in NUMBERS}
    for name in LISTS:
        # a form sends several elements in one field
        values[name] = [
            word for text in given.get(name, []) for word in text.replace(",", " ").split()
        ] or None
    unit = one(given, "unit") or EnergyUnit.EV_PER_A2
    if unit not in list(EnergyUnit):
        raise InputError(f"unit: {unit[:30]!r} is not known; choose {' or '.join(EnergyUnit)}")
    return SurfaceFilter(**values, unit=EnergyUnit(unit))


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}: {text[:30]!r} is no finite number; write one such as 0.05")
    return value


def facets_data(store: SurfaceStore, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Read one page of the table.

    Parameters
    ----------
    store
        Opened for reading.
    given
        Filters by the names of `mgsurf query`'s options, ``sort`` and ``page``.

    Returns
    -------
    dict
        ``rows`` as `mgsurf query --json` prints them, how many pass the filters, and the page's number.

    Raises
    ------
    InputError
        If a filter cannot be read.
    """
    filters = filters_from(given)
    page = page_number(given, MOST_PAGES)
    total = count_selected(store, filters)
    found = select(store, replace(filters, limit=ROWS), READ, skip=ROWS * (page - 1)) if total else []
    pages = max(-(-total // ROWS), 1)
    rich, notes = rich_end(found)
    shown = sorted(found, key=sort_key) if filters.sort is None else found
    return {
        "rows": rows(found),
        "total": total,
        "page": page,
        "pages": pages,
        "rows_per_page": ROWS,
        "filters": filters.describe(),
        "remark": "" if found else _remark(store, filters, total, pages),
        "command": command(store, filters),
        "_shown": shown,
        "_methods": method_names({str(record.get("method_fingerprint")) for record in found}),
        "_rich": rich,
        "_notes": notes,
        "_more": any(
            name not in ("chemsys", "formula", "miller", "verdict", "sort", "page") for name in given
        ),
        "_given": {name: " ".join(texts) for name, texts in given.items()},
        "_links": TableLinks("/facets", given),
        "_statuses": STATUSES,
    }


def command(store: SurfaceStore, filters: SurfaceFilter) -> str:
    """Return the command that prints the same facets, all of them, as CSV."""
    words = ["mgsurf", "query", "--store", store.uri]
    for field in fields(filters):
        value = getattr(filters, field.name)
        if value in (None, field.default) or field.name == "limit":
            continue
        option = "--" + ("filter" if field.name == "raw" else field.name.replace("_", "-"))
        for text in value if isinstance(value, list) else [value]:
            words += [f"{option}={text}"] if str(text).startswith("-") else [option, str(text)]
    return shlex.join([*words, "--csv"])


def _remark(store: SurfaceStore, filters: SurfaceFilter, total: int, pages: int) -> str:
    return f"the table has {pages} pages; choose one of them" if total else explain_empty(store, filters)


@router.page("/facets", "facets.html")
def facets(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show the table of facets."""
    return facets_data(store, query_texts(request, KNOWN))
