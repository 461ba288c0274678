"""Files are replaced as a whole or not at all; locks end with their process."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stores.errors import InputError
from stores.files import (
    FileLock,
    InUseError,
    check_locks,
    in_use,
    locked,
    replacing,
    replacing_folder,
    write_file,
)

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("content", ["γ\n", b"\0\xff", ""])
def test_a_file_is_written_and_nothing_is_left_beside_it(tmp_path: Path, content, alone: bool) -> None:
    path = tmp_path / "a.json"
    for _ in range(2):
        write_file(path, content, alone=alone)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_after_an_error_everything_is_as_it_was(tmp_path: Path, error, alone: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path, alone=alone) as new:
        new.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_other_name_has_the_same_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "figure.pdf") as new:
        assert new.suffix == ".pdf"
        new.write_text("x")


def test_what_a_kill_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_text("left by a kill, longer than the new content")
    write_file(tmp_path / "a", "new", alone=True)
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_file(tmp_path / "secret", "x", mode=0o600)
        write_file(tmp_path / "plain", "x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o644


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data/real")
    write_file(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "data/real").read_text() == "x"


def test_what_is_no_plain_file_is_written_itself(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_file(fifo, "through")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, "x")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, kept[1]))
    try:
        with pytest.raises(OSError) as raised:
            write_file(path, "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, before)
    assert raised.value.errno == errno.EFBIG
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "set"
    for content in ("one", "two"):
        with replacing_folder(path) as new:
            new.mkdir()
            (new / content).write_text(content)
        assert names(path) == [content]
    with pytest.raises(ValueError), replacing_folder(path) as new:
        new.mkdir()
        (new / "three").write_text("x")
        raise ValueError
    assert names(path) == ["two"]
    assert names(tmp_path) == ["set"]


def test_one_holder_at_a_time_and_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, 0):
        assert not FileLock(path).acquire(0)
        assert not FileLock(path).acquire(0.1)
        assert not FileLock(path).acquire(stopped=lambda: True)
        holder = rf"process {os.getpid()} on .*; wait for it, or do x$"
        with pytest.raises(InUseError, match=holder) as raised, locked(path, 0, "do x"):
            pass
        assert isinstance(raised.value, InputError)
        assert str(tmp_path) in str(raised.value)
    with locked(path, 0):
        pass


def test_a_look_at_a_lock_neither_takes_nor_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not in_use(path)
    assert not path.exists()
    with locked(path, 0) as lock:
        holder = path.read_text()
        assert in_use(path)
        assert path.read_text() == holder
        assert lock.holder().startswith(f"process {os.getpid()} on ")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # another process looks at the same time
        assert not in_use(path)
    with locked(path, 0):
        pass


def test_a_file_system_without_locks_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_locks(tmp_path, "do x")
    assert not list(tmp_path.iterdir())

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("stores.files.fcntl.flock", none)
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}: .*flock.*: do x$"):
        check_locks(tmp_path, "do x")


def test_a_lock_of_another_program_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InUseError, match="another process"), locked(path, 0):
            pass


def test_a_lock_ends_with_its_process_by_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from stores.files import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lock = FileLock(path)
        assert lock.holder().startswith(f"process {process.pid} on ")
        assert not lock.acquire(0)
        process.kill()
        assert lock.acquire(10)
        lock.release()


def test_a_waiting_process_gets_the_lock(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    got: list[bool] = []
    waiter = threading.Thread(target=lambda: got.append(second.acquire()))
    waiter.start()
    first.release()
    waiter.join(10)
    assert got == [True]
    second.release()


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", 0), locked(tmp_path / "lock", 0):
        pass


def test_a_lock_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), locked(tmp_path / "absent" / "lock"):
        pass


def test_files_are_renamed_and_locked_in_one_place() -> None:
    """Copies of these mechanisms differ in what they forget; leases and stores have their own reasons."""
    allowed = {
        "stores/files.py",
        # SQLite's own locks and logs; records of compute nodes
        "stores/backends/sqlite_file.py", "stores/backends/guard.py", "stores/backends/folder.py",
        "stores/backends/wal.py",
        "stores/backends/backup.py",
        # attempts of a calculation are moved, not replaced
        "workflows/engines/vasp/restart.py",
    }  # fmt: skip
    found = {
        str(path.relative_to(ROOT))
        for package in ("stores", "model", "workflows")
        for path in (ROOT / package).rglob("*.py")
        for text in [path.read_text(encoding="utf-8")]
        if any(sign in text for sign in ("fcntl.flock", ".rename(", "os.replace(", "fsync(", "mkstemp("))
    } - {"workflows/cli/app.py"}  # a log of its own name
    assert found <= allowed
