"""What changed between two snapshots, and in a store since a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.labelled import LabelledSlab, labelled_slabs
from stores.learning.snapshot_items import read_items
from stores.learning.snapshots import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore


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
