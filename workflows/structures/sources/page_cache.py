"""Answers of databases on disk: one SQLite file, safe for several processes, replaced when it is damaged.

An answer (a *fetch*) arrives page by page. Each page is written at once, with the address of the next, so
that an interrupted fetch is resumed; until its last page has come it never counts as complete.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
import zlib
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from stores.backends.wal import turn_wal_on
from stores.files import FileLock
from stores.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOG = logging.getLogger(__name__)

_KEEP = 90 * 86400.0  # s; older fetches are removed
_TABLES = """
CREATE TABLE IF NOT EXISTS fetches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, begun REAL NOT NULL, finished REAL,
    pages INTEGER NOT NULL, next TEXT, total INTEGER, note TEXT
);
CREATE INDEX IF NOT EXISTS fetches_of_key ON fetches (key);
CREATE TABLE IF NOT EXISTS entries (
    fetch INTEGER NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (fetch, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, written REAL NOT NULL);
"""


@dataclass(frozen=True)
class Fetch:
    """State of the answer to one request."""

    number: int  # A later fetch has a higher number
    # begun, finished: seconds since the epoch; `finished` is None until the last page has come
    begun: float
    finished: float | None
    pages: int  # number of pages that have come
    next: str | None  # address of the next page; None after the last one, empty if it was given up
    total: int | None  # number of entries that the database announces; None if it does not
    note: str | None  # line for the user about a finished fetch


class PageCache:
    """Answers by the hash of their request.

    The file is made when it is opened. A damaged one is removed; if it cannot be written, a temporary one
    takes its place for this object's life.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_cache_file()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> None:
        """Make or check the file and remove old fetches."""
        for _ in range(2):  # the second time with a new file
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self._connected() as connection:
                    (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                    if health != "ok":
                        raise sqlite3.DatabaseError(" ".join(str(health).split())[:80])
                    connection.executescript(_TABLES)
                    old = time.time() - _KEEP
                    gone = connection.execute("SELECT number FROM fetches WHERE begun < ?", (old,)).fetchall()
                    _remove(connection, [number for (number,) in gone])
                return
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                    error, sqlite3.OperationalError
                ):
                    LOG.warning("The cache %s is damaged (%s) and starts empty.", self.path, error)
                    for suffix in ("", "-wal", "-shm"):
                        with suppress(OSError):
                            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                    continue
                break
        LOG.warning("The cache %s cannot be used; answers of databases are not kept.", self.path)
        self._temporary = tempfile.TemporaryDirectory(prefix="mgsurf-sources-")
        self.path = Path(self._temporary.name) / "sources.sqlite"
        with self._connected() as connection:
            connection.executescript(_TABLES)

    def latest(self, key: str, *, finished: bool) -> Fetch | None:
        """Return the newest fetch of a request that is finished, or not; one without pages comes last."""
        condition = "NOT NULL" if finished else "NULL"
        with self._connected() as connection:
            row = connection.execute(
                "SELECT number, begun, finished, pages, next, total, note FROM fetches "
                f"WHERE key = ? AND finished IS {condition} ORDER BY pages > 0 DESC, number DESC LIMIT 1",
                (key,),
            ).fetchone()
        return Fetch(*row) if row else None

    def begin(self, key: str) -> Fetch:
        """Start a new fetch; an unfinished one of the same request stays until the first page has come."""
        with self._connected() as connection:
            begun = time.time()
            cursor = connection.execute(
                "INSERT INTO fetches (key, begun, pages) VALUES (?, ?, 0)", (key, begun)
            )
            return Fetch(int(cursor.lastrowid or 0), begun, None, 0, None, None, None)

    def add_page(
        self, fetch: int, rows: Sequence[tuple[str, Any]], next_page: str | None, total: int | None
    ) -> int:
        """Write a page of (id, content in plain types); return how many of the ids are new."""
        packed = [(fetch, entry_id, _pack(content)) for entry_id, content in rows]
        with self._connected() as connection:
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", packed)
            new = connection.total_changes - before
            connection.execute(
                "UPDATE fetches SET pages = pages + 1, next = ?, total = coalesce(?, total) WHERE number = ?",
                (next_page, total, fetch),
            )
            older = (
                "SELECT number FROM fetches WHERE finished IS NULL AND number < ? "
                "AND key = (SELECT key FROM fetches WHERE number = ?)"
            )
            _remove(
                connection, [number for (number,) in connection.execute(older, (fetch, fetch)).fetchall()]
            )
        return new

    def give_up(self, fetch: int) -> None:
        """Drop the address of the next page: the entries stay until the request is made again."""
        with self._connected() as connection:
            connection.execute("UPDATE fetches SET next = '' WHERE number = ?", (fetch,))

    def finish(self, fetch: int, key: str, note: str | None) -> None:
        """Mark a fetch as complete and remove the older ones of the same request."""
        with self._connected() as connection:
            connection.execute(
                "UPDATE fetches SET finished = ?, next = NULL, note = ? WHERE number = ?",
                (time.time(), note, fetch),
            )
            older = "SELECT number FROM fetches WHERE key = ? AND number < ?"
            _remove(connection, [number for (number,) in connection.execute(older, (key, fetch)).fetchall()])

    def count(self, fetch: int) -> int:
        """Return the number of entries that have come."""
        with self._connected() as connection:
            row = connection.execute("SELECT count(*) FROM entries WHERE fetch = ?", (fetch,)).fetchone()
        return int(row[0])

    def entries(self, fetch: int) -> Iterator[tuple[str, Any]]:
        """Yield (id, content) sorted by id; the content of a damaged entry is None."""
        with self._connected() as connection:
            query = "SELECT id, body FROM entries WHERE fetch = ? ORDER BY id"
            for entry_id, body in connection.execute(query, (fetch,)):
                yield entry_id, _unpack(body)

    def remove(self, fetch: int) -> None:
        """Remove a fetch."""
        with self._connected() as connection:
            _remove(connection, [fetch])

    def fact(self, key: str, max_age: float) -> str | None:
        """Return a small text written not longer than `max_age` (s) ago."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT value FROM facts WHERE key = ? AND written >= ?", (key, time.time() - max_age)
            ).fetchone()
        return str(row[0]) if row else None

    def write_fact(self, key: str, value: str) -> None:
        """Write a small text."""
        with self._connected() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, value, time.time()))

    @contextmanager
    def turn(self, key: str, stopped: Callable[[], bool]) -> Iterator[None]:
        """Let one process or thread at a time make a request; the others wait and find its answer.

        The lock is the file system's and ends with the process that holds it; where the file system has none,
        both fetch.
        """
        folder = self.path.with_name(self.path.name + ".locks")
        lock = FileLock(folder / key[:32])
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            lock.acquire(stopped=stopped)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            turn_wal_on(connection)
            # losing the last pages in a power cut does no harm
            connection.execute("PRAGMA synchronous=OFF")
            with connection:
                yield connection


def default_cache_file() -> Path:
    """Return ``sources.sqlite`` in the folder of caches."""
    return cache_folder() / "sources.sqlite"


def _remove(connection: sqlite3.Connection, fetches: Sequence[int]) -> None:
    for number in fetches:
        connection.execute("DELETE FROM entries WHERE fetch = ?", (number,))
        connection.execute("DELETE FROM fetches WHERE number = ?", (number,))


def _pack(content: Any) -> bytes:
    text = orjson.dumps(content)
    return zlib.crc32(text).to_bytes(4, "little") + text


def _unpack(body: bytes) -> Any:
    if len(body) < 4 or zlib.crc32(body[4:]) != int.from_bytes(body[:4], "little"):
        return None
    return orjson.loads(body[4:])
