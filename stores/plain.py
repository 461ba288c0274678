"""Plain values: what JSON has, made of whatever an engine returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Annotated, Any

from pydantic import BeforeValidator

from stores.backends.values import timestamp

_AS_THEY_ARE = {float, bool, type(None)}
_INT64 = 2**63
_LONGEST = 200  # characters kept of the text of an object that has no plain form
_IMPORT_PATHS = ("@module", "@class", "@version")
"""Left out, so that no reader turns a document back into an object by itself."""
_DEEPEST = 100  # containers within containers that JSON writers take with certainty


def plain_values(value: Any) -> Any:
    """Turn a value into what JSON has, numbers and arrays of NumPy and PyTorch included.

    Tuples, sets and arrays become lists (sets sorted), keys of mappings become text as in JSON, enumerations
    their value, times ISO 8601 text, complex numbers ``{"real": ..., "imag": ...}``, integers beyond 64 bits
    floats. What has no plain form becomes its ``repr``, cut to 200 characters: a calculation of hours must
    not be lost for a detail. NaN and infinities are kept; stores write them as null.
    """
    return _plain(value, ())


def finite(value: float | None) -> float | None:
    """Return a number, None for NaN and infinities, which JSON does not know."""
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: Any, within: tuple[int, ...]) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is str or kind is int:
        return _storable(value)
    if id(value) in within or len(within) > _DEEPEST:  # a container that holds itself, or no end of them
        return "..."
    inner = (*within, id(value))
    if kind is dict or isinstance(value, Mapping):
        named = ((_key(key), entry) for key, entry in value.items())
        return {name: _plain(entry, inner) for name, entry in named if name not in _IMPORT_PATHS}
    if kind is list or isinstance(value, list | tuple):
        if set(map(type, value)) <= _AS_THEY_ARE:  # coordinates, potentials: thousands of numbers
            return list(value)
        return [_plain(entry, inner) for entry in value]
    if isinstance(value, set | frozenset):
        entries = [_plain(entry, inner) for entry in value]
        return sorted(entries, key=lambda entry: (str(type(entry)), str(entry)))
    if isinstance(value, Enum):
        return _plain(value.value, inner)
    return _of_object(value, inner)


def _of_object(value: Any, inner: tuple[int, ...]) -> Any:
    """Turn a scalar that is no built-in one, or any other object, into plain values."""
    if isinstance(value, str):
        return _storable(str(value))
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Integral):  # np.int64 and subclasses of int; NumPy's bool is none
        return _storable(int(value))
    if isinstance(value, Real | Decimal):
        return float(value)
    if isinstance(value, complex):
        return {"real": float(value.real), "imag": float(value.imag)}
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        for method in ("tolist", "as_dict", "model_dump"):  # arrays; pymatgen's and pydantic's objects
            if callable(getattr(value, method, None)):
                found = getattr(value, method)()
                if type(found) is not type(value):
                    return _plain(found, inner)
        if hasattr(value, "__fspath__"):
            return _plain(value.__fspath__(), inner)
        return _storable(repr(value)[:_LONGEST])
    except Exception:  # noqa: BLE001 -- an object of anyone's, whose own code fails
        return f"<{type(value).__qualname__}>"


def _storable(value: Any) -> Any:
    """Keep a built-in scalar if a store can write it."""
    if type(value) is int and not -_INT64 <= value < 2 * _INT64:
        return float(value) if abs(value) < 10**300 else (math.inf if value > 0 else -math.inf)
    if type(value) is str and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates
    return value


def _key(key: Any) -> str:
    """Write a key as JSON has it."""
    if type(key) is str and key.isascii():
        return key
    plain = _plain(key, ())
    if plain is None or isinstance(plain, bool):
        return {None: "null", True: "true", False: "false"}[plain]
    return plain if isinstance(plain, str) else str(plain)


PlainDict = Annotated[dict[str, Any], BeforeValidator(plain_values)]
"""A dictionary of plain values, whatever it is made from."""
