"""Collections in MongoDB, or in memory behind the same interface (mongomock_ng, what maggma uses)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stores.backends.checksums import FIELD, DamagedTextError, damaged, with_checksum, without_checksum
from stores.backends.collection import LAYOUTS, SCHEMA_VERSION, CollectionLayout, check_replaceable
from stores.backends.filters import checked
from stores.backends.projections import Projection, Properties, upwards
from stores.backends.values import encode, order_key, value_at
from stores.errors import InputError, StoreError
from stores.ranks import rank_of, statuses
from stores.secrets import masked

DEFAULT_DATABASE = "mgsurf"
SERVER_TIMEOUT = 4.0
"""Longest search for a MongoDB server (s)."""

META = "mgsurf_meta"
"""Collection whose document ``layout`` says the version of the layout of all others."""

_LOG = logging.getLogger(__name__)
_memory: dict[str, Any] = {}


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
        OverflowError,
    ) as error:  # pymongo: ValueError for a port that is none, OverflowError for integers beyond 64 bits
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


def check_layout(database: Any, place: str, *, must_exist: bool = False) -> None:
    """Check that a database may be read by this mgsurf; nothing is written.

    Parameters
    ----------
    database
        pymongo's, or mongomock_ng's.
    place
        The store's URI without password, for error messages.
    must_exist
        Refuse a database that holds none of our collections.

    Raises
    ------
    InputError
        If it was written by a newer mgsurf, or is not there.
    """
    with mongo_errors(place):
        found = database[META].find_one({"_id": "layout"})
        names = database.list_collection_names() if must_exist and found is None else []
    version = (found or {}).get("version", 0)
    if version > SCHEMA_VERSION:
        raise InputError(
            f"The store {place} was written by a newer mgsurf "
            f"(schema version {version}, supported: {SCHEMA_VERSION}); upgrade mgsurf."
        )
    if must_exist and found is None and not set(names) & set(LAYOUTS):
        raise InputError(f"There is no store at {place}; run a campaign first or name another with --store.")


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
        self._indexed = layout.indexed
        self._skip_damaged = layout.skip_damaged
        self._laid_out = False

    def _lay_out(self, names: Iterable[tuple[Any, ...]]) -> None:
        # At the first writing: who only reads may lack the right to make anything, and makes nothing.
        if self._laid_out:
            return
        meta = self._collection.database[META]
        meta.update_one({"_id": "layout"}, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
        # The index of a field that holds arrays has their entries, which several documents may share.
        unique = not any(isinstance(value, bytes) and value[:1] == b"p" for name in names for value in name)
        if unique:
            self._collection.create_index([(field, 1) for field in self.key], unique=True)
        for field in self._indexed:
            if (field,) != self.key:
                self._collection.create_index([(field, 1)])
        self._laid_out = unique

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
                checked(criteria), fields, sort=order or None, skip=skip, limit=limit
            ):
                # a part of a document cannot be checked
                if fields.keys() == {"_id"}:
                    try:
                        document = without_checksum(document)
                    except DamagedTextError as error:
                        self._report(document, error)
                        continue
                yield projection.apply(document)

    def _report(self, document: dict[str, Any], error: DamagedTextError) -> None:
        """Warn of a damaged document, or raise an error."""
        name = ", ".join(str(document.get(field)) for field in self.key)
        problem = damaged(self._place, self.name, name, error)
        if not self._skip_damaged:
            raise problem
        _LOG.warning("%s", problem)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Count the documents that match a filter."""
        with mongo_errors(self._place):
            return int(self._collection.count_documents(checked(criteria)))

    def distinct(self, field: str, criteria: dict[str, Any] | None = None) -> list[Any]:
        """Return the different values of a field, sorted."""
        with mongo_errors(self._place):
            return sorted(self._collection.distinct(field, checked(criteria)), key=order_key)

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        key: str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
    ) -> int:
        """Write documents in place of those with the same key; return how many were written."""
        from pymongo import ReplaceOne

        fields = self.key if key is None else (key,) if isinstance(key, str) else tuple(key)
        # through JSON, so that times and numpy's numbers are stored as every other store has them
        batch = [with_checksum(doc) for doc in ([documents] if isinstance(documents, dict) else documents)]
        named: dict[tuple[Any, ...], dict[str, Any]] = {}
        for document in batch:
            name = _name(document, fields)
            if None in name:
                missing = fields[name.index(None)]
                raise InputError(f"A document for {self.name} lacks its key field {missing!r}; add it.")
            named[name] = document
        if not named:
            return 0
        with mongo_errors(self._place):
            self._lay_out(named)
            if ranked:
                return sum(self._put_unless_better(document, fields, keep) for document in named.values())
            first = fields[0]
            among = {first: {"$in": [value_at(document, tuple(first.split("."))) for document in batch]}}
            stored = {_name(document, fields): document for document in self._collection.find(among)}
            new = [document for name, document in named.items() if name not in stored]
            changed = []
            for name, document in named.items():
                if name not in stored:
                    continue
                old = stored[name]
                if keep and _without(document, (*keep, FIELD)) == _without(old, (*keep, FIELD, "_id")):
                    continue
                versions = old.get("schema_version"), document.get("schema_version")
                check_replaceable(*versions, f"The record {name[0]} in {self.name}")
                changed.append(ReplaceOne({"_id": old["_id"]}, document, upsert=True))
            self._insert(new, fields)
            if changed:
                self._collection.bulk_write(changed)
        return len(new) + len(changed)

    def _put_unless_better(
        self, document: dict[str, Any], fields: tuple[str, ...], keep: Sequence[str]
    ) -> bool:
        """Put a document in the place of the one that was compared with it, and of no other."""
        from pymongo.errors import DuplicateKeyError

        place = {field: value_at(document, tuple(field.split("."))) for field in fields}
        while True:
            old = self._collection.find_one(place)
            if old is None:
                try:
                    self._collection.insert_one(dict(document))
                except DuplicateKeyError:
                    continue
                return True
            if keep and _without(document, (*keep, FIELD)) == _without(old, (*keep, FIELD, "_id")):
                return False
            versions = old.get("schema_version"), document.get("schema_version")
            check_replaceable(*versions, f"The record {next(iter(place.values()))} in {self.name}")
            if rank_of(old) > rank_of(document):
                return False
            seen = {"_id": old["_id"], **statuses(old)}
            if self._collection.replace_one(seen, document).matched_count:
                return True

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
            places = [
                {field: value_at(doc, tuple(field.split("."))) for field in fields} for doc in documents
            ]
            self._collection.bulk_write(
                [ReplaceOne(place, doc, upsert=True) for place, doc in zip(places, documents, strict=True)]
            )

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken; of several processes that try at once one succeeds.

        Returns
        -------
        bool
            False if another document has the key; nothing is written then.
        """
        from pymongo.errors import DuplicateKeyError

        new = with_checksum(document)
        name = _name(new, self.key)
        if None in name:
            raise InputError(f"A document for {self.name} lacks its key field; add {', '.join(self.key)}.")
        with mongo_errors(self._place):
            self._lay_out([name])
            try:
                self._collection.insert_one(dict(new))
            except DuplicateKeyError:
                # it may be ours: the driver tries again when an answer is lost on the way
                place = {field: value_at(new, tuple(field.split("."))) for field in self.key}
                return bool(self._collection.find_one(place, {"_id": 0}) == new)
        return True

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        with mongo_errors(self._place):
            return int(self._collection.delete_many(checked(criteria)).deleted_count)

    def close(self) -> None:
        """Close the connection, unless it is shared."""
        if not self._shared:
            self._collection.database.client.close()


def _name(document: dict[str, Any], fields: Sequence[str]) -> tuple[Any, ...]:
    """Return what tells a document from others as a key of dicts, with None for a field that it lacks."""
    return tuple(encode(value_at(document, tuple(field.split(".")))) for field in fields)


def _without(document: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in fields}
