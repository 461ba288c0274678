"""maggma's in-memory store with data that outlives the object, as the records in memory do."""

from __future__ import annotations

from typing import Any

from maggma.stores import MemoryStore

from stores.backends.mongo import memory_database


class SharedMemoryStore(MemoryStore):
    """A MemoryStore whose collection is shared by all of the process that name the same database."""

    def __init__(self, database: str, collection_name: str, **kwargs: Any) -> None:
        self.database_name = database
        super().__init__(collection_name=collection_name, **kwargs)
        self.database = database

    def connect(self, force_reset: bool = False) -> None:
        """Connect to the shared collection; there is nothing to reset."""
        self._coll = memory_database(self.database)[self.collection_name]

    def close(self) -> None:
        """Let go of the collection; its documents stay."""
        self._coll = None
