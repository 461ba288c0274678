"""`mgsurf status`: what is done, what runs, what failed."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.exclusions import excluded_line, list_excluded
from stores.input_files import read_json
from stores.settings_file import resolve_work_dir
from stores.words import counted
from workflows.cli.console import page
from workflows.cli.filters import STATUSES as VERDICTS
from workflows.cli.filters import TARGETS
from workflows.cli.query import existing_store

if TYPE_CHECKING:
    from rich.console import Console

    from stores.surfaces import SurfaceStore
    from workflows.flows.campaign_settings import Campaign

CALCULATION_KINDS = ("bulk_relax", "bulk_static", "slab_relax", "slab_static")
STATUSES = ("ok", "unconverged", "failed")
SHOWN_PROBLEMS = 20


def running_label(work_dir: Path) -> str | None:
    """Say what a run in this folder computes right now.

    Parameters
    ----------
    work_dir
        Folder of the raw files; a run keeps ``running.json`` in it.

    Returns
    -------
    str or None
        None if nothing runs. A run on another machine cannot be looked at, so it is believed.
    """
    try:
        state = read_json(work_dir / "running.json")
        pid, host, label = int(state["pid"]), str(state["host"]), str(state["label"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"{label} (on {host}, process {pid})"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, and belongs to another user
    return f"{label} (process {pid})"


def collect(store: SurfaceStore, campaign: str | None, work_dir: Path) -> dict[str, Any]:
    """Count calculations by kind and status, surfaces by verdict, and list what went wrong.

    Parameters
    ----------
    store
        Where to look.
    campaign
        Count only surfaces of this campaign; None for all. Calculations are counted for the whole store,
        because campaigns share them.
    work_dir
        Where a run may be at work.

    Returns
    -------
    dict
        Plain values, as `mgsurf status --json` prints them.
    """
    of_campaign = {"campaign": campaign} if campaign else {}
    counts = {
        kind: {
            status: store.count({"kind": kind, "output.status": status}, "calculations")
            for status in STATUSES
        }
        for kind in CALCULATION_KINDS
    }
    problems = store.query(
        {"output.status": {"$ne": "ok"}},
        ["label", "output.status", "output.reason"],
        sort={"created_at": 1},
        collection="calculations",
    )
    times = [
        document["created_at"]
        for collection in ("surfaces", "calculations")
        for document in store.query({}, ["created_at"], {"created_at": -1}, limit=1, collection=collection)
    ]
    return {
        "store": store.uri,
        "campaign": campaign,
        "running": running_label(work_dir),
        "surfaces": store.count(of_campaign),
        "compounds": store.distinct("formula", of_campaign),
        "verdicts": {target: _verdict_counts(store, target, of_campaign) for target in TARGETS},
        "excluded": dict(Counter(value["target"] for value in list_excluded(store))),
        "calculations": counts,
        "problems": [
            {"label": c["label"], "status": c["output"]["status"], "reason": c["output"].get("reason", "")}
            for c in problems
        ],
        "last_update": max(times, default=None),
    }


def _verdict_counts(store: SurfaceStore, target: str, criteria: dict[str, Any]) -> dict[str, int]:
    field = f"verdicts.{target}.status"
    counts = {status: store.count({**criteria, field: status}) for status in VERDICTS}
    return {status: number for status, number in counts.items() if number}


def show_status(campaign: Path | None, store_uri: str | None, as_json: bool) -> int:
    """Print the state of a store.

    Parameters
    ----------
    campaign
        Campaign file whose store, working folder and surfaces are meant; None for a whole store.
    store_uri
        What ``--store`` said.
    as_json
        Instead of tables.

    Returns
    -------
    int
        Exit status.
    """
    name = campaign_store = campaign_work_dir = lock = None
    if campaign is not None:
        from workflows.flows.campaign_file import load_campaign

        settings = load_campaign(campaign)
        if settings.sources is not None:
            lock = _lock_state(settings)
        name, campaign_store, campaign_work_dir = settings.name, settings.store, settings.work_dir
    with existing_store(store_uri, campaign_store) as store:
        state = collect(store, name, resolve_work_dir(campaign=campaign_work_dir))
    if lock is not None:
        state["lock"] = lock
    if as_json:
        print(json.dumps(state, indent=2))
    else:
        _print(page(), state)
    return 0


def _lock_state(campaign: Campaign) -> dict[str, Any]:
    """Return how much the lock file of a campaign lists, or what is wrong with it."""
    from stores.errors import InputError
    from workflows.flows.lock_file import campaign_lock, lock_path

    path = str(lock_path(campaign))
    try:
        compounds = campaign_lock(campaign).compounds
    except InputError as error:
        return {"path": path, "problem": str(error)}
    return {"path": path, "compounds": len(compounds), "slabs": sum(c.n_slabs for c in compounds)}


def _print(console: Console, state: dict[str, Any]) -> None:
    from rich.text import Text

    def line(name: str, text: str, style: str = "") -> None:
        console.print(Text.assemble((f"{name:<12}", "bold"), (text, style)), soft_wrap=True)

    if state["campaign"]:
        line("campaign", state["campaign"])
    if lock := state.get("lock"):
        listed = ""
        if "compounds" in lock:
            listed = f"{counted(lock['compounds'], 'compound')}, {counted(lock['slabs'], 'slab')}"
        line("lock file", lock.get("problem") or f"{listed} ({lock['path']})", "red" * ("problem" in lock))
    line("store", state["store"])
    line("running", state["running"] or "nothing", "green" if state["running"] else "dim")
    line("last update", _ago(state["last_update"]))
    compounds = ", ".join(state["compounds"][:10]) + (" ..." if len(state["compounds"]) > 10 else "")
    line("surfaces", f"{state['surfaces']}" + (f" of {compounds}" if compounds else ""))
    for target, counts in state["verdicts"].items():
        if counts:
            symbol = {"surface_energy": "γ", "work_function": "Φ"}[target]
            words = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in counts.items())
            line(f"  {symbol}", words)
    if excluded := excluded_line(state["excluded"]):
        line("excluded", excluded.removeprefix("excluded by "), "yellow")
    console.print(_calculation_table(state["calculations"]))
    for problem in state["problems"][:SHOWN_PROBLEMS]:
        style = "red" if problem["status"] == "failed" else "yellow"
        console.print(
            Text.assemble((problem["status"], style), f"  {problem['label']}: {problem['reason']}"),
            soft_wrap=True,
        )
    if len(state["problems"]) > SHOWN_PROBLEMS:
        console.print(f"... and {len(state['problems']) - SHOWN_PROBLEMS} more; --json lists all")
    if any(problem["status"] == "failed" for problem in state["problems"]):
        console.print("Failed calculations are tried again by the next mgsurf run; unconverged ones are not.")


def _calculation_table(counts: dict[str, dict[str, int]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("calculations")
    for status in (*STATUSES, "total"):
        table.add_column(status, justify="right")
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
