"""Whether the electronic and the ionic loop of a finished VASP run reached what they were run for."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.engines.vasp.outcar import OutcarData
    from workflows.engines.vasp.vasprun import VasprunData

LOOSEST_EDIFF = 5e-4
"""Largest EDIFF (eV per atom) of an energy that a surface energy rests on: 5 meV in a slab of ten atoms."""

CELL_CHANGES = 3
CONSTANT_VOLUME, VOLUME_ONLY = (4, 5), (7, 8)
"""From this value of ISIF on a relaxation changes the cell: all of it, but for these values (VASP wiki)."""

LARGEST_STRESS = 5.0
"""Stress (kB) left in a relaxed cell: below 1 meV/atom in a metal with a bulk modulus of 35 GPa (Mg)."""

SLACK = 1.05
"""Factor on a criterion for the rounding of what was written."""


def unconverged(data: VasprunData, outcar: OutcarData | None) -> list[str]:
    """Return which loops ended before its criterion was met, or had too loose a criterion."""
    reasons = _electronic(data, outcar)
    nsw = data.most_ionic_steps
    if nsw <= 1 or (outcar is not None and outcar.ionic_converged):
        return reasons
    n = len(data.steps)
    if n >= nsw:
        return [*reasons, f"the relaxation stopped after NSW = {nsw} steps"]
    # without OUTCAR, or without its end, vasprun.xml alone has to tell
    why = "" if outcar is not None and outcar.complete else _ionic(data)
    if why or (outcar is not None and outcar.complete):
        reasons.append(f"the relaxation was stopped after {n} of at most {nsw} steps{why and '; '}{why}")
    return reasons


def _electronic(data: VasprunData, outcar: OutcarData | None) -> list[str]:
    reasons = []
    nelm = _integer(data.setting("NELM"), 60)
    ended = outcar.scf_converged if outcar is not None else None
    change, ediff = data.steps[-1].last_change, _real(data.setting("EDIFF"), 1e-4)
    # VASP 5.4 says "EDIFF is reached" also where NELM ended the loop, so the word alone is not enough
    reached_at_last = ended is True and change is not None and change <= ediff
    if data.steps[-1].scf_steps >= nelm and not reached_at_last:
        reasons.append(f"the electronic loop stopped after NELM = {nelm} steps")
    elif ended is False:
        reasons.append("the electronic loop ended before EDIFF was reached")
    if ediff > LOOSEST_EDIFF * max(len(data.species), 1):
        reasons.append(
            f"EDIFF = {ediff:g} eV for {len(data.species)} atoms is looser than {LOOSEST_EDIFF:g} eV/atom"
        )
    return reasons


def _ionic(data: VasprunData) -> str:
    """Return how far the last step of vasprun.xml is from EDIFFG; empty if converged."""
    limit = _real(data.setting("EDIFFG"), 10 * _real(data.setting("EDIFF"), 1e-4))
    # forces vanish by symmetry in many crystals, however strained they are
    if (stress := _largest_stress(data)) > LARGEST_STRESS:
        return (
            f"its last stress is {stress:.1f} kB"
            if isfinite(stress)
            else "no stress tells how strained it is"
        )
    if limit < 0:
        force = max_force(data, None)
        if force is None:
            return "no OUTCAR and no forces tell whether it converged"
        return f"its last force is {force:.3f} eV/A, above {-limit:g}" if force > SLACK * -limit else ""
    energies = [step.free_energy for step in data.steps[-2:]]
    if len(energies) < 2 or energies[0] is None or energies[1] is None:
        return f"without OUTCAR one step cannot meet EDIFFG = {limit:g} eV"
    change = abs(energies[1] - energies[0])
    return f"its last change is {change:.2g} eV, above EDIFFG = {limit:g}" if change > SLACK * limit else ""


def _largest_stress(data: VasprunData) -> float:
    """Largest component (kB), less PSTRESS, of the stress that ISIF relaxes; infinite if it is not known."""
    isif = _integer(data.setting("ISIF"), 2)
    if isif < CELL_CHANGES:
        return 0.0
    if data.stress is None or data.stress.shape != (3, 3):
        return np.inf
    mean = np.trace(data.stress) / 3 * np.eye(3)
    if isif in CONSTANT_VOLUME:
        left = data.stress - mean
    else:
        stress = mean if isif in VOLUME_ONLY else data.stress
        left = stress - _real(data.setting("PSTRESS"), 0.0) * np.eye(3)
    largest = float(np.abs(left).max())
    return largest if isfinite(largest) else np.inf


def max_force(data: VasprunData, free: Sequence[bool] | None) -> float | None:
    """Largest force on a free atom (eV/A), along its free directions."""
    forces = data.forces
    if forces is None or forces.shape != (len(data.species), 3) or not np.isfinite(forces).all():
        return None
    selective = data.initial.selective if data.initial is not None else None
    if free is not None:
        forces = forces * np.asarray(free, dtype=bool)[:, None]
    elif selective is not None and selective.shape == forces.shape:
        # flags refer to the lattice vectors; a frozen atom has none, and partly free ones are rare
        flags = selective if _is_cartesian(data) else selective.any(axis=1, keepdims=True)
        forces = forces * flags
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def _is_cartesian(data: VasprunData) -> bool:
    assert data.initial is not None
    lattice = data.initial.lattice
    return bool(np.abs(lattice - np.diag(np.diag(lattice))).max() < 1e-6)


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default


def _real(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and isfinite(value) else default
