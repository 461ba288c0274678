from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from workflows.structures.layers import atomic_layers, free_atoms
from workflows.structures.slabs import enumerate_slabs


def column(heights: list[float], cell_height: float = 40.0, shift: float = 0.0) -> Structure:
    """One Mg atom at each height (A) above the cell's floor."""
    lattice = Lattice([[3.2, 0, 0], [-1.6, 2.8, 0], [0, 0, cell_height]])
    return Structure(lattice, ["Mg"] * len(heights), [[0.1, 0.2, (z + shift) / cell_height] for z in heights])


def test_layers_run_from_bottom_to_top_and_hold_close_planes_together():
    slab = column([14.0, 10.0, 10.08, 12.0, 10.16])
    assert atomic_layers(slab) == [[1, 2, 4], [3], [0]]
    assert atomic_layers(slab, layer_tolerance=0.05) == [[1], [2], [4], [3], [0]]


@pytest.mark.parametrize("shift", [0.0, 9.0, 27.0, 35.0])
def test_a_slab_across_the_cell_boundary_has_the_same_layers(shift):
    heights = [12.0, 14.6, 17.2, 19.8, 22.4, 25.0]
    assert atomic_layers(column(heights, shift=shift)) == [[0], [1], [2], [3], [4], [5]]


def test_hcp_basal_layers_are_free_one_by_one():
    # 2.6 A between layers: the second layer lies within 3 A of the surface atoms, the third does not
    slab = column([10 + 2.6 * i for i in range(7)])
    assert free_atoms(slab) == [True, True, False, False, False, True, True]


def test_a_layer_at_3_04_is_free_and_at_3_06_is_not():
    assert free_atoms(column([0, 3.04, 6.5, 9.96, 13.0])) == [True, True, False, True, True]
    assert free_atoms(column([0, 3.06, 6.5, 9.94, 13.0])) == [True, False, False, False, True]


def test_a_layer_that_reaches_deeper_than_the_depth_is_frozen_whole():
    # planes 2.98 and 3.07 deep are one layer: neither is free, though 2.98 < 3.05
    slab = column([0, 2.98, 3.07, 6.0, 8.93, 9.02, 12.0])
    assert free_atoms(slab) == [True, False, False, False, False, False, True]
    assert free_atoms(slab, layer_tolerance=0.05) == [True, True, False, False, False, True, True]


def test_both_sides_get_the_smaller_number_of_layers():
    slab = column([0, 1.0, 2.0, 5.0, 8.0, 11.0, 15.0])
    assert free_atoms(slab) == [True, False, False, False, False, False, True]


@pytest.mark.parametrize(
    ("heights", "free"),
    [
        ([0], [False]),
        ([0, 2], [False, False]),
        ([0, 2, 4], [True, False, True]),
        ([0, 1, 2, 3], [True, False, False, True]),
        ([0, 1, 2, 3, 4], [True, True, False, True, True]),
    ],
)
def test_a_thin_slab_keeps_its_middle_frozen(heights, free):
    assert free_atoms(column([float(z) for z in heights])) == free


def test_depth_zero_freezes_everything():
    assert not any(free_atoms(column([0.0, 2.0, 4.0, 6.0]), free_depth=0.0))


def test_planes_that_all_touch_still_leave_a_free_surface():
    slab = column([0.09 * i for i in range(121)])  # 10.8 A, one single layer at 0.1 A
    free = free_atoms(slab)
    assert len(atomic_layers(slab)) == 1
    assert sum(free) == 2 * 34  # planes 0 to 33 lie within 3.05 A
    assert free == free[::-1]


def test_tilted_cells_and_empty_ones_are_refused():
    with pytest.raises(ValueError, match="normal"):
        atomic_layers(Structure(Lattice([[3, 0, 0], [0, 3, 0], [1, 0, 30]]), ["Mg"], [[0, 0, 0.5]]))
    with pytest.raises(ValueError, match="no layers"):
        atomic_layers(Structure(Lattice.cubic(3), [], []))


def test_real_slabs_relax_symmetrically():
    mgzn2 = Structure.from_spacegroup(
        "P6_3/mmc",
        Lattice.hexagonal(5.22, 8.57),
        ["Mg", "Zn", "Zn"],
        [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]],
    )
    for facet in enumerate_slabs(mgzn2):
        for slab in facet.slabs:
            layers = atomic_layers(slab.structure)
            free = np.array(free_atoms(slab.structure))
            z = slab.structure.cart_coords[:, 2]
            depth = np.minimum(z - z.min(), z.max() - z)
            flags = [set(free[layer].tolist()) for layer in layers]
            assert all(len(flag) == 1 for flag in flags)
            assert flags == flags[::-1]
            assert flags[len(layers) // 2] == {False}
            assert free[depth < 0.01].all()
            assert not free[depth > 3.05].any()
            assert len(layers) == slab.n_layers
