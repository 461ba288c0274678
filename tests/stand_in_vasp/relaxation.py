"""Moving the atoms and the cell: quasi-Newton steps, one energy per ionic step, VASP's stopping rules.

The cell moves together with the atoms through a deformation gradient F, scaled by the number of atoms; atoms
are described in the undeformed cell (Tadmor et al., Phys. Rev. B 59, 235 (1999)).
"""

from __future__ import annotations

import numpy as np

from tests.stand_in_vasp.calculation import Calculation
from tests.stand_in_vasp.inputs import VaspInputError
from tests.stand_in_vasp.model import Evaluation

CURVATURE = 12.0  # eV/A^2, of the first guess
LONGEST = 0.15  # A, of one step
STUCK = 1e-4  # times the step, of a relaxation that shall not converge
CELL = 0.1  # the stress part has to be this much smaller than EDIFFG


class Relaxation:
    """Propose geometries; `accept` takes what was computed for one and returns whether it was the last."""

    def __init__(self, calculation: Calculation, *, stuck: bool = False) -> None:
        tags = calculation.tags
        self.nsw = int(tags["NSW"]) if tags["IBRION"] in (1, 2, 3) else 0
        if tags["NSW"] > 0 and tags["IBRION"] not in (-1, 1, 2, 3):
            raise VaspInputError(f" stand-in VASP: it has no IBRION = {tags['IBRION']}")
        if tags["ISIF"] not in (0, 1, 2, 3, 7):
            raise VaspInputError(f" stand-in VASP: it has no ISIF = {tags['ISIF']}")
        self.isif = int(tags["ISIF"])
        self.limit = float(tags["EDIFFG"])
        self.stuck = stuck
        crystal = calculation.crystal
        self.free = crystal.free
        self._inverse = np.linalg.inv(crystal.lattice)
        self._start = crystal.lattice.copy()
        self._scale = float(len(crystal.positions))
        self.lattice, self.positions = crystal.lattice.copy(), crystal.positions.copy()
        self._point = np.vstack([crystal.positions, np.eye(3) * self._scale])
        self._hessian = np.eye(self._point.size) * CURVATURE
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._energy: float | None = None
        self.steps = 0
        self.converged = False

    def accept(self, found: Evaluation) -> bool:
        """Take the result at the present geometry, move on; tell whether the relaxation has ended."""
        self.steps += 1
        force = self._force(found)
        atoms, cell = force[:-3], force[-3:]
        if self.limit < 0:
            small = np.linalg.norm(atoms, axis=1).max() < -self.limit
            self.converged = bool(small and np.abs(cell).max() < -CELL * self.limit)
        elif self._energy is not None:
            self.converged = abs(found.energy - self._energy) < self.limit
        self.converged = self.converged and not self.stuck
        self._energy = found.energy
        if self.converged or self.steps >= self.nsw:
            return True
        self._move(force)
        return False

    def _force(self, found: Evaluation) -> np.ndarray:
        gradient = self._point[-3:] / self._scale
        atoms = np.where(self.free, found.forces, 0.0) @ gradient
        cell = np.zeros((3, 3))
        if self.isif == 3:
            cell = np.linalg.solve(gradient, found.virial.T).T / self._scale
        elif self.isif == 7:
            cell = np.eye(3) * np.trace(found.virial) / 3 / self._scale
            atoms = np.zeros_like(atoms)
        return np.vstack([atoms, cell])

    def _move(self, force: np.ndarray) -> None:
        flat = force.ravel()
        if self._last is not None:  # BFGS
            moved, change = self._point.ravel() - self._last[0], self._last[1] - flat
            if moved @ change > 1e-12:
                pushed = self._hessian @ moved
                self._hessian += np.outer(change, change) / (change @ moved)
                self._hessian -= np.outer(pushed, pushed) / (moved @ pushed)
        self._last = (self._point.ravel().copy(), flat.copy())
        values, vectors = np.linalg.eigh(self._hessian)
        step = (vectors @ ((vectors.T @ flat) / np.maximum(np.abs(values), 0.5))).reshape(-1, 3)
        longest = np.linalg.norm(step, axis=1).max()
        step *= min(1.0, LONGEST / longest if longest > 0 else 1.0) * (STUCK if self.stuck else 1.0)
        self._point = self._point + step
        gradient = self._point[-3:] / self._scale
        self.lattice = self._start @ gradient.T
        self.positions = self._point[:-3] @ gradient.T
