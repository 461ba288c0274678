"""The same tests for every kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stores.backends.sqlite import DocumentTable
from stores.connections import open_store
from stores.errors import InputError
from stores.records import (
    BulkRecord,
    CalculationRecord,
    ReferenceRecord,
    SurfaceRecord,
    Verdict,
    Verdicts,
)
from stores.surfaces import SurfaceStore
from tests.stores.conftest import make_surface
from tests.stores.kills import in_children
from tests.stores.opening import open_collection

MakeSurface = Callable[..., SurfaceRecord]


@pytest.fixture
def store(store_uri: str) -> Iterator[SurfaceStore]:
    with open_store(store_uri) as opened:
        yield opened


def test_records_come_back_equal(store: SurfaceStore, one_of_each: list[Any]) -> None:
    assert store.add(one_of_each) == 4
    for record in one_of_each:
        assert store.get(type(record), record.id) == record
    assert store.get("surface", "surface-0") == one_of_each[0]
    assert store.get("bulks", "bulk-0") == one_of_each[1]
    assert store.get_calculation("calculation-0") == one_of_each[3]
    assert store.get_calculation("unknown") is None
    assert [store.count(collection=name) for name in ("surfaces", "bulks", "references", "calculations")] == [
        1
    ] * 4


def test_adding_twice_changes_nothing(store: SurfaceStore, surface: MakeSurface, store_uri: str) -> None:
    first = surface(1)
    later = first.model_copy(update={"created_at": first.created_at + timedelta(days=3)})
    assert store.add(first) == 1
    assert store.add([later]) == 0
    with open_store(store_uri) as again:
        assert again.add(later) == 0
    assert list(store.surfaces()) == [first]


def test_changed_record_replaces(store: SurfaceStore, surface: MakeSurface) -> None:
    store.add([surface(1), surface(2)])
    changed = surface(1, surface_energy=0.5, created_at=datetime(2026, 5, 1, tzinfo=UTC))
    assert store.add([changed, surface(2)]) == 1
    assert store.count() == 2
    assert store.get(SurfaceRecord, changed.id) == changed


def test_query(store: SurfaceStore, surface: MakeSurface) -> None:
    rejected = Verdicts(
        surface_energy=Verdict(status="negative", reason="-0.1"), work_function=Verdict(status="accepted")
    )
    store.add([surface(n) for n in range(6)])
    store.add(surface(6, chemsys="Mg-Zn", formula="MgZn2", miller_index=(0, 0, 1), verdicts=rejected))
    store.add(surface(7, surface_energy=None, work_function=None))
    properties = ["id", "miller_index", "verdicts", "surface_energy"]
    criteria = {
        "chemsys": "Ag-Mg",
        "work_function": {"$gt": 3.65},
        "verdicts.surface_energy.status": "accepted",
    }
    found = list(store.query(criteria, properties, sort={"surface_energy": -1}, skip=1, limit=2))
    assert [doc["id"] for doc in found] == ["surface-4", "surface-3"]
    assert set(found[0]) == set(properties)
    assert found[0]["miller_index"] == [1, 1, 0]
    assert found[0]["verdicts"]["work_function"] == {"status": "accepted", "reason": ""}
    assert store.count({"miller_index": (0, 0, 1)}) == 1
    assert store.count({"miller_index": [1, 1, 0]}) == 7
    assert store.count({"surface_energy": None}) == 1
    assert store.count({"$or": [{"formula": "MgZn2"}, {"surface_energy": {"$lt": 0.032}}]}) == 3
    assert store.count({"verdicts.surface_energy.status": {"$ne": "accepted"}}) == 1
    assert store.count({"termination_label": {"$regex": "^M"}, "n_atoms": {"$in": [4, 5]}}) == 8
    assert [s.id for s in store.surfaces({"chemsys": "Mg-Zn"})] == ["surface-6"]
    assert store.distinct("formula") == ["MgAg", "MgZn2"]
    full = next(iter(store.query({"id": "surface-3"})))
    assert "_id" not in full
    assert SurfaceRecord.model_validate(full) == surface(3)


def test_query_leaves_out_fields(store: SurfaceStore, surface: MakeSurface) -> None:
    store.add(surface(0))
    (found,) = store.query({}, {"slab": 0, "potential": 0, "verdicts.work_function": 0})
    assert set(found) == set(SurfaceRecord.model_fields) - {"slab", "potential", "reference_element"}
    assert set(found["verdicts"]) == {"surface_energy"}
    assert list(store.query({}, {"verdicts": 1, "verdicts.work_function": 1, "_id": 0})) == [
        {
            "verdicts": {
                name: {"status": "accepted", "reason": ""} for name in ("surface_energy", "work_function")
            }
        }
    ]


def test_missing_sorts_first(store: SurfaceStore, surface: MakeSurface) -> None:
    store.add([surface(2), surface(1, work_function=None), surface(0)])
    order = [doc["id"] for doc in store.query({}, ["id"], sort={"work_function": 1})]
    assert order == ["surface-1", "surface-0", "surface-2"]


def test_times_with_and_without_fractions_sort(store: SurfaceStore, surface: MakeSurface) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    store.add([surface(1, created_at=moment + timedelta(milliseconds=1)), surface(2, created_at=moment)])
    assert [s.id for s in store.surfaces(sort={"created_at": 1})] == ["surface-2", "surface-1"]
    assert store.count({"created_at": {"$gt": moment}}) == 1


def test_remove(store: SurfaceStore, surface: MakeSurface) -> None:
    store.add([surface(n) for n in range(5)])
    assert store.remove({"surface_energy": {"$gt": 0.0325}}) == 2
    assert store.count() == 3


def test_wrong_questions(store: SurfaceStore) -> None:
    with pytest.raises(InputError, match=r"Unknown filter operator \$gtr"):
        list(store.query({"work_function": {"$gtr": 4}}))
    with pytest.raises(InputError, match="No collection holds molecules"):
        store.count(collection="molecules")
    with pytest.raises(InputError, match="both includes and excludes"):
        list(store.query({}, {"id": 1, "slab": 0}))


def test_other_collections(store_uri: str) -> None:
    first = open_collection(store_uri, "notes", ["facet", "kind"])
    assert (
        first.upsert([{"facet": "a", "kind": 1}, {"facet": "a", "kind": 2}, {"facet": "b", "kind": 1}]) == 3
    )
    assert first.upsert({"facet": "a", "kind": 2, "text": "x"}) == 1
    second = open_collection(store_uri, "notes", ["facet", "kind"])
    assert list(second.query({"text": {"$exists": True}})) == [{"facet": "a", "kind": 2, "text": "x"}]
    assert second.count({"facet": "a"}) == 2
    with pytest.raises(InputError, match="lacks its key field 'kind'"):
        second.upsert({"facet": "c"})
    first.close()
    second.close()


def test_a_key_inside_an_object(store_uri: str) -> None:
    dotted = open_collection(store_uri, "places", "where.file")
    assert dotted.upsert([{"where": {"file": "a"}, "n": 1}, {"where": {"file": "b"}, "n": 2}]) == 2
    assert dotted.upsert({"where": {"file": "a"}, "n": 3}) == 1
    assert [doc["n"] for doc in dotted.query(sort={"n": 1})] == [2, 3]
    for document in ({"where": {}}, {"where": 1}, {}):
        with pytest.raises(InputError, match=r"lacks its key field 'where.file'"):
            dotted.upsert(document)
    dotted.close()


def _add(uri: str, first: int) -> None:
    with open_store(uri) as store:
        for number in range(first, first + 10):
            store.add(make_surface(number % 12))


def test_several_processes(store_uri: str) -> None:
    if store_uri.startswith("memory"):
        pytest.skip("in memory is in one process")
    assert in_children(*(partial(_add, store_uri, 5 * n) for n in range(3))) == [("None", 0)] * 3
    with open_store(store_uri) as store:
        assert sorted(doc["termination"] for doc in store.query()) == list(range(12))


def test_records_of_every_class(store: SurfaceStore, one_of_each: list[Any]) -> None:
    store.add(one_of_each)
    for record_class in (SurfaceRecord, BulkRecord, ReferenceRecord, CalculationRecord):
        (record,) = store.records(record_class, {"method_fingerprint": one_of_each[0].method_fingerprint})
        assert type(record) is record_class
    assert store.count({"kind": "slab_static", "output.status": "ok"}, "calculations") == 1
    assert list(
        store.query({"output.energy": {"$lt": 0}}, ["output.kpoints"], collection="calculations")
    ) == [{"output": {"kpoints": [4, 4, 1]}}]


def test_distinct_texts_are_read_from_their_column_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(str(tmp_path / "records.sqlite")) as store:
        collection = store.collection("surfaces")
        made = [{"id": "a", "formula": "MgB"}, {"id": "b", "formula": "MgA"}, {"id": "c"}]
        collection.upsert([*made, {"id": "d", "formula": "MgB", "chemsys": "B-Mg"}])
        read: list[int] = []
        plain = DocumentTable._documents

        def counted(self: Any, connection: Any, table: Any, numbers: list[int], whole: bool) -> Any:
            read.extend(numbers)
            return plain(self, connection, table, numbers, whole)

        monkeypatch.setattr(DocumentTable, "_documents", counted)
        assert store.distinct("formula") == ["MgA", "MgB"]
        assert store.distinct("formula", {"chemsys": "B-Mg"}) == ["MgB"]
        assert read == []
        # null counts as a value, and is not a text
        collection.upsert({"id": "e", "formula": None})
        assert store.distinct("formula") == ["MgA", "MgB"]
