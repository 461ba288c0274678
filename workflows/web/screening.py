"""Page of screened compounds: the ranking, and the map of dissolution potential against work function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.learning.screenings import COLLECTION, ScreeningRecord, latest_screenings
from workflows.flows.screening.ranking import CRITERIA, Application, Sort, rank
from workflows.report.screening import SHOWN_SHARE, facet_name, remarks
from workflows.web.charts import Chart, padded
from workflows.web.pages import PageRouter, TableLinks, one, page_number, query_texts

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from fastapi import Request

    from stores.surfaces import SurfaceStore

ROWS = 100
MOST = 1000
"""Compounds of a screening that are read; more are ranked by `mgsurf screen`."""

NAMED = 25
"""Points of the map that bear their formula, those farthest out."""

LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

KNOWN = ("application", "sort", "page")

router = PageRouter()


def screening_data(store: SurfaceStore, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Read the latest screening and rank it.

    Parameters
    ----------
    store
        Opened for reading.
    given
        ``application`` and ``sort`` (a name of `Sort`, with a minus for descending) as `mgsurf screen` takes
        them, and ``page``.

    Returns
    -------
    dict
        ``compounds`` of the page, how many there are, and the ``criterion`` of the ranking.

    Raises
    ------
    InputError
        If application, order or page are not known.
    """
    application = _application(one(given, "application"))
    field, descending = _order(one(given, "sort"))
    page = page_number(given, 10**6)
    stored = store.count({}, COLLECTION)
    records = latest_screenings(store, most=MOST) if stored else []
    ranked = rank(records, application=application, sort=field, descending=descending)
    pages = max(-(-len(ranked) // ROWS), 1)
    shown = ranked[ROWS * (page - 1) : ROWS * page]
    criterion = CRITERIA[application][0] if application else ""
    latest = max((record.screened_at for record in records), default=None)
    return {
        "compounds": [_plain(record) for record in shown],
        "total": len(ranked),
        "screened": len(records),
        "stored": stored,
        "most": MOST,
        "page": page,
        "pages": pages,
        "application": application,
        "criterion": criterion,
        "model": next((record.model for record in records if record.model), ""),
        "screened_at": latest.isoformat() if latest else None,
        "_map": potential_map(ranked, {record.id for record in shown}),
        "_given": {name: " ".join(texts) for name, texts in given.items()},
        "_applications": [(str(name), words[0]) for name, words in CRITERIA.items()],
        "_links": TableLinks("/screening", given),
    }


def _application(text: str | None) -> Application | None:
    if text is None:
        return None
    if text not in list(Application):
        raise InputError(f"application: {text[:30]!r} is not known; choose {', '.join(Application)}")
    return Application(text)


def _order(text: str | None) -> tuple[Sort | None, bool]:
    if text is None:
        return None, False
    name, descending = text.removeprefix("-").replace("-", "_"), text.startswith("-")
    if name not in list(Sort):
        raise InputError(f"sort: {text[:30]!r} is not known; choose {', '.join(Sort)}, with - for descending")
    return Sort(name), descending


def _plain(record: ScreeningRecord) -> dict[str, Any]:
    """Return what the table shows of a compound, as plain values."""
    names = (
        *("id", "label", "formula", "spacegroup_number", "spacegroup_symbol", "bulk_key"),
        *("surface_energy", "surface_energy_sigma", "work_function", "work_function_sigma"),
        *("potential", "potential_sigma", "cations", "formation_energy", "energy_source", "semiconductor"),
    )
    facets = [
        {
            "name": facet_name(record, facet),
            "miller_index": list(facet.miller_index),
            "termination": facet.termination,
            "share": facet.area_fraction,
            "source": facet.source,
        }
        for facet in record.facets
        if facet.area_fraction >= SHOWN_SHARE
    ]
    return {
        **record.model_dump(mode="json", include=set(names)),
        "facets": sorted(facets, key=lambda facet: -facet["share"]),
        "remarks": remarks(record),
    }


def potential_map(records: Sequence[ScreeningRecord], linked: Container[str] = ()) -> Any:
    """Draw dissolution potential against work function; None if no compound has both.

    The points of the ids `linked` lead to their rows in the table.

    Elements have the second colour, semiconductors are hollow, compounds of elements outside the training set
    grey, as in `workflows.report.screening.potential_figure`.
    """
    known = [
        (r.work_function, r.potential, r)
        for r in records
        if r.work_function is not None and r.potential is not None
    ]
    if not known:
        return None
    chart = Chart(
        "Dissolution potential against Wulff-weighted work function",
        padded([x for x, _, _ in known], 0.08, 0.05),
        padded([y for _, y, _ in known], 0.08, 0.05),
        "Wulff-weighted work function Φ (eV)",
        "dissolution potential (V vs SHE)",
        width=720,
        height=440,
    )
    for x, y, record in known:
        if record.work_function_sigma:
            spread = record.work_function_sigma
            chart.line([max(x - spread, chart.x[0]), min(x + spread, chart.x[1])], [y, y], "error")
        if record.potential_sigma:
            spread = record.potential_sigma
            chart.line([x, x], [max(y - spread, chart.y[0]), min(y + spread, chart.y[1])], "error")
    for x, y, record in known:
        element = len(record.cations) == 1
        colour = "other" if record.unseen_elements else "c1" if element else "c0"
        kind = f"{colour}{' hollow' if record.semiconductor else ''}"
        name = f"{record.label}: Φ {x:.2f} eV, {y:.2f} V"
        chart.point(x, y, kind, name, f"#{record.id}" if record.id in linked else "")
    _name_outermost(chart, known)
    return chart.svg()


def _name_outermost(chart: Chart, known: Sequence[tuple[float, float, ScreeningRecord]]) -> None:
    """Write formulas beside the points farthest from the middle, none over another."""
    xs, ys = [x for x, _, _ in known], [y for _, y, _ in known]
    middle = sum(xs) / len(xs), sum(ys) / len(ys)
    width, height = chart.x[1] - chart.x[0], chart.y[1] - chart.y[0]
    order = sorted(
        known, key=lambda k: -(((k[0] - middle[0]) / width) ** 2 + ((k[1] - middle[1]) / height) ** 2)
    )
    taken = [chart.place(x, y) for x, y, _ in known]
    boxes: list[tuple[float, float, float]] = []
    named: set[str] = set()
    for x, y, record in order:
        if record.formula in named or len(named) == NAMED:
            continue
        a, b = chart.place(x, y)
        length = 6.6 * len(record.formula)
        for left in (a + 7, a - 7 - length):
            inside = left >= 58 and left + length <= chart.width - 4
            free = not any(
                left - 4 < p < left + length + 4 and abs(q - b) < 9 and (p, q) != (a, b) for p, q in taken
            )
            clear = not any(p < left + length and left < p + n and abs(q - b) < 12 for p, q, n in boxes)
            if inside and free and clear:
                boxes.append((left, b, length))
                named.add(record.formula)
                anchor, gap = ("start", 7) if left > a else ("end", -7)
                beside = x + gap * width / (chart.place(chart.x[1], y)[0] - chart.place(chart.x[0], y)[0])
                chart.text(beside, y, record.formula.translate(LOWERED), anchor, "name", -4)
                break


@router.page("/screening", "screening.html")
def screening(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show the latest screening."""
    return screening_data(store, query_texts(request, KNOWN))
