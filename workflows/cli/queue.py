"""`mgsurf submit`, `pull`, `retry` and `cancel`: campaigns on a queue, through jobflow-remote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_facts, print_text
from workflows.cli.options import (
    CampaignArgument,
    CampaignFile,
    ProjectOption,
    StoreOption,
    WorkerOption,
)
from workflows.cli.typer_app import QUEUE, app

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from workflows.execution.remote.project import RemoteProject
    from workflows.execution.remote.status import CampaignState, Changes
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.surface import QueuePlan

SHOWN = 20
_STYLES = {"done": "green", "running": "green", "failed": "red", "cancelled": "yellow"}


@app.command(rich_help_panel=QUEUE)
def submit(
    campaign: CampaignFile,
    project: ProjectOption = None,
    worker: WorkerOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Submit once more what was submitted before.")
    ] = False,
    retry_unconverged: Annotated[
        bool, typer.Option("--retry-unconverged", help="The same, and run again what did not converge.")
    ] = False,
) -> int:
    """Hand a campaign to Slurm, PBS or SGE through jobflow-remote.

    Example: [cyan]mgsurf submit campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.run import campaign_flow, surface_maker
    from workflows.execution.remote.project import open_project
    from workflows.execution.remote.submit import (
        alone_submitting,
        context_on_worker,
        submission_keys,
        submitted_before,
    )
    from workflows.execution.remote.submit import submit as submit_flow
    from workflows.flows.campaign.file import campaign_structures, load_campaign, runnable_structures

    settings = load_campaign(campaign)
    maker = surface_maker(settings, "memory://", Path(), None, retry_unconverged)
    structures, left_out = runnable_structures(
        settings, campaign_structures(settings), maker.context.make_engine()
    )
    for line in left_out:
        print_text(line)
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
                    print_text(f"  {entry.label}: submitted before, {known[key].lower()}")
        if not new:
            print_text(
                f"all {len(structures)} compounds of {settings.name} are in project {remote.name} already; "
                "nothing was submitted (--again does it once more; finished calculations are not repeated)"
            )
            if any(known[key] == "FAILED" for key in keys):
                again_command = f"mgsurf retry {campaign} --failed --project {remote.name}"
                print_text(f"  {again_command}   runs what failed again")
            return 0
        flow = campaign_flow(settings, maker, list(new.values()))
        labels = {key: entry.label for key, entry in new.items()}
        lease.check()  # building the flow may have taken long
        numbers = submit_flow(remote, chosen, flow, settings.name, labels)
        print_text(
            f"submitted {', '.join(labels.values())} to project {remote.name}, worker {chosen}: "
            f"{len(numbers)} jobs so far, those of the slabs follow when the bulks are relaxed"
        )
        _print_next(remote, settings, campaign)
    return 0


def plan_of(settings: Campaign, remote: RemoteProject, worker: str) -> QueuePlan | None:
    """Return the resources of a campaign's jobs; None if its file leaves them to the worker.

    Raises
    ------
    InputError
        With the place in the campaign file, if a worker is unknown or a scheduler does not know a key.
    """
    from workflows.execution.remote.requests import queue_plan

    if settings.resources is None:
        return None
    try:
        return queue_plan(settings.resources, remote.config.workers, worker)
    except InputError as error:
        raise InputError(f"{settings.where('resources')}: {error}") from None


def _print_next(remote: RemoteProject, settings: Campaign, campaign: Path) -> None:
    from rich.text import Text

    from stores.connections import resolve_store_uri
    from stores.secrets import masked
    from workflows.execution.remote.status import runner_trouble

    store = masked(resolve_store_uri(None, settings.store))
    print_text(f"  mgsurf status {campaign} --project {remote.name}   what runs, what failed and why")
    print_text(f"  mgsurf pull {campaign} --project {remote.name}     finished records into {store}")
    if trouble := runner_trouble(remote):
        print_text(Text(trouble, style="yellow"))


@app.command(rich_help_panel=QUEUE)
def pull(campaign: CampaignArgument = None, project: ProjectOption = None, store: StoreOption = None) -> int:
    """Bring finished records from the queue into the results store, as often as you like.

    Example: [cyan]mgsurf pull campaign.yaml --project cluster[/cyan]
    """
    from stores.connections import resolve_store_uri
    from workflows.cli.access import results_store
    from workflows.execution.kept import kept_in_words
    from workflows.execution.remote.project import open_project
    from workflows.execution.remote.pull import pull as pull_outputs
    from workflows.execution.remote.status import state_of

    settings = read_campaign(campaign) if campaign else None
    name = settings.name if settings else None
    uri = resolve_store_uri(store, settings.store if settings else None)
    with open_project(project) as remote:
        remote.need_flows(name)
        stays = "The outputs of the jobs stay in the project: the same command brings all of them again."
        with kept_in_words(lambda _: stays), results_store(uri) as results:
            pulled = pull_outputs(remote, name, results)
            shown = results.uri
        state = state_of(remote, name)
    unfinished = state.unfinished
    words = ", ".join(
        pluralize(number, kind.lower())
        for kind in ("Surface", "Bulk", "Reference", "Calculation")
        if (number := pulled.written.get(f"{kind}Record", 0))
    )
    print(
        f"{words or 'nothing'} new or changed in {shown} ({pluralize(pulled.seen, 'record')} in the project)"
    )
    if unfinished:
        print(f"{unfinished} jobs are not finished; pull again later")
    elif settings is not None and pulled.written:
        from workflows.execution.notifications import Notifier

        failed = pluralize(len(state.failed) + len(state.calculations), "problem")
        Notifier(settings.notify, settings.name).queue_ended(f"every job has ended: {words}; {failed}")
    for job, problem in pulled.damaged:
        print(f"  damaged output of {job}: {problem}; mgsurf submit --again computes it again")
    return 1 if pulled.damaged else 0


@app.command(rich_help_panel=QUEUE)
def retry(
    campaign: CampaignArgument = None,
    project: ProjectOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Jobs that failed, or were rejected.")] = False,
) -> int:
    """Run failed jobs again; with a campaign file, with the resources it specifies now.

    Example: [cyan]mgsurf retry --failed --project cluster[/cyan]
    """
    from workflows.execution.remote.project import METADATA, open_project
    from workflows.execution.remote.status import retry_failed
    from workflows.flows.learning.study_file import is_study

    if not failed:
        raise typer.BadParameter("name the jobs: --failed", param_hint="'--failed'")
    name = _name(campaign)
    settings = read_campaign(campaign) if campaign and not is_study(campaign) else None
    with open_project(project) as remote:
        plan = None
        if settings:  # on the worker to which it was submitted last
            metadata = remote.need_flows(settings.name)[-1]["metadata"][METADATA]
            plan = plan_of(settings, remote, remote.worker(metadata.get("worker")))
        changes = retry_failed(remote, name, plan)
    if changes.requests:
        print(f"{changes.requests} jobs that have not started get the resources that {campaign} sets now")
    return _print_changes(changes, "will run again", "no job has failed; nothing to try again")


@app.command(rich_help_panel=QUEUE)
def cancel(campaign: CampaignArgument = None, project: ProjectOption = None) -> int:
    """Cancel the jobs of a campaign that are not finished; results stay.

    Example: [cyan]mgsurf cancel campaign.yaml --project cluster[/cyan]
    """
    from workflows.execution.remote.project import open_project
    from workflows.execution.remote.status import cancel as cancel_jobs

    name = _name(campaign)
    with open_project(project) as remote:
        changes = cancel_jobs(remote, name)
    status = _print_changes(changes, "cancelled", "every job is finished; nothing to cancel")
    if changes.jobs:
        print("finished calculations and trainings stay; submitted again it resumes there")
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


def remote_status(campaign: Path | None, project: str | None) -> CampaignState:
    """Return the state of a submitted campaign, or of all campaigns in a project."""
    from workflows.execution.remote.project import open_project
    from workflows.execution.remote.status import state_of

    name = _name(campaign)
    with open_project(project) as remote:
        return state_of(remote, name)


def print_state(state: CampaignState, console: Console | None) -> None:
    """Print the state of jobs on a queue; None is stdout."""
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
        ("tried again", "", state.troubled),
        ("no result", "", state.calculations),
    ):
        facts += [(title, Text(f"{label}: {reason}", style=style)) for label, reason in problems[:SHOWN]]
        if len(problems) > SHOWN:
            facts.append((title, f"and {len(problems) - SHOWN} more; --json lists all"))
    print_facts(facts, console)
    if state.failed or any("failed" in reason for _, reason in state.calculations):
        print_text("mgsurf retry --failed runs them again; finished calculations are not repeated.", console)


def _name(path: Path | None) -> str | None:
    """Return the name of a campaign, or that under which the jobs of a study file were submitted."""
    if path is None:
        return None
    from workflows.execution.remote.study import study_name
    from workflows.flows.campaign.file import load_campaign
    from workflows.flows.learning.study_file import is_study

    return study_name(path) if is_study(path) else load_campaign(path).name


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file; InputError if it is that of a study."""
    from workflows.flows.campaign.file import load_campaign
    from workflows.flows.learning.study_file import is_study

    if is_study(path):
        raise InputError(
            f"{path}: is a study of transfer, whose trainings are in its folder: mgsurf transfer {path} -o "
            "FOLDER makes tables and figures of them, mgsurf status --project NAME shows its jobs on a queue"
        )
    return load_campaign(path)
