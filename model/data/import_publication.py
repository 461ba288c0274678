"""Import of a data set that `mgsurf publish` wrote: its records, and its snapshot under the same id."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from model.data.import_formats import BATCH, Imported
from model.data.label_units import QUANTITIES, check_value
from stores.connections import open_store
from stores.errors import InputError, install_command, one_line
from stores.exclusion_marks import SURFACES, write_marked
from stores.input_files import load_json
from stores.labelled import COLLECTION, LabelRecord
from stores.learning.snapshot_rows import (
    CHECKSUMS_FILE,
    DATA_FILE,
    HEADER_KEY,
    RECORDS_FILE,
    check_content,
    item_of_row,
    read_header,
    reason_of,
)
from stores.records import BulkRecord, ReferenceRecord, SurfaceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import BaseModel

    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore

    Columns = dict[tuple[str, str], str]

_CLASSES: dict[str, type[BaseModel]] = {
    SURFACES: SurfaceRecord, COLLECTION: LabelRecord, "bulks": BulkRecord, "references": ReferenceRecord,
}  # fmt: skip
_LONGEST_LINE = 64 * 2**20  # bytes of a record
_ROWS = 1000


def is_publication(folder: Path) -> bool:
    """Whether a folder is a data set that `mgsurf publish` wrote."""
    return (folder / DATA_FILE).is_file() and (folder / CHECKSUMS_FILE).is_file()


def import_publication(
    folder: Path, store_uri: str, tick: Callable[[int, int, str], None] | None = None
) -> Imported:
    """Import the records and the snapshot of a data set; what the store has is not added again.

    Parameters
    ----------
    folder
        Of the data set.
    store_uri
        Store that it is written to.
    tick
        Called with the number of entries done, how many there are, and what is done.

    Raises
    ------
    InputError
        If pyarrow is missing, or a file is missing or damaged; nothing is written then.
    StoreError
        If the store cannot be written; the same command then writes the rest.
    """
    _check_files(folder)
    with _table(folder) as table:
        snapshot, columns = read_header(
            (table.schema_arrow.metadata or {}).get(HEADER_KEY, b""), str(folder / DATA_FILE)
        )
        result = Imported("publication", str(folder))
        records = [
            (item["record_id"], item["id"])
            for items in _items(table, columns, folder, _counted(tick, snapshot, "checking"))
            for item in items
        ]
        check_content(snapshot, records, str(folder / DATA_FILE))
        with open_store(store_uri) as store:
            for kind, lines in _records(folder, result):
                result.n_changed += _write(store, kind, lines)
            _save(
                store,
                snapshot,
                records,
                _items(table, columns, folder, _counted(tick, snapshot, "importing")),
            )
    for head in snapshot.heads:
        result.n_labels[head.name] = head.labels
    result.n_read = snapshot.n_records
    result.notes.append(f"snapshot {snapshot.id}; mgsurf train --snapshot {snapshot.id[:12]} trains on it")
    return result


def _counted(
    tick: Callable[[int, int, str], None] | None, snapshot: Snapshot, stage: str
) -> Callable[[int], None]:
    return lambda done: tick(done, snapshot.n_records, stage) if tick is not None else None


def _check_files(folder: Path) -> None:
    """Compare the files that are read with their checksums."""
    try:
        text = (folder / CHECKSUMS_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{folder / CHECKSUMS_FILE} cannot be read ({one_line(error)}); download it again."
        ) from None
    sums = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (.*)$", text, re.MULTILINE)}
    for name in (DATA_FILE, RECORDS_FILE):
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; download the data set again.")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sums.get(name):
                raise InputError(
                    f"{path} is damaged (its checksum is not that in {CHECKSUMS_FILE}); download it again."
                )


@contextmanager
def _table(folder: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above
    except ImportError:
        raise InputError(
            f"{folder} is a published data set, which needs pyarrow; run: {install_command('parquet')}"
        ) from None
    try:
        with pq.ParquetFile(folder / DATA_FILE) as table:
            yield table
    except pa.ArrowException as error:
        raise InputError(f"{folder / DATA_FILE} is damaged ({one_line(error)}); download it again.") from None


def _items(
    table: Any, columns: Columns, folder: Path, count: Callable[[int], None]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the items of the snapshot, some hundreds at a time."""
    done = 0
    for batch in table.iter_batches(batch_size=_ROWS):
        try:
            items = [item_of_row(row, columns) for row in batch.to_pylist()]
            for target, value in (pair for item in items for pair in item["targets"].items()):
                check_value(target, value, frozenset(QUANTITIES))
        except InputError as error:
            raise InputError(f"{folder / DATA_FILE}: {error}; download it again.") from None
        yield items
        done += batch.num_rows
        count(done)


def _records(folder: Path, result: Imported) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the whole records of each collection in parts; those that are none are problems."""

    def lines() -> Iterator[tuple[str, dict[str, Any]]]:
        with gzip.open(folder / RECORDS_FILE) as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                try:
                    yield _checked(line)
                except (InputError, KeyError, TypeError, ValueError) as error:
                    result.problems.append(f"{RECORDS_FILE}, line {number}: {_reason(error)}")

    try:
        rows = lines()
        while part := list(islice(rows, BATCH)):
            for kind in _CLASSES:
                if documents := [document for of_kind, document in part if of_kind == kind]:
                    yield kind, documents
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{folder / RECORDS_FILE} is damaged ({one_line(error)}); download it again."
        ) from None


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else reason_of(error)


def _checked(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the collection and the record in a line."""
    found = load_json(line)
    kind, document = found["collection"], found["record"]
    if kind not in _CLASSES:
        raise InputError(f"there are no records {kind!r}")
    _CLASSES[kind].model_validate(document)
    if kind == SURFACES:
        for target, verdict in document["verdicts"].items():
            if verdict["status"] == "accepted" and document.get(target) is not None:
                check_value(target, document[target], frozenset(QUANTITIES))
    return kind, document


def _write(store: SurfaceStore, kind: str, documents: list[dict[str, Any]]) -> int:
    collection = store.collection(kind)
    if kind in (SURFACES, COLLECTION):
        return write_marked(collection, documents)
    return collection.upsert(documents, keep=("created_at",))


def _save(
    store: SurfaceStore,
    snapshot: Snapshot,
    records: list[tuple[str, str]],
    parts: Iterator[list[dict[str, Any]]],
) -> None:
    from dataclasses import replace

    from stores.learning.snapshots import save_items, save_list

    for items in parts:
        save_items(store, items)
    save_list(store, replace(snapshot, records=tuple(records)))
