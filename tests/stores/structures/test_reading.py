import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from stores.errors import InputError
from stores.structures.reading import check_structure, read_all, read_structure, structure_files
from tests.stores.structures.cif_texts import refusal
from workflows.structures.crystal import bulk_key
from workflows.structures.elements import elements_with_ground_state, ground_state
from workflows.structures.prototypes import structure_for

B2 = Structure(Lattice.cubic(3.312), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_every_format_gives_the_same_crystal(tmp_path):
    laves = structure_for("MgZn2", "C14")
    laves.to(filename=str(tmp_path / "plain.cif"))
    CifWriter(laves, symprec=0.01).write_file(str(tmp_path / "symmetric.cif"))
    laves.to(filename=str(tmp_path / "POSCAR"), fmt="poscar")
    laves.to(filename=str(tmp_path / "CONTCAR_relaxed"), fmt="poscar")
    laves.to(filename=str(tmp_path / "laves.vasp"), fmt="poscar")
    laves.to(filename=str(tmp_path / "laves.json"))
    write(tmp_path / "laves.extxyz", laves.to_ase_atoms(), format="extxyz")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "bad.cif").write_text("")
    (tmp_path / "notes.txt").write_text("not a structure")
    found = [read_structure(path) for path in structure_files(tmp_path)]
    assert len(found) == 7
    assert {bulk_key(s) for s in found} == {bulk_key(laves)}


def test_only_lattice_elements_and_positions_are_kept(tmp_path):
    rich = B2.copy()
    rich.add_oxidation_state_by_element({"Mg": 2, "Ag": -2})
    rich.add_site_property("magmom", [0.0, 1.0])
    rich.to(filename=str(tmp_path / "rich.json"))
    assert read_structure(tmp_path / "rich.json") == B2


@pytest.mark.parametrize("name", ["x.cif", "POSCAR", "x.extxyz", "x.json", "x.vasp"])
@pytest.mark.parametrize("content", ["", "  \n", "nonsense\nmore nonsense\n"])
def test_empty_and_unreadable_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    message = refusal(path)
    assert ("is empty" in message) == (not content.strip())


def test_missing_binary_unknown_and_locked_files(tmp_path):
    assert "does not exist" in refusal(tmp_path / "no.cif")
    (tmp_path / "binary.cif").write_bytes(b"\xff\xfe\x00\x80")
    assert "not a text file" in refusal(tmp_path / "binary.cif")
    (tmp_path / "x.docx").write_text("x")
    assert "unknown kind" in refusal(tmp_path / "x.docx")
    (tmp_path / "folder.cif").mkdir()
    assert "folder" in refusal(tmp_path / "folder.cif")
    with pytest.raises(InputError, match="no structure file"):
        structure_files(tmp_path / "folder.cif")


def test_extxyz_of_a_molecule(tmp_path):
    path = tmp_path / "x.xyz"
    write(path, Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), format="extxyz")
    assert "no periodic cell" in refusal(path)


def test_extxyz_with_several_frames(tmp_path):
    path = tmp_path / "x.extxyz"
    write(path, [bulk("Mg"), bulk("Ag")], format="extxyz")
    assert "2 structures" in refusal(path)
    assert len(read_all(path)) == 2


def test_json_of_something_else(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": 1}))
    assert "not a pymatgen structure" in refusal(path)


def test_disordered_and_overlapping_json(tmp_path):
    path = tmp_path / "x.json"
    Structure(Lattice.cubic(3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]]).to(filename=str(path))
    assert "disordered" in refusal(path)
    Structure(Lattice.cubic(3), ["Mg", "Ag"], [[0, 0, 0], [0, 0, 0.1]]).to(filename=str(path))
    message = refusal(path)
    assert "site 1 (Mg)" in message
    assert "0.30 A" in message


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (Structure(Lattice.cubic(3), [], []), "no atoms"),
        (Structure(Lattice.cubic(3), [{"Mg": 0.9}], [[0, 0, 0]]), "partly occupied"),
        (Structure(Lattice.cubic(3), ["X"], [[0, 0, 0]]), "no element"),
        (Structure(Lattice.cubic(3), ["Mg"], [[0, float("nan"), 0]]), "not finite"),
        (Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]]), ["Mg"], [[0, 0, 0]]), "no volume"),
        (Structure(Lattice([[3, 0, 0], [0, 3, 0], [0, 0, np.inf]]), ["Mg"], [[0, 0, 0]]), "not finite"),
        (Structure(Lattice.cubic(3), ["Mg", "Ag"], [[0, 0, 0], [0, 0, 0]]), "overlapping"),
        (Structure(Lattice.cubic(3), ["Mg", "Mg"], [[0, 0, 0.99], [0, 0, 0.01]]), "overlapping"),
        (Structure(Lattice.tetragonal(3, 0.5), ["Mg"], [[0, 0, 0]]), "overlapping"),
        (Structure(Lattice.tetragonal(3, 1.2), ["Mg"], [[0, 0, 0]]), "overlapping"),
        (Structure(Lattice(np.eye(3) * 3, pbc=(True, True, False)), ["Mg"], [[0, 0, 0]]), "not periodic"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_structures_that_cannot_be_cut(structure, words):
    with pytest.raises(InputError, match=words) as error:
        check_structure(structure, "here")
    assert str(error.value).startswith("here")
    assert "\n" not in str(error.value)


def test_every_element_passes():
    for element in elements_with_ground_state():
        check_structure(ground_state(element), element)
