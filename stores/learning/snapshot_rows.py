"""The items of a snapshot as rows of a table, from which they are made again to the last digit.

Every row has the columns of `ITEM_COLUMNS` and one for each target. Floats are kept as they are (float64, or
JSON with all digits), so that an item made of its row has the same hash, and the snapshot the same id.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from annotated_types import Len
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from stores.errors import InputError, first_problem, one_line
from stores.learning.snapshots import Head, Snapshot, snapshot_id
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind = Literal["text", "integer", "number", "json", "texts", "numbers"]
"""Of the values in a column: text, int64, float64, JSON as text, lists of text or of float64."""

DATA_FILE = "data.parquet"
RECORDS_FILE = "records.jsonl.gz"
CHECKSUMS_FILE = "SHA256SUMS"
"""Files of a published data set that are read back."""

HEADER_KEY = b"mgsurf_snapshot"
"""Metadata of the Parquet file: the snapshot without its records, and the column of each head, as JSON."""


@dataclass(frozen=True)
class Column:
    """A column of a published table; `unit` is empty where there is none."""

    name: str
    kind: Kind
    description: str
    unit: str = ""


ITEM_COLUMNS = (
    Column("record_id", "text", "Content hash of the request, or of the source and the name in it"),
    Column("kind", "text", "surfaces: computed by mgsurf; labels: imported"),
    Column("structure_kind", "text", "slab, bulk (a crystal without surface) or composition (no structure)"),
    Column("method", "text", "Name of the method of all values in the row; values of two methods never mix"),
    Column("formula", "text", "Reduced formula, Mg first: of the compound, of an imported slab its own"),
    Column("chemsys", "text", "Elements in alphabetical order"),
    Column("composition", "json", "Atoms of each element in the slab"),
    Column("compound", "text", "Of imported structures: the crystal inside and its volume per atom (A^3)"),
    Column("bulk_id", "text", "Record of the relaxed bulk that a computed slab was cut from"),
    Column("h", "integer", "Miller index in the conventional standard cell of the relaxed bulk"),
    Column("k", "integer", "The second Miller index"),
    Column("l", "integer", "The third Miller index"),
    Column("termination_key", "text", "Order of the atomic layers from the surface inward"),
    Column("classes", "json", "Names of the classes of targets that are no quantities"),
    Column("fractions", "json", "Share of the atoms by element, of a composition"),
    Column("extras", "json", "Numeric inputs of a composition, such as its processing"),
    Column("species", "texts", "Symbol of each atom of the slab as cut (N)"),
    Column("lattice", "numbers", "Lattice vectors a, b, c, row by row (9)", "A"),
    Column("fractional", "numbers", "Fractional coordinates, atom by atom (3 N)"),
)
"""What an item is made of again."""

_Vector = Annotated[list[FiniteFloat], Len(3, 3)]


class _Atoms(BaseModel):
    model_config = ConfigDict(strict=True)
    species: Annotated[list[str], Len(1)]
    lattice: Annotated[list[_Vector], Len(3, 3)]
    fractional: list[_Vector]


class _Mixture(BaseModel):
    model_config = ConfigDict(strict=True)
    fractions: Annotated[dict[str, FiniteFloat], Len(1)]
    extras: dict[str, FiniteFloat | None]


class _Item(BaseModel):
    """The types of an item, so that no damaged one gets into a store; `row_of` writes no other."""

    model_config = ConfigDict(strict=True)
    record_id: str
    kind: Literal["surfaces", "labels"]
    method: str
    formula: str
    chemsys: str
    compound: str | None
    composition: dict[str, int]
    targets: Annotated[dict[str, FiniteFloat], Len(1)]
    same: list[Any] | None
    classes: dict[str, list[str]] = {}


_PLAIN = ("record_id", "kind", "method", "formula", "chemsys", "compound")


def _text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def row_of(item: Mapping[str, Any], columns: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the row of an item; `columns` has the column of each target and method."""
    slab, same = item["slab"], item["same"]
    row: dict[str, Any] = {name: item[name] for name in _PLAIN}
    row["composition"] = _text(item["composition"])
    row["classes"] = _text(item.get("classes"))
    if same is not None:
        row["bulk_id"], (row["h"], row["k"], row["l"]), row["termination_key"] = same
    if "fractions" in slab:
        row |= {
            "structure_kind": "composition",
            "fractions": _text(slab["fractions"]),
            "extras": _text(slab["extras"]),
        }
    else:
        row |= {
            "structure_kind": "bulk" if item.get("bulk") else "slab",
            "species": slab["species"],
            "lattice": [x for vector in slab["lattice"] for x in vector],
            "fractional": [x for place in slab["fractional"] for x in place],
        }
    for target, value in item["targets"].items():
        row[columns[target, item["method"]]] = value
    return row


def item_of_row(row: Mapping[str, Any], columns: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the item that a row was made of; the inverse of `row_of`.

    Raises
    ------
    InputError
        If the row is of no item.
    """
    try:
        what = row["structure_kind"]
        slab: dict[str, Any]
        if what == "composition":
            slab = {"fractions": orjson.loads(row["fractions"]), "extras": orjson.loads(row["extras"])}
        else:
            flat, places = row["lattice"], row["fractional"]
            slab = {
                "species": row["species"],
                "lattice": [flat[i : i + 3] for i in range(0, 9, 3)],
                "fractional": [places[i : i + 3] for i in range(0, len(places), 3)],
            }
        same = None
        if row["kind"] == "surfaces":
            same = [row["bulk_id"], [row["h"], row["k"], row["l"]], row["termination_key"]]
        targets = {
            target: row[name]
            for (target, method), name in columns.items()
            if method == row["method"] and row[name] is not None
        }
        item = {
            **{name: row[name] for name in _PLAIN},
            "targets": targets,
            "composition": orjson.loads(row["composition"]),
            "same": same,
            "slab_hash": content_hash(slab),
            **({"bulk": True} if what == "bulk" else {}),
            **({"classes": orjson.loads(row["classes"])} if row["classes"] is not None else {}),
        }
        _Item.model_validate(item)
        (_Mixture if what == "composition" else _Atoms).model_validate(slab)
        if "species" in slab and len(slab["species"]) != len(slab["fractional"]):
            raise ValueError("atoms without a place")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the row of record {row.get('record_id')} is no entry of a snapshot ({reason_of(error)})"
        ) from None
    return {"id": content_hash(item), **item, "slab": slab}


def reason_of(error: Exception) -> str:
    """Return an error on one line, of a validation the first one."""
    return first_problem(error) if isinstance(error, ValidationError) else one_line(error)


def head_columns(heads: Iterable[Head], reserved: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the column of each target and method: the head's name, ``target_...`` if that is reserved."""
    taken = frozenset(reserved)
    return {(h.target, h.method): f"target_{h.name}" if h.name in taken else h.name for h in heads}


def header_json(snapshot: Snapshot, columns: Mapping[tuple[str, str], str]) -> bytes:
    """Return the value of `HEADER_KEY`."""
    header = {name: value for name, value in asdict(snapshot).items() if name != "records"}
    listed = [[target, method, name] for (target, method), name in columns.items()]
    return orjson.dumps({**header, "columns": listed}, option=orjson.OPT_SORT_KEYS)


def read_header(text: bytes, where: str) -> tuple[Snapshot, dict[tuple[str, str], str]]:
    """Read the value of `HEADER_KEY`: the snapshot without records, and the column of each target and method.

    An `InputError` if it is damaged, or of a newer mgsurf; `where` names the file.
    """
    from stores.backends.collection import check_version

    try:
        header = orjson.loads(text)
        check_version(header["schema_version"], where)
        columns = {(target, method): str(name) for target, method, name in header.pop("columns")}
        snapshot = TypeAdapter(Snapshot).validate_python({**header, "records": ()})
        datetime.fromisoformat(snapshot.created_at)
        if snapshot.head_names().keys() != columns.keys():
            raise ValueError("its columns are not those of its heads")
        return snapshot, columns
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} has no header of a snapshot ({reason_of(error)}); download it again."
        ) from None


def check_content(snapshot: Snapshot, records: Sequence[tuple[str, str]], where: str) -> None:
    """Raise an `InputError` unless the records and hashes of their items are those of the snapshot."""
    found = snapshot_id(snapshot.schema_version, snapshot.heads, records)
    if found != snapshot.id or len(records) != snapshot.n_records:
        raise InputError(
            f"{where} holds other data than the snapshot {snapshot.id} that it names (their hash is "
            f"{found}); "
            "download it again."
        )
    if len(dict(records)) != len(records):
        raise InputError(f"{where} holds a record twice; download it again.")
