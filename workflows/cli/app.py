"""The command `mgsurf`: every way it can end badly is one line for people and an exit status for scripts."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import tempfile
import traceback
import warnings
from typing import TYPE_CHECKING, NamedTuple

from stores.errors import MgsurfError, one_line, system_line
from stores.paths import home_folder
from stores.secrets import MaskedFormatter, masked, remember_address
from workflows.cli.typer_app import app as app

# isort: off
# every module declares its commands, which the help lists in this order
from workflows.cli import run as run
from workflows.cli import enumerate as enumerate_  # noqa: F401
from workflows.cli import slabs as slabs
from workflows.cli import converge as converge
from workflows.cli import ingest as ingest
from workflows.cli import queue as queue
from workflows.cli import status as status
from workflows.cli import log as log
from workflows.cli import query as query
from workflows.cli import plot as plot
from workflows.cli import serve as serve
from workflows.cli import export as export
from workflows.cli import audit as audit
from workflows.cli import import_labels as import_labels
from workflows.cli import train as train
from workflows.cli import ablate as ablate
from workflows.cli import transfer as transfer
from workflows.cli import pretrain as pretrain
from workflows.cli import predict as predict
from workflows.cli import tune as tune
from workflows.cli import simulate as simulate
from workflows.cli import suggest as suggest
from workflows.cli import refresh as refresh
from workflows.cli import schedule as schedule
from workflows.cli import rounds as rounds
from workflows.cli import screen as screen
from workflows.cli import figures as figures
from workflows.cli import snapshot as snapshot
from workflows.cli import models as models
from workflows.cli import publish as publish
from workflows.cli import init_hpc as init_hpc
from workflows.cli import doctor as doctor
from workflows.cli import store as store
# isort: on

if TYPE_CHECKING:
    from types import FrameType

EXIT_USAGE = 2
EXIT_SYSTEM = 74
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

INTERRUPTED = "interrupted; what is finished is kept, the same command resumes there"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, with the arguments of the process if None, and leave with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # a locale without γ or Å loses these letters, not the whole table
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if os.environ.get("MGSURF_DEBUG") != "1":
        _hush()
    else:
        _show_warnings()
    for argument in sys.argv[1:] if arguments is None else arguments:
        remember_address(argument)
    interrupted: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        # noted, because a compiled module that is being loaded turns the exception into an ImportError
        interrupted.append(signum)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    code = 0
    try:
        result = app(args=arguments, prog_name="mgsurf", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        if code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this status without a message
            report(KeyboardInterrupt())
        sys.stdout.flush()
    except SystemExit as error:
        # typer leaves so when the reader of a pipe is gone
        closed = isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE
        code = EXIT_BROKEN_PIPE if closed else error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 -- no traceback ever reaches the user
        code = report(KeyboardInterrupt() if interrupted else error)
    _leave(code)


def _hush() -> None:
    """Show our own warnings as lines; those of other libraries are about their own affairs."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    ours = logging.StreamHandler()
    ours.setLevel(logging.WARNING)
    ours.setFormatter(MaskedFormatter("mgsurf: %(message)s"))
    for package in ("stores", "model", "workflows"):
        logging.getLogger(package).addHandler(ours)


def _show_warnings() -> None:
    """Show warnings of all libraries, without secrets."""
    shown = logging.StreamHandler()
    shown.setFormatter(MaskedFormatter("%(message)s"))
    logging.getLogger().addHandler(shown)
    logging.captureWarnings(True)


def _leave(code: int) -> None:
    # a second Ctrl-C while Python tidies up would print a traceback
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # the reader is gone or the disk is full, which was reported; Python would report it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code == EXIT_INTERRUPTED:
        # Python would end itself by the signal, without our status, if code that a compiled module ran
        # was what the signal hit
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class Ending(NamedTuple):
    """What to print on stderr, line by line, and the exit status."""

    lines: list[str]
    exit_code: int


def ending(error: BaseException) -> Ending:
    """Describe an exception that reached the command line, without passwords and tokens.

    One line per problem, several only where one file has several mistakes; none for a closed pipe
    (``mgsurf query | head``).
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
        # files of other programs; the stores describe their own errors
        text = f"an SQLite file failed: {one_line(error)}; check disk and permissions, then run this again"
        return Ending([text], EXIT_SYSTEM)
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
    return f"{message.rstrip('.') or 'no command given'}; see {command} --help"


def _is_sqlite(error: BaseException) -> bool:
    # without importing sqlite3 for commands that never opened a store
    sqlite3 = sys.modules.get("sqlite3")
    return sqlite3 is not None and isinstance(error, sqlite3.Error)


def _internal_line(error: BaseException) -> str:
    text = one_line(error) or "no message"
    line = f"internal error, {type(error).__name__}: {text[:200]}"
    try:
        handle, name = tempfile.mkstemp(prefix="mgsurf-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write(masked("".join(traceback.format_exception(error))))
    except OSError:
        return f"{line}; no log could be written, MGSURF_DEBUG=1 shows the traceback"
    return f"{line}; details in {name}, please report them (MGSURF_DEBUG=1 shows them here)"


def report(error: BaseException) -> int:
    """Print the lines of `ending` on stderr, with MGSURF_DEBUG=1 after the traceback; return the status.

    The exit status is 2 for bad input or usage, 3 for an engine, 4 for a store, 74 for the operating system,
    70 for a fault of mgsurf itself, 130 after Ctrl-C, 141 for a closed pipe.
    """
    if os.environ.get("MGSURF_DEBUG") == "1" and not isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        print(masked("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    lines, exit_code = ending(error)
    for line in lines:
        print(f"mgsurf: {line}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    main()
