"""Stands in for CHGNet's worker: its code with a Morse calculator; `MORSE_WORKER_FAULT` makes it fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.core import Structure

from tests.engines.pair_engine import pair_energy
from workflows.jobs import pre_relaxation_worker


class Morse(Calculator):
    """The potential of the tests' engine, with one of the names of its faults."""

    implemented_properties = ("energy", "forces")

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.fault == "raise":
            raise ValueError("no such\nelement")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(600)
        structure = Structure(
            atoms.cell[:], atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True
        )
        energy, forces, _ = pair_energy(structure)
        if self.fault == "far":  # away from the slab by two layers
            forces = 8.0 * (atoms.positions - np.mean(atoms.positions, axis=0)) * [0, 0, 1]
            forces[np.abs(forces).max(axis=1) > 8.0 * 8.0] = 0.0
        self.results = {"energy": energy, "forces": forces}


if __name__ == "__main__":
    pre_relaxation_worker.chgnet = lambda model: Morse(os.environ.get("MORSE_WORKER_FAULT", ""))
    pre_relaxation_worker.main()
