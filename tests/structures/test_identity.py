import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from stores.errors import InputError
from tests.crystals import LOW_SYMMETRY, cells, in_another_setting
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.elements import crystal

# one crystal or more of every crystal system, centrings included
CRYSTALS = {
    **LOW_SYMMETRY,
    "C monoclinic": Structure(
        Lattice.monoclinic(9.1, 4.3, 5.2, 107.0),
        ["Mg"] * 4 + ["Si"] * 4,
        [
            [x + s, y, z]
            for p, q in ((0.13, 0.29), (0.37, 0.81))
            for x, z in ((p, q), (-p, -q))
            for s, y in ((0, 0), (0.5, 0.5))
        ],
    ),
    "CrB": crystal(63, (4.0, 10.9, 4.2), [("Mg", (0, 0.14, 0.25)), ("Ag", (0, 0.42, 0.25))]),
    "Mg2Ni": crystal(
        180,
        (5.205, 5.205, 13.236),
        [
            ("Ni", (0, 0, 0.5)),
            ("Ni", (0.5, 0, 0.5)),
            ("Mg", (0.5, 0, 0.1155)),
            ("Mg", (0.1628, 0.3256, 0)),
        ],
    ),
    "Mg3Sb2": crystal(
        164,
        (4.568, 4.568, 7.229),
        [("Mg", (0, 0, 0)), ("Mg", (1 / 3, 2 / 3, 0.634)), ("Sb", (1 / 3, 2 / 3, 0.228))],
    ),
    "As": crystal(166, (3.7598, 3.7598, 10.5475), [("As", (0, 0, 0.2271))]),
    "MgZn2": crystal(
        194,
        (5.223, 5.223, 8.566),
        [("Mg", (1 / 3, 2 / 3, 0.0629)), ("Zn", (0, 0, 0)), ("Zn", (0.8305, 1.661, 0.25))],
    ),
    "L1_0": crystal(123, (2.9, 2.9, 3.9), [("Mg", (0, 0, 0)), ("Pd", (0.5, 0.5, 0.5))]),
    "B2": crystal(221, (3.312, 3.312, 3.312), [("Mg", (0, 0, 0)), ("Ag", (0.5, 0.5, 0.5))]),
    "MgCu2": crystal(227, (7.048, 7.048, 7.048), [("Mg", (1 / 8, 1 / 8, 1 / 8)), ("Cu", (0.5, 0.5, 0.5))]),
}
KEYS = {name: bulk_key(s) for name, s in CRYSTALS.items()}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CRYSTALS)), cells(), st.integers(0, 2**31), st.sampled_from([0.0, 1e-6]))
def test_key_is_that_of_the_crystal_not_of_its_setting(name, matrix, seed, noise):
    assert bulk_key(in_another_setting(CRYSTALS[name], matrix, seed, noise)) == KEYS[name]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CRYSTALS)), cells(), st.integers(0, 2**31))
def test_standard_cell_is_the_same_for_every_setting(name, matrix, seed):
    expected = crystal_of(CRYSTALS[name])
    found = crystal_of(in_another_setting(CRYSTALS[name], matrix, seed, 0.0))
    assert np.allclose(found.structure.lattice.parameters, expected.structure.lattice.parameters, atol=1e-4)
    assert len(found.structure) == len(expected.structure)


def test_different_crystals_have_different_keys():
    assert len(set(KEYS.values())) == len(KEYS)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
@pytest.mark.parametrize("strain", [[0.01] * 3, [0.0, 0.0, 0.01], [-0.01] * 3])
def test_one_percent_of_strain_changes_the_key(name, strain):
    strained = CRYSTALS[name].copy()
    strained.apply_strain(strain)
    assert bulk_key(strained) != KEYS[name]


def test_structure_types_composition_and_parameters_change_the_key():
    a = 5.4
    b1 = crystal(225, (a, a, a), [("Mg", (0, 0, 0)), ("Ag", (0.5, 0.5, 0.5))])
    b3 = crystal(216, (a, a, a), [("Mg", (0, 0, 0)), ("Ag", (0.25, 0.25, 0.25))])
    l12 = crystal(221, (4.2, 4.2, 4.2), [("Mg", (0, 0, 0)), ("Ag", (0.5, 0.5, 0))])
    swapped = crystal(221, (4.2, 4.2, 4.2), [("Ag", (0, 0, 0)), ("Mg", (0.5, 0.5, 0))])
    crb = [
        crystal(63, (4.0, 10.9, 4.2), [("Mg", (0, y, 0.25)), ("Ag", (0, 0.42, 0.25))]) for y in (0.14, 0.145)
    ]
    crb.append(crystal(63, (4.0, 10.9, 4.2), [("Ag", (0, 0.14, 0.25)), ("Mg", (0, 0.42, 0.25))]))
    keys = [bulk_key(s) for s in (b1, b3, l12, swapped, *crb, CRYSTALS["B2"])]
    assert len(set(keys)) == len(keys)


def test_left_and_right_handed_crystals_share_a_key():
    mirrored = CRYSTALS["Mg2Ni"].copy()
    mirrored.apply_operation(SymmOp.reflection([0, 0, 1]))
    assert crystal_of(mirrored).spacegroup_number == 181
    assert bulk_key(mirrored) == KEYS["Mg2Ni"]


def test_standard_cell_of_a_rhombohedral_crystal_has_hexagonal_axes():
    standard = crystal_of(CRYSTALS["As"].get_primitive_structure())
    assert standard.spacegroup_number == 166
    assert standard.spacegroup_symbol == "R-3m"
    assert np.allclose(
        standard.structure.lattice.parameters, (3.7598, 3.7598, 10.5475, 90, 90, 120), atol=1e-6
    )
    assert len(standard.structure) == 6
    assert len(crystal_of(CRYSTALS["As"]).primitive_structure) == 2


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_operations_map_the_standard_cell_onto_itself(name):
    bulk = crystal_of(CRYSTALS[name])
    positions = bulk.structure.frac_coords
    numbers = np.array(bulk.structure.atomic_numbers)
    assert len(bulk.rotations) == len(bulk.translations) > 0
    for rotation, translation in zip(bulk.rotations, bulk.translations, strict=True):
        images = positions @ rotation.T + translation
        offsets = images[:, None] - positions[None]
        same = np.abs(offsets - np.round(offsets)).max(axis=2) < 1e-4
        assert np.all(same.sum(axis=1) == 1)
        assert np.array_equal(numbers[same.argmax(axis=1)], numbers)


def test_oxidation_states_are_ignored():
    charged = CRYSTALS["B2"].copy()
    charged.add_oxidation_state_by_element({"Mg": 2, "Ag": -2})
    assert bulk_key(charged) == KEYS["B2"]


@pytest.mark.parametrize(
    "structure",
    [
        Structure(Lattice.cubic(3), ["Mg", "Mg"], [[0, 0, 0], [0, 0, 1e-5]]),
        Structure(Lattice.cubic(3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]]),
        Structure(Lattice.cubic(3), [], []),
    ],
    ids=["overlapping", "disordered", "empty"],
)
def test_structure_without_space_group_is_refused_in_one_line(structure):
    for function in (crystal_of, bulk_key):
        with pytest.raises(InputError) as error:
            function(structure)
        assert "\n" not in str(error.value)


def test_the_last_digit_of_a_file_seldom_changes_the_key():
    """Two databases give a lattice parameter as 3.311 and 3.3112: the same crystal before relaxation."""
    changed = total = 0
    for crystal_ in CRYSTALS.values():
        for scale in np.linspace(0.98, 1.02, 12):
            one, other = crystal_.copy(), crystal_.copy()
            one.scale_lattice(crystal_.volume * scale**3)
            other.scale_lattice(crystal_.volume * (scale * (1 + 5e-5)) ** 3)
            total += 1
            changed += bulk_key(one) != bulk_key(other)
    assert changed <= 0.03 * total
