"""`mgsurf submit CAMPAIGN.yaml`: the flow of `mgsurf run`, handed to a queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from stores.connections import resolve_store_uri
from stores.secrets import masked
from workflows.cli.run import campaign_flow, surface_maker
from workflows.execution.remote.project import open_project
from workflows.execution.remote.requests import queue_plan
from workflows.execution.remote.submit import (
    alone_submitting,
    context_on_worker,
    submission_keys,
    submit,
    submitted_before,
)
from workflows.flows.campaign.file import campaign_structures, load_campaign, runnable_structures

if TYPE_CHECKING:
    from workflows.execution.remote.project import RemoteProject
    from workflows.flows.campaign.file import Campaign
    from workflows.flows.surface import QueuePlan


def plan_of(settings: Campaign, remote: RemoteProject, worker: str) -> QueuePlan | None:
    """Return what the jobs of a campaign ask for; None if its file leaves that to the worker.

    Raises
    ------
    InputError
        With the place in the campaign file, if a worker is unknown or a scheduler does not know a key.
    """
    from stores.errors import InputError

    if settings.resources is None:
        return None
    try:
        return queue_plan(settings.resources, remote.config.workers, worker)
    except InputError as error:
        raise InputError(f"{settings.where('resources')}: {error}") from None


def submit_campaign(
    campaign: Path,
    project: str | None = None,
    worker: str | None = None,
    again: bool = False,
    retry_unconverged: bool = False,
) -> int:
    """Submit what was not submitted before.

    Parameters
    ----------
    campaign
        The campaign file.
    project
        Name of a jobflow-remote project.
    worker
        Where the jobs run; the project's first worker if None.
    again
        Submit compounds once more that were submitted before.
    retry_unconverged
        The same, and run calculations again that did not converge.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    MgsurfError
        If campaign, engine, project or database cannot be used.
    """
    console = Console(highlight=False, soft_wrap=True)
    settings = load_campaign(campaign)
    maker = surface_maker(settings, "memory://", Path(), None, retry_unconverged)
    structures, left_out = runnable_structures(
        settings, campaign_structures(settings), maker.context.make_engine()
    )
    for line in left_out:
        console.print(line, markup=False)
    ways = [submission_keys(maker, entry.structure, entry.facets) for entry in structures]
    with open_project(project) as remote, alone_submitting(remote.controller.db) as lease:
        chosen = remote.worker(worker)
        plan = plan_of(settings, remote, chosen)
        maker = context_on_worker(maker, remote.config.workers[chosen].work_dir, plan)
        known = submitted_before(remote, settings.name)
        keys = [next((key for key in some if key in known), some[0]) for some in ways]
        repeated = again or retry_unconverged
        new = {
            key: entry for key, entry in zip(keys, structures, strict=True) if repeated or key not in known
        }
        if not repeated:
            for key, entry in zip(keys, structures, strict=True):
                if key in known:
                    console.print(f"  {entry.label}: submitted before, {known[key].lower()}", markup=False)
        if not new:
            console.print(
                f"all {len(structures)} compounds of {settings.name} are in project {remote.name} already; "
                "nothing was submitted (--again does it once more; finished calculations are not repeated)"
            )
            if any(known[key] == "FAILED" for key in keys):
                again_command = f"mgsurf retry {campaign} --failed --project {remote.name}"
                console.print(f"  {again_command}   runs what failed again", markup=False)
            return 0
        flow = campaign_flow(settings, maker, list(new.values()))
        labels = {key: entry.label for key, entry in new.items()}
        lease.check()  # building the flow may have taken long
        numbers = submit(remote, chosen, flow, settings.name, labels)
        console.print(
            f"submitted {', '.join(labels.values())} to project {remote.name}, worker {chosen}: "
            f"{len(numbers)} jobs so far, those of the slabs follow when the bulks are relaxed",
            markup=False,
        )
        _say_next(console, remote, settings, campaign)
    return 0


def _say_next(console: Console, remote: RemoteProject, settings: Any, campaign: Path) -> None:
    from workflows.execution.remote.status import runner_trouble

    store = masked(resolve_store_uri(None, settings.store))
    console.print(f"  mgsurf status {campaign} --project {remote.name}   what runs, what failed and why")
    console.print(f"  mgsurf pull {campaign} --project {remote.name}     finished records into {store}")
    if trouble := runner_trouble(remote):
        console.print(f"[yellow]{trouble}[/yellow]")
