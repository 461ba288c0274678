"""Who has an SQLite file open, and whether the log that a killed process left belongs to it.

SQLite applies a ``-wal`` file to whatever file has the name it expects, even to a backup that was copied
there since. Two things bind them here:

- A lock file beside the store. Every process that has the store open holds a shared lock on it; the one that
  gets it exclusively decides about leftovers. The file also records how the store's file looked (inode, size,
  times) when mgsurf last wrote it: only checkpoints write it, and these are announced there.
- A token in a one-row table, replaced by every transaction: ``mgsurf-commit:NEW:OLD``. A log continues a file
  that holds the OLD of its first transaction or, after part of a checkpoint, the NEW of any.

Locks are those of open file descriptions (Linux): they end with the process, also by kill -9, are not lost by
closing another descriptor, and exclude the threads of one process too. Where the file system or the operating
system has none, the tokens alone decide, and nothing is renamed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any

from stores.errors import StoreError, StoreLostError

NO_TOKEN = "0" * 16
TOKEN_SQL = (
    "CREATE TABLE IF NOT EXISTS mgsurf_commit (token TEXT NOT NULL)",
    f"INSERT INTO mgsurf_commit SELECT 'mgsurf-commit:{NO_TOKEN}:{NO_TOKEN}' "
    "WHERE NOT EXISTS (SELECT 1 FROM mgsurf_commit)",
    "UPDATE mgsurf_commit SET token = 'mgsurf-commit:' || lower(hex(randomblob(8))) || ':' || "
    "substr(token, 15, 16)",
)
"""Statements that make the token's table, fill it, and replace the token (at the end of a transaction)."""

_TOKEN = re.compile(rb"mgsurf-commit:([0-9a-f]{16}):([0-9a-f]{16})")
_PRESENCE, _RECORD = 0, 1  # bytes of the lock file that are locked
_LENGTH = 256  # of the record, padded: replacing it takes no room on a full disk
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def beside(path: Path, suffix: str) -> Path:
    """Return the file of SQLite's or mgsurf's that belongs to a store: its name with a suffix."""
    return path.with_name(path.name + suffix)


def set_aside(path: Path, suffix: str = "") -> Path | None:
    """Rename a file to a dated name beside it, which ends with `suffix`; None if there is no such file."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        dated = f"-{stamp}" + (f"-{number}" if number else "") + suffix
        new = path.with_name(path.name.removesuffix(suffix) + dated)
        if not new.exists():
            try:
                path.rename(new)
            except FileNotFoundError:
                return None
            return new
    raise StoreError(f"The file {path} cannot be set aside: too many names are taken; remove old ones.")


class Occupancy(Enum):
    """Whether other processes have a store open."""

    ALONE = auto()
    BESIDE_OTHERS = auto()  # programs that know nothing of the lock file have it open
    SHARED = auto()
    UNKNOWN = auto()  # there is no lock: no leave to write, or a file system without locks


class Guard:
    """The lock file of one store, held by one `stores.backends.sqlite_file.Database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._writable = False
        self._seen: list[int] | None = None
        self._released = False
        self._announcing = threading.Lock()  # the threads of a process share its lock of the record

    @property
    def inode(self) -> int | None:
        """Number of the file that was opened; None before `settle`."""
        return self._seen[0] if self._seen else None

    def open(self, *, read_only: bool) -> Occupancy:
        """Take a lock on the store; until `settle` it excludes all others where this process is alone."""
        self.close()
        flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT)
        try:
            self._fd = os.open(beside(self.path, "-lock"), flags, self._mode())
        except OSError:  # a full disk, a folder of another user
            return Occupancy.UNKNOWN
        self._writable = not read_only
        if self._writable:
            with suppress(OSError):  # only its owner may; who may write the store must be able to lock it
                os.fchmod(self._fd, self._mode(os.fstat(self._fd).st_mode))
        if self._writable and self._lock(fcntl.F_WRLCK, _PRESENCE):
            return Occupancy.BESIDE_OTHERS if self._used_by_others() else Occupancy.ALONE
        if not self._lock(fcntl.F_RDLCK, _PRESENCE, wait=True):
            self.close()
        return Occupancy.SHARED if self._writable and self._fd is not None else Occupancy.UNKNOWN

    def settle(self, occupancy: Occupancy) -> None:
        """Let others open the store, once leftovers were dealt with.

        A `StoreLostError` if the file was deleted or replaced while another process had it open.
        """
        try:
            self._seen = self._look()
        except FileNotFoundError:
            raise self._lost("was deleted", "another process") from None
        if occupancy is Occupancy.SHARED:
            if self._is_as_recorded() is False:
                raise self._lost("was replaced", "another process")
        elif self._fd is not None:
            if self._writable:
                self._write({"file": self._seen})
            self._lock(fcntl.F_RDLCK, _PRESENCE)

    def close(self) -> None:
        """Give up the lock (in the child of a fork: without effect on the parent's)."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = self._seen = None
        self._released = False

    def release(self) -> None:
        """Give up the lock of a file that is away: another process may make it. `check` takes it again."""
        if self._fd is not None and not self.path.exists():
            os.close(self._fd)
            self._fd, self._released = None, True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Announce a checkpoint, or another change of the file, and record how the file looks after it."""
        with self._announcing:
            if self._fd is None or not self._writable or not self._lock(fcntl.F_WRLCK, _RECORD, wait=True):
                yield
                return
            try:
                self._write({"writing": True})
                yield
                with suppress(OSError):
                    self._seen = self._look()
                    self._write({"file": self._seen})
            finally:
                self._lock(fcntl.F_UNLCK, _RECORD)

    def check(self) -> None:
        """Raise a `StoreLostError` if the file that was opened was deleted, truncated or replaced."""
        seen = self._seen  # another thread may close the file meanwhile
        if seen is None:
            return
        try:
            found = self._look()
        except FileNotFoundError:
            raise self._lost("was deleted") from None
        if found == seen:
            return
        if found[:3] == seen[:3]:
            # the same content under another ctime: renamed away and back, say; a later process must know too
            self._record_again(found)
            return
        if found[0] != seen[0] or self._released:
            raise self._lost("was replaced")
        is_as_recorded = self._is_as_recorded()
        if is_as_recorded is False or (is_as_recorded is None and found[1] < seen[1]):
            raise self._lost("was truncated" if found[1] < seen[1] else "was replaced")
        if is_as_recorded:
            self._seen = found

    def _record_again(self, found: list[int]) -> None:
        """Record how the file looks where its ctime alone changed while this process had it open."""
        with self._announcing:
            if self._fd is None and self._writable:
                with suppress(OSError):
                    self._fd = os.open(beside(self.path, "-lock"), os.O_CLOEXEC | os.O_RDWR)
                    self._lock(fcntl.F_RDLCK, _PRESENCE, wait=True)
                    self._released = False
            if self._fd is not None and self._writable and self._lock(fcntl.F_WRLCK, _RECORD, wait=True):
                try:
                    record = self._read()
                    if record is None or record.get("file", found)[:3] == found[:3]:
                        self._write({"file": found})
                finally:
                    self._lock(fcntl.F_UNLCK, _RECORD)
            self._seen = found

    def belongs(self, log: Path, main_token: str | None, is_sound: Callable[[], bool]) -> bool:
        """Return whether SQLite may apply a log to the store's file.

        `main_token` is that in the file alone, `NO_TOKEN` without one, None if the file alone is damaged.
        Where the file changed but holds the right token, one that is not sound (`is_sound`, of the file
        alone) was left by a killed checkpoint, which only the log can complete.
        """
        commits = log_tokens(log)
        if commits is None or main_token is None:
            return True
        tokens = [new for new, _ in commits]
        if tokens and main_token != commits[0][1] and main_token not in tokens:
            return False
        is_as_recorded = self._is_as_recorded()
        if is_as_recorded is not None:
            return is_as_recorded or not is_sound()
        # without tokens or a record an older mgsurf wrote it, and the file changed since or it did not
        return bool(tokens) or self._look()[3] <= log.stat().st_mtime_ns or not is_sound()

    def _lost(self, what: str, who: str = "mgsurf") -> StoreLostError:
        return StoreLostError(
            f"The store {self.path} {what} while {who} had it open; nothing more is written to it, and it is "
            f"not created again. End the processes that use it, put the file back (mgsurf store restore FILE "
            f"for a backup), then run the same command again."
        )

    def _look(self) -> list[int]:
        """Return what changes with the file: inode, size, times; then what explains a new ctime alone."""
        stat = self.path.stat()
        times = [stat.st_mtime_ns, stat.st_ctime_ns]
        return [stat.st_ino, stat.st_size, *times, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink]

    def _is_as_recorded(self) -> bool | None:
        """Return whether the file looks as recorded, None without a record of how it should look."""
        for _ in range(5):  # another process may write the file, and record it, between both looks
            record = self._read()
            if record is None or "file" not in record:
                return None
            if _same(record["file"], self._look()):
                return True
        return False

    def _mode(self, default: int = 0o666) -> int:
        with suppress(OSError):
            default = self.path.stat().st_mode
        return default & 0o777

    def _lock(self, kind: int, byte: int, *, wait: bool = False) -> bool:
        """Lock a byte of the lock file; False if another has it, or if there are no such locks here."""
        assert self._fd is not None
        command = getattr(fcntl, "F_OFD_SETLKW" if wait else "F_OFD_SETLK", None)
        if command is None:
            return False
        try:
            fcntl.fcntl(self._fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
        except OSError:
            return False
        return True

    def _used_by_others(self) -> bool:
        """Return whether a program that knows nothing of the lock file has the store open."""
        # connections in WAL mode hold a shared lock on byte 128 of the -shm file (UNIX_SHM_DMS in SQLite's
        # os_unix.c)
        try:
            with beside(self.path, "-shm").open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def _write(self, record: dict[str, Any]) -> None:
        assert self._fd is not None
        stat = os.fstat(self._fd)
        text = json.dumps({"lock": stat.st_ino, "boot": _boot(), **record}).ljust(_LENGTH - 1) + "\n"
        with suppress(OSError):
            os.pwrite(self._fd, text.encode(), 0)

    def _read(self) -> dict[str, Any] | None:
        """Return the record of this file, None if not found."""
        # after a power cut a record may be older than the file, and a copied one describes another file
        if self._fd is None:
            return None
        try:
            record = json.loads(os.pread(self._fd, _LENGTH, 0))
            known = record["lock"] == os.fstat(self._fd).st_ino and record["boot"] == _boot() != ""
        except (ValueError, KeyError, TypeError):
            return None
        return record if known else None


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""


def _same(recorded: list[int], found: list[int]) -> bool:
    """Compare how a file looked; a change of mode, owner or links alone changes no content."""
    if recorded[:3] != found[:3]:
        return False
    return recorded[3] == found[3] or recorded[4:] != found[4:]


def log_tokens(log: Path) -> list[tuple[str, str]] | None:
    """Return (NEW, OLD) of the transactions in a log, in order; None if it holds no whole transaction.

    Source: https://www.sqlite.org/fileformat2.html#walformat
    """
    commits: list[tuple[str, str]] = []
    committed = False
    with log.open("rb") as file:
        header = file.read(32)
        if len(header) < 32 or struct.unpack(">I", header[:4])[0] & ~1 != 0x377F0682:
            return None
        size, salts = struct.unpack(">I", header[8:12])[0], header[16:24]
        pending: list[tuple[str, str]] = []
        while len(frame := file.read(24 + size)) == 24 + size and frame[8:16] == salts:
            if token := page_token(frame[24:]):
                pending.append(token)
            if struct.unpack(">I", frame[4:8])[0]:  # the last page of a transaction
                commits += pending
                pending, committed = [], True
    return commits if committed else None


def page_token(page: bytes) -> tuple[str, str] | None:
    """Return the token in a page if it is that of the table `mgsurf_commit`: a leaf with one row."""
    if page[0] != 0x0D or page[3:5] != b"\0\1":
        return None
    cell = struct.unpack(">H", page[8:10])[0]
    found = _TOKEN.search(page, cell, cell + 80)
    return (found[1].decode(), found[2].decode()) if found else None
