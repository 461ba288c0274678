"""Relaxation of a crystal at a fixed plane-wave cut-off, its space group kept.

At a low cut-off the stress is wrong by the Pulay stress, because the number of plane waves changes with
the cell: minimising it shrinks the cell (by 0.9 % for B2 MgAg at 300 eV). Energies at a fixed cut-off
carry no such error. So the volume comes from an equation of state; and where the crystal has further
freedom (axial ratios, angles, internal coordinates), the stress at the equation of state's minimum, whose
true isotropic part is zero there, *is* the Pulay stress; it is subtracted while everything relaxes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup.symmetrize import prep_symmetry, symmetrize_rank1, symmetrize_rank2

if TYPE_CHECKING:
    from numpy.typing import NDArray


SYMPREC = 1e-3  # distance below which two places count as equivalent (A)


class KeepSymmetry(FixSymmetry):
    """ASE's `FixSymmetry` without its first act of moving the atoms to ideal places.

    Frozen atoms of a slab must stay exactly where they are, and a bulk cell keeps the setting it came in.
    """

    def __init__(self, atoms: Atoms, adjust_cell: bool = True) -> None:
        self.atoms = atoms.copy()
        self.symprec = SYMPREC
        self.verbose = False
        self.rotations, self.translations, self.symm_map = prep_symmetry(atoms, SYMPREC)
        self.do_adjust_positions = True
        self.do_adjust_cell = adjust_cell


def freedom(atoms: Atoms) -> tuple[int, int]:
    """Return the numbers of symmetry-preserving strains and internal coordinates of a crystal.

    Homogeneous strains: 1 cubic, 2 hexagonal and tetragonal, 3 orthorhombic, 4 monoclinic, 6 triclinic;
    rigid shifts are not counted. Random tensors and displacements are averaged over the space group: the
    rank of many averages is the dimension of the invariant space.
    """
    rotations, translations, symm_map = prep_symmetry(atoms, SYMPREC)
    lattice = np.asarray(atoms.cell[:])
    inverse = np.linalg.inv(lattice)
    random = np.random.default_rng(0)
    strains = []
    for _ in range(6):
        tensor = random.normal(size=(3, 3))
        strains.append(symmetrize_rank2(lattice, inverse, tensor + tensor.T, rotations).ravel())
    moves: list[NDArray[Any]] = []
    # More internal coordinates than this need not be counted: whether there are some is enough.
    for _ in range(min(3 * len(atoms), 12)):
        move = symmetrize_rank1(
            lattice, inverse, random.normal(size=(len(atoms), 3)), rotations, translations, symm_map
        )
        moves.append((move - move.mean(axis=0)).ravel())
    n_strains, n_moves = (int(np.linalg.matrix_rank(np.array(rows), tol=1e-6)) for rows in (strains, moves))
    return n_strains, n_moves


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return a primitive cell with the same Cartesian axes, neither rotated nor idealised.

    A copy if `atoms` is primitive already or the smaller cell would not hold a whole share of the atoms.
    """
    import spglib

    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    if found is None or len(found[2]) >= len(atoms) or len(atoms) % len(found[2]):
        same: Atoms = atoms.copy()
        return same
    lattice, positions, numbers = found
    return Atoms(numbers=numbers, cell=lattice, scaled_positions=positions, pbc=True)


def mesh_symmetries(atoms: Atoms, mesh: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the point operations without translation that keep a Gamma-centred k mesh and a real-space grid.

    They form a group in any cell, a tilted one too: the operations of the crystal without a translation do,
    so do those that map the mesh onto itself, and those that mix only axes of equal length.

    Returns
    -------
    numpy.ndarray
        Matrices U, shape (n, 3, 3), for rows of fractional coordinates: r U is equivalent to r.
    """
    import spglib

    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry(cell, symprec=1e-5)
    identity = np.eye(3, dtype=int)[None]
    if found is None:
        return identity
    lengths = atoms.cell.lengths()
    alike = np.abs(lengths[:, None] - lengths[None, :]) < SYMPREC
    kept = []
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        if np.abs(translation - np.round(translation)).max() > 1e-5 or rotation[~alike].any():
            continue
        # k = m / N as a row goes to k W^-1; it stays on the mesh if N_i (W^-T)_ij / N_j is whole.
        on_mesh = np.asarray(mesh)[:, None] * np.linalg.inv(rotation).T / np.asarray(mesh)[None, :]
        if np.abs(on_mesh - np.round(on_mesh)).max() < 1e-6:
            kept.append(rotation.T)
    return np.array(kept) if kept else identity


def carry_over(original: Atoms, start: Atoms, final: Atoms) -> Atoms:
    """Apply the strain and displacements of a primitive cell's relaxation to the cell it was made from.

    `start` and `final` are the `primitive_cell` of `original` before and after, atoms in the same order.
    ValueError if an atom of `original` has no partner in `start`.
    """
    # Rows are lattice vectors: L' = L F with the same F for every cell of the crystal.
    deformation = np.linalg.solve(start.cell[:], final.cell[:])
    result: Atoms = original.copy()
    result.set_cell(original.cell[:] @ deformation, scale_atoms=False)
    positions = np.empty((len(original), 3))
    # An internal displacement is what is left of an atom's path after the strain.
    internal = final.positions - start.positions @ deformation
    for j, position in enumerate(original.positions):
        fractional = np.linalg.solve(start.cell[:].T, (position - start.positions).T).T
        distance = np.linalg.norm((fractional - np.round(fractional)) @ start.cell[:], axis=1)
        distance[start.numbers != original.numbers[j]] = np.inf
        partner = int(np.argmin(distance))
        if distance[partner] > 0.1:
            raise ValueError(f"atom {j} has no partner in the primitive cell")
        positions[j] = position @ deformation + internal[partner]
    result.set_positions(positions)
    return result


# Seven volumes, +-2.5 % in length: wide enough to lift the minimum above the energy's steps when the
# plane-wave basis changes, narrow enough for four parameters.
LENGTH_STEP = 0.025 / 3
HALF_WINDOW = 3
MAX_SHIFTS = 12
MAX_ROUNDS = 3
# A change of volume or shape above which the equation of state is done again around the new shape.
SHAPE_DRIFT = 0.04
# Root mean square (eV/atom) of the energies about the equation of state above which it is not trusted. Those
# of Mg, Ag and MgAg at 300 eV, where the plane-wave basis changes by steps, scatter by 0.01 to 0.3 meV/atom.
LARGEST_RESIDUAL = 0.002
# BFGS starts from this curvature (eV/A^2); the strains are scaled so that theirs is alike.
BFGS_CURVATURE = 70.0

CalculatorFor = Callable[["Atoms"], Any]


@dataclass
class BulkRelaxation:
    """Result of `relax_cell`."""

    atoms: Atoms  # relaxed cell, in the setting and order of the input
    converged: bool  # False if a limit was hit; `reason` names it
    reason: str = ""
    # points and result of every equation of state (volumes A^3, energies eV, both of the cell they were
    # computed in), with bulk modulus (eV/A^3) and rms residual of the fit (eV/atom); Pulay stress (eV/A^3);
    # numbers of free strains and coordinates
    details: dict[str, Any] = field(default_factory=dict)
    ionic_steps: int = 0  # geometries computed


def birch_murnaghan_minimum(
    volumes: NDArray[Any], energies: NDArray[Any]
) -> tuple[float, float, float, float]:
    """Fit the third-order Birch-Murnaghan equation of state.

    F. Birch, Phys. Rev. 71, 809 (1947): the energy is a cubic polynomial in V^(-2/3), so the fit is linear.

    Parameters
    ----------
    volumes
        At least four volumes (A^3).
    energies
        Energies (eV).

    Returns
    -------
    tuple of float
        Volume (A^3), energy (eV) and bulk modulus (eV/A^3) at the minimum; root mean square (eV) of the
        energies about the fit.

    Raises
    ------
    ValueError
        If the fit has no minimum at a positive volume.
    """
    scale = float(np.mean(volumes))
    x = (np.asarray(volumes) / scale) ** (-2.0 / 3.0)
    polynomial = np.polynomial.Polynomial.fit(x, energies, 3).convert()
    slope, curvature = polynomial.deriv(), polynomial.deriv(2)
    minima = [
        float(root.real)
        for root in np.atleast_1d(slope.roots())
        if abs(root.imag) < 1e-9 and root.real > 0 and curvature(root.real) > 0
    ]
    if not minima:
        raise ValueError("the energies have no minimum")
    x0 = min(minima, key=lambda root: abs(root - 1.0))
    volume = scale * x0**-1.5
    # d2E/dV2 = E''(x) (dx/dV)^2 at the minimum, with dx/dV = -(2/3) x / V.
    modulus = volume * curvature(x0) * (2.0 / 3.0 * x0 / volume) ** 2
    residual = float(np.sqrt(np.mean((polynomial(x) - energies) ** 2)))
    return volume, float(polynomial(x0)), float(modulus), residual


def relax_cell(
    atoms: Atoms,
    volume_calculator_for: CalculatorFor,
    shape_calculator_for: CalculatorFor,
    force_tolerance: float,
    max_steps: int,
) -> BulkRelaxation:
    """Relax cell and positions of a crystal, keeping its space group; the energy is left to the caller.

    1. Work in the primitive cell.
    2. Equation of state over the volume, moved until the minimum lies inside it.
    3. If the symmetry leaves more than the volume free: relax all of it with the Pulay stress subtracted,
       until no force exceeds `force_tolerance` (eV/A) or `max_steps` are made; if the shape has drifted far,
       do both again.
    4. Carry strain and displacements over to the cell as given.

    `volume_calculator_for` and `shape_calculator_for` give ASE calculators with fixed numerical settings
    for a cell, for steps 2 and 3: stresses need a denser k mesh than volumes.
    """
    start = primitive_cell(atoms)
    n_strains, n_internal = freedom(start)
    work = start.copy()
    details: dict[str, Any] = {
        "equations_of_state": [],
        "atoms_in_primitive_cell": len(start),
        "free_strains": n_strains,
        "free_internal_coordinates": n_internal,
    }
    result = BulkRelaxation(atoms.copy(), converged=False, details=details)
    for _ in range(MAX_ROUNDS):
        modulus = _set_equilibrium_volume(work, volume_calculator_for, result)
        if modulus is None:
            break
        result.converged, result.reason = True, ""
        if n_strains == 1 and n_internal == 0:
            break
        before = work.cell[:].copy()
        # The Pulay stress belongs to the plane waves, not to the k mesh: it is taken where it is exact.
        work.calc = volume_calculator_for(work)
        details["pulay_stress"] = pulay_stress = float(np.mean(work.get_stress(voigt=True)[:3]))
        work.calc = shape_calculator_for(work)
        _relax_all(work, result, pulay_stress, modulus, force_tolerance, max_steps)
        drift = np.abs(np.linalg.solve(before, work.cell[:]) - np.eye(3)).max()
        if not result.converged or drift < SHAPE_DRIFT:
            break
    else:
        result.converged = False
        result.reason = (
            f"bulk relaxation: the cell's shape still changed by {drift:.1%} in the last of "
            f"{MAX_ROUNDS} rounds (limit {SHAPE_DRIFT:.0%}); start from a cell nearer to the relaxed one"
        )
    result.atoms = carry_over(atoms, start, work)
    return result


def _set_equilibrium_volume(
    work: Atoms, calculator_for: CalculatorFor, result: BulkRelaxation
) -> float | None:
    """Scale `work` to the minimum of its equation of state; return the bulk modulus (eV/A^3)."""
    # None, with the reason in `result`, if there is no minimum or the energies scatter about the fit
    # the lengths are 1 + i * `LENGTH_STEP` of the start's, with seven neighbouring i. The window moves
    # towards lower energy until the minimum lies between its second points from either end; points computed
    # before are used again.
    calculator = calculator_for(work)
    energies: dict[int, float] = {}
    start_volume, start_cell = float(work.get_volume()), work.cell[:].copy()
    middle = 0
    for _ in range(MAX_SHIFTS):
        window = list(range(middle - HALF_WINDOW, middle + HALF_WINDOW + 1))
        for i in window:
            if i not in energies:
                strained = work.copy()
                strained.set_cell(start_cell * (1.0 + i * LENGTH_STEP), scale_atoms=True)
                strained.calc = calculator
                energies[i] = float(strained.get_potential_energy())
                result.ionic_steps += 1
        volumes = [start_volume * (1.0 + i * LENGTH_STEP) ** 3 for i in window]
        fit = None
        with suppress(ValueError):
            fit = birch_murnaghan_minimum(np.array(volumes), np.array([energies[i] for i in window]))
        if fit is not None and volumes[1] < fit[0] < volumes[-2]:
            minimum, energy, modulus, residual = fit
            residual /= len(work)
            result.details["equations_of_state"].append(
                {
                    "volumes": volumes,
                    "energies": [energies[i] for i in window],
                    "volume": minimum,
                    "energy": energy,
                    "bulk_modulus": modulus,
                    "residual_per_atom": residual,
                }
            )
            work.set_cell(start_cell * (minimum / start_volume) ** (1.0 / 3.0), scale_atoms=True)
            if residual > LARGEST_RESIDUAL:
                result.converged = False
                result.reason = (
                    f"the energies scatter by {1000 * residual:.1f} meV/atom about the equation of state "
                    f"(limit {1000 * LARGEST_RESIDUAL:g})"
                )
                return None
            return modulus
        lower = window[0] if energies[window[0]] < energies[window[-1]] else window[-1]
        # A minimum just outside needs a small move, one far away the largest.
        wanted = lower if fit is None else round(((fit[0] / start_volume) ** (1.0 / 3.0) - 1.0) / LENGTH_STEP)
        if (wanted - middle) * (lower - middle) <= 0:
            wanted = lower
        middle += int(np.clip(wanted - middle, -HALF_WINDOW - 1, HALF_WINDOW + 1))
    result.converged = False
    result.reason = (
        f"no minimum of the equation of state between {min(energies) * LENGTH_STEP:+.1%} and "
        f"{max(energies) * LENGTH_STEP:+.1%} of the start's lengths"
    )
    return None


def _relax_all(
    work: Atoms,
    result: BulkRelaxation,
    pulay_stress: float,
    modulus: float,
    force_tolerance: float,
    max_steps: int,
) -> None:
    work.set_constraint(KeepSymmetry(work))
    # Shear moduli are of the order of the bulk modulus.
    cell_factor = float(np.sqrt(max(modulus, 0.05) * work.get_volume() / BFGS_CURVATURE))
    everything = FrechetCellFilter(work, exp_cell_factor=cell_factor, scalar_pressure=-pulay_stress)
    optimizer = BFGS(everything, logfile=None)  # type: ignore[arg-type]
    result.converged = bool(optimizer.run(fmax=force_tolerance, steps=max_steps))
    result.ionic_steps += optimizer.nsteps + 1
    if not result.converged:
        largest = float(np.linalg.norm(everything.get_forces(), axis=1).max())
        result.reason = (
            f"bulk relaxation: largest force {largest:.3f} eV/A after {max_steps} steps "
            f"(limit {force_tolerance:g})"
        )
    work.set_constraint()
    work.calc = None
