from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, hcp0001
from ase.spacegroup import crystal

from workflows.engines.gpaw.bulk import KeepSymmetry, carry_over, freedom, mesh_symmetries, primitive_cell


@pytest.mark.parametrize(
    ("atoms", "strains", "internal_is_free"),
    [
        (bulk("Cu", cubic=True), 1, False),
        (bulk("Mg", "hcp", a=3.2, c=5.2), 2, False),
        (crystal("Sn", [(0, 0, 0)], spacegroup=141, cellpar=[5.83, 5.83, 3.18, 90, 90, 90]), 2, False),
        (crystal("Ga", [(0, 0.155, 0.081)], spacegroup=64, cellpar=[4.5, 7.6, 4.5, 90, 90, 90]), 3, True),
        (crystal("Bi", [(0, 0, 0.234)], spacegroup=166, cellpar=[4.55, 4.55, 11.9, 90, 90, 120]), 2, True),
        (
            Atoms(
                "CuAgAu",
                [(0, 0, 0), (1, 2.1, 0.3), (2.2, 0.4, 2)],
                cell=[[4, 0, 0], [1, 5, 0], [0.3, 0.7, 6]],
                pbc=1,
            ),
            6,
            True,
        ),
    ],
)
def test_freedom_left_by_the_space_group(atoms, strains, internal_is_free):
    n_strains, n_internal = freedom(atoms)
    assert n_strains == strains
    assert (n_internal > 0) == internal_is_free


def test_a_centred_cell_becomes_primitive_without_rotation_and_back():
    conventional = crystal("Ga", [(0, 0.155, 0.081)], spacegroup=64, cellpar=[4.5, 7.6, 4.5, 90, 90, 90])
    primitive = primitive_cell(conventional)
    assert len(primitive) == len(conventional) // 2
    # Strain it and shift both members of a pair; the conventional cell must follow.
    final = primitive.copy()
    strain = np.array([[1.02, 0, 0], [0, 0.99, 0], [0, 0, 1.01]])
    final.set_cell(primitive.cell[:] @ strain, scale_atoms=True)
    carried = carry_over(conventional, primitive, final)
    np.testing.assert_allclose(carried.cell[:], conventional.cell[:] @ strain, atol=1e-10)
    np.testing.assert_allclose(
        carried.get_scaled_positions(wrap=False), conventional.get_scaled_positions(wrap=False), atol=1e-8
    )


def test_the_constraint_moves_nothing_when_made():
    slab = hcp0001("Mg", (1, 1, 6), a=3.2, vacuum=7.5)
    slab.pbc = True
    slab.rattle(1e-4, seed=1)
    before = slab.positions.copy()
    slab.set_constraint(KeepSymmetry(slab, adjust_cell=False))
    np.testing.assert_array_equal(slab.positions, before)


def test_forces_of_a_slab_become_mirror_images():
    slab = hcp0001("Mg", (1, 1, 5), a=3.2, vacuum=7.5)
    slab.pbc = True
    slab.set_constraint(KeepSymmetry(slab, adjust_cell=False))
    forces = np.random.default_rng(0).normal(size=(5, 3))
    slab.constraints[0].adjust_forces(slab, forces)
    np.testing.assert_allclose(forces[::-1] * [1, 1, -1], forces, atol=1e-10)
    np.testing.assert_allclose(forces[:, :2], 0, atol=1e-10)


@pytest.mark.parametrize(
    ("mesh", "n_operations"), [((4, 6, 8), 4), ((6, 8, 11), 4), ((4, 4, 4), 4), ((1, 1, 1), 4)]
)
def test_operations_of_a_tilted_cell_form_a_group_that_keeps_the_mesh(mesh, n_operations):
    a = 3.34
    atoms = Atoms(
        "MgAg",
        positions=[[0, 0, 0], [a / 2**0.5, a / 2, 0]],
        cell=[[a * 2**0.5, 0, 0], [0, a, 0], [a / 2**0.5, 0, a / 2**0.5]],
        pbc=True,
    )
    operations = mesh_symmetries(atoms, mesh)
    known = {tuple(u.ravel()) for u in operations}
    assert len(known) == n_operations
    assert {tuple((u @ v).ravel()) for u in operations for v in operations} == known
    points = {tuple(p) for p in np.ndindex(*mesh)}
    for u in operations:
        moved = {
            tuple(np.round(np.array(p) / mesh @ np.linalg.inv(u).T * mesh).astype(int) % mesh) for p in points
        }
        assert moved == points
