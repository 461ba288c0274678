"""Values that an audit keeps out of training, with the reason, and how that is undone.

A surface's value is excluded by its verdict, ``faulty``; an imported one by an entry of the record's
``excluded``. The value stays where it is and can be queried. An exclusion belongs to the value: writing the
record again with an equal value keeps it, a new value drops it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from stores.collection import Collection
    from stores.surfaces import SurfaceStore

SURFACES, LABELS = "surfaces", "labels"
FAULTY = "faulty"
"""Status of the verdict on an excluded value, see `stores.records.VerdictStatus`."""

_TARGETS = ("surface_energy", "work_function")
_AT_ONCE = 200


def excluded_targets(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the excluded targets of a surface or an imported slab, with the reasons."""
    if "verdicts" in document:
        verdicts = document["verdicts"]
        return {
            target: verdicts[target].get("reason", "")
            for target in _TARGETS
            if verdicts.get(target, {}).get("status") == FAULTY
        }
    return dict(document.get("excluded") or {})


def exclude(store: SurfaceStore, reasons: Mapping[str, Mapping[str, str]]) -> Counter[str]:
    """Exclude values.

    Parameters
    ----------
    store
        Where the records are.
    reasons
        By record id and target, one line each.

    Returns
    -------
    Counter
        Newly excluded values by target; only accepted ones are excluded.
    """
    counts: Counter[str] = Counter()
    with store.transaction():
        for kind, documents in _documents(store, list(reasons)):
            changed = []
            for document in documents:
                known = excluded_targets(document)
                new = {
                    target: reason
                    for target, reason in reasons[document["id"]].items()
                    if target not in known and _counts(document, target)
                }
                if new:
                    _mark(document, new)
                    changed.append(document)
                    counts.update(new.keys())
            store.collection(kind).upsert(changed)
    return counts


def accept(store: SurfaceStore, names: Set[str]) -> Counter[str]:
    """Undo exclusions.

    Parameters
    ----------
    store
        Where the records are.
    names
        Record ids or formulas of compounds; ``all`` undoes every exclusion.

    Returns
    -------
    Counter
        Accepted values by target.
    """
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
                    _unmark(document)
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


def carry_exclusions(collection: Collection, documents: Sequence[dict[str, Any]]) -> None:
    """Mark documents that are about to be written as their stored versions are, where the value is the same.

    Parameters
    ----------
    collection
        ``surfaces`` or ``labels``; nothing is done for others.
    documents
        Changed in place.
    """
    if collection.name not in (SURFACES, LABELS) or not documents:
        return
    by_id = {document["id"]: document for document in documents}
    if collection.name == SURFACES:
        marked: dict[str, Any] = {"$or": [{f"verdicts.{target}.status": FAULTY} for target in _TARGETS]}
        fields = ["id", "verdicts", *_TARGETS]
    else:
        marked, fields = {"excluded": {"$ne": None}}, ["id", "excluded", "targets"]
    for stored in collection.query({"id": {"$in": list(by_id)}, **marked}, fields):
        new = by_id[stored["id"]]
        kept = {
            target: reason
            for target, reason in excluded_targets(stored).items()
            if target not in excluded_targets(new)
            and _counts(new, target)
            and _value(stored, target) == _value(new, target)
        }
        if kept:
            _mark(new, kept)


def _excluded(store: SurfaceStore) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    status = [{f"verdicts.{target}.status": FAULTY} for target in _TARGETS]
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


def _value(document: Mapping[str, Any], target: str) -> Any:
    return document.get(target) if "verdicts" in document else document["targets"].get(target)


def _counts(document: Mapping[str, Any], target: str) -> bool:
    """Whether a value would be used for training."""
    if "verdicts" in document and document["verdicts"].get(target, {}).get("status") != "accepted":
        return False
    return _value(document, target) is not None


def _mark(document: dict[str, Any], reasons: Mapping[str, str]) -> None:
    if "verdicts" in document:
        marks = {target: {"status": FAULTY, "reason": reason} for target, reason in reasons.items()}
        document["verdicts"] = {**document["verdicts"], **marks}
    else:
        document["excluded"] = {**(document.get("excluded") or {}), **reasons}


def _unmark(document: dict[str, Any]) -> None:
    if "verdicts" in document:
        back = {target: {"status": "accepted", "reason": ""} for target in excluded_targets(document)}
        document["verdicts"] = {**document["verdicts"], **back}
    else:
        document.pop("excluded", None)
