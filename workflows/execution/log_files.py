"""The text files of a calculation: which of them tells how far it is, its end, and what is added to it."""

from __future__ import annotations

import json
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, MgsurfError
from stores.input_files import DAMAGED, is_compressed, open_input
from stores.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOGS = ("gpaw*.txt", "OSZICAR*", "OUTCAR*", "vasp.out*", "*.log", "*.out", "*.txt")
"""Logs of engines, in the order in which they are looked for; of several the newest."""

ERRORS = ("traceback.txt", "error-*.txt", "worker.err", "std_err.txt*", "queue.err", "*.err")
"""Files that hold the end of a program that failed."""

POLL = 0.5  # s between two looks at a file that is followed
LONGEST_LINE = 2000
CHUNK = 1 << 20  # bytes of a file that are read at once


def log_of(directory: Path, name: str | None = None) -> Path:
    """Return the file of a calculation that shows how far it is, or the one with a name.

    A relaxation of a bulk crystal has a folder for each run: the newest counts.

    Raises
    ------
    InputError
        If there is no such folder or file; it lists the files that are there.
    """
    if not directory.is_dir():
        raise InputError(
            f"{directory}: the folder of raw files is gone or on another machine; only the record is kept"
        )
    files = [
        path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.startswith(".")
    ]
    if name is not None:
        for path in files:
            if name in (path.name, str(path.relative_to(directory))):
                return path
        there = ", ".join(str(path.relative_to(directory)) for path in files) or "nothing"
        raise InputError(f"--file {name}: no such file in {directory}; there is {there}")
    errors = {path for pattern in ERRORS for path in files if path.match(pattern)}
    logs = [path for path in files if path not in errors and not _is_archived(path, directory)]
    for pattern in LOGS:
        if found := [path for path in logs if path.match(pattern) and path.stat().st_size]:
            return max(found, key=lambda path: path.stat().st_mtime)
    if found := [path for path in errors if path.stat().st_size]:
        return max(found, key=lambda path: path.stat().st_mtime)
    there = ", ".join(str(path.relative_to(directory)) for path in files)
    raise InputError(
        f"{directory}: no log{f'; --file shows one of {there}' if there else ', the folder is empty'}"
    )


def _is_archived(path: Path, directory: Path) -> bool:
    """Whether a file belongs to an earlier attempt."""
    return any(part.startswith(("attempt_", "other_")) for part in path.relative_to(directory).parts[:-1])


def errors_in(directory: Path) -> list[Path]:
    """Return the files that hold what programs wrote when they failed, those with content."""
    found = [path for pattern in ERRORS for path in sorted(directory.rglob(pattern)) if path.is_file()]
    return [
        path for path in dict.fromkeys(found) if path.stat().st_size and not _is_archived(path, directory)
    ]


def tail(path: Path, lines: int, *, whole: bool = False) -> tuple[list[str], int]:
    """Return the last lines of a file, compressed or not, printable and without secrets.

    With `whole` a last line without its end is left out. The number is the position after the lines (bytes),
    from which `follow` continues.
    """
    try:
        size = path.stat().st_size
        if not size:
            return [], 0
        packed = is_compressed(path)
        position = 0 if packed else max(0, size - lines * LONGEST_LINE)
        with open_input(path) as stream:
            if position:
                stream.seek(position)
            kept: deque[bytes] = deque(maxlen=lines)
            for line in iter(partial(stream.readline, CHUNK), b""):
                kept.append(line)
                position += len(line)
    except DAMAGED as error:
        raise InputError(f"{path}: cannot be read: {error}; --file shows another file") from None
    if whole and kept and not packed and not kept[-1].endswith(b"\n"):
        position -= len(kept.pop())
    return clean(b"".join(kept).decode("utf-8", "replace")), size if packed else position


def all_lines(path: Path) -> Iterator[str]:
    """Yield all lines of a file as `tail` returns its last; a file of any size is never held as a whole."""
    try:
        if not path.stat().st_size:
            return
        with open_input(path) as stream:
            rest = b""
            while added := stream.read(CHUNK):
                whole, newline, rest = (rest + added).rpartition(b"\n")
                yield from clean((whole + newline).decode("utf-8", "replace"))
            yield from clean(rest.decode("utf-8", "replace"))
    except DAMAGED as error:
        raise InputError(f"{path}: cannot be read: {error}; --file shows another file") from None


def clean(text: str) -> list[str]:
    """Return the lines of a text without secrets and without characters that a terminal would obey."""
    return [
        _printable(line[:LONGEST_LINE].rstrip("\r"))
        for line in masked(text).removesuffix("\n").split("\n")
        if text
    ]


def _printable(shown: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in shown)


def corrections(directory: Path) -> list[str]:
    """Return what custodian changed after errors of VASP, one line for each correction."""
    found = []
    for path in sorted(directory.rglob("custodian.json*")):
        try:
            with open_input(path) as stream:
                runs: list[dict[str, Any]] = json.loads(stream.read(1 << 22))
            changes = [change for run in runs for change in run.get("corrections") or []]
            found += [
                f"custodian: {', '.join(map(_words, change.get('errors') or ['?']))}: "
                + "; ".join(_words(action) for action in change.get("actions") or ["stopped"])
                for change in changes
            ]
        except (*DAMAGED, MgsurfError, AttributeError, TypeError):
            continue  # being written
    return found


def _words(value: Any) -> str:
    return _printable(masked(value if isinstance(value, str) else json.dumps(value)))


def follow(path: Path, position: int, latest: Callable[[], Path], ended: Callable[[], bool]) -> Iterator[str]:
    """Yield lines as they are added to a file, and those of a later file that takes its place.

    Parameters
    ----------
    path, position
        The file, and where to begin (bytes).
    latest
        Returns the file that shows how far the calculation is now.
    ended
        Whether the calculation has ended; what was written until then is still yielded.
    """
    rest = b""
    while True:
        over = ended()  # checked first, so that nothing written before it is lost
        try:
            size = path.stat().st_size
            if size < position:
                yield f"-- {path.name} begins again --"
                position, rest = 0, b""
            with path.open("rb") as file:
                file.seek(position)
                added = file.read(CHUNK)
        except OSError:
            added = b""  # moved away by a later attempt
        position += len(added)
        # a letter of several bytes may be written in two pieces: lines are decoded as a whole
        whole, newline, rest = (rest + added).rpartition(b"\n")
        yield from clean((whole + newline).decode("utf-8", "replace"))
        if len(added) == CHUNK:
            continue
        if over:
            yield from clean(rest.decode("utf-8", "replace"))
            return
        try:
            newest = latest()
            moved = newest != path and not is_compressed(newest)
        except (MgsurfError, OSError):  # files are moved away while they are listed
            moved = False
        if moved:
            yield from clean(rest.decode("utf-8", "replace"))
            yield f"-- {newest.name} --"
            path, position, rest = newest, 0, b""
        time.sleep(POLL)
