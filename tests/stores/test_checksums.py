from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stores.backends.checksums import (
    FIELD,
    DamagedTextError,
    check_heavy,
    seal,
    unseal,
    with_checksum,
    without_checksum,
)
from stores.backends.sqlite import DocumentTable
from stores.backends.values import dumps, loads
from stores.connections import open_store
from stores.errors import DamagedDocumentError, InputError, StoreError
from stores.records import CalculationRecord
from tests.stores.conftest import make_calculation, make_surface, old_store
from tests.stores.opening import open_collection

DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"a": None},
    {"id": "x", "n": 1.5, "list": [1, [2, {"b": "é\n"}]]},
    {"checksum": "12345678", "_checksum_": 1},
]


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("heavy", [None, b'{"slab":{"a":1}}'])
def test_sealed_text_is_json_and_comes_back(document: dict[str, Any], heavy: bytes | None) -> None:
    text = seal(dumps(document), heavy)
    assert {name: value for name, value in loads(text).items() if name != FIELD} == document
    found, checksum = unseal(text)
    assert found == document
    assert checksum == (None if heavy is None else zlib.crc32(heavy))
    assert check_heavy(heavy, checksum) == ({} if heavy is None else loads(heavy))
    assert without_checksum(with_checksum(document)) == document


@pytest.mark.parametrize("document", [DOCUMENTS[2]])
@pytest.mark.parametrize("heavy", [None, b'{"slab":{"a":1}}'])
def test_every_changed_byte_is_noticed(document: dict[str, Any], heavy: bytes | None) -> None:
    text = seal(dumps(document), heavy)
    for place in range(len(text)):
        for change in (1, 2, 16, 128, 255):
            damaged = bytearray(text)
            damaged[place] ^= change
            with pytest.raises(DamagedTextError):
                unseal(bytes(damaged))
    for end in range(len(text)):
        with pytest.raises(DamagedTextError):
            unseal(text[:end])


@pytest.mark.parametrize(
    "text", [b'{"id":"a"}', b'{"id":"a","created_at":"2026"}', b"{}", b'{"_check":1,"b":2}']
)
def test_documents_without_checksum_are_read(text: bytes) -> None:
    assert unseal(text) == (loads(text), None)


@pytest.mark.parametrize("text", [b"[]", b"3", b"", b"{", b'"x"', b"\xff\xfe"])
def test_what_is_no_object(text: bytes) -> None:
    with pytest.raises(DamagedTextError):
        unseal(text)


def change_sqlite(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def change_folder(path: Path, old: bytes, new: bytes) -> None:
    for file in path.rglob("*.json"):
        file.write_bytes(file.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("kind", "change"), [("sqlite", change_sqlite), ("folder", change_folder)], ids=["sqlite", "folder"]
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"energy":-12.5', b'"energy":-13.5'),  # another value
        (b'"energy":-12.5', b'"energy":-12."'),  # no JSON
        (b'"kind":"slab_static"', b'"kind":"slab_relax_"'),
    ],
)
def test_damaged_calculation_is_skipped_and_never_reused(
    tmp_path: Path,
    kind: str,
    change: Callable[..., None],
    old: bytes,
    new: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "store"
    uri = f"{kind}://{'/' if kind == 'sqlite' else ''}{path}"
    with open_store(uri) as store:
        store.add([make_calculation(1), make_calculation(2, output={"status": "ok", "energy": -20.0})])
        store.add(make_surface(1))
    if b"kind" in old:
        old, new = old + b',"label"', new + b',"label"'
    change(path, old, new)
    with open_store(uri, must_exist=True) as store:
        reachable = store.get(CalculationRecord, "calculation-2")
        assert store.get(CalculationRecord, "calculation-1") is None
        assert store.count() == 1
        store.query({"output.energy": {"$lt": 0}}, collection="calculations")
    lines = [line for line in caplog.messages if "calculation-1" in line]
    assert len(lines) == 1 and "calculations" in lines[0] and str(path) in lines[0]
    assert "mgsurf store restore" in lines[0] and "\n" not in lines[0]
    if b"kind" not in old:
        assert reachable is not None
        with open_store(uri) as store:  # computed again, it takes the place of the damaged one
            store.add_unless_better(make_calculation(1))
            again = store.get_calculation("calculation-1")
            assert again is not None and again.output == make_calculation(1).output


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_damaged_decision_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store"
    uri = f"{kind}://{'/' if kind == 'sqlite' else ''}{path}"
    decisions = open_collection(uri, "model_decisions")
    decisions.upsert([{"number": n, "model": f"v{n}"} for n in (1, 2)])
    decisions.close()
    (change_sqlite if kind == "sqlite" else change_folder)(path, b'"model":"v2"', b'"model":"v1"')
    with pytest.raises(DamagedDocumentError, match=r"model_decisions.*damaged") as caught:
        list(open_collection(uri, "model_decisions").query())
    assert "\n" not in str(caught.value)
    assert not open_collection(uri, "model_decisions").insert(
        {"number": 2, "model": "v3"}
    )  # its key is taken


def test_damaged_document_in_mongodb(caplog: pytest.LogCaptureFixture) -> None:
    with open_store("memory://damaged") as store:
        store.add([make_surface(1), make_surface(2)])
        raw = store.surfaces_collection._collection  # type: ignore[attr-defined]
        raw.update_one({"id": "surface-1"}, {"$set": {"work_function": 9.0}})
        assert [record.id for record in store.surfaces()] == ["surface-2"]
        assert "surface-1" in caplog.text and len(caplog.messages) == 1
        raw.update_one({"id": "surface-2"}, {"$unset": {FIELD: 1}})  # as an older mgsurf wrote it
        assert [record.id for record in store.surfaces()] == ["surface-2"]


def _store(path: Path, count: int = 30, size: int = 100) -> list[dict[str, Any]]:
    table = DocumentTable(path, "things", "id", ["system", "energy"], ["slab"])
    documents = [
        {"id": f"thing-{n:02d}", "system": "Ag-Mg", "energy": n + 0.5, "slab": {"text": "x" * size}}
        for n in range(count)
    ]
    table.upsert(documents)
    table.close()
    return documents


@pytest.mark.parametrize("sql", [
    "UPDATE things SET system = 'Mg-Zn' WHERE id = 'thing-07'",
    "DELETE FROM things WHERE id = 'thing-07'",
])  # fmt: skip
def test_column_that_contradicts_its_document_or_index(
    tmp_path: Path, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped byte in a row or in an index: the one no longer leads to the other."""
    path = tmp_path / "store.sqlite"
    documents = _store(path)
    with sqlite3.connect(path) as raw:  # the index is hidden from SQLite while the row changes
        indexes = raw.execute(
            "SELECT name, rootpage, sql FROM sqlite_master WHERE name = 'things:system'"
        ).fetchall()
        raw.execute("PRAGMA writable_schema=ON")
        raw.execute("DELETE FROM sqlite_master WHERE name = 'things:system'")
    with sqlite3.connect(path) as raw:
        raw.execute(sql)
        raw.execute("PRAGMA writable_schema=ON")
        for name, page, text in indexes:
            raw.execute("INSERT INTO sqlite_master VALUES ('index', ?, 'things', ?, ?)", (name, page, text))
    table = DocumentTable(path, "things", "id", ["system", "energy"], ["slab"])
    found = list(table.query({"system": "Ag-Mg"}, sort={"energy": 1}))
    expected = [doc for doc in documents if not (sql.startswith("DELETE") and doc["id"] == "thing-07")]
    assert found == expected and table.count({"system": "Ag-Mg"}) == len(expected)
    assert "is damaged" in caplog.text and "mgsurf store restore" in caplog.text
    with pytest.raises(StoreError, match="nothing was written"):
        table.upsert({"id": "new"})


def test_large_files_are_checked_by_document(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.sqlite"
    monkeypatch.setattr("stores.backends.sqlite_file.CHECKED_SIZE", 0)
    documents = _store(path)
    change_sqlite(path, b'"energy":7.5', b'"energy":8.5')
    table = DocumentTable(path, "things", skip_damaged=True)
    assert list(table.query()) == [doc for doc in documents if doc["energy"] != 7.5]
    assert "thing-07" in caplog.text


def test_missing_and_changed_large_fields(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    _store(path, 3)
    with sqlite3.connect(path) as raw:
        raw.execute('DELETE FROM "things.heavy" WHERE _row = 1')
        raw.execute("UPDATE \"things.heavy\" SET body = replace(body, 'xxx', 'yyy') WHERE _row = 2")
    table = DocumentTable(path, "things", skip_damaged=True)
    assert [doc["id"] for doc in table.query()] == ["thing-02"]
    assert len(list(table.query({}, ["id", "energy"]))) == 3
    assert len(list(table.query({}, ["slab.text"]))) == 1


@pytest.mark.parametrize(
    ("column", "value"), [("heavy", "replace(heavy, 'slab', 'slac')"), ("name", "'thingz'")]
)
def test_damaged_list_of_large_fields(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "store.sqlite"
    _store(path, 3)
    with sqlite3.connect(path) as raw:
        raw.execute(f"UPDATE mgsurf_collections SET {column} = {value}")
    with pytest.raises(StoreError, match="is damaged"):
        DocumentTable(path, "things").count()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old.sqlite").write_bytes(old_store())
    return tmp_path / "old.sqlite"


def test_store_of_version_1_is_read(old: Path) -> None:
    with open_store(str(old), must_exist=True) as store:
        expected = [make_surface(n, equivalent_planes=[(1, 1, 0), (1, 0, 1)]) for n in range(2)]
        assert list(store.surfaces(sort={"surface_energy": 1})) == expected
        assert store.count({"equivalent_planes": [1, 0, 1]}) == 2
        calculation = store.get_calculation("calculation-0")
        assert calculation is not None and calculation.output == make_calculation(0).output
        assert store.count({"output.status": "failed"}, collection="calculations") == 1
    things = open_collection(str(old), "things")
    for criteria, expected_ids in (
        ({"a": 2}, [1, 5]),
        ({"a": [1, 2]}, [1, 2]),
        ({"a": None}, [3, 4]),
        ({"a": {"$exists": False}}, [4]),
        ({"a": True}, [6]),
        ({"a": {"x": 1}}, [7]),
        ({"a": {"$regex": "2"}}, [8]),
        ({"a": {"$gt": 1}}, [1, 5]),
    ):
        assert [doc["id"] for doc in things.query(criteria, sort={"id": 1})] == expected_ids, criteria


def test_store_of_version_1_is_written(old: Path) -> None:
    with open_store(str(old)) as store:
        assert store.add(make_surface(0, equivalent_planes=[(1, 1, 0), (1, 0, 1)])) == 0  # unchanged
        assert store.add(make_surface(5)) == 1
        assert store.add(make_surface(1, work_function=4.5)) == 1
        assert not store.add_unless_better(make_calculation(0, output={"status": "failed", "reason": "x"}))
        assert store.remove({"id": "surface-0"}) == 1
    with open_store(str(old)) as store:
        assert [record.work_function for record in store.surfaces(sort={"id": 1})] == [4.5, 4.0]
    with sqlite3.connect(old) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
@pytest.mark.parametrize("place", ["plain", "column", "negated", "in array", "in a thread"])
def test_regex_that_takes_forever(
    tmp_path: Path, pattern: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.backends.regex_search.REGEX_SECONDS", 0.02)
    indexed = ["text"] if place == "column" else []
    table = DocumentTable(tmp_path / "store.sqlite", "things", "id", indexed)
    text = "a" * 5000 + "!"
    table.upsert({"id": 1, "text": [text] if place == "in array" else text})
    condition: dict[str, Any] = {"$regex": pattern}
    if place == "negated":
        condition = {"$not": condition}
    with pytest.raises(InputError, match="takes more than") as caught:
        if place == "in a thread":
            with ThreadPoolExecutor(1) as threads:
                threads.submit(lambda: list(table.query({"text": condition}))).result()
        list(table.query({"text": condition}))
    assert "\n" not in str(caught.value)
    assert table.count({"text": {"$regex": "^a"}}) == 1  # the timer is off again


def test_warning_is_given_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "store.sqlite"
    _store(path, 3)
    change_sqlite(path, b'"energy":1.5', b'"energy":2.5')
    table = DocumentTable(path, "things", skip_damaged=True)
    for _ in range(3):
        assert len(list(table.query())) == 2
    assert len(caplog.messages) == 1
