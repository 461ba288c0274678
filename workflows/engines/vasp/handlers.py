"""Custodian's error handlers for metallic slabs: which ones, which not, and what none of them may do.

docs/vasp.md has the table with reasons. None may change what a run converges to: k mesh, smearing, cell,
functional; `vasp_supervision` checks afterwards that none did.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodian.ansible.actions import FileActions
from custodian.ansible.interpreter import Modder
from custodian.custodian import ErrorHandler, Validator
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
from custodian.vasp.utils import is_valid_poscar

from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.restart import ends_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

# Faults that are none here, or that custodian mends by changing what is computed:
# tet, dentet, tetirr, incorrect_shift: of the tetrahedron method and shifted meshes, mended by other smearing
# or another mesh; triple_product: swaps b and c, so that c leaves the normal; elf_*, dfpt_ncore, algo_tet,
# spin_polarized_harris: of runs we never start; auto_nbands: VASP rounding NBANDS up to the ranks.
NOT_CAUGHT = frozenset(
    {
        "algo_tet",
        "auto_nbands",
        "dentet",
        "dfpt_ncore",
        "elf_kpar",
        "elf_ncl",
        "incorrect_shift",
        "spin_polarized_harris",
        "tet",
        "tetirr",
        "triple_product",
    }
)

HANGS_MENDED = 2
SAME_CORRECTIONS = 2
"""A correction that did not help so often is not made again: each costs a run of VASP."""
CONTINUATIONS = 3
"""Runs that go on from the last geometry of one that reached its largest number of steps."""

Answer = dict[str, Any]
MESH_SYMMETRY = "Reciprocal lattice and k-lattice belong to different class of lattices."


class SlabErrorHandler(VaspErrorHandler):
    """Custodian's main handler without the corrections that change what is computed."""

    def __init__(self) -> None:
        super().__init__(errors_subset_to_catch=sorted(set(VaspErrorHandler.error_msgs) - NOT_CAUGHT))
        self._made: list[Answer] = []

    def correct(self, directory: str = "./") -> Answer:
        """Correct, but leave out the step of the BRMIX ladder that changes the k mesh."""
        if "brmix" in self.errors and self.error_count["brmix"] == 2:
            # custodian would try a Monkhorst-Pack mesh next: straight to its last step, without symmetry and
            # without the old density
            self.error_count["brmix"] = 4
        if "brmix" in self.errors and self.error_count["brmix"] > 4:
            return {"errors": sorted(self.errors), "actions": None}
        return _unless_tried(
            super().correct(directory),  # type: ignore[no-untyped-call]
            self._made,
            SAME_CORRECTIONS,
        )


def _unless_tried(answer: Answer, made: list[Answer], limit: int) -> Answer:
    """Return a correction, or that none is known if this very one was made `limit` times before."""
    tried = made.count(answer)
    made.append(dict(answer))
    return answer if tried < limit else {**answer, "actions": None}


class UnconvergedHandler(UnconvergedErrorHandler):
    """Custodian's handler, reading the part of vasprun.xml that it looks at, not the bands.

    Custodian goes back and forth between two settings until all corrections are used up; here each is tried
    once. A relaxation at its largest number of steps goes on from its last geometry `CONTINUATIONS` times.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Answer] = []

    def check(self, directory: str = "./") -> bool:
        """Tell whether a whole run did not converge."""
        try:
            run = load_vasprun(
                str(Path(directory) / self.output_filename),
                parse_dos=False,
                parse_eigen=False,
                parse_potcar_file=False,
            )
        except Exception:  # noqa: BLE001 - a file that is not whole is `vasp_restart`'s case
            return False
        return not run.converged

    def correct(self, directory: str = "./") -> Answer:
        """Correct what was not tried before."""
        answer: Answer = super().correct(directory)  # type: ignore[no-untyped-call]
        continued = any("file" in action for action in answer["actions"] or [])
        return _unless_tried(answer, self._made, CONTINUATIONS if continued else 1)


class MeshHandler(MeshSymmetryErrorHandler):
    """Custodian's handler, which looks for the message before it reads everything else."""

    def check(self, directory: str = "./") -> bool:
        """Tell whether VASP found mesh and lattice at odds and did not converge."""
        try:
            said = (Path(directory) / self.output_filename).read_text(errors="replace")
        except OSError:
            return False
        return MESH_SYMMETRY in said and bool(super().check(directory))


class HangHandler(FrozenJobErrorHandler):
    """Start a run again, from its last geometry if it has one, when its output stands still.

    Custodian's own gives up on a hang in the first geometry, which on a cluster is mostly a hung MPI start.
    """

    mended = 0

    def check(self, directory: str = "./") -> bool:
        """Tell whether none of the files that VASP writes as it goes has changed for too long.

        Its standard output alone may lie in a buffer for hours.
        """
        written = []
        for name in (self.output_filename, "OSZICAR", "OUTCAR"):
            with suppress(OSError):
                written.append((Path(directory) / name).stat().st_mtime)
        return bool(written) and time.time() - max(written) > self.timeout

    def correct(self, directory: str = "./") -> Answer:
        """Copy CONTCAR to POSCAR if it is whole; VASP was ended already."""
        if self.mended >= HANGS_MENDED:
            return {"errors": [f"no output for {self.timeout:g} s"], "actions": None}
        self.mended += 1
        backup(VASP_BACKUP_FILES | {self.output_filename}, directory=directory)
        actions: list[dict[str, Any]] = []
        if is_valid_poscar("CONTCAR", directory):
            actions.append({"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}})
        # orbitals of a killed run may be half written
        actions.append({"file": "WAVECAR", "action": {"_file_delete": {"mode": "actual"}}})
        VaspModder(directory=directory).apply_actions(actions)
        return {"errors": [f"no output for {self.timeout:g} s"], "actions": actions}


class WalltimeHandler(ErrorHandler):
    """Ask VASP to stop at the end of a step while the queue still lets it write its files.

    Custodian's handler takes the first job of a process for the start of the clock; here the end is known.

    Parameters
    ----------
    end
        When the queue ends the job (seconds since the epoch).
    buffer
        Time to leave for the last step and for what follows (s).
    static
        A static run is stopped at its next SCF step, a relaxation after its geometry.
    """

    is_monitor = True
    is_terminating = False
    raises_runtime_error = False

    def __init__(self, end: float, buffer: float, static: bool) -> None:
        self.end, self.buffer, self.static = end, buffer, static
        self.stopped = False
        self.steps_seen, self.step_began, self.longest = 0, time.time(), 0.0

    def check(self, directory: str = "./") -> bool:
        """Tell, once, that less is left than the buffer and 1.5 of the longest geometry so far."""
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

    def correct(self, directory: str = "./") -> Answer:
        """Write STOPCAR."""
        self.stopped = True
        content = "LABORT = .TRUE." if self.static else "LSTOP = .TRUE."
        modder = Modder(actions=[FileActions], directory=directory)
        modder.modify({"_file_create": {"content": content}}, "STOPCAR")
        return {"errors": ["walltime"], "actions": None}


class WholeFiles(Validator):
    """Checks that the run wrote its files to the end; cheaper than parsing all of vasprun.xml."""

    def check(self, directory: str = "./") -> bool:
        """Return True if the run is not whole."""
        folder = Path(directory)
        return not ends_whole(folder) or find_file(folder, "CONTCAR") is None


def handlers(
    *, static: bool, hang_timeout: float, end: float | None, walltime_buffer: float
) -> list[ErrorHandler]:
    """Return the handlers of a run, in the order they are asked.

    Parameters
    ----------
    static
        Whether the run has one geometry.
    hang_timeout
        Output that stands still for so long is a hang (s).
    end
        When the queue ends the job (seconds since the epoch), if that is known.
    walltime_buffer
        Time to leave before it (s).
    """
    chosen: list[ErrorHandler] = [
        SlabErrorHandler(),
        StdErrHandler(),
        MeshHandler(),
        UnconvergedHandler(),
        NonConvergingErrorHandler(),
        PotimErrorHandler(),
        HangHandler(timeout=hang_timeout),
    ]
    if end is not None:
        chosen.insert(0, WalltimeHandler(end, walltime_buffer, static))
    return chosen


def job_end(environment: Mapping[str, str]) -> float | None:
    """Return when the queue ends this job (seconds since the epoch), None if nothing says so.

    ``MGSURF_JOB_END_TIME`` serves every queue; Slurm sets ``SLURM_JOB_END_TIME``.
    """
    for name in ("MGSURF_JOB_END_TIME", "SLURM_JOB_END_TIME"):
        try:
            return float(environment[name])
        except (KeyError, ValueError):
            continue
    return None
