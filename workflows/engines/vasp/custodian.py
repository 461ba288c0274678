"""One run of VASP under custodian: started, watched, corrected, and judged by what custodian did."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import shutil
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodian import Custodian
from custodian.custodian import CustodianError, MaxCorrectionsError, ValidationError
from custodian.vasp.jobs import VaspJob
from pymatgen.io.vasp.inputs import Incar

from stores.errors import EngineError
from stores.secrets import MaskedFormatter
from workflows.engines.vasp.handlers import (
    NonConvergingErrorHandler,
    UnconvergedHandler,
    WalltimeHandler,
    WholeFiles,
    handlers,
    job_end,
)
from workflows.engines.vasp.inputs import MAY_CHANGE
from workflows.engines.vasp.restart import PID, end_orphan, note_process

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

LEAST_FREE = 1 << 20
"""With less than this free (bytes), a run that broke off broke off for want of space."""


@dataclass(frozen=True)
class RunControl:
    """How runs are started and watched; nothing here changes a number.

    Attributes
    ----------
    vasp_command
        What starts VASP; None for ``MGSURF_VASP_CMD``, else atomate2's setting VASP_CMD.
    max_errors
        Corrections of one run before custodian gives up.
    restarts
        How often a run that broke off is started again from its last geometry.
    polling_time
        Time between looks whether VASP has ended (s).
    monitor_time
        Time between looks at its output for errors (s).
    hang_timeout
        Output that stands still for so long is a hang (s).
    walltime_buffer
        Time to leave before the queue ends the job (s).
    """

    vasp_command: str | None = None
    max_errors: int = 8
    restarts: int = 2
    polling_time: float = 0.2
    monitor_time: float = 60.0
    hang_timeout: float = 7200.0
    walltime_buffer: float = 300.0


@dataclass
class CustodianResult:
    """What became of one run.

    Attributes
    ----------
    corrections
        In words, in their order.
    gave_up
        Why custodian ended it, empty if it did not.
    unconverged
        Whether the reason is convergence alone.
    broke_off
        Whether the files are not whole: killed, crashed, cut off.
    walltime
        Whether it was stopped before the queue's time ran out.
    """

    corrections: list[str] = field(default_factory=list)
    gave_up: str = ""
    unconverged: bool = False
    broke_off: bool = False
    walltime: bool = False


def vasp_command(control: RunControl) -> list[str]:
    """Return the command that starts VASP.

    Raises
    ------
    EngineError
        If there is no such program.
    """
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
        """Start VASP, without the output of a run that was corrected: custodian has put that aside.

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


def time_left() -> float | None:
    """Return how long the queue lets this job run (s); None if nothing says so."""
    end = job_end(os.environ)
    return None if end is None else end - time.time()


def run_custodian(directory: Path, control: RunControl) -> CustodianResult:
    """Run VASP on the input files in a folder.

    Parameters
    ----------
    directory
        Holds INCAR, KPOINTS, POSCAR and POTCAR.
    control
        How to start and watch it.

    Returns
    -------
    CustodianResult
        What happened; the numbers are in the folder's files.

    Raises
    ------
    EngineError
        If there is no VASP command.
    OSError
        If the disk is full: nothing of this run can be trusted or kept.
    """
    command = vasp_command(control)
    end_orphan(directory)
    incar = Incar.from_file(directory / "INCAR")
    kpoints = (directory / "KPOINTS").read_text()
    chosen = handlers(
        static=int(incar.get("NSW", 0)) == 0,
        hang_timeout=control.hang_timeout,
        end=job_end(os.environ),
        walltime_buffer=control.walltime_buffer,
    )
    job = WatchedJob(command, auto_npar=False, auto_gamma=False, backup=False)
    custodian = Custodian(
        chosen,
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
            _explain(error, result)
        finally:
            job.stop(directory)
            (directory / PID).unlink(missing_ok=True)
    _require_space(directory, result.broke_off or bool(result.gave_up))
    log = custodian.run_log[-1]["corrections"] if custodian.run_log else []
    if result.gave_up and log:
        last = log[-1]["handler"]
        result.unconverged = isinstance(last, UnconvergedHandler | NonConvergingErrorHandler)
    result.corrections = [_words(correction) for correction in log if not _is_walltime(correction)]
    result.walltime = any(_is_walltime(correction) for correction in log)
    changed = _changed(directory, incar, kpoints)
    if changed and not result.gave_up:
        result.gave_up = f"a correction changed {', '.join(changed)}"
    return result


def _explain(error: CustodianError, result: CustodianResult) -> None:
    handler = getattr(error, "handler", None)
    if isinstance(handler, WalltimeHandler):
        return
    if isinstance(error, MaxCorrectionsError) or handler is None:
        result.gave_up = "the limit of corrections was reached"
    else:
        result.gave_up = f"{type(handler).__name__} knew no further correction"


def _is_walltime(correction: dict[str, Any]) -> bool:
    return "walltime" in correction["errors"]


def _words(correction: dict[str, Any]) -> str:
    """Say a correction in words: "brmix (IMIX = 1)"."""
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
    """Name what a correction changed that decides the result."""
    now = Incar.from_file(directory / "INCAR")
    names = [key for key in {*incar, *now} - MAY_CHANGE if incar.get(key) != now.get(key)]
    if now.get("EDIFF", 1e-4) > incar.get("EDIFF", 1e-4):
        names.append("EDIFF")
    if (directory / "KPOINTS").read_text() != kpoints:
        names.append("the k mesh")
    return sorted(names)


def _require_space(directory: Path, broke_off: bool) -> None:
    """Raise if a run broke off because the disk is full.

    Raises
    ------
    OSError
        ENOSPC, as the file system itself would.
    """
    if not broke_off:
        return
    said = ""
    for name in ("std_err.txt", "vasp.out"):
        try:
            said += (directory / name).read_text(errors="replace")[-20_000:]
        except OSError:
            continue
    if any(sign in said for sign in DISK_SIGNS) or shutil.disk_usage(directory).free < LEAST_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


@contextmanager
def _log_of(path: Path) -> Iterator[None]:
    """Send custodian's log to a file, not to the terminal."""
    root, logger = logging.getLogger(), logging.getLogger("custodian")
    to_file = logging.FileHandler(path)
    to_file.setFormatter(MaskedFormatter("%(asctime)s %(name)s %(message)s"))
    # custodian's handlers speak to loggers named by their class, and custodian.utils to the root logger,
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
