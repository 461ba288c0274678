import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from stores.errors import InputError
from stores.records import Provenance
from tests.crystals import LOW_SYMMETRY, cells, in_another_setting
from workflows.structures.crystal import crystal_of
from workflows.structures.elements import crystal
from workflows.structures.prototypes import PROTOTYPES, decorate, structure_for
from workflows.structures.sources.local import PrototypeSource
from workflows.structures.sources.merge import full_identifiers, merge
from workflows.structures.sources.protocol import Candidate, DatabaseValues

CRYSTALS = LOW_SYMMETRY | {p.name: decorate(p, ("Mg", "Ag")) for p in PROTOTYPES}


def candidate(structure, identifier="x-1", source="mp", *, guess=False, values=()):
    return Candidate(
        structure=structure,
        provenance=Provenance(source=source, identifiers=[identifier], lattice_is_guess=guess),
        label=identifier,
        values=tuple(values),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(CRYSTALS)),
    cells(),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 1e-4, 0.005, 0.02]),
    st.sampled_from([0.98, 1.0, 1.02]),
    st.booleans(),
)
def test_any_setting_of_a_crystal_merges_with_it(name, matrix, seed, noise, scale, primitive):
    one = CRYSTALS[name]
    other = in_another_setting(one, matrix, seed, noise, scale, primitive)
    (merged,) = merge([candidate(other, "5", "oqmd"), candidate(one, "mp-1")])
    assert merged.provenance.source == "mp"
    assert merged.provenance.identifiers == ["mp-1", "oqmd:5"]
    crystal_ = crystal_of(one)
    assert merged.spacegroup_number == crystal_.spacegroup_number
    assert merged.n_atoms == len(crystal_.primitive_species)
    assert len(merged.structure) == len(crystal_.species)
    assert merged.structure.volume == pytest.approx(crystal_.structure.volume, rel=1e-6)


def test_structure_types_and_decorations_stay_apart():
    """All prototypes, both ways round, as guesses (the wider tolerances) and as from a database."""
    guesses = list(PrototypeSource(partners=["Zn"]).candidates())
    labels = [m.label for m in merge(guesses)]
    assert len(set(labels)) == len(labels) == len(guesses) == 36
    found = [candidate(c.structure, f"mp-{i}") for i, c in enumerate(guesses)]
    assert len(merge(found)) == len(found)
    assert "MgZn2 P6_3/mmc prototype:C14 A=Mg B=Zn" in labels
    assert "MgZn Cmcm prototype:B33 A=Zn B=Mg" in labels
    assert "MgZn2 Fd-3m" in labels


def test_tetragonal_crystals_of_one_type_but_far_apart_in_c_over_a_stay_apart():
    def l10(ratio):
        a = (32.0 / ratio) ** (1 / 3)
        return crystal(123, (a, a, ratio * a), [("Mg", (0, 0, 0)), ("Ag", (0.5, 0.5, 0.5))])

    found = [candidate(l10(ratio), f"mp-{i}") for i, ratio in enumerate((1.05, 1.31, 1.33))]
    assert [m.provenance.identifiers for m in merge(found)] == [["mp-0"], ["mp-1", "mp-2"]]


def test_volumes_differ_by_functional_and_by_more_in_a_guess():
    b2 = structure_for("MgAg", "B2")

    def scaled(factor):
        other = b2.copy()
        other.scale_lattice(b2.volume * factor)
        return other

    assert len(merge([candidate(b2), candidate(scaled(1.12), "5", "oqmd")])) == 1
    assert len(merge([candidate(b2), candidate(scaled(1.5), "5", "oqmd")])) == 2
    guess = candidate(scaled(1.5), "B2", "prototype", guess=True)
    (merged,) = merge([guess, candidate(b2)])
    assert not merged.provenance.lattice_is_guess
    assert merged.structure.volume == pytest.approx(b2.volume)


def test_a_guess_joins_the_compound_whose_atoms_it_only_estimates():
    known = crystal(  # MgZn2 as measured; the guess has c/a and positions of the type, other volume
        194,
        (5.22, 5.22, 8.30),
        [("Mg", (1 / 3, 2 / 3, 0.071)), ("Zn", (0, 0, 0)), ("Zn", (0.838, 1.676, 0.25))],
    )
    (guess,) = PrototypeSource(["MgZn2"], prototypes=["C14"]).candidates()
    (merged,) = merge([guess, candidate(known, "mp-978")])
    assert merged.provenance.identifiers == ["mp-978", "prototype:C14 A=Mg B=Zn"]
    assert merged.structure.lattice.c / merged.structure.lattice.a == pytest.approx(8.30 / 5.22)


def test_space_group_that_flips_with_the_tolerance():
    """One database gives P1, another cubic, a third something between: one crystal, in its full symmetry."""
    b2 = structure_for("MgAg", "B2")
    tetragonal = Structure(Lattice.tetragonal(3.32, 3.37), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.502]])
    noisy = in_another_setting(b2, np.diag([2, 1, 1]), 3, noise=0.02)
    assert crystal_of(noisy).spacegroup_number == 1
    assert crystal_of(tetragonal).spacegroup_number == 99
    (merged,) = merge([candidate(noisy), candidate(tetragonal, "2", "oqmd"), candidate(b2, "3", "aflow")])
    assert (merged.spacegroup_number, merged.spacegroup_symbol, merged.n_atoms) == (221, "Pm-3m", 2)
    assert crystal_of(merged.structure).spacegroup_number == 221
    assert merged.provenance.identifiers == ["mp:x-1", "oqmd:2", "aflow:3"]


def test_a_distortion_in_a_file_is_kept():
    """The user's own structure is what the user wants to compute."""
    distorted = Structure(Lattice.tetragonal(3.32, 3.36), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (merged,) = merge([candidate(distorted, "a.cif", "file"), candidate(structure_for("MgAg", "B2"))])
    assert merged.spacegroup_symbol == "P4/mmm"
    assert merged.provenance.source == "file"
    assert merged.provenance.identifiers == ["file:a.cif", "mp:x-1"]
    assert merged.structure.lattice.c == pytest.approx(3.36)


def test_mirror_images_in_two_space_groups_merge():
    left = structure_for("Mg2Ni", "C_a")
    right = left.copy()
    right.apply_operation(SymmOp.reflection([0, 0, 1]))
    assert {crystal_of(s).spacegroup_number for s in (left, right)} == {180, 181}
    assert len(merge([candidate(left), candidate(right, "5", "oqmd")])) == 1


def test_preference_decides_whose_geometry_is_taken_and_energy_within_a_source():
    b2 = structure_for("MgAg", "B2")

    def of_length(a):
        return Structure(Lattice.cubic(a), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])

    def values(hull):
        return [DatabaseValues("oqmd", formation_energy=hull - 0.3, energy_above_hull=hull)]

    found = [
        candidate(b2, "B2", "prototype", guess=True),
        candidate(of_length(3.30), "oqmd-7", "oqmd", values=values(0.2)),
        candidate(of_length(3.31), "oqmd-12", "oqmd", values=values(0.0)),
        candidate(of_length(3.32), "9", "unheard-of"),
        candidate(of_length(3.33), "mp-1", values=[DatabaseValues("mp GGA_GGA+U", -0.3, 0.0)]),
    ]
    (merged,) = merge(found)
    assert merged.structure.lattice.a == pytest.approx(3.33)
    assert merged.provenance.identifiers == ["mp-1", "oqmd-12", "oqmd-7", "unheard-of:9", "prototype:B2"]
    assert [v.method for v in merged.values] == ["mp GGA_GGA+U", "oqmd", "oqmd"]
    assert merged.values[1].energy_above_hull == 0.0
    (merged,) = merge(found[:-1])
    assert merged.structure.lattice.a == pytest.approx(3.31)
    (merged,) = merge([*found, candidate(of_length(3.4), "a.cif", "file")])
    assert merged.structure.lattice.a == pytest.approx(3.4)


def plain(merged):
    return [
        (m.label, m.structure.as_dict(), m.provenance.model_dump(), m.values, m.n_atoms, m.spacegroup_number)
        for m in merged
    ]


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False), st.integers(0, 2**31))
def test_result_does_not_depend_on_the_order(shuffler, seed):
    rng = random.Random(seed)
    found = []
    for i, name in enumerate(["B2", "B33", "C14", "C36", "L1_0", "D0_19", "monoclinic"]):
        for source in ("mp", "oqmd", "aflow"):
            noise = rng.choice([0.0, 0.005, 0.02])
            other = in_another_setting(CRYSTALS[name], np.eye(3, dtype=int), rng.randrange(2**31), noise)
            found.append(candidate(other, f"{source}-{i}", source))
    found += list(PrototypeSource(partners=["Ag"], prototypes=["B2", "C14", "L1_0"]).candidates())
    expected = plain(merge(found))
    assert len(expected) == 8  # C14 the other way round is the eighth
    shuffler.shuffle(found)
    assert plain(merge(found)) == expected


def test_identifiers_are_unambiguous():
    def of(source, *identifiers, guess=False):
        return full_identifiers(
            Provenance(source=source, identifiers=list(identifiers), lattice_is_guess=guess)
        )

    assert of("mp", "mp-978") == ("mp-978",)
    assert of("oqmd", "oqmd-5012") == ("oqmd-5012",)
    assert of("aflow", "aflow:0123") == ("aflow:0123",)
    assert of("oqmd", "5012", "5013") == ("oqmd:5012", "oqmd:5013")
    assert of("file", "cifs/a.cif#2") == ("file:cifs/a.cif#2",)
    assert of("prototype", "C14", "A=Mg", "B=Zn", guess=True) == ("prototype:C14 A=Mg B=Zn",)
    assert of("cod") == ("cod",)


def test_candidates_are_taken_one_by_one_and_progress_is_told():
    calls = []
    found = [candidate(CRYSTALS[name], f"mp-{i}") for i, name in enumerate(("B2", "C14", "L1_0"))]
    merged = merge((c for c in found), progress=lambda *call: calls.append(call))
    assert [m.formula for m in merged] == ["MgAg", "MgAg", "MgAg2"]
    assert calls[:3] == [("symmetry", 1, None), ("symmetry", 2, None), ("symmetry", 3, None)]
    assert calls[-1] == ("comparing", 3, 3)
    calls.clear()
    merge(found, progress=lambda *call: calls.append(call))
    assert calls[0] == ("symmetry", 1, 3)


def test_a_candidate_without_symmetry_is_reported_and_the_rest_merges():
    broken = Structure(Lattice.cubic(3), ["Mg", "Mg"], [[0, 0, 0], [0, 0, 1e-6]])
    problems = []
    merged = merge([candidate(broken, "mp-9"), candidate(CRYSTALS["B2"])], problems=problems)
    assert len(merged) == 1
    assert len(problems) == 1
    assert "mp-9" in problems[0]
    assert "\n" not in problems[0]
    with pytest.raises(InputError, match="mp-9"):
        merge([candidate(broken, "mp-9")])


def test_nothing_gives_nothing():
    assert merge([]) == []


def test_more_than_two_elements():
    heusler = Structure.from_spacegroup(
        225, Lattice.cubic(6.1), ["Mg", "Ag", "Zn"], [[0, 0, 0], [0.25] * 3, [0.5] * 3]
    )
    other = in_another_setting(heusler, np.eye(3, dtype=int), 5, noise=0.005, primitive=True)
    (merged,) = merge([candidate(heusler), candidate(other, "5", "oqmd")])
    assert merged.formula == "MgAg2Zn"
    # the quaternary order of the same sites is another crystal
    swapped = heusler.copy()
    swapped.replace_species({"Mg": "Zn", "Zn": "Mg"})
    assert len(merge([candidate(heusler), candidate(swapped, "6", "oqmd")])) == 1
    inverse = Structure.from_spacegroup(
        216, Lattice.cubic(6.1), ["Ag", "Ag", "Mg", "Zn"], [[0, 0, 0], [0.25] * 3, [0.5] * 3, [0.75] * 3]
    )
    assert len(merge([candidate(heusler), candidate(inverse, "7", "oqmd")])) == 2
