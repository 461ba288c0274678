from __future__ import annotations

import logging
import os
import pkgutil
import re
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from model.training.presets import PRESETS
from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.learning.history import REFRESHES, begin_refresh, last_refresh, write_refresh
from stores.learning.leases import take_lease
from stores.learning.registry import ModelRegistry, blob_id
from stores.learning.snapshots import list_snapshots
from tests.flows.labelled_store import HELD, METHOD, MORE, OTHER, TRAIN, VAL, fill, quick_settings
from workflows.flows.campaign import values as campaign_values
from workflows.flows.refresh import TRAINING, RefreshMaker, predict_all
from workflows.flows.refresh_check import look, recipe_of
from workflows.jobs.progress import PROGRESS

PRESET_NAMES = set(PRESETS)
FAST = {"members": 1, "epochs": 4}
"""For challengers that only have to be decided about."""
WELL = {"members": 2, "epochs": 40}


@pytest.fixture(scope="session")
def graphs(tmp_path_factory):
    """One cache of graphs for all tests here."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A store with enough for a first model. Read only."""
    path = tmp_path_factory.mktemp("filled") / "results.sqlite"
    fill(f"sqlite:///{path}", TRAIN + VAL + HELD)
    return path


@pytest.fixture(scope="session")
def learned(tmp_path_factory, filled, graphs):
    """The same with a first champion. Read only."""
    folder = tmp_path_factory.mktemp("learned")
    shutil.copy(filled, folder / "results.sqlite")
    os.environ["MGSURF_CACHE"] = str(graphs)
    place = Place(folder)
    assert place.refresh(**WELL)["outcome"] == "promoted", place.said
    return folder / "results.sqlite"


def refresh_numbers(store) -> list[int]:
    """Numbers of all refreshes of a store, the last one first."""
    return [d["number"] for d in store.query({}, sort={"number": -1}, collection=REFRESHES)]


class Place:
    """A store in a folder, refreshed in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'results.sqlite'}"
        self.said: list[str] = []

    def maker(self, *, force: bool = False, **changes) -> RefreshMaker:
        settings = quick_settings(**{**FAST, **changes})
        return RefreshMaker(self.uri, str(self.folder / "work"), settings, force)

    def refresh(self, *, force: bool = False, **changes) -> dict:
        """Run the flow; return its output."""
        from jobflow import JobStore, run_locally
        from maggma.stores import MemoryStore

        (self.folder / "work").mkdir(exist_ok=True)
        handler = _Notes(self.said)
        PROGRESS.addHandler(handler)
        PROGRESS.setLevel(logging.INFO)
        store = JobStore(MemoryStore())
        try:
            flow = self.maker(force=force, **changes).make()
            run_locally(flow, log=False, store=store, root_dir=self.folder / "work", raise_immediately=True)
        finally:
            PROGRESS.removeHandler(handler)
        return store.get_output(flow.job_uuids[0], load=True)

    def registry(self):
        return ModelRegistry(open_store(self.uri))

    def look(self, **changes):
        with open_store(self.uri) as store:
            return look(store, quick_settings(**changes))


class _Notes(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.INFO)
        self.notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append(record.mgsurf_event.text)


@pytest.fixture
def place(tmp_path, filled, graphs, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(graphs))
    shutil.copy(filled, tmp_path / "results.sqlite")
    return Place(tmp_path)


@pytest.fixture
def taught(tmp_path, learned, graphs, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(graphs))
    shutil.copy(learned, tmp_path / "results.sqlite")
    return Place(tmp_path)


def test_the_campaign_file_knows_all_presets_that_slabs_are_learned_with():
    assert set(campaign_values.PRESETS) - {"quick"} == PRESET_NAMES - {"quick", "best-angles"}


def test_the_first_model_is_champion_because_it_beats_the_mean(learned):
    place = Place(learned.parent)
    registry = place.registry()
    card = registry.champion()
    log = registry.decision_log()
    assert card.version == 1
    assert log.status(1).reason.startswith("better than predicting the training mean: mean scaled error 0.")
    assert "12 held-out compounds" in log.status(1).reason
    assert card.config["split"] == "holdout"
    assert card.members == 2
    assert card.note == "trained from scratch: there was no champion"
    assert card.snapshot == list_snapshots(registry.store)[0].id
    # the hold-out's slabs, and no others, are the test part
    with open_store(place.uri) as store:
        held = store.count({"formula": {"$in": list(HELD)}})
    assert card.sizes["test"] == held
    entry = last_refresh(registry.store)
    assert (entry.outcome, entry.version, entry.finished) == ("promoted", 1, True)
    assert not any((learned.parent / "work" / "refresh").iterdir())


def test_without_news_nothing_is_trained(taught):
    answer = taught.refresh()
    assert answer["outcome"] == "too_few"
    assert answer["reason"] == (
        "0 new records since the snapshot of champion v1; missing before the next training: 25 more records"
    )
    assert len(taught.registry().cards()) == 1
    fill(taught.uri, MORE[:2])
    found = taught.look()[1]
    assert (found.new, found.untried, found.needed) == (6, 6, 25)
    assert found.missing == ("19 more records",)


def test_a_changed_value_is_news_and_a_removed_record_is_none(taught):
    fill(taught.uri, TRAIN[:1], shift=0.01)
    with open_store(taught.uri) as store:
        store.remove({"formula": TRAIN[1]})
    assert taught.look()[1].new == 3


def test_news_lead_to_a_challenger_and_a_decision_in_words(taught):
    fill(taught.uri, MORE)
    answer = taught.refresh()
    assert answer["version"] == 2
    assert answer["outcome"] in ("promoted", "rejected")
    assert "on 12 held-out compounds, difference" in answer["reason"]
    assert "surface_energy" in answer["reason"]
    assert "work_function" in answer["reason"]
    assert "training from v1" in taught.said
    card = taught.registry().card(2)
    assert "was better on validation than from" in card.note
    assert card.champion_before == 1
    again = taught.refresh()
    assert again["outcome"] == "too_few", "refused or not, the same records are not trained on again"
    assert len(taught.registry().cards()) == 2


def test_nonsense_is_refused_and_not_tried_again(taught):
    """Labels of nine compounds were shifted by far: what learns from them is worse on the hold-out."""
    fill(taught.uri, TRAIN + VAL, shift=2.0)
    answer = taught.refresh()
    assert answer["outcome"] == "rejected", answer
    assert answer["reason"].startswith("worse than v1: mean scaled error ")
    assert taught.registry().champion_version() == 1
    fill(taught.uri, MORE[:1])
    found = taught.look()[1]
    assert (found.new, found.untried, found.refused) == (51, 3, 2)
    assert found.sentence() == (
        "51 new records since the snapshot of champion v1, 3 of them since v2 was trained; "
        "missing before the next training: 22 more records"
    )


def test_too_few_say_what_is_missing(tmp_path):
    place = Place(tmp_path)
    with open_store(place.uri):
        pass
    assert place.look()[1].sentence() == (
        "0 accepted records of 0 compounds; missing before a model can be trained: 30 more records, "
        "6 more compounds to train on, 2 more compounds to validate, 6 more compounds to hold out"
    )
    fill(place.uri, (*TRAIN, *VAL[:1], *HELD[:1]))
    answer = place.refresh(force=True)
    assert answer["outcome"] == "too_few", "compounds that are missing cannot be forced"
    assert answer["reason"] == (
        "42 accepted records of 14 compounds; missing before a model can be trained: "
        "1 more compound to validate, 5 more compounds to hold out"
    )


def test_force_needs_no_news_but_does_nothing_twice(taught):
    assert taught.refresh(force=True)["version"] is not None
    versions = len(taught.registry().cards())
    again = taught.refresh(force=True)
    assert again["outcome"] in ("promoted", "rejected")
    assert len(taught.registry().cards()) <= versions + 1


def test_one_target_has_one_method(place):
    fill(place.uri, TRAIN, OTHER)
    with pytest.raises(InputError, match=r"come from several methods.*choose one"):
        place.look()
    found = place.look(method=OTHER.fingerprint[:10])[1]
    assert found.methods == (OTHER.fingerprint,)
    assert found.compounds == len(TRAIN)


def test_the_champions_method_goes_before_others(taught):
    fill(taught.uri, TRAIN + VAL + HELD, OTHER)
    found = taught.look()[1]
    assert OTHER.fingerprint not in found.methods
    assert found.new == 0
    assert taught.look(method=OTHER.fingerprint)[1].new == 84


def test_a_champion_of_another_method_is_told_in_the_reason_and_on_the_card(taught):
    fill(taught.uri, TRAIN + VAL + HELD, OTHER)
    answer = taught.refresh(method=OTHER.fingerprint)
    words = f"v1 learned from labels of {METHOD.fingerprint} and is judged by labels of {OTHER.fingerprint}"
    assert words in answer["reason"]
    assert words in taught.registry().card(2).note


def test_while_one_is_at_it_others_say_so(taught):
    fill(taught.uri, MORE)
    with open_store(taught.uri) as store, take_lease(store, "refresh"):
        answer = taught.refresh()
    assert answer["outcome"] == "busy"
    assert answer["reason"].startswith(f"Process {os.getpid()} on ")
    assert len(taught.registry().cards()) == 1


def test_a_refresh_that_another_process_began_meanwhile_stays_open(taught):
    """It was killed before it decided; predicting candidates is not the end of it."""
    maker = taught.maker()
    with open_store(taught.uri) as store:
        begin_refresh(store, list_snapshots(store)[0].id, recipe_of(maker.settings))
    decided = {"outcome": "promoted", "reason": "", "version": 1}
    assert predict_all.original(maker, decided) == {**decided, "predicted": 0}
    with open_store(taught.uri) as store:
        entry = last_refresh(store)
        assert (entry.outcome, entry.finished) == ("open", False)
        entry.outcome = "rejected"  # once that is decided it is
        write_refresh(store, entry)
    predict_all.original(maker, decided)
    with open_store(taught.uri) as store:
        assert last_refresh(store).finished


def test_who_loses_the_lease_while_training_publishes_nothing_and_says_so(taught):
    fill(taught.uri, MORE)

    class Usurper(logging.Handler):
        """Takes the lease over after the first epoch, as if this process had been held up for long."""

        def emit(self, record):
            if not hasattr(self, "lease"):
                store = held.enter_context(open_store(taught.uri))
                (last,) = store.query({}, sort={"number": -1}, limit=1, collection="leases")
                store.collection("leases").upsert({**last, "released": True})
                self.lease = held.enter_context(take_lease(store, "refresh"))

    usurper = Usurper()
    TRAINING.addHandler(usurper)
    TRAINING.setLevel(logging.INFO)
    with ExitStack() as held:
        try:
            answer = taught.refresh()
        finally:
            TRAINING.removeHandler(usurper)
        usurper.lease.check()
    assert (answer["outcome"], answer["version"]) == ("taken_over", None)
    assert answer["reason"].startswith(f"Process {os.getpid()} on ")
    assert "the model trained here was not published" in answer["reason"]
    assert "run mgsurf refresh again" in answer["reason"]
    assert "\n" not in answer["reason"]
    assert len(taught.registry().cards()) == 1
    assert taught.refresh()["version"] == 2
    assert "resuming refresh 2, which was interrupted" in taught.said


def test_a_damaged_champion_is_passed_over(taught):
    """Its weights cannot be loaded: the challenger is compared with the mean, and the log has the reason."""
    registry = taught.registry()
    file = registry.champion().weights.files[1]
    chunk = next(registry.store.query({"blob": file.sha256}, collection="blobs"))
    chunk["data"] = chunk["data"][:-8] + "AAAAAAA="
    registry.store.collection("blobs").upsert(chunk)
    fill(taught.uri, MORE)
    answer = taught.refresh()
    assert answer["version"] == 2
    assert "predicting the training mean" in answer["reason"]
    assert "No champion of" in answer["reason"]
    assert f"{file.name} of v1 is damaged" in answer["reason"]


def test_a_full_disk_is_told_and_the_champion_stays(taught, monkeypatch):
    from model.training import train as train_module

    fill(taught.uri, MORE)

    def full(path, content):
        raise StoreError(f"{path} could not be written (No space left on device): free space")

    monkeypatch.setattr("model.training.train.write_tensors", full)
    with pytest.raises(StoreError, match="No space left"):
        taught.refresh()
    assert taught.registry().champion_version() == 1
    monkeypatch.undo()
    assert train_module.write_tensors is not full
    assert taught.refresh()["version"] == 2
    assert "resuming refresh 2, which was interrupted" in taught.said


def test_a_refresh_that_cannot_succeed_does_not_stand_in_the_way(taught, monkeypatch):
    import model.promotion.challenger

    def impossible(*arguments, **options):
        raise InputError("the snapshot has lost an item")

    with monkeypatch.context() as patch:
        patch.setattr(model.promotion.challenger, "train_challenger", impossible)
        with pytest.raises(InputError, match="lost an item"):
            taught.refresh(force=True)
    with open_store(taught.uri) as store:
        failed = last_refresh(store)
    assert (failed.outcome, failed.reason, failed.finished) == (
        "abandoned",
        "the snapshot has lost an item",
        True,
    )
    fill(taught.uri, MORE)
    assert taught.refresh(force=True)["outcome"] in ("promoted", "rejected")


def test_a_champion_that_may_have_seen_the_hold_out_is_told(place):
    from model.data.dataset import SnapshotData
    from model.promotion.registration import facts_of_run, weight_files
    from model.training.runs import RunSettings, run_training
    from stores.learning.snapshots import create_snapshot

    with open_store(place.uri) as store:
        snapshot = create_snapshot(store)
        registry = ModelRegistry(store)
        quick_settings()
        data = SnapshotData(place.uri, snapshot.id, ("surface_energy", "work_function"))
        run_training(data, RunSettings("quick", epochs=5), place.folder / "run")
        card, _ = registry.add(facts_of_run(place.folder / "run"), weight_files(place.folder / "run"))
        registry.promote(card.version)
    answer = place.refresh(force=True)
    assert "v1 was trained by split random and has seen " in answer["reason"]
    assert (
        place.registry()
        .card(2)
        .note.startswith("trained from scratch: v1 was trained by split random and has seen ")
    )


def in_child(work) -> int:
    """Run a function in a child process; return how it ended, as `os.waitpid` tells."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def killed(place: Place, mark: str = "never said", step: str = "", **changes) -> bool:
    """Refresh in a process that is killed when it logs something, or calls something; False if it ended."""

    class Kill(logging.Handler):
        def emit(self, record):
            event = getattr(record, "mgsurf_event", None)
            training = getattr(record, "mgsurf_training", None)
            text = event.text if event else f"epoch {training[1].epoch.epoch} of {training[0]}"
            if mark in text:
                os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        for logger in (PROGRESS, TRAINING):
            logger.setLevel(logging.INFO)
            logger.addHandler(Kill())
        if step:
            target, name = re.split(r"[.:](?=\w+$)", step)
            setattr(pkgutil.resolve_name(target), name, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
        place.refresh(**changes)

    return in_child(work) == signal.SIGKILL


def epochs_of(place: Place) -> list[str]:
    return [text for text in place.said if text.startswith("training")]


@pytest.mark.parametrize(
    ("mark", "step"),
    [
        ("snapshot of", ""),
        ("", "workflows.flows.refresh:begin_refresh"),
        ("epoch 3 of 0", ""),
        ("", "stores.learning.registry:ModelRegistry.add"),
        ("comparing v2", ""),
        ("", "stores.learning.registry:ModelRegistry._decide"),
        ("v2 rejected", ""),
    ],
)
def test_killed_at_any_step_the_next_goes_on(taught, mark, step):
    if mark == "v2 rejected":
        fill(taught.uri, TRAIN + VAL, shift=2.0)
    else:
        fill(taught.uri, MORE)
    before = taught.registry().champion()
    assert killed(taught, mark or "never said", step)
    registry = taught.registry()
    assert registry.champion() == before
    registry.weights(registry.champion())
    begun = refresh_numbers(registry.store)
    # records that come in between belong to the refresh after this one
    fill(taught.uri, ("MgLi",))
    answer = taught.refresh()
    assert answer["version"] == 2
    assert [card.version for card in registry.cards()] == [1, 2]
    entry = last_refresh(registry.store)
    assert entry.finished
    assert entry.number == max([*begun, 2])
    state = registry.decision_log().status(2).state
    assert state == ("champion" if answer["outcome"] == "promoted" else "rejected")
    if mark in ("v2 rejected", "comparing v2") or "_decide" in step:
        assert epochs_of(taught) == [], "what was trained is not trained again"
    assert taught.refresh()["outcome"] == "too_few"


def test_a_training_goes_on_in_the_middle(taught):
    fill(taught.uri, MORE)
    killed(taught, "epoch 3 of 1", members=2)
    (state,) = (taught.folder / "work" / "refresh").glob("*/scratch/training/member-0/history.jsonl")
    assert len(state.read_text().splitlines()) == 4
    seen = []

    class Epochs(logging.Handler):
        def emit(self, record):
            seen.append((record.mgsurf_training[0], record.mgsurf_training[1].epoch.epoch))

    handler = Epochs()
    TRAINING.addHandler(handler)
    TRAINING.setLevel(logging.INFO)
    try:
        taught.refresh(members=2)
    finally:
        TRAINING.removeHandler(handler)
    assert seen[0] == (1, 4), "the first member is finished, the second goes on"


def test_two_at_once(taught):
    """One trains and decides, the other reports that; both end well."""
    fill(taught.uri, MORE)
    first = threading.Thread(target=lambda: ends.append(in_child(taught.refresh)))
    ends: list[int] = []
    first.start()
    ends.append(in_child(taught.refresh))
    first.join()
    assert ends == [0, 0]
    registry = taught.registry()
    assert [card.version for card in registry.cards()] == [1, 2]
    assert refresh_numbers(registry.store) == [2, 1]
    assert len([d for d in registry.decision_log().decisions if d.version == 2]) == 1


def test_weights_are_named_by_their_content(learned):
    registry = Place(learned.parent).registry()
    for name, content in registry.weights(registry.champion()).items():
        assert any(f.name == name and f.sha256 == blob_id(content) for f in registry.champion().weights.files)
