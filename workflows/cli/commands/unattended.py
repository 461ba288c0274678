"""Commands that keep the loop going by themselves: refresh, its schedule, rounds of active learning.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workflows.cli.options import EpochsOption, JsonOption, MethodOption, QuietOption, StoreOption
from workflows.cli.typer_app import LOOP, app


class ScheduleWay(StrEnum):
    """Scheduler of `mgsurf schedule`."""

    CRON = "cron"
    SYSTEMD = "systemd"
    SLURM = "slurm"


@app.command(rich_help_panel=LOOP)
def refresh(
    campaign: Annotated[
        Path | None,
        typer.Argument(metavar="[CAMPAIGN.yaml]", help="Whose section refresh and store are taken."),
    ] = None,
    method: MethodOption = None,
    min_new: Annotated[
        int | None,
        typer.Option("--min-new", min=1, metavar="N", help="New records below which nothing is trained."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the network: best, sem-cgcnn, ...")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, max=50, metavar="N", help="Networks of the ensemble.")
    ] = None,
    epochs: EpochsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train even if few records are new.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what is available and what is missing, and stop.")
    ] = False,
    store: StoreOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train a new model if there are enough new records; keep it only if it beats the champion.

    Safe at any time, from several hosts at once; an interrupted run is resumed.

    Examples: [cyan]mgsurf refresh --dry-run[/cyan], [cyan]mgsurf refresh campaign.yaml[/cyan]
    """
    from workflows.cli.refresh import refresh as refresh_model

    changes = {
        "method": method,
        "min_new_records": min_new,
        "preset": preset,
        "members": members,
        "epochs": epochs,
    }
    return refresh_model(
        campaign,
        store=store,
        changes=changes,
        force=force,
        dry_run=dry_run,
        quiet=quiet,
        as_json=as_json,
    )


@app.command(rich_help_panel=LOOP)
def schedule(
    campaign: Annotated[
        Path | None,
        typer.Argument(metavar="[CAMPAIGN.yaml]", help="Whose section refresh and store are taken."),
    ] = None,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="Interval between starts: 30min, 6h, 1d.")
    ] = "6h",
    show: Annotated[bool, typer.Option("--print", hidden=True)] = False,
    install: Annotated[bool, typer.Option("--install", hidden=True)] = False,
    remove: Annotated[bool, typer.Option("--remove", hidden=True)] = False,
    way: Annotated[
        ScheduleWay | None,
        typer.Option(
            "--with",
            help="Scheduler; default: the first of slurm, systemd and cron that the host has.",
            show_default=False,
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION", help="Option of the Slurm job (may be repeated): --slurm=--time=4:00:00."
        ),
    ] = None,
    store: StoreOption = None,
) -> int:
    """Print a shell script by which this host repeats mgsurf refresh: with cron, a systemd timer or Slurm.

    Its first lines are the commands that install it and remove it.

    Examples: [cyan]mgsurf schedule --every 6h[/cyan],
    [cyan]mgsurf schedule campaign.yaml --every 1d --with cron | sh[/cyan]
    """
    from workflows.cli.schedule import schedule as schedule_refresh

    changed = "install" if install else "remove" if remove else ""
    return schedule_refresh(campaign, every, way.value if way else None, changed, slurm or [], store)


@app.command(rich_help_panel=LOOP)
def rounds(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="From whose slabs is chosen.")],
    n_rounds: Annotated[
        int, typer.Option("--rounds", min=1, metavar="N", help="Rounds in all, those made before included.")
    ] = 5,
    batch: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Slabs of each round.")] = 20,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="random, uncertain, diverse or improvement.")
    ] = "diverse",
    maximise: Annotated[
        list[str] | None, typer.Option(metavar="TARGET", help="Of improvement (may be repeated).")
    ] = None,
    minimise: Annotated[
        list[str] | None, typer.Option(metavar="TARGET", help="Of improvement (may be repeated).")
    ] = None,
    per_cost: Annotated[bool, typer.Option("--per-cost", help="Rank by score per core-hour.")] = False,
    error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=X",
            help="Stop when the champion's mean absolute error on the hold-out is at most X.",
        ),
    ] = None,
    sigma: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=X", help="Stop when no candidate is more uncertain than X."),
    ] = None,
    slabs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most slabs of all rounds together.")
    ] = None,
    core_hours: Annotated[
        float | None, typer.Option(metavar="X", help="Most core-hours of all rounds, as estimated.")
    ] = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> int:
    """Learn, choose slabs, compute them here, learn again, until a stopping criterion is met.

    The same command resumes if interrupted.

    Examples: [cyan]mgsurf rounds campaign.yaml --rounds 5 -n 20[/cyan],
    [cyan]mgsurf rounds campaign.yaml --error work_function=0.1 --core-hours 500[/cyan]
    """
    from workflows.cli.rounds import run_rounds

    return run_rounds(
        campaign,
        store=store,
        batch=batch,
        strategy=strategy,
        maximise=maximise or [],
        minimise=minimise or [],
        per_cost=per_cost,
        rounds=n_rounds,
        errors=error or [],
        sigmas=sigma or [],
        slabs=slabs,
        core_hours=core_hours,
        quiet=quiet,
    )
