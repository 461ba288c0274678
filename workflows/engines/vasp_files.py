"""VASP's output files in a folder, plain or compressed, also under the names custodian and atomate2 give."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, cast

from stores.errors import InputError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"

_SUFFIX = re.compile(r"(?:\.(relax|static)(\d*))?(?:\.gz)?", re.IGNORECASE)


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
    found = []
    wanted = None if like is None else run_suffix(like)
    for path in directory.glob(f"{name}*"):
        match = _SUFFIX.fullmatch(path.name[len(name) :])
        if match is None or not path.is_file() or (wanted is not None and run_suffix(path) != wanted):
            continue
        kind, number = match[1], match[2]
        rank = {None: 0, "static": 1, "relax": 2}[kind.lower() if kind else None]
        found.append((rank, -int(number or 0), path.suffix == ".gz", path))
    return min(found)[-1] if found else None


def run_suffix(path: Path) -> str:
    """Return what tells one run's files from another's in the same folder: "", ".relax1", ".static"."""
    match = re.search(r"\.(relax|static)\d*(?=(\.gz)?$)", path.name, re.IGNORECASE)
    return match[0].lower() if match else ""


def open_output(path: Path) -> BufferedReader:
    """Open a file for reading bytes, decompressed if its content is gzip, whatever its name.

    Raises
    ------
    InputError
        If it cannot be opened or is empty.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(2)
        if not magic:
            raise InputError(f"{path}: the file is empty; run the calculation again")
        # GzipFile reads as a BufferedReader does
        return cast("BufferedReader", gzip.open(path, "rb")) if magic == GZIP_MAGIC else path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; mend its permissions") from None
