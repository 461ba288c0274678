"""Errors that a user caused or can fix, one line each without a traceback; words for numbers and times."""

from __future__ import annotations

import errno
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError


class MgsurfError(Exception):
    """Base of all errors whose message is meant for the user.

    The message gives what happened, where, and what to do. The command line prints it on one line
    and exits with `exit_code`.
    """

    exit_code = 1


class InputError(MgsurfError):
    """A file, a structure or an argument is wrong."""

    exit_code = 2


class EngineError(MgsurfError):
    """An engine cannot run a calculation (missing program, element it refuses, crash)."""

    exit_code = 3


class StoreError(MgsurfError):
    """A store cannot be reached, read or written (disk full, locked, read-only, server down)."""

    exit_code = 4


class StoreLostError(StoreError):
    """The store was deleted, truncated or replaced while it was open; it is not created again."""


class DamagedDocumentError(StoreError):
    """A stored document is not JSON, or differs from its checksum or its form; the others are readable."""


@contextmanager
def refusing(problem: str) -> Iterator[None]:
    """Raise InputError with a problem, such as "its trees are damaged", where a value is of a wrong kind."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{problem} ({error})") from error


def one_line(text: object) -> str:
    """Return a text on one line, with a question mark for everything that cannot be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def first_problem(error: ValidationError) -> str:
    """Return place and message of the first of pydantic's errors: ``slab.lattice: Field required``."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


_CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"


def install_command(extra: str) -> str:
    """Return the command that installs an extra of ``pyproject.toml``: from the clone, else from the wheel.

    mgsurf is on no package index. Extras that need torch take its build for CPUs first: the default build
    brings several GB of CUDA libraries.
    """
    torch = "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu && "
    before = torch if extra in ("model", "forcefields", "foundation") else ""
    if _CONSTRAINTS.is_file():
        return f"{before}pip install -c constraints.txt -e '.[{extra}]'"
    return f"{before}pip install 'mgsurf[{extra}] @ {_wheel()}'"


def _wheel() -> str:
    """Return the address that pip installed mgsurf from (PEP 610), or how one looks."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        url = json.loads(distribution("mgsurf").read_text("direct_url.json") or "{}").get("url")
    except (PackageNotFoundError, ValueError, AttributeError):
        url = None
    return url if isinstance(url, str) else "file:///FOLDER/mgsurf-VERSION-py3-none-any.whl"


def pluralize(number: int, noun: str) -> str:
    """Return a number of things: 1 slab, 3 slabs; the plural of the noun ends in a mere s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a time (s) for people: 40 s, 6 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
