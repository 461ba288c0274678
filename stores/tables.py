"""The SQL table behind a collection of documents: its columns, indexes and how a document becomes a row.

A collection ``surfaces`` is a table ``surfaces`` with a column for every indexed field, named after it, and
``_doc`` with the document as JSON text. Large fields that hardly any query looks at (structures, potentials)
lie apart in ``surfaces.heavy``, and are null in ``_doc``, so that reading and filtering touch little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stores.collection import check_replaceable
from stores.errors import InputError
from stores.filters_sql import Layout, quote
from stores.ranks import rank_of
from stores.values import dumps, encode, json_value_at, loads, value_at

if TYPE_CHECKING:
    from stores.database import Connection

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_OWN = ("_row", "_doc")
_ANALYSE_FROM = 256  # rows; below, any plan is fast


@dataclass(frozen=True)
class Row:
    """A document ready to be written."""

    values: tuple[Any, ...]
    light: str
    heavy: str | None


@dataclass(frozen=True)
class Table:
    """The layout of a collection in one file at one moment (`version` is SQLite's schema version)."""

    name: str
    columns: tuple[str, ...]
    heavy: tuple[str, ...]
    version: int

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Where in a document the value of each column stands."""
        return tuple(tuple(column.split(".")) for column in self.columns)

    @property
    def sql(self) -> str:
        """Quoted name of the table."""
        return quote(self.name)

    @property
    def heavy_table(self) -> str:
        """Quoted name of the table of the heavy parts."""
        return quote(self.name + ".heavy")

    @property
    def heavy_sql(self) -> str:
        """Expression that gives the heavy part of a row."""
        return f"(SELECT h.body FROM {self.heavy_table} h WHERE h._row = {self.sql}._row)"

    def row(self, document: dict[str, Any]) -> Row:
        """Turn a document into a row.

        Raises
        ------
        InputError
            If it cannot be written as JSON.
        """
        heavy = {name: document[name] for name in self.heavy if document.get(name) is not None}
        light = {**document, **dict.fromkeys(heavy)} if heavy else document
        heavy_bytes, light_bytes = (dumps(heavy) if heavy else None), dumps(light)
        values = tuple(encode(json_value_at(document, path)) for path in self.paths)
        return Row(values, light_bytes.decode(), None if heavy_bytes is None else heavy_bytes.decode())

    def layout(self, connection: Connection) -> Layout:
        """Describe the table to the compiler of filters, within one snapshot of the file."""
        # What was seen holds until another connection commits or this one writes such a value (`write_rows`).
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if connection.data_version != version:
            connection.irregular.clear()
            connection.data_version = version

        def has_irregular(column: str, lower: bytes, upper: bytes) -> bool:
            known = connection.irregular.get((self.name, column, lower, upper))
            if known is None:
                name = quote(column)
                sql = f"SELECT EXISTS(SELECT 1 FROM {self.sql} WHERE {name} >= ? AND {name} < ?)"
                known = bool(connection.execute(sql, (lower, upper)).fetchone()[0])
                connection.irregular[self.name, column, lower, upper] = known
            return known

        return Layout(self.columns, self.heavy, self.heavy_sql, has_irregular)


def read_table(connection: Connection, name: str) -> Table | None:
    """Return the layout of a collection, None if the file does not hold it yet.

    The layout is remembered on the connection until any process changes the schema.
    """
    version = connection.execute("PRAGMA schema_version").fetchone()[0]
    known: Table | None = connection.tables.get(name)
    if known is not None and known.version == version:
        return known
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quote(name)})")]
    if not columns:
        return None
    heavy = connection.execute("SELECT heavy FROM mgsurf_collections WHERE name = ?", (name,)).fetchone()
    fields = tuple(column for column in columns if column not in _OWN)
    table = Table(name, fields, tuple(loads(heavy[0])) if heavy else (), version)
    connection.tables[name] = table
    return table


def check_name(name: str) -> str:
    """Return the name of a collection or field.

    Raises
    ------
    InputError
        If SQLite or mgsurf could not use it.
    """
    if (
        not _NAME.fullmatch(name)
        or name.lower().startswith(("sqlite_", "mgsurf_"))
        or name.endswith(".heavy")
    ):
        raise InputError(
            f"{name!r} cannot name a collection or an indexed field; use letters, digits, _ and dots."
        )
    return name


def _index(table: Table, columns: Sequence[str]) -> str:
    name = quote(f"{table.name}:{','.join(columns)}")
    return f"CREATE INDEX IF NOT EXISTS {name} ON {table.sql} ({', '.join(map(quote, columns))})"


def make_table(
    connection: Connection, name: str, key: Sequence[str], indexed: Sequence[str], heavy: Sequence[str]
) -> Table:
    """Make a collection, or give an old one the columns and indexes it lacks (within a transaction)."""
    check_name(name)
    table = read_table(connection, name)
    if table is None:
        fields = [check_name(column) for column in dict.fromkeys([*key, *indexed])]
        declared = ["_row INTEGER PRIMARY KEY", *map(quote, fields), "_doc TEXT NOT NULL"]
        connection.execute(f"CREATE TABLE {quote(name)} ({', '.join(declared)})")
        heavy_name = quote(name + ".heavy")
        connection.execute(f"CREATE TABLE {heavy_name} (_row INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        connection.execute(
            "INSERT INTO mgsurf_collections VALUES (?, ?)", (name, dumps(list(heavy)).decode())
        )
        table = Table(name, tuple(fields), tuple(heavy), -1)
    for column in dict.fromkeys([*key, *indexed]):
        if column not in table.columns:
            table = _add_column(connection, table, check_name(column))
        if column != key[0]:
            connection.execute(_index(table, [column]))
    connection.execute(_index(table, key))
    connection.irregular.clear()
    made = read_table(connection, name)
    assert made is not None
    return made


def _add_column(connection: Connection, table: Table, column: str) -> Table:
    connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(column)}")
    path, heavy = tuple(column.split(".")), table.heavy_sql if column.split(".")[0] in table.heavy else "NULL"
    rows = connection.execute(f"SELECT _row, _doc, {heavy} FROM {table.sql}")
    changes = (
        (encode(value_at(loads(light) | (loads(body) if body else {}), path)), number)
        for number, light, body in rows.fetchall()
    )
    connection.executemany(f"UPDATE {table.sql} SET {quote(column)} = ? WHERE _row = ?", changes)
    return Table(table.name, (*table.columns, column), table.heavy, -1)


def write_rows(
    connection: Connection,
    table: Table,
    key: Sequence[str],
    rows: dict[tuple[Any, ...], Row],
    keep: Sequence[str],
    ranked: bool = False,
) -> int:
    """Insert rows or put them in place of those with the same key (within a transaction); return how many.

    Stored documents stay where the new one differs in the fields `keep` at most or, if `ranked`, ranks lower.

    Raises
    ------
    InputError
        If a stored document is of a later layout.
    """
    where = " AND ".join(f"{quote(field)} = ?" for field in key)
    body = table.heavy_sql if keep or ranked else "NULL"
    find = f"SELECT _row, _doc, {body} FROM {table.sql} WHERE {where} LIMIT 1"
    number = first = _last_number(connection, table)
    written, bodies, emptied = [], [], []
    for name, row in rows.items():
        stored = connection.execute(find, name).fetchone() if first else None
        if stored is None:
            number += 1
            place = number
        elif _stays(stored, row, keep, ranked):
            continue
        else:
            if "schema_version" in stored[1]:
                old, new = (loads(text).get("schema_version") for text in (stored[1], row.light))
                check_replaceable(old, new, f"The record {name[0]} in {table.name}")
            place = stored[0]
            emptied.append((place,))
        written.append((place, *row.values, row.light))
        if row.heavy is not None:
            bodies.append((place, row.heavy))
        if any(type(value) is bytes for value in row.values):
            connection.irregular.clear()
    marks = ", ".join("?" * (len(table.columns) + 2))
    columns = ", ".join(("_row", *map(quote, table.columns), "_doc"))
    connection.executemany(f"DELETE FROM {table.heavy_table} WHERE _row = ?", emptied)
    connection.executemany(f"INSERT OR REPLACE INTO {table.sql} ({columns}) VALUES ({marks})", written)
    connection.executemany(f"INSERT INTO {table.heavy_table} VALUES (?, ?)", bodies)
    if number >= _ANALYSE_FROM and number.bit_length() > first.bit_length():
        # Without statistics SQLite cannot know that a verdict picks out less than a chemical system does.
        connection.execute(f"ANALYZE {table.sql}")
    return len(written)


_REMOVED = "CREATE TABLE IF NOT EXISTS mgsurf_removed (name TEXT PRIMARY KEY, last INTEGER NOT NULL)"


def _last_number(connection: Connection, table: Table) -> int:
    """Return the highest row number ever used in a collection."""
    last: int = connection.execute(f"SELECT ifnull(max(_row), 0) FROM {table.sql}").fetchone()[0]
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'mgsurf_removed'").fetchone():
        sql = "SELECT last FROM mgsurf_removed WHERE name = ?"
        removed = connection.execute(sql, (table.name,)).fetchone()
        last = max(last, removed[0] if removed else 0)
    return last


def remove_rows(connection: Connection, table: Table, rows: Sequence[tuple[int]]) -> None:
    """Remove rows by their numbers (within a transaction).

    No number is used again: a long answer is read in portions by row number, and would hold documents that
    took the place of removed ones.
    """
    if not rows:
        return
    connection.execute(_REMOVED)
    last = _last_number(connection, table)
    connection.execute("INSERT OR REPLACE INTO mgsurf_removed VALUES (?, ?)", (table.name, last))
    connection.executemany(f"DELETE FROM {table.heavy_table} WHERE _row = ?", rows)
    connection.executemany(f"DELETE FROM {table.sql} WHERE _row = ?", rows)


def _stays(stored: tuple[int, str, str | None], row: Row, keep: Sequence[str], ranked: bool) -> bool:
    _, light, heavy = stored
    if keep and _same(row, light, heavy, keep):
        return True
    return ranked and _rank(light, heavy) > _rank(row.light, row.heavy)


def _rank(light: str, heavy: str | None) -> int:
    return rank_of(loads(light) | (loads(heavy) if heavy is not None else {}))


def _same(row: Row, light: str, heavy: str | None, keep: Sequence[str]) -> bool:
    if row.heavy != heavy:
        return False
    old, new = loads(light), loads(row.light)
    for field in keep:
        old.pop(field, None)
        new.pop(field, None)
    return bool(old == new)
