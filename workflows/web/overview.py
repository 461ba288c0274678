"""First page: what runs now, and what each campaign has."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import MgsurfError, duration
from stores.learning.candidates import CANDIDATES
from stores.method_names import count_records, count_verdicts
from stores.settings_file import resolve_work_dir
from workflows.execution.running import RunState, read_running
from workflows.web.failures import dft_query
from workflows.web.pages import PageRouter, query_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import Request

    from stores.surfaces import SurfaceStore

LATEST = 12
"""Calculations that are listed, the newest."""

LOOKED_AT = 40
"""Newest calculations whose working directories may hold a run."""

CALCULATION_STATUSES = ("ok", "unconverged", "failed")
POLL_SECONDS = 5

router = PageRouter()


def overview_data(
    store: SurfaceStore,
    campaigns: Sequence[Mapping[str, Any]] | None,
    queue: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Read what runs and what the store holds.

    Parameters
    ----------
    store
        Opened for reading.
    campaigns
        Rows of `workflows.web.tally.SurfaceTally`; None while they are counted.
    queue
        State of a project of jobflow-remote, by `workflows.web.queue_watch.QueueWatch`.

    Returns
    -------
    dict
        ``runs`` on this machine, ``queue``, ``campaigns``, and of the whole store ``surfaces``, ``verdicts``,
        ``calculations`` by status, the same of ``rehearsal`` without DFT, the ``latest`` calculations, and
        counts of the other collections.
    """
    fields = ["id", "label", "kind", "created_at", "output.status", "output.reason", "output.directory"]
    newest = list(
        store.query({}, fields, sort={"created_at": -1}, limit=LOOKED_AT, collection="calculations")
    )
    folders = [str((one["output"] or {}).get("directory") or "") for one in newest]
    return {
        **_counts(store, rehearsed=False),
        "rehearsal": _counts(store, rehearsed=True),
        "candidates": store.count({}, CANDIDATES),
        "models": store.count({}, "models"),
        "imported": store.count({}, "labels"),
        "runs": [_plain_run(state) for state in runs(folders)],
        "queue": queue,
        "campaigns": campaigns,
        "latest": [
            {
                "label": one["label"],
                "status": one["output"]["status"],
                "reason": one["output"].get("reason") or "",
                "created_at": one["created_at"],
            }
            for one in newest[:LATEST]
        ],
    }


def _counts(store: SurfaceStore, *, rehearsed: bool) -> dict[str, Any]:
    """Count facets and calculations of rehearsals with a potential, or all others."""
    count = partial(count_records, store, rehearsed=rehearsed)
    return {
        "surfaces": count("surfaces", {}),
        "verdicts": count_verdicts(store, {}, rehearsed=rehearsed),
        "calculations": {
            status: count("calculations", {"output.status": status}) for status in CALCULATION_STATUSES
        },
    }


def runs(folders: Sequence[str]) -> list[RunState]:
    """Return the runs in the usual working directory and in those that calculations' folders lie in."""
    places = {Path(folder).parent for folder in folders if folder.startswith("/")}
    with suppress(MgsurfError):  # a wrong settings file concerns commands
        places.add(resolve_work_dir())
    found = [state for place in sorted(places) if (state := read_running(place)) is not None]
    return sorted(found, key=lambda state: state.campaign)


def _plain_run(state: RunState) -> dict[str, Any]:
    done, planned = state.done, max(state.planned, state.done)
    return {
        "campaign": state.campaign,
        "label": state.label,
        "host": state.host,
        "pid": state.pid,
        "planned": planned,
        "running": 1,
        "waiting": max(planned - done - 1, 0),
        "computed": state.computed,
        "reused": state.reused,
        "done": done,
        "problems": state.problems,
        "seconds_left": state.seconds_left,
        "core_hours_left": round(state.seconds_left * state.cores / 3600, 2) if state.cores else None,
    }


@router.page("/", "overview.html", "/overview.json")
def overview(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show what runs and what there is."""
    query_texts(request, ())
    state = request.app.state
    data = overview_data(store, state.tally.campaigns(store), state.queue.latest())
    return {
        **data,
        "_by_dft": dft_query(store),
        "_project": state.project,
        "_duration": duration,
        "_poll": POLL_SECONDS,
    }
