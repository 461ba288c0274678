"""Slabs in cells as people build them."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from workflows.structures.layers import free_atoms
from workflows.structures.slab_matching import asymmetry, upright, upright_order
from workflows.structures.slabs import SlabSettings, enumerate_slabs

B2 = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def slab_of(miller, number=0, thickness=9.0) -> Structure:
    (facet,) = enumerate_slabs(B2, SlabSettings(min_thickness=thickness), miller_indices=[miller])
    return facet.slabs[number].structure


def turned(structure: Structure, order) -> Structure:
    """The same atoms with the lattice vectors in another order."""
    return Structure(
        Lattice(structure.lattice.matrix[list(order)]),
        structure.species,
        structure.frac_coords[:, list(order)],
    )


def distances(structure: Structure) -> np.ndarray:
    return np.sort(structure.get_neighbor_list(5.0)[3])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2), (2, 1, 0)])
def test_a_slab_stands_up_from_any_axis(order):
    slab = slab_of((1, 1, 0))
    given = turned(slab, order)
    axis = order.index(2)
    stood_up = upright(given, axis)
    assert stood_up.lattice.matrix[2, :2] == pytest.approx([0, 0])
    assert np.linalg.det(stood_up.lattice.matrix) > 0
    np.testing.assert_allclose(distances(stood_up), distances(slab), atol=1e-9)
    # heights are those in the given cell, so that a potential keeps its atoms
    np.testing.assert_allclose(stood_up.frac_coords[:, 2], given.frac_coords[:, axis])
    assert {upright_order(given, axis)[2]} == {axis}


def test_a_tilted_cell_stands_up_without_changing_the_slab():
    slab = slab_of((1, 0, 0))
    matrix = slab.lattice.matrix.copy()
    matrix[2] += 0.5 * matrix[0] + 0.3 * matrix[1]
    tilted = Structure(Lattice(matrix), slab.species, slab.cart_coords, coords_are_cartesian=True)
    np.testing.assert_allclose(distances(upright(tilted, 2)), distances(slab), atol=1e-9)


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_cut_slabs_are_symmetric_and_stay_so_when_they_relax(miller):
    slab = slab_of(miller)
    assert asymmetry(slab, free_atoms(slab)) == ""
    relaxed = slab.copy()
    middle = relaxed.cart_coords[:, 2].mean()
    inward = np.where(relaxed.cart_coords[:, 2] > middle, -1, 1)
    for i, free in enumerate(free_atoms(slab)):
        relaxed.translate_sites([i], [0, 0, 0.3 * free * inward[i]], frac_coords=False)
    assert asymmetry(relaxed, free_atoms(slab)) == ""


def test_a_slab_with_different_ends_is_asymmetric():
    slab = slab_of((1, 0, 0))
    top = int(np.argmax(slab.frac_coords[:, 2]))
    slab.remove_sites([top])
    assert "no symmetry operation" in asymmetry(slab)


def test_a_slab_relaxed_on_one_side_is_asymmetric():
    slab = slab_of((1, 0, 0))
    heights = slab.frac_coords[:, 2]
    upper = [bool(h > np.median(heights)) for h in heights]
    assert "free to relax" in asymmetry(slab, upper)


def test_a_shifted_outer_layer_is_asymmetric():
    slab = slab_of((1, 1, 0))
    top = int(np.argmax(slab.frac_coords[:, 2]))
    slab.translate_sites([top], [0, 0, -0.6], frac_coords=False)
    assert asymmetry(slab)
