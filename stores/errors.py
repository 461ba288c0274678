"""Errors that a user caused or can mend: one line each, shown without a traceback."""

from __future__ import annotations


class MgsurfError(Exception):
    """Base of all errors whose message is meant for the user.

    The message says what happened, where, and what to do. The command line prints it on one line
    and exits with `exit_code`.
    """

    exit_code = 1


class InputError(MgsurfError):
    """A file, a structure or an argument is wrong."""

    exit_code = 2


class EngineError(MgsurfError):
    """An engine cannot do what was asked (missing program, element it refuses, crash)."""

    exit_code = 3


class StoreError(MgsurfError):
    """A store cannot be reached, read or written (disk full, locked, read-only, server down)."""

    exit_code = 4
