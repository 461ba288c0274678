"""The physics of the stand-in VASP: a pair potential with forces and stress that are its exact derivatives.

A Morse potential, taken to zero smoothly at a cut-off, with lengths fitted so that hcp Mg, fcc Ag and B2 MgAg
come out near their measured lattice constants. NumPy only: the stand-in must start fast.

Energy of a pair at distance r, with D the depth and l the length of the pair of elements:

    D (y^2 - 2 y) (1 - (r / RANGE)^2)^2,   y = exp(-STIFFNESS (r / l - 1))
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

RANGE = 6.5  # A
STIFFNESS = 4.35
SKIN = 0.5  # A, by which the list of pairs reaches further than the potential
BINDING = 1.25  # depth of an unlike pair in units of the geometric mean
KBAR = 1602.1766208  # of 1 eV/A^3
MAGNETIC_ENERGY = -0.05  # eV per Bohr magneton

# element: nearest-neighbour distance in the metal (A), well depth (eV)
ELEMENTS = {
    "Li": (3.00, 0.10), "Be": (2.25, 0.20), "O": (2.20, 0.25), "Na": (3.66, 0.08), "Mg": (3.19, 0.10),
    "Al": (2.86, 0.20), "Si": (2.60, 0.28), "Ca": (3.91, 0.12), "Sc": (3.28, 0.26), "Ti": (2.93, 0.32),
    "Fe": (2.48, 0.30), "Co": (2.49, 0.31), "Ni": (2.49, 0.31), "Cu": (2.57, 0.24), "Zn": (2.75, 0.10),
    "Ga": (2.80, 0.19), "Ge": (2.80, 0.26), "Sr": (4.27, 0.11), "Y": (3.60, 0.28), "Zr": (3.20, 0.40),
    "Rh": (2.71, 0.38), "Pd": (2.79, 0.26), "Ag": (2.93, 0.19), "Cd": (3.05, 0.09), "In": (3.30, 0.17),
    "Sn": (3.10, 0.21), "Sb": (3.20, 0.19), "Ba": (4.35, 0.13), "La": (3.75, 0.29), "Nd": (3.66, 0.24),
    "Eu": (3.95, 0.12), "Gd": (3.60, 0.28), "Dy": (3.55, 0.24), "Er": (3.50, 0.24), "Yb": (3.86, 0.12),
    "Lu": (3.45, 0.28), "Pt": (2.81, 0.38), "Au": (2.95, 0.25), "Bi": (3.35, 0.15),
}  # fmt: skip
_UNKNOWN = (3.0, 0.15)
_STRETCH = 1.055  # lengths over nearest-neighbour distances: further neighbours pull the crystal together
_PAIR_LENGTH = {("Ag", "Mg"): 3.104}


@dataclass(frozen=True)
class Evaluation:
    """Energy (eV), forces (eV/A, shape (n, 3)) and virial -dE/d(strain) (eV, shape (3, 3))."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray


@lru_cache(maxsize=256)
def pair_parameters(first: str, second: str) -> tuple[float, float]:
    """Return depth (eV) and length (A) of a pair of elements."""
    (r1, d1), (r2, d2) = ELEMENTS.get(first, _UNKNOWN), ELEMENTS.get(second, _UNKNOWN)
    length = _PAIR_LENGTH.get(tuple(sorted((first, second))), 0.5 * (r1 + r2) * _STRETCH)  # type: ignore[call-overload]
    depth = float(np.sqrt(d1 * d2)) * (1.0 if first == second else BINDING)
    return depth, length


class PairModel:
    """Evaluate crystals of the same atoms one after another; keeps the list of pairs while it serves."""

    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self._pairs: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._lattice = np.zeros((3, 3))
        self._positions = np.zeros((0, 3))

    def evaluate(self, lattice: np.ndarray, positions: np.ndarray) -> Evaluation:
        """Energy and its derivatives; ``lattice`` has rows as vectors (A), ``positions`` is Cartesian (A)."""
        if self._stale(lattice, positions):
            self._pairs = _find_pairs(lattice, positions, RANGE + SKIN)
            self._lattice, self._positions = lattice.copy(), positions.copy()
            i, j, _ = self._pairs
            table = [pair_parameters(self.symbols[a], self.symbols[b]) for a, b in zip(i, j, strict=True)]
            self._depth, self._length = np.array(table).reshape(-1, 2).T
        assert self._pairs is not None
        i, j, images = self._pairs
        vectors = positions[j] + images @ lattice - positions[i]
        r = np.linalg.norm(vectors, axis=1)
        near = r < RANGE
        i, j, vectors, r = i[near], j[near], vectors[near], r[near]
        depth, length = self._depth[near], self._length[near]
        y = np.exp(-STIFFNESS * (r / length - 1))
        morse, slope = depth * (y * y - 2 * y), 2 * depth * STIFFNESS / length * (y - y * y)
        x = 1 - (r / RANGE) ** 2
        derivative = slope * x**2 - morse * 4 * x * r / RANGE**2
        pull = (derivative / r)[:, None] * vectors  # force on i, towards j where the energy rises with r
        forces = np.zeros_like(positions)
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        return Evaluation(float((morse * x**2).sum()), forces, -pull.T @ vectors)

    def _stale(self, lattice: np.ndarray, positions: np.ndarray) -> bool:
        if self._pairs is None or not np.array_equal(lattice, self._lattice):
            return True
        return bool(np.linalg.norm(positions - self._positions, axis=1).max() > SKIN / 2)


def _find_pairs(
    lattice: np.ndarray, positions: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every pair nearer than ``reach`` once: indices i, j and the image of j (lattice vectors)."""
    inverse = np.linalg.inv(lattice)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    fractional = positions @ inverse
    turns = np.ceil(reach / heights + 0.5).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in turns], indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    found = []
    for i in range(len(positions)):
        difference = fractional - fractional[i]
        nearest = -np.round(difference)
        shift = (nearest[:, None, :] + images[None, :, :]).reshape(-1, 3)
        j = np.repeat(np.arange(len(positions)), len(images))
        vectors = (difference[j] + shift) @ lattice
        squared = (vectors**2).sum(axis=1)
        # each pair once: j > i, or j = i with the image in one half of space
        half = (shift[:, 0] > 0) | ((shift[:, 0] == 0) & (shift[:, 1] > 0))
        half |= (shift[:, 0] == 0) & (shift[:, 1] == 0) & (shift[:, 2] > 0)
        keep = (squared < reach**2) & ((j > i) | ((j == i) & half))
        found.append((np.full(keep.sum(), i), j[keep], shift[keep]))
    i, j, image = (np.concatenate(part) for part in zip(*found, strict=True))
    return i, j, image


def expected(structure: Structure) -> Evaluation:
    """Return what the stand-in finds for a pymatgen structure without magnetic moments."""
    symbols = [site.specie.symbol for site in structure]
    return PairModel(symbols).evaluate(structure.lattice.matrix, structure.cart_coords)


def expected_energy(structure: Structure) -> float:
    """Return energy(sigma->0) (eV) of a pymatgen structure without magnetic moments."""
    return expected(structure).energy
