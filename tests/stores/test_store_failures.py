"""The message of a store, and what it still does, when the disk is full or another user is in the way."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database
from stores.connections import open_store
from stores.errors import StoreError, StoreLostError
from stores.records import SurfaceRecord

MakeSurface = Callable[..., SurfaceRecord]


def _in_a_child(work: Callable[[], str]) -> str:
    """Run in a process whose files may not grow beyond 16 kB, less than SQLite's -shm of 32 kB needs."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
            text = work()
        except BaseException as error:  # noqa: BLE001 -- sent to the parent
            text = f"{type(error).__name__}: {error}"
        os.write(there, text.encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def test_reading_on_a_full_disk(tmp_path: Path, surface: MakeSurface) -> None:
    path = tmp_path / "records.sqlite"
    with open_store(str(path)) as store:
        store.add([surface(n) for n in range(3)])

    def work() -> str:
        with open_store(str(path), must_exist=True) as store:
            found = store.count(), [record.id for record in store.surfaces(sort={"id": 1})]
            try:
                store.add([surface(n) for n in range(3, 30)])
            except StoreError as error:
                return f"{found} {error}"
        return f"{found} was written"

    text = _in_a_child(work)
    assert text.startswith("(3, ['surface-0', 'surface-1', 'surface-2'])"), text
    assert "disk or quota" in text and "Free some space" in text and "\n" not in text
    with open_store(str(path)) as store:
        assert store.count() == 3


def test_reading_the_log_of_a_killed_process_on_a_full_disk(tmp_path: Path, surface: MakeSurface) -> None:
    path = tmp_path / "records.sqlite"
    with open_store(str(path)) as store:
        store.add(surface(0))
    child = os.fork()
    if child == 0:
        store = open_store(str(path))
        store.add(surface(1))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    path.with_name("records.sqlite-shm").unlink()
    assert path.with_name("records.sqlite-wal").stat().st_size

    def work() -> str:
        with open_store(str(path), must_exist=True) as store:
            return str(store.count())

    assert _in_a_child(work) == "2"
    with open_store(str(path)) as store:
        assert store.count() == 2


def test_writer_on_a_full_disk_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    table = DocumentTable(path, "things")
    table.upsert({"id": 1})
    table.close()  # else its -shm, made in time, would do

    text = _in_a_child(lambda: str(DocumentTable(path, "things").count()))
    assert text.startswith("StoreError: The store") and "no room (disk or quota full)" in text


def _sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("any message of SQLite")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


@pytest.mark.parametrize("name", ["full.sqlite", "locked.sqlite", "readonly Permission malformed.sqlite"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk or quota full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk or quota full"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written"),
        (OSError(errno.EIO, "Input/output error"), "failed: .*Check the disk"),
        (_sqlite_error("SQLITE_BUSY_SNAPSHOT"), "locked by another process"),
        (_sqlite_error("SQLITE_LOCKED"), "locked by another process"),
        (_sqlite_error("SQLITE_FULL"), "disk or quota full"),
        (_sqlite_error("SQLITE_IOERR_WRITE"), "disk or quota may be full"),
        (_sqlite_error("SQLITE_IOERR_READ"), "cannot be read"),
        (_sqlite_error("SQLITE_READONLY_DIRECTORY"), "cannot be written"),
        (_sqlite_error("SQLITE_CANTOPEN"), "cannot be opened"),
        (_sqlite_error("SQLITE_CORRUPT"), "is damaged"),
        (_sqlite_error("SQLITE_NOTADB"), "is damaged"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "failed: Cannot operate"),
    ],
)
def test_errors_are_told_by_number_not_by_words(tmp_path: Path, name: str, error: Any, words: str) -> None:
    path = tmp_path / name
    if isinstance(error, OSError):
        error.filename = str(path)
    with pytest.raises(StoreError) as caught, Database(path).errors():
        raise error
    assert re.search(words, str(caught.value).removeprefix(f"The store {path} "))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_log_that_another_user_holds(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    table = DocumentTable(path, "things")
    table.upsert({"id": 1})  # stays open
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    path.chmod(0o666)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).chmod(0o600)

    def work() -> str:
        os.setgid(65534)
        os.setuid(65534)
        return str(DocumentTable(path, "things").count())

    for mode in (0o777, 0o755):
        tmp_path.chmod(mode)
        text = _in_a_child(work)
        assert text.startswith("StoreError"), text
        assert "in use by another user, or was left by a killed process" in text and "\n" not in text


def test_a_deleted_store_is_not_made_again_by_a_later_thread_that_reads(
    tmp_path: Path, surface: MakeSurface
) -> None:
    path = tmp_path / "records.sqlite"
    with open_store(str(path)) as store:
        store.add(surface())
    found: list[object] = []

    def read() -> None:
        try:
            found.append(opened.count())
        except StoreError as error:
            found.append(error)

    with open_store(str(path), must_exist=True) as opened:
        opened.close()  # that of this thread; those of threads end with them
        for _ in range(2):
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            path.unlink(missing_ok=True)
    assert found[0] == 1
    assert isinstance(found[1], StoreLostError)
    assert not path.exists()
