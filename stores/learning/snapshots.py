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
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stores.surfaces import SurfaceStore


AT_ONCE = 500  # items that are read or written together
_NAMED = 3  # record ids in an error message


def compact_slab(slab: LabelledSlab) -> dict[str, Any]:
    """Return the atoms and the cell of a slab, to the last digit, and nothing else.

    Returns
    -------
    dict
        ``species`` [N], ``lattice`` [3, 3] (A) and ``fractional`` [N, 3]; of a composition its ``fractions``
        and ``extras`` by name.
    """
    if slab.fractions is not None:
        return {"fractions": dict(slab.fractions), "extras": dict(slab.extras)}
    return compact_structure(slab.slab or {}, slab.record_id)


def compact_structure(structure: Mapping[str, Any], record_id: str) -> dict[str, Any]:
    """Return `compact_slab` of a stored structure; an `InputError` names the record if it is disordered."""
    try:
        species = []
        for site in structure["sites"]:
            (only,) = site["species"]
            if only.get("occu", 1) != 1:
                raise ValueError("shared sites")
            species.append(str(only["element"]))
        return {
            "species": species,
            "lattice": [[float(x) for x in row] for row in structure["lattice"]["matrix"]],
            "fractional": [[float(x) for x in site["abc"]] for site in structure["sites"]],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The slab of record {record_id} is no ordered structure ({error}); remove the record or "
            "import it again."
        ) from error


def item_of(slab: LabelledSlab, values: dict[str, float]) -> dict[str, Any]:
    """Return what is kept of a record whose slab is compact already."""
    item = {
        "record_id": slab.record_id,
        "kind": slab.kind,
        "targets": values,
        "method": slab.method,
        "formula": slab.formula,
        "chemsys": slab.chemsys,
        "composition": slab.composition,
        "compound": slab.compound,
        "same": None if slab.same is None else [slab.same[0], list(slab.same[1]), slab.same[2]],
        "slab_hash": content_hash(slab.slab),
        # only where it applies: items of slabs with quantities keep the hash that they always had
        **({"bulk": True} if slab.bulk else {}),
        **({"classes": classes} if (classes := _classes(slab, values)) else {}),
    }
    return {"id": content_hash(item), **item, "slab": slab.slab}


def _classes(slab: LabelledSlab, values: dict[str, float]) -> dict[str, list[str]]:
    return {name: list(names) for name, names in slab.classes.items() if name in values}


def is_whole(item: dict[str, Any] | None) -> bool:
    """Return whether an item is there and its content has the hash that it is named by."""
    if item is None or not item.get("slab"):
        return False
    plain = {name: value for name, value in item.items() if name not in ("id", "slab")}
    return bool(item["id"] == content_hash(plain)) and item["slab_hash"] == content_hash(item["slab"])


def slab_of(item: dict[str, Any]) -> LabelledSlab:
    """Return the labelled slab that an item was made of."""
    compact, same = item["slab"], item["same"]
    structure = None if "fractions" in compact else _structure(compact)
    return LabelledSlab(
        record_id=item["record_id"],
        kind=item["kind"],
        slab=structure,
        targets=item["targets"],
        method=item["method"],
        formula=item["formula"],
        chemsys=item["chemsys"],
        composition=item["composition"],
        compound=item["compound"],
        same=None if same is None else (same[0], tuple(same[1]), same[2]),
        bulk=bool(item.get("bulk")),
        classes={name: tuple(names) for name, names in item.get("classes", {}).items()},
        fractions=compact.get("fractions"),
        extras=compact.get("extras", {}),
    )


def _structure(compact: dict[str, Any]) -> dict[str, Any]:
    return {
        "lattice": {"matrix": compact["lattice"]},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": place}
            for symbol, place in zip(compact["species"], compact["fractional"], strict=True)
        ],
    }


def read_items(store: SurfaceStore, hashes: Iterable[str], *, with_slabs: bool) -> dict[str, dict[str, Any]]:
    """Return items by hash; those that are not there are left out."""
    found = store.collection("snapshot_items").by_id(hashes, None if with_slabs else {"slab": 0})
    return {item["id"]: item for item in found}


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


@dataclass(frozen=True)
class Change:
    """A record that two snapshots have with different content."""

    record_id: str
    formula: str
    old: dict[str, float]
    new: dict[str, float]
    old_method: str
    new_method: str
    slab_changed: bool


@dataclass(frozen=True)
class Difference:
    """What one snapshot has that another has not; items without their slabs, by record id."""

    added: tuple[dict[str, Any], ...]
    removed: tuple[dict[str, Any], ...]
    changed: tuple[Change, ...]


@dataclass(frozen=True)
class News:
    """How a store has moved on since a snapshot, as record ids."""

    # records with an accepted value of one of the snapshot's heads that it does not have
    added: tuple[str, ...]
    changed: tuple[str, ...]  # records whose accepted values differ now; slabs are not looked at
    removed: tuple[str, ...]  # records that are gone, or have no accepted value any more
    deleted: tuple[str, ...]  # those of them that are gone
    # labelled records whose methods are not the snapshot's: they would train heads of their own
    other_methods: tuple[str, ...]


def diff_snapshots(store: SurfaceStore, old: Snapshot, new: Snapshot | Draft) -> Difference:
    """Return what changed from one snapshot to another, or to a draft of the store as it is."""
    later = new.snapshot if isinstance(new, Draft) else new
    before, after = dict(old.records), dict(later.records)
    touched = sorted(before.keys() | after.keys())
    touched = [record for record in touched if before.get(record) != after.get(record)]
    drafted = new.items if isinstance(new, Draft) else {}
    wanted = [item for record in touched for item in (before.get(record), after.get(record)) if item]
    known = {item: drafted[item] for item in wanted if item in drafted}
    known |= read_items(store, (item for item in wanted if item not in known), with_slabs=False)

    def light(record: str, item: str) -> dict[str, Any]:
        if item not in known:
            return {"record_id": record, "formula": "?", "chemsys": "?", "method": "?", "targets": {}}
        return {name: value for name, value in known[item].items() if name not in ("id", "slab")}

    pairs = [(record, before.get(record), after.get(record)) for record in touched]
    return Difference(
        added=tuple(light(record, two) for record, one, two in pairs if one is None and two),
        removed=tuple(light(record, one) for record, one, two in pairs if one and two is None),
        changed=tuple(
            _change(light(record, one), light(record, two)) for record, one, two in pairs if one and two
        ),
    )


def news_since(
    store: SurfaceStore,
    snapshot: Snapshot | None,
    *,
    slabs: Sequence[LabelledSlab] | None = None,
) -> News:
    """List the accepted values added, removed or changed since a snapshot (None: all); no slab is read.

    `slabs` is what the store holds, if that was read just now.
    """
    heads = snapshot.head_names() if snapshot else None
    before = {} if snapshot is None else _values_of(store, snapshot)
    added, changed, kept, there, other = [], [], set(), set(), []
    for slab in labelled_slabs(store, with_slabs=False) if slabs is None else slabs:
        there.add(slab.record_id)
        values = {
            name: value
            for name, value in slab.targets.items()
            if heads is None or (name, slab.method) in heads
        }
        if not values:
            if slab.targets:
                other.append(slab.record_id)
            continue
        kept.add(slab.record_id)
        if slab.record_id not in before:
            added.append(slab.record_id)
        elif before[slab.record_id] != values:
            changed.append(slab.record_id)
    removed = before.keys() - kept
    lists = (added, changed, removed, removed - there, other)
    return News(*(tuple(sorted(ids)) for ids in lists))


def deleted_records(store: SurfaceStore, snapshot: Snapshot) -> list[str]:
    """Return the records of a snapshot that the store no longer holds."""
    there = {
        document["id"]
        for kind in ("surfaces", "labels")
        for document in store.query({}, ["id"], collection=kind)
    }
    return [record for record, _ in snapshot.records if record not in there]


def _values_of(store: SurfaceStore, snapshot: Snapshot) -> dict[str, dict[str, float]]:
    items = read_items(store, (item for _, item in snapshot.records), with_slabs=False)
    return {record: items[item]["targets"] if item in items else {} for record, item in snapshot.records}


def _change(old: dict[str, Any], new: dict[str, Any]) -> Change:
    return Change(
        record_id=new["record_id"],
        formula=new["formula"],
        old=old["targets"],
        new=new["targets"],
        old_method=old["method"],
        new_method=new["method"],
        slab_changed=old.get("slab_hash") != new.get("slab_hash"),
    )
