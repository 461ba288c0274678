"""The stores of jobs: maggma's interface to a document table, and jobflow's JobStore over it.

jobflow gives the documents it reads to monty, which imports the module that a ``@module`` in them names and
calls what ``@class`` or ``@callable`` name in it. Whoever can write to a store could so run code in the next
`mgsurf run`; therefore every document is checked before jobflow gets it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import maggma.core
from jobflow import JobStore
from maggma.core.store import DateTimeFormat

from stores.backends.filters import Projection, values_at
from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database
from stores.backends.values import MISSING, order_key, value_at
from stores.errors import InputError, StoreError

PACKAGES = ("stores", "model", "workflows", "jobflow", "pymatgen.core", "pymatgen.electronic_structure")
"""What classes and functions in a document may come from."""

PLAIN = {
    ("datetime", "datetime"),
    ("uuid", "UUID"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("numpy", "array"),
    ("numpy", "generic"),
    ("bson.objectid", "ObjectId"),
}
"""Module and name of what monty reads back by itself, without importing what the document names."""

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class SQLiteStore(maggma.core.Store):
    """A maggma store in an SQLite file, for any number of processes on one machine.

    Times are kept as ISO 8601 text in UTC and come back as such (`last_updated_type`). The path is made
    absolute, because jobs change the current folder; see `DocumentTable` and `Database` for the parameters.
    """

    def __init__(
        self,
        path: str,
        collection_name: str = "documents",
        key: str = "task_id",
        indexed: list[str] | None = None,
        heavy: list[str] | None = None,
        durable: bool = True,
        timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        self.path = str(Path(path).absolute())
        self.collection_name = collection_name
        self.indexed = indexed
        self.heavy = heavy
        self.durable = durable
        self.timeout = timeout
        self.kwargs = kwargs
        self._table: DocumentTable | None = None
        super().__init__(key=key, **{"last_updated_type": DateTimeFormat.IsoFormat, **kwargs})

    @property
    def _collection(self) -> DocumentTable:
        if self._table is None:
            # maggma's exception has no type hints
            raise maggma.core.StoreError(  # type: ignore[no-untyped-call]
                f"Connect the store {self.name} before using it."
            )
        return self._table

    @property
    def name(self) -> str:
        """File and collection in one string."""
        return f"sqlite:///{self.path}#{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Open the file; a `MgsurfError` if it is no store of this or an older mgsurf."""
        if self._table is not None and not force_reset:
            return
        database = Database(self.path, timeout=self.timeout, durable=self.durable)
        database.connection()
        self._table = DocumentTable(
            database, self.collection_name, self.key, self.indexed or (), self.heavy or ()
        )

    def close(self) -> None:
        """Close the file."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Count the documents that match a filter."""
        return self._collection.count(criteria)

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a filter (see `DocumentTable.query`)."""
        return self._collection.query(criteria, properties, sort, skip, limit)

    def update(self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None) -> None:
        """Write documents, each in place of the one with the same key, all in one transaction."""
        documents = []
        for document in docs if isinstance(docs, list) else [docs]:
            if "_id" in document:  # MongoDB's own, in documents copied from there
                document = {name: value for name, value in document.items() if name != "_id"}
            if self.validator and not self.validator.is_valid(document):
                # an attribute of validators that maggma's base class does not declare
                if self.validator.strict:  # type: ignore[attr-defined]
                    raise ValueError(self.validator.validation_errors(document))
                self.logger.error(self.validator.validation_errors(document))
                continue
            documents.append(document)
        try:
            self._collection.upsert(documents, key=key or self.key)
        except InputError:
            # monty knows how to write more kinds of objects, at ten times the cost
            from monty.json import jsanitize

            clean = [jsanitize(document, allow_bson=True, recursive_msonable=True) for document in documents]
            self._collection.upsert(clean, key=key or self.key)

    def ensure_index(self, key: str, unique: bool = False) -> bool:
        """Index a field; uniqueness comes from the key that `update` is given."""
        self._collection.ensure_index(key)
        return True

    def groupby(
        self,
        keys: list[str] | str,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield (values of the keys, documents with these values); documents without a key are left out."""
        names = [keys] if isinstance(keys, str) else list(keys)
        chosen = None if properties is None else list(dict.fromkeys([*properties, *names]))
        paths = [tuple(name.split(".")) for name in names]
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for document in self.query(criteria, chosen, sort, skip, limit):
            if all(any(value is not MISSING for value in values_at(document, path)) for path in paths):
                values = tuple(order_key(value_at(document, path)) for path in paths)
                groups.setdefault(values, []).append(document)
        for values in sorted(groups):
            yield Projection(names).apply(groups[values][0]), groups[values]

    def distinct(
        self, field: str, criteria: dict[str, Any] | None = None, all_exist: bool = False
    ) -> list[Any]:
        """Return the different values of a field; the entries of arrays count one by one."""
        return self._collection.distinct(field, criteria)

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """Remove the documents that match a filter."""
        self._collection.remove(criteria)

    def __eq__(self, other: object) -> bool:
        fields: Sequence[str] = ("path", "collection_name", "key", "last_updated_field")
        return isinstance(other, SQLiteStore) and all(getattr(self, f) == getattr(other, f) for f in fields)

    def __hash__(self) -> int:
        return hash((self.path, self.collection_name, self.last_updated_field))


class CheckedJobStore(JobStore):
    """A job store that refuses documents which name other modules."""

    def query(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield documents as `jobflow.JobStore.query` does; every other reading method goes through here."""
        for document in super().query(*args, **kwargs):
            check_names(document, f"the job {document.get('uuid')} in {self.docs_store.name}")
            yield document


def check_names(document: Any, where: str) -> None:
    """Refuse a plain document that names code outside `PACKAGES` and `PLAIN`; none of it is imported."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            if "@module" in value and not _is_known(value):
                name = value.get("@class", value.get("@callable", ""))
                code = f"{str(name)[:60]!r} of the module {str(value['@module'])[:60]!r}"
                raise StoreError(
                    f"{where}: {place or 'it'} names {code}, which mgsurf never stores; not imported. "
                    "Find out who wrote it, then remove the document or restore a copy of the store"
                )
            waiting += [(f"{place}.{key}".strip("."), entry) for key, entry in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [
                (f"{place}[{number}]", entry)
                for number, entry in enumerate(value)
                if isinstance(entry, (dict, list, tuple))
            ]


def _is_known(value: dict[str, Any]) -> bool:
    module, name = value["@module"], value.get("@class", value.get("@callable"))
    if name is None or ("@class" in value and not (module and name)):
        return True  # monty leaves it as it is; jobflow writes so about data that it keeps apart
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if "@class" in value and (module, name) in PLAIN:
        return True
    inside = any(module == package or module.startswith(f"{package}.") for package in PACKAGES)
    return inside and bool(_NAME.fullmatch(module)) and bool(_NAME.fullmatch(name)) and _is_own(module, name)


def _is_own(module: str, name: str) -> bool:
    """Tell a class or function of a module from what the module imported from elsewhere, such as ``os``."""
    try:
        found: Any = sys.modules.get(module) or import_module(module)
    except ImportError:
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    origin = getattr(found, "__module__", None)
    return isinstance(origin, str) and origin.split(".")[0] in {package.split(".")[0] for package in PACKAGES}
