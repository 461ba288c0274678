"""The store of records: surfaces, bulks, references and calculations, whatever it is kept in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stores.backends.collection import check_version
from stores.backends.values import timestamp
from stores.errors import InputError, first_problem

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import pandas as pd

    from stores.backends.collection import Collection
    from stores.backends.filters import Properties
    from stores.records import CalculationRecord, Record, SurfaceRecord

R = TypeVar("R", bound="Record")
T = TypeVar("T")

RECORD_COLLECTIONS = ("surfaces", "bulks", "references", "calculations", "labels")
"""The last holds `stores.labelled.LabelRecord`s, which are no `Record`s: their method is not known."""

LOOP_COLLECTIONS = (
    *("snapshots", "snapshot_items", "models", "model_decisions", "blobs"),
    *("candidates", "cuts"),
    *("leases", "refreshes", "rounds", "screenings"),
)
"""What learning keeps beside them: `stores.learning.snapshots`, `registry`, `candidates`, `leases`,
`refreshes`."""


@cache
def _classes() -> dict[str, type[Record]]:
    # pydantic takes 0.2 s to import, and a query that prints documents does without it
    from stores.records import BulkRecord, CalculationRecord, ReferenceRecord, SurfaceRecord

    return {
        "surfaces": SurfaceRecord,
        "bulks": BulkRecord,
        "references": ReferenceRecord,
        "calculations": CalculationRecord,
    }


def _document(record: Record) -> dict[str, Any]:
    return {**record.model_dump(mode="json"), "created_at": timestamp(record.created_at)}


class SurfaceStore:
    """Records, identified by content hashes; open one with `stores.connections.open_store`.

    Writing the same record twice changes nothing. May be used as a context manager.

    Parameters
    ----------
    uri
        Where the store is, without password.
    collections
        By name (`RECORD_COLLECTIONS` and `LOOP_COLLECTIONS`).
    transaction
        Makes a context in which everything is written or nothing; None where the store has no such thing.
    """

    def __init__(
        self,
        uri: str,
        collections: Mapping[str, Collection],
        transaction: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self.uri = uri
        self.surfaces_collection = collections["surfaces"]
        self._collections = dict(collections)
        self._transaction = transaction or nullcontext

    def collection(self, kind: str | type[Record]) -> Collection:
        """Return the collection of a kind of record ("surfaces", "surface" or SurfaceRecord, ...)."""
        if not isinstance(kind, str):
            for name, record_class in _classes().items():
                if issubclass(kind, record_class):
                    return self._collections[name]
        else:
            for name in (kind, kind + "s"):
                if name in self._collections:
                    return self._collections[name]
        raise InputError(f"No collection holds {kind}; there are {', '.join(self._collections)}.")

    def transaction(self) -> AbstractContextManager[Any]:
        """Write everything within or, where the store can do that (SQLite), nothing."""
        return self._transaction()

    def add(self, records: Record | Iterable[Record]) -> int:
        """Write records.

        A record that is stored with equal content stays as it is, `created_at` included; one that changed is
        put in the place of the stored one.

        Returns
        -------
        int
            Number of records that were new or had changed.

        Raises
        ------
        InputError
            If a stored record was written by a newer mgsurf.
        StoreError
            If the store cannot be written.
        """
        from stores.exclusion_marks import SURFACES, write_marked
        from stores.records import Record

        batches: dict[str, tuple[Collection, list[dict[str, Any]]]] = {}
        for record in [records] if isinstance(records, Record) else records:
            collection = self.collection(type(record))
            batches.setdefault(collection.name, (collection, []))[1].append(_document(record))
        with self._transaction():
            return sum(
                write_marked(collection, documents)
                if collection.name == SURFACES
                else collection.upsert(documents, keep=("created_at",))
                for collection, documents in batches.values()
            )

    def add_unless_better(self, record: Record) -> bool:
        """Write a record unless a better one has its id; True if it was written.

        Results rank above unconverged records, these above failures (`stores.ranks`): a failure never
        replaces a result, whoever writes at the same moment and whatever the clocks show.
        """
        collection = self.collection(type(record))
        return bool(collection.upsert([_document(record)], keep=("created_at",), ranked=True))

    @overload
    def get(self, kind: type[R], record_id: str) -> R | None: ...
    @overload
    def get(self, kind: str, record_id: str) -> Record | None: ...
    def get(self, kind: str | type[Record], record_id: str) -> Record | None:
        """Return the record of this kind with this id, None if not found."""
        return next(self.records(kind, {"id": record_id}, limit=1), None)

    def get_calculation(self, calculation_id: str) -> CalculationRecord | None:
        """Return a calculation, None if it was never finished."""
        from stores.records import CalculationRecord

        return self.get(CalculationRecord, calculation_id)

    @overload
    def records(
        self, kind: type[R], criteria: dict[str, Any] | None = None, **options: Any
    ) -> Iterator[R]: ...
    @overload
    def records(
        self, kind: str, criteria: dict[str, Any] | None = None, **options: Any
    ) -> Iterator[Record]: ...
    def records(
        self, kind: str | type[Record], criteria: dict[str, Any] | None = None, **options: Any
    ) -> Iterator[Record]:
        """Yield the records of a kind that match a filter; options are sort, skip and limit.

        Damaged ones are left out with a warning.

        Raises
        ------
        InputError
            If a record was written by a newer mgsurf.
        """
        from pydantic import ValidationError

        collection = self.collection(kind)
        record_class = _classes()[collection.name]
        for document in collection.query(criteria, **options):
            what = f"The record {document.get('id')} in {collection.name} of {self.uri}"
            check_version(document.get("schema_version"), what)
            try:
                yield record_class.model_validate(document)
            except ValidationError as error:
                collection.leave_out(document, first_problem(error))

    def surfaces(
        self,
        criteria: dict[str, Any] | None = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[SurfaceRecord]:
        """Yield the surfaces that match a filter as records."""
        from stores.records import SurfaceRecord

        return self.records(SurfaceRecord, criteria, sort=sort, skip=skip, limit=limit)

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
        collection: str = "surfaces",
    ) -> Iterator[dict[str, Any]]:
        """Yield the surfaces that match a MongoDB filter as dicts.

        Parameters
        ----------
        criteria
            For instance ``{"chemsys": "Ag-Mg", "work_function": {"$gt": 4}}``; see
            `stores.backends.filters`.
        properties
            Fields to return, dotted ones included; None for all.
        sort
            {field: 1} upwards or {field: -1} downwards, the first field first; missing counts as null.
        skip, limit
            Documents to pass over, and the most to return (0: all).
        collection
            Another collection to search.

        Raises
        ------
        InputError
            If filter, fields or order are malformed.
        StoreError
            If the store cannot be read.
        """
        return self.collection(collection).query(criteria, properties, sort, skip, limit)

    def to_dataframe(
        self,
        criteria: dict[str, Any] | None = None,
        sort: dict[str, Any] | None = None,
        limit: int = 0,
        *,
        include_rejected: bool = False,
    ) -> pd.DataFrame:
        """Return the surfaces that match a filter as a table: the columns of ``mgsurf export csv``.

        Parameters
        ----------
        criteria, sort, limit
            As for `query`.
        include_rejected
            Give values whose verdict is not accepted too; else they are missing (NaN).

        Returns
        -------
        pandas.DataFrame
            One row a surface; energies in eV/A^2 and eV, lengths in A, areas in A^2.

        Raises
        ------
        InputError
            If filter, order or limit are malformed.
        StoreError
            If the store cannot be read.
        """
        import pandas as pd

        if not isinstance(sort, dict | None):
            raise InputError(f'sort must be an object such as {{"work_function": 1}}, not {sort!r}.')
        if not isinstance(limit, int) or limit < 0:
            raise InputError(f"limit must be a whole number, 0 for all, not {limit!r}.")
        records = self.surfaces(criteria, sort, limit=limit)
        rows = [table_row(record if include_rejected else blank_rejected(record)) for record in records]
        table = pd.DataFrame(rows, columns=CSV_COLUMNS)
        values = ("surface_energy", "surface_energy_x_rich", "work_function")
        return table.astype(dict.fromkeys(values, float))  # None would make them columns of objects

    def count(self, criteria: dict[str, Any] | None = None, collection: str = "surfaces") -> int:
        """Count the surfaces that match a filter."""
        return self.collection(collection).count(criteria)

    def distinct(
        self, field: str, criteria: dict[str, Any] | None = None, collection: str = "surfaces"
    ) -> list[Any]:
        """Return the different values of a field of the surfaces, sorted."""
        return self.collection(collection).distinct(field, criteria)

    def remove(self, criteria: dict[str, Any], collection: str = "surfaces") -> int:
        """Remove the surfaces that match a filter; return how many."""
        return self.collection(collection).remove(criteria)

    def close(self) -> None:
        """Release the connections."""
        for collection in self._collections.values():
            collection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


CSV_COLUMNS = (
    "id", "formula", "chemsys", "h", "k", "l", "termination", "termination_label", "surface_energy",
    "surface_energy_x_rich", "work_function", "surface_energy_verdict", "work_function_verdict", "n_atoms",
    "n_layers", "thickness", "area", "spacegroup_number", "method_fingerprint", "campaign", "bulk_id",
    "created_at", "source", "source_id", "reference_element",
)  # fmt: skip
"""Columns of CSV files and data frames of surfaces."""

_VALUES = {
    "surface_energy": ("surface_energy", "surface_energy_x_rich", "surface_energy_slope"),
    "work_function": ("work_function", "work_function_sides"),
}
"""Fields that mean nothing once the verdict on their target rejects it."""


def blank_rejected(record: T) -> T:
    """Return a surface record or an imported slab without the values that its verdicts reject."""
    plain: Any = record
    rejected = [t for t in _VALUES if getattr(plain.verdicts, t).status != "accepted"]
    emptied: T = plain.model_copy(update={name: None for target in rejected for name in _VALUES[target]})
    return emptied


def _rich_in(record: Any) -> str | None:
    """Return the element in which a binary's surface energy is rich; None where it is not known."""
    elements = record.chemsys.split("-")
    is_binary = len(elements) == 2
    return "Mg" if is_binary and "Mg" in elements else getattr(record, "reference_element", None)


def table_row(record: Any) -> dict[str, Any]:
    """Return a surface record or an imported slab by `CSV_COLUMNS`."""
    special = dict(zip("hkl", record.miller_index, strict=True)) | {
        "surface_energy_verdict": record.verdicts.surface_energy.status.value,
        "work_function_verdict": record.verdicts.work_function.status.value,
        "created_at": record.created_at.isoformat(),
        # of imported slabs
        "source": getattr(record, "source", ""),
        "source_id": getattr(record, "source_id", ""),
        "reference_element": _rich_in(record),
    }
    return {name: special[name] if name in special else getattr(record, name) for name in CSV_COLUMNS}
