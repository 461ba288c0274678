"""What a snapshot holds, read once and in parts: rows, the records behind them, and facts about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stores.backends.collection import check_version
from stores.errors import InputError
from stores.exclusion_marks import excluded_targets, value_of
from stores.learning.snapshot_items import compact_structure
from stores.learning.snapshot_rows import ITEM_COLUMNS, Column, head_columns, row_of
from stores.learning.snapshots import snapshot_items
from workflows.publication.columns import DETAIL_COLUMNS, UNITS, WORDS, details_of
from workflows.publication.private import public_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stores.learning.snapshots import Head, Snapshot
    from stores.surfaces import SurfaceStore

UNCHANGED, CHANGED, REMOVED = "unchanged", "changed", "removed"
"""Values of ``record_state``."""


@dataclass(frozen=True)
class Entry:
    """One entry of a snapshot: its row, and the stored record behind it if that still holds the same."""

    row: dict[str, Any]
    item: Mapping[str, Any]
    document: Mapping[str, Any] | None


@dataclass(frozen=True)
class Target:
    """A column of values: the target, its one method, how many there are, and its unit."""

    column: Column
    target: str
    method: str
    labels: int


@dataclass
class Range:
    """Smallest, largest and mean value of a column."""

    count: int = 0
    lowest: float = float("inf")
    highest: float = float("-inf")
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        self.lowest, self.highest = min(self.lowest, value), max(self.highest, value)
        self.total += value

    @property
    def mean(self) -> float:
        """Return the mean."""
        return self.total / self.count


@dataclass
class Summary:
    """Facts about the entries, gathered as they are read."""

    kinds: Counter[str] = field(default_factory=Counter)
    structure_kinds: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    geometries: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    provenances: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    compounds: set[str] = field(default_factory=set)
    systems: set[str] = field(default_factory=set)
    ranges: dict[str, Range] = field(default_factory=lambda: defaultdict(Range))
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    fingerprints: Counter[str] = field(default_factory=Counter)
    bulk_ids: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)
    faults: list[dict[str, str]] = field(default_factory=list)
    incomplete: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, entry: Entry, targets: Mapping[tuple[str, str], str]) -> None:
        """Take an entry into account."""
        row, item, document = entry.row, entry.item, entry.document
        self.kinds[row["kind"]] += 1
        self.structure_kinds[row["structure_kind"]] += 1
        self.states[row["record_state"]] += 1
        self.elements.update(row["chemsys"].split("-"))
        self.systems.add(row["chemsys"])
        self.compounds.add((item["compound"] or item["formula"]).partition(" ")[0])
        if len(item["targets"]) < sum(method == item["method"] for _, method in targets):
            self.incomplete[row["record_id"]] = tuple(item["targets"])
        for target, value in item["targets"].items():
            self.ranges[targets[target, item["method"]]].add(value)
        self.filled.update(name for name, value in row.items() if value is not None)
        if document is None:
            return
        fingerprint = document["method_fingerprint"]
        self.fingerprints[fingerprint] += 1
        if row["kind"] == "surfaces":
            self.methods.setdefault(fingerprint, document["method"])
            self.bulk_ids.add(row["bulk_id"])
            self.provenances[document["provenance"]["source"]] += 1
        else:
            self.sources[document["source"]] += 1
            self.geometries[document["geometry"]] += 1
        self._find_faults(entry, document)

    def _find_faults(self, entry: Entry, document: Mapping[str, Any]) -> None:
        """Note published values that the record's verdict or an audit rejects by now."""
        for target in entry.item["targets"]:
            status, reason = _judgement(document, target)
            if status != "accepted":
                self.faults.append(
                    {
                        "record_id": entry.row["record_id"],
                        "formula": entry.row["formula"],
                        "target": target,
                        "verdict": status,
                        "reason": public_text(reason),
                    }
                )


def _judgement(document: Mapping[str, Any], target: str) -> tuple[str, str]:
    """Return the verdict on a value of a record, and its reason."""
    excluded = excluded_targets(document)
    if target in excluded:
        return "faulty", excluded[target]
    verdict = document.get("verdicts", {}).get(target, {"status": "accepted", "reason": ""})
    return verdict["status"], verdict.get("reason", "")


class Contents:
    """The entries of a snapshot in a store.

    Attributes
    ----------
    targets
        Columns of values.
    columns
        All columns, values first after those that identify a row.
    summary
        Of the entries that `entries` has yielded.
    """

    def __init__(self, store: SurfaceStore, snapshot: Snapshot) -> None:
        self.store = store
        self.snapshot = snapshot
        self.summary = Summary()
        reserved = [column.name for column in (*ITEM_COLUMNS, *DETAIL_COLUMNS)]
        self.head_columns = head_columns(snapshot.heads, reserved)
        self.targets = tuple(self._target(head) for head in snapshot.heads)
        values = tuple(target.column for target in self.targets)
        scalars = tuple(column for column in ITEM_COLUMNS if column.kind not in ("texts", "numbers"))
        lists = tuple(column for column in ITEM_COLUMNS if column not in scalars)
        self.columns = (*scalars, *values, *DETAIL_COLUMNS, *lists)

    def _target(self, head: Head) -> Target:
        name = self.head_columns[head.target, head.method]
        words = WORDS.get(head.target, head.target.replace("_", " ").capitalize())
        column = Column(name, "number", words, self._unit(head))
        return Target(column, head.target, head.method, head.labels)

    def _unit(self, head: Head) -> str:
        """Return the unit of a target: the one stated by its source, else that of surfaces."""
        if head.unit:
            return head.unit
        same = {"method_fingerprint": head.method}  # older snapshots have no units
        for document in self.store.query(same, ["units"], collection="labels"):
            if stated := (document.get("units") or {}).get(head.target, ""):
                return str(stated)
        return UNITS.get(head.target, "")

    def entries(self) -> Iterator[list[Entry]]:
        """Yield all entries by record id, some hundreds at a time.

        A `StoreError` names those whose data are damaged.
        """
        for items in snapshot_items(self.store, self.snapshot):
            documents: dict[str, Mapping[str, Any]] = {}
            for kind in ("surfaces", "labels"):
                ids = [item["record_id"] for item in items if item["kind"] == kind]
                if ids:
                    documents |= {one["id"]: one for one in self.store.collection(kind).by_id(ids)}
            found = [self._entry(item, documents.get(item["record_id"])) for item in items]
            for entry in found:
                self.summary.add(entry, self.head_columns)
            yield found

    def _entry(self, item: dict[str, Any], document: Mapping[str, Any] | None) -> Entry:
        row = row_of(item, self.head_columns)
        if (species := row.get("species")) is not None:
            row["n_atoms"] = len(species)
        if document is not None:
            check_version(document.get("schema_version"), f"The record {document['id']} in {self.store.uri}")
        if document is None:
            row["record_state"] = REMOVED
        elif not _is_same(document, item):
            row["record_state"], document = CHANGED, None
        else:
            row["record_state"] = UNCHANGED
            known = {name: v for name, v in details_of(document, item).items() if v is not None}
            row = {**known, **row}
        return Entry(row, item, document)


def _is_same(document: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether a stored record has the values and the structure of an item."""
    if any(value_of(document, target) != value for target, value in item["targets"].items()):
        return False
    if "fractions" in item["slab"]:
        stored = {"fractions": document["fractions"], "extras": document.get("extras") or {}}
        return bool(stored == item["slab"])
    try:
        return bool(compact_structure(document["slab"], document["id"]) == item["slab"])
    except InputError:
        return False
