"""What OUTCAR and OSZICAR say that vasprun.xml does not: how the loops ended, moments, times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from stores.input_files import DAMAGED, LARGEST_TEXT, lines_of, open_input

if TYPE_CHECKING:
    from pathlib import Path

# a number, or what stands in its place where it was too large for its field (****, NaN, Infinity)
_WORD = rb"([-+]?\d+\.\d+(?:[eE][-+]?\d+)?|\*+|[-+]?nan|[-+]?inf(?:inity)?)"
_FERMI = re.compile(rb"E-fermi\s*:\s*" + _WORD, re.IGNORECASE)
_FREE_ENERGY = re.compile(rb"TOTEN\s*=\s*" + _WORD, re.IGNORECASE)
_ENERGY = re.compile(rb"energy\(sigma->0\)\s*=\s*" + _WORD, re.IGNORECASE)
_ELAPSED = re.compile(rb"Elapsed time \(sec\):\s*" + _WORD, re.IGNORECASE)
_MAGNETIZATION = re.compile(rb"number of electron\s+\S+\s+magnetization\s+" + _WORD, re.IGNORECASE)


@dataclass
class OutcarData:
    """What an OUTCAR says.

    Attributes
    ----------
    fermi_energy
        Of the last electronic loop (eV).
    free_energy, energy
        TOTEN and energy(sigma->0) of the last ionic step (eV).
    unreadable
        What stands in place of a finite number, such as ``********``: "energy", "Fermi energy".
    scf_converged
        Whether the last electronic loop ended because EDIFF was reached; None if it did not end.
    ionic_converged
        Whether VASP said that the required accuracy was reached.
    total_magnetization
        Last one (Bohr magnetons per cell); None without spin polarisation.
    site_magnetizations
        Last table (Bohr magnetons); empty without LORBIT.
    elapsed
        Wall time (s); None unless the run came to its end.
    """

    fermi_energy: float | None = None
    free_energy: float | None = None
    energy: float | None = None
    unreadable: dict[str, str] = field(default_factory=dict)
    scf_converged: bool | None = None
    ionic_converged: bool = False
    total_magnetization: float | None = None
    site_magnetizations: list[float] = field(default_factory=list)
    elapsed: float | None = None

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and wrote its timing."""
        return self.elapsed is not None


def read_outcar(path: Path) -> OutcarData:
    """Read an OUTCAR of VASP 5 or 6 line by line; one that was cut off gives what is there.

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
    """Return the last total moment (Bohr magnetons per cell) of an OSZICAR; None if it names none.

    Raises
    ------
    InputError
        If the file is empty or cannot be opened.
    """
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
