"""The name of the user that runs this process, for notes on who made something."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress


def user_name() -> str | None:
    """Return the user's name; None where a container runs under a number without a name."""
    with suppress(OSError, KeyError):  # which of them depends on the Python version
        return getpass.getuser()
    return None


def user_and_host() -> str:
    """Return ``user@host``; the user is ``unknown`` where it has no name."""
    return f"{user_name() or 'unknown'}@{socket.gethostname()}"
