"""SQLite's write-ahead log, turned on by several processes at once."""

from __future__ import annotations

import sqlite3
import time


def turn_wal_on(connection: sqlite3.Connection, longest: float = 60.0) -> None:
    """Turn the write-ahead log on; wait up to `longest` (s) while others do so, as SQLite itself does not."""
    deadline = time.monotonic() + longest
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
