"""`mgsurf refresh`: a new model as soon as there is enough to train it on, kept only if it is better."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.connections import open_store, resolve_store_uri
from stores.errors import InputError, MgsurfError
from stores.settings_file import resolve_work_dir
from workflows.cli.access import existing_store
from workflows.flows.refresh_check import goes_on, look

if TYPE_CHECKING:
    from model.promotion.readiness import Readiness
    from stores.learning.history import Refresh as Entry
    from workflows.cli.learning import TrainingProgress
    from workflows.flows.campaign.settings import Refresh

_PART_NAMES = {"train": "to train on", "val": "to validate", "test": "held out"}


def refresh(
    campaign: Path | None,
    *,
    store: str | None,
    changes: dict[str, Any],
    force: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train a challenger if there are enough new records, and keep it if it beats the champion.

    Parameters
    ----------
    campaign
        Its section ``refresh``, store and working folder are taken; None: the defaults.
    store
        URI that overrides the campaign's.
    changes
        Settings instead of the campaign's; None leaves one as it is.
    force
        Train even if few records are new.
    dry_run
        Say what would be done and stop.
    quiet, as_json
        As everywhere.

    Returns
    -------
    int
        Exit status: 1 if the training failed; too few records, or another process at it, are no failure.
    """
    settings, campaign_store, work_dir = _settings(campaign, changes)
    uri = resolve_store_uri(store, campaign_store)
    with existing_store(store, campaign_store) as opened:
        unfinished, found = look(opened, settings)
    if dry_run or not goes_on(unfinished, found, force=force):
        outcome = "would_refresh" if goes_on(unfinished, found, force=force) else "too_few"
        reason = f"refresh {unfinished.number} was interrupted and goes on" if unfinished else ""
        answer = {"outcome": outcome, "reason": reason or found.sentence(), "version": None}
        _print(answer, found, unfinished, as_json=as_json, details=True)
        return 0
    answer, problems = _run(uri, work_dir, settings, force=force, quiet=quiet or as_json)
    if problems:
        raise InputError("\n".join(problems))
    with open_store(uri, must_exist=True) as opened:
        _, after = look(opened, settings)
    _print(answer, after, None, as_json=as_json, details=False)
    return 0


def refresh_line(uri: str, settings: Refresh) -> str:
    """Say in one line how far a store is from its next model, without torch."""
    try:
        with open_store(uri, must_exist=True) as opened:
            unfinished, found = look(opened, settings)
    except MgsurfError as error:
        return str(error)
    if unfinished is not None:
        return f"refresh {unfinished.number} was interrupted; mgsurf refresh goes on with it"
    return f"{found.sentence()}{': mgsurf refresh trains it' if found.ready else ''}"


def _settings(campaign: Path | None, changes: dict[str, Any]) -> tuple[Refresh, str | None, Path]:
    from workflows.flows.campaign.settings import Refresh

    given = {name: value for name, value in changes.items() if value is not None}
    from pydantic import ValidationError

    own: dict[str, Any] = {}
    store = work_dir = None
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign

        loaded = load_campaign(campaign)
        own, store, work_dir = loaded.refresh.model_dump(), loaded.store, loaded.work_dir
    try:
        settings = Refresh.model_validate({**own, **given})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("min_new_records", "min-new")
        raise InputError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None
    return settings, store, resolve_work_dir(campaign=work_dir)


def _run(
    uri: str, work_dir: Path, settings: Refresh, *, force: bool, quiet: bool
) -> tuple[dict[str, Any], list[str]]:
    """Run the flow; return its output, and what failed."""
    from stores.connections import open_job_store
    from workflows.cli.learning import TrainingProgress
    from workflows.execution.listener import Tally
    from workflows.execution.local import run_local
    from workflows.execution.progress_bar import ProgressBar
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
    problems = [reason.partition(": ")[2] or reason for _, reason in tally.problems]
    if problems:
        return {}, problems
    job_store.connect()
    return dict(job_store.get_output(flow.job_uuids[0], load=True)), []


def _kept(work_dir: Path) -> str:
    folder = work_dir / "refresh"
    if not folder.is_dir():
        return "No model was trained yet."
    return (
        f"The epochs trained so far are kept in {folder}: mgsurf refresh resumes there once the store is "
        "back with the same records."
    )


class _Listener(logging.Handler):
    """Prints the steps of a refresh and moves the bar with its trainings."""

    def __init__(self, training: TrainingProgress, members: int, quiet: bool) -> None:
        super().__init__(logging.INFO)
        self._quiet = quiet
        self._member = training.member(members)

    def emit(self, record: logging.LogRecord) -> None:
        """Handle an announcement or an epoch."""
        from workflows.flows.refresh import DECISION

        if training := getattr(record, "mgsurf_training", None):
            self._member(*training)
        elif (event := getattr(record, "mgsurf_event", None)) is not None and not self._quiet:
            if event.label == DECISION:
                return  # printed at the end
            print(f"  {event.text}", file=sys.stderr)


def _print(
    answer: dict[str, Any],
    found: Readiness,
    unfinished: Entry | None,
    *,
    as_json: bool,
    details: bool,
) -> None:
    if as_json:
        numbers = asdict(found)
        left = {"unfinished": unfinished.number if unfinished else None}
        print(json.dumps({**answer, **numbers, "ready": found.ready, **left}, indent=2))
        return
    if answer["outcome"] in ("promoted", "rejected"):
        verb = "is champion" if answer["outcome"] == "promoted" else "was rejected"
        print(f"v{answer['version']} {verb}: {answer['reason']}")
        if answer.get("predicted"):
            print(f"{answer['predicted']} candidates were predicted")
        return
    print(answer["reason"])
    if details and found.accepted:
        parts = ", ".join(f"{count} {_PART_NAMES[part]}" for part, count in found.parts.items())
        print(f"compounds  {parts}; a compound's part follows from its formula alone")
        print(f"labels     {', '.join(found.targets)} by {', '.join(found.methods)}")
