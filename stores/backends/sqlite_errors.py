"""Messages for errors of SQLite and of the operating system under it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from stores.backends.guard import beside
from stores.errors import one_line

OTHER_USER = (
    "is in use by another user, or was left by a killed process; wait for that user, or have its owner run "
    "a command on it once"
)


def sqlite_name(error: Exception) -> str:
    """Return SQLite's name of an error, empty for errors that are not SQLite's."""
    return getattr(error, "sqlite_errorname", None) or ""


def damaged_file(path: Path, what: str) -> str:
    """Describe a damaged file in one line, without the full stop."""
    return (
        f"The store {path} is damaged ({what}). Restore a backup with mgsurf store restore FILE, or save "
        f"what is readable with: sqlite3 {path.name} .recover | sqlite3 NEW.sqlite"
    )


def explain(path: Path, error: Exception, timeout: float) -> str:
    """Describe an error of SQLite or the operating system; a lock was waited for `timeout` seconds."""
    # by number, never by words: the text may quote a path, and a path may hold any words
    text, number, name = one_line(error), getattr(error, "errno", None), sqlite_name(error)
    elsewhere = "choose another place with --store or MGSURF_STORE"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"The store {path} was locked by another process for {timeout:g} s; nothing was "
            f"lost. End that process (fuser {path} names it) or wait, then run the command again."
        )
    if number in (errno.ENOSPC, errno.EDQUOT) or name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):
        return (
            f"The store {path} finds no room (disk or quota full); everything stored before is "
            f"safe. Free some space and run the same command again."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or name.startswith(
        ("SQLITE_READONLY", "SQLITE_PERM")
    ):
        return (
            f"The store {path} cannot be written ({text}). Make the file and its folder writable, "
            f"or {elsewhere}."
        )
    if name.startswith("SQLITE_CANTOPEN"):
        side_files = (beside(path, "-wal"), beside(path, "-shm"))
        if any(file.exists() and not os.access(file, os.R_OK | os.W_OK) for file in side_files):
            return f"The store {path} {OTHER_USER}."
        return (
            f"The store {path} cannot be opened. Check that its folder exists and may be written, "
            f"or {elsewhere}."
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or isinstance(error, UnicodeDecodeError):
        return damaged_file(path, text)
    if name.startswith(("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT")):
        return (
            f"The store {path} cannot be read ({text}, {name}). Check the disk (dmesg, df), or "
            f"restore a copy, and run the same command again."
        )
    if name.startswith("SQLITE_IOERR"):
        return (
            f"The store {path} was refused by the disk ({text}, {name}): the disk or quota may be "
            f"full, or the disk failing; everything stored before is safe. Free some space and run the "
            f"same command again."
        )
    return f"The store {path} failed: {text}. Check the disk and run the same command again."
