"""Files of the data themselves: Parquet and CSV, extended XYZ, OPTIMADE, a CGCNN folder, whole records.

Every writer takes the entries in parts, so that no more than some thousand are held, and writes no times:
equal entries give equal bytes with the same versions of pyarrow and zlib.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from stores.cgcnn_folder import CgcnnFolder
from stores.learning.snapshot_rows import DATA_FILE, HEADER_KEY, RECORDS_FILE, header_json
from stores.structures.text import cif_text, extended_xyz
from workflows.publication import optimade
from workflows.publication.private import public_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from workflows.publication.contents import Contents, Entry

    Add = Callable[[Sequence[Entry]], None]
    """Writes some entries."""

CSV_FILE = "data.csv"
XYZ_FILE = "structures.extxyz"
OPTIMADE_FILE = "optimade.jsonl"
CGCNN_FOLDER = "cgcnn"

_ROW_GROUP = 8192
_FORMULA, _QUOTED = r"^([=+\-@\t\r])", r"'\1"  # a text that a spreadsheet would compute, and its text in CSV
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class ManyFiles:
    """The data files of a publication; a context that yields what writes entries into all of them.

    Attributes
    ----------
    sha256
        Of the files of the CGCNN folder that hold structures, by name.
    """

    def __init__(self, folder: Path, contents: Contents) -> None:
        self.folder = folder
        self.contents = contents
        self.sha256: dict[str, str] = {}
        self.has_structures = False

    @contextmanager
    def opened(self, url: str) -> Iterator[Add]:
        """Open all files; `url` is the data set's, for ids of property definitions."""
        with ExitStack() as stack:
            writers = [
                stack.enter_context(self._parquet()),
                stack.enter_context(self._xyz()),
                stack.enter_context(self._optimade(url)),
                stack.enter_context(self._cgcnn()),
                stack.enter_context(self._records()),
            ]

            def add(entries: Sequence[Entry]) -> None:
                for write in writers:
                    write(entries)

            yield add
        if not self.has_structures:
            self._remove_structures()

    def _remove_structures(self) -> None:
        import shutil

        for name in (XYZ_FILE, OPTIMADE_FILE):
            (self.folder / name).unlink()
        shutil.rmtree(self.folder / CGCNN_FOLDER)

    @contextmanager
    def _parquet(self) -> Iterator[Add]:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        kinds = {
            "text": pa.string(), "json": pa.string(), "integer": pa.int64(), "number": pa.float64(),
            "texts": pa.list_(pa.string()), "numbers": pa.list_(pa.float64()),
        }  # fmt: skip
        contents = self.contents
        header = {HEADER_KEY: header_json(contents.snapshot, contents.head_columns)}
        schema = pa.schema([(c.name, kinds[c.kind]) for c in contents.columns], metadata=header)
        waiting: list[Mapping[str, Any]] = []
        with pq.ParquetWriter(
            self.folder / DATA_FILE, schema, compression="zstd", compression_level=3, version="2.6"
        ) as writer:

            def flush() -> None:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()

            def add(entries: Sequence[Entry]) -> None:
                waiting.extend(entry.row for entry in entries)
                if len(waiting) >= _ROW_GROUP:
                    flush()

            yield add
            if waiting:
                flush()

    @contextmanager
    def _xyz(self) -> Iterator[Add]:
        names = ("record_id", "formula", "method", "termination_label", "source_id")
        values = [target.column.name for target in self.contents.targets]
        with (self.folder / XYZ_FILE).open("w", encoding="utf-8", newline="\n") as file:

            def add(entries: Sequence[Entry]) -> None:
                for entry in entries:
                    row, slab = entry.row, entry.item["slab"]
                    if "species" in slab:
                        known = {name: row.get(name) for name in (*names, *values)}
                        if row.get("h") is not None:
                            known["miller_index"] = f"{row['h']} {row['k']} {row['l']}"
                        text = extended_xyz(slab["species"], slab["lattice"], slab["fractional"], known)
                        file.write(text)
                        self.has_structures = True

            yield add

    @contextmanager
    def _optimade(self, url: str) -> Iterator[Add]:
        contents = self.contents
        made = contents.snapshot.created_at
        columns = optimade.own_columns(contents.columns)
        own = [(column.name, optimade.property_name(column.name)) for column in columns]
        header = {"x-optimade": {"meta": {"api_version": optimade.API_VERSION}}}
        info = {
            "type": "info",
            "id": "structures",
            "description": "Slabs and bulk crystals with computed surface properties",
            "formats": ["json"],
            "properties": optimade.definitions(contents.columns, url),
        }
        with (self.folder / OPTIMADE_FILE).open("wb") as file:
            file.write(orjson.dumps(header, option=_SORTED) + orjson.dumps(info, option=_SORTED))

            def add(entries: Sequence[Entry]) -> None:
                for entry in entries:
                    if "species" in entry.item["slab"]:
                        plain = optimade.entry_of(entry.row, entry.item["slab"], own, made)
                        file.write(orjson.dumps(plain, option=_SORTED))

            yield add

    @contextmanager
    def _cgcnn(self) -> Iterator[Add]:
        targets = [target.column.name for target in self.contents.targets]
        with CgcnnFolder(self.folder / CGCNN_FOLDER, targets) as folder:

            def add(entries: Sequence[Entry]) -> None:
                for entry in entries:
                    slab = entry.item["slab"]
                    if "species" in slab:
                        cif = cif_text(slab["species"], slab["lattice"], slab["fractional"])
                        values = {target: entry.row.get(target) for target in targets}
                        file = folder.add(entry.row["record_id"], cif, values)
                        name = f"{CGCNN_FOLDER}/{file.name}"
                        self.sha256[name] = hashlib.sha256(cif.encode()).hexdigest()

            yield add

    @contextmanager
    def _records(self) -> Iterator[Add]:
        with (
            (self.folder / RECORDS_FILE).open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file,
        ):

            def add(entries: Sequence[Entry]) -> None:
                for entry in entries:
                    if entry.document is not None:
                        file.write(record_line(entry.row["kind"], entry.document))

            yield add
            for kind, documents in _behind(self.contents):
                for document in documents:
                    file.write(record_line(kind, document))


def _behind(contents: Contents) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
    """Yield the bulks and the references that the surfaces were computed with."""
    from stores.method_names import stored_methods
    from stores.records import Method

    store, summary = contents.store, contents.summary
    bulks = store.collection("bulks").by_id(sorted(summary.bulk_ids))
    yield "bulks", sorted(bulks, key=lambda one: str(one["id"]))
    families = {Method.model_validate(method).family for method in summary.methods.values()}
    known = stored_methods(store, "references").items() if families else ()
    wanted = sorted(name for name, method in known if method.family in families)
    criteria = {"method_fingerprint": {"$in": wanted}, "element": {"$in": sorted(summary.elements)}}
    if wanted:
        yield "references", store.query(criteria, sort={"id": 1}, collection="references")


def record_line(kind: str, document: Mapping[str, Any]) -> bytes:
    """Return a stored record as a line of JSON, without the folders of this machine and without secrets."""
    plain = {name: value for name, value in document.items() if name != "_id"}
    return public_bytes(orjson.dumps({"collection": kind, "record": plain}, option=_SORTED))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            texts = {name: re.sub(_FORMULA, _QUOTED, v) for name, v in row.items() if isinstance(v, str)}
            writer.writerow({**row, **texts})


def write_csv(folder: Path, names: Sequence[str]) -> None:
    """Write the columns of the Parquet file with these names as CSV, floats with all their digits."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    import pyarrow.csv as pacsv  # type: ignore[import-untyped]
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / DATA_FILE) as table:
        schema = pa.schema([table.schema_arrow.field(name) for name in names])
        with pacsv.CSVWriter(folder / CSV_FILE, schema) as writer:
            for number in range(table.num_row_groups):
                group = table.read_row_group(number, list(names))
                columns = [
                    pc.replace_substring_regex(group[f.name], _FORMULA, _QUOTED)
                    if f.type == pa.string()
                    else group[f.name]
                    for f in schema
                ]
                writer.write_table(pa.table(columns, schema=schema))
