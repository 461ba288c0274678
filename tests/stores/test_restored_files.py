"""A log that a killed process left is applied to its own file, and never to one put in its place."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from stores.backends.backup import backup, restore
from stores.backends.guard import Guard, log_tokens
from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database
from stores.connections import open_store
from stores.errors import InputError, StoreError, StoreLostError
from tests.stores.conftest import old_store
from tests.stores.kills import in_a_child
from tests.stores.opening import open_collection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def write(path: Path, *ids: str, kill: bool = False, checkpoint: str = "") -> None:
    """Write documents in a process of its own, which closes the store or is killed."""

    def work() -> None:
        table = DocumentTable(path, "things")
        for name in ids:
            table.upsert({"id": name})
        if checkpoint == "whole":
            with table.database._guard.writing():
                table.database.connection().execute("PRAGMA wal_checkpoint(PASSIVE)")
        elif checkpoint == "killed":  # announced, and the file is changed in part
            table.upsert([{"id": f"big-{n}", "text": "x" * 3000} for n in range(200)])
            with table.database._guard.writing():
                copy_pages_back(path, every=2)
                os.kill(os.getpid(), signal.SIGKILL)
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)
        table.close()

    reported, number = in_a_child(work)
    assert (reported, number) in (("None", 0), ("", signal.SIGKILL)), reported


def copy_pages_back(path: Path, every: int) -> None:
    """Do a part of what a checkpoint does: write some of the log's pages into the file."""
    log = path.with_name(path.name + "-wal").read_bytes()
    frame = 24 + 4096
    file = os.open(path, os.O_WRONLY)
    for start in range(32, len(log) - frame + 1, frame * every):
        page = int.from_bytes(log[start : start + 4], "big")
        os.pwrite(file, log[start + 24 : start + frame], (page - 1) * 4096)


def ids(path: Path) -> set[str]:
    table = DocumentTable(path, "things")
    try:
        return {doc["id"] for doc in table.query() if not doc["id"].startswith("big")}
    finally:
        table.close()


def aside(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob(path.name + "-wal-2*"))


def cp(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def mv(source: Path, target: Path) -> None:
    shutil.copy2(source, source.with_suffix(".moved")).rename(target)


def rsync(source: Path, target: Path) -> None:
    shutil.copy2(source, target.with_name(".partial")).replace(target)


TOOLS = [cp, shutil.copy2, mv, rsync]


@pytest.mark.parametrize("checkpoint", ["", "whole"])
def test_log_of_a_killed_process_is_used(path: Path, checkpoint: str) -> None:
    write(path, "a", "b")
    write(path, "c", kill=True, checkpoint=checkpoint)
    assert path.with_name("store.sqlite-wal").stat().st_size
    assert ids(path) == {"a", "b", "c"} and not aside(path)


def test_checkpoint_killed_halfway_is_completed(path: Path) -> None:
    write(path, "a")
    write(path, "b", "c", checkpoint="killed")
    assert ids(path) == {"a", "b", "c"} and not aside(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("tool", "checkpoint"), [*((tool, "") for tool in TOOLS), (cp, "whole"), (rsync, "whole")]
)
@pytest.mark.parametrize(
    "backed_up", ["before the log", "long before", "newer", "another store", "version 1"]
)
def test_restored_file_wins(
    path: Path,
    tool: Callable[[Path, Path], object],
    backed_up: str,
    checkpoint: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copy, expected = path.with_name("backup.sqlite"), {"a", "b"}
    write(path, "a", "b")
    shutil.copy2(path, copy)
    if backed_up == "long before":
        write(path, "later")
    elif backed_up == "newer":
        write(copy, "n1", "n2")
        expected |= {"n1", "n2"}
    elif backed_up == "another store":
        copy.unlink()
        write(copy, "x")
        expected = {"x"}
    elif backed_up == "version 1":
        copy.write_bytes(old_store())
    write(path, "c", "d", kill=True, checkpoint=checkpoint)
    tool(copy, path)
    if backed_up == "version 1":
        assert open_collection(str(path), "things").count() == 8
    else:
        assert ids(path) == expected
    assert len(aside(path)) == 1
    assert (
        len(caplog.messages) == 1 and "mgsurf store restore" in caplog.text and "\n" not in caplog.messages[0]
    )
    write(path, "after")
    assert "after" in {str(doc["id"]) for doc in DocumentTable(path, "things").query()}


@pytest.mark.parametrize("change", [lambda p: p.chmod(0o600), lambda p: os.link(p, p.with_name("link"))])
def test_metadata_alone_is_no_new_file(path: Path, change: Callable[[Path], None]) -> None:
    write(path, "a")
    write(path, "b", kill=True)
    change(path)
    assert ids(path) == {"a", "b"}


def test_whole_folder_copied_after_a_kill(path: Path, tmp_path: Path) -> None:
    write(path, "a")
    write(path, "b", kill=True)
    (tmp_path / "elsewhere").mkdir()
    for file in tmp_path.glob("store.sqlite*"):
        shutil.copyfile(file, tmp_path / "elsewhere" / file.name)
    assert ids(tmp_path / "elsewhere" / "store.sqlite") == {"a", "b"}


@pytest.mark.parametrize("log", ["used", "set aside"])
def test_store_named_by_a_link(path: Path, tmp_path: Path, log: str) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.sqlite"
    link.symlink_to(tmp_path / "data" / "real.sqlite")
    write(link, "a")
    shutil.copy2(link, path)
    write(link, "b", kill=True)
    if log == "set aside":
        shutil.copyfile(path, link)
    assert ids(link) == ({"a", "b"} if log == "used" else {"a"})
    restore(path, str(link))
    assert link.is_symlink() and ids(link) == {"a"}


def test_rollback_journal_of_another_file_is_not_used(path: Path) -> None:
    other = path.with_name("other.sqlite")

    def work() -> None:
        raw = sqlite3.connect(other, isolation_level=None)
        raw.execute("CREATE TABLE t (text)")
        raw.execute(
            "PRAGMA cache_size=1"
        )  # so that the journal is hot: pages went to the file before the end
        raw.execute("BEGIN")
        raw.executemany("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 200)
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(work)
    write(path, "a")
    before = path.read_bytes()
    journal = other.with_name("other.sqlite-journal")
    assert journal.read_bytes()[:8] == bytes.fromhex("d9d505f920a163d7")
    journal.rename(path.with_name("store.sqlite-journal"))
    assert ids(path) == {"a"}
    assert path.read_bytes() == before
    assert len(list(path.parent.glob("store.sqlite-journal-2*"))) == 1


def test_deleted_store_is_not_resurrected_by_its_log(path: Path) -> None:
    write(path, "a", kill=True)
    path.unlink()
    assert ids(path) == set()


def test_without_a_lock_file_the_tokens_decide(path: Path) -> None:
    write(path, "a")
    write(path, "b", kill=True)
    path.with_name("store.sqlite-lock").unlink()
    assert ids(path) == {"a", "b"}
    other = path.with_name("other.sqlite")
    write(other, "x")
    write(path, "c", kill=True)
    path.with_name("store.sqlite-lock").unlink()
    shutil.copyfile(other, path)
    assert ids(path) == {"x"} and len(aside(path)) == 1


def test_without_locks_a_foreign_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.sqlite")
    write(other, "x")
    write(path, "a")
    write(path, "b", kill=True)
    monkeypatch.delattr("fcntl.F_OFD_SETLK")
    monkeypatch.delattr("fcntl.F_OFD_SETLKW")
    assert ids(path) == {"a", "b"}
    write(path, "c", kill=True)
    shutil.copyfile(other, path)
    with pytest.raises(StoreError, match=r"does not belong to it.*mgsurf store restore"):
        ids(path)


def test_log_of_an_older_mgsurf(path: Path) -> None:
    """It holds no tokens; the file and the log were not changed since, or the file was."""

    def work() -> None:
        path.write_bytes(old_store())
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA wal_autocheckpoint=0")
        raw.execute("DELETE FROM things WHERE id = 8")
        raw.commit()
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(work)
    log = path.with_name("store.sqlite-wal")
    assert log_tokens(log) == []
    kept = log.read_bytes()
    assert open_collection(str(path), "things").count() == 7
    log.write_bytes(kept)
    os.utime(log, (1, 1))
    path.with_name("store.sqlite-lock").unlink()
    path.write_bytes(old_store())
    assert open_collection(str(path), "things").count() == 8


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def replace(path: Path) -> None:
    mv(path.with_name("backup.sqlite"), path)


def overwrite(path: Path) -> None:
    cp(path.with_name("backup.sqlite"), path)


def touch_new(path: Path) -> None:
    path.unlink()
    path.touch()


def delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


@pytest.mark.parametrize("act", ["read", "write", "insert"])
@pytest.mark.parametrize("harm", [delete, truncate, shorten, replace, overwrite, touch_new, delete_log])
def test_store_lost_while_open(path: Path, harm: Callable[[Path], None], act: str) -> None:
    if harm is delete_log and act == "read":
        return  # what was read is right; the next write notices it
    write(path, "a", "b")
    shutil.copy2(path, path.with_name("backup.sqlite"))
    write(path, "c")

    def work() -> str:
        table = DocumentTable(path, "things")
        table.upsert({"id": "d"})
        harm(path)
        after = path.read_bytes() if path.exists() else None
        for _ in range(2):
            with pytest.raises(StoreLostError) as caught:
                {
                    "read": lambda: list(table.query()),
                    "write": lambda: table.upsert({"id": "e"}),
                    "insert": lambda: table.insert({"id": "f"}),
                }[act]()
            assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        if harm is not delete_log:
            table.close()
            assert (path.read_bytes() if path.exists() else None) == after
        return "noticed"

    assert in_a_child(work) == ("noticed", 0)
    if harm in (replace, overwrite):
        assert ids(path) == {"a", "b"}


def test_second_process_refuses_a_file_replaced_under_the_first(path: Path) -> None:
    write(path, "a")
    shutil.copy2(path, path.with_name("backup.sqlite"))
    table = DocumentTable(path, "things")
    table.upsert({"id": "b"})
    replace(path)
    reported, _ = in_a_child(lambda: ids(path))
    assert reported.startswith("StoreLostError")
    with pytest.raises(StoreLostError):
        table.count()
    table.close()
    assert ids(path) == {"a"}


def test_own_checkpoints_are_no_loss(path: Path) -> None:
    one, other = DocumentTable(path, "things"), DocumentTable(path, "things")
    for number in range(30):
        one.upsert([{"id": f"{number}-{n}", "text": "x" * 20_000} for n in range(20)])
        assert other.count() == 20 * (number + 1)
    assert path.with_name("store.sqlite-wal").stat().st_size < 20_000_000
    one.close()
    assert other.insert({"id": "last"})


def test_checkpoints_of_threads_are_announced_one_by_one(path: Path) -> None:
    write(path, "a")
    guard = Guard(path)
    guard.settle(guard.open(read_only=False))
    entered = threading.Event()

    def announce() -> None:
        with guard.writing():
            entered.set()

    with guard.writing():
        thread = threading.Thread(target=announce)
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()
    guard.close()


def test_copy_without_a_write_ahead_log(path: Path) -> None:
    """As sqlite3's VACUUM INTO makes it."""
    write(path, "a")
    copy = path.with_name("copy.sqlite")
    with sqlite3.connect(path) as raw:
        raw.execute("VACUUM INTO ?", (str(copy),))
    with open_store(str(copy), must_exist=True) as store:
        assert store.count() == 0
    write(copy, "b")
    assert ids(copy) == {"a", "b"}


def test_file_system_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(path, "a")
    assert ids(path) == {"a"}


def test_lock_file_is_as_writable_as_the_store(path: Path) -> None:
    write(path, "a")
    path.chmod(0o666)
    write(path, "b")
    assert path.with_name("store.sqlite-lock").stat().st_mode & 0o777 == 0o666


def test_backup_and_restore(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    table = DocumentTable(path, "things")
    table.upsert([{"id": "a"}, {"id": "b"}])
    assert backup(str(path), copy) == 2  # while it is open, and with its log
    with pytest.raises(InputError, match="--force"):
        backup(str(path), copy)
    table.upsert({"id": "c"})
    with pytest.raises(StoreError, match=r"open in another process.*fuser"):
        restore(copy, str(path))
    assert table.count() == 3
    table.close()
    write(path, "d", kill=True)
    count, old = restore(copy, str(path))
    assert count == 2 and ids(path) == {"a", "b"}
    assert old is not None and ids(old) == {"a", "b", "c", "d"}  # with its log
    assert backup(str(path), copy, replace=True) == 2
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


def test_backup_ends_while_others_write(path: Path, tmp_path: Path) -> None:
    table, stopped = DocumentTable(path, "things"), threading.Event()
    table.upsert([{"id": f"{n}", "text": "x" * 1_000_000} for n in range(17)])

    def work() -> None:
        while not stopped.is_set():
            table.upsert({"id": "one", "time": time.time()})

    writer = threading.Thread(target=work)
    copier = threading.Thread(target=backup, args=(str(path), tmp_path / "copy.sqlite"), daemon=True)
    writer.start()
    copier.start()
    copier.join(5)
    ended = not copier.is_alive()
    stopped.set()
    writer.join()
    copier.join()
    table.close()
    assert ended and sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.sqlite"]


def test_backup_of_a_folder_with_other_files(tmp_path: Path) -> None:
    store, copy = tmp_path / "records", tmp_path / "copy"
    open_collection(f"folder://{store}", "things").upsert({"id": "a"})
    for name in ("notes.txt", "things/old.bak"):
        (store / name).write_text("no document")
    assert backup(f"folder://{store}", copy) == 1
    assert sorted(file.name for file in copy.rglob("*")) == ["a.json", "mgsurf_layout.json", "things"]


def test_no_room_for_a_backup(path: Path, tmp_path: Path) -> None:
    DocumentTable(path, "things").upsert({"id": "a", "text": "x" * 100_000})
    (tmp_path / "full").mkdir()

    def work() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        with pytest.raises(StoreError, match=r"no room.*/full ") as caught:
            backup(str(path), tmp_path / "full" / "copy.sqlite")
        return "ok" if "\n" not in str(caught.value) else str(caught.value)

    assert in_a_child(work) == ("ok", 0)
    assert not list((tmp_path / "full").iterdir()) and ids(path) == {"a"}


def test_only_backups_are_replaced(path: Path, tmp_path: Path) -> None:
    write(path, "a")
    records, other, good = (tmp_path / name for name in ("records", "other", "good"))
    for folder in (records, other, good):
        open_collection(f"folder://{folder}", "things").upsert({"id": "a"})
    (other / "thesis.txt").write_text("mine")
    (tmp_path / "text").write_text("mine")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    before = {file: file.lstat().st_ino for file in tmp_path.rglob("*")}
    for store, target in (
        (str(path), "text"),
        (str(path), "pipe.db"),
        (str(path), "records"),
        (f"folder://{records}", "other"),
        (f"folder://{records}", "empty"),
        (f"folder://{records}", "text"),
    ):
        with pytest.raises(InputError, match="is not replaced"):
            backup(store, tmp_path / target, replace=True)
    with pytest.raises(InputError, match="another kind"):
        restore(path, str(tmp_path / "pipe.db"))
    assert {file: file.lstat().st_ino for file in tmp_path.rglob("*")} == before
    assert backup(f"folder://{records}", good, replace=True) == 1


def test_documents_removed_during_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, copy = tmp_path / "records", tmp_path / "copy"
    things = open_collection(f"folder://{store}", "things")
    things.upsert([{"id": f"{n}"} for n in range(6)])
    removed, copyfile = iter(range(5)), shutil.copyfile

    def copy_after_removal(source: Path, target: Path) -> None:
        for number in islice(removed, 1):
            things.remove({"id": f"{number}"})
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_after_removal)
    monkeypatch.setattr(shutil, "copy2", copy_after_removal)
    assert backup(f"folder://{store}", copy) == 1
    assert [file.name for file in (copy / "things").iterdir()] == ["5.json"]


def test_backup_of_a_folder(tmp_path: Path) -> None:
    store, copy = tmp_path / "records", tmp_path / "copy"
    things = open_collection(f"folder://{store}", "things")
    things.upsert([{"id": "a"}, {"id": "b"}])
    assert backup(f"folder://{store}", copy) == 2
    things.upsert({"id": "c"})
    count, old = restore(copy, f"folder://{store}")
    assert count == 2 and old is not None
    with pytest.raises(StoreLostError):
        things.upsert({"id": "d"})
    assert open_collection(f"folder://{store}", "things").count() == 2
    assert open_collection(f"folder://{old}", "things").count() == 3
    (copy / "things" / "a.json").write_text("{}")
    (copy / "things" / "b.json").write_bytes(
        (copy / "things" / "b.json").read_bytes().replace(b'"b"', b'"x"')
    )
    with pytest.raises(StoreError, match=r"damaged document.*b.json"):
        restore(copy, f"folder://{store}")
    assert open_collection(f"folder://{store}", "things").count() == 2


@pytest.mark.parametrize("harm", ["folder", "layout"])
@pytest.mark.parametrize("act", ["read", "write"])
def test_folder_lost_while_open(tmp_path: Path, harm: str, act: str) -> None:
    store = tmp_path / "records"
    things, others = (open_collection(f"folder://{store}", name) for name in ("things", "others"))
    things.upsert({"id": "a"})
    things = open_collection(f"folder://{store}", "things")
    shutil.rmtree(store)
    if harm == "layout":
        store.mkdir()
    with pytest.raises(StoreLostError):
        things.upsert({"id": "b"}) if act == "write" else things.count()
    assert store.exists() == (harm == "layout")
    others.close()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda p: restore(p / "none", str(p / "s.sqlite")), "There is no backup"),
        (lambda p: restore(p / "text", str(p / "s.sqlite")), "is not a store of mgsurf"),
        (lambda p: restore(p / "bad.sqlite", str(p / "s.sqlite")), "damaged"),
        (lambda p: restore(p / "s.sqlite", str(p / "s.sqlite")), "is the store itself"),
        (lambda p: restore(p, str(p / "s.sqlite")), "another kind"),
        (lambda p: restore(p / "s.sqlite", "mongodb://u:secret@host/x"), "mongorestore"),
        (lambda p: backup("mongodb://u:secret@host/x", p / "b"), "mongodump"),
        (lambda p: backup(str(p / "none.sqlite"), p / "b"), "There is no store"),
        (lambda p: backup(str(p / "bad.sqlite"), p / "b"), "damaged"),
    ],
)
def test_what_is_refused(tmp_path: Path, work: Callable[[Path], object], words: str) -> None:
    write(tmp_path / "s.sqlite", "a", "b")
    shutil.copyfile(tmp_path / "s.sqlite", tmp_path / "bad.sqlite")
    data = (tmp_path / "bad.sqlite").read_bytes()
    (tmp_path / "bad.sqlite").write_bytes(data.replace(b'"id":"a"', b'"id":"x"'))
    (tmp_path / "text").write_text("no store")
    before = (tmp_path / "s.sqlite").read_bytes()
    with pytest.raises((InputError, StoreError), match=words) as caught:
        work(tmp_path)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "s.sqlite").read_bytes() == before
    assert not list(tmp_path.glob("s.sqlite-2*"))


def test_leftover_of_a_killed_process_is_seen_by_every_database_object(path: Path) -> None:
    write(path, "a")
    write(path, "b", kill=True)
    databases = [Database(path) for _ in range(3)]
    for database in databases:
        assert DocumentTable(database, "things").count() == 2
