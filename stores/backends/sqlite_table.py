"""The layout of a collection in an SQLite file: its columns, indexes and large fields, made and completed."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stores.backends.checksums import DamagedTextError, check_heavy, seal, unseal
from stores.backends.filters_sql import quote
from stores.backends.sqlite_errors import damaged_file
from stores.backends.values import dumps, encode, json_value_at, loads, value_at
from stores.errors import InputError, StoreError

if TYPE_CHECKING:
    from stores.backends.sqlite_file import Connection

_LOG = logging.getLogger(__name__)

ANALYSE_FROM = 256  # rows; below, any plan is fast
_MANY = 10_000  # documents that get new columns in a second or so
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_OWN = ("_row", "_doc")


@dataclass(frozen=True)
class Row:
    """A document ready to be written: values of the columns, text without and text of the large fields."""

    values: tuple[Any, ...]
    light: bytes
    heavy: bytes | None


@dataclass(frozen=True)
class Table:
    """The layout of a collection in one file at one moment (`version` is SQLite's schema version)."""

    name: str
    columns: tuple[str, ...]
    heavy: tuple[str, ...]
    version: int

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Where in a document the value of each column is."""
        return tuple(tuple(column.split(".")) for column in self.columns)

    @property
    def sql(self) -> str:
        """Quoted name of the table."""
        return quote(self.name)

    @property
    def heavy_sql(self) -> str:
        """Quoted name of the table of the large fields."""
        return quote(self.name + ".heavy")

    def row(self, document: dict[str, Any]) -> Row:
        """Turn a document into a row."""
        heavy = {name: document[name] for name in self.heavy if document.get(name) is not None}
        light = {**document, **dict.fromkeys(heavy)} if heavy else document
        body = dumps(heavy) if heavy else None
        text = seal(dumps(light), body)
        return Row(tuple(encode(json_value_at(document, path)) for path in self.paths), text, body)


def read_table(connection: Connection, name: str) -> Table | None:
    """Return the layout of a collection, None if the file does not hold it yet.

    It is remembered on the connection until any process changes the schema.
    """
    version = connection.execute("PRAGMA schema_version").fetchone()[0]
    known: Table | None = connection.tables.get(name)
    if known is not None and known.version == version:
        return known
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quote(name)})")]
    if not columns:
        return None
    found = connection.execute("SELECT heavy FROM mgsurf_collections WHERE name = ?", (name,)).fetchone()
    text, _, checksum = (found[0] if found else "").partition("#")
    if found is None or (checksum and checksum != _checksum_of(text)) or not text.endswith("]"):
        raise StoreError(f"{damaged_file(connection.path, f'layout of {name}')}.")
    fields = tuple(column for column in columns if column not in _OWN)
    table = Table(name, fields, tuple(loads(text)), version)
    connection.tables[name] = table
    return table


def _checksum_of(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _check_name(name: str) -> str:
    if (
        not _NAME.fullmatch(name)
        or name.lower().startswith(("sqlite_", "mgsurf_"))
        or name.endswith(".heavy")
    ):
        raise InputError(
            f"{name!r} cannot name a collection or an indexed field; use letters, digits, _ and dots."
        )
    return name


def make_table(
    connection: Connection, name: str, key: Sequence[str], indexed: Sequence[str], heavy: Sequence[str]
) -> Table:
    """Make a collection, or add the columns and indexes that an old one lacks (within a transaction)."""
    _check_name(name)
    table = read_table(connection, name)
    fields = [_check_name(column) for column in dict.fromkeys([*key, *indexed])]
    if table is None:
        declared = ["_row INTEGER PRIMARY KEY", *map(quote, fields), "_doc TEXT NOT NULL"]
        connection.execute(f"CREATE TABLE {quote(name)} ({', '.join(declared)})")
        heavy_name = quote(name + ".heavy")
        connection.execute(f"CREATE TABLE {heavy_name} (_row INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        text = dumps(list(heavy)).decode()
        listed = (name, f"{text}#{_checksum_of(text)}")
        connection.execute("INSERT INTO mgsurf_collections VALUES (?, ?)", listed)
    else:
        _add_columns(connection, table, [column for column in fields if column not in table.columns])
    for columns in (key, *([column] for column in fields if column != key[0])):
        index = quote(f"{name}:{','.join(columns)}")
        listed_columns = ", ".join(map(quote, columns))
        connection.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {quote(name)} ({listed_columns})")
    if table is not None and set(fields) - set(table.columns):
        rows = connection.execute(f"SELECT count(*) FROM {table.sql}").fetchone()[0]
        if rows >= ANALYSE_FROM:
            connection.execute(f"ANALYZE {table.sql}")
    made = read_table(connection, name)
    assert made is not None
    return made


def _add_columns(connection: Connection, table: Table, columns: Sequence[str]) -> None:
    if not columns:
        return
    rows = connection.execute(f"SELECT count(*) FROM {table.sql}").fetchone()[0]
    if rows >= _MANY:
        _LOG.warning(
            "The store %s gets indexes of %s of its %d %s, once: about %d s.",
            connection.path, ", ".join(columns), rows, table.name, max(round(rows / _MANY), 1),
        )  # fmt: skip
    for column in columns:
        connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(column)}")
    paths, changes = [tuple(column.split(".")) for column in columns], []
    whole = any(path[0] in table.heavy for path in paths)
    bodies = f"(SELECT CAST(h.body AS BLOB) FROM {table.heavy_sql} h WHERE h._row = t._row)" if whole else "0"
    for number, light, body in connection.execute(
        f"SELECT t._row, CAST(t._doc AS BLOB), {bodies} FROM {table.sql} t"
    ):
        try:
            document, checksum = unseal(light)
            if whole:
                document |= check_heavy(body, checksum)
        except DamagedTextError:  # reported when it is read
            continue
        changes.append((*(encode(value_at(document, path)) for path in paths), number))
    assigned = ", ".join(f"{quote(column)} = ?" for column in columns)
    connection.executemany(f"UPDATE {table.sql} SET {assigned} WHERE _row = ?", changes)
