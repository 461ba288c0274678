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
    from collections.abc import Iterable, Mapping, Set

    from stores.surfaces import SurfaceStore

_AT_ONCE = 200


def exclude(store: SurfaceStore, reasons: Mapping[str, Mapping[str, str]]) -> Counter[str]:
    """Exclude accepted values, by record id and target with a one-line reason; count them by target."""
    counts: Counter[str] = Counter()
    with store.transaction():
        for kind, documents in _documents(store, list(reasons)):
            changed = []
            for document in documents:
                known = excluded_targets(document)
                new = {
                    target: reason
                    for target, reason in reasons[document["id"]].items()
                    if target not in known and counts_for_training(document, target)
                }
                if new:
                    mark_excluded(document, new)
                    changed.append(document)
                    counts.update(new.keys())
            store.collection(kind).upsert(changed)
    return counts


def accept(store: SurfaceStore, names: Set[str]) -> Counter[str]:
    """Undo exclusions by record id, by formula of the compound, or ``all``; count them by target."""
    counts: Counter[str] = Counter()
    with store.transaction():
        for kind, found in _excluded(store):
            ids = [
                d["id"]
                for d in found
                if "all" in names or not names.isdisjoint((d["id"], d["formula"], _formula(d)))
            ]
            for start in range(0, len(ids), _AT_ONCE):
                documents = list(store.query({"id": {"$in": ids[start : start + _AT_ONCE]}}, collection=kind))
                for document in documents:
                    document.pop("_id", None)
                    counts.update(excluded_targets(document).keys())
                    remove_marks(document)
                store.collection(kind).upsert(documents)
    return counts


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


def _documents(store: SurfaceStore, ids: list[str]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    for kind in (SURFACES, LABELS):
        for start in range(0, len(ids), _AT_ONCE):
            found = list(store.query({"id": {"$in": ids[start : start + _AT_ONCE]}}, collection=kind))
            for document in found:
                document.pop("_id", None)
            yield kind, found


def _formula(document: Mapping[str, Any]) -> str:
    """Return the formula of the compound; that of an imported slab is the slab's own."""
    return str(document.get("compound") or document["formula"]).split(" ")[0]
