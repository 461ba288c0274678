"""Excluding values from training in a store, undoing it and listing them.

The value stays in its record and can be queried; `stores.exclusion_marks` defines the mark.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stores.exclusion_marks import (
    FAULTY,
    LABELS,
    SURFACES,
    TARGETS,
    counts_for_training,
    excluded_targets,
    mark_excluded,
    remove_marks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Set

    from stores.backends.collection import Collection, Document
    from stores.surfaces import SurfaceStore

_AT_ONCE = 200


def exclude(store: SurfaceStore, reasons: Mapping[str, Mapping[str, str]]) -> Counter[str]:
    """Exclude accepted values, by record id and target with a one-line reason; count them by target.

    Each record is read and written in one step, so that marks of another process stay.
    """

    def marked(document: dict[str, Any]) -> set[str]:
        known = excluded_targets(document)
        new = {
            target: reason
            for target, reason in reasons[document["id"]].items()
            if target not in known and counts_for_training(document, target)
        }
        if new:
            mark_excluded(document, new)
        return set(new)

    counts: Counter[str] = Counter()
    with store.transaction():
        for kind in (SURFACES, LABELS):
            counts += _changed(store.collection(kind), list(reasons), marked)
    return counts


def accept(store: SurfaceStore, names: Set[str]) -> Counter[str]:
    """Undo exclusions by record id, by formula of the compound, or ``all``; count them by target."""

    def unmarked(document: dict[str, Any]) -> set[str]:
        targets = set(excluded_targets(document))
        if targets:
            remove_marks(document)
        return targets

    counts: Counter[str] = Counter()
    with store.transaction():
        for kind, found in _excluded(store):
            ids = [
                d["id"]
                for d in found
                if "all" in names or not names.isdisjoint((d["id"], d["formula"], _formula(d)))
            ]
            counts += _changed(store.collection(kind), ids, unmarked)
    return counts


def _changed(
    collection: Collection, ids: Sequence[str], change: Callable[[dict[str, Any]], set[str]]
) -> Counter[str]:
    """Let `change` edit each stored document and return the targets that it touched; count them."""
    touched: dict[str, set[str]] = {}

    def combine(stored: Document | None, wanted: Document) -> Document | None:
        if stored is None:
            return None
        document = {**stored}
        document.pop("_id", None)
        touched[wanted["id"]] = change(document)  # again where another process came in between
        return document if touched[wanted["id"]] else None

    for start in range(0, len(ids), _AT_ONCE):
        collection.merge([{"id": name} for name in ids[start : start + _AT_ONCE]], combine)
    return Counter(target for targets in touched.values() for target in targets)


def excluded_line(counts: Mapping[str, int]) -> str:
    """State how many values are excluded; empty for none."""
    parts = [f"{number} {name}" for name, number in counts.items() if number]
    if not parts:
        return ""
    return f"excluded by mgsurf audit: {', '.join(parts)} (mgsurf audit --excluded lists them)"


def list_excluded(store: SurfaceStore) -> list[dict[str, str]]:
    """Return the excluded values: ``id``, ``kind``, ``formula`` of the compound, ``target``, ``reason``."""
    return [
        {"id": d["id"], "kind": kind, "formula": _formula(d), "target": target, "reason": reason}
        for kind, found in _excluded(store)
        for d in found
        for target, reason in excluded_targets(d).items()
    ]


def _excluded(store: SurfaceStore) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    status = [{f"verdicts.{target}.status": FAULTY} for target in TARGETS]
    yield SURFACES, list(store.query({"$or": status}, ["id", "formula", "verdicts"]))
    fields = ["id", "formula", "compound", "excluded"]
    yield LABELS, list(store.query({"excluded": {"$ne": None}}, fields, collection=LABELS))


def _formula(document: Mapping[str, Any]) -> str:
    """Return the formula of the compound; that of an imported slab is the slab's own."""
    return str(document.get("compound") or document["formula"]).split(" ")[0]
