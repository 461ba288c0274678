"""Errors of the operating system in one line: what happened, where, what to do."""

from __future__ import annotations

import errno

_ADVICE = {
    errno.ENOSPC: ("no space left on the disk", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EFBIG: ("the file would exceed the allowed size", "raise the limit (ulimit -f) or write less"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.EACCES: ("permission denied", "change its permissions or choose another place"),
    errno.EPERM: ("operation not permitted", "change its permissions or choose another place"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("part of the path is a file, not a folder", "check the path"),
    errno.EISDIR: ("is a folder", "give a file name"),
    errno.EEXIST: ("exists already", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("the path goes round in a circle of links", "check the path"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
}


def system_line(error: OSError) -> str | None:
    """Return the line for an error; None for one that users do not cause."""
    if error.errno not in _ADVICE:
        return None
    what, todo = _ADVICE[error.errno]
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{what}; {todo}"
