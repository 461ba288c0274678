"""`mgsurf refresh`: a new model as soon as there is enough to train it on, kept only if it is better."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, MgsurfError
from workflows.cli.learning import EpochsOption, TrainingProgress
from workflows.cli.options import JsonOption, MethodOption, QuietOption, RefreshArgument, StoreOption
from workflows.cli.typer_app import LOOP, app
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from workflows.execution.notifications import Notifier
    from workflows.flows.campaign.settings import Refresh

_SET_NAMES = {"train": "to train on", "val": "to validate", "test": "held out"}


@app.command(rich_help_panel=LOOP)
def refresh(
    campaign: RefreshArgument = None,
    method: MethodOption = None,
    min_new: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="New records below which nothing is trained.")
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
    from stores.connections import open_store, resolve_store_uri
    from workflows.flows.refresh_check import is_needed, look

    changes = {"method": method, "min_new_records": min_new, "preset": preset, "members": members,
               "epochs": epochs}  # fmt: skip
    settings, campaign_store, work_dir, notifier = _settings(campaign, changes)
    uri = resolve_store_uri(store, campaign_store)
    with open_store(uri, must_exist=True) as opened:
        unfinished, found = look(opened, settings)
    ready = is_needed(unfinished, found, force=force)
    number = unfinished.number if unfinished is not None else None
    if ready and not dry_run:
        with notifier:
            answer = _run(uri, work_dir, settings, force=force, quiet=quiet or as_json)
        with open_store(uri, must_exist=True) as opened:
            found, number = look(opened, settings)[1], None
    else:
        reason = found.sentence() if number is None else f"refresh {number} was interrupted and would resume"
        outcome = "would_refresh" if ready else "too_few"
        answer = {"outcome": outcome, "reason": reason, "version": None}
    if as_json:
        left = {"ready": found.ready, "unfinished": number}
        print(json.dumps({**answer, **asdict(found), **left}, indent=2))
    elif answer["outcome"] in ("promoted", "rejected"):
        verb = "is champion" if answer["outcome"] == "promoted" else "was rejected"
        print(f"v{answer['version']} {verb}: {answer['reason']}")
        if answer.get("predicted"):
            print(f"{answer['predicted']} candidates were predicted")
    else:
        print(answer["reason"])
        if found.accepted and (dry_run or not ready):
            sets = ", ".join(f"{count} {_SET_NAMES[part]}" for part, count in found.parts.items())
            print(f"compounds  {sets}; the set of a compound follows from its formula alone")
            print(f"labels     {', '.join(found.targets)} by {', '.join(found.methods)}")
    return 0


def refresh_line(uri: str, settings: Refresh) -> str:
    """Return a line on what a store lacks for its next model, without torch."""
    from stores.connections import open_store
    from workflows.flows.refresh_check import look

    try:
        with open_store(uri, must_exist=True) as opened:
            unfinished, found = look(opened, settings)
    except MgsurfError as error:
        return str(error)
    if unfinished is not None:
        return f"refresh {unfinished.number} was interrupted; mgsurf refresh resumes it"
    return f"{found.sentence()}{': mgsurf refresh trains it' if found.ready else ''}"


def _settings(campaign: Path | None, changes: dict[str, Any]) -> tuple[Refresh, str | None, Path, Notifier]:
    """Return settings, store, working folder and notifier of a campaign; `changes` override the settings."""
    from pydantic import ValidationError

    from stores.settings_file import resolve_work_dir
    from workflows.flows.campaign.settings import Refresh

    own: dict[str, Any] = {}
    store = work_dir = None
    from workflows.execution.notifications import Notifier

    notifier = Notifier(None, "")
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign

        loaded = load_campaign(campaign)
        notifier = Notifier(loaded.notify, loaded.name)
        own, store, work_dir = loaded.refresh.model_dump(), loaded.store, loaded.work_dir
    try:
        given = {name: value for name, value in changes.items() if value is not None}
        settings = Refresh.model_validate({**own, **given})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("min_new_records", "min-new")
        raise InputError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None
    return settings, store, resolve_work_dir(campaign=work_dir), notifier


def _run(uri: str, work_dir: Path, settings: Refresh, *, force: bool, quiet: bool) -> dict[str, Any]:
    """Run the flow and return its output; an InputError names what failed."""
    from stores.connections import open_job_store
    from workflows.execution.listener import Tally
    from workflows.execution.local import run_local
    from workflows.flows.refresh import TRAINING, RefreshMaker, require_torch
    from workflows.jobs.calculate import make_directory
    from workflows.jobs.progress import PROGRESS

    require_torch()
    make_directory(work_dir)
    flow = RefreshMaker(uri, str(work_dir), settings, force).make()
    job_store, tally = open_job_store(uri), Tally()
    with ProgressBar(quiet) as bar:
        handler = _Listener(TrainingProgress(bar), settings.members, quiet)
        levels = [(logger, logger.level) for logger in (PROGRESS, TRAINING)]
        for logger, _ in levels:
            logger.setLevel(logging.INFO)
            logger.addHandler(handler)
        try:
            run_local(flow, job_store, work_dir, tally, lambda _: _kept(work_dir))
        finally:
            for logger, level in levels:
                logger.removeHandler(handler)
                logger.setLevel(level)
    if tally.problems:
        raise InputError("\n".join(reason.partition(": ")[2] or reason for _, reason in tally.problems))
    job_store.connect()
    return dict(job_store.get_output(flow.job_uuids[0], load=True))


def _kept(work_dir: Path) -> str:
    folder = work_dir / "refresh"
    if not folder.is_dir():
        return "No model was trained yet."
    return (
        f"The epochs trained so far are kept in {folder}: mgsurf refresh resumes there once the store is "
        "back with the same records."
    )


class _Listener(logging.Handler):
    """Prints the steps of a refresh and advances the bar with its trainings."""

    def __init__(self, training: TrainingProgress, members: int, quiet: bool) -> None:
        super().__init__(logging.INFO)
        self._quiet = quiet
        self._member = training.member(members)

    def emit(self, record: logging.LogRecord) -> None:
        """Handle an announcement or an epoch."""
        from workflows.flows.refresh_check import DECISION

        if training := getattr(record, "mgsurf_training", None):
            self._member(*training)
        elif (event := getattr(record, "mgsurf_event", None)) is not None and not self._quiet:
            if event.label == DECISION:
                return  # printed at the end
            print(f"  {event.text}", file=sys.stderr)
