import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from workflows.analysis.reconstruction import score_reconstruction

EDGE = 3.34  # B2 MgAg (A); Mg-Ag 2.8925, Mg-Mg 3.34
NEAREST = EDGE * np.sqrt(3) / 2


def b2_slab(layers=7, height=25.0, repeat=1):
    """(100) slab of MgAg, Mg-terminated on both sides, centred."""
    z = (np.arange(layers) - (layers - 1) / 2) * EDGE / 2 / height + 0.5
    species = ["Mg" if i % 2 == 0 else "Ag" for i in range(layers)]
    coords = [[0.5 * (i % 2), 0.5 * (i % 2), z[i]] for i in range(layers)]
    slab = Structure(Lattice.tetragonal(EDGE, height), species, coords)
    return slab.make_supercell([repeat, repeat, 1], in_place=False)


def outer(slab, depth=2.0):
    z = slab.cart_coords[:, 2]
    return [(h < z.min() + depth) or (h > z.max() - depth) for h in z]


def moved(slab, index, vector):
    final = slab.copy()
    final.translate_sites([index], vector, frac_coords=False)
    return final


def top_atom(slab):
    return int(np.argmax(slab.cart_coords[:, 2]))


def test_unrelaxed_slab_scores_nothing():
    slab = b2_slab()
    scores = score_reconstruction(slab, slab, outer(slab))
    assert scores.displacement == 0.0 and scores.bonds_changed == 0.0 and not scores.layers_swapped


def test_displacement_is_in_units_of_the_nearest_neighbour_distance():
    slab = b2_slab()
    final = moved(slab, top_atom(slab), [0, 0, 0.3])
    scores = score_reconstruction(slab, final, outer(slab))
    assert scores.displacement == pytest.approx(0.3 / NEAREST)
    assert scores.bonds_changed == 0.0


def test_evaporated_atom_breaks_all_its_bonds():
    slab = b2_slab()
    final = moved(slab, top_atom(slab), [0, 0, 6.0])
    scores = score_reconstruction(slab, final, outer(slab))
    # Top side, free: Mg at the top and the Ag below it. Bonds within 1.25 nn = 3.62 A: top Mg 4 Mg-Ag,
    # 4 in-plane Mg-Mg images (2 per cell) and 1 Mg-Mg down (3.34); Ag: 4 Mg-Ag down, 4 in-plane images,
    # 1 Ag-Ag down. Counted from both ends: (8+4+2) + (8+4+2) = 28. Broken: Mg-Ag 8, Mg-Mg down 2 = 10;
    # the in-plane images move along.
    assert scores.bonds_changed == pytest.approx(10 / 28)
    assert scores.displacement == pytest.approx(6.0 / NEAREST)


def test_marginal_bond_does_not_flip():
    # Columns of atoms 3.0 A apart, in-plane neighbours at 3.747 A, just inside the limit 1.25 * 3.0 A
    edge = 1.249 * 3.0
    column = Structure(Lattice.tetragonal(edge, 25.0), ["Mg"] * 4, [[0, 0, 0.2 + 0.12 * i] for i in range(4)])
    slab = column.make_supercell([2, 2, 1], in_place=False)
    little = moved(slab, top_atom(slab), [0.1, 0, 0])  # 3.847 A: beyond the limit, but only 0.1 A longer
    assert score_reconstruction(slab, little, outer(slab)).bonds_changed == 0.0
    # 4.347 A: broken. Free: 4 atoms, each with 4 in-plane bonds and one downwards: 4*4/2 + 4 = 12 bonds
    much = moved(slab, top_atom(slab), [0.6, 0, 0])
    assert score_reconstruction(slab, much, outer(slab)).bonds_changed == pytest.approx(1 / 12)


def test_sinking_surface_atom_swaps_layers():
    slab = b2_slab()
    final = moved(slab, top_atom(slab), [0, 0, -EDGE / 2 - 0.3])
    assert score_reconstruction(slab, final, outer(slab)).layers_swapped


def test_rumpling_within_the_tolerance_is_no_swap():
    slab = b2_slab()
    index = top_atom(slab)
    near = moved(slab, index, [0, 0, -EDGE / 2 + 0.05])  # Mg comes to lie 0.05 A above Ag
    level = moved(slab, index, [0, 0, -EDGE / 2 - 0.05])  # and 0.05 A below it
    assert not score_reconstruction(slab, near, outer(slab)).layers_swapped
    assert not score_reconstruction(slab, level, outer(slab)).layers_swapped


@settings(max_examples=25, deadline=None)
@given(
    shift=st.tuples(*[st.floats(-3, 3)] * 3),
    images=st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=28, max_size=28),
)
def test_common_translation_and_periodic_images_change_nothing(shift, images):
    slab = b2_slab(repeat=2)
    index = top_atom(slab)
    final = moved(slab, index, [0.4, 0.2, 0.5])
    expected = score_reconstruction(slab, final, outer(slab))
    elsewhere = final.frac_coords + np.array(shift) + np.array(images)
    anywhere = Structure(final.lattice, final.species, elsewhere)
    scores = score_reconstruction(slab, anywhere, outer(slab))
    assert scores.displacement == pytest.approx(expected.displacement)
    assert scores.bonds_changed == pytest.approx(expected.bonds_changed)
    assert scores.layers_swapped == expected.layers_swapped


def test_slab_that_wraps_the_cell():
    slab = b2_slab()
    final = moved(slab, top_atom(slab), [0, 0, 0.3])
    free = outer(slab)
    wrapped, wrapped_final = slab.copy(), final.copy()
    for structure in (wrapped, wrapped_final):
        structure.translate_sites(range(len(structure)), [0, 0, 0.5], frac_coords=True, to_unit_cell=True)
    assert score_reconstruction(wrapped, wrapped_final, free).displacement == pytest.approx(0.3 / NEAREST)
    assert not score_reconstruction(wrapped, wrapped_final, free).layers_swapped


def test_shortest_image_in_a_skewed_cell():
    lattice = Lattice([[3.2, 0, 0], [8.0, 2.77, 0], [0, 0, 25]])  # strongly skewed hexagonal net
    slab = Structure(lattice, ["Mg"] * 3, [[0, 0, 0.4], [1 / 3, 1 / 3, 0.5], [0, 0, 0.6]])
    final = moved(slab, 2, [0.0, 1.3, 0.0])
    nearest = min(slab.get_distance(2, j) for j in range(2))
    nearest = min(nearest, 3.2)
    score = score_reconstruction(slab, final, [False, False, True])
    assert score.displacement == pytest.approx(1.3 / nearest, rel=1e-3)


def test_without_a_frozen_atom_the_mean_motion_is_taken_off():
    slab = b2_slab(layers=3)
    final = slab.copy()
    final.translate_sites(range(3), [0.5, 0.5, 0.5], frac_coords=False)
    assert score_reconstruction(slab, final, [True] * 3).displacement == pytest.approx(0.0, abs=1e-9)


def test_only_one_side_reconstructs():
    slab = b2_slab(repeat=2)
    z = slab.cart_coords[:, 2]
    final = slab.copy()
    top = [i for i in range(len(slab)) if z[i] > z.max() - 0.1]
    final.translate_sites(top, [0, 0, 2.5], frac_coords=False)
    one_side = score_reconstruction(slab, final, outer(slab)).bonds_changed
    bottom = [i for i in range(len(slab)) if z[i] < z.min() + 0.1]
    final.translate_sites(bottom, [0, 0, -2.5], frac_coords=False)
    both_sides = score_reconstruction(slab, final, outer(slab)).bonds_changed
    assert one_side == pytest.approx(both_sides) == pytest.approx(10 / 28)


def test_bad_input():
    slab = b2_slab()
    with pytest.raises(InputError, match="marks"):
        score_reconstruction(slab, slab, [True])
    with pytest.raises(InputError, match="differ in their atoms"):
        score_reconstruction(slab, b2_slab(layers=5), [True] * 7)
    other = Structure(Lattice.tetragonal(3.4, 25), slab.species, slab.frac_coords)
    with pytest.raises(InputError, match="another cell"):
        score_reconstruction(slab, other, outer(slab))
