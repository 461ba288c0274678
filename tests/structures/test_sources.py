import pytest

from stores.errors import InputError
from workflows.structures.crystal import bulk_key
from workflows.structures.elements import elements_with_ground_state
from workflows.structures.naming import chemsys
from workflows.structures.prototypes import PROTOTYPES, structure_for
from workflows.structures.sources.local import FileSource, PrototypeSource
from workflows.structures.sources.protocol import Source


def test_folder_yields_the_good_files_and_reports_the_bad_ones(tmp_path):
    structure_for("MgAg", "B2").to(filename=str(tmp_path / "a.cif"))
    (tmp_path / "b.cif").write_text("")
    (tmp_path / "sub").mkdir()
    structure_for("MgZn2", "C14").to(filename=str(tmp_path / "sub" / "c.vasp"), fmt="poscar")
    source = FileSource(tmp_path)
    assert isinstance(source, Source)
    for _ in range(2):  # a second pass starts from the beginning
        found = list(source.candidates())
        assert [c.label for c in found] == ["a.cif", "c.vasp"]
        assert len(source.problems) == 1
        assert "b.cif is empty" in source.problems[0]
    assert found[0].provenance.source == "file"
    assert found[0].provenance.identifiers == [str(tmp_path / "a.cif")]
    assert not found[0].provenance.lattice_is_guess


def test_single_file_and_missing_path(tmp_path):
    structure_for("MgAg", "B2").to(filename=str(tmp_path / "a.json"))
    assert len(list(FileSource(tmp_path / "a.json").candidates())) == 1
    with pytest.raises(InputError, match="does not exist"):
        list(FileSource(tmp_path / "none").candidates())


def test_formulas_in_every_prototype_that_fits():
    source = PrototypeSource(["MgZn2", "MgAg"])
    assert isinstance(source, Source)
    labels = [c.label for c in source.candidates()]
    assert labels == [
        "MgZn2 C1",
        "MgZn2 C14",
        "MgZn2 C15",
        "MgZn2 C16",
        "MgZn2 C36",
        "MgZn2 C_b",
        "MgZn2 C_a",
        "MgAg B1",
        "MgAg B2",
        "MgAg B3",
        "MgAg B33 (Mg on A)",
        "MgAg B33 (Ag on A)",
        "MgAg L1_0",
    ]
    assert source.problems == []


def test_partners_take_both_kinds_of_sites():
    found = list(PrototypeSource(partners=["Ag", "Zn"], prototypes=["B2", "C14", "D8_8"]).candidates())
    assert [c.label for c in found] == [
        "MgAg B2",
        "MgAg2 C14",
        "Mg2Ag C14",
        "Mg5Ag3 D8_8",
        "Mg3Ag5 D8_8",
        "MgZn B2",
        "MgZn2 C14",
        "Mg2Zn C14",
        "Mg5Zn3 D8_8",
        "Mg3Zn5 D8_8",
    ]
    assert len({bulk_key(c.structure) for c in found}) == len(found)
    assert {chemsys(c.structure.composition) for c in found} == {"Ag-Mg", "Mg-Zn"}
    assert all(c.provenance.lattice_is_guess for c in found)
    assert found[2].provenance.identifiers == ["C14", "A=Ag", "B=Mg"]


def test_what_cannot_be_built_is_reported_and_the_rest_comes():
    source = PrototypeSource(["MgZn2", "Mg7Zn3", "Mg(", "MgAr2"], ["Ar", "Mg"], prototypes=["C14", "B2"])
    assert [c.label for c in source.candidates()] == ["MgZn2 C14"]
    assert len(source.problems) == 7
    assert all("\n" not in problem for problem in source.problems)


def test_nothing_to_build_and_unknown_prototype_are_refused():
    with pytest.raises(InputError, match="nothing to build"):
        PrototypeSource()
    with pytest.raises(InputError, match="unknown prototype"):
        PrototypeSource(["MgZn2"], prototypes=["C99"])
    with pytest.raises(InputError, match="lists of names"):
        PrototypeSource("MgZn2")


def check_all(partners):
    source = PrototypeSource(partners=partners)
    count = sum(1 for _ in source.candidates())
    assert source.problems == []
    assert count == len(partners) * sum(1 if p.symmetric else 2 for p in PROTOTYPES)


def test_small_and_large_partners_on_every_prototype():
    check_all(["H", "B", "O", "Ni", "Pd", "Cs", "U", "I"])


@pytest.mark.slow
def test_every_partner_on_every_prototype():
    check_all([e for e in elements_with_ground_state() if e != "Mg"] + ["N", "F", "S", "Cl", "Br"])
