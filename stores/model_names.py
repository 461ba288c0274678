"""How commands name models: versions of a registry, or folders."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_version(name: str) -> bool:
    """Say whether a word means a version in a registry: champion, latest, v1, v2, ...; ./v1 is a folder."""
    return name in ("champion", "latest") or (name[:1] == "v" and name[1:].isascii() and name[1:].isdigit())


@contextmanager
def or_the_folder(name: str) -> Iterator[None]:
    """Where a version cannot be found and a folder has its name, say how to name the folder."""
    try:
        yield
    except InputError as error:
        if is_version(name) and Path(name).is_dir():
            raise InputError(f"{str(error).rstrip('.')}; for the folder write ./{name}") from error
        raise
