"""MongoDB filters, evaluated exactly in Python.

Every document that a store of files returns passed one of these predicates; `stores.backends.filters_sql`
only narrows down which documents are read.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from stores.backends.values import MISSING, equal, order_key, plain, rank
from stores.errors import InputError

Predicate = Callable[[Any], bool]
"""Says whether a document (or, inside $elemMatch, an array's entry) matches."""

_POSITION = re.compile("[0-9]{1,9}")
DEEPEST = 100
"""Most objects and arrays within one another in a filter, as in MongoDB's documents."""
REGEX_SECONDS = 1.0
"""Longest time (s, of the processor) that a regular expression may take for all documents of a query."""
LOGICAL = ("$and", "$or", "$nor")
COMPARISONS = ("$gt", "$gte", "$lt", "$lte")
_HASHABLE = (str, int, float)  # equal in Python where equal in MongoDB, unlike True and 1
OPERATORS = (
    "$eq",
    "$ne",
    *COMPARISONS,
    "$in",
    "$nin",
    "$exists",
    "$not",
    "$regex",
    "$options",
    "$size",
    "$all",
    "$elemMatch",
)


def is_operators(value: Any) -> bool:
    """Tell a set of operators from a sub-document to compare with.

    Raises
    ------
    InputError
        If operators and fields are mixed, or an operator is unknown.
    """
    if not isinstance(value, dict) or not value:
        return False
    dollars = [name for name in value if name.startswith("$")]
    if not dollars:
        return False
    if len(dollars) != len(value):
        raise InputError(f"Filter {value} mixes operators and fields; use either.")
    for name in dollars:
        if name not in OPERATORS:
            raise InputError(
                f"Unknown filter operator {name}; known are {', '.join((*LOGICAL, *OPERATORS))}."
            )
    return True


def check_list(operator: str, value: Any) -> list[Any]:
    """Return the operand of an operator that needs a list.

    Raises
    ------
    InputError
        If it is not a list.
    """
    if not isinstance(value, list):
        raise InputError(f"Filter operator {operator} needs a list, not {value!r}.")
    return value


def conditions(criteria: Any) -> list[tuple[str, Any]]:
    """Check the outline of a filter and return its parts, to be joined by 'and'.

    Raises
    ------
    InputError
        If it is not an object, or a logical operator is unknown or lacks its list of filters.
    """
    if not isinstance(criteria, dict):
        raise InputError(f'A filter must be an object such as {{"chemsys": "Ag-Mg"}}, not {criteria!r}.')
    for name, value in criteria.items():
        if name in LOGICAL:
            if not check_list(name, value):
                raise InputError(f"Filter operator {name} needs at least one filter in its list.")
        elif name.startswith("$") and name != "$comment":
            raise InputError(f"Unknown filter operator {name} at top level; known are {', '.join(LOGICAL)}.")
    return [(name, value) for name, value in criteria.items() if name != "$comment"]


def values_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield every value a dotted path leads to; MISSING where an object lacks the field.

    An array on the way is entered: by position if the path's next part is a number, and into each of its
    objects. Entries that are not objects lead nowhere, as in MongoDB.
    """
    if not path:
        yield value
    elif isinstance(value, dict):
        yield from values_at(value[path[0]], path[1:]) if path[0] in value else (MISSING,)
    elif isinstance(value, list):
        if _POSITION.fullmatch(path[0]) and int(path[0]) < len(value):
            yield from values_at(value[int(path[0])], path[1:])
        for entry in value:
            if isinstance(entry, dict):
                yield from values_at(entry, path)
    else:
        yield MISSING


def regex_of(pattern: Any, options: Any = "") -> re.Pattern[str]:
    """Compile the operand of $regex.

    Raises
    ------
    InputError
        If it is not a regular expression.
    """
    if isinstance(pattern, re.Pattern) and not options:
        return pattern
    flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "x": re.VERBOSE, "s": re.DOTALL}
    try:
        text, flag = (pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else (pattern, 0)
        for option in options:
            flag |= flags[option]
        return re.compile(text, flag)
    except (re.error, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(f"Filter operator $regex: {pattern!r} {options!r} is not valid ({error}).") from None


def _search(pattern: re.Pattern[str]) -> Predicate:
    """Return the test of a regular expression, which may take `REGEX_SECONDS` for all values together.

    Python looks for signals while it matches, so that a timer of processor time can end it. Signals reach
    the main thread only; a match in another thread has no limit.
    """
    left = REGEX_SECONDS

    def stop(number: int, frame: FrameType | None) -> None:
        text = pattern.pattern if len(pattern.pattern) <= 60 else pattern.pattern[:60] + "..."
        raise InputError(
            f"Filter operator $regex: {text!r} takes more than {REGEX_SECONDS:g} s; write a pattern without "
            f"repetitions inside repetitions."
        )

    def test(value: Any) -> bool:
        nonlocal left
        if not isinstance(value, str):
            return False
        if threading.current_thread() is not threading.main_thread():
            return pattern.search(value) is not None
        before = signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, max(left, 0.001))
        try:
            return pattern.search(value) is not None
        finally:
            left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return test


def value_test(operator: str, operand: Any) -> Predicate:
    """Return the test that $eq, a comparison or a regular expression makes of a single value."""
    if operator == "$regex":
        return _search(operand)
    if operator == "$eq":
        return lambda value: equal(value, operand)
    place = rank(operand)
    if place == 5:  # null is neither above nor below anything
        return lambda value: operator in ("$gte", "$lte") and rank(value) == 5
    limit = order_key(operand)
    if operator == "$gt":
        return lambda value: rank(value) == place and value is not MISSING and order_key(value) > limit
    if operator == "$gte":
        return lambda value: rank(value) == place and value is not MISSING and order_key(value) >= limit
    if operator == "$lt":
        return lambda value: rank(value) == place and value is not MISSING and order_key(value) < limit
    return lambda value: rank(value) == place and value is not MISSING and order_key(value) <= limit


def _any_value(path: tuple[str, ...], test: Predicate) -> Predicate:
    """Apply a test to every value at the path, and to every entry of those that are arrays."""

    def matches(document: Any) -> bool:
        for value in values_at(document, path):
            if test(value) or (isinstance(value, list) and any(map(test, value))):
                return True
        return False

    return matches


def _any_array(path: tuple[str, ...], test: Predicate) -> Predicate:
    def matches(document: Any) -> bool:
        return any(isinstance(value, list) and test(value) for value in values_at(document, path))

    return matches


def _negate(test: Predicate) -> Predicate:
    return lambda document: not test(document)


def _all(tests: list[Predicate]) -> Predicate:
    return lambda document: all(test(document) for test in tests)


def _element_match(operand: Any) -> Predicate:
    if not isinstance(operand, dict):
        raise InputError(f"Filter operator $elemMatch needs an object, not {operand!r}.")
    if not set(operand) & set(LOGICAL) and is_operators(operand):
        entry_test = field_predicate((), operand)
        return lambda value: any(entry_test(entry) for entry in value)
    test = predicate(operand)
    return lambda value: any(isinstance(entry, dict) and test(entry) for entry in value)


def _operator_predicate(path: tuple[str, ...], operator: str, operand: Any) -> Predicate:
    if operator == "$eq" and isinstance(operand, re.Pattern):
        operator = "$regex"
    if operator in ("$eq", "$regex", *COMPARISONS):
        return _any_value(path, value_test(operator, operand))
    if operator == "$in":
        hashable = {entry for entry in check_list(operator, operand) if type(entry) in _HASHABLE}
        tests = [
            value_test("$regex" if isinstance(entry, re.Pattern) else "$eq", entry)
            for entry in operand
            if type(entry) not in _HASHABLE
        ]
        return _any_value(
            path,
            lambda value: (
                (type(value) in _HASHABLE and value in hashable) or any(test(value) for test in tests)
            ),
        )
    if operator == "$exists":
        # a lambda, as every predicate here: noqa E731
        exists: Predicate = lambda document: any(v is not MISSING for v in values_at(document, path))  # noqa: E731
        return exists if operand else _negate(exists)
    if operator == "$size":
        if isinstance(operand, bool) or not isinstance(operand, int):
            raise InputError(f"Filter operator $size needs a whole number, not {operand!r}.")
        return _any_array(path, lambda value: len(value) == operand)
    if operator == "$elemMatch":
        return _any_array(path, _element_match(operand))
    # $all
    entries = check_list(operator, operand)
    parts = [field_predicate(path, entry if is_operators(entry) else {"$eq": entry}) for entry in entries]
    return _all(parts) if parts else lambda document: False


def positive(operators: dict[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Split a set of operators into (operator, operand, negated), $ne, $nin and $not written as negations."""
    for operator, operand in operators.items():
        if operator == "$ne":
            yield "$eq", operand, True
        elif operator == "$nin":
            yield "$in", operand, True
        elif operator == "$regex":
            yield "$regex", regex_of(operand, operators.get("$options", "")), False
        elif operator == "$options":
            if "$regex" not in operators:
                raise InputError("Filter operator $options needs $regex beside it.")
        elif operator == "$not" and isinstance(operand, re.Pattern):
            yield "$regex", operand, True
        elif operator == "$not":
            if not is_operators(operand):
                raise InputError(f"Filter operator $not needs operators or a regex, not {operand!r}.")
            yield "$not", operand, True
        else:
            yield operator, operand, False


def field_predicate(path: tuple[str, ...], operators: dict[str, Any]) -> Predicate:
    """Compile the operators applied to one field."""
    tests = []
    for operator, operand, negated in positive(operators):
        test = (
            field_predicate(path, operand)
            if operator == "$not"
            else _operator_predicate(path, operator, operand)
        )
        tests.append(_negate(test) if negated else test)
    return tests[0] if len(tests) == 1 else _all(tests)


def predicate(criteria: dict[str, Any]) -> Predicate:
    """Compile a filter whose values are plain already (see `stores.backends.values.plain`)."""
    tests: list[Predicate] = []
    for name, value in conditions(criteria):
        if name not in LOGICAL:
            tests.append(
                field_predicate(tuple(name.split(".")), value if is_operators(value) else {"$eq": value})
            )
            continue
        parts = [predicate(part) for part in value]
        if name == "$and":
            tests += parts
        else:
            # the default binds this round's parts, which Predicate's type cannot say
            either: Predicate = lambda document, parts=parts: any(part(document) for part in parts)  # type: ignore[misc]  # noqa: E731
            tests.append(either if name == "$or" else _negate(either))
    return tests[0] if len(tests) == 1 else _all(tests)


def roots(criteria: dict[str, Any]) -> set[str]:
    """Return the top-level fields that a checked filter looks at."""
    found: set[str] = set()
    for name, value in conditions(criteria):
        if name in LOGICAL:
            found.update(*map(roots, value))
        else:
            found.add(name.partition(".")[0])
    return found


def depth(value: Any, most: int = DEEPEST) -> int:
    """Return how many objects and arrays lie within one another, counting no further than `most` + 1."""
    deepest, level = 0, [value]
    while level and deepest <= most:
        level = [entry for entry in level if isinstance(entry, (dict, list, tuple))]
        deepest += bool(level)
        level = [inner for e in level for inner in (e.values() if isinstance(e, dict) else e)]
    return deepest


def _check_values(value: Any) -> None:
    """Refuse what no document can hold."""
    if isinstance(value, dict):
        for name, entry in value.items():
            _check_values(name)
            _check_values(entry)
    elif isinstance(value, list):
        for entry in value:
            _check_values(entry)
    elif isinstance(value, str):
        value.encode()  # a lone surrogate is no character
    elif isinstance(value, int):
        float(value)


def checked(criteria: Any) -> dict[str, Any]:
    """Return a filter with plain values once it is known to be one that every store can run.

    Raises
    ------
    InputError
        If it is malformed, nested too deeply, or holds numbers or characters that no document can hold.
    """
    if depth(criteria or {}) > DEEPEST:
        raise InputError(f"The filter is nested more than {DEEPEST} deep; write it flatter.")
    try:
        plain_criteria: dict[str, Any] = plain(criteria or {})
        _check_values(plain_criteria)
        predicate(plain_criteria)
    except UnicodeError:
        raise InputError("The filter holds half a character (a lone surrogate); correct its text.") from None
    except OverflowError:
        raise InputError("The filter holds a number too large for any document; correct it.") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"The filter cannot be read ({' '.join(str(error).split())}).") from None
    return plain_criteria


def matches(criteria: dict[str, Any], document: dict[str, Any]) -> bool:
    """Say whether a document matches a MongoDB filter.

    Parameters
    ----------
    criteria
        Operators known: $and, $or, $nor, $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not, $regex
        (with $options i, m, x, s), $size, $all, $elemMatch. Times may be datetimes.
    document
        JSON-able document; its times are text (see `stores.backends.values.timestamp`).

    Raises
    ------
    InputError
        If the filter is malformed or uses another operator.
    """
    return predicate(checked(criteria))(document)
