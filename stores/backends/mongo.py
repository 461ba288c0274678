"""Collections in MongoDB, or in memory behind the same interface (mongomock_ng, what maggma uses)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from stores.backends.checksums import FIELD, DamagedTextError, with_checksum, without_checksum
from stores.backends.collection import (
    LAYOUTS,
    SCHEMA_VERSION,
    Collection,
    CollectionLayout,
    Combine,
    Criteria,
    check_version,
)
from stores.backends.filters import Projection, Properties, checked, sort_order
from stores.backends.values import order_key, value_at
from stores.errors import InputError, StoreError
from stores.ranks import statuses
from stores.secrets import masked

DEFAULT_DATABASE = "mgsurf"
SERVER_TIMEOUT = 4.0  # longest search for a MongoDB server (s)
META = "mgsurf_meta"  # collection whose document ``layout`` holds the version of the layout of all others

_DUPLICATE = 11000  # MongoDB's code for a key that is taken
_memory: dict[str, Any] = {}
_merging = Lock()  # mongomock replaces a document in two steps, between which other threads see it empty


def database_name(uri: str) -> str:
    """Return the database that a MongoDB URI names, else the default one."""
    return urlsplit(uri).path.strip("/") or DEFAULT_DATABASE


@contextmanager
def mongo_errors(place: str) -> Iterator[None]:
    """Turn errors of pymongo into one line."""
    from pymongo.errors import ConfigurationError, PyMongoError, ServerSelectionTimeoutError

    try:
        yield
    except (ConfigurationError, ValueError, OverflowError) as error:
        # pymongo: ValueError for a port that is none, OverflowError for integers beyond 64 bits
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
    """Return the database of a URI once its server has answered, within `SERVER_TIMEOUT`."""
    from pymongo import MongoClient

    with mongo_errors(masked(uri)):
        client: Any = MongoClient(uri, serverSelectionTimeoutMS=int(SERVER_TIMEOUT * 1000))
        client.admin.command("ping")
        return client[database_name(uri)]


def check_layout(database: Any, place: str, *, must_exist: bool = False) -> None:
    """Refuse a database of a newer mgsurf or, if it `must_exist`, one with none of our collections."""
    with mongo_errors(place):
        found = database[META].find_one({"_id": "layout"})
        names = database.list_collection_names() if must_exist and found is None else []
    check_version((found or {}).get("version"), f"The store {place}")
    if must_exist and found is None and not set(names) & set(LAYOUTS):
        raise InputError(f"There is no store at {place}; run a campaign first or name another with --store.")


def memory_database(name: str) -> Any:
    """Return the in-memory database of this name, one for the whole process."""
    from mongomock_ng import MongoClient

    if name not in _memory:
        _memory[name] = MongoClient()[DEFAULT_DATABASE]
    return _memory[name]


class MongoCollection(Collection):
    """A collection in MongoDB or in memory (pymongo's or mongomock_ng's); a `shared` one is not closed."""

    def __init__(
        self, collection: Any, layout: CollectionLayout, place: str, *, shared: bool = False
    ) -> None:
        super().__init__(place, collection.name, layout)
        self._collection = collection
        self._shared = shared
        self._laid_out = False

    def _lay_out(self) -> None:
        # At the first writing: who only reads may lack the right to make anything, and makes nothing.
        if self._laid_out:
            return
        meta = self._collection.database[META]
        meta.update_one({"_id": "layout"}, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
        self._collection.create_index([(field, 1) for field in self.key], unique=True)
        for field in self.indexed:
            if (field,) != self.key:
                self._collection.create_index([(field, 1)])
        self._laid_out = True

    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter."""
        projection = Projection(properties)
        fields: dict[str, int] = {"_id": 0}
        if projection.paths is not None and not projection.excludes:
            chosen = (path.split(".")[0] for path in projection.paths)
            fields |= dict.fromkeys((*chosen, *self.key, "schema_version"), 1)
        order = [(field, 1 if up else -1) for field, up in sort_order(sort)]
        found = self._collection.find(checked(criteria), fields, sort=order or None, skip=skip, limit=limit)
        with mongo_errors(self._store):
            # a part of a document has no checksum
            yield from self._whole(self._sound(found) if fields.keys() == {"_id"} else found, projection)

    def _sound(self, documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield whole documents without their checksum, less those that do not agree with it."""
        for document in documents:
            try:
                yield without_checksum(document)
            except DamagedTextError as error:
                self.leave_out(document, str(error))

    def count(self, criteria: Criteria = None) -> int:
        """Count the documents that match a filter."""
        with mongo_errors(self._store):
            return int(self._collection.count_documents(checked(criteria)))

    def distinct(self, field: str, criteria: Criteria = None) -> list[Any]:
        """Return the different values of a field, sorted."""
        with mongo_errors(self._store):
            found = self._collection.distinct(field, checked(criteria))
        return sorted(self._of_kind(field, found), key=order_key)

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
    ) -> int:
        """Write documents in place of those with the same key; return how many were written."""
        from pymongo import ReplaceOne

        # through JSON, so that times and numpy's numbers are stored as every other store has them
        batch = [with_checksum(doc) for doc in ([documents] if isinstance(documents, dict) else documents)]
        named = {self._key_of(document, self.key): document for document in batch}
        if not named:
            return 0
        with mongo_errors(self._store):
            self._lay_out()
            if ranked:
                return sum(self._put_unless_better(document, keep) for document in named.values())
            first = self.key[0]
            among = {first: {"$in": [value_at(document, tuple(first.split("."))) for document in batch]}}
            stored = {self._key_of(document, self.key): document for document in self._collection.find(among)}
            new = [document for name, document in named.items() if name not in stored]
            changed = [
                ReplaceOne({"_id": stored[name]["_id"]}, document, upsert=True)
                for name, document in named.items()
                if name in stored and not self._stays(stored[name], document, name[0], keep)
            ]
            self._insert(new)
            if changed:
                self._collection.bulk_write(changed)
        return len(new) + len(changed)

    def _stays(
        self,
        stored: dict[str, Any],
        new: dict[str, Any],
        name: Any,
        keep: Sequence[str],
        *,
        ranked: bool = False,
    ) -> bool:
        own = (FIELD, "_id")
        return super()._stays(stored, new, name, (*keep, *own) if keep else (), ranked=ranked)

    def _put_unless_better(self, document: dict[str, Any], keep: Sequence[str]) -> bool:
        """Put a document in the place of the one that was compared with it, and of no other."""
        from pymongo.errors import DuplicateKeyError

        place = self._place_of(document)
        while True:
            old = self._collection.find_one(place)
            if old is None:
                try:
                    self._collection.insert_one(dict(document))
                except DuplicateKeyError:
                    continue
                return True
            if self._stays(old, document, place[self.key[0]], keep, ranked=True):
                return False
            seen = {"_id": old["_id"], **statuses(old)}
            if self._collection.replace_one(seen, document).matched_count:
                return True

    def _place_of(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the filter that finds a document by its key."""
        return {field: value_at(document, tuple(field.split("."))) for field in self.key}

    def _insert(self, documents: list[dict[str, Any]]) -> None:
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
                [ReplaceOne(self._place_of(document), document, upsert=True) for document in documents]
            )

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken."""
        from pymongo.errors import DuplicateKeyError

        new = with_checksum(document)
        self._key_of(new, self.key)
        with mongo_errors(self._store):
            self._lay_out()
            try:
                self._collection.insert_one(dict(new))
            except DuplicateKeyError:
                # it may be ours: the driver tries again when an answer is lost on the way
                return bool(self._collection.find_one(self._place_of(new), {"_id": 0}) == new)
        return True

    def merge(self, documents: Iterable[dict[str, Any]], combine: Combine, keep: Sequence[str] = ()) -> int:
        """Combine stored and new documents; those that another process changed meanwhile once more."""
        left, written = list(documents), 0
        with mongo_errors(self._store), _merging if self._shared else nullcontext():
            while left:
                self._lay_out()
                left, done = self._merge_once(left, combine, keep)
                written += done
        return written

    def _merge_once(
        self, documents: list[dict[str, Any]], combine: Combine, keep: Sequence[str]
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the documents whose stored ones were changed in between, and how many were written."""
        among = {"id": {"$in": [document["id"] for document in documents]}}
        stored = {document["id"]: document for document in self._collection.find(among)}
        absent: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        again, written = [], 0
        for document in documents:
            name = document["id"]
            if name in absent:
                again.append(document)
                continue
            old = stored.get(name)
            combined = combine(None if old is None else self._undamaged(old), document)
            if combined is None:
                continue
            made = with_checksum(combined)
            if old is None:
                absent[name] = document, made
            elif not self._stays(old, made, name, keep):
                # documents of earlier versions have no checksum: null matches them
                seen = {"_id": old["_id"], FIELD: old.get(FIELD)}
                if self._collection.replace_one(seen, made).matched_count:
                    written += 1
                else:
                    again.append(document)
        refused = self._insert_absent([made for _, made in absent.values()])
        again += [document for name, (document, _) in absent.items() if name in refused]
        return again, written + len(absent) - len(refused)

    def _undamaged(self, stored: dict[str, Any]) -> dict[str, Any] | None:
        try:
            document = without_checksum({name: value for name, value in stored.items() if name != "_id"})
        except DamagedTextError:
            return None
        return None if self._problem(document) else document

    def _insert_absent(self, documents: list[dict[str, Any]]) -> set[str]:
        """Insert documents; return the ids that another process inserted before."""
        from pymongo.errors import BulkWriteError

        try:
            if documents:
                self._collection.insert_many([dict(document) for document in documents], ordered=False)
        except BulkWriteError as error:
            problems = error.details["writeErrors"]
            if any(problem["code"] != _DUPLICATE for problem in problems):
                raise
            return {documents[problem["index"]]["id"] for problem in problems}
        return set()

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        with mongo_errors(self._store):
            return int(self._collection.delete_many(checked(criteria)).deleted_count)

    def close(self) -> None:
        """Close the connection, unless it is shared."""
        if not self._shared:
            self._collection.database.client.close()
