"""One calculation: inputs with VASP's defaults filled in, and what the model gives for its electrons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.stand_in_vasp.inputs import (
    Crystal,
    Mesh,
    Potential,
    VaspInputError,
    mesh_of_spacing,
    parse_incar,
    parse_kpoints,
    parse_poscar,
    parse_potcar,
    read_text,
)
from tests.stand_in_vasp.model import MAGNETIC_ENERGY, Evaluation, PairModel
from tests.stand_in_vasp.potential import FERMI_ENERGY, Slab, find_slab

ENTROPY = 4e-4  # eV per atom at SIGMA = 0.2 eV; goes with the square of SIGMA
BAND_WIDTH = 12.0  # eV, of the valence bands
DISPERSION = 0.8  # eV
GAP = {"Si": 0.6, "Ge": 0.4, "Sb": 0.5, "O": 4.0}  # eV; a crystal has that of its widest
# Bohr magnetons of an atom with open shell in its POTCAR, if its MAGMOM is not zero
MOMENT = {"Fe": 2.2, "Fe_pv": 2.2, "Co": 1.6, "Ni": 0.6, "Ni_pv": 0.6, "Eu": 7.0, "Gd": 7.0}
DEFAULTS: dict[str, Any] = {
    "SYSTEM": "unknown system", "PREC": "normal", "ALGO": "Normal", "GGA": "--", "METAGGA": "--", "NELM": 60,
    "NELMIN": 2, "NELMDL": -5, "EDIFF": 1e-4, "ISPIN": 1, "ISMEAR": 1, "SIGMA": 0.2, "ISYM": 2,
    "SYMPREC": 1e-5, "NSW": 0, "POTIM": 0.5, "LREAL": False, "LWAVE": True, "LCHARG": True, "LVTOT": False,
    "LVHAR": False, "LDIPOL": False, "IDIPOL": 0, "EPSILON": 1.0, "LASPH": False, "LORBIT": 0, "LDAU": False,
    "LSORBIT": False, "LNONCOLLINEAR": False, "LHFCALC": False, "LEPSILON": False, "NEDOS": 301, "IMIX": 4,
    "AMIX": 0.4, "BMIX": 1.0, "AMIN": 0.1, "KPAR": 1, "NCORE": 1, "LMAXMIX": 2, "ADDGRID": False, "IVDW": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Energies:
    """The three energies (eV) VASP prints: free energy, without entropy, extrapolated to zero smearing."""

    free: float
    without_entropy: float
    zero: float


class Calculation:
    """What is to be computed, in the current folder."""

    def __init__(self) -> None:
        self.incar = parse_incar(read_text("INCAR"))
        self.crystal: Crystal = parse_poscar(read_text("POSCAR"))
        self.potentials: list[Potential] = parse_potcar(read_text("POTCAR"))
        if len(self.potentials) != len(self.crystal.names):
            raise VaspInputError(
                " ERROR: number of potentials on File POTCAR incompatible with number\n"
                f"        of species  INFO%NTYP = {len(self.crystal.names)}  NTYPD = {len(self.potentials)}"
            )
        # VASP believes POTCAR
        self.symbols = [
            p.symbol for p, n in zip(self.potentials, self.crystal.counts, strict=True) for _ in range(n)
        ]
        self.labels = [
            p.label for p, n in zip(self.potentials, self.crystal.counts, strict=True) for _ in range(n)
        ]
        self.renamed = [p.symbol for p in self.potentials] != self.crystal.names
        self.tags = self._filled()
        self.mesh: Mesh = (
            parse_kpoints(read_text("KPOINTS"))
            if Path("KPOINTS").is_file()
            else mesh_of_spacing(self.crystal.lattice, float(self.tags.get("KSPACING", 0.5)))
        )
        self.electrons = float(sum(p.valence * n for p, n in zip(self.potentials, self.counts, strict=True)))
        if self.incar.get("ISPIN", 1) == 2 and len(self.tags["MAGMOM"]) != len(self.symbols):
            raise VaspInputError(
                " Error reading item 'MAGMOM' from file INCAR.\n"
                f" Error code was IERR= 0 ... . Found N={len(self.tags['MAGMOM']):5d} data."
            )
        self.bands = int(self.tags["NBANDS"])
        self.entropy = ENTROPY  # eV per atom at SIGMA = 0.2 eV
        self._model = PairModel(self.symbols)

    @property
    def counts(self) -> list[int]:
        return self.crystal.counts

    @property
    def slab(self) -> Slab | None:
        return find_slab(self.crystal.lattice, self.crystal.positions, self.symbols)

    def _filled(self) -> dict[str, Any]:
        tags = DEFAULTS | self.incar
        atoms = len(self.symbols)
        electrons = sum(p.valence * n for p, n in zip(self.potentials, self.counts, strict=True))
        tags.setdefault("ENCUT", max(p.enmax for p in self.potentials))
        tags.setdefault("IBRION", 0 if tags["NSW"] > 1 else -1)
        tags.setdefault("ISIF", 0 if tags["IBRION"] == 0 else 2)
        tags.setdefault("EDIFFG", 10 * tags["EDIFF"])
        tags.setdefault("MAGMOM", [1.0] * atoms)
        tags.setdefault("NBANDS", int(electrons / 2 + max(atoms / 2, 3) + 0.5))
        tags.setdefault("ISTART", int(has_content("WAVECAR")))
        tags.setdefault("ICHARG", 0 if tags["ISTART"] > 0 and has_content("WAVECAR") else 2)
        return tags

    def evaluate(self, lattice: np.ndarray, positions: np.ndarray) -> Evaluation:
        """Energy(sigma->0), forces and virial; magnetic moments lower the energy by a constant."""
        found = self._model.evaluate(lattice, positions)
        magnetic = MAGNETIC_ENERGY * float(np.abs(self.moments).sum())
        return Evaluation(found.energy + magnetic, found.forces, found.virial)

    def energies(self, zero: float) -> Energies:
        """Return the three energies for a given energy(sigma->0).

        energy(sigma->0) = ((N + 1) F + E) / (N + 2) with the Methfessel-Paxton order N, 0 for Gaussian and
        Fermi smearing; the tetrahedron method has no entropy.
        """
        smearing = int(self.tags["ISMEAR"])
        order = max(smearing, 0)
        entropy = self.entropy * len(self.symbols) * (self.tags["SIGMA"] / 0.2) ** 2 if smearing > -2 else 0.0
        share = entropy / (order + 2)
        return Energies(zero - share, zero + entropy - share, zero)

    @property
    def moments(self) -> np.ndarray:
        """Magnetic moment of each atom (Bohr magnetons), of the sign of its MAGMOM."""
        if self.tags["ISPIN"] != 2:
            return np.zeros(len(self.symbols))
        size = np.array([MOMENT.get(label, 0.0) for label in self.labels])
        return size * np.sign(self.tags["MAGMOM"])

    @property
    def gap(self) -> float:
        return max((GAP.get(symbol, 0.0) for symbol in self.symbols), default=0.0)

    def eigenvalues(self) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (eV) and occupations (0 to 1), each of shape (spins, k points, bands).

        Bands are equidistant and move by a cosine in k; those around the Fermi energy cross it, unless the
        crystal has a gap.
        """
        n = np.arange(self.bands)
        filled = self.electrons / 2
        centre = FERMI_ENERGY + (n + 0.5 - filled) * BAND_WIDTH / max(filled, 1)
        amplitude = max(DISPERSION, BAND_WIDTH / max(filled, 1))
        wave = amplitude * np.cos(2 * np.pi * self.mesh.points).mean(axis=1)
        energies = centre[None, :] + wave[:, None]
        if self.gap:
            side = np.where(n < round(filled), -1.0, 1.0)
            energies = np.where(
                side < 0,
                np.minimum(energies, FERMI_ENERGY - 0.5 * self.gap + 0.05 * (wave[:, None] - amplitude)),
                np.maximum(energies, FERMI_ENERGY + 0.5 * self.gap + 0.05 * (wave[:, None] + amplitude)),
            )
        x = (energies - FERMI_ENERGY) / max(float(self.tags["SIGMA"]), 1e-3)
        if self.gap:
            occupied = np.where(x < 0, 1.0, 0.0)
        else:
            occupied = 0.5 * np.array([math.erfc(value) for value in x.ravel()]).reshape(x.shape)
            if (
                self.tags["ISMEAR"] > 0
            ):  # Methfessel-Paxton of order 1: below zero just above the Fermi energy
                occupied -= x * np.exp(-(x**2)) / (2 * math.sqrt(math.pi))
        spins = int(self.tags["ISPIN"])
        return np.repeat(energies[None], spins, 0), np.repeat(occupied[None], spins, 0)

    def grid(self) -> tuple[int, int, int]:
        """Return the grid of LOCPOT: fine along c, coarse in the plane, so that files stay small."""
        a, b, c = np.linalg.norm(self.crystal.lattice, axis=1)
        n = [max(2, 2 * int(np.ceil(length / step / 2))) for length, step in ((a, 0.8), (b, 0.8), (c, 0.1))]
        return (
            int(self.tags.get("NGXF", n[0])),
            int(self.tags.get("NGYF", n[1])),
            int(self.tags.get("NGZF", n[2])),
        )


def has_content(name: str) -> bool:
    """Tell whether a restart file is there and not empty."""
    path = Path(name)
    return path.is_file() and path.stat().st_size > 0
