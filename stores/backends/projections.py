"""Which fields of a document a query returns, and in which order documents come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stores.backends.filters import values_at
from stores.backends.values import MISSING, encode, order_key
from stores.errors import InputError

Properties = Sequence[str] | dict[str, Any] | None
"""Fields to return: a list, or MongoDB's {field: 1} or {field: 0}; None for all."""


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
        """Say whether any of these top-level fields may be returned."""
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


def upwards(field: str, direction: Any) -> bool:
    """Read a direction of sorting: 1 (True) or -1 (False), or maggma's Sort.

    Raises
    ------
    InputError
        If it is neither.
    """
    value = getattr(direction, "value", direction)
    if value not in (1, -1):
        raise InputError(f"Sort {field} by 1 (upwards) or -1 (downwards), not {direction!r}.")
    return bool(value == 1)


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
