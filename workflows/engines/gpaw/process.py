"""Start, watch and end the GPAW worker; MPI and the number of its ranks."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import EngineError
from stores.files import FileLock, write_file
from workflows.engines.worker_tasks import earlier_task, finished_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# BLAS threads on top of MPI ranks make plane-wave DFT several times slower, so one thread each, always.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("worker.py")
SECONDS_TO_END = 5.0
MPI_DID_NOT_START = re.compile(
    r"not enough slots|unable to (launch|start)|orte_init failed|ompi_mpi_init|MPI_INIT|"
    r"mpirun was unable|mpirun has detected an attempt to run as root|PMIX ERROR",
    re.IGNORECASE,
)
# Left by the worker: it runs; mpirun and GPAW belong to different MPI libraries.
STARTED, OTHER_MPI = "worker.started", "worker.other-mpi"

PROBE = """\
import json, importlib.metadata as m
import gpaw, gpaw.cgpaw as c
from pathlib import Path
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return 'not installed'
setups = [str(p) for p in gpaw.setup_paths if any(Path(p).glob('Mg.*PBE*'))]
print(json.dumps({'version': version('gpaw'), 'setups_version': version('gpaw-data'), 'setups': setups,
                  'mpi': bool(getattr(c, 'have_mpi', False)), 'libxc': getattr(c, 'libxc_version', None)}))
"""
PROBE_SECONDS = 120.0


@cache
def is_open_mpi(mpirun: str) -> bool:
    """Return whether an ``mpirun`` is Open MPI's, whose options are used below."""
    try:
        answer = subprocess.run(
            [mpirun, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "Open MPI" in answer.stdout or "OpenRTE" in answer.stdout


@dataclass(frozen=True)
class InstalledGpaw:
    """The GPAW of an environment: versions, whether it has MPI, folders with a PBE setup of Mg."""

    version: str
    setups_version: str
    mpi: bool
    libxc: str | None
    setups: tuple[str, ...]


@cache
def probe_gpaw(python: str = sys.executable) -> InstalledGpaw | str:
    """Return the GPAW that an interpreter imports, or in one line why it does not; once per process.

    A child process imports it: GPAW is never imported here.
    """
    try:
        answer = subprocess.run(
            [python, "-P", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
            env={**os.environ, **ONE_THREAD},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python} does not answer ({type(error).__name__})"
    if answer.returncode != 0:
        return (answer.stderr.strip().splitlines() or ["no message"])[-1]
    found = json.loads(answer.stdout.splitlines()[-1])
    return InstalledGpaw(**{**found, "setups": tuple(found["setups"])})


def gpaw_has_mpi() -> bool:
    """Return whether the installed GPAW was compiled with MPI."""
    gpaw = probe_gpaw()
    return isinstance(gpaw, InstalledGpaw) and gpaw.mpi


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
    """Return the ranks that suit a calculation: one per physical core, no more than k points.

    The setting ``ranks`` (``MGSURF_RANKS``) overrules the number of cores; InputError if it is no
    positive integer.
    """
    from stores.settings_file import resolve_ranks

    return max(1, min(resolve_ranks() or physical_cores(), n_kpoints))


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


def run_worker(directory: Path, task: dict[str, Any], ranks: int) -> dict[str, Any]:
    """Run a task in its own folder and return the worker's answer.

    A converged answer to this very task in the folder is returned; from the journal of an interrupted
    attempt, or the last geometry of one that reached the limit of steps, the worker resumes. One rank runs
    without MPI, and so does a machine without mpirun or an MPI build. The ``status`` of a crash is
    ``failed``, with a one-line ``reason``; EngineError if the process cannot be started at all.
    """
    with _no_worker_left(directory) as lock:
        answer = finished_answer(directory, task["task_hash"])
        if answer is not None and answer["status"] == "ok":
            return answer
        _prepare(directory, task, answer)
        mpirun = shutil.which("mpirun") if ranks > 1 else None
        if mpirun is not None and gpaw_has_mpi():
            command = [*mpirun_command(mpirun, ranks), sys.executable, "-P", "-m", "gpaw", "python"]
            code = _run([*command, str(WORKER)], directory, ranks, lock)
            why = _why_serial(directory, task["task_hash"], code)
            if why is None:
                return _collect(directory, task, code)
            logger.warning("%s (%s); starting again without MPI", why, directory / "worker.err")
            _clear_marks(directory)
        code = _run([sys.executable, "-P", str(WORKER)], directory, 1, lock)
        return _collect(directory, task, code)


@contextlib.contextmanager
def _no_worker_left(directory: Path) -> Iterator[int]:
    """Hold a lock that the worker inherits, so that one whose parent was killed still keeps others out."""
    lock = FileLock(directory / ".worker.lock")
    if not lock.acquire(0):
        logger.warning("waiting until the worker of an earlier run in %s has ended", directory)
        lock.acquire()
    try:
        yield lock.fileno()
    finally:
        lock.release()


def _prepare(directory: Path, task: dict[str, Any], answer: dict[str, Any] | None) -> None:
    """Write `input.json` with what this task may resume from; a kill is safe after every step."""
    _clear_marks(directory)
    earlier = earlier_task(directory)
    if earlier.get("task_hash") != task["task_hash"]:
        # The journal of another task must not answer this one.
        (directory / "output.json").unlink(missing_ok=True)
        (directory / "journal.jsonl").unlink(missing_ok=True)
    elif answer is not None and task["kind"] == "slab_relax" and answer.get("max_force") is not None:
        # It had reached the limit of steps: resume from its last geometry, not over the same path.
        task = {**task, "start_positions": answer["positions"]}
    elif "start_positions" in earlier:
        task = {**task, "start_positions": earlier["start_positions"]}
    write_file(directory / "input.json", json.dumps(task), alone=True)
    (directory / "output.json").unlink(missing_ok=True)


def _clear_marks(directory: Path) -> None:
    for path in (directory / STARTED, directory / OTHER_MPI, *directory.glob("error-*.txt")):
        path.unlink(missing_ok=True)


def _why_serial(directory: Path, task_hash: str, code: int) -> str | None:
    """Return why an MPI run never began, or None if it did: its answer or crash counts then."""
    if finished_answer(directory, task_hash) is not None:
        return None
    if (directory / OTHER_MPI).exists():
        return "mpirun belongs to another MPI library than GPAW"
    began = (directory / STARTED).exists() or any(directory.glob("error-*.txt"))
    if code != 0 and not began and MPI_DID_NOT_START.search(_tail(directory / "worker.err")):
        return "mpirun did not start"
    return None


def _run(command: Sequence[str], directory: Path, ranks: int, lock: int) -> int:
    environment = mpi_environment(dict(os.environ)) | {
        "MGSURF_PARENT_PID": str(os.getpid()),
        "MGSURF_WORKER_RANKS": str(ranks),
    }
    with (directory / "worker.out").open("w") as out, (directory / "worker.err").open("w") as err:
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=(lock,),
            )
        except OSError as error:
            raise EngineError(f"gpaw: cannot start {command[0]} in {directory}: {error.strerror}") from error
        try:
            return process.wait()
        except BaseException:
            # KeyboardInterrupt and SystemExit too: no worker outlives its parent.
            _end_group(process)
            raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: SIGTERM first, then SIGKILL."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        return


def _collect(directory: Path, task: dict[str, Any], code: int) -> dict[str, Any]:
    answer = finished_answer(directory, task["task_hash"])
    return answer or {"status": "failed", "reason": _crash_reason(directory, code)}


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-20_000:]
    except OSError:
        return ""


def _crash_reason(directory: Path, code: int) -> str:
    """Return in one line why the worker ended without an answer."""
    log = directory / "worker.err"
    for path in sorted(directory.glob("error-*.txt")):
        return f"gpaw: {_tail(path).strip()[:300]} (see {log})"
    text = _tail(log)
    if code < 0 or "signal 9" in text:
        name = signal.Signals(-code).name if code < 0 else "SIGKILL"
        return f"gpaw: ended by {name}, out of memory perhaps (see {log})"
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b.*$", text, re.MULTILINE)
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    last = errors[-1] if errors else (lines[-1] if lines else "nothing was written")
    return f"gpaw: ended with status {code}: {last[:300]} (see {log})"
