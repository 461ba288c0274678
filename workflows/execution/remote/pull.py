"""Bring finished records from a project's job outputs into a results store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stores.ranks import rank_of
from stores.records import (
    BulkRecord,
    CalculationRecord,
    ReferenceRecord,
    SurfaceRecord,
)
from workflows.execution.remote.project import first_problem
from workflows.execution.remote.status import chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stores.records import Record
    from stores.surfaces import SurfaceStore
    from workflows.execution.remote.project import RemoteProject

_MARKS: dict[str, type[Record]] = {
    "miller_index": SurfaceRecord,
    "initial_structure": BulkRecord,
    "prototype": ReferenceRecord,
    "identity": CalculationRecord,
}
"""A field that only one class of records has."""

_AT_ONCE = 20  # outputs in memory at a time: some have megabytes


@dataclass
class Pulled:
    """Result of `pull`."""

    seen: int = 0  # number of records found in the outputs, each once
    # number that were new in the store, or had changed, by the name of their class
    written: dict[str, int] = field(default_factory=dict)
    # name of a job and what is wrong with its output
    damaged: list[tuple[str, str]] = field(default_factory=list)


def records_in(output: Any) -> Iterator[Record]:
    """Yield the records in the output of a job, however deep; ValidationError if one is damaged."""
    if isinstance(output, list):
        for entry in output:
            yield from records_in(entry)
    elif isinstance(output, dict):
        if {"schema_version", "method_fingerprint", "id"} <= output.keys():
            for name, record_class in _MARKS.items():
                if name in output:
                    yield record_class.model_validate(output)
                    return
        for entry in output.values():
            yield from records_in(entry)


def pull(project: RemoteProject, campaign: str | None, store: SurfaceStore) -> Pulled:
    """Bring every record of a campaign's finished jobs into a store; repeated, it changes nothing.

    `campaign` None stands for all campaigns of the project. InputError if nothing was submitted, StoreError
    if the store cannot be written; what was brought before stays.
    """
    flows = project.need_flows(campaign)
    outputs = project.controller.jobstore  # as in `status`: many outputs at once
    found = sorted(  # by time, so that later results replace earlier ones
        (document.get("completed_at") or "", document["uuid"], document["index"])
        for some in chunks([uuid for flow in flows for uuid in flow["jobs"]])
        for document in outputs.query({"uuid": {"$in": some}}, ["uuid", "index", "completed_at"])
    )
    pulled, seen = Pulled(), set()
    for start in range(0, len(found), _AT_ONCE):
        names = [(uuid, index) for _, uuid, index in found[start : start + _AT_ONCE]]
        wanted = [{"uuid": uuid, "index": index} for uuid, index in names]
        documents = {(d["uuid"], d["index"]): d for d in outputs.query({"$or": wanted}, load=True)}
        for uuid, index in names:
            document = documents.get((uuid, index), {})
            try:
                records = list(records_in(document.get("output")))
            except ValidationError as error:
                pulled.damaged.append((document.get("name", uuid), first_problem(error)))
                continue
            for record in records:
                seen.add((type(record).__name__, record.id))
                if add_unless_better(store, record):
                    name = type(record).__name__
                    pulled.written[name] = pulled.written.get(name, 0) + 1
    pulled.seen = len(seen)
    return pulled


def add_unless_better(store: SurfaceStore, record: Record) -> bool:
    """Write a record unless the store has a better one; True if it was written.

    A result is never lost to a failure, however late (`SurfaceStore.add_unless_better`); of two results the
    later one stands, of two bulks the one whose formation energy is known.
    """
    known = store.get(type(record), record.id)
    if known is None:
        return store.add_unless_better(record)
    if (_worth(known), known.created_at) >= (_worth(record), record.created_at):
        return False
    if isinstance(record, SurfaceRecord) and isinstance(known, SurfaceRecord) and known.campaign:
        # the first campaign stays named
        record = record.model_copy(update={"campaign": known.campaign})
    return store.add_unless_better(record)


def _worth(record: Record) -> tuple[int, bool]:
    has_energy = isinstance(record, BulkRecord) and record.formation_energy is not None
    return rank_of(record.model_dump(mode="json")), has_energy
