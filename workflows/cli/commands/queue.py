"""Commands that hand campaigns to a queue and fetch what it computed.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.cli.options import (
    CampaignArgument,
    ProjectOption,
    StoreOption,
)
from workflows.cli.typer_app import QUEUE, app


@app.command(rich_help_panel=QUEUE)
def submit(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")],
    project: ProjectOption = None,
    worker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Worker of the project; the first by default.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Submit once more what was submitted before.")
    ] = False,
    retry_unconverged: Annotated[
        bool,
        typer.Option("--retry-unconverged", help="The same, and run again what did not converge."),
    ] = False,
) -> int:
    """Hand a campaign to Slurm, PBS or SGE through jobflow-remote.

    Example: [cyan]mgsurf submit campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.submit import submit_campaign

    return submit_campaign(campaign, project, worker, again, retry_unconverged)


@app.command(rich_help_panel=QUEUE)
def pull(campaign: CampaignArgument = None, project: ProjectOption = None, store: StoreOption = None) -> int:
    """Bring finished records from the queue into the results store, as often as you like.

    Example: [cyan]mgsurf pull campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.remote import pull_records

    return pull_records(campaign, project, store)


@app.command(rich_help_panel=QUEUE)
def retry(
    campaign: CampaignArgument = None,
    project: ProjectOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Jobs that failed, or were rejected.")] = False,
) -> int:
    """Run failed jobs again; with a campaign file, with the resources it specifies now.

    Example: [cyan]mgsurf retry --failed --project cluster[/cyan]
    """
    from workflows.cli.remote import retry as retry_jobs

    if not failed:
        raise typer.BadParameter("say which jobs: --failed", param_hint="'--failed'")
    return retry_jobs(campaign, project)


@app.command(rich_help_panel=QUEUE)
def cancel(campaign: CampaignArgument = None, project: ProjectOption = None) -> int:
    """Cancel the jobs of a campaign that are not finished; results stay.

    Example: [cyan]mgsurf cancel campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.remote import cancel_campaign

    return cancel_campaign(campaign, project)
