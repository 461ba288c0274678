"""POSCAR files as VASP reads them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pymatgen.io.vasp import Poscar

from stores.structures.reading import read_structure
from tests.stores.structures.cif_texts import cif, formula, refusal, written

B2 = ["MgAg test", "1.0", "3.3 0 0", "0 3.3 0", "0 0 3.3", "Mg Ag", "1 1", "Direct", "0 0 0", "0.5 0.5 0.5"]
HCP = ["Mg hcp", "3.2", "1 0 0", "-0.5 0.8660254038 0", "0 0 1.625", "Mg", "2", "Cartesian",
       "0 0.5773502692 0.40625", "0.5 0.2886751346 1.21875"]  # fmt: skip


def poscar(tmp_path, lines, changes=None, name="POSCAR"):
    lines = [(changes or {}).get(i, line) for i, line in enumerate(lines)]
    return written(tmp_path, "\n".join(line for line in lines if line is not None) + "\n", name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {0: ""},
        {0: "# J\u00f6rg ! \u00c5"},
        {1: "-35.937"},
        {1: "1.0 1.0 1.0"},
        {1: "0.1D1"},
        {1: "1.0 ! scale"},
        {1: "3.3", 2: "1 0 0", 3: "0 1.d0 0", 4: "0 0 1E+0"},
        {1: "3.3 3.3 3.3", 2: "1 0 0", 3: "0 1 0", 4: "0 0 1"},
        {2: "3.3, 0, 0", 3: "0,3.3,0"},
        {2: "  3.3 0.0 0.0   a vector"},
        {5: "MG AG"},
        {5: "mg ag"},
        {5: "Mg_pv Ag"},
        {5: "Mg_pv/7a38d1c2 Ag/0b1c"},
        {5: "Mg/9e8f77 Ag_GW/12"},
        {5: "Mg Ag ! species", 6: "1 1 ! counts", 7: "Direct ! mode", 8: "0 0 0 ! Mg", 9: ".5 .5 .5 # Ag"},
        {5: "Ag Mg", 8: "0.5 0.5 0.5", 9: "0 0 0"},
        {5: "  Mg   Ag  ", 6: "  1   1 "},
        {7: "direct lattice"},
        {7: "  Direct"},
        {7: "fractional"},
        {7: "Selective dynamics\nDirect", 8: "0 0 0 T T F", 9: "0.5 0.5 0.5 F F F"},
        {7: "sel\nD", 8: "0 0 0 .TRUE. .F. T"},
        {7: "Kartesian", 9: "1.65 1.65 1.65"},
        {7: "c", 9: "1.65 1.65 1.65"},
        {7: "Selective\ncart", 8: "0 0 0 T T T", 9: "1.65 1.65 1.65 F F F"},
        {9: "0.5 0.5 0.5 Ag\n\n0.1 0.2 0.3\n0.0 0.0 0.0"},  # velocities
        {9: "0.5 0.5 0.5\n\nLattice velocities and vectors\n  1"},
        {8: "0.0000000 0 0 Mg", 9: "0.5 0.5 0.5 Ag"},
        {5: None, 8: "0 0 0 Mg", 9: "0.5 0.5 0.5 Ag"},  # VASP 4, as other programs label it
    ],
    ids=str,
)
def test_ways_to_write_one_crystal(tmp_path, changes):
    is_b2(read_structure(poscar(tmp_path, B2, changes)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "crlf", "cr"])
def test_encodings_and_line_ends(tmp_path, encoding):
    path = poscar(tmp_path, B2, {0: "J\u00f6rg \u00c5"})
    ends = {"crlf": "\r\n", "cr": "\r"}.get(encoding, "\n")
    path.write_bytes(path.read_text().replace("\n", ends).encode(encoding if ends == "\n" else "utf-8"))
    is_b2(read_structure(path))


def is_b2(structure):
    assert sorted(site.specie.symbol for site in structure) == ["Ag", "Mg"]
    places = {site.specie.symbol: site.frac_coords for site in structure}
    np.testing.assert_allclose(places["Mg"], 0, atol=1e-12)
    np.testing.assert_allclose(places["Ag"], 0.5, atol=1e-12)
    np.testing.assert_allclose(structure.lattice.matrix, 3.3 * np.eye(3), atol=1e-5)


@pytest.mark.parametrize("scale", ["3.2", "-46.1141216", "3.2 3.2 3.2", "1"])
def test_cartesian_coordinates_scale_with_the_lattice(tmp_path, scale):
    structure = read_structure(poscar(tmp_path, HCP, {1: scale} if scale != "1" else {}))
    places = np.array(sorted(structure.frac_coords.tolist()))
    np.testing.assert_allclose(places, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], atol=1e-6)
    np.testing.assert_allclose(structure.lattice.abc, [3.2, 3.2, 5.2], atol=1e-5)


def test_three_factors_scale_the_components(tmp_path):
    structure = read_structure(poscar(tmp_path, B2, {1: "1 1 2", 2: "3 0 1", 7: "Cart", 9: "1.5 1.5 1.5"}))
    np.testing.assert_allclose(structure.lattice.matrix, [[3, 0, 2], [0, 3.3, 0], [0, 0, 6.6]])
    np.testing.assert_allclose(structure.cart_coords[1], [1.5, 1.5, 3.0])


def test_groups_of_one_element_may_repeat(tmp_path):
    changes = {5: "Mg Ag Mg", 6: "1 1 1", 9: "0.5 0.5 0.5\n0.5 0.5 0"}
    assert [s.specie.symbol for s in read_structure(poscar(tmp_path, B2, changes))] == ["Mg", "Ag", "Mg"]


def test_what_pymatgen_writes_is_read_as_it_was(tmp_path):
    structure = read_structure(poscar(tmp_path, HCP))
    for options in ({}, {"direct": False}):
        path = written(tmp_path, Poscar(structure).get_str(**options), "x.vasp")
        np.testing.assert_allclose(read_structure(path).frac_coords, structure.frac_coords, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({5: None}, ("names no elements",)),
        ({5: None, 8: "0 0 0 F F F", 9: "0.5 0.5 0.5 F F F"}, ("names no elements",)),
        ({5: None, 8: "0 0 0 T T T", 9: "0.5 0.5 0.5 T T T"}, ("names no elements",)),
        ({5: None, 8: "0 0 0 F", 9: "0.5 0.5 0.5 F"}, ("names no elements",)),
        ({5: None, 7: "Selective\nDirect", 8: "0 0 0 T T T", 9: ".5 .5 .5 F F F"}, ("names no elements",)),
        ({5: "Mg Xx"}, ("line 6", "Xx")),
        ({5: "Mg"}, ("line 7", "2 numbers", "1 elements")),
        ({6: "1"}, ("line 7", "1 numbers", "2 elements")),
        ({6: "1 0"}, ("line 7", "0")),
        ({6: "one two"}, ("line 7",)),
        ({6: "1 2"}, ("atom 3 of 3", "ends")),
        ({1: "0"}, ("line 2", "VASP refuses")),
        ({1: "1 -1 1"}, ("line 2", "VASP refuses")),
        ({1: "1 2"}, ("line 2", "three")),
        ({1: "abc"}, ("line 2",)),
        ({3: "0 3.3"}, ("line 4",)),
        ({3: "0 x 0"}, ("line 4",)),
        ({3: "0 nan 0"}, ("line 4",)),
        ({1: "-36", 3: "3.3 0 0"}, ("without volume",)),
        ({7: None}, ("line 8", "Direct or Cartesian")),
        ({7: "  Cartesian"}, ("line 8", "blank")),
        ({9: "0.5 0.5"}, ("line 10",)),
        ({9: None}, ("atom 2 of 2",)),
    ],
    ids=str,
)
def test_refusals_name_the_line_and_the_remedy(tmp_path, changes, words):
    message = refusal(poscar(tmp_path, B2, changes))
    assert all(word in message for word in words), message


XYZ = '2\nLattice="3 0 0 0 3 0 0 0 3" Properties={} pbc="T T T"\n'
SITE = '{{{{"species": [{{{{"element": "{}", "occu": 1}}}}], "abc": {}}}}}'
MGD = {
    "x.cif": cif(["Mg1 Mg 0 0 0", "X1 {D} 0.5 0.5 0.5"], (3, 3, 3, 90, 90, 90), operators=("x,y,z",)),
    "x.vasp": "x\n1\n3 0 0\n0 3 0\n0 0 3\nMg {D}\n1 1\nDirect\n0 0 0\n.5 .5 .5\n",
    "x.xyz": XYZ.format("species:S:1:pos:R:3") + "Mg 0 0 0\n{D} 1.5 1.5 1.5\n",
    "y.xyz": XYZ.format("pos:R:3:species:S:1") + "0 0 0 MG\n1.5 1.5 1.5 {D}\n",
    "x.json": '{{"lattice": {{"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}}, "sites": ['
    + SITE.format("Mg", [0, 0, 0])
    + ", "
    + SITE.format("{D}", [0.5, 0.5, 0.5])
    + "]}}",
}


@pytest.mark.parametrize("symbol", ["D", "T"])
@pytest.mark.parametrize("name", MGD)
def test_isotopes_are_hydrogen_in_every_format_with_one_line(tmp_path, name, symbol, caplog):
    caplog.set_level(logging.WARNING)
    structure = read_structure(written(tmp_path, MGD[name].format(D=symbol), name))
    assert formula(structure) == "Mg1 H1"
    assert [site.specie.symbol for site in structure] == ["Mg", "H"]
    (record,) = caplog.records
    assert name in record.getMessage()
    assert "hydrogen" in record.getMessage()


@pytest.mark.parametrize("symbol", ["Xx", "D2", "Mg2+"])
def test_symbols_that_are_no_element_in_xyz(tmp_path, symbol):
    message = refusal(written(tmp_path, MGD["x.xyz"].format(D=symbol), "x.xyz"))
    assert "line 4" in message
    assert symbol in message
