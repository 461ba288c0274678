"""Values that a snapshot does not have, and why: rejected by a verdict, by an audit, or never computed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stores.labelled import OWN_TARGETS, WITHOUT_MG
from stores.method_names import meeting_names
from workflows.publication.files import write_rows
from workflows.publication.private import public_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore

FILE = "left_out.csv"
COLUMNS = (
    "record_id", "kind", "formula", "h", "k", "l", "termination_label", "source_id", "target", "verdict",
    "reason",
)  # fmt: skip

_OF_SURFACES = (
    "id", "formula", "chemsys", "method_fingerprint", "miller_index", "termination_label", "verdicts",
)  # fmt: skip
_OF_LABELS = ("id", "formula", "method_fingerprint", "miller_index", "source_id", "targets", "excluded")


def write_left_out(
    store: SurfaceStore, snapshot: Snapshot, incomplete: Mapping[str, Collection[str]], path: Path
) -> Counter[tuple[str, str]]:
    """Write a line for each value that records of the snapshot's methods lack in it; count them.

    Only records that were there when it was made count, so that a store that has grown gives the same file.
    `incomplete` has the targets of those records of the snapshot that lack one of their method's.
    """
    counts: Counter[tuple[str, str]] = Counter()

    def counted() -> Iterator[dict[str, Any]]:
        for row in _rows(store, snapshot, incomplete):
            counts[row["target"], row["verdict"]] += 1
            yield {**row, "reason": public_text(row["reason"])}

    write_rows(path, COLUMNS, counted())
    return counts


def _rows(
    store: SurfaceStore, snapshot: Snapshot, incomplete: Mapping[str, Collection[str]]
) -> Iterator[dict[str, Any]]:
    def lacks(record_id: str, target: str) -> bool:
        return record_id not in complete and target not in incomplete.get(record_id, ())

    targets = {(head.target, head.method) for head in snapshot.heads}
    methods = {head.method for head in snapshot.heads}
    complete = {record_id for record_id, _ in snapshot.records} - incomplete.keys()
    then: dict[str, Any] = {"created_at": {"$lte": snapshot.created_at}}
    name = meeting_names(store, "surfaces")
    rejected = {"$or": [{f"verdicts.{target}.status": {"$ne": "accepted"}} for target in OWN_TARGETS]}
    for document in store.query({**then, **rejected}, list(_OF_SURFACES), sort={"id": 1}):
        elements = document["chemsys"].split("-")
        method = name(document["method_fingerprint"], elements) + ("" if "Mg" in elements else WITHOUT_MG)
        if method not in methods:
            continue
        hkl = dict(zip("hkl", document["miller_index"], strict=True))
        shared = {
            "record_id": document["id"],
            "kind": "surfaces",
            "formula": document["formula"],
            **hkl,
            "termination_label": document["termination_label"],
        }
        for target in OWN_TARGETS:
            verdict = document["verdicts"][target]
            accepted = verdict["status"] == "accepted"
            if not accepted and (target, method) in targets and lacks(document["id"], target):
                yield {**shared, "target": target, "verdict": verdict["status"], "reason": verdict["reason"]}
    for document in store.query(then, list(_OF_LABELS), sort={"id": 1}, collection="labels"):
        method = document["method_fingerprint"]
        if method not in methods or document["id"] in complete:
            continue
        hkl = dict(zip("hkl", document.get("miller_index") or ("", "", ""), strict=True))
        excluded = document.get("excluded") or {}
        for target, of_method in sorted(targets):
            if of_method != method:
                continue
            missing = document["targets"].get(target) is None
            if (target in excluded or missing) and lacks(document["id"], target):
                yield {
                    "record_id": document["id"],
                    "kind": "labels",
                    "formula": document["formula"],
                    **hkl,
                    "source_id": document["source_id"],
                    "target": target,
                    "verdict": "faulty" if target in excluded else "no value",
                    "reason": excluded.get(target, "its source has no value"),
                }
