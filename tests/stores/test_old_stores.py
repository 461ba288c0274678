"""Stores of an earlier mgsurf (revision f02a3ac, before documents had checksums) are read and added to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stores.backends.collection import LAYOUTS
from stores.connections import open_job_store, open_store
from stores.imported import imported_surfaces
from stores.learning.candidates import candidate_documents, known_cuts
from stores.learning.history import last_decided, rounds_of
from stores.learning.leases import take_lease
from stores.learning.registry import ModelRegistry
from stores.learning.snapshots import create_snapshot, find_snapshot, list_snapshots, snapshot_slabs
from stores.records import SurfaceRecord
from stores.surfaces import SurfaceStore
from tests.stores.conftest import make_surface

DATA = Path(__file__).with_name("data")
SNAPSHOT = "fec713f15048850548242d07"
WEIGHTS = "5d5d2d71c3958e79565779b855144718a6f9fed78893f520fb28ecd2ebbbc9b3"
COUNTS = {
    "surfaces": 3, "bulks": 2, "references": 2, "calculations": 2, "labels": 2, "candidates": 2, "cuts": 1,
    "snapshots": 1, "snapshot_items": 5, "models": 2, "model_decisions": 2, "blobs": 3, "leases": 1,
    "refreshes": 1, "rounds": 2,
    "screenings": 0,  # younger than these stores
}  # fmt: skip


@pytest.fixture(params=["sqlite", "folder"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of a copy of the old store."""
    old = DATA / "store_before_checksums"
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "old.sqlite") as database:
            database.executescript(old.with_suffix(".sql").read_text(encoding="utf-8"))
        database.close()
        return f"sqlite:///{tmp_path}/old.sqlite"
    for name, text in json.loads(old.with_suffix(".json").read_text(encoding="utf-8")).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return f"folder://{tmp_path}"


@pytest.fixture
def store(uri: str) -> Iterator[SurfaceStore]:
    with open_store(uri, must_exist=True) as opened:
        yield opened


def test_every_collection_is_there(store: SurfaceStore) -> None:
    assert COUNTS.keys() == LAYOUTS.keys() - {"jobs", "job_data"}
    assert {name: store.count(collection=name) for name in COUNTS} == COUNTS
    for name, number in COUNTS.items():
        assert len(list(store.query(collection=name))) == number


def test_records_have_their_values(store: SurfaceStore) -> None:
    surfaces = list(store.surfaces(sort={"id": 1}))
    assert [s.surface_energy for s in surfaces] == [0.03, 0.031, -0.01]
    assert [str(s.verdicts.surface_energy.status) for s in surfaces] == ["accepted", "accepted", "negative"]
    assert surfaces[0].slab == make_surface().slab
    assert surfaces[0].potential is not None and surfaces[0].potential.potential == [1.0, 2.5]
    assert [b.energy_per_formula_unit for b in store.records("bulks")] == [-4.4, -4.4]
    assert [r.energy_per_atom for r in store.records("references")] == [-1.5, -1.5]
    calculations = list(store.records("calculations", sort={"id": 1}))
    assert calculations[0].output.energy == -12.5
    assert calculations[1].output.reason == "vasp stopped: ZBRENT"
    assert store.count({"work_function": {"$gt": 3.55}, "verdicts.surface_energy.status": "accepted"}) == 1
    table = store.to_dataframe(sort={"id": 1})
    assert table.surface_energy[:2].tolist() == [0.03, 0.031] and table.surface_energy.isna()[2]


def test_external_labels_snapshot_candidates_and_history(store: SurfaceStore) -> None:
    assert [label["id"] for label in imported_surfaces(store, {})] == ["label-0", "label-1"]
    snapshot = find_snapshot(store, SNAPSHOT[:8])
    assert [(h.name, h.labels) for h in snapshot.heads] == [
        ("cleavage_energy", 2), ("surface_energy", 2), ("work_function", 3)
    ]  # fmt: skip
    slabs = list(snapshot_slabs(store, snapshot))
    assert sorted(s.record_id for s in slabs) == ["label-0", "label-1", "surface-0", "surface-1", "surface-2"]
    candidates = {c["id"]: c for c in candidate_documents(store)}
    assert candidates["candidate-0"]["predictions"]["work_function"] == {"value": 3.7, "sigma": 0.1}
    assert candidates["candidate-1"]["predictions"] == {}
    assert len(known_cuts(store, ["cut-0"])["cut-0"]["slabs"]) == 2
    assert [(r.number, r.done, r.core_hours) for r in rounds_of(store, "old")] == [
        (1, True, 12.0),
        (2, False, 10.0),
    ]
    refresh = last_decided(store)
    assert refresh is not None and (refresh.snapshot, refresh.version, refresh.outcome) == (
        SNAPSHOT,
        1,
        "promoted",
    )


def test_registered_models_keep_their_weights_and_decisions(store: SurfaceStore, tmp_path: Path) -> None:
    models = ModelRegistry(store)
    assert [(c.version, c.label, c.snapshot) for c in models.cards()] == [
        (1, "model 1", SNAPSHOT), (2, "model 2", SNAPSHOT)
    ]  # fmt: skip
    assert models.champion_version() == 1
    champion = models.card(1)
    assert {file.name: file.sha256 for file in champion.weights.files}["member-0.pt"] == WEIGHTS
    assert len(models.weights(champion)["member-0.pt"]) == 200  # whose hash is checked when they are read
    (tmp_path / "champion").mkdir()
    models.extract_champion(tmp_path / "champion")
    assert (tmp_path / "champion" / "manifest.json").read_bytes() == b"{}"
    models.promote(2)
    models.rollback("tried")
    assert models.champion_version() == 1


def test_equal_records_change_nothing_and_new_ones_are_added(store: SurfaceStore) -> None:
    old = list(store.surfaces(sort={"id": 1}))
    assert store.add(old) == 0
    assert create_snapshot(store).id == SNAPSHOT
    assert store.add([make_surface(1, work_function=3.9), make_surface(7)]) == 2
    changed = store.get(SurfaceRecord, "surface-1")
    assert changed is not None and changed.work_function == 3.9
    assert store.count() == 4
    assert create_snapshot(store).id != SNAPSHOT
    assert len(list_snapshots(store)) == 2
    with take_lease(store, "refresh") as lease:
        assert lease.number == 2


def test_outputs_of_jobs(tmp_path: Path, uri: str) -> None:
    if uri.startswith("folder"):
        pytest.skip("a folder holds records only")
    jobs: Any = open_job_store(uri)
    assert [jobs.get_output(f"job-{n}") for n in (0, 1)] == [{"energy": -12.5}, {"energy": -11.5}]
    jobs.update({"uuid": "job-2", "index": 1, "name": "slab static", "output": 1.5})
    assert jobs.count() == 3
    jobs.close()
