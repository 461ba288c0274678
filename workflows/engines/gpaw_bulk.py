"""Relaxation of a crystal at a fixed plane-wave cut-off.

At a low cut-off the stress is wrong by the Pulay stress, because the number of plane waves changes with
the cell: minimising it shrinks the cell (by 0.9 % for B2 MgAg at 300 eV). Energies at a fixed cut-off
carry no such error. So the volume comes from an equation of state; and where the crystal has further
freedom (axial ratios, angles, internal coordinates), the stress at the equation of state's minimum, whose
true isotropic part is zero there, *is* the Pulay stress; it is subtracted while everything relaxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from workflows.engines.gpaw_symmetry import KeepSymmetry, carry_over, freedom, primitive_cell

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

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
    """What `relax_cell` found.

    Attributes
    ----------
    atoms
        Relaxed cell, in the setting and order of the input.
    converged
        False if a limit was hit; then `reason` says which.
    details
        Points and result of every equation of state (volumes A^3, energies eV, both of the cell they were
        computed in), with bulk modulus (eV/A^3) and rms residual of the fit (eV/atom); Pulay stress
        (eV/A^3); counts of what was free.
    ionic_steps
        Geometries computed.
    """

    atoms: Atoms
    converged: bool
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    ionic_steps: int = 0


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
    """Relax cell and positions of a crystal, keeping its space group.

    1. Work in the primitive cell.
    2. Equation of state over the volume, moved until the minimum lies inside it.
    3. If the symmetry leaves more than the volume free: relax all of it with the Pulay stress subtracted;
       if the shape has drifted far, do both again.
    4. Carry strain and displacements over to the cell as given.

    Parameters
    ----------
    atoms
        The crystal, any setting.
    volume_calculator_for
        Gives an ASE calculator with fixed numerical settings (k mesh) for a cell, for the equation of state.
    shape_calculator_for
        The same for relaxing axial ratios, angles and positions. Stresses need a denser k mesh than volumes.
    force_tolerance
        Largest force left on an atom (eV/A).
    max_steps
        Largest number of steps of one relaxation of the shape.

    Returns
    -------
    BulkRelaxation
        The relaxed cell, without an energy: compute that at the final geometry.
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
    """Scale `work` to the minimum of its equation of state; return the bulk modulus (eV/A^3).

    None, with the reason in `result`, if there is no minimum or the energies scatter about the fit.

    The lengths are 1 + i * `LENGTH_STEP` of the start's, with seven neighbouring i. The window moves
    towards lower energy until the minimum lies between its second points from either end; points
    computed before are used again.
    """
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
        fit = _try_fit(volumes, [energies[i] for i in window])
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


def _try_fit(volumes: list[float], energies: list[float]) -> tuple[float, float, float, float] | None:
    try:
        return birch_murnaghan_minimum(np.array(volumes), np.array(energies))
    except ValueError:
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
