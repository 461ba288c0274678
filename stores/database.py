"""One SQLite file: opening and checking it, transactions, and errors in words.

The file is in WAL mode: readers never wait, writers wait for one another, and after a kill -9 or a power cut
every committed document is there and no other. WAL needs a file system with working locks and shared memory:
a local disk, or a network disk used from one machine at a time; several machines need MongoDB.
"""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stores.collection import SCHEMA_VERSION as SCHEMA_VERSION
from stores.errors import InputError, MgsurfError, StoreError
from stores.filters_sql import MATCH, TEXT_MATCH
from stores.values import loads
from stores.wal import turn_wal_on

APPLICATION_ID = 0x6D677366  # "mgsf"

_OTHER_USER = (
    "is in use by another user, or was left by a killed process; wait for that user, or have its owner run "
    "a command on it once"
)

_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Any] = []


class Connection(sqlite3.Connection):
    """A connection that weak references can point to, with the predicates of the filters it runs."""

    predicates: dict[int, Callable[[Any], bool]]
    writing: bool
    read_only: bool
    tables: dict[str, Any]
    """Layouts of collections, remembered by `stores.tables.read_table`."""
    irregular: dict[tuple[str, str, bytes, bytes], bool]
    """Which columns hold arrays or objects, as of `data_version`; see `stores.tables.Table.layout`."""
    data_version: int


def _after_fork() -> None:
    # SQLite forbids to use or even close an inherited connection: keep it from the garbage collector.
    for database in list(_databases):
        database.forget_connections()


os.register_at_fork(after_in_child=_after_fork)


def open_files() -> list[Path]:
    """Return the files of all databases of this process."""
    return [database.path for database in list(_databases)]


def is_store(path: Path) -> bool:
    """Tell a store of mgsurf, open in this process or not, from any other file.

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
    read_only
        Open for reading only. A file that this user may not write is opened so by itself.
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
        read_only: bool = False,
        only_reads: bool = False,
    ) -> None:
        self.path = Path(path).absolute()
        self.timeout = timeout
        self.durable = durable
        self.only_reads = only_reads
        self._asked_read_only = read_only
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.numbers = itertools.count()
        _databases.add(self)

    def forget_connections(self) -> None:
        """Drop the connections of the parent process without closing them."""
        _inherited.extend(self._connections)
        _inherited.append(self._local)
        self._local = threading.local()
        self._connections = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def read_only(self) -> bool:
        """True if asked for, or if this user may not write the file or its folder."""
        if self._asked_read_only:
            return True
        if not self.path.exists():
            return False
        return not (os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK))

    def connection(self) -> Connection:
        """Return this thread's connection, opened at first use."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self.errors():
                read_only = self.read_only
                connection = self._open_read_only() if read_only else self._open()
            connection.read_only = read_only
            self._local.connection = connection
            with self._lock:
                self._connections.add(connection)
        return connection

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        with self._lock:
            connections, self._connections = list(self._connections), weakref.WeakSet()
            self._local = threading.local()
        with self.errors():
            for connection in connections:
                connection.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read in one snapshot of the file (within `write`: in its transaction)."""
        connection = self.connection()
        if connection.in_transaction:
            yield connection
            return
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
        if connection.writing:
            yield connection
            return
        with self.errors():
            connection.execute("BEGIN IMMEDIATE")
            connection.writing = True
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # after some errors (full disk) SQLite has rolled back already
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                connection.writing = False

    def _connect(self, target: str, *, uri: bool = False) -> Connection:
        connection: Connection = sqlite3.connect(
            target,
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
            uri=uri,
        )
        connection.predicates, connection.tables, connection.writing = {}, {}, False
        connection.irregular, connection.data_version = {}, -1
        # SQLite calls the functions below only while the connection lives: weak() is never None there
        weak = weakref.ref(connection)

        def match(number: int, light: str, heavy: str | None = None) -> bool:
            document = loads(light)
            if heavy is not None:
                document.update(loads(heavy))
            return weak().predicates[number](document)  # type: ignore[union-attr]

        connection.create_function(MATCH, -1, match)
        connection.create_function(
            TEXT_MATCH,
            2,
            lambda number, value: weak().predicates[number](value),  # type: ignore[union-attr]
        )
        return connection

    def _check_place(self) -> None:
        # The file itself is left to SQLite: closing any descriptor of it would drop the POSIX locks of this
        # process's other connections, and another process could remove the log under them.
        if not self.path.parent.is_dir():
            raise InputError(f"The folder {self.path.parent} of the store does not exist; make it first.")
        if self.path.is_dir():
            raise InputError(f"The store {self.path} is a folder, not a file; name a file in it.")

    def _check(self, connection: Connection) -> bool:
        """Return True if the file is ours, False if it is empty."""
        connection.execute("BEGIN")  # one snapshot: another process may be laying the file out just now
        try:
            return self._check_contents(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _check_contents(self, connection: Connection) -> bool:
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if _name_of(error) != "SQLITE_NOTADB":
                raise
            raise InputError(
                f"The store {self.path} is not an SQLite file; name another with --store."
            ) from error
        if application == APPLICATION_ID:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise InputError(
                    f"The store {self.path} was written by a newer mgsurf (layout {version}, this "
                    f"one reads up to {SCHEMA_VERSION}); upgrade mgsurf."
                )
            return True
        if application or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise InputError(
                f"The SQLite file {self.path} belongs to another program; name another file with --store."
            )
        return False

    def _open(self) -> Connection:
        self._check_place()
        try:
            return self._open_and_check()
        except sqlite3.OperationalError as error:
            if not (self.only_reads and _name_of(error).startswith("SQLITE_IOERR_SHM")):
                raise
        try:
            return self._open_and_check("PRAGMA busy_timeout=2000", "PRAGMA locking_mode=EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if not _name_of(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise
            raise StoreError(
                f"The disk or quota of the store {self.path} is full, and another process uses the store; "
                f"free some space or end that process, then run the command again."
            ) from error

    def _open_and_check(self, *settings: str) -> Connection:
        connection = self._connect(str(self.path))
        try:
            for setting in settings:
                connection.execute(setting)
            if not self._check(connection):
                self._lay_out(connection)
            connection.execute("PRAGMA cache_size=-65536")  # kB; as much of it as is read
            connection.execute(f"PRAGMA synchronous={'FULL' if self.durable else 'NORMAL'}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _lay_out(self, connection: Connection) -> None:
        turn_wal_on(connection, self.timeout)
        connection.execute("BEGIN IMMEDIATE")
        if not self._check_contents(connection):  # another process may have been first
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("CREATE TABLE mgsurf_collections (name TEXT PRIMARY KEY, heavy TEXT NOT NULL)")
        connection.execute("COMMIT")

    def _open_read_only(self) -> Connection:
        self._check_place()
        address = self.path.as_uri()
        # Without leave to make the -shm file, WAL can only be read as a file that nobody changes.
        for options in ("mode=ro", "mode=ro&immutable=1"):
            if options != "mode=ro" and self._has_journal():
                raise StoreError(
                    f"The store {self.path} {_OTHER_USER} "
                    f"(to read it, this user needs leave to write its folder)."
                )
            connection = self._connect(f"{address}?{options}", uri=True)
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

    def _has_journal(self) -> bool:
        journal = self.path.with_name(self.path.name + "-wal")
        with suppress(OSError):
            return journal.stat().st_size > 0
        return False

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into one line that says what to do."""
        try:
            yield
        except MgsurfError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        # by number, never by words: the text may quote a path, and a path may hold any words
        text, number, name = str(error), getattr(error, "errno", None), _name_of(error)
        elsewhere = "choose another place with --store or MGSURF_STORE"
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return (
                f"The store {self.path} was locked by another process for {self.timeout:g} s; nothing was "
                f"lost. End that process (fuser {self.path} names it) or wait, then run the command again."
            )
        if number in (errno.ENOSPC, errno.EDQUOT) or name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):
            return (
                f"The store {self.path} finds no room (disk or quota full); everything stored before is "
                f"safe. Free some space and run the same command again."
            )
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) or name.startswith(
            ("SQLITE_READONLY", "SQLITE_PERM")
        ):
            return (
                f"The store {self.path} cannot be written ({text}). Make the file and its folder writable, "
                f"or {elsewhere}."
            )
        if name.startswith("SQLITE_CANTOPEN"):
            if any(path.exists() and not os.access(path, os.R_OK | os.W_OK) for path in self._beside()):
                return f"The store {self.path} {_OTHER_USER}."
            return (
                f"The store {self.path} cannot be opened. Check that its folder exists and may be written, "
                f"or {elsewhere}."
            )
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return (
                f"The store {self.path} is damaged ({text}). Restore a copy, or save what is readable with: "
                f"sqlite3 {self.path.name} .recover"
            )
        if name.startswith(("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT")):
            return (
                f"The store {self.path} cannot be read ({text}, {name}). Check the disk (dmesg, df), or "
                f"restore a copy, and run the same command again."
            )
        if name.startswith("SQLITE_IOERR"):
            return (
                f"The store {self.path} was refused by the disk ({text}, {name}): the disk or quota may be "
                f"full, or the disk failing; everything stored before is safe. Free some space and run the "
                f"same command again."
            )
        return f"The store {self.path} failed: {text}. Check the disk and run the same command again."

    def _beside(self) -> list[Path]:
        return [self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm")]


def _name_of(error: Exception) -> str:
    """Return SQLite's name of an error, empty for errors that are not SQLite's."""
    return getattr(error, "sqlite_errorname", None) or ""
