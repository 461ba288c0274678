"""What every kind of store offers for one collection, and the collections that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stores.backends.projections import Properties
from stores.errors import InputError

SCHEMA_VERSION = 1
"""Version of the layout of stores and of the records in them."""


def check_replaceable(stored: Any, new: Any, what: str) -> None:
    """Refuse to put a document in the place of one of a later layout, whose fields would be lost.

    Parameters
    ----------
    stored, new
        Their `schema_version`, of any kind where documents have none.
    what
        Name of the document.

    Raises
    ------
    InputError
        If the stored one is of a later version.
    """
    if isinstance(stored, int) and stored > (new if isinstance(new, int) else 0):
        raise InputError(
            f"{what} was written by a newer mgsurf (schema version {stored}, not {new}) and is not replaced; "
            f"upgrade mgsurf."
        )


class Collection(Protocol):
    """Documents with a key; see `stores.backends.sqlite.DocumentTable` for the meaning of all methods."""

    name: str
    key: tuple[str, ...]

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter."""
        ...

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Count the documents that match a filter."""
        ...

    def distinct(self, field: str, criteria: dict[str, Any] | None = None) -> list[Any]:
        """Return the different values of a field, sorted."""
        ...

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        key: str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
    ) -> int:
        """Write documents in place of those with the same key; return how many were written.

        If `ranked`, none in place of one of a higher rank (`stores.ranks`), whoever writes at the same time.
        """
        ...

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken; of several processes that try at once one succeeds.

        Returns
        -------
        bool
            False if another document has the key; nothing is written then.
        """
        ...

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True)
class CollectionLayout:
    """How a collection is kept: its key, the fields that are indexed, and the large ones kept apart.

    Damaged documents are left out with a warning (`skip_damaged`) where each stands for itself and can be
    computed again; where documents build on one another, as decisions and snapshots do, they are an error.
    """

    key: tuple[str, ...] = ("id",)
    indexed: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    skip_damaged: bool = False


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
        ),
        heavy=("slab", "relaxed_slab", "potential"),
        skip_damaged=True,
    ),
    "bulks": CollectionLayout(
        indexed=("chemsys", "formula", "bulk_key", "method_fingerprint", "created_at"),
        heavy=("initial_structure", "structure"),
        skip_damaged=True,
    ),
    "references": CollectionLayout(
        indexed=("element", "method_fingerprint", "created_at"), heavy=("structure",), skip_damaged=True
    ),
    "calculations": CollectionLayout(
        indexed=("kind", "chemsys", "formula", "method_fingerprint", "created_at", "output.status"),
        heavy=("output",),
        skip_damaged=True,
    ),
    "labels": CollectionLayout(
        indexed=("chemsys", "formula", "source", "source_id", "method_fingerprint", "created_at"),
        heavy=("slab",),
        skip_damaged=True,
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
    "screenings": CollectionLayout(indexed=("formula", "bulk_key", "model")),
    "jobs": CollectionLayout(key=("uuid", "index"), indexed=("uuid", "index", "name"), heavy=("output",)),
    "job_data": CollectionLayout(key=("blob_uuid",), indexed=("job_uuid",), heavy=("data",)),
}


def layout_of(collection: str, key: str | Sequence[str] | None = None) -> CollectionLayout:
    """Return the layout of a known collection; any other has no indexes beyond its key."""
    layout = LAYOUTS.get(collection, CollectionLayout())
    if key is None:
        return layout
    return replace(layout, key=(key,) if isinstance(key, str) else tuple(key))
