"""Relax some atoms of a slab with any ASE calculator; every symmetry is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from workflows.engines.gpaw.bulk import KeepSymmetry

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator


def relax_free_atoms(
    atoms: Atoms, free: list[bool], calculator: Calculator, force_tolerance: float, max_steps: int
) -> dict[str, Any]:
    """Relax the atoms marked free; the others stay where they are, and every symmetry is kept.

    Returns ``converged``, ``steps``, ``max_force`` (eV/A) and ``positions`` (A, shape (n_atoms, 3));
    `force_tolerance` is the largest force left on a free atom (eV/A).
    """
    fixed = ~np.array(free, dtype=bool)
    atoms.set_constraint([KeepSymmetry(atoms, adjust_cell=False), FixAtoms(mask=fixed)])
    atoms.calc = calculator
    optimizer = BFGS(atoms, logfile=None)
    converged = bool(optimizer.run(fmax=force_tolerance, steps=max_steps))
    return {
        "converged": converged,
        "steps": int(optimizer.nsteps),
        "max_force": float(np.linalg.norm(atoms.get_forces(), axis=1).max()),
        "positions": atoms.positions.tolist(),
    }
