"""Snapshots: named by content, kept whatever becomes of the records."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stores.backends.collection import SCHEMA_VERSION
from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from stores.learning import snapshots
from stores.learning.snapshot_changes import diff_snapshots, news_since
from stores.learning.snapshots import (
    create_snapshot,
    draft_snapshot,
    find_snapshot,
    list_snapshots,
    save_snapshot,
    snapshot_slabs,
)
from stores.records import SurfaceRecord, Verdict, Verdicts
from tests.stores.kills import in_a_child, in_children, kill_at

MakeSurface = Callable[..., SurfaceRecord]
REJECTED = Verdict(status="negative", reason="below zero")  # type: ignore[arg-type]
ACCEPTED = Verdict(status="accepted")  # type: ignore[arg-type]


def label(surface: SurfaceRecord, name: str, source: str = "others", **targets: float | None) -> LabelRecord:
    return LabelRecord(
        id=f"{source}-{name}",
        source=source,
        source_id=name,
        method_fingerprint=source_fingerprint(source),
        formula="MgAg",
        chemsys="Ag-Mg",
        composition={"Mg": 2, "Ag": 2},
        n_atoms=4,
        compound="MgAg 18.200",
        slab=surface.slab,
        geometry="as_cut",
        targets=targets,
    )


def moved(surface: SurfaceRecord) -> dict[str, Any]:
    """Return its slab with one atom a hair higher."""
    slab = surface.model_dump(mode="json")["slab"]
    slab["sites"][0]["abc"][2] += 1e-12
    return slab


def test_equal_records_give_equal_snapshots(store_uri: str, surface: MakeSurface, tmp_path: Path) -> None:
    records = [surface(n) for n in range(4)]
    more = [label(records[0], str(n), cleavage_energy=0.1 + n) for n in range(2)]
    with open_store(store_uri) as store, open_store(str(tmp_path / "other.sqlite")) as other:
        store.add(records)
        add_labels(store, more)
        add_labels(other, reversed(more))
        for record in reversed(records):
            other.add(record)
        other.add(surface(9, verdicts=Verdicts(surface_energy=REJECTED, work_function=REJECTED)))
        one, two = create_snapshot(store), create_snapshot(other)
    assert one.id == two.id
    assert one.records == two.records
    assert [(h.name, h.labels) for h in one.heads] == [
        ("cleavage_energy", 2), ("surface_energy", 4), ("work_function", 4)
    ]  # fmt: skip


def test_any_other_content_gives_another_id(surface: MakeSurface) -> None:
    def of(number: int, **changes: Any) -> str:
        with open_store(f"memory://content-{number}") as store:
            store.add([surface(0), surface(1, **changes)])
            return draft_snapshot(store).snapshot.id

    base = of(0)
    other_method = surface(1).method.model_copy(update={"preset": "production"})
    assert of(1) == base
    assert of(2, surface_energy=0.5) != base
    assert of(3, slab=moved(surface(1))) != base
    assert of(4, verdicts=Verdicts(surface_energy=ACCEPTED, work_function=REJECTED)) != base
    assert of(5, campaign="another", thickness=5.0) == base  # no matter for training
    assert other_method.fingerprint != surface(1).method_fingerprint
    with pytest.raises(InputError, match="several methods"):
        of(6, method=other_method, method_fingerprint=other_method.fingerprint)


def test_making_it_again_changes_nothing(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        store.add([surface(n) for n in range(3)])
        first = create_snapshot(store)
        assert not save_snapshot(store, draft_snapshot(store))
        (only,) = list_snapshots(store)
        assert (only.id, only.created_at, only.n_records) == (first.id, first.created_at, 3)
        assert find_snapshot(store, first.id[:6]) == first


def test_what_training_reads_outlives_the_records(store_uri: str, surface: MakeSurface) -> None:
    slab = moved(surface(0))
    with open_store(store_uri) as store:
        store.add([surface(0, slab=slab), surface(1), surface(2)])
        add_labels(store, [label(surface(0), "a", surface_energy=None, cleavage_energy=0.25)])
        snapshot = create_snapshot(store)
        store.add([surface(0, work_function=9.0), surface(7)])
        store.remove({"id": "surface-1"})
        store.remove({}, collection="labels")

        kept = {one.record_id: one for one in snapshot_slabs(store, find_snapshot(store, snapshot.id))}
    assert list(kept) == ["others-a", "surface-0", "surface-1", "surface-2"]
    assert kept["surface-0"].targets == {"surface_energy": 0.03, "work_function": 3.5}
    assert kept["surface-1"].targets == {"surface_energy": 0.031, "work_function": 3.6}
    assert kept["surface-0"].same == ("bulk-0", (1, 1, 0), "Mg|Ag|0")
    assert kept["others-a"].targets == {"cleavage_energy": 0.25}
    assert kept["others-a"].compound == "MgAg 18.200"
    found = kept["surface-0"].slab
    assert found is not None
    assert [site["abc"] for site in found["sites"]] == [site["abc"] for site in slab["sites"]]
    assert found["lattice"]["matrix"] == slab["lattice"]["matrix"]
    assert [site["species"][0]["element"] for site in found["sites"]] == ["Mg", "Ag", "Mg", "Ag"]


def test_difference_of_two_snapshots(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        store.add([surface(n) for n in range(4)])
        old = create_snapshot(store)
        store.add([surface(1, work_function=9.0), surface(2, slab=moved(surface(2))), surface(8)])
        store.remove({"id": "surface-0"})
        new = create_snapshot(store)
        for later in (new, draft_snapshot(store)):
            found = diff_snapshots(store, old, later)
            assert [item["record_id"] for item in found.added] == ["surface-8"]
            assert found.added[0]["targets"] == {"surface_energy": 0.038, "work_function": 4.3}
            assert [item["record_id"] for item in found.removed] == ["surface-0"]
            value, slab = found.changed
            assert (value.record_id, value.slab_changed) == ("surface-1", False)
            assert (value.old["work_function"], value.new["work_function"]) == (3.6, 9.0)
            assert (slab.record_id, slab.slab_changed, slab.old) == ("surface-2", True, slab.new)
        same = diff_snapshots(store, old, old)
        assert same == type(same)((), (), ())


def test_news_since_a_snapshot(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        store.add([surface(n) for n in range(4)])
        old = create_snapshot(store)
        assert not any(vars(news_since(store, old)).values())
        store.add([surface(1, work_function=9.0), surface(8)])
        store.add(surface(2, verdicts=Verdicts(surface_energy=REJECTED, work_function=REJECTED)))
        store.remove({"id": "surface-0"})
        add_labels(store, [label(surface(0), "a", surface_energy=0.1)])
        news = news_since(store, old)
        assert vars(news) == {
            "added": ("surface-8",),
            "changed": ("surface-1",),
            "removed": ("surface-0", "surface-2"),
            "deleted": ("surface-0",),
            "other_methods": ("others-a",),
        }
        assert len(news_since(store, None).added) == 4


def test_one_method_for_one_target(store_uri: str, surface: MakeSurface) -> None:
    method = surface(0).method_fingerprint
    theirs = source_fingerprint("others")
    with open_store(store_uri) as store:
        store.add([surface(0), surface(1)])
        add_labels(store, [label(surface(0), "a", surface_energy=0.1, cleavage_energy=0.2)])
        with pytest.raises(InputError, match=r"surface_energy come from several methods.*--method") as caught:
            create_snapshot(store)
        assert "\n" not in str(caught.value)
        assert list_snapshots(store) == []

        ours = create_snapshot(store, methods=["gpaw-demo"])
        assert {head.method for head in ours.heads} == {method}
        assert [record for record, _ in ours.records] == ["surface-0", "surface-1"]
        apart = create_snapshot(store, separate=True)
        assert {(head.name, head.method) for head in apart.heads} == {
            ("cleavage_energy", theirs),
            (f"surface_energy@{theirs}", theirs),
            (f"surface_energy@{method}", method),
            ("work_function", method),
        }
        with pytest.raises(InputError, match="vasp is not there"):
            create_snapshot(store, methods=["vasp"])
        with pytest.raises(InputError, match="no labels band_gap"):
            create_snapshot(store, ["band_gap"])
        only = create_snapshot(store, ["work_function"])
        assert [one.targets for one in snapshot_slabs(store, only)] == [
            {"work_function": 3.5}, {"work_function": 3.6}
        ]  # fmt: skip


def test_names_that_do_not_fit_are_one_line(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        for name in ("", "abc"):
            with pytest.raises(InputError, match="has no snapshots; make one with"):
                find_snapshot(store, name)
        with pytest.raises(InputError, match="no labelled slabs"):
            create_snapshot(store)
        store.add(surface(0))
        one = create_snapshot(store)
        for n in range(1, 20):  # 20 ids and 16 digits: two begin alike
            store.add(surface(n))
            create_snapshot(store)
        firsts = [one.id[0] for one in list_snapshots(store)]
        twice = next(first for first in firsts if firsts.count(first) > 1)
        with pytest.raises(InputError, match=r"fits \w+, \w+"):
            find_snapshot(store, twice)
        for name in ("", "xyz", one.id + "0"):
            with pytest.raises(InputError, match="is not there; mgsurf snapshot list") as caught:
                find_snapshot(store, name)
            assert "\n" not in str(caught.value)


def test_lost_and_damaged_data_are_named(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        store.add([surface(n) for n in range(6)])
        snapshot = create_snapshot(store)
        items = store.collection("snapshot_items")
        (item,) = items.query({"record_id": "surface-3"})
        item["targets"]["work_function"] = 0.0
        items.upsert(item)
        with pytest.raises(StoreError, match="lost the data of record surface-3; restore"):
            list(snapshot_slabs(store, snapshot))
        items.remove({"record_id": {"$in": ["surface-0", "surface-1", "surface-2"]}})
        with pytest.raises(StoreError, match="surface-0, surface-1, surface-2 and 1 more") as caught:
            list(snapshot_slabs(store, snapshot))
        assert "\n" not in str(caught.value)

        create_snapshot(store)  # replaces it, for the records are still there
        assert len(list(snapshot_slabs(store, snapshot))) == 6

        (document,) = store.query({}, collection="snapshots")
        document["records"] = document["records"][:-1]
        store.collection("snapshots").upsert(document)
        with pytest.raises(StoreError, match="was changed or damaged"):
            find_snapshot(store, snapshot.id)


def test_newer_layouts_are_refused(store_uri: str, surface: MakeSurface) -> None:
    with open_store(store_uri) as store:
        store.add([surface(0), surface(1)])
        snapshot = create_snapshot(store)
        newer = surface(1).model_dump(mode="json") | {"schema_version": SCHEMA_VERSION + 1, "new": 1}
        store.surfaces_collection.upsert(newer)
        with pytest.raises(InputError, match=r"record surface-1 in surfaces was written by a newer mgsurf"):
            create_snapshot(store)
        assert len(list(snapshot_slabs(store, snapshot))) == 2  # the old one is read as before

        (document,) = store.query({}, collection="snapshots")
        document["schema_version"] += 1
        store.collection("snapshots").upsert(document)
        for read in (lambda: find_snapshot(store, snapshot.id), lambda: list_snapshots(store)):
            with pytest.raises(InputError, match=r"snapshot \w+ was written by a newer mgsurf.*upgrade"):
                read()


def test_a_disordered_slab_is_named(surface: MakeSurface) -> None:
    with open_store("memory://disordered") as store:
        record = surface(0).model_dump(mode="json")
        record["slab"]["sites"][0]["species"] = [{"element": "Mg", "occu": 0.5}]
        store.surfaces_collection.upsert(record)
        with pytest.raises(InputError, match="slab of record surface-0 is no ordered structure"):
            create_snapshot(store)


def test_killed_at_any_write(store_uri: str, surface: MakeSurface, monkeypatch: pytest.MonkeyPatch) -> None:
    if store_uri.startswith("memory"):
        pytest.skip("ends with its process")
    monkeypatch.setattr(snapshots, "AT_ONCE", 2)
    with open_store(store_uri) as store:
        store.add([surface(n) for n in range(5)])
    steps = 0
    for last in range(1, 10):

        def work(last: int = last) -> None:
            with open_store(store_uri) as store:
                kill_at(store, last)
                create_snapshot(store)

        _, ended_by = in_a_child(work)
        with open_store(store_uri) as store:
            if ended_by == 0:
                break
            steps += 1
            assert ended_by == signal.SIGKILL
            for one in list_snapshots(store):  # none, or a whole one
                assert len(list(snapshot_slabs(store, find_snapshot(store, one.id)))) == 5
    assert steps == 8  # before and after each of four writes
    with open_store(store_uri) as store:
        assert len(list(snapshot_slabs(store, create_snapshot(store)))) == 5


def test_full_disk(tmp_path: Path, surface: MakeSurface) -> None:
    path = tmp_path / "records.sqlite"
    with open_store(str(path)) as store:
        store.add([surface(n) for n in range(40)])

    def work() -> str:
        with open_store(str(path)) as store:
            store.count()
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            create_snapshot(store)
        return "written"

    text, _ = in_a_child(work)
    assert text.startswith("StoreError") and "disk or quota" in text and "\n" not in text, text
    with open_store(str(path)) as store:
        assert list_snapshots(store) == []
        assert store.count({}, "snapshot_items") == 0
        assert create_snapshot(store).n_records == 40


def test_several_processes_make_the_same_one(tmp_path: Path, surface: MakeSurface) -> None:
    uri = f"sqlite:///{tmp_path}/records.sqlite"
    with open_store(uri) as store:
        store.add([surface(n) for n in range(20)])

    def make() -> str:
        with open_store(uri) as store:
            return create_snapshot(store).id

    results = in_children(*[make] * 4)
    with open_store(uri) as store:
        (only,) = list_snapshots(store)
        assert results == [(only.id, 0)] * 4
        assert len(list(snapshot_slabs(store, find_snapshot(store, only.id)))) == 20
