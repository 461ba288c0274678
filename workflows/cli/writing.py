"""The store of a command that adds to what is there already."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from stores.connections import open_store, resolve_store_uri
from workflows.cli.query import existing_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stores.surfaces import SurfaceStore


@contextmanager
def store_to_write(uri: str | None) -> Iterator[SurfaceStore]:
    """Open a store that exists: a slip in its name is told, not made into an empty store.

    Parameters
    ----------
    uri
        Value of ``--store``.

    Raises
    ------
    InputError
        If there is no store, or it is none of ours.
    """
    with existing_store(uri):
        pass
    with open_store(resolve_store_uri(uri)) as store:
        yield store
