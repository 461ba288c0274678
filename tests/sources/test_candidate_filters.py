from dataclasses import replace

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from stores.records import Provenance
from workflows.structures.prototypes import structure_for
from workflows.structures.sources.filters import CandidateFilter, Screening
from workflows.structures.sources.merge import merge
from workflows.structures.sources.protocol import Candidate, DatabaseValues


def candidate(structure, *gaps, source="mp"):
    values = tuple(DatabaseValues(f"db{i}", band_gap=gap) for i, gap in enumerate(gaps))
    return Candidate(structure, Provenance(source=source, identifiers=["mp-1"]), "x", values)


MGAG = candidate(structure_for("MgAg", "B2"))
TERNARY = candidate(
    Structure.from_spacegroup(225, Lattice.cubic(6.1), ["Mg", "Ag", "Zn"], [[0, 0, 0], [0.25] * 3, [0.5] * 3])
)


def of(formula, kind="B2"):
    return candidate(structure_for(formula, kind))


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        ({}, MGAG, None),
        ({}, of("ZnAg"), "no Mg"),
        ({}, candidate(Structure(Lattice.cubic(3), ["Mg"], [[0, 0, 0]])), "1 element, at least 2"),
        ({}, TERNARY, "3 elements, at most 2"),
        ({"max_elements": 3}, TERNARY, None),
        ({}, of("MgTc"), "radioactive element Tc"),
        ({"radioactive": True}, of("MgTc"), None),
        ({}, of("MgU"), "radioactive element U"),
        ({}, of("MgBi"), None),
        ({"exclude": ["Ag"]}, MGAG, "excluded element Ag"),
        ({"partners": ["Zn", "Cu"]}, MGAG, "Ag is not among the partners"),
        ({"partners": ["Ag"]}, MGAG, None),
        ({"max_atoms": 11}, of("MgZn2", "C14"), "more than 11 atoms in the primitive cell"),
        ({"max_atoms": 12}, of("MgZn2", "C14"), None),
        ({}, candidate(MGAG.structure, 0.005), None),
        ({}, candidate(MGAG.structure, 0.5), "not a metal"),
        ({"metals_only": False}, candidate(MGAG.structure, 0.5), None),
        ({}, candidate(MGAG.structure, None, 0.5, 0.0), "not a metal"),
        ({}, candidate(MGAG.structure, None), None),
    ],
)
def test_reasons(options, given, reason):
    assert CandidateFilter(**options).refusal(given) == reason


def test_atoms_are_counted_in_the_primitive_cell():
    noisy = of("MgCu2", "C15").structure * (2, 1, 1)  # 48 atoms, 6 in the primitive cell
    noisy.perturb(0.01)
    assert CandidateFilter(max_atoms=6).refusal(candidate(noisy)) is None
    assert "more than 5 atoms" in CandidateFilter(max_atoms=5).refusal(candidate(noisy))
    (merged,) = merge([candidate(noisy)])
    assert len(merged.structure) == 24
    assert CandidateFilter(max_atoms=6).refusal(merged) is None


def test_a_gap_that_one_database_knows_decides_after_merging():
    """Each database alone may not know; together they do."""
    unknown = candidate(MGAG.structure, source="aflow")
    known = replace(candidate(MGAG.structure, 2.0), provenance=Provenance(source="mp", identifiers=["mp-2"]))
    (merged,) = merge([unknown, known])
    assert CandidateFilter().refusal(merged) == "not a metal"


def test_refusals_are_counted_by_kind():
    screening = Screening(CandidateFilter(max_atoms=3))
    given = [MGAG, of("MgZn2", "C14"), of("MgZn2", "C36"), of("MgTc"), candidate(MGAG.structure, 1.0)]
    given += [candidate(MGAG.structure, 2.0)]
    assert [screening.accepts(one) for one in given] == [True, False, False, False, False, False]
    assert screening.summary() == [
        "2 refused: more than 3 atoms in the primitive cell",
        "2 refused: not a metal",
        "1 refused: radioactive element Tc",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partners": ["zn"]}, "'zn' is no element; did you mean 'Zn'"),
        ({"exclude": ["Xx"]}, "'Xx' is no element; write symbols"),
        ({"partners": "Zn"}, r"list of elements, not one text: use \['Zn'\]"),
        ({"partners": []}, "partners is empty"),
        ({"partners": ["Mg"]}, "Mg is in every compound"),
        ({"partners": ["Zn", "Ag"], "exclude": ["Zn"]}, "Zn cannot be both"),
        ({"max_elements": 1}, "max_elements"),
        ({"max_atoms": 0}, "max_atoms"),
    ],
)
def test_bad_conditions_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as error:
        CandidateFilter(**options)
    assert "\n" not in str(error.value)
