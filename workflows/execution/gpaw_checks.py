"""Checks of the GPAW engine, through processes of their own: GPAW is never imported here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workflows.engines.gpaw.process import ONE_THREAD, find_mpirun, mpi_environment, mpirun_command
from workflows.execution.checks import Check, Status

SECONDS = 30.0
MPI_PACKAGES = (
    "libopenmpi-dev",
    "openmpi-bin",
    "libxc-dev",
    "libopenblas-dev",
    "libfftw3-dev",
    "libscalapack-openmpi-dev",
)
MPI_MEND = f"sudo apt-get install -y {' '.join(MPI_PACKAGES)} && make gpaw"
# The compiled part alone: gpaw.mpi would do the same after a second of imports.
# Each rank prints one character: mpirun mixes up the ranks' longer lines.
HELLO = "import gpaw.cgpaw as c; print(c.Communicator().size if c.have_mpi else 1)"

PROBE = """\
import json, importlib.metadata as m
import gpaw, gpaw.cgpaw as c
from pathlib import Path
setups = [str(p) for p in gpaw.setup_paths if any(Path(p).glob('Mg.*PBE*'))]
print(json.dumps({'version': m.version('gpaw'), 'setups_version': m.version('gpaw-data'), 'setups': setups,
                  'mpi': bool(getattr(c, 'have_mpi', False)), 'libxc': getattr(c, 'libxc_version', None)}))
"""


@dataclass(frozen=True)
class InstalledGpaw:
    """The GPAW that imports in this environment."""

    version: str
    setups_version: str
    mpi: bool
    libxc: str | None
    setups: tuple[str, ...]


@cache
def probe_gpaw(python: str = sys.executable) -> InstalledGpaw | str:
    """Return the GPAW that a Python interpreter imports; looked up once per process.

    Parameters
    ----------
    python
        Path of the interpreter.

    Returns
    -------
    InstalledGpaw or str
        Or in one line why it does not import.
    """
    try:
        answer = subprocess.run(
            [python, "-P", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, **ONE_THREAD},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python} does not answer ({type(error).__name__})"
    if answer.returncode != 0:
        return (answer.stderr.strip().splitlines() or ["no message"])[-1]
    found = json.loads(answer.stdout.splitlines()[-1])
    return InstalledGpaw(**{**found, "setups": tuple(found["setups"])})


def check_gpaw(python: str = sys.executable) -> Check:
    """Check that GPAW imports, and say with which libraries."""
    gpaw = probe_gpaw(python)
    if isinstance(gpaw, str):
        return Check("GPAW", Status.FAIL, f"does not import: {gpaw}", "make gpaw")
    functional = f"libxc {gpaw.libxc}" if gpaw.libxc else "its own PBE (no libxc)"
    if not gpaw.mpi:
        return Check("GPAW", Status.WARN, f"{gpaw.version}, serial (slower), {functional}", MPI_MEND)
    return Check("GPAW", Status.OK, f"{gpaw.version}, with MPI, {functional}")


def check_setups(python: str = sys.executable) -> Check:
    """Check that GPAW finds its PAW data sets; that of Mg stands for all."""
    gpaw = probe_gpaw(python)
    if isinstance(gpaw, str):
        return Check("PAW setups", Status.FAIL, "cannot be looked up without GPAW", "make gpaw")
    if not gpaw.setups:
        return Check(
            "PAW setups",
            Status.FAIL,
            "GPAW finds no PBE data set of Mg",
            f"{python} -m pip install -c constraints.txt gpaw-data; unset GPAW_SETUP_PATH if it is set",
        )
    return Check("PAW setups", Status.OK, f"gpaw-data {gpaw.setups_version} in {Path(gpaw.setups[0])}")


def check_mpi(python: str = sys.executable, ranks: int = 2) -> Check:
    """Check that mpirun starts ranks which GPAW sees as one parallel run.

    Parameters
    ----------
    python
        Path of the interpreter that has GPAW.
    ranks
        How many to start.
    """
    mpirun = find_mpirun()
    if mpirun is None:
        return Check("MPI", Status.WARN, "no mpirun in PATH; GPAW runs on one core", MPI_MEND)
    command = [*mpirun_command(mpirun, ranks), python, "-P", "-c", HELLO]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=mpi_environment(dict(os.environ)),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("MPI", Status.FAIL, f"{mpirun} does not answer ({type(error).__name__})", MPI_MEND)
    if answer.returncode != 0:
        lines = [line for line in answer.stderr.splitlines() if line.strip() and not line.startswith("---")]
        errors = [line for line in lines if "Error" in line] or lines or ["no message"]
        reason = errors[0].strip()[:200]
        remedy = "MGSURF_RANKS=1 runs without MPI; try: " + " ".join([*command[:-2], "-c", "'print(1)'"])
        return Check("MPI", Status.FAIL, f"{ranks} ranks do not start: {reason}", remedy)
    if "".join(answer.stdout.split()) != str(ranks) * ranks:
        return Check(
            "MPI", Status.WARN, f"{mpirun} starts {ranks} ranks, but GPAW was built without MPI", "make gpaw"
        )
    return Check("MPI", Status.OK, f"{ranks} ranks by {mpirun}")
