"""`mgsurf status`: what is done, what runs, what failed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, MgsurfError, pluralize
from stores.method_names import count_records, count_verdicts, rehearsal_filter
from workflows.cli.console import print_facts, print_table, print_text
from workflows.cli.options import OUTPUT, CampaignArgument, JsonOption, ProjectOption, StoreOption
from workflows.cli.typer_app import LOOK, app
from workflows.cli.watching import View, watch
from workflows.execution.running import read_running
from workflows.report.style import SYMBOLS
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from stores.surfaces import SurfaceStore
    from workflows.execution.remote.status import CampaignState
    from workflows.flows.campaign.settings import Campaign

CALCULATION_KINDS = ("bulk_relax", "bulk_static", "slab_relax", "slab_static")
STATUSES = ("ok", "unconverged", "failed")
SHOWN_PROBLEMS = 20


@app.command(rich_help_panel=LOOK)
def status(
    campaign: CampaignArgument = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.", rich_help_panel=OUTPUT)
    ] = False,
    every: Annotated[
        float,
        typer.Option(min=0.2, max=86400, metavar="SECONDS", help="Pause of --watch.", rich_help_panel=OUTPUT),
    ] = 5.0,
) -> int:
    """Count what is done, running, failed and unconverged; with --project, of a campaign on a queue.

    With --watch a table that follows the work; in a pipe or file a line for each change.

    Examples: [cyan]mgsurf status quickstart.yaml --watch[/cyan],
    [cyan]mgsurf status campaign.yaml --project cluster[/cyan]
    """
    if project is not None:
        from workflows.cli.queue import print_state, remote_status

        view: View[Any] = View(partial(remote_status, campaign, project), asdict, print_state, remote_line)
    else:
        view = View(partial(local_status, campaign, store), dict, print_status, status_line)
    if watched:
        return watch(view, every, as_json)
    state: Any = view.look()
    if as_json:
        print(json.dumps(view.plain(state), indent=2))
    else:
        view.show(state, None)
    return 1 if project is None and (state.get("lock") or {}).get("problem") else 0


def local_status(campaign: Path | None, store: str | None) -> dict[str, Any]:
    """Return what `mgsurf status --json` prints of a campaign, or of a store."""
    from stores.settings_file import resolve_work_dir
    from workflows.cli.access import existing_store

    name = campaign_store = campaign_work_dir = lock = None
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign
        from workflows.flows.learning.study_file import is_study

        if is_study(campaign):
            raise InputError(
                f"{campaign}: is a study of transfer; mgsurf transfer {campaign} --dry-run -o FOLDER counts "
                "its finished trainings, --project NAME shows its jobs on a queue"
            )
        settings = load_campaign(campaign)
        if settings.sources is not None:
            lock = _lock_state(settings)
        name, campaign_store, campaign_work_dir = settings.name, settings.store, settings.work_dir
    problem = (lock or {}).get("problem")
    try:
        with existing_store(store, campaign_store) as opened:
            state = collect(opened, name, resolve_work_dir(campaign=campaign_work_dir))
    except MgsurfError as error:
        if problem is None:
            raise
        raise InputError(f"{problem}\n{error}") from error
    if lock is not None:
        state["lock"] = lock
    return state


def collect(store: SurfaceStore, campaign: str | None, work_dir: Path) -> dict[str, Any]:
    """Count calculations by kind and status, surfaces by verdict, and list what went wrong.

    Surfaces are those of the campaign, if one is named; calculations those of the whole store, because
    campaigns share them. What a potential computed for a rehearsal is counted apart. Returns plain values,
    as `mgsurf status --json` prints them.
    """
    from stores.exclusions import list_excluded
    from stores.imported import IS_SLAB
    from stores.labelled import BULK, COMPOSITION

    of_campaign = {"campaign": campaign} if campaign else {}
    problems = store.query(
        {"output.status": {"$ne": "ok"}},
        ["label", "output.status", "output.reason"],
        sort={"created_at": 1},
        collection="calculations",
    )
    running = read_running(work_dir)
    times = [
        document["created_at"]
        for collection in ("surfaces", "calculations", "labels")
        for document in store.query({}, ["created_at"], {"created_at": -1}, limit=1, collection=collection)
    ]
    return {
        "store": store.uri,
        "campaign": campaign,
        "running": running.words if running else None,
        "progress": (running.progress or None) if running else None,
        **_counts(store, of_campaign, rehearsed=False),
        "rehearsal": _counts(store, of_campaign, rehearsed=True),
        "excluded": dict(Counter(value["target"] for value in list_excluded(store))),
        "problems": [
            {"label": c["label"], "status": c["output"]["status"], "reason": c["output"].get("reason", "")}
            for c in problems
        ],
        "last_update": max(times, default=None),
        "imported": _imported(store, IS_SLAB["geometry"]),
        "crystals": _imported(store, BULK),
        "compositions": _imported(store, COMPOSITION),
    }


def _counts(store: SurfaceStore, of_campaign: dict[str, Any], *, rehearsed: bool) -> dict[str, Any]:
    """Count surfaces and calculations of rehearsals with a potential, or all others."""
    count = partial(count_records, store, rehearsed=rehearsed)
    surfaces = {**of_campaign, **rehearsal_filter(store, "surfaces", rehearsed=rehearsed)}
    return {
        "surfaces": count("surfaces", of_campaign),
        # reads the records, where `distinct` reads an index: damaged ones are named
        "compounds": sorted({found["formula"] for found in store.query(surfaces, ["formula"])}),
        "verdicts": count_verdicts(store, of_campaign, rehearsed=rehearsed),
        "calculations": {
            kind: {
                status: count("calculations", {"kind": kind, "output.status": status}) for status in STATUSES
            }
            for kind in CALCULATION_KINDS
        },
    }


def _imported(store: SurfaceStore, geometry: Any) -> dict[str, int]:
    """Count the imported records of a geometry in each source, by the index of sources."""
    counts: dict[str, int] = {}
    while True:
        others = {"source": {"$nin": list(counts)}, "geometry": geometry}
        found = next(store.query(others, ["source"], collection="labels", limit=1), None)
        if found is None:
            return counts
        own = {"source": found["source"], "geometry": geometry}
        counts[found["source"]] = store.count(own, "labels")


def _lock_state(campaign: Campaign) -> dict[str, Any]:
    """Return how much the lock file of a campaign lists, or what is wrong with it."""
    from workflows.flows.enumeration.lock_file import campaign_lock, lock_path

    path = str(lock_path(campaign))
    try:
        lock = campaign_lock(campaign)
    except InputError as error:
        return {"path": path, "problem": str(error)}
    return {
        "path": path,
        "compounds": len(lock.compounds),
        "slabs": sum(c.n_slabs for c in lock.compounds),
        "deleted": lock.removed,
    }


def print_status(state: dict[str, Any], console: Console | None) -> None:
    """Print facts, the table of calculations and what went wrong; None is stdout."""
    from rich.text import Text

    print_facts([(name, value) for name, value in _facts(state) if value], console)
    print_text("", console)
    rehearsal = state["rehearsal"]["calculations"]
    if _total(state["calculations"]) or not _total(rehearsal):
        print_table(calculation_table(state["calculations"]), console)
    if _total(rehearsal):
        if _total(state["calculations"]):
            print_text("", console)
        print_table(calculation_table(rehearsal, "rehearsal"), console)
    for problem in state["problems"][:SHOWN_PROBLEMS]:
        style = "red" if problem["status"] == "failed" else "yellow"
        words = f"  {problem['label']}: {problem['reason']}"
        print_text(Text.assemble((problem["status"], style), words), console)
    if len(state["problems"]) > SHOWN_PROBLEMS:
        print_text(f"... and {len(state['problems']) - SHOWN_PROBLEMS} more; --json lists all", console)
    if any(problem["status"] == "failed" for problem in state["problems"]):
        print_text(
            "Failed calculations run again with the next mgsurf run; unconverged ones are not.", console
        )


def status_line(state: dict[str, Any]) -> str:
    """Return the state in one line, for a log."""
    parts = [_line_of_counts(state)]
    if state["rehearsal"]["surfaces"] or _total(state["rehearsal"]["calculations"]):
        parts.append(f"rehearsal: {_line_of_counts(state['rehearsal'])}")
    parts += [
        f"running {state['running']}" if state["running"] else "nothing runs",
        state["progress"] or "",
    ]
    return "; ".join(part for part in parts if part)


def _line_of_counts(counts: dict[str, Any]) -> str:
    totals = {name: sum(row[name] for row in counts["calculations"].values()) for name in STATUSES}
    named = ", ".join(f"{number} {name}" for name, number in totals.items() if number or name == "ok")
    return f"{pluralize(counts['surfaces'], 'surface')}; calculations: {named}"


def _total(calculations: dict[str, dict[str, int]]) -> int:
    return sum(sum(row.values()) for row in calculations.values())


def remote_line(state: CampaignState) -> str:
    """Return the state of jobs on a queue in one line, for a log."""
    counts = ", ".join(f"{number} {name}" for name, number in state.counts.items() if number)
    return f"jobs: {counts}" + (f"; {state.runner}" if state.runner else "")


def _facts(state: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    from rich.text import Text

    from stores.exclusions import excluded_line

    yield "campaign", state["campaign"] or ""
    if lock := state.get("lock"):
        listed = ""
        if "compounds" in lock:
            listed = f"{pluralize(lock['compounds'], 'compound')}, {pluralize(lock['slabs'], 'slab')}"
            if lock["deleted"]:
                listed += f", {len(lock['deleted'])} deleted by hand"
        style = "red" if "problem" in lock else ""
        yield "lock file", Text(lock.get("problem") or f"{listed} ({lock['path']})", style=style)
    yield "store", state["store"]
    yield "running", Text(state["running"] or "nothing", style="green" if state["running"] else "dim")
    yield "progress", state["progress"] or ""
    yield "last update", _ago(state["last_update"])
    if state["surfaces"] or not state["rehearsal"]["surfaces"]:
        yield from _surface_facts("surfaces", state)
    if state["rehearsal"]["surfaces"]:
        yield from _surface_facts("rehearsal", state["rehearsal"], ", by a potential without DFT")
    for key, noun, use in (
        ("imported", "slab", "--labels of query, plot and export includes them"),
        ("crystals", "bulk crystal", "mgsurf train learns from them"),
        ("compositions", "composition", "mgsurf train learns from them"),
    ):
        if sources := state[key]:
            named = ", ".join(f"{number} from {source}" for source, number in list(sources.items())[:3])
            more = f" and {len(sources) - 3} more sources" if len(sources) > 3 else ""
            yield "imported", f"{pluralize(sum(sources.values()), noun)}: {named}{more} ({use})"
    if excluded := excluded_line(state["excluded"]):
        yield "excluded", Text(excluded.removeprefix("excluded by "), style="yellow")


def _surface_facts(name: str, counts: dict[str, Any], by: str = "") -> Iterator[tuple[str, str]]:
    compounds = ", ".join(counts["compounds"][:10]) + (" ..." if len(counts["compounds"]) > 10 else "")
    yield name, f"{counts['surfaces']}" + (f" of {compounds}" if compounds else "") + by
    for target, verdicts in counts["verdicts"].items():
        words = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in verdicts.items())
        yield f"  {SYMBOLS[target]}", words


def calculation_table(counts: dict[str, dict[str, int]], heading: str = "calculations") -> Table:
    """Count calculations by kind and status."""
    from rich.text import Text

    names = (*STATUSES, "total")
    table = Table([Column(heading), *(Column(name, right=True) for name in names)])
    styles = {"ok": "green", "unconverged": "yellow", "failed": "red"}
    for kind, row in counts.items():
        cells = [
            Text(str(row[status]), style=styles[status] if row[status] else "dim") for status in STATUSES
        ]
        table.add_row(kind.replace("_", " "), *cells, str(sum(row.values())))
    return table


def _ago(moment: str | None) -> str:
    if moment is None:
        return "never"
    then = datetime.fromisoformat(moment)
    seconds = max((datetime.now(UTC) - then).total_seconds(), 0.0)
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{then:%Y-%m-%d %H:%M} UTC ({seconds / size:.0f} {unit} ago)"
    return f"{then:%Y-%m-%d %H:%M} UTC (just now)"
