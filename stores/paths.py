"""Paths as users write them, the home and cache folders, and the name of this user."""

from __future__ import annotations

import errno
import getpass
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

from stores.errors import InputError


def home_folder() -> Path | None:
    """Return the home folder of this user: HOME, else the entry in the password file; None without either.

    Containers and batch systems start programs under user numbers that have no entry.
    """
    try:
        return Path.home()
    except RuntimeError:
        return None


def expand_user(path: str | Path, where: str = "") -> Path:
    """Replace a leading ``~`` or ``~name`` by the home folder; `InputError` if none is known.

    `where` is the option, variable or key of a file that holds the path, for the message.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0][1:]
        shown = f"{where}: {path}" if where else str(path)
        if user:
            raise InputError(f"{shown}: there is no user {user}; write the path without ~{user}") from None
        raise InputError(
            f"{shown}: the home folder is unknown (HOME is not set and user number {os.getuid()} has no "
            "entry in the password file); set HOME or write the path without ~"
        ) from None


def kind_of_path(path: str | Path) -> Literal["file", "folder", "other", ""]:
    """Return what is at a path; empty if nothing is, or nothing can be because no file has such a name.

    `Path.exists` and its like raise an `OSError` for a name of over 255 bytes, such as a long formula.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 -- takes texts as they are
    except ValueError:  # a null character
        return ""
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return ""
        raise
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


STORE_ENDINGS = (".sqlite", ".sqlite3", ".db")


def names_store(text: str) -> bool:
    """Whether a text is the address of a store, by its scheme or its ending; the store may not exist."""
    return "://" in text or text.lower().endswith(STORE_ENDINGS)


def cache_folder() -> Path:
    """Return the folder of caches: MGSURF_CACHE, else mgsurf in XDG_CACHE_HOME, else in ~/.cache.

    Raises `InputError` if it lies in the home folder, which is unknown.
    """
    if given := os.environ.get("MGSURF_CACHE"):
        return expand_user(given, "MGSURF_CACHE")
    if given := os.environ.get("XDG_CACHE_HOME"):
        return expand_user(given, "XDG_CACHE_HOME") / "mgsurf"
    if home_folder() is None:
        raise InputError(
            f"no folder for caches: HOME is not set and user number {os.getuid()} has no entry in the "
            "password file; set HOME or MGSURF_CACHE"
        )
    return expand_user("~/.cache/mgsurf")


def user_name() -> str | None:
    """Return the user's name; None where a container runs under a number without a name."""
    with suppress(OSError, KeyError):  # which of them depends on the Python version
        return getpass.getuser()
    return None


def user_and_host() -> str:
    """Return ``user@host``; the user is ``unknown`` where it has no name."""
    return f"{user_name() or 'unknown'}@{socket.gethostname()}"
