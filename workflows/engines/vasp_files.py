"""VASP's output files in a folder, plain or compressed, also under the names custodian and atomate2 give."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from typing import TYPE_CHECKING, Any, cast

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import BufferedReader
    from pathlib import Path

DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What reading a compressed file that is cut off or damaged may raise."""

LARGEST_RATIO = 300
"""A file that expands to more than this many times its size is no output of VASP (LOCPOT: 5, vasprun: 20)."""

SMALL = 1 << 28
"""Files that expand to less than this (bytes) are read whatever their ratio."""

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

_ENDINGS = r"\.(?:gz|bz2|xz|lzma|z|zst|lz4|zip|7z)"
_SUFFIX = re.compile(rf"(?:\.(relax|static)(\d*))?({_ENDINGS})?", re.IGNORECASE)
_RUN = re.compile(rf"\.(relax|static)\d*(?=({_ENDINGS})?$)", re.IGNORECASE)


def find_file(directory: Path, name: str, like: Path | None = None) -> Path | None:
    """Find an output file of the last run in a folder.

    Custodian and atomate2 keep the files of a chain of runs as ``NAME.relax1.gz``, ``NAME.relax2.gz``,
    ``NAME.static.gz``. The plain name is the newest, then static runs, then relaxations from the last to the
    first.

    Parameters
    ----------
    directory
        Of the calculation.
    name
        Such as ``vasprun.xml``, ``OUTCAR``, ``LOCPOT``.
    like
        A file of the same run: only a file with its suffix belongs to it.

    Returns
    -------
    Path or None
        The file; None if there is none. An uncompressed file comes before its compressed twin.
    """
    wanted = None if like is None else run_suffix(like)
    names = (path.name for path in directory.glob(f"{name}*") if path.is_file())
    found = latest(names, name, wanted)
    return None if found is None else directory / found


def latest(names: Iterable[str], name: str, suffix: str | None = None) -> str | None:
    """Return the file name among `names` that `find_file` would choose; `suffix` is that of one run."""
    found = []
    for candidate in names:
        match = _SUFFIX.fullmatch(candidate[len(name) :]) if candidate.startswith(name) else None
        if match is None or (suffix is not None and _run_suffix(candidate) != suffix):
            continue
        kind, number, packed = match.groups()
        rank = {None: 0, "static": 1, "relax": 2}[kind.lower() if kind else None]
        found.append((rank, -int(number or 0), packed is not None, candidate))
    return min(found)[-1] if found else None


def run_suffix(path: Path) -> str:
    """Return what tells one run's files from another's in the same folder: "", ".relax1", ".static"."""
    return _run_suffix(path.name)


def _run_suffix(name: str) -> str:
    match = _RUN.search(name)
    return match[0].lower() if match else ""


def is_compressed(path: Path) -> bool:
    """Tell by its content whether a file is compressed in a way that `open_output` reads."""
    with path.open("rb") as stream:
        magic = stream.read(_MAGIC_BYTES)
    return any(magic.startswith(start) for start in _READERS)


def open_output(path: Path) -> BufferedReader:
    """Open a file for reading bytes, decompressed if its content is gzip, bzip2 or xz, whatever its name.

    Raises
    ------
    InputError
        If it cannot be opened, is empty or compressed in another way; while reading, if it expands beyond
        any output of VASP.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(_MAGIC_BYTES)
        if not magic:
            raise InputError(f"{path}: the file is empty; run the calculation again")
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


class _Expanded(io.RawIOBase):
    """The content of a compressed file, up to a size that no output of VASP has."""

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
                f"{self._path}: expands to more than {LARGEST_RATIO} times its size, which no output of VASP "
                "does; copy it again"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()
