"""Snapshots: what a model was trained on, unchangeable and named by its content.

A snapshot lists records, each with the hash of its item: the values and the slab that training reads. Items
are kept once, whatever number of snapshots they belong to, so that a model can be trained again to the same
weights after the store has grown, or after a record was changed or removed. Collections: ``snapshots`` and
``snapshot_items``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stores.backends.collection import SCHEMA_VERSION, check_version
from stores.backends.values import timestamp
from stores.errors import InputError, StoreError
from stores.labelled import (
    LabelledSlab,
    count_excluded,
    heads_of,
    labelled_slabs,
    left_out_line,
    of_methods,
    units_of_heads,
    wanted_targets,
)
from stores.learning.snapshot_items import compact_slab, is_whole, item_of, read_items, slab_of
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stores.surfaces import SurfaceStore


AT_ONCE = 500  # items that are read or written together
_NAMED = 3  # record ids in an error message


@dataclass(frozen=True)
class Head:
    """One training target: its name, the target and the one method of its labels, and how many there are.

    The name is the target's, or ``target@fingerprint`` where the snapshot has it from several methods. The
    unit, where one is stated, is no part of the snapshot's id.
    """

    name: str
    target: str
    method: str
    labels: int
    unit: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A set of records with their values."""

    id: str  # hash of all that follows but the time, the counts and the units
    schema_version: int  # layout of the store that it was made in
    created_at: str  # when it was first made, ISO 8601 in UTC; for people, nothing is ordered by it
    heads: tuple[Head, ...]  # training targets, by name
    n_records: int  # how many there are
    # pairs of a record's id and its item's hash, by record id; empty in a list of snapshots
    records: tuple[tuple[str, str], ...] = field(repr=False)

    def head_names(self) -> dict[tuple[str, str], str]:
        """Return the name of the head of each target and method."""
        return {(head.target, head.method): head.name for head in self.heads}


@dataclass(frozen=True)
class Draft:
    """A snapshot that is not written (yet), with its items by hash and the labels that an audit keeps out."""

    snapshot: Snapshot
    items: Mapping[str, dict[str, Any]] = field(repr=False)
    excluded: Mapping[str, int] = field(default_factory=dict)
    left_out: str = ""  # see `stores.labelled.left_out_line`


def draft_snapshot(
    store: SurfaceStore,
    targets: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    separate: bool = False,
) -> Draft:
    """Return what a snapshot of the store would be now; nothing is written.

    Parameters
    ----------
    store
        Its imported slabs and accepted surfaces are taken.
    targets
        Names wanted; by default all that the store has labels of.
    methods, separate
        See `stores.labelled.of_methods` and `heads_of`.

    Raises
    ------
    InputError
        If there is no label, or none of a given target or method, a target has labels of several methods, or
        a record was written by a newer mgsurf.
    """
    place = f"The store {store.uri}"
    items: dict[str, dict[str, Any]] = {}
    everything, labelled = [], []
    for slab in labelled_slabs(store):
        if slab.targets:
            labelled.append(replace(slab, slab=compact_slab(slab)))
        everything.append(replace(slab, slab=None))
    chosen = of_methods(labelled, methods, separate=separate)
    left_out = left_out_line(labelled, chosen) if methods is None else ""
    names = wanted_targets(chosen, targets, place, left_out)
    heads = heads_of(chosen, names, separate=separate)
    counts: Counter[tuple[str, str]] = Counter()
    records = []
    for slab in chosen:
        values = {name: float(v) for name, v in slab.targets.items() if (name, slab.method) in heads}
        if values:
            item = item_of(slab, values)
            items[item["id"]] = item
            records.append((slab.record_id, item["id"]))
            counts.update((name, slab.method) for name in values)
    units = units_of_heads(chosen, heads)
    named = sorted(
        (
            Head(name, target, method, counts[target, method], units.get(name, ""))
            for (target, method), name in heads.items()
        ),
        key=lambda head: head.name,
    )
    listed = tuple(sorted(records))
    snapshot = Snapshot(
        id=snapshot_id(SCHEMA_VERSION, named, listed),
        schema_version=SCHEMA_VERSION,
        created_at=timestamp(datetime.now(UTC)),
        heads=tuple(named),
        n_records=len(listed),
        records=listed,
    )
    excluded = count_excluded(of_methods(everything, methods, separate=separate), names)
    return Draft(snapshot, items, excluded, left_out)


def save_snapshot(store: SurfaceStore, draft: Draft) -> bool:
    """Write a snapshot; False if the store had it already.

    The list of records comes last, so that a snapshot that is there is whole; what was written before an
    error is used by the next try.
    """
    snapshot, items = draft.snapshot, list(draft.items.values())
    with store.transaction():
        for start in range(0, len(items), AT_ONCE):
            save_items(store, items[start : start + AT_ONCE])
        return save_list(store, snapshot)


def save_items(store: SurfaceStore, items: Sequence[dict[str, Any]]) -> None:
    """Write items; an equal one stays as it is, a damaged one is replaced."""
    store.collection("snapshot_items").upsert(items, keep=("stored_at",))


def save_list(store: SurfaceStore, snapshot: Snapshot) -> bool:
    """Write the list of records of a snapshot whose items are stored; False if the store had it already."""
    return bool(store.collection("snapshots").upsert(asdict(snapshot), keep=("created_at",)))


def create_snapshot(
    store: SurfaceStore,
    targets: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    separate: bool = False,
) -> Snapshot:
    """Make a snapshot of the store as it is now (see `draft_snapshot`) and write it."""
    draft = draft_snapshot(store, targets, methods=methods, separate=separate)
    save_snapshot(store, draft)
    return draft.snapshot


def list_snapshots(store: SurfaceStore) -> list[Snapshot]:
    """Return all snapshots without their records, in the order in which they were made."""
    fields = ["id", "schema_version", "created_at", "heads", "n_records"]
    found = store.query({}, fields, sort={"created_at": 1, "id": 1}, collection="snapshots")
    return [_header(document, ()) for document in found]


def find_snapshot(store: SurfaceStore, name: str) -> Snapshot:
    """Return the snapshot whose id begins so, with its records.

    An `InputError` if there is none or several fit, a `StoreError` if it is damaged.
    """
    ids = [document["id"] for document in store.query({}, ["id"], sort={"id": 1}, collection="snapshots")]
    fitting = [name] if name in ids else [one for one in ids if name and one.startswith(name)]
    if not ids:
        raise InputError(f"The store {store.uri} has no snapshots; make one with mgsurf snapshot create.")
    if len(fitting) != 1:
        found = f"fits {', '.join(fitting)}" if fitting else "is not there"
        raise InputError(f"The snapshot {name!r} {found}; mgsurf snapshot list shows all of {store.uri}.")
    document = next(store.query({"id": fitting[0]}, collection="snapshots"))
    snapshot = _header(document, tuple((record, item) for record, item in document["records"]))
    if snapshot_id(snapshot.schema_version, snapshot.heads, snapshot.records) != snapshot.id:
        raise StoreError(
            f"The snapshot {snapshot.id} in {store.uri} was changed or damaged; restore a copy of the store, "
            "or make a new one."
        )
    return snapshot


def snapshot_slabs(store: SurfaceStore, snapshot: Snapshot) -> Iterator[LabelledSlab]:
    """Yield the labelled slabs of a snapshot as they were, by record id; errors as of `snapshot_items`."""
    for items in snapshot_items(store, snapshot):
        yield from map(slab_of, items)


def snapshot_items(store: SurfaceStore, snapshot: Snapshot) -> Iterator[list[dict[str, Any]]]:
    """Yield the items of a snapshot, each checked against its hash, by record id and `AT_ONCE` at a time.

    A `StoreError` names the records whose data are gone or damaged.
    """
    for start in range(0, len(snapshot.records), AT_ONCE):
        part = snapshot.records[start : start + AT_ONCE]
        found = read_items(store, (item for _, item in part), with_slabs=True)
        if bad := [record for record, item in part if not is_whole(found.get(item))]:
            more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
            raise StoreError(
                f"The snapshot {snapshot.id} in {store.uri} has lost the data of record "
                f"{', '.join(bad[:_NAMED])}{more}; restore a copy of the store, or make a new snapshot."
            )
        yield [found[item] for _, item in part]


def snapshot_id(version: int, heads: Sequence[Head], records: Sequence[tuple[str, str]]) -> str:
    """Return the id of a snapshot: the hash of its content."""
    return content_hash([version, [[head.name, head.target, head.method] for head in heads], list(records)])


def _header(document: dict[str, Any], records: tuple[tuple[str, str], ...]) -> Snapshot:
    version = document["schema_version"]
    check_version(version, f"The snapshot {document['id']}")
    heads = tuple(Head(**head) for head in document["heads"])
    return Snapshot(document["id"], version, document["created_at"], heads, document["n_records"], records)
