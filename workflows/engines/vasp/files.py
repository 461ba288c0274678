"""Names of VASP's output files in a folder, plain or compressed, also those custodian and atomate2 give."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

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
