"""What OUTCAR and OSZICAR say that vasprun.xml does not: how the loops ended, moments, times."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workflows.engines.vasp_files import open_output

if TYPE_CHECKING:
    from pathlib import Path

_FLOAT = rb"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?"
_FERMI = re.compile(rb"E-fermi\s*:\s*(" + _FLOAT + rb")")
_FREE_ENERGY = re.compile(rb"TOTEN\s*=\s*(" + _FLOAT + rb")\s*eV")
_ELAPSED = re.compile(rb"Elapsed time \(sec\):\s*(" + _FLOAT + rb")")
_MAGNETIZATION = re.compile(rb"number of electron\s+\S+\s+magnetization\s+(" + _FLOAT + rb")")


@dataclass
class OutcarData:
    """What an OUTCAR says.

    Attributes
    ----------
    fermi_energy
        Of the last electronic loop (eV).
    free_energy
        TOTEN of the last ionic step (eV).
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
        with open_output(path) as stream:
            for line in stream:
                if table is not None:
                    rules += line.startswith(b"----")
                    if rules == 2 or (rules == 1 and not line.strip()):  # no closing rule below one ion
                        data.site_magnetizations, table = table, None
                    elif rules == 1 and not line.startswith(b"----"):
                        table.append(_last_number(line))
                elif b"E-fermi" in line:
                    data.fermi_energy = _first(_FERMI, line, data.fermi_energy)
                elif b"TOTEN" in line and b"free  energy" in line:
                    data.free_energy = _first(_FREE_ENERGY, line, data.free_energy)
                elif b"aborting loop" in line:
                    data.scf_converged = b"EDIFF is reached" in line
                elif b"number of electron" in line:
                    data.total_magnetization = _first(_MAGNETIZATION, line, data.total_magnetization)
                elif b"magnetization (x)" in line:
                    table, rules = [], 0
                elif b"reached required accuracy" in line:
                    data.ionic_converged = True
                elif b"Elapsed time" in line:
                    data.elapsed = _first(_ELAPSED, line, None)
    except (EOFError, zlib.error, OSError):
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
        with open_output(oszicar) as stream:
            found = re.findall(rb"mag=\s*(" + _FLOAT + rb")", stream.read())
    except (EOFError, zlib.error, OSError):
        return None
    return float(found[-1]) if found else None


def _first(pattern: re.Pattern[bytes], line: bytes, known: float | None) -> float | None:
    match = pattern.search(line)
    return float(match[1]) if match else known


def _last_number(line: bytes) -> float:
    try:
        return float(line.split()[-1])
    except (ValueError, IndexError):
        return float("nan")
