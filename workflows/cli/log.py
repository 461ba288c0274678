"""`mgsurf log`: what a calculation has printed, found by the name of its facet."""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, MgsurfError, pluralize
from workflows.cli.console import print_note, print_table
from workflows.cli.options import ProjectOption, StoreOption
from workflows.cli.typer_app import LOOK, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflows.execution.logs import Task

SHOWN = 40
ASK_STORE = 2.0
"""Seconds between two looks at the store whether a followed calculation has ended."""

ASK_QUEUE = 15.0
"""The same of the database of a project."""

_STYLES = {"ok": "green", "done": "green", "running": "green", "failed": "red", "unconverged": "yellow"}

LogCampaign = Annotated[
    Path | None, typer.Option("--campaign", "-c", metavar="CAMPAIGN.yaml", help="Its store and folder.")
]


@app.command(rich_help_panel=LOOK)
def log(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A facet, or its calculation: 'MgAg (110)', 'MgAg bulk'.")
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what is added, until it ends or Ctrl-C.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, metavar="N", help="Last lines of the file; 0: all.")
    ] = SHOWN,
    file: Annotated[
        str | None, typer.Option("--file", metavar="NAME", help="Another file of its folder: OUTCAR.")
    ] = None,
    campaign: LogCampaign = None,
    store: StoreOption = None,
    project: ProjectOption = None,
) -> int:
    """Print the end of a calculation's log, found by the name of its facet: GPAW's text, VASP's OSZICAR, ...

    Of a facet's calculations the one that runs, else one that failed, else the latest.

    If the name fits several facets, they are listed.

    Examples: [cyan]mgsurf log "MgAg (110)"[/cyan], [cyan]mgsurf log "MgAg (110) Ag: slab relax" -f[/cyan],
    [cyan]mgsurf log "MgAg bulk" --file OUTCAR -n 0[/cyan],
    [cyan]mgsurf log "MgAg (110)" --project cluster[/cyan]
    """
    from workflows.execution.logs import most_telling

    found = _on_queue(name, campaign, project) if project is not None else _here(name, campaign, store)
    if len({task.facet for task in found}) > 1:
        print_table(_table(found))
        facets = pluralize(len({task.facet for task in found}), "facet")
        print_note(f"{facets} of that name; give one, such as mgsurf log '{found[0].facet}'")
        return 0
    task = most_telling(found)
    others = list(dict.fromkeys(one.label for one in found if one.label != task.label))
    print_note(f"{task.label}: {task.status}{f', {task.reason}' if task.reason else ''}")
    if others:
        print_note(f"also {', '.join(others)}")
    directory = _folder(task)
    ended = None
    if follow:
        ended = _end_of_job(task, campaign, project) if project else _end_of(task, store, campaign)
    return _print_log(task, directory, lines, file, ended)


def _here(name: str, campaign: Path | None, store: str | None) -> list[Task]:
    """Return the calculations of a name in the store and the working directory of a campaign."""
    from stores.connections import resolve_store_uri
    from stores.secrets import masked
    from workflows.cli.access import existing_store
    from workflows.execution.logs import chosen, tasks_here
    from workflows.report.surface_filter import parse_formula

    uri, work_dir = _places(campaign, store)
    system = None
    with suppress(InputError):
        formula = parse_formula(re.split(r"[\s(:]", name.strip())[0])
        # calculations of slabs have the slab's own formula, which need not be the compound's
        system = "-".join(sorted(set(re.findall("[A-Z][a-z]?", formula))))
    try:
        opened = existing_store(uri)
    except MgsurfError:
        if not work_dir.is_dir():  # a first run has a folder before it has a store
            raise
        return chosen(name, tasks_here(None, work_dir), str(work_dir))
    with opened:
        if system is not None:
            with suppress(InputError):  # then all names are looked at for the nearest ones
                return chosen(name, tasks_here(opened, work_dir, {"chemsys": system}), "")
        return chosen(name, tasks_here(opened, work_dir), masked(resolve_store_uri(uri)))


def _places(campaign: Path | None, store: str | None) -> tuple[str, Path]:
    """Return the store and the working directory of a campaign, or of the settings."""
    from stores.connections import resolve_store_uri
    from stores.settings_file import resolve_work_dir

    settings = None
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign

        settings = load_campaign(campaign)
    uri = resolve_store_uri(store, settings.store if settings else None)
    return uri, resolve_work_dir(campaign=settings.work_dir if settings else None)


def _on_queue(name: str, campaign: Path | None, project: str) -> list[Task]:
    from workflows.execution.logs import chosen, tasks_on_queue
    from workflows.execution.remote.project import open_project

    wanted = None
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign

        wanted = load_campaign(campaign).name
    with open_project(project) as remote:
        return chosen(name, tasks_on_queue(remote, wanted), f"project {remote.name}")


def _folder(task: Task) -> Path:
    """Return the folder of a task on this machine; InputError with the way to it if it is elsewhere."""
    from shlex import quote

    if not task.directory:
        raise InputError(f"{task.label}: {task.status}, it has no folder yet; look again when it runs")
    if task.host:
        raise InputError(
            f"{task.label}: its folder is on another machine; ssh {task.host} tail {quote(task.directory)}/*"
        )
    return Path(task.directory)


def _table(tasks: Sequence[Task]) -> Table:
    from rich.text import Text

    columns = [Column("facet", once=True), Column("calculation"), Column("status"), Column("time (UTC)")]
    table = Table(columns)
    for task in sorted(tasks, key=lambda one: (one.facet, one.moment)):
        step = task.label.removeprefix(task.facet).strip(" :")
        status = Text(task.status, style=_STYLES.get(task.status, ""))
        table.add_row(task.facet, step, status, task.moment[:16].replace("T", " "))
    return table


def _print_log(
    task: Task, directory: Path, lines: int, file: str | None, ended: Callable[[], bool] | None
) -> int:
    """Print the end of a log and what custodian corrected, then what is added until `ended`."""
    from workflows.execution.log_files import corrections, errors_in, follow, log_of, tail

    if ended is not None and not ended():
        _wait_for(directory, file, ended)
    path = log_of(directory, file)
    print_note(str(path))
    for line in corrections(directory) if file is None else ():
        print(line)
    shown, position = tail(path, lines, whole=ended is not None)
    for line in shown:
        print(line)
    if file is None and task.status == "failed":
        for extra in errors_in(directory):
            if extra != path:
                print_note(str(extra))
                print(*tail(extra, lines)[0], sep="\n")
    if ended is None:
        return 0
    sys.stdout.flush()
    try:
        for line in follow(path, position, lambda: log_of(directory, file), ended):
            print(line, flush=True)
    except KeyboardInterrupt:
        return 0
    print_note(f"{task.label}: ended")
    return 0


def _wait_for(directory: Path, file: str | None, ended: Callable[[], bool]) -> None:
    """Wait until a calculation that has just begun has a log."""
    from workflows.execution.log_files import POLL, log_of

    while not ended():
        try:
            log_of(directory, file)
            return
        except InputError:
            if not directory.is_dir():
                raise
            time.sleep(POLL)


def _end_of_job(task: Task, campaign: Path | None, project: str) -> Callable[[], bool]:
    """Return what answers whether the jobs of a facet on a queue have ended; it asks at intervals."""
    from workflows.execution.logs import RUNNING

    found, asked = [task.status == RUNNING], [time.monotonic()]

    def ended() -> bool:
        if found[0] and time.monotonic() - asked[0] > ASK_QUEUE:
            with suppress(MgsurfError):  # a database that is away for a while ends nothing
                jobs = _on_queue(task.facet, campaign, project)
                found[0] = any(job.status == RUNNING for job in jobs)
            asked[0] = time.monotonic()
        return not found[0]

    return ended


def _end_of(task: Task, store: str | None, campaign: Path | None) -> Callable[[], bool]:
    """Return what answers whether a calculation has ended: its record came, or its run computes another."""
    from workflows.cli.access import existing_store
    from workflows.execution.logs import RUNNING
    from workflows.execution.running import read_running

    if task.status != RUNNING:
        return lambda: task.status in ("ok", "failed", "unconverged", "done", "cancelled")
    uri, work_dir = _places(campaign, store)
    asked = [0.0]

    def ended() -> bool:
        running = read_running(work_dir)
        if running is not None and running.directory == task.directory:
            return False
        if time.monotonic() - asked[0] < ASK_STORE:
            return False
        asked[0] = time.monotonic()
        with suppress(MgsurfError), existing_store(uri) as opened:
            return running is None or opened.get_calculation(task.id) is not None
        return running is None

    return ended
