"""Files that users name, read within limits: plain or gzip, bzip2 or xz, whatever their names; JSON and YAML.

Few bytes can stand for very many: a gzip of zeros expands a thousandfold, a hundred kilobytes of brackets
exhaust the stack of a recursive reader, and nine YAML lines whose aliases repeat one another stand for a
billion values. A name can lead to a device without an end. The limits are far above every honest file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import sys
import zlib
from typing import TYPE_CHECKING, Any

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from ruamel.yaml import YAML


DEEPEST = 100  # most objects and arrays within one another, as in MongoDB's documents

MOST_NODES = 200_000
"""Most values of a YAML document with its aliases written out: 4,000 compounds have 56,000."""

LONGEST_NUMBER = 1000
"""Most digits of a number in a YAML document: Python neither reads nor writes integers of over 4,300."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_DIGITS = re.compile(rf"(?<!\w)(0[xo])?[\da-fA-F_]{{{LONGEST_NUMBER}}}")


class TooDeepError(ValueError):
    """A document whose nesting or expanded size is beyond every honest one; `lineno` counts from 1."""

    def __init__(self, message: str, lineno: int) -> None:
        super().__init__(message)
        self.lineno = lineno


def load_json(text: str | bytes, parse_int: Callable[[str], Any] | None = None) -> Any:
    """Read JSON of at most `DEEPEST` levels.

    Raises
    ------
    ValueError
        If it is no JSON, holds a number that Python cannot read, or is nested too deep (`TooDeepError`).
    """
    check_depth(text)
    try:
        return json.loads(text, parse_int=parse_int)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError(f"an integer of over {sys.get_int_max_str_digits():,} digits") from None


def check_depth(text: str | bytes) -> None:
    """Raise a `TooDeepError` if brackets of a JSON text are nested more than `DEEPEST` levels."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    brackets = raw.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEEPEST):  # each turn takes away the innermost level
        inner = brackets.replace(b"[]", b"")
        if not inner:
            return
        if len(inner) == len(brackets):
            break
        brackets = inner
    raw = _STRING.sub(lambda found: b"\n" * found[0].count(b"\n"), raw)  # brackets in strings do not nest
    depth = 0
    for found in re.finditer(rb"[][{}]", raw):
        depth += 1 if found[0] in b"[{" else -1
        if depth > DEEPEST:
            line = raw.count(b"\n", 0, found.start()) + 1
            raise TooDeepError(f"nested more than {DEEPEST} levels deep in line {line}", line)


def load_yaml(text: str, reader: YAML) -> Any:
    """Read one YAML document within the limits; `reader` reads it once it was checked.

    Raises
    ------
    TooDeepError
        If it is nested more than `DEEPEST` levels, or has more than `MOST_NODES` values with its aliases
        written out, or a number of more than `LONGEST_NUMBER` digits.
    ruamel.yaml.error.YAMLError, ValueError, OverflowError
        As the reader: what is not YAML, and dates or numbers that are none.
    """
    _check_yaml(text)
    return reader.load(text)


def _check_yaml(text: str) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.events import (
        AliasEvent,
        CollectionEndEvent,
        CollectionStartEvent,
        DocumentStartEvent,
        NodeEvent,
    )

    for number, line in enumerate(text.splitlines(), start=1):
        if _DIGITS.search(line):
            raise TooDeepError(f"a number of over {LONGEST_NUMBER:,} digits", number)
    total, sizes = 0, dict[str, int]()  # of what each anchor stands for, aliases in it included
    parents: list[tuple[str | None, int]] = []
    for event in YAML(typ="safe").parse(text):
        lineno = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, CollectionStartEvent):
            parents.append((event.anchor, total))
            total += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = parents.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, NodeEvent):
            total += 1
        elif isinstance(event, DocumentStartEvent):
            sizes.clear()
        if len(parents) > DEEPEST:
            raise TooDeepError(f"nested more than {DEEPEST} levels deep", lineno)
        if total > MOST_NODES:
            raise TooDeepError(f"more than {MOST_NODES:,} values, aliases (*name) written out", lineno)


DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What reading a compressed file that is cut off or damaged may raise."""

LARGEST_RATIO = 300
"""A file that expands to more than this many times its size is refused (LOCPOT: 5, vasprun.xml: 20)."""

SMALL = 1 << 26  # files that expand to less than this (bytes) are read whatever their ratio

LARGEST = 1 << 28
"""Largest content (bytes) of a file that is read as a whole; the published sets of slabs have below 2^24."""

LARGEST_TEXT = 1 << 26  # largest file (bytes) of one structure, one table or one document
LONGEST_LINE = 1 << 20  # longest piece (bytes) in which a file is read by lines

_READERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
_OTHERS = {
    b"\x1f\x9d": "compress (.Z)",
    b"\x28\xb5\x2f\xfd": "Zstandard (.zst)",
    b"\x04\x22\x4d\x18": "LZ4 (.lz4)",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}
_MAGIC_BYTES = 8


def is_compressed(path: Path) -> bool:
    """Whether the content of a file is compressed in a way that `open_input` reads."""
    with path.open("rb") as stream:
        return _opener(stream) is not None


def open_input(path: Path) -> BufferedReader:
    """Open a file for reading bytes, decompressed if its content is gzip, bzip2 or xz, whatever its name.

    Raises
    ------
    InputError
        If it cannot be opened, is empty or compressed in another way; while reading, if it expands to more
        than `SMALL` bytes and `LARGEST_RATIO` times its size.
    """
    try:
        stream = path.open("rb")
        magic = stream.peek(_MAGIC_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; correct its permissions") from None
    problem = "" if magic else "the file is empty; copy it again or make it again"
    for start, kind in _OTHERS.items():
        if magic.startswith(start):
            problem = f"compressed with {kind}, which is not read; unpack it, or use gzip, bzip2 or xz"
    if problem:
        stream.close()
        raise InputError(f"{path}: {problem}")
    return _expanded(stream, path)


def _opener(stream: BufferedReader) -> Callable[..., Any] | None:
    """Return what decompresses a stream; None if it is not compressed in a way that is read."""
    magic = stream.peek(_MAGIC_BYTES)
    return next((opener for start, opener in _READERS.items() if magic.startswith(start)), None)


def _expanded(stream: BufferedReader, path: Path) -> BufferedReader:
    opener = _opener(stream)
    return stream if opener is None else io.BufferedReader(_Expanded(opener, stream, path), 1 << 20)


def lines_of(stream: BufferedReader) -> Iterator[bytes]:
    """Yield the lines of a stream, those above `LONGEST_LINE` in pieces: not every file has ends of lines."""
    return iter(lambda: stream.readline(LONGEST_LINE), b"")


def read_bytes(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """Read a whole file of at most `most` bytes, decompressed as by `open_input`.

    Raises
    ------
    InputError
        If it is larger, or compressed in a way that is not read or damaged.
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as stream, _expanded(stream, path) as content:
        try:
            data = content.read(most + 1)
        except DAMAGED as error:
            if content is stream:
                raise
            raise InputError(
                f"{path}: the compressed file is cut off or damaged ({error}); copy it again"
            ) from None
    if len(data) > most:
        raise InputError(f"{path}: larger than {most / 2**20:.3g} MiB; check that it is the right file")
    return data


def read_text(path: Path, most: int = LARGEST_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark; errors as `read_bytes`."""
    text = read_bytes(path, most).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_json(path: Path, most: int = LARGEST_TEXT) -> Any:
    """Read a JSON file, as `read_bytes` and `load_json`."""
    return load_json(read_bytes(path, most))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none that can be read."""
    try:
        found = read_json(path)
    except (OSError, ValueError, InputError):
        return {}
    return found if isinstance(found, dict) else {}


class _Expanded(io.RawIOBase):
    """The content of a compressed file, up to the size that `open_input` allows."""

    def __init__(self, opener: Callable[..., Any], stream: BufferedReader, path: Path) -> None:
        self._inner, self._stream, self._path = opener(stream, "rb"), stream, path
        self._left = max(SMALL, LARGEST_RATIO * os.fstat(stream.fileno()).st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # read1: of a file that was cut off, read would give nothing at all
        data = self._inner.read1(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise InputError(
                f"{self._path}: expands to more than {LARGEST_RATIO} times its size, as only damaged or "
                "hostile files do; copy it again"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        self._stream.close()
        super().close()
