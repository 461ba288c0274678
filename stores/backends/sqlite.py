"""A collection of documents in an SQLite file, queried and filled the way a MongoDB collection is.

A collection ``surfaces`` is a table ``surfaces`` with a column for every indexed field, named after it, and
``_doc`` with the document as JSON text. Large fields that hardly any query needs (structures, potentials)
are in ``surfaces.heavy``, and null in ``_doc``, so that reading and filtering touch little. Every document
that is read is checked against its checksum and against the filter in Python; SQL only narrows down the rows
that are read (`stores.backends.filters_sql`).

Nothing here imports maggma, pymongo or pymatgen: `mgsurf query` must answer in less time than those need to
be imported. `stores.backends.job_store` makes a maggma ``Store`` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.backends.checksums import DamagedTextError, check_heavy, unseal
from stores.backends.collection import Collection, CollectionLayout, Combine, Criteria, without
from stores.backends.filters import (
    Predicate,
    Projection,
    Properties,
    checked,
    predicate,
    roots,
    sort_key,
    sort_order,
)
from stores.backends.filters_sql import Condition, FilterCompiler, quote
from stores.backends.sqlite_file import Database
from stores.backends.sqlite_table import ANALYSE_FROM, Row, Table, make_table, read_table
from stores.backends.values import NULL, dumps, order_key
from stores.ranks import rank_of

if TYPE_CHECKING:
    from stores.backends.sqlite_file import Connection
    from stores.record_fields import Form

Found = tuple[int, dict[str, Any]]
_CHUNK = 200  # documents read at once: enough to hide SQLite's cost per statement, little memory
_FEW = 5000  # rows that are sorted in some milliseconds


class DocumentTable(Collection):
    """One collection of documents in an SQLite file.

    Parameters
    ----------
    place
        The file, or a `Database` shared with other collections in it.
    collection
        Name of the collection.
    key, indexed, heavy, skip_damaged, form
        As in `CollectionLayout`; in an existing file the heavy fields are those that it lists.
    """

    def __init__(
        self,
        place: str | Path | Database,
        collection: str,
        key: str | Sequence[str] = "id",
        indexed: Sequence[str] = (),
        heavy: Sequence[str] = (),
        *,
        skip_damaged: bool = False,
        form: Form | None = None,
    ) -> None:
        self.database = place if isinstance(place, Database) else Database(place)
        layout = CollectionLayout(_fields(key), tuple(indexed), tuple(heavy), skip_damaged, form)
        super().__init__(str(self.database.path), collection, layout)

    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter."""
        projection = Projection(properties)
        found = self._found(criteria, sort, projection.needs, skip, limit)
        yield from self._whole((document for _, document in found), projection)

    def count(self, criteria: Criteria = None) -> int:
        """Count the documents that match a filter."""
        wanted = checked(criteria)
        with self.database.read() as connection:
            table = read_table(connection, self.name)
            if table is None:
                return 0
            condition = self._compiler(connection, table).compile(wanted)
            if condition.exact and not self.database.damage:
                sql = f"SELECT count(*) FROM {table.sql} WHERE {condition.sql}"
                return int(connection.execute(sql, condition.values).fetchone()[0])
        return sum(1 for _ in self._found(criteria))

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
        key: str | Sequence[str] | None = None,
    ) -> int:
        """Write documents, all or, after any error, none; `key` is other than the collection's own."""
        batch = [documents] if isinstance(documents, dict) else list(documents)
        if not batch:
            return 0
        fields = _fields(key or self.key)
        with self.database.write() as connection:
            table = self._table(connection, fields)
            places = [table.columns.index(field) for field in fields]
            rows = {}
            for document in batch:
                row = table.row(document)
                name = tuple(row.values[place] for place in places)
                self._check_key(name, fields)
                rows[name] = row
            return self._write(connection, table, fields, rows, keep, ranked)

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken."""
        with self.database.write():
            if self.count({field: document.get(field) for field in self.key}):
                return False
            self.upsert(document)
            return True

    def merge(self, documents: Iterable[dict[str, Any]], combine: Combine, keep: Sequence[str] = ()) -> int:
        """Combine stored and new documents in one transaction."""
        with self.database.write():
            return super().merge(documents, combine, keep)

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        wanted = checked(criteria)
        with self.database.write() as connection:
            table = read_table(connection, self.name)
            if table is None:
                return 0
            condition = self._compiler(connection, table).compile(wanted)
            if condition.exact:
                sql = f"SELECT _row FROM {table.sql} WHERE {condition.sql}"
                rows = connection.execute(sql, condition.values).fetchall()
            else:
                rows = [(number,) for number, _ in self._found(criteria)]
            connection.executemany(f"DELETE FROM {table.heavy_sql} WHERE _row = ?", rows)
            connection.executemany(f"DELETE FROM {table.sql} WHERE _row = ?", rows)
            return len(rows)

    def distinct(self, field: str, criteria: Criteria = None) -> list[Any]:
        """Return the different values of a field, sorted; of an indexed one without reading documents."""
        wanted = checked(criteria)
        with self.database.read() as connection:
            table = read_table(connection, self.name)
            if table is not None and field in table.columns and not self.database.damage:
                column, condition = quote(field), self._compiler(connection, table).compile(wanted)
                sql = (
                    f"SELECT DISTINCT {column} FROM {table.sql} WHERE {column} NOT NULL AND ({condition.sql})"
                )
                found = (
                    [row[0] for row in connection.execute(sql, condition.values)]
                    if condition.exact
                    else [b""]
                )
                if not any(isinstance(value, bytes) for value in found):
                    values = [None if value == NULL else value for value in found]
                    return sorted(self._of_kind(field, values), key=order_key)
        return super().distinct(field, criteria)

    def ensure_index(self, field: str) -> None:
        """Add a column and an index for a field, if it has none."""
        with self.database.write() as connection:
            if field not in self._table(connection, self.key).columns:
                make_table(connection, self.name, self.key, [field], self.heavy)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.database.close()

    def _table(self, connection: Connection, fields: Sequence[str]) -> Table:
        """Return the table, made or completed first where needed."""
        table = read_table(connection, self.name)
        if table is None or not set(table.columns).issuperset([*self.key, *self.indexed, *fields]):
            table = make_table(connection, self.name, self.key, [*self.indexed, *fields], self.heavy)
        return table

    def _compiler(self, connection: Connection, table: Table) -> FilterCompiler:
        # the indexes of a damaged file are not relied on
        return FilterCompiler(connection, table.sql, () if self.database.damage else table.columns)

    def _found(
        self,
        criteria: Criteria = None,
        sort: dict[str, Any] | None = None,
        needs: Callable[[Sequence[str]], bool] = lambda names: False,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[Found]:
        """Yield the matching documents in order, with their row numbers, from `skip` on at most `limit`."""
        # where the columns decide alone, the documents that are passed over are not read
        wanted = checked(criteria)
        order = sort_order(sort)
        test = predicate(wanted) if wanted else None
        tested = roots(wanted) | {field.partition(".")[0] for field, _ in order}

        with self.database.read() as connection:
            table = read_table(connection, self.name)
            if table is None:
                return
            whole = needs(table.heavy) or not tested.isdisjoint(table.heavy)
            compiler = self._compiler(connection, table)
            condition, terms = compiler.compile(wanted), compiler.order(order)
            sql, passed = f"SELECT _row FROM {table.sql} WHERE {condition.sql}", 0
            if self.database.damage:
                sql = f"SELECT _row FROM {table.sql} NOT INDEXED"
            if terms and condition.sql != "1" and self._are_few(connection, table, condition, limit):
                terms = f"+{terms}"  # the plus keeps SQLite from walking along the index of the order
            if terms or (not order and condition.sql == "1"):
                sql += f" ORDER BY {terms or '_row'}"
                if condition.exact and (limit or skip):
                    sql += f" LIMIT {int(limit) or -1} OFFSET {int(skip)}"
                    passed = int(skip)
            numbers = [row[0] for row in connection.execute(sql, condition.values)]
            if not order:
                numbers.sort()
            ahead = skip - passed
            size = 0 if terms is None else min(_CHUNK, limit + ahead) if limit else _CHUNK
            first = self._documents(connection, table, numbers[:size], whole)
        if terms is None:
            keyed = [
                (number, [sort_key(document, field, up) for field, up in order])
                for number, document in self._in_chunks(numbers, whole)
                if test is None or test(document)
            ]
            for place in reversed(range(len(order))):
                keyed.sort(key=lambda entry: entry[1][place], reverse=not order[place][1])
            numbers, test = [number for number, _ in keyed], None
        found = chain(_matching(first, test), _matching(self._in_chunks(numbers[size:], whole), test))
        yield from islice(found, ahead, ahead + limit if limit else None)

    def _are_few(self, connection: Connection, table: Table, condition: Condition, limit: int) -> bool:
        """Return whether rows are better found by the filter and sorted than found in order."""
        # SQLite decides this by averages of each column, and can be wrong by a factor of a thousand
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} WHERE {condition.sql} LIMIT {_FEW + 1})"
        return not limit or int(connection.execute(sql, condition.values).fetchone()[0]) <= _FEW

    def _in_chunks(self, numbers: list[int], whole: bool) -> Iterator[Found]:
        for start in range(0, len(numbers), _CHUNK):
            with self.database.read() as connection:
                table = read_table(connection, self.name)
                if table is None:
                    return
                found = self._documents(connection, table, numbers[start : start + _CHUNK], whole)
            yield from found

    def _documents(
        self, connection: Connection, table: Table, numbers: list[int], whole: bool
    ) -> Iterator[Found]:
        """Read documents by row number, in this order; those removed meanwhile are passed over."""
        # with their large fields if `whole`. The texts are read at once, and parsed one by one: many parsed
        # documents at a time would keep Python's garbage collector busy.
        lights = _texts(connection, table.sql, "_doc", numbers)
        bodies = _texts(connection, table.heavy_sql, "body", numbers) if whole else None
        return self._parsed((number for number in numbers if number in lights), lights, bodies)

    def _parsed(
        self, numbers: Iterable[int], lights: dict[int, bytes], bodies: dict[int, bytes] | None
    ) -> Iterator[Found]:
        for number in numbers:
            try:
                document, checksum = unseal(lights[number])
                if bodies is not None:
                    document.update(check_heavy(bodies.get(number), checksum))  # keeps the order of fields
            except DamagedTextError as error:
                self._report(self._key_in_row(number), error)
            else:
                yield number, document

    def _key_in_row(self, number: int) -> str:
        sql = f"SELECT {', '.join(map(quote, self.key))} FROM {quote(self.name)} WHERE _row = ?"
        with self.database.read() as connection:
            return ", ".join(map(str, connection.execute(sql, (number,)).fetchone() or ("?",)))

    def _write(
        self,
        connection: Connection,
        table: Table,
        key: Sequence[str],
        rows: dict[tuple[Any, ...], Row],
        keep: Sequence[str],
        ranked: bool,
    ) -> int:
        """Insert rows or put them in place of those with the same key; return how many."""
        where = " AND ".join(f"{quote(field)} = ?" for field in key)
        find = f"SELECT _row FROM {table.sql} WHERE {where} LIMIT 1"
        last: int = connection.execute(f"SELECT ifnull(max(_row), 0) FROM {table.sql}").fetchone()[0]
        number, written, bodies, emptied = last, [], [], []
        for name, row in rows.items():
            found = connection.execute(find, name).fetchone() if last else None
            if found is None:
                number += 1
                place = number
            else:
                place = found[0]
                if self._row_stays(connection, table, place, row, keep, ranked, name[0]):
                    continue
                emptied.append((place,))
            written.append((place, *row.values, row.light.decode()))
            if row.heavy is not None:
                bodies.append((place, row.heavy.decode()))
        marks = ", ".join("?" * (len(table.columns) + 2))
        columns = ", ".join(("_row", *map(quote, table.columns), "_doc"))
        connection.executemany(f"DELETE FROM {table.heavy_sql} WHERE _row = ?", emptied)
        connection.executemany(f"INSERT OR REPLACE INTO {table.sql} ({columns}) VALUES ({marks})", written)
        connection.executemany(f"INSERT OR REPLACE INTO {table.heavy_sql} VALUES (?, ?)", bodies)
        if number >= ANALYSE_FROM and number.bit_length() > last.bit_length():
            # Without statistics SQLite cannot know that a verdict selects less than a chemical system does.
            connection.execute(f"ANALYZE {table.sql}")
        return len(written)

    def _row_stays(
        self,
        connection: Connection,
        table: Table,
        number: int,
        row: Row,
        keep: Sequence[str],
        ranked: bool,
        name: Any,
    ) -> bool:
        """Return whether the stored document in a row stays in place of a new one; a damaged one does not."""
        try:
            stored, checksum = unseal(_texts(connection, table.sql, "_doc", [number])[number])
            new, _ = unseal(row.light)
            self._check_replaceable(stored, new, name)
            if not (keep or ranked):
                return False
            body = _texts(connection, table.heavy_sql, "body", [number]).get(number)
            heavy = check_heavy(body, checksum)
        except DamagedTextError:
            return False
        if keep and body == row.heavy and without(stored, keep) == without(new, keep):
            return True
        new_heavy = check_heavy(row.heavy, None)
        return ranked and rank_of(stored | heavy) > rank_of(new | new_heavy)


def _fields(key: str | Sequence[str]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _matching(found: Iterable[Found], test: Predicate | None) -> Iterator[Found]:
    return ((number, document) for number, document in found if test is None or test(document))


def _texts(connection: Connection, table: str, column: str, numbers: list[int]) -> dict[int, bytes]:
    """Return the text in a column of some rows by row number."""
    sql = f"SELECT _row, CAST({column} AS BLOB) FROM {table} WHERE _row IN (SELECT value FROM json_each(?))"
    return dict(connection.execute(sql, (dumps(numbers).decode(),)))
