"""Documents as JSON text with a checksum, written and checked in one place for all kinds of stores.

The first field of a stored document is ``_checksum``: the CRC-32 of the text that follows the field and,
where large fields are kept apart (`stores.backends.sqlite_table`), a dot and the CRC-32 of their text. A
document without this field was written before there were checksums and is read as it is.
"""

from __future__ import annotations

import zlib
from typing import Any

from stores.backends.values import dumps, loads
from stores.errors import DamagedDocumentError, one_line

FIELD = "_checksum"
_START = b'{"_checksum":"'
_DIGITS = 8
_NEAR = 3  # differing bytes up to which a start is a damaged `_START` and not an ordinary first field


class DamagedTextError(ValueError):
    """The text of a document is not what was written; `damaged` makes the message for the user."""


def seal(text: bytes, heavy: bytes | None = None) -> bytes:
    """Return the JSON text of an object (as `dumps` writes it) with its checksum as the first field.

    `heavy` is the text of the fields that are kept apart, None if there are none.
    """
    rest = text[1:]
    apart = b"" if heavy is None else b".%08x" % zlib.crc32(heavy)
    return b'%b%08x%b"%b%b' % (
        _START,
        zlib.crc32(rest, zlib.crc32(apart)),
        apart,
        b"," * (rest != b"}"),
        rest,
    )


def unseal(text: bytes) -> tuple[dict[str, Any], int | None]:
    """Return the document in a text and the checksum of its fields kept apart (None: none are known of).

    A text that does not agree with its checksum or is no JSON object raises a `DamagedTextError`.
    """
    if not text.startswith(_START):
        if len(text) > len(_START) and sum(a != b for a, b in zip(text, _START, strict=False)) <= _NEAR:
            raise DamagedTextError("damaged checksum")
        return _object(text), None
    begin = len(_START)
    end = text.find(b'"', begin, begin + 2 * _DIGITS + 2)
    apart = text[begin + _DIGITS : end]
    rest = memoryview(text)[end + 1 + (text[end + 1 : end + 2] == b",") :]
    if end < 0 or text[begin : begin + _DIGITS] != b"%08x" % zlib.crc32(rest, zlib.crc32(apart)):
        raise DamagedTextError("checksum differs")
    document = _object(text)
    del document[FIELD]
    return document, int(apart[1:], 16) if apart else None


def check_heavy(text: bytes | None, checksum: int | None) -> dict[str, Any]:
    """Return the fields kept apart; a `DamagedTextError` if they are missing or not those of `checksum`."""
    if text is None:
        if checksum is not None:
            raise DamagedTextError("large fields are missing")
        return {}
    if checksum is not None and zlib.crc32(text) != checksum:
        raise DamagedTextError("checksum of the large fields differs")
    return _object(text)


def with_checksum(document: dict[str, Any]) -> dict[str, Any]:
    """Return a plain document with its checksum, for a store that keeps documents and not text."""
    loaded: dict[str, Any] = loads(seal(dumps(document)))
    return loaded


def without_checksum(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of a store that keeps documents and not text, once its checksum was compared."""
    if FIELD not in document:
        return document
    plain = {name: value for name, value in document.items() if name != FIELD}
    if loads(seal(dumps(plain)))[FIELD] != document[FIELD]:
        raise DamagedTextError("checksum differs")
    return plain


def damaged(store: str, collection: str, name: Any, error: Exception) -> DamagedDocumentError:
    """Describe a damaged document in one line."""
    again = "import" if collection == "labels" else "compute"
    return DamagedDocumentError(
        f"The record {one_line(name)} of {collection} in the store {store} is damaged ({error}) and is not "
        f"used; the other records are readable. Restore a backup with mgsurf store restore FILE, or {again} "
        f"it again."
    )


def _object(text: bytes) -> dict[str, Any]:
    try:
        document = loads(text)
    except ValueError:
        raise DamagedTextError("no JSON") from None
    if not isinstance(document, dict):
        raise DamagedTextError("no JSON object")
    return document
