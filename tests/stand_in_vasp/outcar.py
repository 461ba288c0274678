"""Writing OUTCAR piece by piece, as a run proceeds."""

from __future__ import annotations

from typing import TextIO

import numpy as np

from tests.stand_in_vasp.calculation import Calculation, Energies
from tests.stand_in_vasp.model import KBAR, Evaluation
from tests.stand_in_vasp.outcar_header import RULE, header
from tests.stand_in_vasp.potential import FERMI_ENERGY
from tests.stand_in_vasp.version import Version


class Outcar:
    """One OUTCAR; every method appends and flushes."""

    def __init__(self, file: TextIO, calculation: Calculation, version: Version) -> None:
        self._file, self._calculation, self._version = file, calculation, version
        self.drift = 0.0  # eV/A, printed on top of the real one
        self.write(header(calculation, version))

    def write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def electronic(self, ionic: int, step: int, energies: Energies, moment: float) -> None:
        c = self._calculation
        entropy = energies.free - energies.without_entropy
        self.write(f"""
{"-" * 39} Iteration {ionic:6d}({step:4d})  {"-" * 39}

     LOOP:  cpu time    0.0100: real time    0.0100

 number of electron {c.electrons:16.7f} magnetization {f"{moment:16.7f}" if c.tags["ISPIN"] == 2 else ""}

 Free energy of the ion-electron system (eV)
  ---------------------------------------------------
  alpha Z        PSCENC = {1.0:18.8f}
  entropy T*S    EENTRO = {entropy:18.8f}
  eigenvalues    EBANDS = {energies.free - 1.0 - entropy:18.8f}
  ---------------------------------------------------
  free energy    TOTEN  = {energies.free:18.8f} eV

  energy without entropy ={energies.without_entropy:18.8f}  energy(sigma->0) ={energies.zero:18.8f}


{RULE}

""")

    def loop_end(self, converged: bool) -> None:
        if converged:
            self.write("\n" + "-" * 24 + " aborting loop because EDIFF is reached " + "-" * 40 + "\n\n")
        else:
            self.write(
                "\n" + "-" * 24 + " aborting loop EDIFF was not reached (unconverged)  " + "-" * 28 + "\n\n"
            )

    def ionic(
        self, lattice: np.ndarray, positions: np.ndarray, found: Evaluation, energies: Energies
    ) -> None:
        c = self._calculation
        core = "".join(
            f"{i:8d}{-50.0:9.4f}" + ("\n" if i % 5 == 0 else "") for i in range(1, len(c.symbols) + 1)
        )
        self.write(
            f"\n average (electrostatic) potential at core\n"
            f"  the test charge radii are     1.0000\n{core}\n\n"
        )
        self._bands()
        stress = found.virial / abs(np.linalg.det(lattice)) * KBAR
        order = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]
        self.write(
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
            "  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
            f"  Total  {''.join(f'{found.virial[a]:12.5f}' for a in order)}\n"
            f"  in kB  {''.join(f'{stress[a]:12.5f}' for a in order)}\n"
            f"  external pressure = {np.trace(stress) / 3:11.2f} kB  Pullay stress = {0.0:8.2f} kB\n\n"
            " VOLUME and BASIS-vectors are now :\n " + "-" * 77 + "\n"
            f"  energy-cutoff  : {c.tags['ENCUT']:12.2f}\n"
            f"  volume of cell : {abs(np.linalg.det(lattice)):12.2f}\n"
            "      direct lattice vectors                 reciprocal lattice vectors\n"
        )
        reciprocal = np.linalg.inv(lattice).T
        for row in np.hstack([lattice, reciprocal]):
            self.write(" " + "".join(f"{x:15.9f}" for x in row) + "\n")
        line = " " + "-" * 83 + "\n"
        self.write("\n\n POSITION                                       TOTAL-FORCE (eV/Angst)\n" + line)
        for row in np.hstack([positions, found.forces]):
            self.write(" " + "".join(f"{x:14.6f}" for x in row) + "\n")
        drift = "".join(f"{x:14.6f}" for x in found.forces.sum(axis=0) + self.drift)
        self.write(f"{line}    total drift:                           {drift}\n\n\n{RULE}\n")
        self.write(f"""


  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {energies.free:18.8f} eV

  energy  without entropy={energies.without_entropy:18.8f}  energy(sigma->0) ={energies.zero:18.8f}



{RULE}


     LOOP+:  cpu time    0.0100: real time    0.0100

""")

    def _bands(self) -> None:
        """Fermi energy, and the bands of the first k point only: the file stays small."""
        energies, occupations = self._calculation.eigenvalues()
        if self._version.number.startswith("6"):
            self.write(f"  Fermi energy: {FERMI_ENERGY:14.10f}\n\n")
        self.write(f"\n E-fermi :{FERMI_ENERGY:9.4f}     XC(G=0):  -5.0000     alpha+bet : -4.0000\n\n")
        for spin in range(len(energies)):
            if len(energies) == 2:
                self.write(f"\n spin component {spin + 1}\n\n")
            k = self._calculation.mesh.points[0]
            self.write(
                f" k-point     1 : {k[0]:12.4f}{k[1]:10.4f}{k[2]:10.4f}\n"
                "  band No.  band energies     occupation \n"
            )
            for n, (e, o) in enumerate(zip(energies[spin, 0], occupations[spin, 0], strict=True), 1):
                self.write(f"{n:7d}{e:13.4f}{o * (3 - len(energies)):13.5f}\n")
        self.write("\n")

    def finish(self, *, accuracy: bool) -> None:
        """Write moments and timing, the end of a run that ended well."""
        c = self._calculation
        if accuracy:
            self.write("\n reached required accuracy - stopping structural energy minimisation\n")
        if c.tags["LORBIT"] >= 10:
            tables = [("total charge", np.array([p / 2 for p in self._valences()]))]
            if c.tags["ISPIN"] == 2:
                tables.append(("magnetization (x)", c.moments))
            for title, values in tables:
                self.write(f"\n {title}\n\n# of ion       s       p       d       tot\n" + "-" * 42 + "\n")
                for i, value in enumerate(values, 1):
                    self.write(f"{i:5d}    {0.0:8.3f}{0.0:8.3f}{value:8.3f}{value:8.3f}\n")
                total = values.sum()
                self.write("-" * 42 + f"\ntot      {0.0:8.3f}{0.0:8.3f}{total:8.3f}{total:8.3f}\n\n")
        timing = {
            "Total CPU time used (sec)": "0.100",
            "User time (sec)": "0.090",
            "System time (sec)": "0.010",
            "Elapsed time (sec)": "0.100",
        }
        memory = {"Maximum memory used (kb)": "50000.", "Average memory used (kb)": "N/A"}
        rows = "".join(
            f"{name:>36}: {value:>12}\n" for name, value in (timing | {"": ""} | memory).items() if name
        )
        self.write(
            "\n\n General timing and accounting informations for this job:\n"
            f" ========================================================\n\n{rows}\n"
            f"{'Minor page faults':>36}: {10000:>12}\n{'Major page faults':>36}: {0:>12}\n"
            f"{'Voluntary context switches':>36}: {100:>12}\n"
        )

    def _valences(self) -> list[float]:
        c = self._calculation
        return [p.valence for p, n in zip(c.potentials, c.counts, strict=True) for _ in range(n)]
