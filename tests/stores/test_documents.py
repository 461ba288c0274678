from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stores.backends.filters import distinct_values
from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import APPLICATION_ID, Database
from stores.errors import InputError, MgsurfError, StoreError
from tests.stores.kills import in_children

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def table(path: Path) -> DocumentTable:
    return DocumentTable(path, "surfaces", "id", ["chemsys", "miller_index", "v.status", "gamma"], ["slab"])


def documents(count: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{n:03d}",
            "chemsys": ["Ag-Mg", "Mg-Zn"][n % 2],
            "miller_index": [1, n % 2, 0],
            "gamma": None if n % 5 == 0 else 0.5 * n,
            "v": {"status": "accepted" if n % 3 else "failed", "reason": "x"},
            "slab": {"sites": [-1.5, n]},
            "tail": n,
        }
        for n in range(count)
    ]


def test_documents_come_back_as_they_were(table: DocumentTable) -> None:
    docs = documents()
    assert table.upsert(docs) == 20
    found = list(table.query())
    assert found == docs
    assert [list(doc) for doc in found] == [list(doc) for doc in docs]  # the order of fields too


def test_upsert_replaces_by_key(table: DocumentTable) -> None:
    table.upsert(documents())
    table.upsert([{"id": "003", "gamma": 1}, {"id": "003", "gamma": 2}, {"id": "new"}])
    assert table.count() == 21
    assert list(table.query({"id": "003"})) == [{"id": "003", "gamma": 2}]


def test_upsert_by_several_fields(path: Path) -> None:
    table = DocumentTable(path, "jobs", "uuid")
    table.upsert(
        [{"uuid": "u", "index": 1, "x": 1}, {"uuid": "u", "index": 2, "x": 2}], key=["uuid", "index"]
    )
    table.upsert({"uuid": "u", "index": 2, "x": 3}, key=["uuid", "index"])
    assert [doc["x"] for doc in table.query({"uuid": "u"}, sort={"index": 1})] == [1, 3]


def test_unchanged_documents_are_kept(table: DocumentTable) -> None:
    table.upsert({"id": "a", "slab": {"s": 1}, "made": "first"})
    assert table.upsert({"id": "a", "slab": {"s": 1}, "made": "later"}, keep=["made"]) == 0
    assert table.upsert({"id": "a", "slab": {"s": 2}, "made": "last"}, keep=["made"]) == 1
    assert list(table.query()) == [{"id": "a", "slab": {"s": 2}, "made": "last"}]


def test_one_bad_document_writes_none(table: DocumentTable) -> None:
    table.upsert({"id": "a"})
    with pytest.raises(InputError, match="lacks its key field 'id'"):
        table.upsert([{"id": "b"}, {"gamma": 1}])
    with pytest.raises(InputError, match="object cannot be written as JSON"):
        table.upsert([{"id": "b"}, {"id": "c", "x": object()}])
    with pytest.raises(InputError):
        table.upsert([{"id": "b"}, {"id": "c", "x": 2**70}])
    assert [doc["id"] for doc in table.query()] == ["a"]


def test_times_sort_as_text(table: DocumentTable) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = [start, start + timedelta(microseconds=5), start + timedelta(seconds=1), start.replace(year=2027)]
    elsewhere = [moment.astimezone(timezone(timedelta(hours=n))) for n, moment in enumerate(times)]
    table.upsert([{"id": str(n), "at": moment} for n, moment in enumerate(elsewhere)])
    table.ensure_index("at")
    assert [doc["id"] for doc in table.query(sort={"at": -1})] == ["3", "2", "1", "0"]
    assert table.count({"at": {"$gt": start}}) == 3
    assert table.count({"at": {"$gte": elsewhere[3], "$lt": start.replace(year=2028)}}) == 1


def test_numpy_and_nan(table: DocumentTable) -> None:
    table.upsert({"id": "a", "gamma": np.float64(0.5), "z": np.arange(3.0), "n": float("nan")})
    assert list(table.query({"gamma": np.float64(0.5)})) == [
        {"id": "a", "gamma": 0.5, "z": [0.0, 1.0, 2.0], "n": None}
    ]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (["id", "gamma"], {"id": "001", "gamma": 0.5}),
        (["miller_index", "v.status"], {"miller_index": [1, 1, 0], "v": {"status": "accepted"}}),
        (["v"], {"v": {"status": "accepted", "reason": "x"}}),
        (["v", "v.status"], {"v": {"status": "accepted", "reason": "x"}}),
        (["slab.sites", "nothing"], {"slab": {"sites": [-1.5, 1]}}),
        ({"tail": 1, "_id": 0}, {"tail": 1}),
        ({"slab": 0, "v": 0, "chemsys": 0, "miller_index": 0}, {"id": "001", "gamma": 0.5, "tail": 1}),
        ({"v.reason": 0, "slab": 0, "chemsys": 0, "tail": 0, "gamma": 0, "id": 0},
         {"miller_index": [1, 1, 0], "v": {"status": "accepted"}}),
        ([], {}),
    ],
)  # fmt: skip
def test_projection(table: DocumentTable, properties: Any, expected: dict[str, Any]) -> None:
    table.upsert(documents())
    assert list(table.query({"id": "001"}, properties)) == [expected]


def test_projection_from_columns_tells_null_from_missing(table: DocumentTable) -> None:
    table.upsert(
        [{"id": "a", "gamma": None}, {"id": "b"}, {"id": "c", "gamma": 2.0}, {"id": "d", "gamma": {"x": 1}}]
    )
    assert list(table.query({}, ["id", "gamma"])) == [
        {"id": "a", "gamma": None}, {"id": "b"}, {"id": "c", "gamma": 2.0}, {"id": "d", "gamma": {"x": 1}}
    ]  # fmt: skip


def test_wrong_projection_and_order(table: DocumentTable) -> None:
    table.upsert(documents())
    with pytest.raises(InputError, match="both includes and excludes"):
        list(table.query({}, {"id": 1, "slab": 0}))
    with pytest.raises(InputError, match="give each field 1"):
        list(table.query({}, {"id": {"$slice": 1}}))
    with pytest.raises(InputError, match="Sort gamma by 1"):
        list(table.query({}, sort={"gamma": "up"}))


def test_order_skip_limit(table: DocumentTable) -> None:
    docs = documents()
    table.upsert(docs)
    by_gamma = sorted(docs, key=lambda doc: (doc["gamma"] is not None, doc["gamma"] or 0))
    found = list(table.query({}, ["gamma"], sort={"gamma": 1}))
    assert [doc["gamma"] for doc in found] == [doc["gamma"] for doc in by_gamma]
    expected = sorted(docs, key=lambda doc: doc["tail"], reverse=True)
    expected = sorted(expected, key=lambda doc: doc["chemsys"])
    for tail in ("tail", "slab.sites"):  # without a column, and by the largest entry of an array
        assert list(table.query({}, sort={"chemsys": 1, tail: -1})) == expected
        assert list(table.query({}, sort={"chemsys": 1, tail: -1}, skip=3, limit=4)) == expected[3:7]
        assert list(table.query({}, sort={"chemsys": 1, tail: -1}, skip=18)) == expected[18:]


def test_missing_and_null_sort_alike(table: DocumentTable) -> None:
    table.upsert(
        [{"id": "a", "gamma": None, "chemsys": "2"}, {"id": "b", "chemsys": "1"}, {"id": "c", "gamma": 0}]
    )
    assert [doc["id"] for doc in table.query(sort={"gamma": 1, "chemsys": 1})] == ["b", "a", "c"]


def test_distinct_values_of_indexed_fields_are_those_of_the_documents(
    table: DocumentTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.upsert([*documents(), {"id": "missing"}, {"id": "number", "gamma": 2}])
    read = []
    texts = DocumentTable._documents
    monkeypatch.setattr(DocumentTable, "_documents", lambda *given: read.append(1) or texts(*given))
    for field in ("id", "chemsys", "gamma", "v.status"):
        for criteria in (None, {"chemsys": "Ag-Mg"}, {"v.status": {"$ne": "failed"}, "gamma": {"$gt": 2}}):
            assert table.distinct(field, criteria) == distinct_values(table.query(criteria), field)
    read.clear()
    assert table.distinct("chemsys") == ["Ag-Mg", "Mg-Zn"]
    assert not read
    assert table.distinct("miller_index", {"id": "001"}) == [0, 1]  # entries of arrays one by one
    assert read


def test_remove_and_distinct(table: DocumentTable) -> None:
    table.upsert(documents())
    assert table.distinct("chemsys") == ["Ag-Mg", "Mg-Zn"]
    assert table.distinct("miller_index") == [0, 1]
    assert table.distinct("slab.sites", {"id": "004"}) == [-1.5, 4]
    assert table.remove({"v.status": "failed"}) == 7
    assert table.count() == 13
    with sqlite3.connect(table.database.path) as raw:
        assert raw.execute('SELECT count(*) FROM "surfaces.heavy"').fetchone() == (13,)


def test_index_made_later_covers_old_documents(table: DocumentTable, path: Path) -> None:
    table.upsert(documents())
    other = DocumentTable(path, "surfaces", "id", ["tail", "slab.sites"])
    other.ensure_index("tail")
    assert other.count({"tail": {"$lt": 5}}) == 5
    table.upsert(
        {"id": "late", "tail": 1, "slab": {"sites": [9]}}
    )  # by the one that did not know of the index
    assert other.count({"tail": {"$lt": 5}}) == 6
    assert other.count({"slab.sites": 9}) == 2
    assert "tail" in str(other.database.connection().tables["surfaces"].columns)


def test_index_is_used(table: DocumentTable) -> None:
    table.upsert(documents(1000))
    seen: list[str] = []
    table.database.connection().set_trace_callback(seen.append)
    criteria = {"chemsys": "Ag-Mg", "gamma": {"$gt": 450}, "v.status": "accepted"}
    assert table.count(criteria) == len(list(table.query(criteria)))
    statement = next(sql for sql in seen if "count(*) FROM" in sql)
    statement = "EXPLAIN QUERY PLAN " + statement.replace("-Inf", "-9e999")
    with sqlite3.connect(table.database.path) as raw:
        plan = " ".join(str(row[3]) for row in raw.execute(statement))
    assert "USING INDEX surfaces:" in plan and "SCAN" not in plan


def test_collections_share_a_file(path: Path) -> None:
    database = Database(path)
    one, other = DocumentTable(database, "one"), DocumentTable(database, "other")
    with pytest.raises(RuntimeError), database.write():
        one.upsert({"id": 1})
        other.upsert({"id": 2})
        raise RuntimeError
    assert (one.count(), other.count()) == (0, 0)
    with database.write():
        one.upsert({"id": 1})
        other.upsert({"id": 2})
    assert (one.count(), other.count()) == (1, 1)


def test_documents_in_the_rows_of_removed_ones_are_not_returned(table: DocumentTable) -> None:
    table.upsert([{"id": f"{n:03d}", "gamma": 1} for n in range(500)])
    found = []
    for document in table.query({"gamma": 1}, sort={"id": 1}):
        if not found:  # the answer is read in portions; its end goes away, and others come
            assert table.remove({"id": {"$gte": "300"}}) == 200
            table.upsert([{"id": f"other-{n}", "gamma": 2} for n in range(300)])
            assert table.remove({}) == 600
            table.upsert([{"id": f"another-{n}", "gamma": 3} for n in range(900)])
        found.append(document)
    assert {document["gamma"] for document in found} == {1}


def test_writing_while_a_query_is_read(table: DocumentTable) -> None:
    table.database.durable = False
    table.upsert(documents(250))  # more than are read at once
    for doc in table.query({}, sort={"tail": 1}):
        table.upsert({**doc, "seen": True})
    assert table.count({"seen": True}) == 250


@pytest.mark.parametrize("name", ["sqlite_x", "mgsurf_x", "a b", "1a", "x.heavy", ""])
def test_bad_collection_name(path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a collection"):
        DocumentTable(path, name).upsert({"id": 1})


# processes


def _write_many(path: Path, writer: int, count: int) -> None:
    table = DocumentTable(path, "surfaces", "id", ["writer"])
    for number in range(count):
        table.upsert({"id": f"{writer}-{number}", "writer": writer, "text": "x" * 500})


def test_four_writers_lose_nothing(path: Path) -> None:
    assert in_children(*(partial(_write_many, path, writer, 50) for writer in range(4))) == [("None", 0)] * 4
    table = DocumentTable(path, "surfaces")
    assert table.count() == 200
    assert [table.count({"writer": writer}) for writer in range(4)] == [50] * 4


def test_kill_9_in_mid_write(path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from stores.backends.sqlite import DocumentTable
table = DocumentTable({str(path)!r}, "surfaces", "id", ["batch"])
number = 0
while True:
    table.upsert([{{"id": f"{{number}}-{{n}}", "batch": number, "text": "x" * 5000}} for n in range(50)])
    print(number, flush=True)
    number += 1
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 5:
                break
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        reported = [int(line), *map(int, process.stdout.read().split())]
        process.wait()
        table = DocumentTable(path, "surfaces", "id", ["batch"])
        # every batch that was reported is there, and every batch is whole
        assert set(table.distinct("batch")) >= set(range(reported[-1] + 1))
        assert {table.count({"batch": batch}) for batch in table.distinct("batch")} == {50}
        assert len(list(table.query())) == table.count()
        table.upsert({"id": "after", "batch": -1})
        assert table.remove({"batch": -1}) == 1
        table.close()


def test_threads(table: DocumentTable) -> None:
    def work(writer: int) -> None:
        for number in range(25):
            table.upsert({"id": f"{writer}-{number}", "gamma": writer})
            assert table.count({"gamma": writer}) == number + 1

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.count() == 100


@pytest.mark.parametrize("attempt", range(5))
def test_many_open_a_new_file_at_once(table: DocumentTable, attempt: int) -> None:
    start = threading.Barrier(6)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        start.wait()
        try:
            table.upsert({"id": number})
        except MgsurfError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert table.count() == 6


def test_arrays_written_by_another_connection_are_seen(table: DocumentTable, path: Path) -> None:
    table.upsert([{"id": "a", "gamma": 1}, {"id": "b", "gamma": 2}])
    assert table.count({"gamma": 1}) == 1  # learns that the column holds plain values only
    DocumentTable(path, "surfaces", "id").upsert({"id": "c", "gamma": [1, 5]})
    assert table.count({"gamma": 1}) == 2
    table.upsert({"id": "d", "gamma": [[1], 1]})
    assert table.count({"gamma": 1}) == 3
    assert table.count({"gamma": {"$ne": 1}}) == 1


def test_fork(table: DocumentTable) -> None:
    table.upsert({"id": "parent"})
    child = os.fork()
    if child == 0:
        try:
            table.upsert({"id": "child"})
            table.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    table.upsert({"id": "parent again"})
    assert table.count() == 3


# what can go wrong


def one_line(error: MgsurfError) -> str:
    text = str(error)
    assert "\n" not in text and "Traceback" not in text
    return text


def test_not_sqlite(path: Path) -> None:
    path.write_text("surface_energy,work_function\n" * 10)
    with pytest.raises(InputError, match="is not an SQLite file") as caught:
        DocumentTable(path, "surfaces").count()
    assert str(path) in one_line(caught.value)
    assert path.read_text().startswith("surface_energy")


def test_folder_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        DocumentTable(tmp_path, "surfaces").count()
    with pytest.raises(InputError, match="does not exist"):
        DocumentTable(tmp_path / "no" / "x.sqlite", "surfaces").count()


def test_sqlite_of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE systems (id)")
    with pytest.raises(InputError, match="belongs to another program"):
        DocumentTable(path, "surfaces").upsert({"id": 1})
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("systems",)]


def test_newer_version(table: DocumentTable, path: Path) -> None:
    table.upsert({"id": 1})
    table.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match=r"newer mgsurf \(schema version 99.*upgrade mgsurf"):
        table.count()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    assert DocumentTable(path, "surfaces").upsert({"id": 1}) == 1


def test_damaged_file(table: DocumentTable, path: Path) -> None:
    table.upsert(documents(500))
    table.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(StoreError, match="damaged") as caught:
        list(table.query({"gamma": {"$gt": 1}}))
    one_line(caught.value)


def test_locked_too_long(table: DocumentTable, path: Path) -> None:
    table.upsert({"id": "a"})
    impatient = DocumentTable(Database(path, timeout=0.1), "surfaces")
    with table.database.write(), pytest.raises(StoreError, match="locked by another process") as caught:
        table.upsert({"id": "b"})
        errors: list[Exception] = []

        def other() -> None:
            try:
                impatient.upsert({"id": "c"})
            except StoreError as error:
                errors.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert [doc["id"] for doc in DocumentTable(Database(path), "surfaces").query()] == [
            "a"
        ]  # readers go on
        raise errors[0]
    one_line(caught.value)  # type: ignore[arg-type]
    assert [doc["id"] for doc in table.query()] == ["a", "b"]


def test_full_disk_loses_nothing(table: DocumentTable) -> None:
    table.upsert(documents())
    connection = table.database.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 5}")
    big = [{"id": f"big-{n}", "slab": "x" * 10_000} for n in range(50)]
    with pytest.raises(StoreError, match=r"disk or quota full.*Free some space") as caught:
        table.upsert(big)
    one_line(caught.value)
    assert list(table.query()) == documents()
    connection.execute("PRAGMA max_page_count=1000000")
    assert table.upsert(big) == 50


def test_file_size_limit(path: Path) -> None:
    """The operating system refuses to let the file grow, as with a quota."""
    DocumentTable(path, "surfaces").upsert(documents())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
            table = DocumentTable(path, "surfaces")
            try:
                table.upsert([{"id": f"big-{n}", "text": "x" * 10_000} for n in range(100)])
            except StoreError as error:
                code = 0 if "\n" not in str(error) and "run the same command again" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    table = DocumentTable(path, "surfaces")
    assert list(table.query()) == documents()
    assert table.upsert({"id": "more"}) == 1


def _as_nobody(work: Any) -> Any:
    """Run in a child process without root's rights, which ignore permissions; return what it returns."""
    here, there = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            there.send(work())
        except BaseException as error:  # noqa: BLE001 -- sent to the parent
            there.send(error)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert here.poll(5), "the child sent nothing"
    return here.recv()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that other users can reach."""
    folder = tmp_path
    while folder != folder.parent and not folder.stat().st_mode & 0o001:
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    return tmp_path


def test_read_only_folder(open_folder: Path) -> None:
    path = open_folder / "store.sqlite"
    table = DocumentTable(path, "surfaces", "id", ["gamma"])
    table.upsert(documents())
    table.close()
    path.chmod(0o444)
    open_folder.chmod(0o555)

    def work() -> Any:
        table = DocumentTable(path, "surfaces", "id", ["gamma"])
        found = list(table.query({"gamma": {"$gte": 0}}, ["id"]))
        try:
            table.upsert({"id": "x"})
        except StoreError as error:
            return found, str(error)

    try:
        found, message = _as_nobody(work)
    finally:
        open_folder.chmod(0o755)
    assert len(found) == 16
    assert "read-only" in message and "--store" in message and "\n" not in message
    assert not path.with_name("store.sqlite-wal").exists()


@pytest.mark.parametrize("index", ["left", "gone"])
def test_read_only_after_a_crash(open_folder: Path, index: str) -> None:
    path = open_folder / "store.sqlite"
    child = os.fork()  # this process never opens the file: its children would inherit the index of the log
    if child == 0:
        table = DocumentTable(path, "surfaces")
        for number in (1, 2):
            table.upsert({"id": number})
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    if index == "gone":
        path.with_name("store.sqlite-shm").unlink()
    open_folder.chmod(0o555)
    try:
        found = _as_nobody(lambda: DocumentTable(path, "surfaces").count())
    finally:
        open_folder.chmod(0o755)
    if index == "left":
        assert found == 2  # the last lies in the log alone
    else:  # SQLite cannot make the index again here: better no answer than one without the log
        assert isinstance(found, StoreError)
        assert "killed process" in str(found) and "have its owner run a command" in str(found)


def test_read_only_while_another_writes(open_folder: Path) -> None:
    path = open_folder / "store.sqlite"
    table = DocumentTable(path, "surfaces")
    table.upsert(documents())  # lies in the write-ahead log, which stays open
    open_folder.chmod(0o555)
    try:
        assert _as_nobody(lambda: DocumentTable(path, "surfaces").count()) == 20
    finally:
        open_folder.chmod(0o755)


def test_new_store_in_read_only_folder(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    try:
        error = _as_nobody(lambda: DocumentTable(open_folder / "new.sqlite", "surfaces").upsert({"id": 1}))
    finally:
        open_folder.chmod(0o755)
    assert isinstance(error, StoreError)
    assert "cannot be opened" in one_line(error)


def test_errors_survive_pickling() -> None:
    assert str(pickle.loads(pickle.dumps(StoreError("one line")))) == "one line"
