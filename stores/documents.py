"""A collection of documents in an SQLite file, asked and filled the way a MongoDB collection is.

Nothing here imports maggma, pymongo or pymatgen: `mgsurf query` must answer in less time than those need to
be imported. `stores.sqlite` makes a maggma ``Store`` of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.database import Database
from stores.errors import InputError
from stores.filters import checked
from stores.filters_sql import Compiled, FilterCompiler, quote, sort_column
from stores.projections import Projection, Properties, distinct_values, sort_key, upwards
from stores.tables import Table, make_table, read_table, remove_rows, write_rows
from stores.values import MISSING, NEEDS_DOCUMENT, decode, dumps, loads

if TYPE_CHECKING:
    from stores.database import Connection

Criteria = dict[str, Any] | None
Sort = dict[str, Any] | None
_CHUNK = 200  # documents read at once: enough to hide SQLite's cost per statement, little memory


class DocumentTable:
    """One collection of documents in an SQLite file.

    Parameters
    ----------
    place
        The file, or a `Database` shared with other collections in it.
    collection
        Name of the collection.
    key
        Field or fields that tell documents apart.
    indexed
        Dotted fields that queries filter and sort by.
    heavy
        Large top-level fields that queries seldom look at (see `stores.tables`); what an existing file
        says goes before.
    """

    def __init__(
        self,
        place: str | Path | Database,
        collection: str,
        key: str | Sequence[str] = "id",
        indexed: Sequence[str] = (),
        heavy: Sequence[str] = (),
    ) -> None:
        self.database = place if isinstance(place, Database) else Database(place)
        self.name = collection
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.indexed = tuple(indexed)
        self.heavy = tuple(heavy)

    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: Sort = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter.

        Parameters
        ----------
        criteria
            Filter (see `stores.filters.matches`); datetimes may be used for times.
        properties
            Fields to return (see `stores.projections.Projection`).
        sort
            {field: 1} upwards, {field: -1} downwards, the first field first; missing counts as null.
        skip, limit
            Documents to pass over, and the most to return (0: all).

        Raises
        ------
        InputError
            If filter, projection or order is malformed.
        StoreError
            If the file cannot be read.
        """
        projection = Projection(properties)
        with self.database.read() as connection:
            table = read_table(connection, self.name)
            if table is None:
                _check(criteria, sort)
                return
            paths = projection.paths or []
            in_columns = bool(paths) and not projection.excludes and set(paths) <= set(table.columns)
            chosen = ["_row", *(map(quote, paths) if in_columns else ())]
            rows = self._select(connection, table, chosen, criteria, sort, skip, limit)
            if not in_columns:  # a small answer is read whole in this very snapshot
                first = _documents(connection, table, rows[:_CHUNK], projection)
        if in_columns:
            for row in rows:
                values = [decode(value) for value in row[1:]]
                if NEEDS_DOCUMENT in values:
                    yield from self._later([row], projection)
                else:
                    yield projection.assemble(values, MISSING)
            return
        yield from first
        for start in range(_CHUNK, len(rows), _CHUNK):
            yield from self._later(rows[start : start + _CHUNK], projection)

    def count(self, criteria: Criteria = None) -> int:
        """Count the documents that match a filter."""
        with self.database.read() as connection:
            table = read_table(connection, self.name)
            if table is None:
                _check(criteria, None)
                return 0
            return int(self._select(connection, table, ["count(*)"], criteria, None, 0, 0)[0][0])

    def distinct(self, field: str, criteria: Criteria = None) -> list[Any]:
        """Return the different values of a field, sorted; the entries of arrays count one by one."""
        return distinct_values(self.query(criteria, [field]), field)

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        key: str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
    ) -> int:
        """Write documents, each in place of the one with the same key; all or, after any error, none.

        Parameters
        ----------
        documents
            One or several; of those with equal keys the last stands. Times become text
            (`stores.values.timestamp`), NaN and infinities null.
        key
            Fields that tell documents apart, if not the collection's own.
        keep
            Top-level fields that do not count as a change: a document that differs from the stored one in
            nothing else is left as it is.
        ranked
            Leave stored documents of a higher rank (`stores.ranks`).

        Returns
        -------
        int
            Number of documents written.

        Raises
        ------
        InputError
            If a document lacks a key field or cannot be written as JSON.
        StoreError
            If the file cannot be written (read-only, locked, full disk); nothing is written then.
        """
        batch = [documents] if isinstance(documents, dict) else list(documents)
        if not batch:
            return 0
        fields = self.key if key is None else (key,) if isinstance(key, str) else tuple(key)
        with self.database.write() as connection:
            table = self._table(connection, fields)
            places = [table.columns.index(field) for field in fields]
            rows = {}
            for document in batch:
                row = table.row(document)
                name = tuple(row.values[place] for place in places)
                if None in name:
                    missing = fields[name.index(None)]
                    raise InputError(f"A document for {self.name} lacks its key field {missing!r}; add it.")
                rows[name] = row
            return write_rows(connection, table, fields, rows, keep, ranked)

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken; of several processes that try at once one succeeds.

        Returns
        -------
        bool
            False if another document has the key; nothing is written then.
        """
        with self.database.write():
            if self.count({field: document.get(field) for field in self.key}):
                return False
            self.upsert(document)
            return True

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        with self.database.write() as connection:
            table = read_table(connection, self.name)
            if table is None:
                return 0
            rows = self._select(connection, table, ["_row"], criteria, None, 0, 0)
            remove_rows(connection, table, rows)
            return len(rows)

    def ensure_index(self, field: str) -> None:
        """Give a field a column and an index, if it has none."""
        with self.database.write() as connection:
            table = self._table(connection, self.key)
            if field not in table.columns:
                make_table(connection, self.name, self.key, [field], self.heavy)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.database.close()

    def _table(self, connection: Connection, fields: Sequence[str]) -> Table:
        """Return the table, made or completed first where needed."""
        table = read_table(connection, self.name)
        if table is None or not set(table.columns).issuperset([*self.key, *self.indexed, *fields]):
            make_table(connection, self.name, self.key, [*self.indexed, *fields], self.heavy)
            table = read_table(connection, self.name)
            assert table is not None
        return table

    def _select(
        self,
        connection: Connection,
        table: Table,
        columns: Sequence[str],
        criteria: Criteria,
        sort: Sort,
        skip: int,
        limit: int,
    ) -> list[tuple[Any, ...]]:
        layout = table.layout(connection)
        compiled = FilterCompiler(layout, self.database.numbers.__next__).compile(checked(criteria))
        sql = f"SELECT {', '.join(columns)} FROM {table.sql} WHERE {compiled.sql}"
        order = [(field, upwards(field, direction)) for field, direction in (sort or {}).items()]
        terms = [
            sort_column(field, layout, last=place == len(order) - 1) for place, (field, _) in enumerate(order)
        ]
        if None not in terms:
            if order:
                if len(order) == 1 and not _in_order(connection, table, compiled, limit and limit + skip):
                    terms = [f"+{terms[0]}"]  # the plus keeps the planner from walking along its index
                ways = (
                    f"{term} {'ASC' if up else 'DESC'}" for term, (_, up) in zip(terms, order, strict=True)
                )
                sql += f" ORDER BY {', '.join(ways)}"
            if limit or skip:
                sql += f" LIMIT {int(limit) or -1} OFFSET {int(skip)}"
        connection.predicates.update(compiled.predicates)
        try:
            rows = connection.execute(sql, compiled.values).fetchall()
        finally:
            for number in compiled.predicates:
                del connection.predicates[number]
        if None in terms:
            rows = _sorted(connection, table, rows, order)[skip : skip + limit if limit else None]
        return rows

    def _later(self, rows: list[tuple[Any, ...]], projection: Projection) -> list[dict[str, Any]]:
        """Read documents that were found before."""
        with self.database.read() as connection:
            table = read_table(connection, self.name)
            return _documents(connection, table, rows, projection) if table else []


def _in_order(connection: Connection, table: Table, compiled: Compiled, wanted: int) -> bool:
    """Say whether to walk along the index that sorts, until enough rows are found, or to find all and sort.

    SQLite decides this by averages. Of n rows, m of which match, the walk looks at n * wanted / m and the
    other way at m; so that it is worth it from m = sqrt(n * wanted) on, which an index tells at once.
    """
    if compiled.sql == "1":
        return True
    if not wanted:
        return False
    rows = connection.execute(f"SELECT ifnull(max(_row), 0) FROM {table.sql}").fetchone()[0]
    enough = math.isqrt(rows * wanted) + 1
    for sql, values in compiled.narrow:
        some = f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} WHERE {sql} LIMIT {enough})"
        if connection.execute(some, values).fetchone()[0] < enough:
            return False
    return True


def _check(criteria: Criteria, sort: Sort) -> None:
    """Refuse a malformed question even where there is nothing to find."""
    checked(criteria)
    for field, direction in (sort or {}).items():
        upwards(field, direction)


def _parse(light: str, heavy: str | None) -> dict[str, Any]:
    document: dict[str, Any] = loads(light)
    if heavy is not None:
        document.update(loads(heavy))  # keeps the order of the fields: they stand in the light part as null
    return document


def _documents(
    connection: Connection, table: Table, rows: list[tuple[Any, ...]], projection: Projection
) -> list[dict[str, Any]]:
    """Read documents by row number, in this order; those removed meanwhile are passed over."""
    found = _read(connection, table, [row[0] for row in rows], heavy=projection.needs(table.heavy))
    return [projection.apply(_parse(*found[row[0]])) for row in rows if row[0] in found]


def _read(
    connection: Connection, table: Table, rows: Sequence[int], *, heavy: bool
) -> dict[int, tuple[str, str | None]]:
    """Return light and heavy text by row number."""
    body = table.heavy_sql if heavy and table.heavy else "NULL"
    sql = f"SELECT _row, _doc, {body} FROM {table.sql} WHERE _row IN (SELECT value FROM json_each(?))"
    return {row[0]: row[1:] for row in connection.execute(sql, (dumps(list(rows)).decode(),))}


def _sorted(
    connection: Connection, table: Table, rows: list[tuple[Any, ...]], order: list[tuple[str, bool]]
) -> list[tuple[Any, ...]]:
    """Sort rows in Python, by fields that no column can sort."""
    heavy = any(field.split(".")[0] in table.heavy for field, _ in order)
    keys: dict[int, list[Any]] = {}
    for start in range(0, len(rows), _CHUNK):
        numbers = [row[0] for row in rows[start : start + _CHUNK]]
        for number, texts in _read(connection, table, numbers, heavy=heavy).items():
            document = _parse(*texts)
            keys[number] = [sort_key(document, field, up) for field, up in order]
    for place in reversed(range(len(order))):
        rows = sorted(rows, key=lambda row: keys[row[0]][place], reverse=not order[place][1])
    return rows
