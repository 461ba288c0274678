"""Records and stores of a newer mgsurf are refused, never misread or replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stores import records
from stores.backends import sqlite_file as database
from stores.backends.collection import SCHEMA_VERSION
from stores.connections import Place, _mongo_database, open_store, parse_uri
from stores.errors import InputError
from stores.records import SurfaceRecord
from tests.stores.opening import open_collection

MakeSurface = Callable[..., SurfaceRecord]


def _as_stored(record: SurfaceRecord, **changes: Any) -> dict[str, Any]:
    return {**record.model_dump(mode="json"), **changes}


def test_one_version_for_store_and_records() -> None:
    assert records.SCHEMA_VERSION is database.SCHEMA_VERSION is SCHEMA_VERSION


@pytest.mark.parametrize("changes", [{"new_field": 1}, {}])
def test_newer_record_is_not_read(store_uri: str, surface: MakeSurface, changes: dict[str, Any]) -> None:
    newer = _as_stored(surface(1), schema_version=SCHEMA_VERSION + 1, **changes)
    with open_store(store_uri) as store:
        store.surfaces_collection.upsert(newer)
        with pytest.raises(InputError, match=r"surface-1.*written by a newer mgsurf.*upgrade") as caught:
            store.get(SurfaceRecord, "surface-1")
        assert "\n" not in str(caught.value)


def test_damaged_record_is_named(
    store_uri: str, surface: MakeSurface, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(store_uri) as store:
        store.add(surface(2))
        store.surfaces_collection.upsert(_as_stored(surface(1), colour="red"))
        assert [record.id for record in store.surfaces()] == ["surface-2"]
    (line,) = [line for line in caplog.messages if "surface-1" in line and "is damaged (colour" in line]
    assert "\n" not in line


def test_newer_record_is_not_replaced(store_uri: str, surface: MakeSurface) -> None:
    newer = _as_stored(surface(1), schema_version=SCHEMA_VERSION + 1, new_field=7)
    with open_store(store_uri) as store:
        store.surfaces_collection.upsert(newer)
        for write in (
            lambda: store.add([surface(2), surface(1)]),
            lambda: store.surfaces_collection.upsert([_as_stored(surface(1))]),
        ):
            with pytest.raises(InputError, match=r"surface-1.*newer mgsurf.*upgrade"):
                write()
        assert [doc["new_field"] for doc in store.query({"id": "surface-1"})] == [7]
        assert store.count({"id": "surface-2"}) == 0  # all or nothing


def test_newer_record_replaces_and_is_replaced(store_uri: str) -> None:
    things = open_collection(store_uri, "things")
    things.upsert({"id": "a", "schema_version": 1, "x": 1})
    things.upsert({"id": "a", "schema_version": 2, "x": 2})
    things.upsert({"id": "a", "schema_version": 2, "x": 3})
    assert [doc["x"] for doc in things.query()] == [3]
    things.close()


@pytest.fixture
def mongo(store_uri: str) -> Any:
    """The raw database of a store that is not a file."""
    place: Place = parse_uri(store_uri)
    if place.kind == "sqlite":
        pytest.skip("tests/stores/test_documents.py::test_newer_version")
    if place.kind == "folder":
        pytest.skip("tests/stores/test_folder.py")
    return _mongo_database(place)


def test_newer_database_is_refused(store_uri: str, surface: MakeSurface, mongo: Any) -> None:
    with open_store(store_uri) as store:
        store.add(surface(1))
    assert mongo["mgsurf_meta"].find_one() == {"_id": "layout", "version": SCHEMA_VERSION}
    mongo["mgsurf_meta"].update_one({"_id": "layout"}, {"$set": {"version": 99}})
    with pytest.raises(InputError, match=r"newer mgsurf \(schema version 99.*upgrade mgsurf"):
        open_store(store_uri)


def test_opening_writes_nothing(store_uri: str, surface: MakeSurface, mongo: Any) -> None:
    with open_store(store_uri) as store:
        assert store.count() == 0
        assert list(store.surfaces()) == []
        assert mongo.list_collection_names() == []
        store.add(surface(1))
        assert set(mongo.list_collection_names()) == {"surfaces", "mgsurf_meta"}
        indexes = mongo["surfaces"].index_information()
        assert indexes["id_1"]["unique"] and "work_function_1" in indexes
