from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from stores.errors import InputError
from tests.crystals import CRYSTALS, mg3sb2
from workflows.structures.crystal import crystal_of
from workflows.structures.slabs import FacetSlabs, SlabSettings, SymmetricSlab, enumerate_slabs

COMPOUNDS = CRYSTALS | {
    "Mg17Al12": Structure.from_spacegroup(
        "I-43m",
        Lattice.cubic(10.544),
        ["Mg", "Mg", "Mg", "Al"],
        [[0, 0, 0], [0.324] * 3, [0.3582, 0.3582, 0.0393], [0.0954, 0.0954, 0.2725]],
    )
}


@pytest.fixture(scope="module", params=list(COMPOUNDS))
def compound(request: pytest.FixtureRequest) -> tuple[Structure, list[FacetSlabs]]:
    structure = COMPOUNDS[request.param]
    return structure, enumerate_slabs(structure)


def by_index(facets: list[FacetSlabs]) -> dict[tuple[int, int, int], FacetSlabs]:
    return {facet.miller_index: facet for facet in facets}


@pytest.mark.parametrize(("name", "number"), [("MgAg", 5), ("MgZn2", 23), ("Mg", 7), ("Ag", 3)])
def test_number_of_slabs_up_to_111(name, number):
    assert sum(len(facet.slabs) for facet in enumerate_slabs(COMPOUNDS[name])) == number


def test_b2_slabs_by_name():
    found = [
        (f.miller_index, s.termination_label) for f in enumerate_slabs(COMPOUNDS["MgAg"]) for s in f.slabs
    ]
    assert sorted(found) == [
        ((1, 0, 0), "Ag"),
        ((1, 0, 0), "Mg"),
        ((1, 1, 0), "MgAg"),
        ((1, 1, 1), "Ag"),
        ((1, 1, 1), "Mg"),
    ]


def test_hcp_prismatic_plane_ends_in_two_ways():
    """(10-10) of hcp: planes are a/sqrt 3 and a/(2 sqrt 3) apart in turn; each gap can be cut."""
    a = 3.209
    [facet] = enumerate_slabs(COMPOUNDS["Mg"], miller_indices=[(1, 0, 0)])
    gaps = [slab.gap for slab in facet.slabs]
    assert gaps == pytest.approx([a / math.sqrt(3), a / (2 * math.sqrt(3))], abs=1e-6)
    assert [slab.termination_label for slab in facet.slabs] == ["Mg-a", "Mg-b"]
    [basal] = enumerate_slabs(COMPOUNDS["Mg"], miller_indices=[(0, 0, 1)])
    assert [(s.n_layers, len(s.structure)) for s in basal.slabs] == [(5, 5)]


def test_mg2ni_basal_plane_has_four_terminations():
    [facet] = enumerate_slabs(COMPOUNDS["Mg2Ni"], miller_indices=[(0, 0, 1)])
    assert len(facet.slabs) == 4
    assert sorted(slab.termination_label for slab in facet.slabs) == ["Mg-a", "Mg-b", "Mg-c", "Ni"]


@pytest.mark.parametrize(
    ("structure", "layer_tolerance"),
    [(mg3sb2(0.634), 0.12), (mg3sb2(0.645), 0.1)],
    ids=["measured-z", "ideal-La2O3-z"],
)
def test_mg3sb2_101_and_10m1_are_two_facets(structure, layer_tolerance):
    """Along (101) Mg lies at 0 and +-(z - 2/3) in units of 3.47 A.

    At the measured z = 0.634 these planes are 0.113 A apart, one layer at a tolerance of 0.12 A; at the
    z = 0.645 of the La2O3 type they are 0.075 A apart. The layer Mg3 and two of Sb make 3 terminations.
    """
    facets = by_index(enumerate_slabs(structure, SlabSettings(layer_tolerance=layer_tolerance)))
    assert [len(facets[h].slabs) for h in [(1, 0, 1), (0, 1, 1)]] == [3, 5]
    [same] = enumerate_slabs(
        structure, SlabSettings(layer_tolerance=layer_tolerance), miller_indices=[(1, 0, -1)]
    )
    assert same.miller_index == (0, 1, 1)


def test_mg17al12_111_is_polar():
    facets = by_index(enumerate_slabs(COMPOUNDS["Mg17Al12"]))
    assert facets[1, 1, 1].is_polar
    assert facets[1, 1, 1].slabs == []
    assert facets[1, 1, 1].reason == "polar direction: no symmetric slab exists"
    assert facets[1, 0, 0].slabs and facets[1, 1, 0].slabs


def test_every_facet_has_slabs_or_a_reason(compound):
    _, facets = compound
    assert all(bool(facet.slabs) != bool(facet.reason) for facet in facets)


def test_geometry_of_every_slab(compound):
    _, facets = compound
    for facet in facets:
        for slab in facet.slabs:
            a, b, c = slab.structure.lattice.matrix
            assert max(abs(a @ c), abs(b @ c)) < 1e-9
            z = slab.structure.cart_coords[:, 2]
            u = slab.structure.frac_coords[:, 2]
            assert (u.max() + u.min()) / 2 == pytest.approx(0.5, abs=1e-9)
            assert u.min() > 0
            assert u.max() < 1
            assert z.max() - z.min() == pytest.approx(slab.thickness, abs=1e-8)
            assert np.linalg.norm(c) - (z.max() - z.min()) == pytest.approx(15.0, abs=1e-8)
            assert slab.area == pytest.approx(float(np.linalg.norm(np.cross(a, b))))
            assert slab.thickness >= 10.0 - 1e-6
            assert slab.thickness - slab.period < 10.0 - 1e-6, "one period less would do"
            assert (slab.structure.frac_coords[:, :2] > -1e-6).all()
            assert (slab.structure.frac_coords[:, :2] < 1).all()


def test_atoms_keep_the_distances_of_the_bulk(compound):
    structure, facets = compound
    nearest = structure.distance_matrix + 100 * np.eye(len(structure))
    shortest = min(nearest.min(), *structure.lattice.abc)
    for facet in facets:
        for slab in facet.slabs:
            distances = slab.structure.distance_matrix[np.triu_indices(len(slab.structure), 1)]
            assert min(distances.min(), *slab.structure.lattice.abc) > shortest - 1e-3


def test_oriented_bulk_is_the_bulk_in_the_slabs_cell(compound):
    structure, facets = compound
    primitive = SpacegroupAnalyzer(structure).find_primitive()
    matcher = StructureMatcher(primitive_cell=True, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    for facet in facets:
        for slab in facet.slabs[:1]:
            bulk = slab.oriented_bulk
            assert np.allclose(bulk.lattice.matrix[:2], slab.structure.lattice.matrix[:2], atol=1e-9)
            assert len(bulk) == len(primitive)
            assert bulk.density == pytest.approx(structure.density, rel=1e-5)
            assert (
                SpacegroupAnalyzer(bulk).get_space_group_number()
                == SpacegroupAnalyzer(structure).get_space_group_number()
            )
            assert matcher.fit(bulk, primitive)


def test_terminations_of_a_facet_are_numbered_from_the_widest_gap(compound):
    _, facets = compound
    for facet in facets:
        assert [slab.termination for slab in facet.slabs] == list(range(len(facet.slabs)))
        gaps = [slab.gap for slab in facet.slabs]
        assert all(later <= earlier + 0.011 for earlier, later in pairwise(gaps))
        assert len({slab.termination_label for slab in facet.slabs}) == len(facet.slabs)
        assert len({slab.termination_key for slab in facet.slabs}) == len(facet.slabs)


@pytest.mark.parametrize("turned", [[0, 1, 2], [1, 0, 2]], ids=["as given", "axes a and b swapped"])
def test_terminations_that_differ_below_the_outermost_atoms_keep_their_names_in_any_setting(turned):
    # both Mg terminations of (111) have the same layers, gaps and distances from their outermost atoms;
    # so have both Zn terminations
    mg = [[0.25, 0.5, 0.25], [0.75, 0.5, 0.25], [0.5, 0.25, 0.75], [0.5, 0.75, 0.75]]
    zn = [[0.25, 0.5, 0.5], [0.75, 0.5, 0.5], [0.5, 0.25, 0.5], [0.5, 0.75, 0.5]]
    positions = np.array([*mg, *zn])
    lattice, elements = Lattice.tetragonal(4.385, 5.81), ["Mg"] * 4 + ["Zn"] * 4
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    plane = {"miller_indices": [(1, 1, 1)]}
    [expected] = enumerate_slabs(Structure(lattice, elements, positions), **plane)
    keys = [slab.termination_key for slab in expected.slabs]
    order = ["Mg2|Zn2|Mg2|Zn2", "Zn2|Mg2|Zn2|Mg2"]
    assert keys == [f"{layers}#{rank}" for layers in order for rank in (0, 1)]
    for shift in ([0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.5], [0.1, 0.2, 0.3]):
        given = Structure(lattice, elements, positions[:, turned] + shift)
        [found] = enumerate_slabs(given, **plane)
        assert [slab.termination_key for slab in found.slabs] == keys
        for i, slab in enumerate(found.slabs):
            same = [matcher.fit(slab.structure, one.structure) for one in expected.slabs]
            assert same == [j == i for j in range(len(keys))]


def test_slabs_survive_a_round_trip_through_json():
    for facet in enumerate_slabs(COMPOUNDS["MgZn2"], miller_indices=[(0, 0, 1)]):
        for slab in facet.slabs:
            plain = json.loads(json.dumps(slab.as_dict()))
            again = SymmetricSlab.from_dict(plain)
            assert again == slab
            assert again.miller_index == (0, 0, 1)
            assert isinstance(again.miller_index, tuple)


@pytest.mark.parametrize("thickness", [4.0, 6.0, 10.0, 17.3, 25.0])
def test_thickness_and_vacuum_are_what_was_asked(thickness):
    for facet in enumerate_slabs(
        COMPOUNDS["MgZn2"], SlabSettings(min_thickness=thickness, vacuum=12.0, max_atoms=None)
    ):
        for slab in facet.slabs:
            assert thickness - 1e-6 <= slab.thickness < thickness + slab.period
            assert slab.vacuum == 12.0
            assert slab.structure.lattice.c - np.ptp(slab.structure.cart_coords[:, 2]) == pytest.approx(12.0)


def test_a_slab_of_exactly_the_thickness_asked_is_not_made_thicker():
    ag = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Ag"], [[0, 0, 0]])
    [facet] = enumerate_slabs(ag, SlabSettings(min_thickness=10.0), miller_indices=[(1, 0, 0)])
    assert facet.slabs[0].thickness == pytest.approx(10.0)
    assert facet.slabs[0].n_layers == 6


def test_max_terminations_keeps_the_widest_gaps_and_says_so():
    [facet] = enumerate_slabs(
        COMPOUNDS["MgZn2"], SlabSettings(max_terminations=2), miller_indices=[(1, 0, 1)]
    )
    [everything] = enumerate_slabs(COMPOUNDS["MgZn2"], miller_indices=[(1, 0, 1)])
    assert [s.termination_key for s in facet.slabs] == [s.termination_key for s in everything.slabs[:2]]
    assert facet.notes == ["kept the 2 of 8 terminations with the widest gaps"]


def test_max_atoms_leaves_out_monsters_with_a_note():
    facets = by_index(enumerate_slabs(COMPOUNDS["MgZn2"], SlabSettings(max_atoms=40)))
    assert all(len(slab.structure) <= 40 for facet in facets.values() for slab in facet.slabs)
    assert facets[1, 1, 0].slabs == []
    assert facets[1, 1, 0].reason.startswith("termination MgZn: 56 atoms at 10 A, more than max_atoms=40")
    assert len(facets[0, 0, 1].slabs) == 4


def test_planes_that_are_all_close_are_cut_at_the_widest_gap_with_a_note():
    [facet] = enumerate_slabs(
        COMPOUNDS["Mg2Ni"], SlabSettings(layer_tolerance=0.5), miller_indices=[(1, 1, 1)]
    )
    assert len(facet.notes) == 1
    assert "no gap between atomic planes exceeds layer_tolerance=0.5 A" in facet.notes[0]
    [usual] = enumerate_slabs(COMPOUNDS["Mg2Ni"], miller_indices=[(1, 1, 1)])
    widest = max(slab.gap for slab in usual.slabs)
    assert facet.slabs
    assert all(slab.gap == pytest.approx(widest) for slab in facet.slabs)
    assert facet.reason == ""


def test_tolerance_zero_never_splits_a_plane():
    [facet] = enumerate_slabs(
        COMPOUNDS["Mg2Ni"], SlabSettings(layer_tolerance=0.0), miller_indices=[(0, 0, 1)]
    )
    assert len(facet.slabs) == 4


def test_layers_closer_than_the_tolerance_stay_together():
    for facet in enumerate_slabs(COMPOUNDS["Mg2Ni"], SlabSettings(layer_tolerance=0.3)):
        for slab in facet.slabs:
            assert slab.gap > 0.3


def test_equivalent_miller_indices_are_merged_and_reduced():
    facets = enumerate_slabs(COMPOUNDS["MgAg"], miller_indices=[(0, 1, 1), (1, 1, 0), (2, 0, -2), (0, 0, 1)])
    assert [facet.miller_index for facet in facets] == [(1, 1, 0), (1, 0, 0)]


def test_a_crystal_is_taken_as_well_as_a_structure():
    crystal = crystal_of(COMPOUNDS["MgAg"])
    assert sum(len(facet.slabs) for facet in enumerate_slabs(crystal)) == 5


def test_oxidation_states_do_not_matter():
    decorated = COMPOUNDS["Mg3Sb2"].copy()
    decorated.add_oxidation_state_by_element({"Mg": 2, "Sb": -3})
    assert enumerate_slabs(decorated) == enumerate_slabs(COMPOUNDS["Mg3Sb2"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_miller_index": 0}, "max_miller_index is 0"),
        ({"min_thickness": 0.0}, "min_thickness is 0.0 A"),
        ({"min_thickness": float("nan")}, "min_thickness is nan A"),
        ({"vacuum": -1.0}, "vacuum is -1.0 A"),
        ({"layer_tolerance": -0.1}, "layer_tolerance is -0.1 A"),
        ({"max_terminations": 0}, "max_terminations is 0"),
        ({"max_atoms": 0}, "max_atoms is 0"),
        ({"miller_indices": [(1, 0, 0), (0, 0, 0)]}, r"\(000\) is not a plane"),
        ({"miller_indices": [(1, 0, -1, 0)]}, "three integers"),
        ({"miller_indices": []}, "miller_indices is empty"),
        ({"miller_indices": [(10**20, 1, 1)]}, "indices end at 100"),
        ({"min_thickness": math.inf}, "min_thickness is inf A"),
        ({"min_thickness": 1e308}, "up to 1000"),
        ({"vacuum": 1e5}, "up to 1000"),
    ],
)
def test_arguments_without_sense_get_one_line(arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        planes = arguments.pop("miller_indices", None)
        enumerate_slabs(COMPOUNDS["MgAg"], SlabSettings(**arguments), miller_indices=planes)
    assert "\n" not in str(caught.value)


def test_disordered_structures_are_refused():
    with pytest.raises(InputError, match="disordered"):
        enumerate_slabs(Structure(Lattice.cubic(3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]]))
