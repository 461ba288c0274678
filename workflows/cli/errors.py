"""Every way a command can end badly, each as one line for people and an exit status for scripts."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

from stores.errors import MgsurfError, system_line
from stores.paths import home_folder
from stores.secrets import masked

EXIT_USAGE = 2
EXIT_SYSTEM = 74
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

INTERRUPTED = "interrupted; finished calculations are kept, the same command resumes there"

_SQLITE_ADVICE = (
    ("full", "the disk is full while the store was written; free some space and run the same command again"),
    ("readonly", "the store is read-only; change its permissions or choose another with --store"),
    ("unable to open", "the store cannot be opened; check that its folder exists and is writable"),
    ("locked", "the store is locked by another program; wait for it or end it"),
    ("disk i/o", "reading or writing the store failed (disk full or broken); free some space and try again"),
    ("not a database", "the store is no SQLite file; choose another with --store"),
    ("malformed", "the store file is damaged; restore a copy or choose another with --store"),
)


class Ending(NamedTuple):
    """What to print on stderr, line by line, and the exit status."""

    lines: list[str]
    exit_code: int


def ending(error: BaseException) -> Ending:
    """Describe an exception that reached the command line, without passwords and tokens.

    Parameters
    ----------
    error
        Anything but `SystemExit`.

    Returns
    -------
    Ending
        One line per problem; several only where one file has several mistakes. Nothing to print for a
        closed pipe (``mgsurf query | head``).
    """
    found = _described(error)
    return Ending([masked(line) for line in found.lines], found.exit_code)


def _described(error: BaseException) -> Ending:
    if isinstance(error, KeyboardInterrupt):
        return Ending([INTERRUPTED], EXIT_INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return Ending([], EXIT_BROKEN_PIPE)
    if isinstance(error, MgsurfError):
        return Ending([line for line in str(error).splitlines() if line.strip()], error.exit_code)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return Ending([_usage_line(error)], EXIT_USAGE)
    if _is_sqlite(error):
        return Ending([_sqlite_line(error)], EXIT_SYSTEM)
    if isinstance(error, OSError) and (line := system_line(error)) is not None:
        return Ending([line], EXIT_SYSTEM)
    if isinstance(error, RuntimeError) and "home directory" in str(error) and home_folder() is None:
        # other packages look for their settings there when they are imported
        return Ending([f"the home folder of user number {os.getuid()} is unknown; set HOME"], EXIT_USAGE)
    return Ending([_internal_line(error)], EXIT_INTERNAL)


def _usage_line(error: BaseException) -> str:
    message = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "mgsurf")
    message = message.replace("Value error, ", "").replace("Input should be", "must be")
    message = message[:1].lower() + message[1:]
    return f"{message.rstrip('.')}; see {command} --help"


def _is_sqlite(error: BaseException) -> bool:
    # without importing sqlite3 for commands that never opened a store
    sqlite3 = sys.modules.get("sqlite3")
    return sqlite3 is not None and isinstance(error, sqlite3.Error)


def _sqlite_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    for word, advice in _SQLITE_ADVICE:
        if word in text.lower():
            return f"{advice} (SQLite: {text})"
    return f"the store reports: {text}; run mgsurf doctor"


def _internal_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    line = f"internal error, {type(error).__name__}: {text[:200]}"
    try:
        handle, name = tempfile.mkstemp(prefix="mgsurf-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write(masked("".join(traceback.format_exception(error))))
    except OSError:
        return f"{line}; no log could be written, MGSURF_DEBUG=1 shows the traceback"
    return f"{line}; details in {Path(name)}, please report them (MGSURF_DEBUG=1 shows them here)"


def report(error: BaseException) -> int:
    """Print what `ending` says on stderr and return the exit status.

    Parameters
    ----------
    error
        Anything but `SystemExit`. With ``MGSURF_DEBUG=1`` the traceback is printed too.

    Returns
    -------
    int
        Exit status: 2 for bad input or usage, 3 for an engine, 74 for the operating system, 70 for a fault
        of mgsurf itself, 130 after Ctrl-C, 141 for a closed pipe.
    """
    if os.environ.get("MGSURF_DEBUG") == "1" and not isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        print(masked("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    lines, exit_code = ending(error)
    for line in lines:
        print(f"mgsurf: {line}", file=sys.stderr)
    return exit_code
