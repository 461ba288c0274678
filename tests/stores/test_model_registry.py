"""The registry of models: one champion at any time, whatever is killed, full, damaged or decided twice."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stores.backends.collection import SCHEMA_VERSION
from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.learning import registry
from stores.learning import registry as blobs
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ConflictError, DamagedWeightsError, ModelRegistry, get_blob, put_blob
from stores.surfaces import SurfaceStore
from tests.stores.kills import in_a_child, in_children, kill_at

METRICS = {"random": {"work_function": {"test": {"n": 8, "mae": 0.1}, "by_element": {"Ag": {"mae": 0.2}}}}}


def facts(label: str = "sem-cgcnn", **changes: Any) -> ModelFacts:
    return ModelFacts(label=label, targets=("work_function",), metrics=METRICS, **changes)


def files(number: int) -> dict[str, bytes]:
    return {"manifest.json": b"{}", "member-0.pt": f"weights {number}".encode() * 50}


@pytest.fixture
def store(store_uri: str) -> Iterator[SurfaceStore]:
    with open_store(store_uri) as store:
        yield store


def with_models(store: SurfaceStore, number: int = 3, champions: int = 0) -> ModelRegistry:
    models = ModelRegistry(store)
    for n in range(1, number + 1):
        models.add(facts(f"model {n}"), files(n))
    for n in range(1, champions + 1):
        models.promote(n)
    return models


def damage(store: SurfaceStore, version: int, how: str) -> None:
    (card,) = store.query({"version": version}, collection="models")
    (name,) = (file["sha256"] for file in card["weights"]["files"] if file["name"] == "member-0.pt")
    chunks = store.collection("blobs")
    if how == "removed":
        chunks.remove({"blob": name})
        return
    (chunk,) = chunks.query({"blob": name})
    chunk["data"] = {"changed": "AAAA" + chunk["data"][4:], "cut": chunk["data"][:8], "odd": "?"}[how]
    chunks.upsert(chunk)


def test_versions_count_up_and_cards_tell_all(store: SurfaceStore) -> None:
    models = ModelRegistry(store)
    assert models.champion_version() is None and models.champion() is None and models.cards() == []
    one, new = models.add(facts(snapshot="abc", elements=("Ag", "Mg"), seconds=12.5), files(1))
    assert new and (one.version, one.name, one.champion_before) == (1, "v1", None)
    models.promote(1, "the first")
    two, _ = models.add(facts("another"), files(2))
    assert (two.version, two.champion_before) == (2, 1)

    card = models.card(1)
    assert card == one
    assert (card.snapshot, card.elements, card.seconds, card.metrics) == ("abc", ("Ag", "Mg"), 12.5, METRICS)
    assert [file.name for file in card.weights.files] == ["manifest.json", "member-0.pt"]
    assert models.weights(card) == files(1)
    assert [card.version for card in models.cards()] == [1, 2]
    assert [models.resolve(name) for name in ("champion", "latest", "v2", "1")] == [1, 2, 2, 1]
    again, new = models.add(facts("another name"), files(1))
    assert (again, new) == (one, False)
    assert len(models.cards()) == 2


def test_states_come_with_reason_and_time(store: SurfaceStore) -> None:
    models = with_models(store)
    assert models.decision_log().status(2).state == "candidate"
    models.promote(1, "the  first\none")
    models.reject(2, "no better than v1")
    models.promote(3, "better by 5 %")
    log = models.decision_log()
    assert [log.status(n).state for n in (1, 2, 3)] == ["retired", "rejected", "champion"]
    assert log.status(1).reason == "v3 took its place"
    assert log.status(2).reason == "no better than v1"
    assert log.status(3).reason == "better by 5 %"
    assert all(log.status(n).since is not None for n in (1, 2, 3))
    assert next(d.reason for d in log.decisions) == "the first one"
    assert models.promote(3) is None  # it is already
    assert models.reject(2, "again") is None
    assert models.decision_log().next_number == 4
    with pytest.raises(InputError, match=r"v3 is the champion.*rollback"):
        models.reject(3, "no")


def test_going_back_again_and_again(store: SurfaceStore) -> None:
    models = with_models(store, champions=3)
    decision, notes = models.rollback("wrong for Mg-La")
    assert (decision.champion, decision.version, notes) == (2, 3, [])
    log = models.decision_log()
    assert [log.status(n).state for n in (1, 2, 3)] == ["retired", "champion", "retired"]
    assert log.status(3).reason == "wrong for Mg-La"
    models.rollback()
    assert models.champion_version() == 1
    with pytest.raises(InputError, match="no champion before v1 to go back to; it stays"):
        models.rollback()
    models.promote(3)
    models.promote(1)  # stands once among those to go back to
    assert models.decision_log().champions == [3, 1]
    assert models.rollback()[0].champion == 3


def test_without_models_or_champion_one_line(store: SurfaceStore) -> None:
    models = ModelRegistry(store)
    for call, words in [
        (models.rollback, "has no champion"),
        (lambda: models.resolve("champion"), "has no champion; mgsurf models promote"),
        (lambda: models.resolve("latest"), "has no models; mgsurf models add"),
        (lambda: models.resolve("best"), "'best' names no model"),
        (lambda: models.resolve("v"), "names no model"),
        (lambda: models.resolve("v²"), "names no model"),
        (lambda: models.resolve("v99999999999999999999999"), "has no model v999999999"),
        (lambda: models.promote(4), "has no model v4; mgsurf models list"),
        (lambda: models.reject(4, ""), "has no model v4"),
        (lambda: models.add(facts(), {}), "without weights"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert models.decision_log().decisions == ()


def test_order_is_by_number_not_by_time(store: SurfaceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = datetime(2030, 1, 1, tzinfo=UTC)

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            nonlocal clock
            clock -= timedelta(days=1)
            return clock

    monkeypatch.setattr(registry, "datetime", Backwards)
    models = with_models(store, champions=3)
    times = [card.created_at for card in models.cards()]
    assert times == sorted(times, reverse=True)
    assert models.champion_version() == 3
    assert models.decision_log().champions == [1, 2, 3]
    assert models.rollback()[0].champion == 2


def test_compared_with_a_champion_that_is_no_more(store: SurfaceStore) -> None:
    models = with_models(store, champions=1)
    assert models.promote(2, replacing=1) is not None
    with pytest.raises(ConflictError, match="v3 was compared with v1, but v2 is champion") as caught:
        models.promote(3, replacing=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConflictError, match="compared with no model, but v2"):
        models.promote(3, replacing=None)
    assert models.champion_version() == 2


def test_of_two_that_decide_at_once_one_is_told(store_uri: str) -> None:
    with open_store(store_uri) as store:
        models = with_models(store, 6)
        barrier = threading.Barrier(6)
        results: list[str] = []

        class Waiting(ModelRegistry):
            def weights(self, card: Any) -> dict[str, bytes]:  # between reading the log and deciding
                found = super().weights(card)
                barrier.wait(30)
                return found

        def decide(version: int) -> None:
            try:
                Waiting(store).promote(version, f"by {version}")
                results.append("won")
            except ConflictError as error:
                results.append(str(error))

        threads = [threading.Thread(target=decide, args=(n,)) for n in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 6 and results.count("won") == 1
        assert all("Another process decided" in text for text in results if text != "won")
        (decision,) = models.decision_log().decisions
        assert decision.reason == f"by {models.champion_version()}"


def test_versions_are_taken_once(store_uri: str) -> None:
    if store_uri.startswith("memory"):
        pytest.skip("ends with its process")

    def register(number: int) -> None:
        with open_store(store_uri) as store:
            for k in range(3):
                ModelRegistry(store).add(facts(f"{number}-{k}"), files(10 * number + k))
            ModelRegistry(store).add(facts("the same"), files(99))

    assert in_children(*(partial(register, n) for n in range(4))) == [("None", 0)] * 4
    with open_store(store_uri) as store:
        cards = ModelRegistry(store).cards()
        assert [card.version for card in cards] == list(range(1, 14))
        assert [card.label for card in cards].count("the same") == 1


def test_killed_at_any_step(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if store_uri.startswith("memory"):
        pytest.skip("ends with its process")
    monkeypatch.setattr(blobs, "CHUNK", 300)
    with open_store(store_uri) as store:
        with_models(store, 2, champions=2)

    def register(last: int) -> None:
        with open_store(store_uri) as store:
            kill_at(store, last)
            models = ModelRegistry(store)
            card, _ = models.add(facts(f"killed at {last}"), files(100 + last))
            models.promote(card.version, "better", replacing=2)

    seen: list[str] = []
    for last in range(1, 20):  # three chunks of weights, the card, the decision
        assert in_a_child(lambda last=last: register(last))[1] == signal.SIGKILL
        with open_store(store_uri) as store:
            models = ModelRegistry(store)
            champion = models.champion()
            assert champion is not None
            seen.append(champion.label)
            assert set(models.weights(champion)) == {"manifest.json", "member-0.pt"}
            states = [models.decision_log().status(card.version).state for card in models.cards()]
            assert states.count("champion") == 1
            if champion.version != 2:
                break
    assert len(seen) >= 10
    assert seen == ["model 2"] * (len(seen) - 1) + [f"killed at {len(seen)}"]

    def go_back(last: int) -> None:
        with open_store(store_uri) as store:
            kill_at(store, last)
            ModelRegistry(store).rollback()

    new = champion.version
    for last in range(1, 6):
        assert in_a_child(lambda last=last: go_back(last))[1] == signal.SIGKILL
        with open_store(store_uri) as store:
            champion = ModelRegistry(store).champion()
            assert champion is not None
            if champion.version != new:
                break
    assert last >= 2 and champion.version == 2


@pytest.mark.parametrize("how", ["changed", "cut", "odd", "removed"])
def test_damaged_weights_are_refused_and_passed_over(store: SurfaceStore, how: str, tmp_path: Path) -> None:
    models = with_models(store, 4, champions=3)
    damage(store, 3, how)
    damage(store, 4, how)
    with pytest.raises(DamagedWeightsError, match=r"member-0\.pt of v3 is .* in the store") as caught:
        models.weights(models.card(3))
    assert "\n" not in str(caught.value)
    with pytest.raises(DamagedWeightsError, match=r"of v4 is "):
        models.promote(4)
    assert models.champion_version() == 3

    card, notes = models.extract_champion(tmp_path)
    assert card.version == 2
    assert (tmp_path / "member-0.pt").read_bytes() == files(2)["member-0.pt"]
    assert len(notes) == 2 and "of v3" in notes[0] and "v2, is used instead" in notes[1]
    assert models.champion_version() == 3  # reading decides nothing

    damage(store, 2, how)
    decision, notes = models.rollback()
    assert decision.champion == 1 and "of v2" in notes[0]
    damage(store, 1, how)
    with pytest.raises(DamagedWeightsError, match=r"No champion of .* can be loaded: member-0\.pt of v1"):
        models.extract_champion(tmp_path)
    models.add(facts(), files(1))  # writing them again replaces them
    assert models.extract_champion(tmp_path)[0].version == 1


def test_full_disk_leaves_the_champion(tmp_path: Path) -> None:
    path = tmp_path / "models.sqlite"
    with open_store(str(path)) as store:
        with_models(store, 1, champions=1)

    def work() -> str:
        with open_store(str(path)) as store:
            models = ModelRegistry(store)
            models.champion()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
            models.add(facts(), {"member-0.pt": os.urandom(9_000_000)})
        return "written"

    text, _ = in_a_child(work)
    assert text.startswith("StoreError") and "disk or quota" in text and "\n" not in text, text
    with open_store(str(path)) as store:
        models = ModelRegistry(store)
        assert [card.version for card in models.cards()] == [1]
        assert models.champion_version() == 1
        assert models.weights(models.card(1)) == files(1)
        assert models.add(facts(), files(2))[0].version == 2


def test_newer_layouts_are_refused_and_left_alone(store: SurfaceStore) -> None:
    models = with_models(store, 2, champions=1)
    (card,) = store.query({"version": 2}, collection="models")
    store.collection("models").upsert(card | {"schema_version": SCHEMA_VERSION + 1, "new_field": 1})
    with pytest.raises(
        InputError, match=r"card of model v2 in .* written by a newer mgsurf.*upgrade"
    ) as caught:
        models.promote(2)
    assert "\n" not in str(caught.value)
    assert models.champion() == models.card(1)

    (decision,) = store.query({}, collection="model_decisions")
    newer = decision | {"schema_version": SCHEMA_VERSION + 1, "number": 2, "champion": 2, "stage": "new"}
    store.collection("model_decisions").insert(newer)
    for call in (models.champion, models.decision_log, models.rollback, lambda: models.promote(1)):
        with pytest.raises(InputError, match=r"decision 2 on models in .* newer mgsurf"):
            call()
    assert store.count({}, "model_decisions") == 2


def test_a_damaged_card_is_named(store: SurfaceStore) -> None:
    models = with_models(store, 1, champions=1)
    (card,) = store.query({}, collection="models")
    store.collection("models").upsert(card | {"members": "many"})
    with pytest.raises(StoreError, match=r"card of model v1 in .* is damaged \(members.*restore") as caught:
        models.champion()
    assert "\n" not in str(caught.value)


def test_files_of_any_size_are_kept_once(store: SurfaceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "CHUNK", 1000)
    for size in (0, 1, 999, 1000, 1001, 5000):
        content = os.urandom(size)
        name = put_blob(store, content)
        assert put_blob(store, content) == name
        assert get_blob(store, name, "it") == content
        assert store.count({"blob": name}, "blobs") == max(1, -(-size // 1000))
    store.collection("blobs").remove({"id": f"{name}-3"})
    with pytest.raises(StoreError, match="it is damaged"):
        get_blob(store, name, "it")
    with pytest.raises(StoreError, match="it is not in the store"):
        get_blob(store, "0" * 64, "it")


def test_a_document_is_inserted_once(store: SurfaceStore) -> None:
    things = store.collection("model_decisions")
    assert things.insert({"number": 1, "x": 1})
    assert not things.insert({"number": 1, "x": 2})
    assert things.insert({"number": 2, "x": 3})
    assert [doc["x"] for doc in things.query({}, sort={"number": 1})] == [1, 3]
    with pytest.raises(InputError, match="lacks its key field"):
        things.insert({"x": 1})
