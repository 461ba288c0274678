"""Names of VASP's output files in a folder, plain or compressed, also those custodian and atomate2 give."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ENDING = r"(?:\.(?:gz|bz2|xz|lzma|z|zst|lz4|zip|7z))?"
_SUFFIX = re.compile(rf"(\.(relax|static)(\d*))?({_ENDING})", re.IGNORECASE)
_RUN = re.compile(rf"(\.(?:relax|static)\d*)?{_ENDING}$", re.IGNORECASE)


def find_file(directory: Path, name: str, like: Path | None = None) -> Path | None:
    """Find an output file of the last run in a folder; None if there is none.

    Custodian and atomate2 keep the files of a chain of runs as ``NAME.relax1.gz``, ``NAME.relax2.gz``,
    ``NAME.static.gz``. The plain name is the newest, then static runs, then relaxations from the last to the
    first. An uncompressed file comes before its compressed twin. With a file `like`, only a file of the same
    run counts.
    """
    run = _RUN.search(like.name) if like is not None else None
    names = (path.name for path in directory.glob(f"{name}*") if path.is_file())
    found = latest(names, name, (run[1] or "").lower() if run else None)
    return None if found is None else directory / found


def latest(names: Iterable[str], name: str, run: str | None = None) -> str | None:
    """Return the file name among `names` that `find_file` would choose; `run` is such as ".relax1"."""
    found = []
    for candidate in names:
        match = _SUFFIX.fullmatch(candidate[len(name) :]) if candidate.startswith(name) else None
        if match is None or (run is not None and (match[1] or "").lower() != run):
            continue
        rank = {"": 0, "static": 1, "relax": 2}[(match[2] or "").lower()]
        found.append((rank, -int(match[3] or 0), match[4] != "", candidate))
    return min(found)[-1] if found else None
