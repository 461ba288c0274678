"""Say what is wrong in a campaign file: one line per problem, with its line number and the allowed values."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
}


def line_of(document: Any, location: Location) -> int | None:
    """Find the line on which a location of a YAML document stands.

    Parameters
    ----------
    document
        What ruamel.yaml's round-trip loader returned.
    location
        Keys and list positions from the top down; the walk stops at the first that is not there, so a
        missing key is reported on the line of the mapping that lacks it.

    Returns
    -------
    int or None
        Line number from 1, None where the document keeps no line numbers.
    """
    line: int | None = None
    node = document
    for step in location:
        marks = getattr(getattr(node, "lc", None), "data", None)
        if not marks or step not in marks:
            break
        line = marks[step][0] + 1
        node = node[step]
    return line


def dotted(location: Location) -> str:
    """Write a location as people do: ``compounds[1].facets[0]``.

    Parameters
    ----------
    location
        Keys and list positions (counted from 0, written from 1).

    Returns
    -------
    str
    """
    text = ""
    for step in location:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss, else an empty string.

    Parameters
    ----------
    word
        What was written.
    allowed
        What could have been written.
    """
    by_lower = {name.lower(): name for name in allowed}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """List the keys allowed in the mapping at a location of the model."""
    current: Any = model
    for step in location:
        if isinstance(step, int):
            continue
        field = current.model_fields.get(step) if _is_model(current) else None
        if field is None:
            return []
        current = next((kind for kind in _inner_types(field.annotation) if _is_model(kind)), None)
    return list(current.model_fields) if _is_model(current) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner_types(annotation: Any) -> Iterable[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _inner_types(inner)


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, location, value = error["type"], error["loc"], error["input"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _fields_at(model, location[:-1])
        hint = suggestion(str(location[-1]), allowed)
        return f"unknown key{hint or ';'} allowed: {', '.join(allowed)}"
    if kind == "missing":
        return "required, but missing"
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, found {_found(value)}"
    for key, words in (("greater_than_equal", "ge"), ("greater_than", "gt"), ("less_than_equal", "le"),
                       ("less_than", "lt")):  # fmt: skip
        if kind == key:
            return f"must be {_BOUNDS[words]} {context[words]:g}, found {_found(value)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def problems(error: ValidationError, document: Any, model: type[BaseModel], where: str) -> list[str]:
    """Turn pydantic's errors into lines for people.

    Parameters
    ----------
    error
        What validating `document` against `model` raised.
    document
        The YAML document, with ruamel.yaml's line numbers.
    model
        The pydantic model.
    where
        Name of the file, put first in every line.

    Returns
    -------
    list of str
        ``file:line: field: what is wrong; allowed: ...``, sorted by line.
    """
    found = []
    for detail in error.errors(include_url=False):
        line = line_of(document, detail["loc"])
        field = dotted(detail["loc"])
        prefix = f"{where}:{line}: " if line else f"{where}: "
        found.append((line or 0, f"{prefix}{field + ': ' if field else ''}{_sentence(detail, model)}"))
    return [text for _, text in sorted(found)]
