import numpy as np
import pytest
from ase.data import reference_states
from pymatgen.core import Element

from stores.errors import InputError
from workflows.structures.crystal import crystal_of
from workflows.structures.elements import (
    elements_with_ground_state,
    ground_state,
    ground_state_prototype,
)

# space group and atoms in the conventional cell (International Tables setting)
TYPES = {
    "A1": (225, 4),
    "A2": (229, 2),
    "A3": (194, 2),
    "A3'": (194, 4),
    "A4": (227, 8),
    "A5": (141, 4),
    "A6": (139, 2),
    "A7": (166, 6),
    "A8": (152, 3),
    "A9": (194, 4),
    "A10": (166, 3),
    "A11": (64, 8),
    "A12": (217, 58),
    "A17": (64, 8),
    "A20": (63, 4),
    "A_a": (139, 2),
    "A_h": (221, 1),
    "B12": (166, 36),
    "C19": (166, 9),
}
# Coordination shell (number of neighbours, distance in A) of the types with free parameters, from the
# papers on them: shows that the parameters are right, which space group and volume do not.
SHELLS = {
    "As": (3, 2.52),
    "Sb": (3, 2.91),
    "Bi": (3, 3.07),
    "Se": (2, 2.37),
    "Te": (2, 2.84),
    "Ga": (1, 2.48),
    "P": (3, 2.23),
    "U": (2, 2.75),
    "Hg": (6, 3.00),
    "Si": (4, 2.35),
    "C": (3, 1.42),
    "In": (4, 3.25),
}
# pymatgen's molar volume belongs to another phase or a liquid; that of Tm contradicts its density
OTHER_PHASE = {"Sn", "Ce", "P", "B", "C", "Hg", "Ac", "Po", "Ra", "Tm"}
ASE_NAMES = {"A1": "fcc", "A2": "bcc", "A3": "hcp", "A4": "diamond"}
IN_ASE = [
    element
    for element in elements_with_ground_state()
    if element != "Ce"  # ASE has gamma-Ce
    and (state := reference_states[Element(element).Z]) is not None
    and state["symmetry"] == ASE_NAMES.get(ground_state_prototype(element))
]


@pytest.mark.parametrize("element", elements_with_ground_state())
def test_structure_type(element):
    bulk = crystal_of(ground_state(element))
    number, atoms = TYPES[ground_state_prototype(element)]
    assert bulk.spacegroup_number == number
    assert len(bulk.structure) == atoms
    assert bulk.structure.elements == [Element(element)]


@pytest.mark.parametrize("element", sorted(set(elements_with_ground_state()) - OTHER_PHASE))
def test_atomic_volume_agrees_with_the_molar_volume(element):
    structure = ground_state(element)
    measured = float(Element(element).molar_volume) / 0.602214  # cm^3/mol -> A^3/atom
    assert structure.volume / len(structure) == pytest.approx(measured, rel=0.04)


@pytest.mark.parametrize("element", elements_with_ground_state())
def test_nearest_neighbours_are_neither_overlapping_nor_apart(element):
    structure = ground_state(element)
    distances = structure.get_neighbor_list(7.0)[3]
    # atoms that touch: the nearest-neighbour distance follows from the volume within wide limits
    spacing = (structure.volume / len(structure)) ** (1 / 3)
    assert 0.6 * spacing < distances.min() < 1.15 * spacing


@pytest.mark.parametrize("element", sorted(SHELLS))
def test_coordination(element):
    number, distance = SHELLS[element]
    structure = ground_state(element)
    centers, _, _, distances = structure.get_neighbor_list(distance * 1.02)
    assert np.all(np.bincount(centers, minlength=len(structure)) == number)
    assert distances.mean() == pytest.approx(distance, rel=0.01)


def test_boron_icosahedra_and_manganese_distances():
    boron = ground_state("B")
    counts = np.bincount(boron.get_neighbor_list(2.05)[0], minlength=36)
    assert set(counts) <= {5, 6, 7}
    assert boron.get_neighbor_list(2.05)[3].min() == pytest.approx(1.71, abs=0.01)
    assert ground_state("Mn").get_neighbor_list(3.0)[3].min() == pytest.approx(2.26, abs=0.04)


@pytest.mark.parametrize("element", IN_ASE)
def test_lattice_parameters_agree_with_those_in_ase(element):
    state = reference_states[Element(element).Z]
    a, _, c = ground_state(element).lattice.abc
    assert a == pytest.approx(state["a"], rel=0.025)  # ASE mixes temperatures, which counts for K to Cs
    if "c/a" in state:
        assert c / a == pytest.approx(state["c/a"], abs=0.01)


@pytest.mark.parametrize("element", ["O", "H", "N", "F", "Cl", "S", "I", "Ar", "Pu", "Qq"])
def test_element_without_reference_is_refused_in_one_line(element):
    with pytest.raises(InputError, match=element) as error:
        ground_state(element)
    assert "\n" not in str(error.value)
