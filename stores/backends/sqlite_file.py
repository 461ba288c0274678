"""One SQLite file: opening and checking it, transactions, and one-line errors.

The file is in WAL mode: readers never wait, writers wait for one another, and after a kill -9 or a power cut
every committed document is there and no other. WAL needs a file system with working locks and shared memory:
a local disk, or a network disk used from one machine at a time; several machines need MongoDB.
`stores.backends.guard` keeps the log of a killed process from being applied to a file that was put in the
place of the old one.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from stores.backends.collection import SCHEMA_VERSION, check_version
from stores.backends.guard import NO_TOKEN, TOKEN_SQL, Guard, Occupancy, beside, set_aside
from stores.backends.sqlite_errors import OTHER_USER, damaged_file, explain, sqlite_name
from stores.backends.wal import turn_wal_on
from stores.errors import InputError, MgsurfError, StoreError, StoreLostError, one_line

APPLICATION_ID = 0x6D677366  # "mgsf"
CHECKED_SIZE = 20_000_000
"""Largest file (bytes) whose tables and indexes are compared each time it is opened (0.02 s)."""

_READ_CACHE, _WRITE_CACHE = 8_192, 65_536  # kB
_LOG_SIZE = 4_000_000  # bytes of the write-ahead log from which it is written back into the file
SIDE_FILES = ("-wal", "-shm", "-journal")  # suffixes of the files that SQLite keeps beside a database

_LOG = logging.getLogger(__name__)

_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_abandoned: set[tuple[Path, int]] = set()
"""Files by path and inode that were overwritten while this process had them open: SQLite remembers of such a
file what was in it, and cannot open it again here."""


class Connection(sqlite3.Connection):
    """A connection to a store, with what is remembered of it."""

    path: Path
    writing: bool
    read_only: bool
    tables: dict[str, Any]  # layouts of collections, remembered by `stores.backends.sqlite_table.read_table`


def _keep_forever(thing: object) -> None:
    """Keep an object from ever being collected, at the end of the interpreter too."""
    import ctypes  # seldom needed, and slow to import

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _after_fork() -> None:
    # SQLite forbids to use or even close an inherited connection
    for database in list(_databases):
        database.forget_connections()


def _at_exit() -> None:
    for database in list(_databases):
        with suppress(MgsurfError):
            database.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


def open_files() -> list[Path]:
    """Return the files of all databases of this process."""
    return [database.path for database in list(_databases)]


def is_store(path: Path) -> bool:
    """Return whether a file is a store of mgsurf, open in this process or not.

    The header of a file that is open here is not read: closing it would drop the locks of its connections.
    """
    if not path.is_file():
        return False
    if any(file.exists() and path.samefile(file) for file in open_files()):
        return True
    with suppress(OSError), path.open("rb") as file:
        header = file.read(72)
        # https://www.sqlite.org/fileformat.html: the application's id is the big-endian number at byte 68
        return header.startswith(b"SQLite format 3\0") and header[68:] == APPLICATION_ID.to_bytes(4, "big")
    return False


class Database:
    """Connections to one SQLite file, one for each thread, safe to hold across a fork.

    Parameters
    ----------
    path
        The file; made at first use, in a folder that exists.
    timeout
        Longest wait for other writers (s).
    durable
        True: a commit survives a power cut. False: it survives the end of the process however caused, but a
        power cut may undo the last ones.
    only_reads
        For commands that do not write: where the disk is too full for the index of the log (the -shm file),
        keep it in memory, and the file locked against writers until it is closed.

    Raises
    ------
    InputError
        (at first use) If the file is not SQLite, belongs to another program or to a newer mgsurf.
    StoreError
        If the file cannot be opened, read or written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        timeout: float = 60.0,
        durable: bool = True,
        only_reads: bool = False,
    ) -> None:
        self.path = Path(path).resolve()  # as SQLite does: its log lies beside the file, not beside a link
        self.timeout = timeout
        self.durable = durable
        self.only_reads = only_reads
        self.damage = ""
        """What is wrong with the tables or indexes, as SQLite puts it; such a file is only read."""
        self._guard = Guard(self.path)
        self._connections: dict[threading.Thread, Connection] = {}
        self._lock = threading.RLock()
        _databases.add(self)

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def forget_connections(self) -> None:
        """Drop the connections of the parent process without closing them."""
        for connection in self._connections.values():
            _keep_forever(connection)
        self._connections = {}
        self._lock = threading.RLock()
        self._guard.close()
        self._guard = Guard(self.path)

    @property
    def read_only(self) -> bool:
        """True if this user may not write the file or its folder."""
        return self.path.exists() and not (
            os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        )

    def connection(self) -> Connection:
        """Return this thread's connection, opened at first use."""
        connection = self._connections.get(threading.current_thread())
        if connection is not None:
            return connection
        with self._lock, self.errors():
            if self._connections:
                self._check_there()  # of a file that is away no connection is dropped: it may come back
            self._close([thread for thread in self._connections if not thread.is_alive()])
            connection = self._open() if self._connections else self._open_first()
            self._connections[threading.current_thread()] = connection
        return connection

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        with self._lock, self.errors():
            try:
                self._close(list(self._connections))
            finally:
                self._guard.close()

    def _close(self, threads: list[threading.Thread]) -> None:
        if not threads:
            return
        try:
            self._guard.check()
        except StoreLostError:
            # closing would write the log into whatever file has the name now
            if (inode := self._guard.inode) is not None:
                _abandoned.add((self.path, inode))
            for thread in threads:
                _keep_forever(self._connections.pop(thread))
            return
        with self._guard.writing():
            for thread in threads:
                self._connections.pop(thread).close()

    def _check_there(self) -> None:
        """Raise a StoreLostError if the file is away or another one; readers let others make it again."""
        try:
            self._guard.check()
        except StoreLostError:
            if self.only_reads:
                self._guard.release()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read in one snapshot of the file (within `write`: in its transaction)."""
        connection = self.connection()
        if connection.in_transaction:
            yield connection
            return
        self._check_there()
        with self.errors():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Write in one transaction, alone: all of it or, after any error, nothing."""
        connection = self.connection()
        if connection.read_only:
            raise StoreError(
                f"The store {self.path} is read-only for this user; nothing was written. Make the file and "
                f"its folder writable, or choose another place with --store or MGSURF_STORE."
            )
        if self.damage:
            raise StoreError(f"{damaged_file(self.path, self.damage)}; nothing was written.")
        if connection.writing:
            yield connection
            return
        self._guard.check()
        with self.errors():
            connection.execute("BEGIN IMMEDIATE")
            connection.writing = True
            try:
                before = connection.total_changes
                yield connection
                if connection.total_changes != before:
                    for statement in TOKEN_SQL:
                        connection.execute(statement)
                self._guard.check()
                connection.execute("COMMIT")
            except BaseException:
                # after some errors (full disk) SQLite has rolled back already
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                connection.writing = False
        self._after_commit(connection)

    def _after_commit(self, connection: Connection) -> None:
        """Make sure that the commit went to the file that is there, and write a long log back into it."""
        self._guard.check()
        try:
            size = beside(self.path, "-wal").stat().st_size
        except FileNotFoundError:
            raise StoreLostError(
                f"The log {self.path.name}-wal of the store {self.path} was deleted while it was in use; the "
                f"last records are lost. Run the same command again."
            ) from None
        if size > _LOG_SIZE:
            with self.errors(), self._guard.writing():
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _open_first(self) -> Connection:
        """Open the file when this object has no connection to it: make it, or deal with leftovers."""
        if not self.path.parent.is_dir():
            raise InputError(f"The folder {self.path.parent} of the store does not exist; make it first.")
        if self.path.is_dir():
            raise InputError(f"The store {self.path} is a folder, not a file; name a file in it.")
        if self.path.exists() and (self.path, self.path.stat().st_ino) in _abandoned:
            raise StoreError(
                f"The store {self.path} was overwritten while this process had it open, which cannot read it "
                "again; end this process and start it again (mgsurf store restore FILE replaces a store as a "
                "whole)."
            )
        occupancy = self._guard.open(read_only=self.read_only)
        try:
            # a reader whose file was deleted after it was first opened does not make an empty one
            deleted = self.only_reads and not self.path.exists()
            if occupancy is not Occupancy.SHARED and not self.read_only and not deleted:
                self._make_missing()
            if self.path.exists():
                self._check_leftovers(occupancy)
            self._guard.settle(occupancy)
            connection = self._open()
        except BaseException:
            self._guard.close()
            raise
        try:
            self._check_structure(connection)
        except BaseException:
            with self._guard.writing():
                connection.close()
            self._guard.close()
            raise
        return connection

    def _make_missing(self) -> None:
        """Make the file if it is missing or empty: elsewhere and whole, then moved into its place."""
        if self.path.exists() and self.path.stat().st_size:
            return
        new = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.new")
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                connection.execute(
                    "CREATE TABLE mgsurf_collections (name TEXT PRIMARY KEY, heavy TEXT NOT NULL)"
                )
                for statement in TOKEN_SQL:
                    connection.execute(statement)
                connection.execute("COMMIT")
            for suffix in SIDE_FILES:
                self._put_aside(beside(self.path, suffix))
            with suppress(OSError):  # another process was first, or the file system has no hard links
                if not self.path.exists():
                    os.link(new, self.path)
            if not self.path.exists() or not self.path.stat().st_size:
                new.replace(self.path)
        finally:
            for path in (new, *(beside(new, suffix) for suffix in SIDE_FILES)):
                path.unlink(missing_ok=True)

    def _check_leftovers(self, occupancy: Occupancy) -> None:
        """Set aside the log of a killed process that does not belong to the file."""
        log, journal = beside(self.path, "-wal"), beside(self.path, "-journal")
        if occupancy is Occupancy.ALONE and journal.exists():
            with self.path.open("rb") as file:  # alone: no locks of this process to lose by closing it
                in_wal_mode = file.read(20)[18:] == b"\2\2"
            if in_wal_mode:
                self._put_aside(journal)
        if occupancy not in (Occupancy.ALONE, Occupancy.UNKNOWN) or not os.access(log, os.R_OK):
            return
        # twice: beside others that cannot be locked out the file may change between both looks
        for _ in range(1 if occupancy is Occupancy.ALONE else 2):
            if self._guard.belongs(log, self._alone("token"), lambda: self._alone("sound") == "ok"):
                return
        if occupancy is Occupancy.UNKNOWN:
            raise StoreError(
                f"The log {log.name} beside the store {self.path} does not belong to it: the file was "
                f"replaced. If no other process uses the store, restore the file with mgsurf store restore "
                f"FILE, which sets the log aside."
            )
        self._put_aside(log)
        beside(self.path, "-shm").unlink(missing_ok=True)

    def _put_aside(self, path: Path) -> None:
        is_log = path.exists() and path.stat().st_size and not path.name.endswith("-shm")
        if not is_log:
            path.unlink(missing_ok=True)
        elif new := set_aside(path):
            _LOG.warning(
                "The log %s, left by a killed process, does not belong to the store %s, which was replaced "
                "since: it is kept as %s and not used. mgsurf store restore FILE restores a backup without "
                "this.",
                path.name,
                self.path,
                new.name,
            )

    def _alone(self, what: str) -> str | None:
        """Return the token in the file without its log, or its first problem; None if it cannot be read."""
        sql = {"token": "SELECT substr(token, 15, 16) FROM mgsurf_commit", "sound": "PRAGMA quick_check(1)"}
        address = f"{self.path.as_uri()}?mode=ro&immutable=1"
        try:
            with closing(sqlite3.connect(address, uri=True)) as connection:
                found = connection.execute(sql[what]).fetchone()
        except sqlite3.DatabaseError as error:
            return NO_TOKEN if "no such table" in str(error) else None
        return str(found[0]) if found else NO_TOKEN

    def _connect(self, options: str = "") -> Connection:
        connection: Connection = sqlite3.connect(
            f"{self.path.as_uri()}?{options}" if options else str(self.path),
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
            uri=bool(options),
        )
        connection.path, connection.tables, connection.writing = self.path, {}, False
        connection.read_only = bool(options)
        return connection

    def _check(self, connection: Connection) -> None:
        """Refuse a file that is no store of this or an older mgsurf."""
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if sqlite_name(error) != "SQLITE_NOTADB":
                raise
            raise InputError(
                f"The store {self.path} is not an SQLite file; name another with --store."
            ) from error
        if application != APPLICATION_ID:
            raise InputError(
                f"The SQLite file {self.path} belongs to another program; name another file with --store."
            )
        check_version(connection.execute("PRAGMA user_version").fetchone()[0], f"The store {self.path}")

    def _check_structure(self, connection: Connection) -> None:
        """Compare tables and indexes of a file that is small enough."""
        self.damage = ""
        sizes = [path.stat().st_size for path in (self.path, beside(self.path, "-wal")) if path.exists()]
        if sum(sizes) > CHECKED_SIZE:
            return
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            self.damage = one_line(found)
            _LOG.warning("%s; it is only read, slowly.", damaged_file(self.path, self.damage))

    def _open(self) -> Connection:
        if self.read_only:
            return self._open_read_only()
        try:
            return self._open_with()
        except sqlite3.OperationalError as error:
            if not (self.only_reads and sqlite_name(error).startswith("SQLITE_IOERR_SHM")):
                raise
        try:
            return self._open_with("PRAGMA busy_timeout=2000", "PRAGMA locking_mode=EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if not sqlite_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise
            raise StoreError(
                f"The disk or quota of the store {self.path} is full, and another process uses the store; "
                f"free some space or end that process, then run the command again."
            ) from error

    def _open_with(self, *settings: str) -> Connection:
        connection = self._connect()
        try:
            for setting in settings:
                connection.execute(setting)
            self._check(connection)
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal" and not self.only_reads:  # a copy made by VACUUM INTO or sqlite3's .recover
                with self._guard.writing():
                    turn_wal_on(connection, self.timeout)
            connection.execute("PRAGMA wal_autocheckpoint=0")  # `_after_commit` does it, announced
            # kB, as much of it as is read: writers gain by it; readers, of which a server has one a thread,
            # are as fast by the operating system's own cache
            connection.execute(f"PRAGMA cache_size=-{_READ_CACHE if self.only_reads else _WRITE_CACHE}")
            connection.execute(f"PRAGMA synchronous={'FULL' if self.durable else 'NORMAL'}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_read_only(self) -> Connection:
        # Without leave to make the -shm file, WAL can only be read as a file that nobody changes.
        for options in ("mode=ro", "mode=ro&immutable=1"):
            if options != "mode=ro" and self._has_log():
                raise StoreError(
                    f"The store {self.path} {OTHER_USER} "
                    f"(to read it, this user needs leave to write its folder)."
                )
            connection = self._connect(options)
            try:
                self._check(connection)
                return connection
            except sqlite3.OperationalError as error:
                connection.close()
                last = error
            except BaseException:
                connection.close()
                raise
        raise last

    def _has_log(self) -> bool:
        with suppress(OSError):  # a writer that closes deletes it at any moment
            return beside(self.path, "-wal").stat().st_size > 0
        return False

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into one line with the remedy."""
        try:
            yield
        except MgsurfError:
            raise
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            self._guard.check()  # a lost file explains every error
            raise StoreError(explain(self.path, error, self.timeout)) from error
