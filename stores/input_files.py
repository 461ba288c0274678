"""Files that users name, read within limits: plain or gzip, bzip2 or xz, whatever their names.

Few bytes can stand for very many (a gzip of zeros expands a thousandfold), and a name can lead to a device
without an end. Every reader of such a file opens it here. `stores.nesting` limits what the text in it means.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, Any, cast

from stores.errors import InputError
from stores.nesting import load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What reading a compressed file that is cut off or damaged may raise."""

LARGEST_RATIO = 300
"""A file that expands to more than this many times its size is refused (LOCPOT: 5, vasprun.xml: 20)."""

SMALL = 1 << 26
"""Files that expand to less than this (bytes) are read whatever their ratio."""

LARGEST = 1 << 28
"""Largest content (bytes) of a file that is read as a whole; the published sets of slabs have below 2^24."""

LARGEST_TEXT = 1 << 26
"""Largest file (bytes) of one structure, one table or one document."""

LONGEST_LINE = 1 << 20
"""Longest piece (bytes) in which a file is read by lines."""

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
    """Tell by its content whether a file is compressed in a way that `open_input` reads."""
    with path.open("rb") as stream:
        magic = stream.read(_MAGIC_BYTES)
    return any(magic.startswith(start) for start in _READERS)


def open_input(path: Path) -> BufferedReader:
    """Open a file for reading bytes, decompressed if its content is gzip, bzip2 or xz, whatever its name.

    Raises
    ------
    InputError
        If it cannot be opened, is empty or compressed in another way; while reading, if it expands to more
        than `SMALL` bytes and `LARGEST_RATIO` times its size.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(_MAGIC_BYTES)
        if not magic:
            raise InputError(f"{path}: the file is empty; copy it again or make it again")
        for start, kind in _OTHERS.items():
            if magic.startswith(start):
                raise InputError(
                    f"{path}: compressed with {kind}, which is not read; unpack it, or use gzip, bzip2 or xz"
                )
        for start, opener in _READERS.items():
            if magic.startswith(start):
                inner = cast("BufferedReader", opener(path, "rb"))
                return io.BufferedReader(_Expanded(inner, path), 1 << 20)
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; correct its permissions") from None


def lines_of(stream: BufferedReader) -> Iterator[bytes]:
    """Yield the lines of a stream, those above `LONGEST_LINE` in pieces: not every file has ends of lines."""
    return iter(lambda: stream.readline(LONGEST_LINE), b"")


def read_bytes(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """Read a whole file, decompressed as by `open_input`.

    Parameters
    ----------
    path
        The file; a pipe or a device is read up to the limit.
    most
        Largest content (bytes).

    Raises
    ------
    InputError
        If it is larger, or compressed in a way that is not read or damaged.
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as stream:
        data = stream.read(_MAGIC_BYTES)
        if not any(data.startswith(start) for start in _READERS):
            data += stream.read(most + 1 - len(data))
            if len(data) > most:
                raise _too_large(path, most)
            return data
    try:
        with open_input(path) as stream:
            data = stream.read(most + 1)
    except DAMAGED as error:
        raise InputError(
            f"{path}: the compressed file is cut off or damaged ({error}); copy it again"
        ) from None
    if len(data) > most:
        raise _too_large(path, most)
    return data


def read_text(path: Path, most: int = LARGEST_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark, as `read_bytes`.

    Raises
    ------
    InputError, OSError
        As `read_bytes`.
    UnicodeDecodeError
        If it is not UTF-8.
    """
    text = read_bytes(path, most).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_json(path: Path, most: int = LARGEST_TEXT) -> Any:
    """Read a JSON file, as `read_bytes` and `stores.nesting.load_json`.

    Raises
    ------
    InputError, OSError
        As `read_bytes`.
    ValueError
        If it is not JSON, or nested too deep.
    """
    return load_json(read_bytes(path, most))


def _too_large(path: Path, most: int) -> InputError:
    return InputError(f"{path}: larger than {most / 2**20:.3g} MiB; check that it is the right file")


class _Expanded(io.RawIOBase):
    """The content of a compressed file, up to the size that `open_input` allows."""

    def __init__(self, inner: BufferedReader, path: Path) -> None:
        self._inner, self._path = inner, path
        self._left = max(SMALL, LARGEST_RATIO * path.stat().st_size)

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
        super().close()
