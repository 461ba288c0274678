"""From new records to a model that is kept or refused.

The jobs are few because each can be killed: the process that trains holds a lease from the snapshot to the
decision (`stores.learning.leases`) and stores its progress (`stores.learning.history`), at which the next
refresh resumes. Jobs run on the machine where the store is; those of a queue only make records.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Flow, JobConfig, Maker, OnMissing, Response, job

from stores.connections import open_store
from stores.errors import InputError, install_command, pluralize
from stores.learning.history import begin_refresh, last_refresh, write_refresh
from stores.learning.leases import HeldError, LeaseLostError, take_lease
from stores.records import content_hash
from workflows.flows.campaign.settings import Refresh
from workflows.flows.refresh_check import DECISION, is_needed, look, recipe_of
from workflows.jobs.progress import Stage, announce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.promotion.readiness import Readiness
    from model.training.train import Progress
    from stores.learning.history import Refresh as Entry
    from stores.surfaces import SurfaceStore

LEASE = "refresh"
LABEL = "refresh"
"""Of announcements."""

TRAINING = logging.getLogger("mgsurf.training")
"""Each epoch as a log record with the attribute ``mgsurf_training``: number of the member, `Progress`."""
TRAINING.addHandler(logging.NullHandler())


@dataclass
class RefreshMaker(Maker):
    """A refresh of a store's model.

    1. Count the records that are new since the champion's snapshot; stop if they are too few.
    2. Snapshot, train an ensemble from scratch and from the champion, compare on the hold-out, decide.
    3. Predict the candidates that the champion has not predicted.

    Parameters
    ----------
    store
        URI.
    work_dir
        Folder in which unfinished trainings are kept, under ``refresh``.
    settings
        Of the campaign file.
    force
        Train even if few records are new.
    """

    store: str
    work_dir: str
    settings: Refresh = field(default_factory=Refresh)
    force: bool = False
    name: str = "refresh"

    def make(self, after: Sequence[Any] = ()) -> Flow:
        """Build the flow.

        Parameters
        ----------
        after
            Outputs of jobs that must have ended before, even if they failed.

        Returns
        -------
        Flow
            Its output is ``{"outcome", "reason", "version"}``: the outcome is too_few, busy, promoted or
            rejected; or taken_over, if this process stalled for so long that another took its place.
        """
        check = check_records(self, list(after))
        check.config = JobConfig(on_missing_references=OnMissing.NONE)
        return Flow([check], output=check.output, name=self.name)

    def folder(self, entry: Entry) -> Path:
        """Return the folder of a refresh: the same for the same snapshot and recipe."""
        key = content_hash([self.store, entry.snapshot, entry.recipe], 16)
        return Path(self.work_dir) / "refresh" / key


def require_torch() -> None:
    """Raise `InputError` unless torch is installed, without importing it."""
    if find_spec("torch") is None:
        raise InputError(
            f"a refresh trains a network, which needs torch: {install_command('model')}; or set "
            "refresh.after_campaign to false"
        )


@job(name="check new records")
def check_records(maker: RefreshMaker, after: list[Any]) -> Any:
    """Stop if there is too little to train on; else replace this job by training and predictions.

    `after` only orders the jobs.
    """
    with open_store(maker.store) as store:
        unfinished, found = look(store, maker.settings)
    if not is_needed(unfinished, found, force=maker.force):
        announce(Stage.NOTE, LABEL, text=found.sentence())
        return Response(output={"outcome": "too_few", "reason": found.sentence(), "version": None})
    train = retrain(maker)
    predict = predict_all(maker, train.output)
    return Response(replace=Flow([train, predict], output=predict.output, name="refresh"))


@job(name="train and decide")
def retrain(maker: RefreshMaker) -> dict[str, Any]:
    """Train a challenger and decide about it, or resume one that was interrupted."""
    from stores.files import InUseError
    from stores.learning.registry import DamagedWeightsError

    require_torch()
    try:
        with open_store(maker.store) as store, take_lease(store, LEASE, waiting=_waiting) as lease:
            if lease.taken_over_from:
                _report(f"{lease.taken_over_from} ended during a refresh; resuming it")
            entry, found = look(store, maker.settings)  # again: another process may just have finished
            if not is_needed(entry, found, force=maker.force):
                return {"outcome": "too_few", "reason": found.sentence(), "version": None}
            if entry is None:
                entry = _begin(store, maker, found)
            else:
                _report(f"resuming refresh {entry.number}, which was interrupted")
            if entry.outcome == "open":
                try:
                    _train_and_decide(store, maker, entry, lease.check)
                except (InputError, DamagedWeightsError) as error:
                    # what would fail the same way every time must not stand in the way of the next refresh
                    if not isinstance(error, InUseError):
                        entry.outcome, entry.reason, entry.finished = "abandoned", str(error), True
                        write_refresh(store, entry)
                    raise
            return {"outcome": entry.outcome, "reason": entry.reason, "version": entry.version}
    except HeldError as error:
        return _busy(error)
    except LeaseLostError as error:
        reason = (
            f"{str(error).partition(';')[0]}; the model trained here was not published: "
            "run mgsurf refresh again for the result of the other, or to resume it"
        )
        _report(reason)
        return {"outcome": "taken_over", "reason": reason, "version": None}


@job(name="predict candidates")
def predict_all(maker: RefreshMaker, decided: dict[str, Any]) -> dict[str, Any]:
    """Predict the candidates that the champion has not predicted; this ends a refresh."""
    if decided["version"] is None:
        return decided
    try:
        with open_store(maker.store) as store, take_lease(store, LEASE, waiting=_waiting) as lease:
            count = update_predictions(store)
            lease.check()
            entry = last_refresh(store)
            # an open one is of another process that was killed: the next refresh resumes it
            if entry is not None and not entry.finished and entry.outcome != "open":
                entry.finished = True
                write_refresh(store, entry)
                from model.promotion.challenger import clear

                clear(maker.folder(entry))
    except HeldError as error:
        return _busy(error)
    except LeaseLostError:  # whoever took it over predicts them, too
        return decided
    return {**decided, "predicted": count}


def update_predictions(store: SurfaceStore) -> int:
    """Predict the candidates of a store whose numbers are not the champion's; return how many."""
    from stores.learning.candidates import CANDIDATES
    from stores.learning.registry import ModelRegistry

    registry = ModelRegistry(store)
    version = registry.champion_version()
    others = {"model": {"$ne": f"v{version}"}}
    if version is None or not store.count(others, collection=CANDIDATES):
        return 0
    from model.evaluation.stored_candidates import predict_candidates
    from model.promotion.registration import load_champion

    ensemble, card, notes = load_champion(registry)
    for note in notes:
        _report(note)
    others = {"model": {"$ne": card.name}}
    ids = [document["id"] for document in store.query(others, ["id"], collection=CANDIDATES)]
    _report(f"predicting {pluralize(len(ids), 'candidate')} with {card.name}")
    predict_candidates(store, ensemble, card.name, ids)
    return len(ids)


def _begin(store: SurfaceStore, maker: RefreshMaker, found: Readiness) -> Entry:
    from stores.learning.snapshots import create_snapshot

    last = last_refresh(store)
    if last is not None and not last.finished:  # of other settings
        last.finished = True
        if last.outcome == "open":
            last.outcome, last.reason = "abandoned", "the settings of the refresh were changed"
        write_refresh(store, last)
    records, compounds = pluralize(found.accepted, "accepted record"), pluralize(found.compounds, "compound")
    _report(f"snapshot of {records} of {compounds}")
    snapshot = create_snapshot(store, found.targets, methods=found.methods)
    return begin_refresh(store, snapshot.id, recipe_of(maker.settings))


def _train_and_decide(store: SurfaceStore, maker: RefreshMaker, entry: Entry, still_ours: Any) -> None:
    from model.data.dataset import SnapshotData
    from model.promotion.challenger import decide, train_challenger
    from model.training.runs import RunSettings
    from stores.learning.registry import ModelRegistry
    from stores.learning.snapshots import find_snapshot

    registry, settings = ModelRegistry(store), maker.settings
    heads = [head.name for head in find_snapshot(store, entry.snapshot).heads]
    data = SnapshotData(maker.store, entry.snapshot, tuple(heads))
    if entry.version is None:
        card = train_challenger(
            registry,
            data,
            RunSettings(settings.preset, members=settings.members, epochs=settings.epochs),
            maker.folder(entry),
            tell=_report,
            progress=_progress(settings.members),
            before_keeping=still_ours,
        )
        still_ours()
        entry.version = card.version
        write_refresh(store, entry)
    card = registry.card(entry.version)
    action, reason = decide(registry, card, data, tell=_report)
    entry.outcome, entry.reason = ("promoted" if action == "promote" else "rejected"), reason
    write_refresh(store, entry)
    announce(Stage.NOTE, DECISION, text=f"{card.name} {entry.outcome}: {reason}")


def _progress(members: int) -> Any:
    def log(number: int, line: Progress) -> None:
        TRAINING.info(
            "member %d of %d, epoch %d",
            *(number + 1, members, line.epoch.epoch),
            extra={"mgsurf_training": (number, line)},
        )

    return log


def _report(text: str) -> None:
    announce(Stage.NOTE, LABEL, text=text)


def _waiting(owner: str) -> None:
    _report(f"{owner} started a refresh; checking whether it still runs")


def _busy(error: HeldError) -> dict[str, Any]:
    _report(str(error))
    return {"outcome": "busy", "reason": str(error), "version": None}
