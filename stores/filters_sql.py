"""MongoDB filters compiled to SQL over the columns of a document table.

Every condition is compiled exactly, never approximately. One on a field with a column becomes a plain
comparison that an index can answer; every other becomes a call of the Python predicate of `stores.filters`
for that row. (``json_extract`` on a 2 kB document takes 8 us, parsing it in Python and applying the exact
predicate 16 us: not enough to keep a third, inexact implementation of MongoDB's rules.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from stores.filters import (
    COMPARISONS,
    LOGICAL,
    Predicate,
    conditions,
    depth,
    field_predicate,
    is_operators,
    positive,
    predicate,
)
from stores.values import ARRAYS, NESTED, NULL, SEVERAL, encode, rank

MATCH = "mgsurf_match"
"""SQL function (number of a predicate, light part of a document[, heavy part])."""
TEXT_MATCH = "mgsurf_text"
"""SQL function (number of a predicate, value of a column)."""
_MOST_VARIABLES = 30_000  # SQLite's limit is 32,766 for a whole statement
# SQLite's limits are 1,000 levels of an expression, of which a chain of ORs has one for each part, and 100
# levels of its parser; the time that it plans for grows faster than the number of parts.
_MOST_PARTS, _DEEPEST = 200, 12
_MOST_NEEDLES = 20
_NEGATIONS = {"$ne", "$nin", "$not", "$exists"}
_SQL = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def _is_large(parts: list[Any]) -> bool:
    """Tell an $and, $or or $nor that SQLite would refuse, or plan for minutes."""
    filters, level = 0, list(parts)
    while level and filters <= _MOST_PARTS:
        filters += sum(isinstance(entry, dict) for entry in level)
        level = [entry for entry in level if isinstance(entry, (dict, list))]
        level = [inner for e in level for inner in (e.values() if isinstance(e, dict) else e)]
    return filters > _MOST_PARTS or depth(parts, _DEEPEST) > _DEEPEST


def _needles(operands: list[Any]) -> list[bytes]:
    """Return the text of each array as it stands in a column of arrays of arrays; none if it is uncertain."""
    for operand in operands:
        for entry in operand:
            if not isinstance(entry, (int, str)) or (isinstance(entry, int) and abs(entry) >= 2**53):
                return []
    return [encode(operand)[2:] for operand in operands] if len(operands) <= _MOST_NEEDLES else []


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Layout:
    """What a filter needs to know of a table."""

    columns: Collection[str]
    """Fields with a column of their own, which bears the field's dotted name."""
    heavy: Collection[str]
    """Top-level fields kept apart from the light part of the document."""
    heavy_sql: str
    """Expression that gives the heavy part of the row."""
    has_irregular: Callable[[str, bytes, bytes], bool]
    """(column, lower, upper): does the column hold blobs in this range?"""


@dataclass
class Compiled:
    """A filter as SQL, with the values to bind and the Python predicates that it calls by number."""

    sql: str = "1"
    values: list[Any] = field(default_factory=list)
    predicates: dict[int, Predicate] = field(default_factory=dict)
    narrow: list[tuple[str, list[Any]]] = field(default_factory=list)
    """Conditions that all rows must meet and an index can answer, with the values to bind."""


class FilterCompiler:
    """Compiles one filter for one table; `register` numbers a predicate on the connection."""

    def __init__(self, layout: Layout, number: Callable[[], int]) -> None:
        self._layout = layout
        self._number = number
        self._out = Compiled()

    def compile(self, criteria: dict[str, Any]) -> Compiled:
        """Compile a filter whose values are plain.

        Raises
        ------
        InputError
            If the filter is malformed.
        """
        self._out.sql = self._filter(criteria, all_must=True)
        return self._out

    def _bind(self, *values: Any) -> None:
        self._out.values.extend(values)

    def _filter(self, criteria: dict[str, Any], *, all_must: bool = False) -> str:
        # Conditions without a column come last and share one call: one parse of the document for all of them.
        parts: list[str] = []
        slow: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        for name, value in conditions(criteria):
            if name in LOGICAL and _is_large(value):
                parts.append(self._call(set(self._layout.heavy), predicate({name: value})))
                continue
            if name in LOGICAL:
                must = all_must and (name == "$and" or (name == "$or" and len(value) == 1))
                filters = (f"({self._filter(part, all_must=must)})" for part in value)
                joined = f" {'AND' if name == '$and' else 'OR'} ".join(filters)
                parts.append(f"(({joined}) IS NOT TRUE)" if name == "$nor" else f"({joined})")
                continue
            operators = value if is_operators(value) else {"$eq": value}
            if (
                name in self._layout.columns
                and len(self._out.values) < _MOST_VARIABLES
                and depth(operators, _DEEPEST) <= _DEEPEST
            ):
                mark, calls = len(self._out.values), len(self._out.predicates)
                parts.append(self._column(name, operators))
                exact = calls == len(self._out.predicates)
                if all_must and exact and not _NEGATIONS & set(operators):
                    self._out.narrow.append((parts[-1], self._out.values[mark:]))
            else:
                slow.append((tuple(name.split(".")), operators))
        if slow:
            tests = [field_predicate(path, operators) for path, operators in slow]
            parts.append(
                self._call({path[0] for path, _ in slow}, lambda doc: all(test(doc) for test in tests))
            )
        return " AND ".join(parts) or "1"

    def _call(self, roots: set[str], test: Predicate) -> str:
        number = self._number()
        self._out.predicates[number] = test
        self._bind(number)
        heavy = f", {self._layout.heavy_sql}" if roots & set(self._layout.heavy) else ""
        return f"{MATCH}(?, _doc{heavy})"

    def _column(self, name: str, operators: dict[str, Any]) -> str:
        parts = []
        for operator, operand, negated in positive(operators):
            negation = operator == "$not"
            sql = self._column(name, operand) if negation else self._leaf(name, operator, operand)
            parts.append(f"(({sql}) IS NOT TRUE)" if negated else f"({sql})")
        return " AND ".join(parts) or "1"

    def _leaf(self, name: str, operator: str, operand: Any) -> str:
        column = quote(name)
        sql, of_arrays = None, False
        mark = len(self._out.values)
        if operator == "$eq":
            sql, of_arrays = self._equals(column, operand), isinstance(operand, list)
        elif operator == "$in" and isinstance(operand, list) and len(operand) < _MOST_VARIABLES - mark:
            sql, of_arrays = self._is_in(column, operand), any(isinstance(entry, list) for entry in operand)
            if of_arrays and not all(isinstance(entry, list) for entry in operand):
                of_arrays = False
        elif operator in COMPARISONS:
            sql = self._compares(column, operator, operand)
        elif operator == "$regex":
            number = self._number()
            self._out.predicates[number] = lambda text: operand.search(text) is not None
            self._bind(number)
            sql = f"typeof({column}) = 'text' AND {TEXT_MATCH}(?, {column})"
        test = None
        if sql is None:
            del self._out.values[mark:]
            test = field_predicate(tuple(name.split(".")), {operator: operand})
            return self._call({name.split(".")[0]}, test)
        # A regular column holds one value that is no array, and what stands above is all. Rows that hold an
        # array (or, compared with an array, an array of arrays) are left to the exact predicate.
        lower, upper = NESTED if of_arrays else ARRAYS
        if not self._layout.has_irregular(name, lower, upper):
            return sql
        test = field_predicate(tuple(name.split(".")), {operator: operand})
        self._bind(lower, upper)
        holds = "1"
        if of_arrays and (needles := _needles([operand] if operator == "$eq" else operand)):
            # an array of arrays is written with the text of each of them: a fast look before the exact one
            self._bind(*needles, encode(SEVERAL))
            holds = " OR ".join([f"instr({column}, ?)"] * len(needles) + [f"{column} = ?"])
        call = self._call({name.split(".")[0]}, test)
        return f"({sql}) OR ({column} >= ? AND {column} < ? AND ({holds}) AND {call})"

    def _equals(self, column: str, operand: Any) -> str | None:
        if operand is None:
            self._bind(NULL)
            return f"{column} IS NULL OR {column} = ?"
        if isinstance(operand, float) and not math.isfinite(operand):
            return "0"  # JSON holds neither infinities nor NaN
        if hasattr(operand, "search"):
            return None
        self._bind(*self._encoded(operand))
        return f"{column} = ?" if not isinstance(operand, list) else f"{column} IN (?, ?)"

    @staticmethod
    def _encoded(operand: Any) -> list[Any]:
        """Return the ways a column may hold an equal value."""
        code = encode(operand)
        if isinstance(operand, list):
            kinds = (b"pn", b"pn") if code[:2] == b"pn" else (b"pa", b"pb")
            return [kind + code[2:] for kind in kinds]
        return [code]

    def _is_in(self, column: str, operands: list[Any]) -> str | None:
        if any(hasattr(entry, "search") for entry in operands):
            return None
        codes = [
            code
            for entry in operands
            if entry is not None and not (isinstance(entry, float) and not math.isfinite(entry))
            for code in self._encoded(entry)
        ]
        if None in operands:
            codes.append(NULL)
        self._bind(*codes)
        sql = f"{column} IN ({', '.join('?' * len(codes))})"
        return f"{sql} OR {column} IS NULL" if None in operands else sql

    def _compares(self, column: str, operator: str, operand: Any) -> str | None:
        place = rank(operand)
        if place == 5:
            return self._equals(column, None) if operator in ("$gte", "$lte") else "0"
        if place == 40:
            self._bind(b"t", encode(operand))
            return f"{column} >= ? AND {column} {_SQL[operator]} ?"
        if place not in (10, 15):
            return None
        if isinstance(operand, float) and math.isnan(operand):
            return "0"
        # The plus keeps the bounds of the type from the planner, which would take the range for a narrow one;
        # numbers lie above minus infinity, which is null, and below every text; texts below every blob
        if operator in ("$gt", "$gte"):
            self._bind(encode(operand), "" if place == 10 else b"", NULL)
            return f"{column} {_SQL[operator]} ? AND +{column} < ? AND +{column} > ?"
        floor: Any = NULL if place == 10 else ""
        self._bind(floor, encode(operand))
        return f"+{column} {'>' if place == 10 else '>='} ? AND {column} {_SQL[operator]} ?"


def sort_column(name: str, layout: Layout, *, last: bool) -> str | None:
    """Return the expression that sorts by a column as MongoDB would, None if the column alone cannot.

    Missing and null sort alike. Only a further sort key can tell, so that the last one may use an index.
    """
    if (
        name not in layout.columns
        or layout.has_irregular(name, *ARRAYS)
        or layout.has_irregular(name, b"o", b"p")
    ):
        return None
    return quote(name) if last else f"ifnull({quote(name)}, -9e999)"
