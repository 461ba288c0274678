"""How a record marks a value that is kept out of training, with the reason.

A surface's value is excluded by its verdict, ``faulty``; an imported one by an entry of the record's
``excluded``. An exclusion belongs to the value: writing the record again with an equal value keeps it, a new
value drops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.verdicts import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stores.backends.collection import Collection, Document

SURFACES, LABELS = "surfaces", "labels"
FAULTY = "faulty"  # status of the verdict on an excluded value, see `stores.verdicts.STATUSES`


def excluded_targets(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the excluded targets of a surface or an imported slab, with the reasons."""
    if "verdicts" in document:
        verdicts = document["verdicts"]
        return {
            target: verdicts[target].get("reason", "")
            for target in TARGETS
            if verdicts.get(target, {}).get("status") == FAULTY
        }
    return dict(document.get("excluded") or {})


def write_marked(
    collection: Collection,
    documents: Iterable[Document],
    merged: Callable[[Document, Document], Document | None] | None = None,
) -> int:
    """Write documents of surfaces or labels, with the marks of their stored versions on equal values.

    `merged` makes of the stored and the new document of an id what is stored (None: the stored one stays), in
    one step with the writing; without it the new one is. Returns how many were written.
    """

    def combine(stored: Document | None, new: Document) -> Document | None:
        if stored is None:
            return new
        document = {**new} if merged is None else merged(stored, new)
        if document is not None:
            _carry_marks(stored, document)
        return document

    return collection.merge(documents, combine, keep=("created_at",))


def _carry_marks(stored: Mapping[str, Any], new: dict[str, Any]) -> None:
    """Mark the values of a new document that its stored version has, and has excluded."""
    kept = {
        target: reason
        for target, reason in excluded_targets(stored).items()
        if target not in excluded_targets(new)
        and counts_for_training(new, target)
        and value_of(stored, target) == value_of(new, target)
    }
    if kept:
        mark_excluded(new, kept)


def value_of(document: Mapping[str, Any], target: str) -> Any:
    """Return the value of a target (eV/A^2 or eV) in a surface or an imported slab."""
    return document.get(target) if "verdicts" in document else document["targets"].get(target)


def counts_for_training(document: Mapping[str, Any], target: str) -> bool:
    """Whether a value would be used for training."""
    if "verdicts" in document and document["verdicts"].get(target, {}).get("status") != "accepted":
        return False
    return value_of(document, target) is not None


def mark_excluded(document: dict[str, Any], reasons: Mapping[str, str]) -> None:
    """Mark targets of a document as excluded, with the reasons."""
    if "verdicts" in document:
        marks = {target: {"status": FAULTY, "reason": reason} for target, reason in reasons.items()}
        document["verdicts"] = {**document["verdicts"], **marks}
    else:
        document["excluded"] = {**(document.get("excluded") or {}), **reasons}


def remove_marks(document: dict[str, Any]) -> None:
    """Accept every excluded target of a document again."""
    if "verdicts" in document:
        back = {target: {"status": "accepted", "reason": ""} for target in excluded_targets(document)}
        document["verdicts"] = {**document["verdicts"], **back}
    else:
        document.pop("excluded", None)
