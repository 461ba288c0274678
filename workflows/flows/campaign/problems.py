"""Problems of a campaign file: one line each, with its line number and the allowed values."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}

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
    """Return the line (from 1) of a location in a document of ruamel.yaml's round-trip loader.

    The walk stops at the first key that is not there, so that a missing key is reported on the line of the
    mapping that lacks it. None where the document keeps no line numbers.
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
    """Write a location as ``compounds[1].facets[1]``; list positions count from 0, and are written from 1."""
    text = ""
    for step in location:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss, else an empty string."""
    by_lower = {name.lower(): name for name in allowed}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys allowed in the mapping at a location of the model."""
    current: Any = model
    named = False  # the step is a name within a mapping, no field
    for step in location:
        if named or isinstance(step, int):
            named = False
            continue
        field = next((f for name, f in current.model_fields.items() if step in (name, f.alias)), None)
        current = next(filter(_is_model, _inner_types(field.annotation)), None) if field else None
        if field is None or current is None:
            return []
        named = any(get_origin(kind) is dict for kind in _inner_types(field.annotation))
    return [field.alias or name for name, field in current.model_fields.items()]


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
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}, found {_found(value)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def problems(error: ValidationError, document: Any, model: type[BaseModel], where: str) -> list[str]:
    """Return ``file:line: field: what is wrong; allowed: ...`` for each error of pydantic, sorted by line.

    Parameters
    ----------
    error
        Raised by validating `document` against `model`.
    document
        The YAML document, with ruamel.yaml's line numbers.
    model
        The pydantic model.
    where
        Name of the file.
    """
    found = []
    for detail in error.errors(include_url=False):
        line = line_of(document, detail["loc"])
        field = dotted(detail["loc"])
        prefix = f"{where}:{line}: " if line else f"{where}: "
        found.append((line or 0, f"{prefix}{field + ': ' if field else ''}{_sentence(detail, model)}"))
    return [text for _, text in sorted(found)]
