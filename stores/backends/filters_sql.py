"""The part of a MongoDB filter that indexed columns can answer, as SQL.

The SQL of a filter never excludes a document that matches: `stores.backends.filters` decides about every
document that is read. Where the SQL is exact as well, rows can be counted and limited without reading them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.backends.filters import (
    COMPARISONS,
    LOGICAL,
    conditions,
    depth,
    field_predicate,
    is_operators,
    positive,
)
from stores.backends.values import ARRAYS, NESTED, NULL, SEVERAL, encode, loads, rank

if TYPE_CHECKING:
    import sqlite3

# SQLite takes 32,766 variables and 1,000 levels of an expression (a chain of ORs has one for each part), and
# plans for a time that grows faster than the number of parts.
_MOST_VARIABLES, _MOST_PARTS, _DEEPEST = 30_000, 200, 12
_MOST_VALUES = 1000  # of a column that a predicate is applied to one by one
_MOST_NEEDLES = 20  # arrays that are looked for in the text of arrays of arrays
_LARGEST_EXACT = 2**53
_OBJECTS_AND_ARRAYS = (b"o", b"q")
_SQL = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Condition:
    """SQL that holds for every row that matches, the values to bind, and whether for no other row."""

    sql: str = "1"
    values: tuple[Any, ...] = ()
    exact: bool = True


ANY = Condition(exact=False)  # the condition of a filter that only Python can answer


def _all_of(parts: list[Condition]) -> Condition:
    useful = [part for part in parts if part.sql != "1"]
    sql = " AND ".join(f"({part.sql})" for part in useful) or "1"
    values = tuple(value for part in useful for value in part.values)
    return Condition(sql, values, all(part.exact for part in parts))


def _any_of(parts: list[Condition]) -> Condition:
    if any(part.sql == "1" for part in parts):
        return ANY
    sql = " OR ".join(f"({part.sql})" for part in parts)
    return Condition(sql, tuple(v for part in parts for v in part.values), all(part.exact for part in parts))


def _not(part: Condition) -> Condition:
    return Condition(f"({part.sql}) IS NOT TRUE", part.values) if part.exact else ANY


class FilterCompiler:
    """Compiles filters for one table, in a transaction, where it looks up whether a column holds arrays.

    `table` is its quoted name; each of `columns` has the dotted name of its field.
    """

    def __init__(self, connection: sqlite3.Connection, table: str, columns: Collection[str]) -> None:
        self._connection = connection
        self._table = table
        self._columns = columns

    def compile(self, criteria: dict[str, Any]) -> Condition:
        """Compile a checked filter (`stores.backends.filters.checked`)."""
        if depth(criteria, _DEEPEST) > _DEEPEST or _parts(criteria) > _MOST_PARTS:
            return ANY
        condition = self._filter(criteria)
        return condition if len(condition.values) < _MOST_VARIABLES else ANY

    def order(self, sort: list[tuple[str, bool]]) -> str | None:
        """Return the ORDER BY terms that sort as MongoDB does, None if the columns cannot.

        Missing and null sort alike. Only a further field can distinguish them, so the last may use an index.
        """
        terms = []
        for place, (field, upwards) in enumerate(sort):
            if field not in self._columns or self._holds(field, *_OBJECTS_AND_ARRAYS):
                return None
            last = place == len(sort) - 1
            term = quote(field) if last else f"ifnull({quote(field)}, -9e999)"
            terms.append(f"{term} {'ASC' if upwards else 'DESC'}")
        # equal values in one order, whatever the plan: else pages repeat rows and leave out others
        return ", ".join([*terms, f"_row {'ASC' if sort[-1][1] else 'DESC'}"]) if terms else ""

    def _filter(self, criteria: dict[str, Any]) -> Condition:
        parts = []
        for name, value in conditions(criteria):
            if name in LOGICAL:
                inner = [self._filter(part) for part in value]
                joined = _all_of(inner) if name == "$and" else _any_of(inner)
                parts.append(_not(joined) if name == "$nor" else joined)
            elif name in self._columns:
                parts.append(self._column(name, value if is_operators(value) else {"$eq": value}))
            else:
                parts.append(ANY)
        return _all_of(parts)

    def _column(self, name: str, operators: dict[str, Any]) -> Condition:
        parts = []
        for operator, operand, negated in positive(operators):
            part = self._column(name, operand) if operator == "$not" else self._leaf(name, operator, operand)
            parts.append(_not(part) if negated else part)
        return _all_of(parts)

    def _leaf(self, name: str, operator: str, operand: Any) -> Condition:
        column = quote(name)
        if operator == "$regex":
            return self._by_value(name, field_predicate(("value",), {"$regex": operand}))
        if operator in ("$eq", "$in"):
            operands = operand if operator == "$in" else [operand]
            found = _equals(column, operands)
        elif operator in COMPARISONS:
            operands = [operand]
            found = _compares(column, operator, operand)
        elif operator == "$exists":
            operands = []
            found = (f"{column} IS NOT NULL" if operand else f"{column} IS NULL"), ()
        else:
            return ANY
        if found is None:
            return ANY
        # A row whose column holds an array (or, compared with an array, arrays in one) may match as well.
        sql, values = found
        lower, upper = NESTED if operands and all(isinstance(entry, list) for entry in operands) else ARRAYS
        if not self._holds(name, lower, upper):
            return Condition(sql, tuple(values))
        if lower == NESTED[0] and operator in ("$eq", "$in"):
            known = self._values(column, lower, upper)
            if known is not None and encode(SEVERAL) not in known:
                test = field_predicate(("value",), {operator: operand})
                matching = [text for text in known if test({"value": loads(text[2:])})]
                if len(matching) <= _MOST_VALUES:
                    sql = f"{sql} OR {column} IN ({', '.join('?' * len(matching))})"
                    return Condition(sql, (*values, *matching))
        holds, needles = "1", []
        if lower == NESTED[0] and len(operands) <= _MOST_NEEDLES:
            # an array of arrays is written with the text of each of them
            holds = " OR ".join([f"instr({column}, ?)"] * len(operands) + [f"{column} = ?"])
            needles = [*(encode(operand)[2:] for operand in operands), encode(SEVERAL)]
        sql = f"{sql} OR ({column} >= ? AND {column} < ? AND ({holds}))"
        return Condition(sql, (*values, lower, upper, *needles), exact=False)

    def _holds(self, name: str, lower: bytes, upper: bytes) -> bool:
        column = quote(name)
        sql = f"SELECT EXISTS(SELECT 1 FROM {self._table} WHERE {column} >= ? AND {column} < ?)"
        return bool(self._connection.execute(sql, (lower, upper)).fetchone()[0])

    def _values(self, column: str, lower: Any, upper: Any) -> list[Any] | None:
        """Return the different values of a column between two bounds, None if there are many."""
        # each is looked up in the index after the one before, which is faster than reading all rows
        next_one = f"SELECT min({column}) FROM {self._table} WHERE {column} > x AND {column} < ?"
        sql = (
            f"WITH RECURSIVE found(x) AS (SELECT min({column}) FROM {self._table} WHERE {column} >= ? AND "
            f"{column} < ? UNION ALL SELECT ({next_one}) FROM found WHERE x IS NOT NULL) "
            "SELECT x FROM found WHERE x IS NOT NULL LIMIT ?"
        )
        rows = self._connection.execute(sql, (lower, upper, upper, _MOST_VALUES + 1)).fetchall()
        return None if len(rows) > _MOST_VALUES else [row[0] for row in rows]

    def _by_value(self, name: str, test: Callable[[Any], bool]) -> Condition:
        """Apply a test of text to each different value of a column, if these are few."""
        column = quote(name)
        if self._holds(name, *ARRAYS):
            return ANY
        texts = self._values(column, "", b"")
        if texts is None:
            return ANY
        matching = tuple(text for text in texts if test({"value": text}))
        return Condition(f"{column} IN ({', '.join('?' * len(matching))})", matching)


def _parts(value: Any) -> int:
    """Count the filters within one another in a filter."""
    count, level = 0, [value]
    while level and count <= _MOST_PARTS:
        count += sum(isinstance(entry, dict) for entry in level)
        level = [entry for entry in level if isinstance(entry, (dict, list))]
        level = [inner for entry in level for inner in (entry.values() if isinstance(entry, dict) else entry)]
    return count


def _is_certain(value: Any) -> bool:
    """Return whether equal values have equal texts in a column."""
    if isinstance(value, list):
        return all(type(entry) in (int, str) and _is_certain(entry) for entry in value)
    if isinstance(value, (int, float)):
        return math.isfinite(value) and abs(value) < _LARGEST_EXACT
    return value is None or isinstance(value, str)


def _equals(column: str, operands: list[Any]) -> tuple[str, tuple[Any, ...]] | None:
    """Return the SQL for a value that equals one of several."""
    if not all(map(_is_certain, operands)):
        return None
    codes: list[Any] = []
    for operand in operands:
        code = encode(operand)
        # a flat array that was written with 1.0 for 1 has another prefix in older rows
        codes += [b"pa" + code[2:], b"pb" + code[2:]] if isinstance(operand, list) else [code]
    sql = f"{column} IN ({', '.join('?' * len(codes))})"
    return (f"{sql} OR {column} IS NULL" if None in operands else sql), tuple(codes)


def _compares(column: str, operator: str, operand: Any) -> tuple[str, tuple[Any, ...]] | None:
    """Return the SQL of a comparison with a number or a text."""
    place = rank(operand)
    if place not in (10, 15) or not _is_certain(operand):
        return None
    # The plus keeps the bounds of the type from the planner, which would take the range for a narrow one:
    # numbers lie above minus infinity, which is null, and below every text; texts below every blob.
    if operator in ("$gt", "$gte"):
        limit = "" if place == 10 else b""
        return f"{column} {_SQL[operator]} ? AND +{column} < ? AND +{column} > ?", (operand, limit, NULL)
    floor: Any = NULL if place == 10 else ""
    above = ">" if place == 10 else ">="
    return f"+{column} {above} ? AND {column} {_SQL[operator]} ?", (floor, operand)
