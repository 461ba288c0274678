"""The electrostatic potential of the stand-in: flat vacuum levels whose height the outermost atoms decide.

Each side of a slab has its own work function, the mean of `WORK_FUNCTION` over the atoms of its outermost
layer (within `LAYER` of the outermost atom along the normal). Vacuum level = `FERMI_ENERGY` + that. A slab
with two different sides has a field across its vacuum, as periodic boundary conditions force it to; with
LDIPOL and IDIPOL=3 both sides are flat with a step in mid-vacuum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

FERMI_ENERGY = 1.75  # eV
LAYER = 0.5  # A
VACUUM = 6.0  # A; a wider gap along c makes a slab
WELL = -8.0  # eV, mean potential inside
DECAY = 1.2  # A
CORRUGATION = 0.3  # eV, in-plane; averages to zero
EXCHANGE = -3.0  # eV, what LVTOT adds near the surface, decaying into the vacuum
WORK_FUNCTION = {
    "Li": 2.90, "Be": 4.98, "O": 6.00, "Na": 2.36, "Mg": 3.66, "Al": 4.20, "Si": 4.60, "Ca": 2.87,
    "Sc": 3.50, "Ti": 4.33, "Fe": 4.67, "Co": 5.00, "Ni": 5.15, "Cu": 4.65, "Zn": 4.30, "Ga": 4.20,
    "Ge": 4.80, "Sr": 2.59, "Y": 3.10, "Zr": 4.05, "Rh": 4.98, "Pd": 5.22, "Ag": 4.26, "Cd": 4.22,
    "In": 4.10, "Sn": 4.42, "Sb": 4.55, "Ba": 2.52, "La": 3.50, "Nd": 3.20, "Eu": 2.50, "Gd": 3.10,
    "Dy": 3.25, "Er": 3.20, "Yb": 2.60, "Lu": 3.30, "Pt": 5.65, "Au": 5.10, "Bi": 4.22,
}  # fmt: skip
_UNKNOWN = 4.0


@dataclass(frozen=True)
class Slab:
    """Where the two sides of a slab are, in A along the normal from the origin of the cell.

    ``top`` may exceed ``height`` for a slab that wraps. ``sides``: work functions of bottom and top (eV).
    """

    bottom: float
    top: float
    height: float
    sides: tuple[float, float]

    @property
    def vacuum(self) -> float:
        return self.height - (self.top - self.bottom)


def find_slab(lattice: np.ndarray, positions: np.ndarray, symbols: list[str]) -> Slab | None:
    """Return the slab normal to the first two lattice vectors, or None for a bulk crystal."""
    normal = np.cross(lattice[0], lattice[1])
    normal /= np.linalg.norm(normal)
    height = abs(float(lattice[2] @ normal))
    # fractions of c, so that in-plane components of c do not matter
    fractions = (positions @ np.linalg.inv(lattice))[:, 2] % 1.0
    order = np.argsort(fractions, kind="stable")
    ordered = fractions[order]
    gaps = np.append(ordered[1:], ordered[0] + 1) - ordered
    widest = int(np.argmax(gaps))
    if gaps[widest] * height < VACUUM:
        return None
    first = ordered[(widest + 1) % len(ordered)]
    z = ((fractions - first) % 1.0) * height
    z[z > height - 1e-6] -= height
    phi = np.array([WORK_FUNCTION.get(symbol, _UNKNOWN) for symbol in symbols])
    sides = (float(phi[z < z.min() + LAYER].mean()), float(phi[z > z.max() - LAYER].mean()))
    return Slab(first * height, first * height + float(z.max()), height, sides)


def planar_average(
    slab: Slab, n: int, *, dipole: bool, centre: float | None = None, exchange: bool = False
) -> np.ndarray:
    """Return the potential (eV, shape (n,)) at ``n`` equidistant heights from 0, averaged over the plane.

    The step of the dipole correction is half a cell away from ``centre`` (the third number of DIPOL), or in
    mid-vacuum without it. A centre that puts it into the slab leaves the vacuum tilted.
    """
    z = np.arange(n) * slab.height / n
    beyond = (z - slab.top) % slab.height  # height above the top side, through the vacuum
    outside = beyond < slab.vacuum
    share = np.where(outside, beyond / slab.vacuum, 0.0)  # 0 at the top side, 1 at the bottom side
    depth = np.where(outside, np.minimum(beyond, slab.vacuum - beyond), 0.0)
    inside = np.where(outside, 0.0, (z - slab.bottom) % slab.height / max(slab.top - slab.bottom, 1e-9))
    bottom, top = (FERMI_ENERGY + side for side in slab.sides)
    step = 0.5 * slab.vacuum
    if centre is not None:
        step = ((centre + 0.5) * slab.height - slab.top) % slab.height
    flat = dipole and step < slab.vacuum
    vacuum = np.where(beyond < step - 1e-6, top, bottom) if flat else top + (bottom - top) * share
    level = np.where(outside, vacuum, bottom + (top - bottom) * inside)
    well = np.exp(-((depth / DECAY) ** 2))
    result: np.ndarray = level - (level - WELL) * well
    return result + EXCHANGE * well if exchange else result


def grid_potential(
    lattice: np.ndarray,
    positions: np.ndarray,
    symbols: list[str],
    grid: tuple[int, int, int],
    *,
    dipole: bool = False,
    centre: float | None = None,
    exchange: bool = False,
) -> np.ndarray:
    """Return the local potential (eV, shape ``grid``).

    The dipole correction works along c only, and only if c is normal to the surface.
    """
    normal = np.cross(lattice[0], lattice[1])
    dipole = dipole and bool(np.linalg.norm(np.cross(normal, lattice[2])) < 1e-3 * abs(normal @ lattice[2]))
    slab = find_slab(lattice, positions, symbols)
    if slab is None:
        planar = np.zeros(grid[2])
        envelope = np.ones(grid[2])
    else:
        planar = planar_average(slab, grid[2], dipole=dipole, centre=centre, exchange=exchange)
        mean = FERMI_ENERGY + np.mean(slab.sides)
        envelope = np.clip((mean - planar) / (mean - WELL), 0.0, 1.0)
    wave = [np.cos(2 * np.pi * np.arange(n) / n) if n > 1 else np.zeros(1) for n in grid[:2]]
    pattern = 0.5 * (wave[0][:, None] + wave[1][None, :])
    return planar[None, None, :] + CORRUGATION * pattern[:, :, None] * envelope[None, None, :]


def expected_sides(structure: Structure) -> tuple[float, float]:
    """Return the work functions (eV) of the bottom and top of a pymatgen slab (with dipole correction)."""
    symbols = [site.specie.symbol for site in structure]
    slab = find_slab(structure.lattice.matrix, structure.cart_coords, symbols)
    if slab is None:
        raise ValueError("this is not a slab: no vacuum along c")
    return slab.sides


def expected_work_function(structure: Structure) -> float:
    """Return the work function (eV) that must come out: the mean of the two sides."""
    return float(np.mean(expected_sides(structure)))
