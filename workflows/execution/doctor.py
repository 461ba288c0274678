"""Checks of `mgsurf doctor`: what a campaign needs on this machine.

GPAW is looked at through processes of its own and never imported here. VASP is not started: on many machines
that is allowed in jobs only.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import EngineError, MgsurfError, install_command, pluralize
from stores.settings_file import resolve_work_dir
from workflows.engines.gpaw.process import mpi_environment, mpirun_command, probe_gpaw

if TYPE_CHECKING:
    from collections.abc import Callable

GB = 1024**3
MIN_PYTHON = (3, 11)
# A campaign's raw files are some MB per facet; below the smaller figure SQLite cannot be relied on to commit.
DISK_WARN, DISK_FAIL = 2 * GB, 200 * 1024**2
# A slab of 60 atoms at the production preset takes about 3 GB.
MEMORY_WARN = 2 * GB
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"

MPI_SECONDS = 30.0
RANKS = 2  # ranks of the trial of MPI
MPI_PACKAGES = (
    *("libopenmpi-dev", "openmpi-bin", "libxc-dev", "libopenblas-dev", "libfftw3-dev"),
    "libscalapack-openmpi-dev",
)
_BUILD_GPAW = "make gpaw" if CONSTRAINTS.is_file() else install_command("gpaw")  # a wheel has no Makefile
MPI_REMEDY = f"sudo apt-get install -y {' '.join(MPI_PACKAGES)} && {_BUILD_GPAW}"
# The compiled part alone: gpaw.mpi would do the same after a second of imports.
# Each rank prints one character: mpirun mixes up the ranks' longer lines.
HELLO = "import gpaw.cgpaw as c; print(c.Communicator().size if c.have_mpi else 1)"

VASP_PACKAGES = ("atomate2", "custodian")
INSTALL_VASP = install_command("vasp")


class Status(StrEnum):
    """Outcome of a check: ok, warn (works, but not as well as it could), fail (fix it first)."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str  # what was looked at
    status: Status  # whether it is as it should be
    found: str  # what was found, in one line
    remedy: str = ""  # the fix, in one line; empty if none is needed


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Check that the Python that runs this is new enough."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    if version[:2] < MIN_PYTHON:
        return Check("Python", Status.FAIL, found, "make quickstart PYTHON=/path/to/python3.12")
    return Check("Python", Status.OK, found)


def read_constraints(path: Path) -> dict[str, str]:
    """Return the pinned version of each package in a constraints file, by normalised name.

    OSError if there is no such file, ValueError if a line is neither a comment nor ``name==version``.
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

    Without constraints.txt (an installed wheel) only presence is checked.
    """
    remedy = "make setup (or: pip install -c constraints.txt -e .)"
    if not constraints.is_file():
        remedy = "install the wheel of mgsurf again, with -c and the constraints.txt of its clone"
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
    """Check the value of OMP_NUM_THREADS, None if not set; the GPAW engine starts its processes with 1."""
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

    A trial file is made and removed; the folder need not exist yet.
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
    text = ""
    with suppress(OSError):
        text = meminfo.read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        return Check("memory", Status.OK, "this system does not report how much is available")
    available = int(match[1]) * 1024
    found = f"{available / GB:.1f} GB available, {os.cpu_count()} CPUs"
    if available < MEMORY_WARN:
        return Check("memory", Status.WARN, found, "end other programs, or use the demo preset and few ranks")
    return Check("memory", Status.OK, found)


def check_gpaw(python: str = sys.executable) -> Check:
    """Check that GPAW imports, and report its libraries."""
    gpaw = probe_gpaw(python)
    if isinstance(gpaw, str):
        return Check("GPAW", Status.FAIL, f"does not import: {gpaw}", _BUILD_GPAW)
    functional = f"libxc {gpaw.libxc}" if gpaw.libxc else "its own PBE (no libxc)"
    if not gpaw.mpi:
        return Check("GPAW", Status.WARN, f"{gpaw.version}, serial (slower), {functional}", MPI_REMEDY)
    return Check("GPAW", Status.OK, f"{gpaw.version}, with MPI, {functional}")


def check_setups(python: str = sys.executable) -> Check:
    """Check that GPAW finds its PAW data sets; that of Mg stands for all."""
    gpaw = probe_gpaw(python)
    if isinstance(gpaw, str):
        return Check("PAW setups", Status.FAIL, "cannot be looked up without GPAW", _BUILD_GPAW)
    if not gpaw.setups:
        return Check(
            "PAW setups",
            Status.FAIL,
            "GPAW finds no PBE data set of Mg",
            f"{python} -m pip install -c constraints.txt gpaw-data; unset GPAW_SETUP_PATH if it is set",
        )
    return Check("PAW setups", Status.OK, f"gpaw-data {gpaw.setups_version} in {Path(gpaw.setups[0])}")


def check_mpi() -> Check:
    """Check that mpirun starts ranks which GPAW sees as one parallel run."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        return Check("MPI", Status.WARN, "no mpirun in PATH; GPAW runs on one core", MPI_REMEDY)
    command = [*mpirun_command(mpirun, RANKS), sys.executable, "-P", "-c", HELLO]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=MPI_SECONDS,
            check=False,
            env=mpi_environment(dict(os.environ)),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("MPI", Status.FAIL, f"{mpirun} does not answer ({type(error).__name__})", MPI_REMEDY)
    if answer.returncode != 0:
        lines = [line for line in answer.stderr.splitlines() if line.strip() and not line.startswith("---")]
        errors = [line for line in lines if "Error" in line] or lines or ["no message"]
        reason = errors[0].strip()[:200]
        remedy = "MGSURF_RANKS=1 runs without MPI; try: " + " ".join([*command[:-2], "-c", "'print(1)'"])
        return Check("MPI", Status.FAIL, f"{RANKS} ranks do not start: {reason}", remedy)
    if "".join(answer.stdout.split()) != str(RANKS) * RANKS:
        return Check(
            "MPI", Status.WARN, f"{mpirun} starts {RANKS} ranks, but GPAW was built without MPI", _BUILD_GPAW
        )
    return Check("MPI", Status.OK, f"{RANKS} ranks by {mpirun}")


def check_vasp_packages() -> Check:
    """Check that atomate2 and custodian are installed."""
    missing = [name for name in VASP_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("VASP packages", Status.FAIL, f"missing: {', '.join(missing)}", INSTALL_VASP)
    return Check("VASP packages", Status.OK, " and ".join(VASP_PACKAGES))


def check_vasp_command() -> Check:
    """Check that the command which starts VASP is there."""
    if check_vasp_packages().status is Status.FAIL:
        return Check("VASP command", Status.FAIL, "cannot be looked up without custodian", INSTALL_VASP)
    from workflows.engines.vasp.custodian import SET_UP, RunControl, vasp_command

    try:
        words = vasp_command(RunControl())
    except EngineError as error:
        return Check("VASP command", Status.FAIL, str(error).partition(": set ")[0], SET_UP)
    return Check("VASP command", Status.OK, " ".join(words))


def check_potcars() -> Check:
    """Check the POTCARs: that of Mg stands for all, and count those of the table that are there."""
    from workflows.engines.vasp.potcars import POTCAR_LABELS, SET_UP, potcar_folder, read_potcar

    try:
        magnesium = read_potcar("Mg", POTCAR_LABELS["Mg"])
    except EngineError as error:
        return Check("POTCARs", Status.FAIL, str(error).partition(": set ")[0], SET_UP)
    missing: list[str] = []
    wrong: list[str] = []
    for element, label in POTCAR_LABELS.items():
        try:
            read_potcar(element, label)
        except EngineError as error:
            (missing if "no POTCAR" in str(error) else wrong).append(label)
    others = len(POTCAR_LABELS) - len(missing) - len(wrong) - 1
    found = f"{magnesium.title} and {others} others in {potcar_folder()}"
    if wrong:
        return Check("POTCARs", Status.WARN, f"{found}; unusable: {', '.join(wrong)}", "copy these again")
    return Check("POTCARs", Status.OK, found)


def check_engine(engine: str) -> Check:
    """Check that an engine other than GPAW can be made."""
    from workflows.engines.registry import make_engine

    try:
        made = make_engine(engine)
    except MgsurfError as error:
        return Check("engine", Status.FAIL, str(error), "name a known engine or install its package")
    return Check("engine", Status.OK, f"{made.name}, preset {made.method().preset}")


def check_potentials() -> Check:
    """Check that the packages of the engine mlip's potentials are installed."""
    from stores.errors import install_command
    from workflows.engines.mlip.potentials import PRESETS, package_version

    found, missing = [], []
    for preset, potential in PRESETS.items():
        try:
            found.append(f"{preset} ({package_version(preset)})")
        except MgsurfError:
            missing.append(f"{preset} (no {potential.package})")
    if not missing:
        return Check("potentials", Status.OK, ", ".join(found))
    status = Status.WARN if found else Status.FAIL
    return Check("potentials", status, ", ".join(found + missing), install_command("foundation"))


def check_store(uri: str) -> Check:
    """Check that a store opens, count what it holds, and report whether it can be written.

    An SQLite file that does not exist yet is not made.
    """
    from stores.connections import open_store, parse_uri

    try:
        place = parse_uri(uri)
        if place.kind == "sqlite" and not Path(place.target).exists():
            return Check("store", Status.OK, f"{place.target} does not exist yet; the first run makes it")
        began = time.monotonic()
        # opening a MongoDB database that holds nothing yet makes nothing there
        with open_store(uri, must_exist=place.kind == "sqlite") as store:
            count = store.count()
            found = f"{store.uri} opens, {pluralize(count, 'surface')}"
        found += f", answered in {(time.monotonic() - began) * 1000:.0f} ms"
    except MgsurfError as error:
        return Check("store", Status.FAIL, " ".join(str(error).split()), "name another store with --store")
    if place.kind == "sqlite":
        from stores.backends.collection import SCHEMA_VERSION

        found += f", schema version {SCHEMA_VERSION}"
        if not os.access(place.target, os.W_OK):
            remedy = f"chmod u+w '{place.target}'"
            return Check("store", Status.WARN, f"{found}; it can only be read", remedy)
    return Check("store", Status.OK, found)


def _store_folder_check(uri: str) -> dict[str, Callable[[], Check]]:
    from stores.connections import parse_uri

    try:
        place = parse_uri(uri)
    except MgsurfError:
        return {}  # check_store names what is wrong with it
    if place.kind != "sqlite":
        return {}
    return {"store folder": lambda: check_folder("store folder", Path(place.target).parent)}


_GPAW_CHECKS: dict[str, Callable[[], Check]] = {
    "GPAW": check_gpaw,
    "PAW setups": check_setups,
    "MPI": check_mpi,
}
"""Checks that start processes and wait for them."""

_VASP_CHECKS: dict[str, Callable[[], Check]] = {
    "VASP packages": check_vasp_packages,
    "VASP command": check_vasp_command,
    "POTCARs": check_potcars,
}


def run_checks(
    store_uri: str | None = None, work_dir: Path | None = None, engine: str = "gpaw"
) -> list[Check]:
    """Check everything a campaign needs.

    Parameters
    ----------
    store_uri
        Store of the campaign; None for the default of commands.
    work_dir
        Folder of the calculations; None for the default one.
    engine
        Name of the engine; ``gpaw``, ``mlip`` and ``vasp`` have checks of their own. With ``gpaw``, the
        default, VASP is checked too where it is set up.

    Returns
    -------
    list of Check
        In a fixed order. A check that itself breaks comes back as failed; nothing is raised.
    """
    from stores.connections import resolve_store_uri

    try:
        uri = resolve_store_uri(store_uri)
    except MgsurfError:
        uri = store_uri or os.environ.get("MGSURF_STORE") or ""  # check_store names what is wrong with it
    checks: dict[str, Callable[[], Check]] = {
        "Python": check_python,
        "packages": check_packages,
        **_engine_checks(engine),
        "OMP_NUM_THREADS": lambda: check_threads(os.environ.get("OMP_NUM_THREADS")),
        "store": lambda: check_store(uri),
        **_store_folder_check(uri),
        "work folder": lambda: check_folder("work folder", resolve_work_dir(work_dir)),
        "memory": check_memory,
    }
    # Most of the time goes into waiting for GPAW and mpirun to start. The other checks import packages, which
    # threads must not do side by side: one of them meets a package that another has imported in part.
    with ThreadPoolExecutor(max_workers=len(_GPAW_CHECKS)) as pool:
        waiting = {n: pool.submit(_guarded, n, check) for n, check in checks.items() if n in _GPAW_CHECKS}
        found = {n: _guarded(n, check) for n, check in checks.items() if n not in waiting}
    found |= {name: check.result() for name, check in waiting.items()}
    return [found[name] for name in checks]


def _engine_checks(engine: str) -> dict[str, Callable[[], Check]]:
    if engine == "vasp":
        return _VASP_CHECKS
    if engine == "mlip":
        return {"potentials": check_potentials}
    if engine != "gpaw":
        return {"engine": lambda: check_engine(engine)}
    # of this machine, because a command or a folder of POTCARs is named
    uses_vasp = os.environ.get("MGSURF_VASP_CMD") or os.environ.get("PMG_VASP_PSP_DIR")
    return _GPAW_CHECKS | (_VASP_CHECKS if uses_vasp else {})


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except MgsurfError as error:
        return Check(name, Status.FAIL, " ".join(str(error).split()), "see the message")
    except Exception as error:  # noqa: BLE001 - a broken check must not hide the others
        found = f"internal error in check: {type(error).__name__}: {' '.join(str(error).split())}"
        return Check(name, Status.FAIL, found, "report this as a bug of mgsurf")


def worst(checks: list[Check]) -> Status:
    """Return the gravest status of a list of checks."""
    order = [Status.OK, Status.WARN, Status.FAIL]
    return max((check.status for check in checks), key=order.index, default=Status.OK)
