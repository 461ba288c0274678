"""OPTIMADE filters as MongoDB filters of properties, and the part of them that indexed fields can answer.

The filter of properties is exact: `stores.backends.filters` applies it to entries. Of it `narrow` makes a
filter of stored fields that no matching record fails, so that few records are read; where it is exact as
well, records are counted and paged by the store alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lark import v_args
from optimade.exceptions import BadRequest  # type: ignore[import-untyped]
from optimade.filtertransformers.mongo import MongoTransformer  # type: ignore[import-untyped]

from stores.backends.filters import LOGICAL, depth, predicate
from stores.backends.values import timestamp
from workflows.web.optimade.entries import (
    BULK,
    FORMULAS,
    SYSTEMS,
    formula_amounts,
    formula_attributes,
    system_attributes,
)

if TYPE_CHECKING:
    from workflows.web.optimade.entries import Kind

_LARGEST = 2**53  # beyond, neighbouring whole numbers are the same number
_DEEPEST, _MOST_PARTS = 10, 150  # of a filter that indexes answer (stores.backends.filters_sql)
_BULK_OF_SLAB = "relationships.structures.data.id"


class _Name(str):
    """The name of a property, in the place of a value."""

    __slots__ = ()


class PropertyTransformer(MongoTransformer):  # type: ignore[misc]
    """Turns a parsed filter into a MongoDB filter of properties.

    Corrects what the reference server's transformer leaves to chance: text with escaped quotes or with
    characters of regular expressions, comparisons of two properties, lengths of lists, times, huge numbers.
    What is not supported raises `NotImplementedError` (answered by 501), what is wrong `BadRequest` (400).
    """

    def transform(self, tree: Any) -> Any:
        """Transform a parsed filter."""
        try:
            found = super().transform(tree) or {}
        except RecursionError:
            raise BadRequest("The filter is nested too deeply; write it flatter.") from None
        if "'#only'" in str(found):
            raise NotImplementedError("NOT before HAS ONLY is not supported.")
        return found

    @v_args(inline=True)
    def string(self, text: str) -> str:
        """Return a text without its quotes and escapes."""
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)

    @v_args(inline=True)
    def number(self, number: Any) -> float | int:
        """Return a number that comparisons are exact for."""
        value: float | int = float(number) if number.type == "SIGNED_FLOAT" else int(number)
        if not math.isfinite(value) or abs(value) >= _LARGEST:
            raise BadRequest(f"The filter holds the number {str(number)[:40]}, which is too large.")
        return value

    def property(self, args: list[Any]) -> str:
        """Return the name of a property, marked as one."""
        return _Name(super().property(args))

    @v_args(inline=True)
    def value(self, value: Any) -> Any:
        """Refuse the name of a property in the place of a value."""
        if isinstance(value, _Name):
            raise NotImplementedError(f"Comparing two properties ({value} is the second) is not supported.")
        return value

    def fuzzy_string_op_rhs(self, arg: list[Any]) -> dict[str, Any]:
        """Return the regular expression of CONTAINS, STARTS and ENDS; the text stands for itself."""
        if not isinstance(arg[-1], str):
            raise BadRequest(f'{arg[0]} needs a text in double quotes, not {arg[-1]}: write {arg[0]} "Mg".')
        start, end = {"STARTS": ("^", ""), "ENDS": ("", r"\Z")}.get(str(arg[0]), ("", ""))
        return {"$regex": f"{start}{re.escape(arg[-1])}{end}"}

    @v_args(inline=True)
    def property_first_comparison(self, quantity: str, query: dict[str, Any]) -> Any:
        """Refuse comparisons of lengths that no property gives."""
        if "$size" in query and quantity.partition(".")[0] in ("structures", "references"):
            raise NotImplementedError(f"LENGTH of {quantity} is not supported.")
        if isinstance(query.get("$size"), dict):
            known = self.backend_mapping.get(quantity)
            if known is None or known.length_quantity is None:
                raise NotImplementedError(f"Of {quantity} only LENGTH and LENGTH = are supported.")
        return super().property_first_comparison(quantity, query)

    def constant_first_comparison(self, arg: list[Any]) -> Any:
        """Refuse comparisons without a property."""
        if not isinstance(arg[2], _Name):
            raise NotImplementedError("Comparing two values is not supported; one must be a property.")
        return super().constant_first_comparison(arg)

    def _apply_mongo_date_filter(self, filter_: Any) -> Any:
        if isinstance(filter_, list):
            return [self._apply_mongo_date_filter(part) for part in filter_]
        return {
            name: _times(part)
            if name == "last_modified"
            else self._apply_mongo_date_filter(part)
            if name in LOGICAL
            else part
            for name, part in filter_.items()
        }


def _times(value: Any) -> Any:
    """Write times as records do."""
    if isinstance(value, dict):
        return {name: entry if name == "$regex" else _times(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_times(entry) for entry in value]
    if not isinstance(value, str):
        return value
    try:
        return timestamp(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        raise BadRequest(f"{value[:40]!r} is no time: write it like 2026-01-31T12:00:00Z.") from None


@dataclass(frozen=True)
class Narrowed:
    """A filter of stored fields (True: of all records, False: of none); whether it is exact."""

    criteria: dict[str, Any] | bool
    exact: bool


def narrow(filter_: dict[str, Any], kind: Kind, distinct: Callable[[str], list[Any]]) -> Narrowed:
    """Return the part of a filter of properties that indexed fields can answer.

    Parameters
    ----------
    filter_
        Made by `PropertyTransformer`.
    kind
        Bulks or slabs.
    distinct
        Returns the different values of an indexed field of this kind.
    """
    if depth(filter_) > 2 * _DEEPEST:
        return Narrowed(True, exact=False)
    found = _narrow(filter_, kind, distinct)
    if isinstance(found.criteria, dict) and (
        depth(found.criteria) > _DEEPEST or _parts(found.criteria) > _MOST_PARTS
    ):
        return Narrowed(True, exact=False)
    return found


def _parts(value: Any) -> int:
    """Count the objects within a filter."""
    if isinstance(value, list):
        return sum(_parts(entry) for entry in value if isinstance(entry, dict | list))
    return 1 + sum(_parts(entry) for entry in value.values() if isinstance(entry, dict | list))


def _narrow(filter_: dict[str, Any], kind: Kind, distinct: Callable[[str], list[Any]]) -> Narrowed:
    parts = []
    for name, value in filter_.items():
        if name in ("$and", "$or"):
            inner = [_narrow(part, kind, distinct) for part in value]
            parts.append(all_of(inner) if name == "$and" else _any_of(inner))
        else:
            parts.append(_leaf(name, value, kind, distinct))
    return all_of(parts)


def all_of(parts: list[Narrowed]) -> Narrowed:
    """Join filters by 'and'."""
    exact = all(part.exact for part in parts)
    if any(part.criteria is False for part in parts):
        return Narrowed(False, exact=True)
    useful = [part.criteria for part in parts if part.criteria is not True]
    if len(useful) > 1:
        return Narrowed({"$and": useful}, exact)
    return Narrowed(useful[0] if useful else True, exact)


def _any_of(parts: list[Narrowed]) -> Narrowed:
    exact = all(part.exact for part in parts)
    if any(part.criteria is True for part in parts):
        return Narrowed(True, exact or any(part.criteria is True and part.exact for part in parts))
    values: dict[str, list[Any]] = {}  # one list of values rather than many alternatives
    others = []
    for part in parts:
        if not isinstance(part.criteria, dict):
            continue
        ((name, operators), *more) = part.criteria.items()
        if not more and isinstance(operators, dict) and operators.keys() == {"$eq"}:
            values.setdefault(name, []).append(operators["$eq"])
        elif not more and isinstance(operators, dict) and operators.keys() == {"$in"}:
            values.setdefault(name, []).extend(operators["$in"])
        else:
            others.append(part.criteria)
    useful = [*({name: {"$in": listed}} for name, listed in values.items()), *others]
    if len(useful) > 1:
        return Narrowed({"$or": useful}, exact)
    return Narrowed(useful[0] if useful else False, exact)


def _leaf(name: str, operators: Any, kind: Kind, distinct: Callable[[str], list[Any]]) -> Narrowed:
    root = name.partition(".")[0]
    operators = operators if isinstance(operators, dict) else {"$eq": operators}
    column = kind.columns.get(name)
    if name == _BULK_OF_SLAB and set(operators) <= {"$eq", "$in"}:
        column = kind.columns.get("_mgsurf_bulk")
    if column:
        has_text = "$regex" in operators or "$regex" in operators.get("$not", {})
        return Narrowed(True, exact=False) if has_text else Narrowed({column: operators}, exact=True)
    test = predicate({name: operators})
    if root not in kind.varying:
        return Narrowed(test(kind.constants), exact=True)
    if root in SYSTEMS:
        return _one_of("chemsys", [s for s in distinct("chemsys") if test(system_attributes(s))])
    if root in FORMULAS and kind is BULK:
        formulas = distinct("formula")
        return _one_of("formula", [f for f in formulas if test(formula_attributes(formula_amounts(f)))])
    wanted = operators.get("$eq")
    if isinstance(wanted, str) and root == "chemical_formula_anonymous":
        count = sum(letter.isupper() for letter in wanted)
        systems = [s for s in distinct("chemsys") if system_attributes(s)["nelements"] == count]
        return _one_of("chemsys", systems, exact=False)
    if isinstance(wanted, str) and root in FORMULAS:
        elements = sorted(element for element, _ in formula_amounts(wanted))
        return _one_of("chemsys", ["-".join(elements)] if elements else [], exact=False)
    return Narrowed(True, exact=False)


def _one_of(field: str, values: list[Any], *, exact: bool = True) -> Narrowed:
    return Narrowed({field: {"$in": values}} if values else False, exact)
