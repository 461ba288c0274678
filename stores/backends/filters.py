"""MongoDB filters, projections and orders of documents, evaluated exactly in Python.

Operators known: $and, $or, $nor, $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not, $regex (with
$options i, m, x, s), $size, $all, $elemMatch. Times may be datetimes; documents hold them as text
(`stores.backends.values.timestamp`). Every document that a store of files returns passed one of these
predicates; `stores.backends.filters_sql` only narrows down which documents are read.
"""

from __future__ import annotations

import operator
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

from stores.backends.values import MISSING, encode, equal, order_key, plain, rank
from stores.errors import InputError

Predicate = Callable[[Any], bool]  # whether a document (or, inside $elemMatch, an array's entry) matches
Properties = Sequence[str] | dict[str, Any] | None
"""Fields to return: a list, or MongoDB's {field: 1} or {field: 0}; None for all."""

_POSITION = re.compile("[0-9]{1,9}")
DEEPEST = 100  # most objects and arrays within one another in a filter, as in MongoDB's documents
REGEX_SECONDS = 1.0
"""Longest time (s, of the processor) that a regular expression may take for all documents of a query."""
LOGICAL = ("$and", "$or", "$nor")
COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
_HASHABLE = (str, int, float)  # equal in Python where equal in MongoDB, unlike True and 1
OPERATORS = (
    *("$eq", "$ne", *COMPARISONS, "$in", "$nin", "$exists", "$not"),
    *("$regex", "$options", "$size", "$all", "$elemMatch"),
)


def is_operators(value: Any) -> bool:
    """Distinguish a set of known operators from a sub-document to compare with."""
    dollars = [name for name in value if name.startswith("$")] if isinstance(value, dict) else []
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


def check_list(name: str, value: Any) -> list[Any]:
    """Return the operand of an operator that needs a list."""
    if not isinstance(value, list):
        raise InputError(f"Filter operator {name} needs a list, not {value!r}.")
    return value


def conditions(criteria: Any) -> list[tuple[str, Any]]:
    """Check the outline of a filter and return its parts, to be joined by 'and'."""
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
    """Compile the operand of $regex."""
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


def value_test(name: str, operand: Any) -> Predicate:
    """Return the test that $eq, a comparison or a regular expression makes of a single value."""
    if name == "$regex":
        return _search(operand)
    if name == "$eq":
        return lambda value: equal(value, operand)
    place, limit, compare = rank(operand), order_key(operand), COMPARISONS[name]
    if place == 5:  # null is neither above nor below anything
        return lambda value: name in ("$gte", "$lte") and rank(value) == 5
    return lambda value: rank(value) == place and compare(order_key(value), limit)


def _any_value(path: tuple[str, ...], test: Predicate) -> Predicate:
    """Apply a test to every value at the path, and to every entry of those that are arrays."""

    def matches(document: Any) -> bool:
        for value in values_at(document, path):
            if test(value) or (isinstance(value, list) and any(map(test, value))):
                return True
        return False

    return matches


def _any_array(path: tuple[str, ...], test: Predicate) -> Predicate:
    return lambda document: any(
        isinstance(value, list) and test(value) for value in values_at(document, path)
    )


def _negate(test: Predicate) -> Predicate:
    return lambda document: not test(document)


def _all(tests: list[Predicate]) -> Predicate:
    return lambda document: all(test(document) for test in tests)


def _any(tests: list[Predicate]) -> Predicate:
    return lambda document: any(test(document) for test in tests)


def _element_match(operand: Any) -> Predicate:
    if not isinstance(operand, dict):
        raise InputError(f"Filter operator $elemMatch needs an object, not {operand!r}.")
    if not set(operand) & set(LOGICAL) and is_operators(operand):
        entry_test = field_predicate((), operand)
        return lambda value: any(entry_test(entry) for entry in value)
    test = predicate(operand)
    return lambda value: any(isinstance(entry, dict) and test(entry) for entry in value)


def _operator_predicate(path: tuple[str, ...], name: str, operand: Any) -> Predicate:
    if name == "$eq" and isinstance(operand, re.Pattern):
        name = "$regex"
    if name in ("$eq", "$regex", *COMPARISONS):
        return _any_value(path, value_test(name, operand))
    if name == "$in":
        hashable = {entry for entry in check_list(name, operand) if type(entry) in _HASHABLE}
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
    if name == "$exists":
        return lambda document: (
            any(value is not MISSING for value in values_at(document, path)) == bool(operand)
        )
    if name == "$size":
        if isinstance(operand, bool) or not isinstance(operand, int):
            raise InputError(f"Filter operator $size needs a whole number, not {operand!r}.")
        return _any_array(path, lambda value: len(value) == operand)
    if name == "$elemMatch":
        return _any_array(path, _element_match(operand))
    # $all
    entries = check_list(name, operand)
    parts = [field_predicate(path, entry if is_operators(entry) else {"$eq": entry}) for entry in entries]
    return _all(parts) if parts else lambda document: False


def positive(operators: dict[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Split a set of operators into (operator, operand, negated), $ne, $nin and $not written as negations."""
    for name, operand in operators.items():
        if name == "$ne":
            yield "$eq", operand, True
        elif name == "$nin":
            yield "$in", operand, True
        elif name == "$regex":
            yield "$regex", regex_of(operand, operators.get("$options", "")), False
        elif name == "$options":
            if "$regex" not in operators:
                raise InputError("Filter operator $options needs $regex beside it.")
        elif name == "$not" and isinstance(operand, re.Pattern):
            yield "$regex", operand, True
        elif name == "$not":
            if not is_operators(operand):
                raise InputError(f"Filter operator $not needs operators or a regex, not {operand!r}.")
            yield "$not", operand, True
        else:
            yield name, operand, False


def field_predicate(path: tuple[str, ...], operators: dict[str, Any]) -> Predicate:
    """Compile the operators applied to one field."""
    tests = []
    for name, operand, negated in positive(operators):
        is_inner = name == "$not"
        test = field_predicate(path, operand) if is_inner else _operator_predicate(path, name, operand)
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
            tests.append(_any(parts) if name == "$or" else _negate(_any(parts)))
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
    """Return a filter with plain values once it is known to be one that every store can run."""
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


def _tree(paths: list[str]) -> dict[str, Any]:
    """Nest dotted paths; a path that is returned whole ends in an empty dict."""
    tree: dict[str, Any] = {}
    for path in sorted(paths, key=lambda path: path.count("."), reverse=True):
        parts = path.split(".")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = {}  # the shorter path comes later and wins
    return tree


def _include(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_include(entry, tree) for entry in value if isinstance(entry, (dict, list))]
    kept = {}
    for name, entry in value.items():
        branch = tree.get(name)
        if branch is None:
            continue
        if not branch:
            kept[name] = entry
        elif isinstance(entry, (dict, list)):
            kept[name] = _include(entry, branch)
    return kept


def _exclude(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_exclude(entry, tree) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _exclude(entry, tree[name]) if tree.get(name) else entry
        for name, entry in value.items()
        if name not in tree or tree[name]
    }


class Projection:
    """A checked projection; `paths` is None if every field is returned.

    Parameters
    ----------
    properties
        Dotted fields as a list, or as MongoDB's {field: 1} (only these) or {field: 0} (all but these).
        ``_id`` is MongoDB's own and never returned.

    Raises
    ------
    InputError
        If fields are both included and excluded, or a value is neither 0 nor 1.
    """

    def __init__(self, properties: Properties) -> None:
        fields = properties if isinstance(properties, dict) else dict.fromkeys(properties or (), 1)
        fields = {name: value for name, value in fields.items() if name != "_id"}
        if any(value not in (0, 1) for value in fields.values()):
            raise InputError(f"Projection {fields}: give each field 1 (return it) or 0 (leave it out).")
        kinds = {bool(value) for value in fields.values()}
        if len(kinds) > 1:
            raise InputError(f"Projection {fields} both includes and excludes fields; use either.")
        self.excludes = kinds == {False}
        if properties is None or (
            isinstance(properties, dict) and set(properties) == {"_id"} and not any(properties.values())
        ):
            self.paths = None
        else:
            self.paths = list(fields)
        self._tree = _tree(self.paths or [])

    def needs(self, roots: Sequence[str]) -> bool:
        """Return whether any of these top-level fields may be returned."""
        if self.paths is None:
            return bool(roots)
        if self.excludes:
            return any(root not in self._tree or self._tree[root] for root in roots)
        return any(root in self._tree for root in roots)

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the chosen fields of a document."""
        if self.paths is None:
            return document
        result: dict[str, Any] = (_exclude if self.excludes else _include)(document, self._tree)
        return result


def sort_order(sort: dict[str, Any] | None) -> list[tuple[str, bool]]:
    """Return (field, upwards) of an order: 1 is upwards, -1 downwards; maggma's Sort is taken too."""
    order = []
    for field, direction in (sort or {}).items():
        value = getattr(direction, "value", direction)
        if value not in (1, -1):
            raise InputError(f"Sort {field} by 1 (upwards) or -1 (downwards), not {direction!r}.")
        order.append((field, value == 1))
    return order


def sort_key(document: dict[str, Any], field: str, up: bool) -> tuple[Any, ...]:
    """Return what a document is sorted by: of an array its smallest entry upwards, its largest downwards."""
    keys = []
    for value in values_at(document, tuple(field.split("."))):
        if isinstance(value, list):
            keys += [order_key(entry) for entry in value] or [(0,)]
        else:
            keys.append(order_key(value))
    return (min if up else max)(keys, default=(5,))


def distinct_values(documents: Iterable[dict[str, Any]], field: str) -> list[Any]:
    """Return the different values of a field, sorted; the entries of arrays count one by one."""
    values: dict[Any, Any] = {}
    for document in documents:
        for value in values_at(document, tuple(field.split("."))):
            for entry in value if isinstance(value, list) else [value]:
                if entry is not MISSING:
                    values.setdefault(encode(entry), entry)
    return sorted(values.values(), key=order_key)
