"""Gamma-centred k meshes of one density for cells of every size."""

from __future__ import annotations

import operator
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import EngineError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

    from workflows.engines.protocol import Engine, KMesh

# Symmetry-equivalent axes differ in the last digits of a relaxed cell. A product this close above a whole
# number is taken as that number, so that such axes never get different meshes.
ROUNDING_SLACK = 1e-3


def mesh_of_lattice(lattice: ArrayLike, k_density: float, slab: bool = False) -> KMesh:
    """Return the mesh N_i = ceil(k_density |b_i|) of a lattice.

    Parameters
    ----------
    lattice
        Lattice vectors as rows (A).
    k_density
        k points per reciprocal length (A), 2 pi included in the b_i: ``a_i . b_j = 2 pi delta_ij``.
    slab
        True gives one point along c, the surface normal.

    Returns
    -------
    tuple of int
        Number of points along the three reciprocal vectors, each at least 1.

    Raises
    ------
    InputError
        If `k_density` is not positive or the cell has no volume.
    """
    matrix = np.asarray(lattice, dtype=float)
    if not k_density > 0:
        raise InputError(f"k_density must be positive, got {k_density:g}: give a value such as 4 (A)")
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError("k mesh: the cell has no volume; check its lattice vectors")
    lengths = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(matrix), axis=0)
    n = [max(1, ceil(k_density * length - ROUNDING_SLACK)) for length in lengths]
    return (n[0], n[1], 1 if slab else n[2])


def gamma_mesh(structure: Structure, k_density: float, slab: bool = False) -> KMesh:
    """Return the Gamma-centred mesh of a structure; see `mesh_of_lattice`."""
    return mesh_of_lattice(structure.lattice.matrix, k_density, slab)


def engine_mesh(engine: Engine, structure: Structure, *, slab: bool = False) -> KMesh:
    """Return an engine's mesh of a cell as plain integers, for ids are hashes of it.

    EngineError if it is not three whole numbers.
    """
    found = engine.kpoints(structure, slab=slab)
    try:
        n1, n2, n3 = (operator.index(np.asarray(n)[()]) for n in found)
    except (TypeError, ValueError):
        raise EngineError(
            f"engine {engine.name!r}: kpoints() must return three whole numbers, got {found!r}; correct it"
        ) from None
    return (n1, n2, n3)


def points_after_time_reversal(mesh: Sequence[int]) -> int:
    """Return the number of k points of a Gamma-centred mesh when k and -k count once."""
    n_total = int(np.prod(mesh))
    n_self_inverse = int(np.prod([2 if n % 2 == 0 else 1 for n in mesh]))
    return (n_total + n_self_inverse) // 2
