"""Convergence of a value with slab thickness, k density, cut-off or vacuum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ThicknessFit:
    """Straight line through slab energies over thickness."""

    surface_energy: float  # gamma from the intercept (eV/A^2)
    bulk_energy: float  # energy of one bulk unit from the slope (eV)
    residual: float  # root mean square deviation of the slab energies from the line (eV per cell)
    surface_energy_error: float  # standard error of gamma from the scatter (eV/A^2); 0 if there is none


def fit_thickness(n_units: Sequence[float], slab_energies: Sequence[float], area: float) -> ThicknessFit:
    """Fit E_slab(N) = 2 A gamma + N E_bulk over slabs of one termination and growing thickness.

    The bulk energy from the fit belongs to the slabs' own cell, cut-off and k mesh, so that no error of
    a separate bulk calculation grows with thickness (Fiorentini and Methfessel, J. Phys.: Condens.
    Matter 8, 6525 (1996)).

    Parameters
    ----------
    n_units
        Bulk units (atoms, formula units) in each slab. For non-stoichiometric slabs count the partner's
        formula units, N_X/b.
    slab_energies
        Of each slab (eV); for non-stoichiometric slabs less the reservoir's part,
        (N_Mg - a N_X/b) mu0_Mg, which must be the same in all.
    area
        Of one side (A^2).

    Raises
    ------
    InputError
        With fewer than three different thicknesses, or another number of energies.
    """
    units, energies = np.asarray(n_units, dtype=float), np.asarray(slab_energies, dtype=float)
    if units.shape != energies.shape or len(np.unique(units)) < 3:
        raise InputError(
            f"thickness fit: {len(np.unique(units))} thicknesses and {energies.size} energies; "
            "compute slabs of at least three different thicknesses"
        )
    if not area > 0:
        raise InputError(f"thickness fit: the area of one side must be positive, got {area} A^2")
    # centred: total energies of 1e4 eV would otherwise eat the digits of the intercept
    offset, centre = energies.mean(), units.mean()
    x, y = units - centre, energies - offset
    slope = float((x @ y) / (x @ x))
    deviations = y - slope * x
    intercept = offset - slope * centre
    variance = float(deviations @ deviations) / (len(units) - 2)
    error = np.sqrt(variance * (1 / len(units) + centre**2 / (x @ x)))
    return ThicknessFit(
        surface_energy=float(intercept / (2 * area)),
        bulk_energy=slope,
        residual=float(np.sqrt(np.mean(deviations**2))),
        surface_energy_error=float(error / (2 * area)),
    )


def converged_at(settings: Sequence[float], values: Sequence[float], tolerance: float) -> float | None:
    """Return the smallest setting from which on the value stays within `tolerance` of the last one.

    Parameters
    ----------
    settings
        k density, cut-off, vacuum or layers, growing towards accuracy; in any order.
    values
        The value at each setting.
    tolerance
        In the unit of `values`.

    Returns
    -------
    float or None
        None if only the finest setting qualifies: one point shows no convergence.
    """
    if len(settings) != len(values):
        raise InputError(f"convergence: {len(settings)} settings but {len(values)} values")
    scan = sorted(zip(settings, values, strict=True))
    found = None
    for setting, value in reversed(scan[:-1]):
        if not abs(value - scan[-1][1]) <= tolerance:
            break
        found = setting
    return found
