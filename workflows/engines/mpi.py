"""Where MPI is, how many ranks to start, and how to start them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

# BLAS threads on top of MPI ranks make plane-wave DFT several times slower, so one thread each, always.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def find_mpirun() -> str | None:
    """Return the path of ``mpirun`` or None."""
    return shutil.which("mpirun")


@cache
def is_open_mpi(mpirun: str) -> bool:
    """Tell whether an ``mpirun`` is Open MPI's, whose options are used below."""
    try:
        answer = subprocess.run(
            [mpirun, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "Open MPI" in answer.stdout or "OpenRTE" in answer.stdout


@cache
def gpaw_has_mpi() -> bool:
    """Tell whether the installed GPAW was compiled with MPI.

    Asked once per process, of a child process: GPAW is never imported here.
    """
    if importlib.util.find_spec("gpaw") is None:
        return False
    # The compiled extension knows; a wheel built without MPI has have_mpi == False.
    question = "import gpaw.cgpaw as c; print(bool(getattr(c, 'have_mpi', False)))"
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", question],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **ONE_THREAD},
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip().endswith("True")


@cache
def physical_cores() -> int:
    """Return the number of physical cores this process may use.

    Hardware threads of one core count once: two ranks on one core are slower than one.
    """
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return logical_cores()
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            package = (topology / "physical_package_id").read_text().strip()
            core = (topology / "core_id").read_text().strip()
        except OSError:
            return len(allowed)
        cores.add((package, core))
    return max(1, min(len(cores), _cpu_quota(len(cores))))


def logical_cores() -> int:
    """Return the number of hardware threads this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_quota(default: int) -> int:
    """Return the whole CPUs a container's control group grants."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return default if quota == "max" else max(1, int(int(quota) / int(period)))
    except (OSError, ValueError):
        return default


def default_ranks(n_kpoints: int) -> int:
    """Return how many ranks suit a calculation: one per physical core, no more than k points.

    The setting ``ranks`` (``MGSURF_RANKS``) overrules the number of cores.

    Raises
    ------
    InputError
        If the setting is no positive integer.
    """
    from stores.settings import load_settings

    return max(1, min(load_settings().ranks or physical_cores(), n_kpoints))


def mpi_environment(base: dict[str, str]) -> dict[str, str]:
    """Return an environment in which mpirun starts, for root too, with one thread per rank."""
    environment = {**base, **ONE_THREAD}
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environment


def mpirun_command(mpirun: str, ranks: int) -> list[str]:
    """Return the start of a command line that runs a program on `ranks` ranks."""
    command = [mpirun, "-n", str(ranks)]
    if is_open_mpi(mpirun):
        # Bound ranks of every concurrent mpirun would share the same first cores.
        command += ["--bind-to", "none"]
        # A waiting rank gives its core to others instead of spinning.
        command += ["--mca", "mpi_yield_when_idle", "1"]
        if ranks > physical_cores():
            command.append("--oversubscribe")
    return command
