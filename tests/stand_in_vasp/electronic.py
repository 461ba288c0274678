"""How many electronic steps it takes: the error of the energy shrinks by a constant factor in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.stand_in_vasp.calculation import Calculation, has_content
from tests.stand_in_vasp.inputs import VaspInputError

RATIO = 0.25
FROM_SCRATCH = 40.0  # eV per atom: error of the first step
FROM_DENSITY = 0.5
FROM_ORBITALS = 0.02
NEXT_GEOMETRY = 0.2


@dataclass(frozen=True)
class Loop:
    """The energies(sigma->0) (eV) of one electronic loop, and whether it met EDIFF."""

    energies: list[float]
    converged: bool


def start(calculation: Calculation) -> tuple[float, str]:
    """Return the first error (eV) and what VASP reports about its start."""
    tags, atoms = calculation.tags, len(calculation.symbols)
    if tags["ISTART"] > 0 and has_content("WAVECAR"):
        mark = Path("WAVECAR").read_bytes()[:80].decode(errors="replace").split()
        if mark[:1] == ["stand-in"] and mark[1] != str(atoms):
            raise VaspInputError(
                " ERROR: while reading WAVECAR, plane wave coefficients changed\n"
                f" expected atoms {atoms}, found {mark[1]}"
            )
        return (
            FROM_ORBITALS * atoms,
            " found WAVECAR, reading the header\n the WAVECAR file was read successfully",
        )
    if tags["ICHARG"] in (1, 11) and has_content("CHGCAR"):
        return FROM_DENSITY * atoms, " WAVECAR not read\n charge-density read from file: CHGCAR"
    return FROM_SCRATCH * atoms, " WAVECAR not read"


def run_loop(calculation: Calculation, zero: float, error: float, *, ratio: float = RATIO) -> Loop:
    """Approach the energy ``zero`` (eV) from an error of ``error`` (eV)."""
    tags = calculation.tags
    energies: list[float] = []
    for step in range(1, int(tags["NELM"]) + 1):
        left = error * ratio**step
        change = left * (1 / ratio - 1)
        if change < tags["EDIFF"] and step >= max(int(tags["NELMIN"]), 3):
            return Loop([*energies, zero], True)
        energies.append(zero + left)
    return Loop(energies, False)
