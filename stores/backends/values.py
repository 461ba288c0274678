"""How JSON values lie in the columns of a SQLite table, and how times and values are ordered.

A document is kept as JSON text; a field that is filtered or sorted by gets a column of its own, because
reading a column is a hundred times cheaper than parsing a document. SQLite compares
NULL < numbers < text < blobs, which is made to agree with MongoDB's order
null < numbers < strings < objects < arrays < booleans:

====================== ====================================================
value                  column
====================== ====================================================
field is missing       NULL
null                   minus infinity (JSON has no infinities of its own)
number, string         itself
object                 blob ``o`` + canonical JSON
flat array             blob ``pa`` or ``pb`` + canonical JSON
array holding arrays   blob ``pn`` + canonical JSON
several values         blob ``pz``: the path runs through an array
boolean                blob ``t0`` or ``t1``
====================== ====================================================
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import orjson

from stores.errors import InputError


class _Missing:
    """The value of a field that a document does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
SEVERAL: Final = _Missing()
"""The value of a path that runs through an array: not one value, but any number of them."""
NULL: Final = -math.inf
ARRAYS: Final = (b"p", b"q")  # bounds of the blobs of all arrays (the upper one excluded)
NESTED: Final = (b"pn", b"q")  # bounds of the blobs of arrays holding arrays and of paths with several values
_LARGEST_EXACT = 2**53
_INT64 = 2**63


def timestamp(value: datetime) -> str:
    """Write a time as ISO 8601 in UTC, always with six decimals: alphabetical order is time order.

    A time without a zone is taken as UTC, as MongoDB does.
    """
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _other(value: Any) -> Any:
    """Write what JSON does not know."""
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if type(value).__name__ == "ObjectId":
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME


def dumps(value: Any) -> bytes:
    """Write a document as JSON; NaN and infinities become null, because JSON has none."""
    try:
        return orjson.dumps(value, default=_other, option=_OPTIONS)
    except TypeError as error:
        cause = error.__cause__ or error
        raise InputError(f"A document cannot be stored: {cause}; convert it to plain values first.") from None


loads = orjson.loads


def plain(value: Any) -> Any:
    """Turn the values of a filter into what documents hold (times to text, tuples to lists)."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return value.tolist()
    return value


def value_at(document: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a dotted path, MISSING if there is none, SEVERAL if it runs through an array."""
    for part in path:
        if isinstance(document, dict):
            document = document.get(part, MISSING)
            if document is MISSING:
                return MISSING
        elif isinstance(document, list):
            return SEVERAL
        else:
            return MISSING
    return document


_SIMPLE = (str, int, bool, type(None), _Missing)


def json_value_at(document: Any, path: tuple[str, ...]) -> Any:
    """Return what `value_at` will find in the JSON text of a document that is yet to be written."""
    for place, part in enumerate(path):
        if type(document) is dict:
            document = document.get(part, MISSING)
        elif type(document) in _SIMPLE or type(document) is float:
            return MISSING
        else:  # an array, or an object that becomes who knows what
            return value_at(loads(dumps(document)), path[place:])
    if type(document) in _SIMPLE:
        return document
    if type(document) is float:
        return document if math.isfinite(document) else None
    return loads(dumps(document))


def _canonical(value: Any) -> Any:
    """Make numbers that are equal look equal: 1.0 is written 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _canonical(entry) for key, entry in value.items()}
    return value


def encode(value: Any) -> Any:
    """Write a value for a column (see the table above)."""
    if isinstance(value, str):
        return value
    if value is None:
        return NULL
    if isinstance(value, bool):
        return b"t1" if value else b"t0"
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else float(value)
    if isinstance(value, float):
        return value
    if value is MISSING:
        return None
    if value is SEVERAL:
        return b"pz"
    if isinstance(value, list) and all(type(entry) is int for entry in value):  # a Miller index
        return b"pa" + orjson.dumps(value)
    canonical = _canonical(value)
    text = orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)
    if isinstance(value, dict):
        return b"o" + text
    if any(isinstance(entry, list) for entry in value):
        return b"pn" + text
    exact = text == orjson.dumps(value)
    return (b"pa" if exact else b"pb") + text


_RANKS: dict[type, int] = {type(None): 5, int: 10, float: 10, str: 15, dict: 20, list: 25, bool: 40}


def rank(value: Any) -> int:
    """Return the place of a value's type in MongoDB's order of types (missing counts as null)."""
    return _RANKS.get(type(value), 5)


def order_key(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts values as MongoDB does.

    Source: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
    """
    place = rank(value)
    if place == 5:
        return (5,)
    if place == 20:
        return (20, tuple((rank(entry), name, order_key(entry)) for name, entry in value.items()))
    if place == 25:
        return (25, tuple(order_key(entry) for entry in value))
    return (place, value)


def equal(one: Any, other: Any) -> bool:
    """Compare two values as MongoDB does: 1 equals 1.0 but not true. An object's fields have no order."""
    place = rank(one)
    if place != rank(other):
        return False
    if place == 20:
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if place == 25:
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(place == 5 or one == other)
