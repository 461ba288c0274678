"""Files that are replaced as a whole, and locks that end with the process that holds them.

A file is written under another name in the same folder and then renamed, which is atomic on local and
network file systems: a reader, or a process that resumes after a kill or a power cut, finds the old content
or the new one. Locks are ``flock``; they hold between processes of one machine and, where the file system
supports it, between machines. Where it does not (Lustre mounted without ``flock``) work continues without.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""After these nothing more can be written: disk or quota full, read-only, file larger than ``ulimit -f``."""

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_PAUSE = 0.05  # s between two attempts


class InUseError(InputError):
    """Another process holds a lock."""


@contextmanager
def replacing(path: Path, *, durable: bool = True, alone: bool = False) -> Iterator[Path]:
    """Yield another name in the same folder; what is written there takes the place of a file at the end.

    Parameters
    ----------
    durable
        False: a power cut may leave the file empty; for caches.
    alone
        No other process writes the file, because this one holds a lock. The other name is then always the
        same, so that what a kill left is overwritten.

    Raises
    ------
    OSError
        If it cannot be written; the file is then as it was, and nothing is left beside it.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    own = f"{path.name}.part" if alone else f".mgsurf-{secrets.token_hex(6)}{path.suffix[:20]}"
    new = path.with_name(own)
    try:
        yield new
        if durable:
            _sync(new)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    if durable:
        with suppress(OSError):  # not every file system can
            _sync(path.parent)


def write_file(
    path: Path, content: str | bytes, *, mode: int = 0o666, durable: bool = True, alone: bool = False
) -> None:
    """Write a file as a whole or not at all, text as UTF-8; `durable` and `alone` as for `replacing`.

    `mode` gives the permissions of the file, less the umask, also while it is being written.
    """
    data = content.encode() if isinstance(content, str) else content
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with (
        replacing(path, durable=durable, alone=alone) as new,
        os.fdopen(os.open(new, flags, mode), "wb") as file,
    ):
        file.write(data)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield the name of a folder to make; it takes the place of a folder, or of nothing, at the end.

    After an `OSError` the folder is as it was.
    """
    path = Path(os.path.realpath(path))
    own = f".mgsurf-{secrets.token_hex(6)}"
    new, old = path.with_name(f"{own}.partial"), path.with_name(f"{own}.old")
    try:
        yield new
        if path.is_dir():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.is_dir():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class FileLock:
    """A lock that a killed process cannot leave behind; the lock file, in a folder that exists, stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, timeout: float | None = None, stopped: Callable[[], bool] | None = None) -> bool:
        """Take the lock, or return False if another process still holds it; `OSError` if it cannot be opened.

        Waits for `timeout` (s; None: as long as it takes), or until `stopped` returns True.
        """
        file = self.path.open("a+", encoding="utf-8")
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._try(file, wait=end is None and stopped is None):
                if (end is not None and time.monotonic() >= end) or (stopped is not None and stopped()):
                    file.close()
                    return False
                time.sleep(_PAUSE)
        except BaseException:
            file.close()
            raise
        self._file = file
        with suppress(OSError):  # a full disk
            file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
            file.flush()
        return True

    @staticmethod
    def _try(file: IO[str], *, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in _HELD:
                return False
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def release(self) -> None:
        """Give the lock back, also where a child process inherited it."""
        if self._file is not None:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
            with suppress(OSError):  # a full disk
                self._file.close()
            self._file = None

    def fileno(self) -> int:
        """Return the number of the file, for a child process that is to hold the lock too."""
        assert self._file is not None
        return self._file.fileno()

    def holder(self) -> str:
        """Return who holds the lock, for messages: "process 123 on node7"."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {int(found['pid'])} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


@contextmanager
def locked(path: Path, timeout: float | None = None, advice: str = "") -> Iterator[FileLock]:
    """Hold the lock of a file; `InUseError` with `advice` if it is held longer than `timeout` (s)."""
    lock = FileLock(path)
    if not lock.acquire(timeout):
        raise InUseError(
            f"{path.parent} is in use by {lock.holder()}; wait for it{f', or {advice}' if advice else ''}"
        )
    try:
        yield lock
    finally:
        lock.release()


def check_locks(folder: Path, advice: str) -> None:
    """Refuse a folder on a file system without locks: `InputError` that ends with `advice`."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise InputError(f"{folder}: its file system has no locks (flock): {advice}") from None


def in_use(path: Path) -> bool:
    """Return whether another process holds the lock of a file; of one that cannot be opened nobody does."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look do not see each other
    except OSError as error:  # others: not there, not to be read, no locks
        return error.errno in _HELD
    return False


def process_start(pid: int) -> str:
    """Return when a process was started (ticks since boot); empty if it is not there or has ended."""
    with suppress(OSError, IndexError):  # there is no /proc outside Linux
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    return ""
