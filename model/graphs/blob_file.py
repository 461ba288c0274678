"""Bytes under keys in one SQLite file for all processes: what caches on disk are made of.

Whatever is wrong with the file, at worst everything is computed again: a damaged file is removed, a file that
cannot be written is left alone, with a warning in the log.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from stores.backends.wal import turn_wal_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

LOG = logging.getLogger(__name__)


class BlobFile:
    """Bytes by key.

    Parameters
    ----------
    path
        The file; made, with its folder, when the first bytes are put in.
    table, column
        Where the bytes are.
    noun
        What they are of, in warnings: graph.
    """

    def __init__(self, path: Path, table: str, column: str, noun: str) -> None:
        self.path = path
        self.noun = noun
        self._read = f"SELECT {column} FROM {table} WHERE key = ?"
        self._write = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"
        self._make = (
            f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, {column} BLOB NOT NULL) WITHOUT ROWID"
        )

    def read(self, keys: Iterable[str], unpack: Callable[[bytes], T]) -> dict[str, T]:
        """Return what is there, unpacked; bytes that `unpack` refuses count as missing."""
        if not self.path.exists():
            return {}
        found: dict[str, T] = {}
        try:
            with closing(self._connect()) as connection:
                for key in dict.fromkeys(keys):
                    row = connection.execute(self._read, (key,)).fetchone()
                    with suppress(ValueError, KeyError, TypeError):
                        if row is not None:
                            found[key] = unpack(row[0])
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        return found

    def write(self, blobs: Mapping[str, bytes]) -> None:
        """Write bytes; those under the same key are replaced."""
        if not blobs:
            return
        for _ in range(2):  # the second time with a new file
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._connect()) as connection, connection:
                    connection.execute(self._make)
                    connection.executemany(self._write, list(blobs.items()))
                return
            except (sqlite3.Error, OSError) as error:
                if not self._failed(error):
                    return

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            turn_wal_on(connection)
            # losing the last entries in a power cut does no harm
            connection.execute("PRAGMA synchronous=OFF")
            if self.path.stat().st_size > 0:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _failed(self, error: Exception) -> bool:
        """Remove a damaged file; return whether it is worth trying again."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if "no such table" in str(error):
            return False  # another process is just making it
        missing = "no such column" in str(error)
        if not damaged and not missing:
            LOG.warning(
                "The %s cache %s cannot be used (%s); what it would hold is computed again.",
                self.noun,
                self.path,
                error,
            )
            return False
        LOG.info("The %s cache %s is damaged (%s) and started again.", self.noun, self.path, error)
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return True
