"""The store that pages are made of: opened for reading only, and again where its file was replaced."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stores.connections import open_store, parse_uri
from stores.errors import MgsurfError, StoreError, StoreLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stores.surfaces import SurfaceStore

T = TypeVar("T")


class StoreUnavailableError(StoreError):
    """The store cannot be opened: it is missing, damaged or of a newer mgsurf."""


class StoreSource:
    """Opens a store at the first request, and again after its file was deleted or replaced.

    Parameters
    ----------
    uri
        As in `stores.connections`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._store: SurfaceStore | None = None
        self._lock = threading.Lock()

    def store(self) -> SurfaceStore:
        """Return the store, opened without writing anything; StoreUnavailableError if there is none."""
        with self._lock:
            if self._store is None:
                try:
                    self._store = open_store(self.uri, must_exist=True)
                except MgsurfError as error:
                    raise StoreUnavailableError(str(error)) from error
            return self._store

    def read(self, reader: Callable[[SurfaceStore], T]) -> T:
        """Return what a function reads from the store; where the file was replaced, from the new one."""
        store = self.store()
        try:
            return reader(store)
        except StoreLostError:
            self._check_there()
            self._forget(store)
            return reader(self.store())

    def close(self) -> None:
        """Close the store; the next request opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None

    def _check_there(self) -> None:
        """Keep the store that was opened while its file is away: it may come back, with its log."""
        place = parse_uri(self.uri)
        if place.kind == "sqlite" and not Path(place.target).exists():
            try:
                open_store(self.uri, must_exist=True).close()
            except MgsurfError as error:
                raise StoreUnavailableError(str(error)) from error

    def _forget(self, store: SurfaceStore) -> None:
        """Give up a lost store, and its lock; connections that other threads hold are dropped, not closed."""
        with self._lock:
            if self._store is store:
                self._store = None
                store.close()
