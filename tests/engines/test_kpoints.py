from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from workflows.engines.kpoints import gamma_mesh, mesh_of_lattice, points_after_time_reversal


def test_b2_mgag_at_4_gives_8():
    # |b| = 2 pi / 3.338 = 1.882 per A; 4 * 1.882 = 7.53
    structure = Structure(Lattice.cubic(3.338), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert gamma_mesh(structure, 4.0) == (8, 8, 8)


def test_hexagonal_reciprocal_length_is_longer_than_two_pi_over_a():
    # |b| = 2 pi / (3.19 cos 30) = 2.274; |b_c| = 2 pi / 5.17 = 1.215
    assert mesh_of_lattice(Lattice.hexagonal(3.19, 5.17).matrix, 4.0) == (10, 10, 5)


def test_slab_gets_one_point_along_c():
    assert mesh_of_lattice(np.diag([3.3, 4.7, 25.0]), 4.0, slab=True) == (8, 6, 1)


def test_a_product_just_above_a_whole_number_is_that_number():
    exact = 2 * np.pi * 4.0 / 8
    assert mesh_of_lattice(np.diag([exact, exact * (1 - 1e-9), exact * (1 + 1e-9)]), 4.0) == (8, 8, 8)


@given(st.floats(2.5, 12.0), st.floats(2.0, 9.0), st.integers(0, 2**31))
def test_symmetry_equivalent_axes_get_equal_meshes(a, k_density, seed):
    noise = np.random.default_rng(seed).normal(scale=1e-8, size=(3, 3))
    mesh = mesh_of_lattice(Lattice.cubic(a).matrix + noise, k_density)
    # The slack may itself be met by chance on the boundary; then the noise is what separates two axes.
    product = 2 * np.pi * k_density / a
    if abs(product - 1e-3 - round(product - 1e-3)) > 1e-6:
        assert len(set(mesh)) == 1


@pytest.mark.parametrize("density", [0.0, -1.0, float("nan")])
def test_density_must_be_positive(density):
    with pytest.raises(InputError, match="k_density must be positive"):
        mesh_of_lattice(np.eye(3) * 3.0, density)


def test_a_flat_cell_is_refused():
    with pytest.raises(InputError, match="no volume"):
        mesh_of_lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]], 4.0)


@pytest.mark.parametrize("mesh", [(1, 1, 1), (4, 4, 1), (3, 3, 3), (2, 3, 4)])
def test_count_after_time_reversal_agrees_with_counting(mesh):
    points = {tuple(p) for p in np.ndindex(*mesh)}
    pairs = {frozenset([p, tuple(-np.array(p) % np.array(mesh))]) for p in points}
    assert points_after_time_reversal(mesh) == len(pairs)
