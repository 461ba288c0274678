"""OUTCAR and OSZICAR: moments, times, and with vasprun.xml whether the loops of a run converged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from stores.input_files import DAMAGED, LARGEST_TEXT, lines_of, open_input

if TYPE_CHECKING:
    from pathlib import Path

    from workflows.engines.vasp.vasprun import VasprunData

# a number, or what stands in its place where it was too large for its field (****, NaN, Infinity)
_WORD = rb"([-+]?\d+\.\d+(?:[eE][-+]?\d+)?|\*+|[-+]?nan|[-+]?inf(?:inity)?)"
_FERMI = re.compile(rb"E-fermi\s*:\s*" + _WORD, re.IGNORECASE)
_FREE_ENERGY = re.compile(rb"TOTEN\s*=\s*" + _WORD, re.IGNORECASE)
_ENERGY = re.compile(rb"energy\(sigma->0\)\s*=\s*" + _WORD, re.IGNORECASE)
_ELAPSED = re.compile(rb"Elapsed time \(sec\):\s*" + _WORD, re.IGNORECASE)
_MAGNETIZATION = re.compile(rb"number of electron\s+\S+\s+magnetization\s+" + _WORD, re.IGNORECASE)


LOOSEST_EDIFF = 5e-4
"""Largest EDIFF (eV per atom) of an energy that a surface energy rests on: 5 meV in a slab of ten atoms."""

CELL_CHANGES = 3
CONSTANT_VOLUME, VOLUME_ONLY = (4, 5), (7, 8)
"""From this value of ISIF on a relaxation changes the cell: all of it, but for these values (VASP wiki)."""

LARGEST_STRESS = 5.0
"""Stress (kB) left in a relaxed cell: below 1 meV/atom in a metal with a bulk modulus of 35 GPa (Mg)."""

SLACK = 1.05  # factor on a criterion for the rounding of what was written


@dataclass
class OutcarData:
    """Content of an OUTCAR; an empty one stands for a missing file."""

    fermi_energy: float | None = None  # of the last electronic loop (eV)
    free_energy: float | None = None  # TOTEN of the last ionic step (eV)
    energy: float | None = None  # energy(sigma->0) of the last ionic step (eV)
    # what stands in place of a finite number, such as ``********``: "energy", "Fermi energy"
    unreadable: dict[str, str] = field(default_factory=dict)
    # whether the last electronic loop ended because EDIFF was reached; None if it did not end
    scf_converged: bool | None = None
    ionic_converged: bool = False  # whether VASP reports that the required accuracy was reached
    # last one (Bohr magnetons per cell); None without spin polarisation
    total_magnetization: float | None = None
    # last table (Bohr magnetons); empty without LORBIT
    site_magnetizations: list[float] = field(default_factory=list)
    elapsed: float | None = None  # wall time (s); None unless the run came to its end

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and wrote its timing."""
        return self.elapsed is not None


def read_outcar(path: Path) -> OutcarData:
    """Read an OUTCAR of VASP 5 or 6; one that was cut off gives what is there.

    Raises
    ------
    InputError
        If the file is empty or cannot be opened.
    """
    data = OutcarData()
    table: list[float] | None = None
    rules = 0
    try:
        with open_input(path) as stream:
            for line in lines_of(stream):
                if table is not None:
                    rules += line.startswith(b"----")
                    if rules == 2 or (rules == 1 and not line.strip()):  # no closing rule below one ion
                        data.site_magnetizations, table = table, None
                    elif rules == 1 and not line.startswith(b"----"):
                        table.append(_last_number(line))
                elif b"E-fermi" in line:
                    data.fermi_energy = _found(_FERMI, line, data.fermi_energy, data, "Fermi energy")
                elif b"TOTEN" in line and b"free  energy" in line:
                    data.free_energy = _found(_FREE_ENERGY, line, data.free_energy, data, "energy")
                    data.energy = None
                elif b"energy  without entropy" in line:  # of the ionic step, recognised by the two blanks
                    data.energy = _found(_ENERGY, line, data.energy, data)
                elif b"aborting loop" in line:
                    data.scf_converged = b"EDIFF is reached" in line
                elif b"number of electron" in line:
                    data.total_magnetization = _found(_MAGNETIZATION, line, data.total_magnetization, data)
                elif b"magnetization (x)" in line:
                    table, rules = [], 0
                elif b"reached required accuracy" in line:
                    data.ionic_converged = True
                elif b"Elapsed time" in line:
                    data.elapsed = _found(_ELAPSED, line, None, data)
    except DAMAGED:
        data.elapsed = None  # compressed and cut off
    return data


def read_total_magnetization(oszicar: Path) -> float | None:
    """Return the last total moment (Bohr magnetons per cell) of an OSZICAR; None if it names none."""
    try:
        with open_input(oszicar) as stream:
            text = stream.read(LARGEST_TEXT)
            found = re.findall(rb"mag=\s*" + _WORD, text, re.IGNORECASE)
    except DAMAGED:
        return None
    return _finite(found[-1]) if found else None


def _found(
    pattern: re.Pattern[bytes], line: bytes, known: float | None, data: OutcarData, what: str = ""
) -> float | None:
    """Return the number in a line, None if it is none, `known` if the line is of another kind."""
    match = pattern.search(line)
    if match is None:
        return known
    number = _finite(match[1])
    if what:
        data.unreadable.pop(what, None)
        if number is None:
            data.unreadable[what] = match[1].decode("ascii")
    return number


def _finite(word: bytes) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _last_number(line: bytes) -> float:
    try:
        return float(line.split()[-1])
    except (ValueError, IndexError):
        return float("nan")


def unconverged(data: VasprunData, outcar: OutcarData) -> list[str]:
    """Return which loops ended before its criterion was met, or had too loose a criterion."""
    reasons = _electronic(data, outcar)
    nsw = data.most_ionic_steps
    if nsw <= 1 or outcar.ionic_converged:
        return reasons
    n = len(data.steps)
    if n >= nsw:
        return [*reasons, f"the relaxation stopped after NSW = {nsw} steps"]
    # without OUTCAR, or without its end, only vasprun.xml shows it
    why = "" if outcar.complete else _ionic(data)
    if why or outcar.complete:
        reasons.append(f"the relaxation was stopped after {n} of at most {nsw} steps{why and '; '}{why}")
    return reasons


def _electronic(data: VasprunData, outcar: OutcarData) -> list[str]:
    reasons = []
    nelm = data.integer("NELM", 60)
    change, ediff = data.steps[-1].last_change, data.real("EDIFF", 1e-4)
    # VASP 5.4 writes "EDIFF is reached" also where NELM ended the loop
    reached_at_last = outcar.scf_converged and change is not None and change <= ediff
    if data.steps[-1].scf_steps >= nelm and not reached_at_last:
        reasons.append(f"the electronic loop stopped after NELM = {nelm} steps")
    elif outcar.scf_converged is False:
        reasons.append("the electronic loop ended before EDIFF was reached")
    if ediff > LOOSEST_EDIFF * max(len(data.species), 1):
        reasons.append(
            f"EDIFF = {ediff:g} eV for {len(data.species)} atoms is looser than {LOOSEST_EDIFF:g} eV/atom"
        )
    return reasons


def _ionic(data: VasprunData) -> str:
    """Return how far the last step of vasprun.xml is from EDIFFG; empty if converged."""
    limit = data.real("EDIFFG", 10 * data.real("EDIFF", 1e-4))
    # forces vanish by symmetry in many crystals, however strained they are
    if (stress := _largest_stress(data)) > LARGEST_STRESS:
        return (
            f"its last stress is {stress:.1f} kB"
            if isfinite(stress)
            else "no stress shows how strained it is"
        )
    if limit < 0:
        force = max_force(data)
        if force is None:
            return "neither OUTCAR nor forces show whether it converged"
        return f"its last force is {force:.3f} eV/A, above {-limit:g}" if force > SLACK * -limit else ""
    energies = [step.free_energy for step in data.steps[-2:] if step.free_energy is not None]
    if len(energies) < 2:
        return f"without OUTCAR one step cannot meet EDIFFG = {limit:g} eV"
    change = abs(energies[1] - energies[0])
    return f"its last change is {change:.2g} eV, above EDIFFG = {limit:g}" if change > SLACK * limit else ""


def _largest_stress(data: VasprunData) -> float:
    """Return the largest component (kB) of the stress that ISIF relaxes, less PSTRESS; inf if not known."""
    isif = data.integer("ISIF", 2)
    if isif < CELL_CHANGES:
        return 0.0
    if data.stress is None or data.stress.shape != (3, 3):
        return np.inf
    mean = np.trace(data.stress) / 3 * np.eye(3)
    if isif in CONSTANT_VOLUME:
        left = data.stress - mean
    else:
        stress = mean if isif in VOLUME_ONLY else data.stress
        left = stress - data.real("PSTRESS", 0.0) * np.eye(3)
    largest = float(np.abs(left).max())
    return largest if isfinite(largest) else np.inf


def max_force(data: VasprunData) -> float | None:
    """Return the largest force on a free atom (eV/A), along its free directions; None if not known."""
    forces = data.forces
    if forces is None or forces.shape != (len(data.species), 3) or not np.isfinite(forces).all():
        return None
    selective = data.initial.selective if data.initial is not None else None
    if data.initial is not None and selective is not None and selective.shape == forces.shape:
        # flags refer to the lattice vectors; a frozen atom has none, and partly free ones are rare
        lattice = data.initial.lattice
        orthogonal = np.abs(lattice - np.diag(np.diag(lattice))).max() < 1e-6
        forces = forces * (selective if orthogonal else selective.any(axis=1, keepdims=True))
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))
