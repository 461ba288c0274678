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


class StoreLostError(StoreError):
    """The store was deleted, truncated or replaced while it was open; it is not created again."""


class DamagedDocumentError(StoreError):
    """A stored document does not agree with its checksum or is not JSON; the others are readable."""


def one_line(text: object) -> str:
    """Return a text on one line, with a question mark for everything that cannot be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def install_command(extra: str) -> str:
    """Return the command, for the folder of the clone, that installs an extra of ``pyproject.toml``.

    mgsurf is on no package index. Extras that need torch take its build for CPUs first: the default build
    brings several GB of CUDA libraries.
    """
    torch = "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu && "
    return (
        f"{torch if extra in ('model', 'forcefields') else ''}pip install -c constraints.txt -e '.[{extra}]'"
    )
