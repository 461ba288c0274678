"""Symmetry of a cell while it relaxes: what may change, and the constraint that keeps the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.spacegroup.symmetrize import prep_symmetry, symmetrize_rank1, symmetrize_rank2

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYMPREC = 1e-3
"""Distance below which two places count as equivalent (A)."""


class KeepSymmetry(FixSymmetry):
    """ASE's `FixSymmetry` without its first act of moving the atoms to ideal places.

    Frozen atoms of a slab must stay exactly where they are, and a bulk cell keeps the setting it came in.
    """

    def __init__(self, atoms: Atoms, symprec: float = SYMPREC, adjust_cell: bool = True) -> None:
        self.atoms = atoms.copy()
        self.symprec = symprec
        self.verbose = False
        self.rotations, self.translations, self.symm_map = prep_symmetry(atoms, symprec)
        self.do_adjust_positions = True
        self.do_adjust_cell = adjust_cell


def freedom(atoms: Atoms, symprec: float = SYMPREC) -> tuple[int, int]:
    """Count the symmetry-preserving strains and internal coordinates of a crystal.

    Random tensors and displacements are averaged over the space group; the rank of many averages is the
    dimension of the invariant space.

    Returns
    -------
    tuple of int
        Independent homogeneous strains (1 cubic, 2 hexagonal and tetragonal, 3 orthorhombic,
        4 monoclinic, 6 triclinic) and free internal coordinates, rigid shifts not counted.
    """
    rotations, translations, symm_map = prep_symmetry(atoms, symprec)
    lattice = np.asarray(atoms.cell[:])
    inverse = np.linalg.inv(lattice)
    random = np.random.default_rng(0)
    strains = []
    for _ in range(6):
        tensor = random.normal(size=(3, 3))
        strains.append(symmetrize_rank2(lattice, inverse, tensor + tensor.T, rotations).ravel())
    moves: list[NDArray[Any]] = []
    # More internal coordinates than this need not be told apart: some is enough to know.
    for _ in range(min(3 * len(atoms), 12)):
        move = symmetrize_rank1(
            lattice, inverse, random.normal(size=(len(atoms), 3)), rotations, translations, symm_map
        )
        moves.append((move - move.mean(axis=0)).ravel())
    return _rank(np.array(strains)), _rank(np.array(moves))


def _rank(rows: NDArray[Any]) -> int:
    return int(np.linalg.matrix_rank(rows, tol=1e-6))


def primitive_cell(atoms: Atoms, symprec: float = SYMPREC) -> Atoms:
    """Return a primitive cell of a crystal, neither rotated nor idealised.

    Parameters
    ----------
    atoms
        Any setting.

    Returns
    -------
    ase.Atoms
        A primitive cell with the same Cartesian axes, or a copy if `atoms` is primitive already or the
        smaller cell would not hold a whole share of the atoms.
    """
    import spglib

    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=symprec)
    if found is None or len(found[2]) >= len(atoms) or len(atoms) % len(found[2]):
        same: Atoms = atoms.copy()
        return same
    lattice, positions, numbers = found
    return Atoms(numbers=numbers, cell=lattice, scaled_positions=positions, pbc=True)


def mesh_symmetries(atoms: Atoms, mesh: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the point operations without translation that keep a Gamma-centred k mesh and a real-space grid.

    They form a group in any cell, a tilted one too: the operations of the crystal without a translation do,
    so do those that map the mesh onto itself, and those that mix only axes of equal length.

    Parameters
    ----------
    atoms
        The crystal.
    mesh
        Points along the three reciprocal vectors.

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
    """Apply the relaxation of a primitive cell to the cell it was made from.

    Parameters
    ----------
    original
        The cell as given.
    start
        `primitive_cell` of it, before relaxation.
    final
        The same atoms in the same order, after relaxation.

    Returns
    -------
    ase.Atoms
        `original` with the strain and the internal displacements of `final`; same order of atoms.

    Raises
    ------
    ValueError
        If an atom of `original` has no partner in `start`.
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
