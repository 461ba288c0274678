"""Collections in MongoDB, or in memory behind the same interface (mongomock_ng, what maggma uses)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stores.collection import CollectionLayout
from stores.errors import InputError, StoreError
from stores.filters import predicate
from stores.projections import Projection, Properties, upwards
from stores.values import dumps, loads, order_key, plain

DEFAULT_DATABASE = "mgsurf"
SERVER_TIMEOUT = 4.0
"""Longest search for a MongoDB server (s)."""

_memory: dict[str, Any] = {}


def masked(uri: str) -> str:
    """Return a URI without its password."""
    return re.sub(r"(//[^:/@]+):[^@]*@", r"\1:***@", uri)


def database_name(uri: str) -> str:
    """Return the database that a MongoDB URI names, else the default one."""
    return urlsplit(uri).path.strip("/") or DEFAULT_DATABASE


@contextmanager
def mongo_errors(place: str) -> Iterator[None]:
    """Turn errors of pymongo into one line.

    Raises
    ------
    StoreError
        If the server is down, refuses, or fails.
    """
    from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError, ServerSelectionTimeoutError

    try:
        yield
    except (
        InvalidURI,
        ConfigurationError,
        ValueError,
    ) as error:  # pymongo: ValueError for a port that is none
        raise InputError(f"The store {place} cannot be used: {_one_line(error)}") from error
    except ServerSelectionTimeoutError as error:
        raise StoreError(
            f"No MongoDB server answers at {place} ({_one_line(error)}); start it or correct the URI."
        ) from error
    except PyMongoError as error:
        raise StoreError(f"The MongoDB store {place} failed: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(masked(str(error)).split(", Timeout")[0].split())[:200]


def mongo_database(uri: str) -> Any:
    """Return the database of a URI once its server has answered.

    Raises
    ------
    StoreError
        If no server answers within `SERVER_TIMEOUT` seconds.
    """
    from pymongo import MongoClient

    with mongo_errors(masked(uri)):
        client: Any = MongoClient(uri, serverSelectionTimeoutMS=int(SERVER_TIMEOUT * 1000))
        client.admin.command("ping")
        return client[database_name(uri)]


def memory_database(name: str) -> Any:
    """Return the in-memory database of this name, one for the whole process."""
    from mongomock_ng import MongoClient

    if name not in _memory:
        _memory[name] = MongoClient()[DEFAULT_DATABASE]
    return _memory[name]


class MongoCollection:
    """A collection in MongoDB or in memory.

    Parameters
    ----------
    collection
        pymongo's, or mongomock_ng's.
    layout
        Its key and the fields to index.
    place
        The store's URI without password, for error messages.
    shared
        True if closing is somebody else's business (in memory it would discard everything).
    """

    def __init__(
        self, collection: Any, layout: CollectionLayout, place: str, *, shared: bool = False
    ) -> None:
        self._collection = collection
        self._place = place
        self._shared = shared
        self.name: str = collection.name
        self.key = layout.key
        with mongo_errors(place):
            collection.create_index([(field, 1) for field in layout.key], unique=True)
            for field in layout.indexed:
                collection.create_index([(field, 1)])

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter."""
        projection = Projection(properties)
        fields: dict[str, int] = {"_id": 0}
        if projection.paths is not None and not projection.excludes:
            fields |= dict.fromkeys((path.split(".")[0] for path in projection.paths), 1)
        order = [(field, 1 if upwards(field, way) else -1) for field, way in (sort or {}).items()]
        with mongo_errors(self._place):
            for document in self._collection.find(
                _checked(criteria), fields, sort=order or None, skip=skip, limit=limit
            ):
                yield projection.apply(document)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Count the documents that match a filter."""
        with mongo_errors(self._place):
            return int(self._collection.count_documents(_checked(criteria)))

    def distinct(self, field: str, criteria: dict[str, Any] | None = None) -> list[Any]:
        """Return the different values of a field, sorted."""
        with mongo_errors(self._place):
            return sorted(self._collection.distinct(field, _checked(criteria)), key=order_key)

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        key: str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
    ) -> int:
        """Write documents in place of those with the same key; return how many were written."""
        from pymongo import ReplaceOne

        fields = self.key if key is None else (key,) if isinstance(key, str) else tuple(key)
        # through JSON, so that times and numpy's numbers are stored as every other store has them
        batch = [loads(dumps(doc)) for doc in ([documents] if isinstance(documents, dict) else documents)]
        named: dict[tuple[Any, ...], dict[str, Any]] = {}
        for document in batch:
            if missing := [field for field in fields if field not in document]:
                raise InputError(f"A document for {self.name} lacks its key field {missing[0]!r}; add it.")
            named[tuple(document[field] for field in fields)] = document
        if not named:
            return 0
        with mongo_errors(self._place):
            among = {fields[0]: {"$in": [name[0] for name in named]}}
            stored = {
                tuple(document.get(field) for field in fields): document
                for document in self._collection.find(among, {"_id": 0})
            }
            new = [document for name, document in named.items() if name not in stored]
            changed = {
                name: document
                for name, document in named.items()
                if name in stored and not (keep and _without(document, keep) == _without(stored[name], keep))
            }
            self._insert(new, fields)
            if changed:
                self._collection.bulk_write(
                    [
                        ReplaceOne(dict(zip(fields, name, strict=True)), doc, upsert=True)
                        for name, doc in changed.items()
                    ]
                )
        return len(new) + len(changed)

    def _insert(self, documents: list[dict[str, Any]], fields: tuple[str, ...]) -> None:
        # Inserting is a hundred times faster than replacing in memory; if another process was first for
        # some of them, all are put again in its place, which changes nothing for equal ones.
        from pymongo import ReplaceOne
        from pymongo.errors import BulkWriteError

        if not documents:
            return
        try:
            self._collection.insert_many([dict(document) for document in documents], ordered=False)
        except BulkWriteError:
            self._collection.bulk_write(
                [ReplaceOne({field: doc[field] for field in fields}, doc, upsert=True) for doc in documents]
            )

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        with mongo_errors(self._place):
            return int(self._collection.delete_many(_checked(criteria)).deleted_count)

    def close(self) -> None:
        """Close the connection, unless it is shared."""
        if not self._shared:
            self._collection.database.client.close()


def _checked(criteria: dict[str, Any] | None) -> dict[str, Any]:
    """Return a filter with plain values, refused in the same words by every store if malformed."""
    checked: dict[str, Any] = plain(criteria or {})
    predicate(checked)
    return checked


def _without(document: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in fields}
