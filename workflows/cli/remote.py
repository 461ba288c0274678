"""`mgsurf status`, `retry`, `cancel` and `pull` on a campaign that was submitted to a queue."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import pluralize
from workflows.cli.console import print_facts, print_text
from workflows.execution.remote.project import METADATA, open_project

if TYPE_CHECKING:
    from workflows.execution.remote.status import CampaignState, Changes

SHOWN = 20
_STYLES = {"done": "green", "running": "green", "failed": "red", "cancelled": "yellow"}


def _campaign(path: Path | None) -> Any:
    if path is None:
        return None
    from workflows.flows.campaign.file import load_campaign

    return load_campaign(path)


def show_remote_status(campaign: Path | None, project: str | None, as_json: bool) -> int:
    """Print the state of a submitted campaign, or of all campaigns in a project.

    Parameters
    ----------
    campaign
        The campaign file, or None.
    project
        Name of a jobflow-remote project.
    as_json
        Instead of lines.
    """
    from workflows.execution.remote.status import state_of

    settings = _campaign(campaign)
    with open_project(project) as remote:
        state = state_of(remote, settings.name if settings else None)
    if as_json:
        print(json.dumps(asdict(state), indent=2))
    else:
        _print_state(state)
    return 0


def _print_state(state: CampaignState) -> None:
    from rich.text import Text

    facts: list[tuple[str, str | Text]] = [("project", state.project)]
    if state.campaign:
        facts.append(("campaign", state.campaign))
    counts = [(f"{number} {name}", _STYLES.get(name, "")) for name, number in state.counts.items() if number]
    parts = [part for count in counts for part in (count, (", ", ""))][:-1]
    facts.append(("jobs", Text.assemble(*parts)))
    if state.runner:
        facts.append(("runner", Text(state.runner, style="yellow")))
    if state.running:
        more = f" and {len(state.running) - SHOWN} more" if len(state.running) > SHOWN else ""
        facts.append(("running", ", ".join(state.running[:SHOWN]) + more))
    for title, style, problems in (
        ("failed", "red", state.failed),
        ("tried again", "yellow", state.troubled),
        ("no result", "yellow", state.calculations),
    ):
        lines = [f"{label}: {reason}" for label, reason in problems[:SHOWN]]
        facts += [(title, Text(line, style=style if title == "failed" else "")) for line in lines]
        if len(problems) > SHOWN:
            facts.append((title, f"and {len(problems) - SHOWN} more; --json lists all"))
    print_facts(facts)
    if state.failed or any("failed" in reason for _, reason in state.calculations):
        print_text("mgsurf retry --failed runs them again; finished calculations are not repeated.")


def retry(campaign: Path | None, project: str | None) -> int:
    """Run failed jobs again.

    Parameters
    ----------
    campaign
        The campaign file; what its `resources` say holds for everything that has not started yet.
    project
        Name of a jobflow-remote project.

    Returns
    -------
    int
        1 if a job could not be started again.
    """
    from workflows.cli.submit import plan_of
    from workflows.execution.remote.status import retry_failed

    settings = _campaign(campaign)
    with open_project(project) as remote:
        plan = None
        if settings:  # on the worker to which it was submitted last
            said = remote.need_flows(settings.name)[-1]["metadata"][METADATA]
            plan = plan_of(settings, remote, remote.worker(said.get("worker")))
        changes = retry_failed(remote, settings.name if settings else None, plan)
    if changes.requests:
        print(f"{changes.requests} jobs that have not started ask for what {campaign} says now")
    return _print_changes(changes, "will run again", "no job has failed; nothing to try again")


def cancel_campaign(campaign: Path | None, project: str | None) -> int:
    """Cancel what is not finished.

    Parameters
    ----------
    campaign
        The campaign file; None for everything in the project that mgsurf submitted.
    project
        Name of a jobflow-remote project.

    Returns
    -------
    int
        1 if a job could not be cancelled.
    """
    from workflows.execution.remote.status import cancel

    settings = _campaign(campaign)
    with open_project(project) as remote:
        changes = cancel(remote, settings.name if settings else None)
    status = _print_changes(changes, "cancelled", "every job is finished; nothing to cancel")
    if changes.jobs:
        print("finished calculations stay; mgsurf submit resumes there")
    return status


def _print_changes(changes: Changes, done: str, nothing: str) -> int:
    if not changes.jobs and not changes.kept:
        print(nothing)
    if changes.jobs:
        print(f"{pluralize(len(changes.jobs), 'job')} {done}:")
        for name in changes.jobs[:SHOWN]:
            print(f"  {name}")
        if len(changes.jobs) > SHOWN:
            print(f"  ... and {len(changes.jobs) - SHOWN} more")
    for name, reason in changes.kept:
        print(f"  not {name}: {reason}")
    return 1 if changes.kept else 0


def pull_records(campaign: Path | None, project: str | None, store_uri: str | None) -> int:
    """Bring finished records into the results store.

    Parameters
    ----------
    campaign
        The campaign file; None for all campaigns of the project.
    project
        Name of a jobflow-remote project.
    store_uri
        Value of ``--store``.

    Returns
    -------
    int
        1 if outputs were damaged.
    """
    from stores.connections import open_store, parse_uri, resolve_store_uri
    from workflows.execution.kept import kept_in_words
    from workflows.execution.remote.pull import pull
    from workflows.execution.remote.status import state_of
    from workflows.jobs.calculate import make_directory

    settings = _campaign(campaign)
    name = settings.name if settings else None
    uri = resolve_store_uri(store_uri, settings.store if settings else None)
    with open_project(project) as remote:
        remote.need_flows(name)
        place = parse_uri(uri)
        if place.kind == "sqlite":
            make_directory(Path(place.target).parent)
        stays = "The outputs of the jobs stay in the project: the same command brings all of them again."
        with kept_in_words(lambda _: stays), open_store(uri) as store:
            pulled = pull(remote, name, store)
            shown = store.uri
        unfinished = state_of(remote, name).unfinished
    words = ", ".join(
        pluralize(number, label)
        for label, number in (
            ("surface", pulled.written.get("SurfaceRecord", 0)),
            ("bulk", pulled.written.get("BulkRecord", 0)),
            ("reference", pulled.written.get("ReferenceRecord", 0)),
            ("calculation", pulled.written.get("CalculationRecord", 0)),
        )
        if number
    )
    print(
        f"{words or 'nothing'} new or changed in {shown} ({pluralize(pulled.seen, 'record')} in the project)"
    )
    if unfinished:
        print(f"{unfinished} jobs are not finished; pull again later")
    for job, problem in pulled.damaged:
        print(f"  damaged output of {job}: {problem}; mgsurf submit --again makes it anew")
    return 1 if pulled.damaged else 0
