"""Restart where an earlier attempt in the same folder ended."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import EngineError, MgsurfError
from stores.files import process_start, replacing, write_file
from stores.input_files import DAMAGED, LARGEST_TEXT, is_compressed, open_input, read_object
from workflows.engines.protocol import TASK_FILE
from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.vasprun import read_vasprun

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure

NOTE = "mgsurf.json"  # note on a folder: hash of its task, order of the atoms, status
PID = "vasp.pid"  # host, process and its start, of the VASP that runs in the folder

RESTART_FILES = ("WAVECAR", "CHGCAR")
KEPT = (NOTE, PID, TASK_FILE, ".lock")
SECONDS_TO_END = 20.0

CLOSEST = 0.5  # a geometry with atoms closer than this (A) is damaged, not relaxed


def read_note(directory: Path) -> dict[str, Any]:
    """Return the note on a folder; empty if none is readable."""
    return read_object(directory / NOTE)


def write_note(directory: Path, note: dict[str, Any]) -> None:
    """Note the purpose of a folder, whole or not at all."""
    write_file(directory / NOTE, json.dumps(note), alone=True)


def ends_whole(directory: Path) -> bool:
    """Return whether vasprun.xml was written to its end."""
    return _ends_with(directory, "vasprun.xml", b"</modeling>", 200)


def ended_by_itself(directory: Path) -> bool:
    """Return whether VASP came to its end, so that its WAVECAR and CHGCAR are whole."""
    return _ends_with(directory, "OUTCAR", b"General timing and accounting", 5000)


def _ends_with(directory: Path, name: str, words: bytes, length: int) -> bool:
    """Return whether words stand in the last `length` bytes of a file, compressed or not."""
    path = find_file(directory, name)
    if path is None:
        return False
    tail = b""
    try:
        with open_input(path) as stream:
            if not is_compressed(path):
                stream.seek(max(0, path.stat().st_size - length))
            while block := stream.read(1 << 20):
                tail = (tail + block)[-length:]
    except (*DAMAGED, MgsurfError):
        return False
    return words in tail


def attempts(directory: Path) -> list[Path]:
    """Return the folders of earlier attempts, the oldest first."""
    numbered = {path: path.name.removeprefix("attempt_") for path in directory.glob("attempt_*")}
    return sorted((p for p, n in numbered.items() if n.isdigit()), key=lambda p: int(numbered[p]))


def archive_attempt(directory: Path) -> None:
    """Move an earlier attempt's files, if any, to ``attempt_N`` below their folder, compressed.

    WAVECAR and CHGCAR stay for the next attempt if VASP came to its end, else they are removed: a run that
    was killed leaves them empty or half written.
    """
    files = [
        path
        for path in directory.iterdir()
        if path.is_file() and path.name not in (*KEPT, *RESTART_FILES) and not path.name.startswith(NOTE)
    ]
    if find_file(directory, "OUTCAR") is not None and not ended_by_itself(directory):
        for name in RESTART_FILES:
            for path in (directory / name, directory / f"{name}.gz"):
                path.unlink(missing_ok=True)
    if not any(path.name.startswith(("INCAR", "OUTCAR", "vasprun.xml")) for path in files):
        return
    known = attempts(directory)
    last = int(known[-1].name.removeprefix("attempt_")) if known else 0
    archive = directory / f"attempt_{last + 1}"
    archive.mkdir()
    for path in files:
        path.replace(archive / path.name)
    compress(archive)


def discard_task(directory: Path) -> None:
    """Move what another task left in a folder to where no restart looks for it."""
    archive_attempt(directory)
    for path in attempts(directory):
        number = 1
        while (old := directory / f"other_{number}").exists():
            number += 1
        path.rename(old)
    for name in RESTART_FILES:
        (directory / name).unlink(missing_ok=True)


def compress(directory: Path) -> None:
    """Compress the files of a folder in place, one by one, but for the note and the restart files."""
    for path in sorted(directory.iterdir()):
        done = path.suffix == ".gz" or path.name in (*KEPT, *RESTART_FILES) or path.name.startswith(NOTE)
        if done or not path.is_file() or path.is_symlink():
            continue
        # level 1: a LOCPOT of 100 MB in a second or two, a tenth larger than at level 6
        with (
            replacing(path.with_name(f"{path.name}.gz"), alone=True) as packed,
            path.open("rb") as plain,
            packed.open("wb") as raw,
            gzip.GzipFile(path.name, "wb", compresslevel=1, fileobj=raw) as stream,
        ):
            shutil.copyfileobj(plain, stream, 1 << 20)
        path.unlink()


def last_geometry(directory: Path, like: Structure) -> Structure | None:
    """Return the geometry that the attempts in a folder had reached; None if nothing usable is there.

    The folder's own files come first, then those of its latest ``attempt_N``. In each: CONTCAR if it is
    whole, else the last complete ionic step of vasprun.xml or XDATCAR, else the POSCAR that the attempt
    started from (custodian may have put a later geometry there). Species and site properties are those of
    `like`.
    """
    places = [directory, *reversed(attempts(directory))]
    readers: list[Callable[[Path, Structure], Structure | None]]
    readers = [partial(_from_poscar, "CONTCAR"), _vasprun, _xdatcar, partial(_from_poscar, "POSCAR")]
    for place, read in product(places, readers):
        try:
            found = read(place, like)
        except Exception:  # noqa: BLE001 - whatever is wrong with a damaged file, the next one is tried
            found = None
        if found is not None and _is_sound(found, like):
            return found.copy(site_properties=like.site_properties)
    return None


def _is_sound(found: Structure, like: Structure) -> bool:
    return (
        [site.specie.symbol for site in found] == [site.specie.symbol for site in like]
        and bool(np.isfinite(found.frac_coords).all())
        and 0.3 < found.volume / like.volume < 3.0
        and (len(found) == 1 or bool(found.is_valid(tol=CLOSEST)))
    )


def _text(directory: Path, name: str) -> str | None:
    path = find_file(directory, name)
    if path is None or path.stat().st_size == 0:
        return None
    with open_input(path) as stream:
        return stream.read(LARGEST_TEXT).decode("utf-8", "replace")


def _from_poscar(name: str, directory: Path, like: Structure) -> Structure | None:
    from pymatgen.io.vasp.inputs import Poscar

    text = _text(directory, name)
    # a last line without its end may stop within a number
    return None if text is None else Poscar.from_str(text[: text.rfind("\n") + 1]).structure


def _vasprun(directory: Path, like: Structure) -> Structure | None:
    from pymatgen.core import Structure

    path = find_file(directory, "vasprun.xml")
    data = None if path is None else read_vasprun(path)
    if data is None or not data.steps or data.final is None:
        return None
    return Structure(data.final.lattice, like.species, data.final.positions)


def _xdatcar(directory: Path, like: Structure) -> Structure | None:
    from pymatgen.core import Structure

    lines = (_text(directory, "XDATCAR") or "").splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Direct configuration")]
    n = len(like)
    # the last configuration counts only if its last line is complete
    for start in reversed(starts):
        rows = [line.split() for line in lines[start + 1 : start + 1 + n]]
        if len(rows) == n and all(len(row) == 3 and len(row[-1]) >= 8 for row in rows):
            # a relaxation of the cell repeats the header (seven lines) before every configuration
            counts = lines[start - 1].split() if start >= 7 else []
            head = start - 7 if counts and all(word.isdigit() for word in counts) else 0
            scale = float(lines[head + 1])
            cell = [[scale * float(word) for word in lines[head + i].split()] for i in (2, 3, 4)]
            return Structure(cell, like.species, [[float(word) for word in row] for row in rows])
    return None


def note_process(directory: Path, pid: int) -> None:
    """Note which process runs VASP in a folder."""
    plain = {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}
    (directory / PID).write_text(json.dumps(plain), encoding="utf-8")


def end_orphan(directory: Path) -> None:
    """End a VASP that an earlier, killed mgsurf left running in a folder: two would write the same files.

    Only a process of this host with the noted start time is ended; EngineError if it does not end.
    """
    noted = read_object(directory / PID)
    try:
        pid, started = int(noted["pid"]), noted["started"]
    except (ValueError, KeyError, TypeError):
        return
    if noted.get("host") != socket.gethostname() or not started or process_start(pid) != started:
        (directory / PID).unlink(missing_ok=True)
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(pid, sign)  # VASP is started as the leader of a group of its own
        limit = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < limit:
            if process_start(pid) != started:
                (directory / PID).unlink(missing_ok=True)
                return
            time.sleep(0.1)
    raise EngineError(
        f"vasp: process {pid}, left over from an earlier run in {directory}, does not end; end it by hand"
    )
