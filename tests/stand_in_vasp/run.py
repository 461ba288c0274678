"""A run of the stand-in VASP in the current folder.

Real are the files, their formats and order, the exit status, restarts and the stopping rules; energies,
potentials and bands are those of `model`, `potential` and `calculation`. It knows electronic minimisation and
relaxation (IBRION 1 to 3, ISIF 2, 3 and 7) on automatic meshes, stops with a message at anything else, and
ignores symmetry.

Environment: ``STAND_IN_VASP_VERSION`` (``6`` or ``5.4.4``, see `version`), and the faults of `faults`.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests.stand_in_vasp import faults
from tests.stand_in_vasp.calculation import Calculation, Energies
from tests.stand_in_vasp.electronic import NEXT_GEOMETRY, RATIO, Loop, run_loop, start
from tests.stand_in_vasp.inputs import VaspInputError
from tests.stand_in_vasp.model import Evaluation
from tests.stand_in_vasp.outcar import Outcar
from tests.stand_in_vasp.relaxation import Relaxation
from tests.stand_in_vasp.small_files import (
    append_xdatcar,
    write_bands,
    write_contcar,
    write_locpot,
    write_restart,
)
from tests.stand_in_vasp.vasprun_xml import VasprunXml
from tests.stand_in_vasp.version import chosen

SLOW_RATIO = 0.995  # of the electronic error, where it shall not converge
LARGE_ENTROPY = 20.0  # times the normal one
LARGE_DRIFT = 0.3  # eV/A
LOST_CHARGE = 0.8  # eV per atom, by which the energy is wrong after BRMIX


class StoppedError(Exception):
    """The run ends here with an exit status."""

    def __init__(self, status: int) -> None:
        self.status = status


def say(text: str) -> None:
    print(text, flush=True)


class Run:
    """One run: `go` does it."""

    def __init__(self) -> None:
        self.version = chosen()
        say(f"{self.version.running}\n distrk:  each k-point on    1 cores,    1 groups")
        say(f" distr:  one band on    1 cores,    1 groups\n{self.version.banner}")
        # VASP opens its files before it knows whether the input is right
        names = ("OUTCAR", "OSZICAR", "vasprun.xml")
        self._files = {name: Path(name).open("w") for name in names}  # noqa: SIM115 -- open for the whole run
        Path("CONTCAR").write_text("")
        self.calculation = c = Calculation()
        say(f" POSCAR found type information on POSCAR {''.join(f'{n:<2}' for n in c.crystal.names)}")
        say(f" POSCAR found : {len(c.counts):2d} types and {len(c.symbols):7d} ions")
        if c.renamed:
            say(" WARNING: type information on POSCAR and POTCAR are incompatible")
            say(" POTCAR overwrites the type information in POSCAR")
        self.struck = faults.strike(c)
        self.early = int(os.environ.get("STAND_IN_VASP_STEPS", "2"))
        if "entropy" in self.struck:
            c.entropy *= LARGE_ENTROPY
        self.error, message = start(c)
        say(" LDA part: xc-table for Pade appr. of Perdew\n POSCAR, INCAR and KPOINTS ok, starting setup")
        say(f"{message}\n entering main loop")
        self.outcar = Outcar(self._files["OUTCAR"], c, self.version)
        self.outcar.drift = LARGE_DRIFT if "drift" in self.struck else 0.0
        self.vasprun = VasprunXml(self._files["vasprun.xml"], c, self.version)
        self.relaxation = Relaxation(c, stuck="nsw" in self.struck)
        self.previous = 0.0

    def go(self) -> int:
        """Run to the end and return the exit status."""
        c, relaxation = self.calculation, self.relaxation
        while True:
            time.sleep(float(os.environ.get("STAND_IN_VASP_DELAY", "0")))
            lattice, positions = relaxation.lattice.copy(), relaxation.positions.copy()
            self._ionic_step(lattice, positions, c.evaluate(lattice, positions))
            # VASP writes the geometry it goes to next
            ended = relaxation.accept(self.found) or self._asked_to_stop()
            write_contcar(c, relaxation.lattice, relaxation.positions, self.version)
            self._strike_between(ended)
            if ended:
                break
        self._finish(lattice, positions)
        return 0

    def _ionic_step(self, lattice: np.ndarray, positions: np.ndarray, found: Evaluation) -> None:
        c, step = self.calculation, self.relaxation.steps + 1
        if "brmix" in self.struck:
            found = Evaluation(found.energy + LOST_CHARGE * len(c.symbols), found.forces, found.virial)
        loop = run_loop(
            c,
            found.energy,
            self.error if step == 1 else NEXT_GEOMETRY * len(c.symbols),
            ratio=SLOW_RATIO if "nelm" in self.struck else RATIO,
        )
        self.vasprun.begin()
        energies = self._electronic(loop, step)
        self.outcar.loop_end(loop.converged)
        self.found = Evaluation(energies.zero, found.forces, found.virial)
        self.outcar.ionic(lattice, positions, found, energies)
        self.vasprun.ionic(lattice, positions, found, energies)
        append_xdatcar(c, lattice, positions, step)
        moment = f"  mag={c.moments.sum():11.4f}" if c.tags["ISPIN"] == 2 else ""
        change = energies.free - self.previous
        self._oszicar(f"{step:4d} F= {energies.free:.8E} E0= {energies.zero:.8E}  d E ={change:.6E}{moment}")
        self.previous = energies.free

    def _electronic(self, loop: Loop, ionic: int) -> Energies:
        c = self.calculation
        self._oszicar(
            "       N       E                     dE             d eps       ncg     rms          rms(c)"
        )
        before = 0.0
        for n, zero in enumerate(loop.energies, 1):
            energies = c.energies(zero)
            self.outcar.electronic(ionic, n, energies, float(c.moments.sum()))
            self.vasprun.electronic(energies)
            change = energies.free - before
            self._oszicar(
                f"DAV: {n:3d} {energies.free:20.12E} {change:14.5E} {change / 2:14.5E}"
                f"{len(c.symbols) * 100:6d} {abs(change):11.3E}"
            )
            before = energies.free
            if n == 2:
                self._strike_inside(ionic)
        return energies

    def _oszicar(self, line: str) -> None:
        self._files["OSZICAR"].write(line + "\n")
        self._files["OSZICAR"].flush()
        say(line)

    def _strike_between(self, ended: bool) -> None:
        """Faults between two ionic steps, and those that found no step to strike in."""
        if "zbrent" in self.struck and (ended or self.relaxation.steps >= self.early):
            say(" ZBRENT: fatal error in bracketing")
            say("     please rerun with smaller EDIFF, or copy CONTCAR")
            say("     to POSCAR and continue")
            raise StoppedError(1)
        endless = "walltime" in self.struck and self.struck["walltime"].runs is None
        if ended and not endless:
            self._strike_down()

    def _strike_inside(self, ionic: int) -> None:
        """Faults in the middle of an electronic loop; a static run has only one loop."""
        if "edddav" in self.struck:
            say(" Error EDDDAV: Call to ZHEGV failed. Returncode =   7 1   8")
            raise StoppedError(1)
        if "brmix" in self.struck and ionic == 1:
            say(" BRMIX: very serious problems\n  the old and the new charge density differ")
            charge = self.calculation.electrons
            say(f"  old charge density: {charge:12.5f} new {1.01 * charge:12.5f}")
        if ionic > self.early or self.relaxation.nsw <= self.early:
            self._strike_down()

    def _strike_down(self) -> None:
        """Faults that end the run at once."""
        if "cutoff" in self.struck:
            self._cut("OUTCAR", "vasprun.xml")
            raise StoppedError(1)
        if "disk" in self.struck:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "OUTCAR")
        if "hang" in self.struck:
            time.sleep(float(os.environ.get("STAND_IN_VASP_HANG", "3600")))
            raise StoppedError(1)
        for name, number in (("sigkill", signal.SIGKILL), ("walltime", signal.SIGTERM)):
            if name in self.struck:
                os.kill(os.getpid(), number)

    def _cut(self, *names: str) -> None:
        """Cut files in mid-line."""
        for name in names:
            self._files[name].flush()
            text = Path(name).read_text()
            Path(name).write_text(text[: int(0.9 * len(text)) - 7])

    def _asked_to_stop(self) -> bool:
        """Read STOPCAR, as VASP does after each ionic step."""
        if not Path("STOPCAR").is_file() or self.relaxation.nsw == 0:
            return False
        if not re.search(r"(LSTOP|LABORT)\s*=\s*\.?T", Path("STOPCAR").read_text(), re.IGNORECASE):
            return False
        self.outcar.write(" soft stop encountered!  aborting job ...\n")
        say(" soft stop encountered!  aborting job ...")
        return True

    def _finish(self, lattice: np.ndarray, positions: np.ndarray) -> None:
        c, tags = self.calculation, self.calculation.tags
        if self.relaxation.converged and self.relaxation.nsw:
            say(" reached required accuracy - stopping structural energy minimisation")
        self.vasprun.finish(lattice, positions)
        write_bands(c)
        if tags["LVTOT"] or tags["LVHAR"]:
            write_locpot(c, lattice, positions)
        write_restart(c, lattice, positions)
        if tags["LWAVE"]:
            say(" writing wavefunctions")
        self.outcar.finish(accuracy=self.relaxation.converged and self.relaxation.nsw > 0)
        if "truncated_xml" in self.struck:
            self._cut("vasprun.xml")
        if "empty_contcar" in self.struck:
            Path("CONTCAR").write_text("")


def main() -> int:
    """Run in the current folder and return the exit status."""
    try:
        return Run().go()
    except VaspInputError as fault:
        say(str(fault))
        print(str(fault), file=sys.stderr)
        return 1
    except StoppedError as stopped:
        return stopped.status
    except OSError as error:
        name = error.filename or "OUTCAR"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(
                f"forrtl: severe (9): permission to access file denied, file {Path.cwd() / name}",
                file=sys.stderr,
            )
            return 9
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        print(f"forrtl: {os.strerror(error.errno)}", file=sys.stderr)
        print(
            f"forrtl: severe (38): error during write, unit 8, file {Path.cwd() / name}",
            file=sys.stderr,
            flush=True,
        )
        # as Fortran, without writing what is still in buffers
        os._exit(38)
