"""One process at a time in a folder of a training or a search."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class InUseError(InputError):
    """Another process works in this folder."""


@contextmanager
def alone_in(folder: Path, lock: str, work: str) -> Iterator[None]:
    """Hold a folder; the system lets go of it when this process ends, however it ends.

    Parameters
    ----------
    folder
        Exists.
    lock
        Name of the lock file in it.
    work
        What another process may be doing there, for the message: "another process trains".

    Raises
    ------
    InUseError
        If another process holds it.
    """
    with (folder / lock).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InUseError(
                f"{folder}: {work} here; wait for it, or choose another folder with --output"
            ) from error
        yield
