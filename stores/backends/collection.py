"""Collections: their interface, what all kinds of stores do alike, and the known collections."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stores.backends.checksums import DamagedTextError, damaged
from stores.backends.filters import Projection, Properties, distinct_values
from stores.backends.values import encode, value_at
from stores.errors import DamagedDocumentError, InputError
from stores.ranks import rank_of
from stores.record_fields import BULK, CALCULATION, LABEL, REFERENCE, SURFACE, Form

SCHEMA_VERSION = 1  # version of the layout of stores and of the records in them

Criteria = dict[str, Any] | None
Document = dict[str, Any]
Combine = Callable[[Document | None, Document], Document | None]
"""Makes of a stored document, None if there is none, and a new one what is to be stored; None: leave it."""

_AT_ONCE = 1000  # ids in one query
_NAMED = 20  # damaged documents of a collection that are named
_LOG = logging.getLogger(__name__)


def check_version(version: object, what: str) -> None:
    """Refuse what a newer mgsurf wrote (an `InputError`): its fields may mean something else."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{what} was written by a newer mgsurf "
            f"(schema version {version}, supported: {SCHEMA_VERSION}); upgrade mgsurf."
        )


@dataclass(frozen=True)
class CollectionLayout:
    """How a collection is kept: its key, the indexed fields, the large ones apart; the form of its records.

    Damaged documents are left out with a warning (`skip_damaged`) where each stands for itself and can be
    computed again; where documents build on one another, as decisions and snapshots do, they are an error.
    """

    key: tuple[str, ...] = ("id",)
    indexed: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    skip_damaged: bool = False
    form: Form | None = None


class Collection(ABC):
    """Documents with a key, queried and written the way a MongoDB collection is.

    Parameters
    ----------
    store
        Name of the store for messages, without password.
    name
        Name of the collection.
    layout
        Its key, indexed and large fields.
    """

    def __init__(self, store: str, name: str, layout: CollectionLayout) -> None:
        self.name = name
        self.key = layout.key
        self.indexed = layout.indexed
        self.heavy = layout.heavy
        self._store = store
        self._skip_damaged = layout.skip_damaged
        self._form = layout.form
        self._damage: dict[str, str] = {}

    @abstractmethod
    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[Document]:
        """Yield the documents that match a MongoDB filter.

        Parameters
        ----------
        criteria
            Filter (see `stores.backends.filters`); datetimes may be used for times.
        properties
            Fields to return (see `stores.backends.filters.Projection`).
        sort
            {field: 1} upwards, {field: -1} downwards, the first field first; missing counts as null.
        skip, limit
            Documents to pass over, and the most to return (0: all).

        Raises
        ------
        InputError
            If filter, projection or order is malformed.
        StoreError
            If the store cannot be read, or (unless damaged documents are skipped) a document is damaged.
        """

    @abstractmethod
    def count(self, criteria: Criteria = None) -> int:
        """Count the documents that match a filter."""

    @abstractmethod
    def upsert(
        self, documents: Document | Iterable[Document], keep: Sequence[str] = (), *, ranked: bool = False
    ) -> int:
        """Write documents, each in place of the one with the same key.

        Parameters
        ----------
        documents
            One or several; of those with equal keys the last stands. Times become text
            (`stores.backends.values.timestamp`), NaN and infinities null.
        keep
            Top-level fields that do not count as a change: a document that differs from the stored one in
            nothing else is left as it is.
        ranked
            Leave stored documents of a higher rank (`stores.ranks`), whoever writes at the same time.

        Returns
        -------
        int
            Number of documents written.

        Raises
        ------
        InputError
            If a document lacks a key field, is no JSON, or would replace one of a newer mgsurf.
        StoreError
            If the store cannot be written (read-only, locked, full disk).
        """

    @abstractmethod
    def insert(self, document: Document) -> bool:
        """Write a document unless its key is taken; of several processes that try at once one succeeds.

        False if another document has the key; nothing is written then.
        """

    def merge(self, documents: Iterable[Document], combine: Combine, keep: Sequence[str] = ()) -> int:
        """Write what `combine` makes of each stored and new document, as one step for each document.

        Whoever writes at the same time, nothing that was stored in between is lost: `combine` sees the
        document that its result replaces.

        Parameters
        ----------
        documents
            Plain documents of a collection whose key is ``id``; of those with equal ids each is combined with
            the one before.
        combine
            May be called several times for a document, and changes neither of the two.
        keep
            As for `upsert`.

        Returns
        -------
        int
            Number of documents written.

        Raises
        ------
        InputError, StoreError
            As by `upsert`.
        """
        new = list(documents)
        stored = {document["id"]: document for document in self.by_id({document["id"] for document in new})}
        made = {}
        for document in new:
            name = document["id"]
            combined = combine(stored.get(name), document)
            if combined is not None:
                made[name] = stored[name] = combined
        return self.upsert(made.values(), keep)

    @abstractmethod
    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""

    @abstractmethod
    def close(self) -> None:
        """Release connections."""

    def distinct(self, field: str, criteria: Criteria = None) -> list[Any]:
        """Return the different values of a field, sorted; the entries of arrays count one by one."""
        return distinct_values(self.query(criteria, [field.partition(".")[0]]), field)

    def by_id(self, ids: Iterable[str], properties: Properties = None) -> Iterator[Document]:
        """Yield those of the documents with these ids that are there, in any order."""
        wanted = list(ids)
        for start in range(0, len(wanted), _AT_ONCE):
            yield from self.query({"id": {"$in": wanted[start : start + _AT_ONCE]}}, properties)

    def _key_of(self, document: Document, fields: Sequence[str]) -> tuple[Any, ...]:
        """Return what distinguishes a plain document, encoded so that equal values are equal in Python."""
        key = tuple(encode(value_at(document, tuple(field.split(".")))) for field in fields)
        self._check_key(key, fields)
        return key

    def _check_key(self, key: Sequence[Any], fields: Sequence[str]) -> None:
        if None in key:
            missing = fields[key.index(None)]
            raise InputError(f"A document for {self.name} lacks its key field {missing!r}; add it.")

    def _check_replaceable(self, stored: Document, new: Document, name: Any) -> None:
        """Refuse to replace a document of a later layout, whose fields would be lost."""
        old, version = stored.get("schema_version"), new.get("schema_version")
        if isinstance(old, int) and old > (version if isinstance(version, int) else 0):
            raise InputError(
                f"The record {name} in {self.name} was written by a newer mgsurf (schema version {old}, not "
                f"{version}) and is not replaced; upgrade mgsurf."
            )

    def _stays(
        self, stored: Document, new: Document, name: Any, keep: Sequence[str], *, ranked: bool = False
    ) -> bool:
        """Return whether a stored document, with all its fields, stays in place of a new one."""
        if keep and without(new, keep) == without(stored, keep):
            return True
        self._check_replaceable(stored, new, name)
        return ranked and rank_of(stored) > rank_of(new)

    def _whole(self, documents: Iterable[Document], projection: Projection) -> Iterator[Document]:
        """Yield the chosen fields of documents, less those documents of which one is not as it must be."""
        names = [] if self._form is None else [n for n in self._form.kinds if projection.needs([n])]
        for document in documents:
            if problem := self._problem(document, names):
                self.leave_out(document, problem)
            else:
                yield projection.apply(document)

    def _problem(self, document: Document, names: Sequence[str] | None = None) -> str | None:
        """Return what is wrong with some fields of a document, or with all; None if nothing is."""
        version = document.get("schema_version")
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        if self._form is None or newer:  # the fields of newer ones may be others; who reads them refuses them
            return None
        return self._form.problem_in(document, self._form.kinds if names is None else names)

    def _of_kind(self, field: str, values: list[Any]) -> list[Any]:
        """Return the values of a field that are of its kind: the others are those of damaged records."""
        return values if self._form is None else self._form.of_kind(field, values)

    def _report(self, name: str, error: DamagedTextError) -> None:
        """Warn once of a damaged document, or raise an error."""
        problem = damaged(self._store, self.name, name, error)
        if not self._skip_damaged:
            raise problem
        is_known, self._damage[name] = name in self._damage, str(problem)
        if not is_known:
            if len(self._damage) <= _NAMED:
                _LOG.warning("%s", problem)
            elif len(self._damage) == _NAMED + 1:
                _LOG.warning(
                    "More than %d records of %s are damaged; the others are not named.", _NAMED, self.name
                )

    def leave_out(self, document: Document, reason: str) -> None:
        """Report a document that its reader cannot use as damaged: a warning, or an error."""
        self._report(", ".join(str(document.get(field)) for field in self.key), DamagedTextError(reason))

    def check_damage(self, name: str) -> None:
        """Raise a `DamagedDocumentError` if a document that a query left out by damage has this key."""
        if name in self._damage:
            raise DamagedDocumentError(self._damage[name])


def without(document: Document, fields: Sequence[str]) -> Document:
    """Return a document less some of its top-level fields."""
    return {name: value for name, value in document.items() if name not in fields}


LAYOUTS: dict[str, CollectionLayout] = {
    "surfaces": CollectionLayout(
        indexed=(
            "chemsys",
            "formula",
            "miller_index",
            "equivalent_planes",
            "verdicts.surface_energy.status",
            "verdicts.work_function.status",
            "surface_energy",
            "work_function",
            "method_fingerprint",
            "created_at",
            "bulk_id",
            "surface_energy_x_rich",
            "campaign",
            "termination",
            "termination_label",
            "spacegroup_number",
            "formation_energy",
            "thickness",
            "area",
            "n_atoms",
            "n_layers",
        ),
        heavy=("slab", "relaxed_slab", "potential"),
        skip_damaged=True,
        form=SURFACE,
    ),
    "bulks": CollectionLayout(
        indexed=("chemsys", "formula", "bulk_key", "method_fingerprint", "created_at"),
        heavy=("initial_structure", "structure"),
        skip_damaged=True,
        form=BULK,
    ),
    "references": CollectionLayout(
        indexed=("element", "method_fingerprint", "created_at"),
        heavy=("structure",),
        skip_damaged=True,
        form=REFERENCE,
    ),
    "calculations": CollectionLayout(
        indexed=("kind", "chemsys", "formula", "method_fingerprint", "created_at", "output.status"),
        heavy=("output",),
        skip_damaged=True,
        form=CALCULATION,
    ),
    "labels": CollectionLayout(
        indexed=("chemsys", "formula", "source", "source_id", "method_fingerprint", "created_at"),
        heavy=("slab",),
        skip_damaged=True,
        form=LABEL,
    ),
    "candidates": CollectionLayout(
        indexed=("chemsys", "formula", "bulk_key", "method_fingerprint", "campaign", "model"),
        heavy=("slab",),
        skip_damaged=True,
    ),
    "cuts": CollectionLayout(indexed=("bulk_key",)),
    "snapshots": CollectionLayout(indexed=("created_at",), heavy=("records",)),
    "snapshot_items": CollectionLayout(heavy=("slab",)),
    "models": CollectionLayout(key=("version",), indexed=("weights.sha256",), heavy=("metrics",)),
    "model_decisions": CollectionLayout(key=("number",)),
    "blobs": CollectionLayout(indexed=("blob",), heavy=("data",)),
    "leases": CollectionLayout(indexed=("name", "number")),
    "refreshes": CollectionLayout(key=("number",)),
    "rounds": CollectionLayout(indexed=("campaign", "number")),
    "screenings": CollectionLayout(indexed=("formula", "bulk_key", "model", "screened_at")),
    "jobs": CollectionLayout(key=("uuid", "index"), indexed=("uuid", "index", "name"), heavy=("output",)),
    "job_data": CollectionLayout(key=("blob_uuid",), indexed=("job_uuid",), heavy=("data",)),
}
