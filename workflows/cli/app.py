"""The command `mgsurf`: one clear line for everything that goes wrong in a subcommand."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING

import workflows.cli.commands  # noqa: F401 -- declares the commands# noqa: F401 -- declares the commands# noqa: F401 -- declares the commands# noqa: F401 -- declares the commands
from stores.secrets import MaskedFormatter, remember_address
from workflows.cli.typer_app import app as app

if TYPE_CHECKING:
    from types import FrameType


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    arguments
        Instead of those of the process.
    """
    # Imported before anything can go wrong: reporting an error must not need an import.
    from workflows.cli.errors import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, report

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
        if code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this status without a word
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
        # the reader is gone or the disk is full, which has been said; Python would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code == 130:
        # Python would end itself by the signal, without our status, if code that a compiled module ran
        # was what the signal hit
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
