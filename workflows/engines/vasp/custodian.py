"""One run of VASP under custodian: error handlers for metallic slabs, start, corrections, result.

docs/vasp.md has the table of handlers with reasons. None may change what a run converges to: k mesh,
smearing, cell, functional; `run_custodian` checks afterwards that none did.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import shlex
import shutil
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodian import Custodian
from custodian.custodian import (
    CustodianError,
    ErrorHandler,
    MaxCorrectionsError,
    ValidationError,
    Validator,
)
from custodian.utils import backup
from custodian.vasp.handlers import (
    VASP_BACKUP_FILES,
    FrozenJobErrorHandler,
    MeshSymmetryErrorHandler,
    NonConvergingErrorHandler,
    PotimErrorHandler,
    StdErrHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
)
from custodian.vasp.interpreter import VaspModder
from custodian.vasp.io import load_vasprun
from custodian.vasp.jobs import VaspJob
from custodian.vasp.utils import is_valid_poscar
from pymatgen.io.vasp.inputs import Incar

from stores.errors import EngineError
from stores.secrets import MaskedFormatter
from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.inputs import MAY_CHANGE
from workflows.engines.vasp.restart import PID, ends_whole, note_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

COMMAND_VARIABLE = "MGSURF_VASP_CMD"
SET_UP = (
    f"set the engine's option vasp_command or {COMMAND_VARIABLE} to what starts it, "
    "e.g. 'mpirun -n 16 vasp_std'"
)

DISK_SIGNS = ("No space left on device", "Disk quota exceeded", "disk full")
STALE = ("OUTCAR", "OSZICAR", "vasprun.xml")

LEAST_FREE = 1 << 20  # with less than this free (bytes), a run that broke off did so for want of space


# Errors that do not occur here, or that custodian corrects by changing what is computed:
# tet, dentet, tetirr, incorrect_shift: of tetrahedra and shifted meshes, corrected by other smearing or a new
# mesh; triple_product: swaps b and c, so that c leaves the normal; elf_*, dfpt_ncore, algo_tet,
# spin_polarized_harris: of runs we never start; auto_nbands: VASP rounding NBANDS up to the ranks.
NOT_CAUGHT = frozenset(
    {
        *("algo_tet", "auto_nbands", "dentet", "dfpt_ncore", "elf_kpar", "elf_ncl", "incorrect_shift"),
        *("spin_polarized_harris", "tet", "tetirr", "triple_product"),
    }
)

HANG_RESTARTS = 2
SAME_CORRECTIONS = 2  # a correction that did not help so often is not made again: each costs a run of VASP
CONTINUATIONS = 3  # runs from the last geometry of one that reached its largest number of steps

Correction = dict[str, Any]
MESH_SYMMETRY = "Reciprocal lattice and k-lattice belong to different class of lattices."


@dataclass(frozen=True)
class RunControl:
    """How runs are started and watched; nothing here changes a number."""

    # what starts VASP; None for ``MGSURF_VASP_CMD``, else atomate2's setting VASP_CMD
    vasp_command: str | None = None
    max_errors: int = 8  # corrections of one run before custodian gives up
    restarts: int = 2  # how often a run that broke off is started again from its last geometry
    polling_time: float = 0.2  # time between looks whether VASP has ended (s)
    monitor_time: float = 60.0  # time between looks at its output for errors (s)
    hang_timeout: float = 7200.0  # output that stands still for so long is a hang (s)
    walltime_buffer: float = 300.0  # time to leave before the queue ends the job (s)


@dataclass
class CustodianResult:
    """How one run ended."""

    corrections: list[str] = field(default_factory=list)  # in words, in their order
    gave_up: str = ""  # why custodian ended it, empty if it did not
    unconverged: bool = False  # whether the reason is convergence alone
    broke_off: bool = False  # whether its files are incomplete: killed, crashed, cut off
    walltime: bool = False  # whether it was stopped before the queue's time ran out


class SlabErrorHandler(VaspErrorHandler):
    """Custodian's main handler without the corrections that change what is computed."""

    def __init__(self) -> None:
        super().__init__(errors_subset_to_catch=sorted(set(VaspErrorHandler.error_msgs) - NOT_CAUGHT))
        self._made: list[Correction] = []

    def correct(self, directory: str = "./") -> Correction:
        """Correct, but for the step of the BRMIX ladder that changes the k mesh."""
        if "brmix" in self.errors and self.error_count["brmix"] == 2:
            # custodian would try a Monkhorst-Pack mesh next: straight to its last step, without symmetry and
            # without the old density
            self.error_count["brmix"] = 4
        if "brmix" in self.errors and self.error_count["brmix"] > 4:
            return {"errors": sorted(self.errors), "actions": None}
        correction: Correction = super().correct(directory)  # type: ignore[no-untyped-call]
        return _unless_tried(correction, self._made, SAME_CORRECTIONS)


def _unless_tried(correction: Correction, made: list[Correction], limit: int) -> Correction:
    """Return a correction, or that none is known if this very one was made `limit` times before."""
    tried = made.count(correction)
    made.append(dict(correction))
    return correction if tried < limit else {**correction, "actions": None}


class UnconvergedHandler(UnconvergedErrorHandler):
    """Custodian's handler, which reads of vasprun.xml all but the bands, and tries each correction once.

    Custodian goes back and forth between two settings until all corrections are used up. A relaxation at its
    largest number of steps is continued from its last geometry `CONTINUATIONS` times.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Correction] = []

    def check(self, directory: str = "./") -> bool:
        """Return whether a complete run did not converge."""
        try:
            run = load_vasprun(
                str(Path(directory) / self.output_filename),
                parse_dos=False,
                parse_eigen=False,
                parse_potcar_file=False,
            )
        except Exception:  # noqa: BLE001 - an incomplete file is not a matter of convergence
            return False
        return not run.converged

    def correct(self, directory: str = "./") -> Correction:
        """Correct by what was not tried before."""
        correction: Correction = super().correct(directory)  # type: ignore[no-untyped-call]
        continued = any("file" in action for action in correction["actions"] or [])
        return _unless_tried(correction, self._made, CONTINUATIONS if continued else 1)


class MeshHandler(MeshSymmetryErrorHandler):
    """Custodian's handler, which looks for the message before it reads everything else."""

    def check(self, directory: str = "./") -> bool:
        """Return whether VASP found mesh and lattice at odds and did not converge."""
        try:
            output = (Path(directory) / self.output_filename).read_text(errors="replace")
        except OSError:
            return False
        return MESH_SYMMETRY in output and bool(super().check(directory))


class HangHandler(FrozenJobErrorHandler):
    """Start a run again, from its last geometry if it has one, when its output stands still.

    Custodian's own gives up on a hang in the first geometry, which on a cluster is mostly a hung MPI start.
    """

    restarts = 0

    def check(self, directory: str = "./") -> bool:
        """Return whether none of VASP's files has changed for too long; stdout alone may be buffered."""
        written = []
        for name in (self.output_filename, "OSZICAR", "OUTCAR"):
            with suppress(OSError):
                written.append((Path(directory) / name).stat().st_mtime)
        return bool(written) and time.time() - max(written) > self.timeout

    def correct(self, directory: str = "./") -> Correction:
        """Copy CONTCAR to POSCAR if it is complete; VASP was ended already."""
        error = f"no output for {self.timeout:g} s"
        if self.restarts >= HANG_RESTARTS:
            return {"errors": [error], "actions": None}
        self.restarts += 1
        backup(VASP_BACKUP_FILES | {self.output_filename}, directory=directory)
        actions: list[dict[str, Any]] = []
        if is_valid_poscar("CONTCAR", directory):
            actions.append({"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}})
        # orbitals of a killed run may be half written
        actions.append({"file": "WAVECAR", "action": {"_file_delete": {"mode": "actual"}}})
        VaspModder(directory=directory).apply_actions(actions)
        return {"errors": [error], "actions": actions}


class WalltimeHandler(ErrorHandler):
    """Make VASP stop at the end of a step while the queue still lets it write its files.

    Custodian's handler takes the first job of a process for the start of the clock; here the end is known
    (seconds since the epoch). `buffer` is the time to leave for the last step and for what follows (s). A
    static run is stopped at its next SCF step, a relaxation after its geometry.
    """

    is_monitor = True
    is_terminating = False
    raises_runtime_error = False

    def __init__(self, end: float, buffer: float, static: bool) -> None:
        self.end, self.buffer, self.static = end, buffer, static
        self.stopped = False
        self.steps_seen, self.step_began, self.longest = 0, time.time(), 0.0

    def check(self, directory: str = "./") -> bool:
        """Return, once, whether less is left than the buffer and 1.5 of the longest geometry so far."""
        self._watch(directory)
        left = self.end - time.time()
        return not self.stopped and left < max(self.buffer, 1.5 * self.longest if not self.static else 0.0)

    def _watch(self, directory: str) -> None:
        try:
            steps = (Path(directory) / "OSZICAR").read_text(errors="replace").count(" F= ")
        except OSError:
            return
        if steps > self.steps_seen:
            now = time.time()
            self.longest = max(self.longest, (now - self.step_began) / (steps - self.steps_seen))
            self.steps_seen, self.step_began = steps, now

    def correct(self, directory: str = "./") -> Correction:
        """Write STOPCAR."""
        self.stopped = True
        content = "LABORT = .TRUE." if self.static else "LSTOP = .TRUE."
        (Path(directory) / "STOPCAR").write_text(content)
        return {"errors": ["walltime"], "actions": None}


class WholeFiles(Validator):
    """Checks that the run wrote its files to the end; cheaper than parsing all of vasprun.xml."""

    def check(self, directory: str = "./") -> bool:
        """Return True if the files are not complete."""
        folder = Path(directory)
        return not ends_whole(folder) or find_file(folder, "CONTCAR") is None


def handlers(control: RunControl, *, static: bool) -> list[ErrorHandler]:
    """Return the handlers of a run in the order of their checks; a static run has one geometry."""
    end = job_end()
    return [
        *([WalltimeHandler(end, control.walltime_buffer, static)] if end is not None else []),
        SlabErrorHandler(),
        StdErrHandler(),
        MeshHandler(),
        UnconvergedHandler(),
        NonConvergingErrorHandler(),
        PotimErrorHandler(),
        HangHandler(timeout=control.hang_timeout),
    ]


def job_end() -> float | None:
    """Return the end of this job in the queue (seconds since the epoch); None if it is not known.

    ``MGSURF_JOB_END_TIME`` serves every queue; Slurm sets ``SLURM_JOB_END_TIME``.
    """
    for name in ("MGSURF_JOB_END_TIME", "SLURM_JOB_END_TIME"):
        try:
            return float(os.environ[name])
        except (KeyError, ValueError):
            continue
    return None


def vasp_command(control: RunControl) -> list[str]:
    """Return the command that starts VASP; EngineError if there is no such program."""
    named = control.vasp_command or os.environ.get(COMMAND_VARIABLE)
    if not named:
        from atomate2 import SETTINGS

        named = str(SETTINGS.VASP_CMD)
    try:
        command = shlex.split(os.path.expandvars(named))
    except ValueError as error:
        raise EngineError(f"vasp: the command {named!r} cannot be read ({error}): {SET_UP}") from None
    if not command or shutil.which(command[0]) is None:
        what = f"{command[0]!r} is no program here" if command else "the command is empty"
        raise EngineError(f"vasp: {what}: {SET_UP}")
    return command


class WatchedJob(VaspJob):
    """Custodian's job; notes its process, and leaves compressed files of earlier attempts as they are."""

    def setup(self, directory: str = "./") -> None:
        """Keep the first input beside what corrections make of it."""
        for name in ("INCAR", "KPOINTS", "POSCAR"):
            shutil.copy(Path(directory) / name, Path(directory) / f"{name}.orig")

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start VASP, without the output of a run that was corrected, which custodian has archived.

        Handlers that look before VASP has opened its files would find the old errors again.
        """
        for name in STALE:
            (Path(directory) / name).unlink(missing_ok=True)
        process: subprocess.Popen[bytes] = super().run(directory=directory)  # type: ignore[no-untyped-call]
        note_process(Path(directory), process.pid)
        return process

    def stop(self, directory: Path) -> None:
        """End VASP if it runs."""
        process = getattr(self, "_vasp_process", None)
        if process is not None and process.poll() is None:
            self.terminate(directory=str(directory))


def time_left() -> float:
    """Return the time left to this job in the queue (s); infinite if it is not known."""
    end = job_end()
    return math.inf if end is None else end - time.time()


def run_custodian(directory: Path, control: RunControl) -> CustodianResult:
    """Run VASP on INCAR, KPOINTS, POSCAR and POTCAR in a folder; its files hold the numbers.

    EngineError if there is no VASP command; OSError if the disk is full: nothing of this run can be kept.
    """
    incar = Incar.from_file(directory / "INCAR")
    kpoints = (directory / "KPOINTS").read_text()
    job = WatchedJob(vasp_command(control), auto_npar=False, auto_gamma=False, backup=False)
    custodian = Custodian(
        handlers(control, static=int(incar.get("NSW", 0)) == 0),
        [job],
        validators=[WholeFiles()],
        max_errors=control.max_errors,
        polling_time_step=control.polling_time,
        monitor_freq=max(1, round(control.monitor_time / control.polling_time)),
        skip_over_errors=True,
        terminate_on_nonzero_returncode=False,
        directory=str(directory),
    )
    result = CustodianResult()
    with _log_of(directory / "custodian.log"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            custodian.run()  # type: ignore[no-untyped-call]
        except ValidationError:
            result.broke_off = True
        except CustodianError as error:
            handler = getattr(error, "handler", None)
            if isinstance(error, MaxCorrectionsError) or handler is None:
                result.gave_up = "the limit of corrections was reached"
            elif not isinstance(handler, WalltimeHandler):
                result.gave_up = f"{type(handler).__name__} knew no further correction"
        finally:
            job.stop(directory)
            (directory / PID).unlink(missing_ok=True)
    if result.broke_off or result.gave_up:
        _require_space(directory)
    log = custodian.run_log[-1]["corrections"] if custodian.run_log else []
    if result.gave_up and log:
        last = log[-1]["handler"]
        result.unconverged = isinstance(last, UnconvergedHandler | NonConvergingErrorHandler)
    result.corrections = [_words(correction) for correction in log if "walltime" not in correction["errors"]]
    result.walltime = len(result.corrections) < len(log)
    changed = _changed(directory, incar, kpoints)
    if changed and not result.gave_up:
        result.gave_up = f"a correction changed {', '.join(changed)}"
    return result


def _words(correction: dict[str, Any]) -> str:
    """Describe a correction: "brmix (IMIX = 1)"."""
    done = []
    for action in correction.get("actions") or []:
        for verb, what in action["action"].items():
            if verb == "_set" and action.get("dict") == "POSCAR":
                done.append("POSCAR changed")
            elif verb == "_set":
                done += [f"{key} = {value}" for key, value in what.items()]
            elif verb == "_unset":
                done += [f"{key} removed" for key in what]
            elif verb == "_file_copy":
                done.append(f"{action['file']} to {what['dest']}")
            elif verb == "_file_delete":
                done.append(f"{action['file']} removed")
    found = ", ".join(str(error) for error in correction["errors"])
    return f"{found} ({', '.join(done)})" if done else found


def _changed(directory: Path, incar: Incar, kpoints: str) -> list[str]:
    """Return the names of what a correction changed that decides the result."""
    now = Incar.from_file(directory / "INCAR")
    names = [key for key in {*incar, *now} - MAY_CHANGE if incar.get(key) != now.get(key)]
    if now.get("EDIFF", 1e-4) > incar.get("EDIFF", 1e-4):
        names.append("EDIFF")
    if (directory / "KPOINTS").read_text() != kpoints:
        names.append("the k mesh")
    return sorted(names)


def _require_space(directory: Path) -> None:
    """Raise ENOSPC, as the file system itself would, if a run broke off because the disk is full."""
    output = ""
    for name in ("std_err.txt", "vasp.out"):
        with suppress(OSError):
            output += (directory / name).read_text(errors="replace")[-20_000:]
    if any(sign in output for sign in DISK_SIGNS) or shutil.disk_usage(directory).free < LEAST_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


@contextmanager
def _log_of(path: Path) -> Iterator[None]:
    """Send custodian's log to a file, not to the terminal."""
    root, logger = logging.getLogger(), logging.getLogger("custodian")
    to_file = logging.FileHandler(path)
    to_file.setFormatter(MaskedFormatter("%(asctime)s %(name)s %(message)s"))
    # custodian's handlers use loggers named by their class, and custodian.utils the root logger,
    # which would otherwise be configured by its first message
    nothing = logging.NullHandler()
    level = logger.level
    root.addHandler(nothing)
    logger.addHandler(to_file)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(to_file)
        root.removeHandler(nothing)
        to_file.close()
