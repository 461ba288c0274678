"""Writing vasprun.xml piece by piece, as a run proceeds."""

from __future__ import annotations

from typing import Any, TextIO

import numpy as np

from tests.stand_in_vasp.calculation import Calculation, Energies
from tests.stand_in_vasp.inputs import INTEGERS, LOGICALS, STRINGS
from tests.stand_in_vasp.model import KBAR, Evaluation
from tests.stand_in_vasp.potential import FERMI_ENERGY
from tests.stand_in_vasp.version import Version


def _item(name: str, value: Any, pad: bool = False) -> str:
    if isinstance(value, list):
        return f'  <v name="{name}">' + "".join(f"{x:16.8f}" for x in value) + "</v>\n"
    if name in LOGICALS or isinstance(value, bool):
        return f'  <i type="logical" name="{name}"> {"T" if value else "F"}  </i>\n'
    if name in INTEGERS:
        return f'  <i type="int" name="{name}">{value:6d}</i>\n'
    if name in STRINGS or isinstance(value, str):
        return f'  <i type="string" name="{name}{"    " if pad else ""}">{value}</i>\n'
    return f'  <i name="{name}">{value:16.8f}</i>\n'


def _rows(name: str, rows: np.ndarray) -> str:
    body = "".join("   <v>" + "".join(f"{x:17.8f}" for x in row) + " </v>\n" for row in rows)
    return f'  <varray name="{name}" >\n{body}  </varray>\n'


class VasprunXml:
    """One vasprun.xml; every method appends and flushes."""

    def __init__(self, file: TextIO, calculation: Calculation, version: Version) -> None:
        self._file, self._calculation, self._version = file, calculation, version
        self._open = False
        c = calculation
        self._write('<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n')
        for name, text in (
            ("program", "vasp "),
            ("version", version.number + "  "),
            ("subversion", version.subversion),
            ("platform", "LinuxIFC "),
            ("date", "2024 01 01 "),
            ("time", "12:00:00 "),
        ):
            self._write(f'  <i name="{name}" type="string">{text}</i>\n')
        self._write(" </generator>\n <incar>\n")
        for name, value in c.incar.items():
            self._write(_item(name, value, version.pads_names))
        self._write(" </incar>\n")
        self._kpoints()
        self._write(' <parameters>\n <separator name="general" >\n')
        shown = {name: value for name, value in c.tags.items() if name not in ("ENCUT", "ALGO", "METAGGA")}
        shown |= {
            "ENMAX": float(c.tags["ENCUT"]),
            "NELECT": c.electrons,
            "NBANDS": c.bands,
            "SYSTEM": "unknown system",
        }
        shown |= {
            "IALGO": {"n": 38, "f": 68, "v": 48, "a": 58, "d": 53}.get(str(c.tags["ALGO"])[:1].lower(), 38)
        }
        for name, value in shown.items():
            self._write(_item(name, value, version.pads_names))
        self._write(_item("METAGGA", c.tags["METAGGA"]) + " </separator>\n </parameters>\n")
        self._atoms()
        self.structure(c.crystal.lattice, c.crystal.positions, "initialpos")

    def _write(self, text: str) -> None:
        self._file.write(text)

    def _kpoints(self) -> None:
        mesh = self._calculation.mesh
        self._write(f' <kpoints>\n  <generation param="{mesh.style}">\n   <v type="int" name="divisions">')
        self._write("".join(f"{n:8d} " for n in mesh.divisions) + "</v>\n")
        offset = [0.0] * 3 if mesh.style == "Gamma" else [0.5 * ((n + 1) % 2) for n in mesh.divisions]
        vectors = {"usershift": mesh.shift}
        vectors |= {
            f"genvec{i + 1}": tuple(row) for i, row in enumerate(np.diag(1 / np.array(mesh.divisions)))
        }
        for name, row in (vectors | {"shift": tuple(offset)}).items():
            self._write(f'   <v name="{name}">' + "".join(f"{x:17.8f}" for x in row) + " </v>\n")
        self._write("  </generation>\n" + _rows("kpointlist", mesh.points))
        self._write(_rows("weights", mesh.weights[:, None]) + " </kpoints>\n")

    def _atoms(self) -> None:
        c = self._calculation
        self._write(
            f" <atominfo>\n  <atoms>{len(c.symbols):8d} </atoms>\n  <types>{len(c.counts):8d} </types>\n"
        )
        self._write('  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n')
        self._write(
            '   <field type="string">element</field>\n   <field type="int">atomtype</field>\n   <set>\n'
        )
        for kind, (potential, n) in enumerate(zip(c.potentials, c.counts, strict=True), 1):
            self._write(f"    <rc><c>{potential.symbol:<2}</c><c>{kind:4d}</c></rc>\n" * n)
        self._write(
            '   </set>\n  </array>\n  <array name="atomtypes" >\n   <dimension dim="1">type</dimension>\n'
        )
        self._write('   <field type="int">atomspertype</field>\n   <field type="string">element</field>\n')
        self._write("   <field>mass</field>\n   <field>valence</field>\n")
        self._write('   <field type="string">pseudopotential</field>\n   <set>\n')
        for p, n in zip(c.potentials, c.counts, strict=True):
            self._write(f"    <rc><c>{n:4d}</c><c>{p.symbol:<2}</c><c>{p.mass:16.8f}</c>")
            self._write(f"<c>{p.valence:16.8f}</c><c>{'  ' + p.title:<40}</c></rc>\n")
        self._write("   </set>\n  </array>\n </atominfo>\n")

    def structure(self, lattice: np.ndarray, positions: np.ndarray, name: str = "") -> None:
        inverse = np.linalg.inv(lattice)
        self._write(f' <structure name="{name}" >\n' if name else " <structure>\n")
        self._write("  <crystal>\n" + _rows("basis", lattice))
        self._write(f'  <i name="volume">{abs(np.linalg.det(lattice)):17.8f} </i>\n')
        self._write(_rows("rec_basis", inverse.T) + "  </crystal>\n")
        self._write(_rows("positions", (positions @ inverse) % 1.0))
        if self._calculation.crystal.selective and name in ("initialpos", "finalpos"):
            flags = "".join(
                f'   <v type="logical" > {"  ".join("T" if x else "F" for x in row)} </v>\n'
                for row in self._calculation.crystal.free
            )
            self._write(f'  <varray type="logical" name="selective" >\n{flags}  </varray>\n')
        self._write(" </structure>\n")
        self._file.flush()

    def begin(self) -> None:
        """Open the block of an ionic step."""
        if self._open:
            self._write(" </calculation>\n")
        self._write(" <calculation>\n")
        self._open = True

    def electronic(self, energies: Energies) -> None:
        self._write('  <scstep>\n   <time name="dav">    0.01    0.01</time>\n')
        self._write('   <time name="total">    0.01    0.01</time>\n   <energy>\n')
        self._write(f'    <i name="e_fr_energy">{energies.free:17.8f} </i>\n')
        self._write(f'    <i name="e_wo_entrp">{energies.without_entropy:17.8f} </i>\n')
        self._write(f'    <i name="e_0_energy">{energies.zero:17.8f} </i>\n   </energy>\n  </scstep>\n')
        self._file.flush()

    def ionic(
        self, lattice: np.ndarray, positions: np.ndarray, found: Evaluation, energies: Energies
    ) -> None:
        self.structure(lattice, positions)
        self._write(_rows("forces", found.forces))
        self._write(_rows("stress", found.virial / abs(np.linalg.det(lattice)) * KBAR))
        # VASP 5 puts energy(sigma->0) under the name of the energy without entropy, and the entropy term
        # under e_0_energy, in this block only
        broken = self._version.misnames_energies
        second = energies.zero if broken else energies.without_entropy
        third = energies.free - energies.without_entropy if broken else energies.zero
        self._write(f'  <energy>\n   <i name="e_fr_energy">{energies.free:17.8f} </i>\n')
        self._write(
            f'   <i name="e_wo_entrp">{second:17.8f} </i>\n   <i name="e_0_energy">{third:17.8f} </i>\n'
        )
        self._write('  </energy>\n  <time name="totalsc">    0.01    0.01</time>\n')
        self._file.flush()

    def finish(self, lattice: np.ndarray, positions: np.ndarray) -> None:
        """Eigenvalues, density of states, final structure."""
        energies, occupations = self._calculation.eigenvalues()
        self._write("  <eigenvalues>\n   <array>\n")
        for i, name in enumerate(("band", "kpoint", "spin"), 1):
            self._write(f'    <dimension dim="{i}">{name}</dimension>\n')
        self._write("    <field>eigene</field>\n    <field>occ</field>\n    <set>\n")
        for spin, (e_spin, o_spin) in enumerate(zip(energies, occupations, strict=True), 1):
            self._write(f'     <set comment="spin {spin}">\n')
            for k, (e_k, o_k) in enumerate(zip(e_spin, o_spin, strict=True), 1):
                rows = "".join(f"       <r>{e:10.4f}{o:10.4f} </r>\n" for e, o in zip(e_k, o_k, strict=True))
                self._write(f'      <set comment="kpoint {k}">\n{rows}      </set>\n')
            self._write("     </set>\n")
        self._write("    </set>\n   </array>\n  </eigenvalues>\n")
        self._dos(energies)
        self._write(" </calculation>\n")
        self.structure(lattice, positions, "finalpos")
        self._write("</modeling>\n")
        self._file.flush()

    def _dos(self, energies: np.ndarray) -> None:
        c = self._calculation
        n = int(c.tags["NEDOS"])
        e = np.linspace(energies.min() - 1, energies.max() + 1, n)
        step = e[1] - e[0]
        self._write(f'  <dos>\n   <i name="efermi">{FERMI_ENERGY:17.8f} </i>\n   <total>\n    <array>\n')
        self._write(
            '     <dimension dim="1">gridpoints</dimension>\n     <dimension dim="2">spin</dimension>\n'
        )
        self._write(
            "     <field>energy</field>\n     <field>total</field>\n"
            "     <field>integrated</field>\n     <set>\n"
        )
        edges = np.append(e, e[-1] + step) - step / 2
        for spin, e_spin in enumerate(energies, 1):
            weight = np.repeat(c.mesh.weights[:, None], c.bands, 1) * (3 - len(energies))
            total = np.histogram(e_spin, edges, weights=weight)[0] / step
            self._write(f'      <set comment="spin {spin}">\n')
            for row in zip(e, total, np.cumsum(total) * step, strict=True):
                self._write("       <r>" + "".join(f"{x:11.4f}" for x in row) + " </r>\n")
            self._write("      </set>\n")
        self._write("     </set>\n    </array>\n   </total>\n")
        if c.tags["LORBIT"] >= 10:
            self._partial_dos(e, len(energies))
        self._write("  </dos>\n")

    def _partial_dos(self, e: np.ndarray, spins: int) -> None:
        orbitals = (
            ["s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2"]
            if self._calculation.tags["LORBIT"] > 10
            else ["s", "p", "d"]
        )
        self._write(
            '   <partial>\n    <array>\n     <dimension dim="1">gridpoints</dimension>\n'
            "     <field>energy</field>\n"
        )
        self._write("".join(f"     <field>{name:>5} </field>\n" for name in orbitals) + "     <set>\n")
        zeros = "".join(f"{0.1 / len(orbitals):10.4f}" for _ in orbitals)
        rows = "".join(f"        <r>{x:11.4f}{zeros} </r>\n" for x in e)
        for ion in range(1, len(self._calculation.symbols) + 1):
            self._write(f'      <set comment="ion {ion}">\n')
            for spin in range(1, spins + 1):
                self._write(f'       <set comment="spin {spin}">\n{rows}       </set>\n')
            self._write("      </set>\n")
        self._write("     </set>\n    </array>\n   </partial>\n")
