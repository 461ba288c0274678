"""Checks of the machine: Python, packages, threads, folders, disk and memory."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

GB = 1024**3
MIN_PYTHON = (3, 11)
# A campaign's raw files are some MB per facet; below the smaller figure SQLite cannot be relied on to commit.
DISK_WARN, DISK_FAIL = 2 * GB, 200 * 1024**2
# A slab of 60 atoms at the production preset takes about 3 GB.
MEMORY_WARN = 2 * GB
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"


class Status(StrEnum):
    """Outcome of a check: ok, warn (works, but not as well as it could), fail (fix it first)."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name
        What was looked at.
    status
        Whether it is as it should be.
    found
        What was found, in one line.
    remedy
        The fix, in one line; empty if none is needed.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Check that the Python that runs this is new enough."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    if version[:2] < MIN_PYTHON:
        return Check("Python", Status.FAIL, found, "make quickstart PYTHON=/path/to/python3.12")
    return Check("Python", Status.OK, found)


def read_constraints(path: Path) -> dict[str, str]:
    """Return the pinned version of each package in a constraints file, by normalised name.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a line is neither a comment nor ``name==version``.
    """
    pins = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        name, separator, version = content.partition("==")
        if not (separator and name and version):
            raise ValueError(f"{path}, line {number}: {content!r} is not of the form name==version")
        pins[_normalised(name)] = version
    return pins


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_packages(constraints: Path = CONSTRAINTS, distribution: str = "mgsurf") -> Check:
    """Check that the packages that mgsurf needs are there, in the versions tried together.

    Parameters
    ----------
    constraints
        constraints.txt; where it is not there (an installed wheel), only presence is checked.
    distribution
        The distribution whose requirements are looked up.
    """
    remedy = "make setup (or: pip install -c constraints.txt -e .)"
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return Check("packages", Status.WARN, f"{distribution} itself is not installed", remedy)
    names = [
        _normalised(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
        for requirement in requirements
        if ";" not in requirement  # extras, and what only some systems need
    ]
    try:
        pins = read_constraints(constraints)
    except OSError:
        pins = {}
    missing, different = [], []
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if name in pins and version != pins[name]:
            different.append(f"{name} {version} (pinned {pins[name]})")
    if missing:
        return Check("packages", Status.FAIL, f"missing: {', '.join(missing)}", remedy)
    if different:
        return Check("packages", Status.WARN, f"not the versions tried: {', '.join(different)}", remedy)
    return Check("packages", Status.OK, f"all {len(names)} there{', versions as pinned' if pins else ''}")


def check_threads(value: str | None) -> Check:
    """Check OMP_NUM_THREADS.

    Parameters
    ----------
    value
        Its value, None if it is not set. The GPAW engine starts its own processes with 1 in any case.
    """
    if value in (None, ""):
        return Check("OMP_NUM_THREADS", Status.OK, "not set; the GPAW engine runs with 1")
    if value == "1":
        return Check("OMP_NUM_THREADS", Status.OK, "1")
    return Check(
        "OMP_NUM_THREADS",
        Status.WARN,
        f"{value}; threads on top of MPI ranks make DFT 4 to 5 times slower (the GPAW engine overrules it)",
        "export OMP_NUM_THREADS=1",
    )


def check_folder(name: str, folder: Path) -> Check:
    """Check that a folder, or the nearest one above it that exists, can be written and has room.

    Nothing is left behind: a trial file is made and removed.

    Parameters
    ----------
    name
        What the folder is for.
    folder
        The folder; it need not exist yet.
    """
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return Check(name, Status.FAIL, f"{existing} is a file, not a folder", "name another folder")
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".mgsurf-doctor-") as trial:
            trial.write(b"x" * 4096)
            trial.flush()
    except OSError as error:
        return Check(
            name,
            Status.FAIL,
            f"{existing} cannot be written: {error.strerror}",
            f"chmod u+w '{existing}', free some space, or name another folder",
        )
    free = shutil.disk_usage(existing).free
    found = f"{folder} writable, {free / GB:.1f} GB free"
    if free < DISK_WARN:
        status = Status.FAIL if free < DISK_FAIL else Status.WARN
        return Check(name, status, found, "free some disk space or name a folder on another disk")
    return Check(name, Status.OK, found)


def check_memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    """Check the memory that is available now."""
    try:
        text = meminfo.read_text(encoding="ascii")
    except OSError:
        return Check("memory", Status.OK, "this system does not say how much is available")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        return Check("memory", Status.OK, "this system does not say how much is available")
    available = int(match[1]) * 1024
    found = f"{available / GB:.1f} GB available, {os.cpu_count()} CPUs"
    if available < MEMORY_WARN:
        return Check("memory", Status.WARN, found, "end other programs, or use the demo preset and few ranks")
    return Check("memory", Status.OK, found)
