"""Install GPAW into the virtual environment of the running Python, with MPI where the machine allows.

`make` calls ``python -m workflows.engines.install_gpaw`` from the repository's root. Standard library
only: this may run before any dependency is there. GPAW is asked only through processes of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from stores.errors import EngineError
from workflows.engines.pip_runner import (
    clean_environment,
    environment_lock,
    one_line_errors,
    pinned_environment,
    pip,
    remove_half_installed,
    run_logged,
)

MPI_PACKAGES = (
    "libopenmpi-dev",
    "openmpi-bin",
    "libxc-dev",
    "libopenblas-dev",
    "libfftw3-dev",
    "libscalapack-openmpi-dev",
)
MPI_LIBRARIES = ("xc", "fftw3", "openblas", "scalapack-openmpi")
MPI_SITECONFIG = f"""\
mpi = True
compiler = 'mpicc'
fftw = True
scalapack = True
libraries = {list(MPI_LIBRARIES)!r}
"""
# MGSURF_GPAW_MPI=0 asks for the serial build where MPI would be possible.
MPI_SWITCH = "MGSURF_GPAW_MPI"

PROBE = """\
import json, importlib.metadata as m
import gpaw, gpaw.cgpaw as c
from pathlib import Path
setups = [str(p) for p in gpaw.setup_paths if any(Path(p).glob('Mg.*PBE*'))]
print(json.dumps({'version': m.version('gpaw'), 'setups_version': m.version('gpaw-data'), 'setups': setups,
                  'mpi': bool(getattr(c, 'have_mpi', False)), 'libxc': getattr(c, 'libxc_version', None)}))
"""


@dataclass(frozen=True)
class Machine:
    """What decides how GPAW can be built here."""

    can_apt: bool  # root, and apt-get is there
    compiler: str | None  # C++ compiler
    mpi_compiler: str | None
    libraries: frozenset[str]  # those the linker finds
    python_headers: bool
    python_dev: str  # the apt package that holds the headers
    wants_mpi: bool = True


@dataclass(frozen=True)
class Build:
    """How GPAW is to be built."""

    mpi: bool
    siteconfig: str
    apt_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstalledGpaw:
    """The GPAW that imports in this environment."""

    version: str
    setups_version: str
    mpi: bool
    libxc: str | None
    setups: tuple[str, ...]


def plan_build(machine: Machine) -> Build:
    """Decide how to build GPAW.

    Parameters
    ----------
    machine
        What is there.

    Returns
    -------
    Build
        With MPI when its parts are there or apt may fetch them, else serial.

    Raises
    ------
    EngineError
        If neither a compiler nor root is there; the message holds the exact line to type.
    """
    basics = (() if machine.compiler else ("g++",)) + (
        () if machine.python_headers else (machine.python_dev,)
    )
    has_mpi_parts = machine.mpi_compiler is not None and machine.libraries.issuperset(MPI_LIBRARIES)
    if machine.wants_mpi and has_mpi_parts and not basics:
        return Build(mpi=True, siteconfig=MPI_SITECONFIG)
    if machine.wants_mpi and machine.can_apt:
        return Build(mpi=True, siteconfig=MPI_SITECONFIG, apt_packages=basics + MPI_PACKAGES)
    if basics and not machine.can_apt:
        missing = " and ".join(
            name
            for name, there in (
                ("a C++ compiler", machine.compiler),
                ("Python's header files", machine.python_headers),
            )
            if not there
        )
        raise EngineError(
            f"GPAW has to be compiled, and {missing} cannot be found. Type: "
            f"sudo apt-get install -y {' '.join(basics)}   and then the same command again."
        )
    return serial_build(machine, basics)


def serial_build(machine: Machine, apt_packages: tuple[str, ...] = ()) -> Build:
    """Return the build without MPI: libxc and BLAS where the linker finds them.

    Without libxc GPAW uses the PBE of its own, without BLAS scipy's.
    """
    compiler = machine.compiler or "g++"
    blas = next((name for name in ("openblas", "blas") if name in machine.libraries), None)
    libraries = [name for name in ("xc", blas) if name is not None and name in machine.libraries]
    lines = [f"compiler = {compiler!r}", "mpi = False", f"libraries = {libraries!r}"]
    # GPAW tests both libraries with one link command, so a missing one would switch off the other.
    if blas is None:
        lines.append("noblas = True")
    if "xc" not in machine.libraries:
        lines.append("nolibxc = True")
    return Build(mpi=False, siteconfig="\n".join(lines) + "\n", apt_packages=apt_packages)


def look_at_machine() -> Machine:
    """Find out what decides the build here."""
    compiler = next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), None)
    asked = ("xc", "fftw3", "openblas", "blas", "scalapack-openmpi")
    found = frozenset(name for name in asked if compiler and links(compiler, name))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = Path("/usr/bin/python3")
    is_system = system.exists() and system.resolve() == Path(sys.executable).resolve()
    return Machine(
        can_apt=os.geteuid() == 0 and shutil.which("apt-get") is not None,
        compiler=compiler,
        mpi_compiler="mpicc" if shutil.which("mpicc") and shutil.which("mpirun") else None,
        libraries=found,
        python_headers=Path(sysconfig.get_path("include"), "Python.h").is_file(),
        python_dev="python3-dev" if is_system else f"{version}-dev",
        wants_mpi=os.environ.get(MPI_SWITCH, "1") != "0",
    )


def links(compiler: str, library: str) -> bool:
    """Tell whether a compiler can link against a library, by trying."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text("int main() { return 0; }\n", encoding="utf-8")
        command = [compiler, str(source), "-o", str(Path(folder, "probe")), f"-l{library}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def installed_gpaw() -> InstalledGpaw | None:
    """Return what GPAW of this environment says of itself, or None where it does not import."""
    environment = clean_environment() | {"OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-P", "-c", PROBE], capture_output=True, text=True, check=False, env=environment
    )
    if answer.returncode != 0:
        return None
    found = json.loads(answer.stdout.splitlines()[-1])
    return InstalledGpaw(**{**found, "setups": tuple(found["setups"])})


def pinned_versions(pyproject: Path) -> dict[str, str]:
    """Return the versions of gpaw and gpaw-data that pyproject.toml's extra `gpaw` pins."""
    extras = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return dict(requirement.split("==") for requirement in extras["gpaw"])


def is_sufficient(found: InstalledGpaw | None, pins: dict[str, str], *, mpi_possible: bool) -> bool:
    """Tell whether an installed GPAW is the pinned one and as parallel as it can be."""
    return (
        found is not None
        and found.version == pins["gpaw"]
        and found.setups_version == pins["gpaw-data"]
        and bool(found.setups)
        and (found.mpi or not mpi_possible)
    )


def install(venv: Path) -> None:
    """Install the pinned GPAW and its setups unless they are there.

    Parameters
    ----------
    venv
        The virtual environment; its log folder takes the output of apt, pip and the compiler.

    Raises
    ------
    EngineError
        If it cannot be built, in one line with what to do.
    """
    pins = pinned_versions(Path("pyproject.toml"))
    with environment_lock(venv) as lock:
        found = installed_gpaw()
        if is_sufficient(found, pins, mpi_possible=False) and found is not None and found.mpi:
            return
        machine = look_at_machine()
        try:
            build = plan_build(machine)
        except EngineError:
            if is_sufficient(found, pins, mpi_possible=False):
                return
            raise
        if is_sufficient(found, pins, mpi_possible=build.mpi):
            return
        remove_half_installed(Path(sysconfig.get_path("platlib")))
        _carry_out(build, machine, pins, venv, lock)
    _report(installed_gpaw(), pins, venv)


def _carry_out(build: Build, machine: Machine, pins: dict[str, str], venv: Path, lock: int) -> None:
    """Build as planned; where MPI fails, say so and build without."""
    log = venv / "log"
    run_logged(
        pip("install", "-c", "constraints.txt", f"gpaw-data=={pins['gpaw-data']}"),
        "Installing GPAW's atomic data sets, 80 MB",
        log / "gpaw-data.log",
        typical="10 s",
        environment=clean_environment(),
        keep_open=[lock],
    )
    try:
        if build.apt_packages:
            apt_install(build.apt_packages, log, lock)
        _compile(build, pins, log, lock)
    except EngineError as error:
        if not build.mpi or not machine.compiler or not machine.python_headers:
            raise
        # loud, and where an error would be looked for: the calculations take several times as long
        print(
            f"\nWARNING: GPAW could not be had with MPI. {error}\n"
            "WARNING: building it without MPI: everything works, but each calculation uses one core only. "
            "Once the cause is mended, type: make gpaw\n",
            file=sys.stderr,
            flush=True,
        )
        _compile(serial_build(machine), pins, log, lock)


def apt_install(packages: tuple[str, ...], log: Path, lock: int) -> None:
    """Install packages with apt; where that fails, read the package lists anew and try once more.

    A fresh machine has no lists, and those of an old image name files that the servers no longer have.
    Reading them costs ten seconds, hence not always.

    Parameters
    ----------
    packages
        Names of Debian packages.
    log
        Folder for the output.
    lock
        File descriptor to be held open, see `workflows.engines.pip_runner.run_logged`.

    Raises
    ------
    EngineError
        If apt fails again.
    """
    options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=120"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    what = (
        "Installing MPI, libxc and OpenBLAS with apt"
        if set(MPI_PACKAGES) & set(packages)
        else "Installing a compiler with apt"
    )

    def apt(what: str, name: str, typical: str, *arguments: str) -> None:
        command = ["apt-get", *options, *arguments]
        run_logged(command, what, log / name, typical=typical, environment=environment, keep_open=[lock])

    install = ("install", "--no-install-recommends", *packages)
    try:
        apt(what, "apt.log", "40 s", *install)
    except EngineError:
        apt("Reading apt's package lists anew", "apt-update.log", "10 s", "update")
        apt(what, "apt.log", "40 s", *install)


def _compile(build: Build, pins: dict[str, str], log: Path, lock: int) -> None:
    log.mkdir(parents=True, exist_ok=True)
    siteconfig = log / "gpaw_siteconfig.py"
    siteconfig.write_text(build.siteconfig, encoding="utf-8")
    command = ["install", "--force-reinstall", "--no-deps", "-c", "constraints.txt"]
    # pip would take a cached wheel that was built by another siteconfig.
    command += ["--no-cache-dir", f"gpaw=={pins['gpaw']}"]
    run_logged(
        pip(*command),
        f"Compiling GPAW {pins['gpaw']} {'with' if build.mpi else 'without'} MPI",
        log / f"gpaw-{'mpi' if build.mpi else 'serial'}.log",
        typical="1 to 2 minutes",
        environment={**pinned_environment(), "GPAW_CONFIG": str(siteconfig.resolve())},
        keep_open=[lock],
    )
    if installed_gpaw() is None:
        raise EngineError(
            f"GPAW was compiled but does not import. Try `{sys.executable} -m gpaw info` to see why; "
            f"{MPI_SWITCH}=0 in front of the command builds it without MPI."
        )


def _report(found: InstalledGpaw | None, pins: dict[str, str], venv: Path) -> None:
    if found is None or not is_sufficient(found, pins, mpi_possible=False):
        raise EngineError(
            f"GPAW {pins['gpaw']} with its data sets {pins['gpaw-data']} is not complete: found {found}. "
            f"Remove the folder {venv} and type the same command again."
        )
    parallel = "with MPI" if found.mpi else "without MPI"
    functional = f"libxc {found.libxc}" if found.libxc else "its own PBE (no libxc)"
    print(f"GPAW {found.version} is ready, {parallel}, {functional}.", flush=True)


if __name__ == "__main__":
    sys.exit(one_line_errors(lambda: install(Path(sys.prefix))))
