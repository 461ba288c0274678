"""CIF files: symmetry in all its notations, contents, occupancies, symbols, encodings, rounding."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from stores.structures.reading import read_all, read_cif_file, read_structure
from tests.stores.structures.cif_texts import COLUMNS, CUBE, HCP, IDENTITY, cif, formula, refusal, written

MG = ["Mg1 Mg 0.333333 0.666667 0.25"]
HCP_OPERATORS = (
    "x,y,z", "-y,x-y,z", "-x+y,-x,z", "-x,-y,z+1/2", "y,-x+y,z+1/2", "x-y,x,z+1/2", "y,x,-z", "x-y,-y,-z",
    "-x,-x+y,-z", "-y,-x,-z+1/2", "-x+y,y,-z+1/2", "x,x-y,-z+1/2", "-x,-y,-z", "y,-x+y,-z", "x-y,x,-z",
    "x,y,-z+1/2", "-y,x-y,-z+1/2", "-x+y,-x,-z+1/2", "-y,-x,z", "-x+y,y,z", "x,x-y,z", "y,x,z+1/2",
    "x-y,-y,z+1/2", "-x,-x+y,z+1/2",
)  # fmt: skip
BISMUTH = (4.746, 4.746, 4.746, 57.23, 57.23, 57.23)
BISMUTH_HEX = (4.546, 4.546, 11.862, 90, 90, 120)
LAVES = (7.03, 7.03, 7.03, 90, 90, 90)
AT_CHOICE_2 = ["Mg1 Mg 0.125 0.125 0.125", "Cu1 Cu 0.5 0.5 0.5"]
AT_CHOICE_1 = ["Mg1 Mg 0 0 0", "Cu1 Cu 0.625 0.625 0.625"]
NAME = "symmetry_space_group_name_H__M"
MGCU2 = {"chemical_formula_sum": "Mg Cu2", "cell_formula_units_Z": 8}


@pytest.fixture
def notes(caplog):
    """Return the function that gives the lines logged so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("tags", "operators"),
    [
        ({}, HCP_OPERATORS),
        ({}, [o.upper().replace("1/2", "0.5").replace(",", " , ") for o in HCP_OPERATORS]),
        ({NAME: "P 1"}, HCP_OPERATORS),  # operators come first, formula and Z confirm them
        ({"space_group_name_Hall": "-P 6c 2c"}, ()),
        ({"symmetry_space_group_name_Hall": "-P_6C_2C"}, ()),
        ({NAME: "P 63/m m c"}, ()),
        ({"space_group_name_H__M_alt": "P 63/m m c"}, ()),
        ({"space_group_name_H__M_ref": "P 63/m m c"}, ()),
        ({"space_group.name_H__M_full": "P 63/m 2/m 2/c"}, ()),
        ({NAME: "P63/mmc"}, ()),
        ({NAME: "p6_3/mmc"}, ()),
        ({NAME: "P_63/m_m_c"}, ()),
        ({NAME: "P 63/M M C"}, ()),
        ({NAME: "P 6(3)/m m c"}, ()),
        ({NAME: "P 63/m m c (No. 194)"}, ()),
        ({NAME: "P 63/mmc2", "symmetry_Int_Tables_number": 194}, ()),
        ({NAME: "?", "space_group_IT_number": 194}, ()),
        ({"space_group.IT_number": 194}, ()),
    ],
    ids=str,
)
def test_every_notation_of_a_space_group_gives_the_crystal(tmp_path, tags, operators):
    text = cif(MG, HCP, operators=operators, chemical_formula_sum="Mg", cell_formula_units_Z=2, **tags)
    structure = read_structure(written(tmp_path, text))
    places = np.array(sorted(structure.frac_coords.tolist()))
    np.testing.assert_allclose(places, [[1 / 3, 2 / 3, 1 / 4], [2 / 3, 1 / 3, 3 / 4]], atol=1e-8)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {NAME: "P 63/mmc2"},
        {NAME: "?"},
        {"space_group_name_Hall": "nonsense"},
        {"space_group_IT_number": 999},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "stated",
    [{}, {"chemical_formula_sum": "Mg"}, {"chemical_formula_sum": "Mg", "cell_formula_units_Z": 2},
     {"exptl_crystal_density_diffrn": 1.75}],
    ids=str,
)  # fmt: skip
def test_atoms_without_symmetry_are_refused_unless_they_are_confirmed(tmp_path, tags, stated):
    message = refusal(written(tmp_path, cif(MG, HCP, **tags, **stated)))
    assert "symmetry" in message
    assert "Mg1" in message
    both = [*MG, "Mg2 Mg 0.666667 0.333333 0.75"]
    path = written(tmp_path, cif(both, HCP, **tags, **stated), "both.cif")
    if "cell_formula_units_Z" in stated or "exptl_crystal_density_diffrn" in stated:
        assert len(read_structure(path)) == 2
    else:
        assert "_space_group_symop_operation_xyz" in refusal(path)


@pytest.mark.parametrize(
    ("cell", "row", "name", "n_atoms"),
    [
        (BISMUTH, "0.2339 0.2339 0.2339", "R -3 m", 2),
        (BISMUTH, "0.2339 0.2339 0.2339", "R -3 m :R", 2),
        (BISMUTH, "0.2339 0.2339 0.2339", "R -3 m R", 2),
        (BISMUTH, "0.2339 0.2339 0.2339", "R-3m:r", 2),
        (BISMUTH, "0.2339 0.2339 0.2339", "166", 2),
        (BISMUTH_HEX, "0 0 0.2339", "R -3 m", 6),
        (BISMUTH_HEX, "0 0 0.2339", "R -3 m :H", 6),
        (BISMUTH_HEX, "0 0 0.2339", "R -3 m H", 6),
        (BISMUTH_HEX, "0 0 0.2339", "R-3mh", 6),
        (BISMUTH_HEX, "0 0 0.2339", "166", 6),
    ],
)
def test_rhombohedral_and_hexagonal_axes_are_told_apart_by_the_cell(
    tmp_path, cell, row, name, n_atoms, notes
):
    tags = {"space_group_IT_number": name} if name.isdigit() else {NAME: name}
    structure = read_structure(written(tmp_path, cif([f"Bi1 Bi {row}"], cell, **tags)))
    assert len(structure) == n_atoms
    assert notes() == []  # the cell decides
    shortest = min(structure.get_distance(0, 1), 9)
    assert shortest > 3


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (BISMUTH, "R -3 m :H"),
        (BISMUTH_HEX, "R -3 m :R"),
        (CUBE, "P 63/m m c"),
        (HCP, "F m -3 m"),
        ((3, 4, 5, 90, 90, 110), "P 1 21/c 1"),
    ],
)
def test_symmetry_that_does_not_fit_the_cell_is_refused_with_both(tmp_path, cell, name):
    message = refusal(written(tmp_path, cif(["Mg1 Mg 0 0 0"], cell, **{NAME: name})))
    assert name in message
    assert f"{cell[2]:g} A" in message
    assert ":H, :R" in message


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (AT_CHOICE_2, "F d -3 m :2"),
        (AT_CHOICE_2, "F d -3 m Z"),
        (AT_CHOICE_2, "Fd-3m (origin choice 2)"),
        (AT_CHOICE_1, "F d -3 m :1"),
        (AT_CHOICE_1, "F d -3 m S"),
        (AT_CHOICE_1, "Fd-3mO1"),
    ],
)
def test_a_named_origin_is_used(tmp_path, rows, name, notes):
    structure = read_structure(written(tmp_path, cif(rows, LAVES, **{NAME: name})))
    assert formula(structure) == "Mg8 Cu16"
    assert notes() == []


@pytest.mark.parametrize(
    "tags", [{NAME: "F d -3 m"}, {NAME: "Fd3m"}, {"space_group_IT_number": 227}], ids=str
)
@pytest.mark.parametrize(("rows", "choice"), [(AT_CHOICE_1, "F d -3 m:1"), (AT_CHOICE_2, "F d -3 m:2")])
@pytest.mark.parametrize("stated", [MGCU2, {"chemical_formula_sum": "Cu2 Mg"}], ids=["Z", "formula"])
def test_an_origin_left_open_is_the_one_whose_atoms_agree_and_one_line_states_it(
    tmp_path, tags, rows, choice, stated, notes
):
    path = written(tmp_path, cif(rows, LAVES, **tags, **stated))
    for _ in range(2):  # the line appears once, however often the file is read
        assert formula(read_structure(path)) == "Mg8 Cu16"
    (line,) = notes()
    assert choice in line
    assert "Mg16 Cu8" in line or "overlap" in line


PNMA, PCMN, PBNM = (6.5, 4.4, 7.9, 90, 90, 90), (7.9, 4.4, 6.5, 90, 90, 90), (7.9, 6.5, 4.4, 90, 90, 90)
IN_PNMA = ["Mg1 Mg 0.02 0.25 0.67", "Si1 Si 0.25 0.25 0.1"]
IN_PCMN = ["Mg1 Mg 0.67 0.75 0.02", "Si1 Si 0.1 0.75 0.25"]
IN_PBNM = ["Mg1 Mg 0.67 0.02 0.25", "Si1 Si 0.1 0.25 0.25"]
MGSI = {"chemical_formula_sum": "Mg Si", "cell_formula_units_Z": 4}
BOX = (3.3, 5.1, 5.9, 90, 90, 90)
MGAG2 = {"chemical_formula_sum": "Mg Ag2", "cell_formula_units_Z": 1}


@pytest.mark.parametrize(
    ("rows", "cell", "tags", "expected", "words"),
    [
        # P c m n makes another crystal of the same formula: the standard axes, and the line states it
        (
            IN_PNMA,
            PNMA,
            {"space_group_IT_number": 62, **MGSI},
            "Mg4 Si4",
            ("P n m a", "P c m n", "operators"),
        ),
        (
            IN_PCMN,
            PCMN,
            {"space_group_IT_number": 62, **MGSI},
            "Mg4 Si4",
            ("P n m a", "P c m n", "operators"),
        ),
        (IN_PBNM, PBNM, {"space_group_IT_number": 62}, "Mg8 Si4", ("P n m a", "P b n m", "operators")),
        (["Mg1 Mg 0 0 0", "Ag1 Ag 0.3 0.5 0.2"], BOX, {NAME: "P 2/m", **MGAG2}, "Mg1 Ag2", ()),
        (["Mg1 Mg 0 0 0", "Ag1 Ag 0.3 0.2 0.5"], BOX, {NAME: "P 2/m", **MGAG2}, "Mg1 Ag2", ("P 1 1 2/m",)),
        (
            ["Mg1 Mg 0 0 0", "Ag1 Ag 0.3 0.3 0.25"],
            BOX,
            {NAME: "P 2/m"},
            "Mg1 Ag4",
            ("P 1 2/m 1", "P 1 1 2/m"),
        ),
        # all axes, and all settings of a cubic group, make the same atoms
        (["Mg1 Mg 0 0 0", "Ag1 Ag 0.5 0.5 0.5"], BOX, {"space_group_IT_number": 47}, "Mg1 Ag1", ()),
        (["Mg1 Mg 0 0 0", "Ag1 Ag 0.5 0.5 0.5"], CUBE, {"space_group_IT_number": 221}, "Mg1 Ag1", ()),
    ],
)
def test_axes_left_open_are_those_whose_atoms_agree_else_the_usual_with_a_line(
    tmp_path, rows, cell, tags, expected, words, notes
):
    assert formula(read_structure(written(tmp_path, cif(rows, cell, **tags)))) == expected
    assert len(notes()) == (1 if words else 0)
    assert all(word in line for line in notes() for word in words)


def test_unusual_axes_that_nothing_decides_are_refused_with_both(tmp_path):
    message = refusal(written(tmp_path, cif(IN_PBNM, PBNM, space_group_IT_number=62, **MGSI)))
    assert all(word in message for word in ("number 62", "P b n m", "P n a m", "operators"))


def test_an_origin_that_nothing_decides_is_refused_with_both_crystals(tmp_path):
    rows = ["C1 C 0 0 0"]
    cell = (3.567, 3.567, 3.567, 90, 90, 90)
    message = refusal(written(tmp_path, cif(rows, cell, **{NAME: "F d -3 m"})))
    assert "C8 (F d -3 m:1)" in message
    assert "C16 (F d -3 m:2)" in message
    good = cif(rows, cell, exptl_crystal_density_diffrn=3.51, **{NAME: "F d -3 m"})
    assert len(read_structure(written(tmp_path, good))) == 8


@pytest.mark.parametrize(
    ("operators", "tags", "words"),
    [
        (IDENTITY, {NAME: "F m -3 m"}, ("x,y,z", "F m -3 m", "Cu1", "Cu4")),
        (IDENTITY, {"symmetry_Int_Tables_number": 225}, ("x,y,z", "225", "Cu1", "Cu4")),
        ((), {"space_group_name_Hall": "P 1", NAME: "F m -3 m"}, ("Hall", "F m -3 m", "Cu1", "Cu4")),
        ((), {NAME: "P m -3 m", "space_group_IT_number": 225}, ("P m -3 m", "225", "Cu1", "Cu4")),
    ],
    ids=str,
)
def test_contradicting_statements_of_symmetry_are_decided_by_formula_and_density(
    tmp_path, operators, tags, words, notes
):
    cell = (3.615, 3.615, 3.615, 90, 90, 90)
    rows = ["Cu1 Cu 0 0 0"]
    message = refusal(written(tmp_path, cif(rows, cell, operators=operators, **tags)))
    assert all(word in message for word in words), message
    one = {"chemical_formula_sum": "Cu", "cell_formula_units_Z": 1}
    assert len(read_structure(written(tmp_path, cif(rows, cell, operators=operators, **tags, **one)))) == 1
    assert len(notes()) == 1
    four = {"exptl_crystal_density_diffrn": 8.93}
    assert "8.93" in refusal(written(tmp_path, cif(rows, cell, operators=operators, **tags, **four)))


@pytest.mark.parametrize("name", ["F m -3 m", "P m -3 m", "I m -3 m"])
def test_a_name_that_describes_the_listed_atoms_contradicts_nothing(tmp_path, name, notes):
    rows = ["Cu1 Cu 0 0 0", "Cu2 Cu 0.5 0.5 0", "Cu3 Cu 0.5 0 0.5", "Cu4 Cu 0 0.5 0.5"]
    path = written(tmp_path, cif(rows, (3.6, 3.6, 3.6, 90, 90, 90), operators=IDENTITY, **{NAME: name}))
    if name.startswith("I"):
        assert name in refusal(path)
    else:
        assert len(read_structure(path)) == 4
        assert notes() == []


@pytest.mark.parametrize(
    ("formula_sum", "units", "density", "agrees"),
    [
        ("Mg Ag", 1, None, True),
        ("Ag1 Mg1", 1, None, True),
        ("MgAg", 1, None, True),
        ("MG AG", None, None, True),
        ("Mg2 Ag2", 0.5, None, True),
        ("Mg0.5 Ag0.5", 2, None, True),
        ("?", 1, None, True),
        ("Mg1-x Agx", 7, None, True),  # nothing that can be compared
        ("Mg Ag", 3, 6.1, True),  # the density confirms
        ("Mg Ag", 1, 2.0, True),
        ("Mg3 Ag", 1, None, False),
        ("Mg Ag2", None, None, False),
        ("Mg Au", 1, None, False),
        ("Mg", None, None, False),
        ("Mg Ag H", 1, None, False),
        ("Mg Ag", 2, None, False),
        ("Mg Ag", None, 2.0, False),
        ("Mg Ag", 2, 2.0, False),
    ],
)
def test_formula_units_and_density_are_compared_with_the_atoms(tmp_path, formula_sum, units, density, agrees):
    tags = {"chemical_formula_sum": formula_sum, "cell_formula_units_Z": units}
    tags["exptl_crystal_density_diffrn"] = density
    rows = ["Mg1 Mg 0 0 0", "Ag1 Ag 0.5 0.5 0.5"]
    given = {key: value for key, value in tags.items() if value is not None}
    path = written(tmp_path, cif(rows, operators=IDENTITY, **given))
    if agrees:
        assert formula(read_structure(path)) == "Mg1 Ag1"
    else:
        message = refusal(path)
        assert "Mg1 Ag1" in message
        assert formula_sum in message or f"{density:g}" in message


@pytest.mark.parametrize("written_by", ["pymatgen", "pymatgen, symmetric", "ase"])
def test_files_of_other_programs_are_read_as_they_were(tmp_path, written_by, notes):
    from ase.io import write

    laves = Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(5.24, 8.59), ["Mg", "Zn", "Zn"],
        [[1 / 3, 2 / 3, 0.063], [0, 0, 0], [0.83, 0.66, 0.25]],
    )  # fmt: skip
    path = tmp_path / "x.cif"
    if written_by == "ase":
        write(path, laves.to_ase_atoms())
    else:
        CifWriter(laves, symprec=0.01 if "symmetric" in written_by else None).write_file(str(path))
    assert formula(read_structure(path)) == "Mg4 Zn8"
    assert notes() == []


@pytest.mark.parametrize(
    "occupancies", [None, ("1", "1.0"), (".", "1"), ("0.9995", "1.00002"), ("1.000(2)", "1")]
)
def test_full_occupancies(tmp_path, occupancies, notes):
    rows = ["Mg1 Mg 0 0 0", "Ag1 Ag 0.5 0.5 0.5"]
    columns = COLUMNS
    if occupancies:
        rows = [f"{row} {value}" for row, value in zip(rows, occupancies, strict=True)]
        columns = (*COLUMNS, "occupancy")
    structure = read_structure(written(tmp_path, cif(rows, operators=IDENTITY, columns=columns)))
    assert formula(structure) == "Mg1 Ag1"
    assert all(site.species.num_atoms == 1 for site in structure)
    assert notes() == []


def test_an_unknown_occupancy_is_read_as_full_with_a_line(tmp_path, notes):
    text = cif(["Mg1 Mg 0 0 0 ?"], operators=IDENTITY, columns=(*COLUMNS, "occupancy"))
    assert len(read_structure(written(tmp_path, text))) == 1
    assert "Mg1 (row 1)" in notes()[0]


@pytest.mark.parametrize(
    "values", [("0.5", "0.5"), ("0.98(1)", "1"), ("0", "1"), ("1.2", "1"), ("nan", "1"), ("a", "1")]
)
def test_disorder_is_refused_naming_the_sites(tmp_path, values):
    rows = [f"Mg1 Mg 0 0 0 {values[0]}", f"Ag1 Ag 0 0 0 {values[1]}"]
    message = refusal(written(tmp_path, cif(rows, operators=IDENTITY, columns=(*COLUMNS, "occupancy"))))
    assert f"Mg1 (row 1) {values[0]}" in message
    assert ("Ag1" in message) == (values[1] == "0.5")


@pytest.mark.parametrize(
    ("kinds", "formula_sum", "expected"),
    [
        (["NI", "SN"], None, "Ni1 Sn1"),
        (["Ni", "Sn"], None, "Ni1 Sn1"),
        (["ni", "sn"], None, "Ni1 Sn1"),
        (["Ni2+", "Sn2-"], None, "Ni1 Sn1"),
        (["Ni0+", "Sn0+"], None, "Ni1 Sn1"),
        (["NI1", "SN1"], None, "Ni1 Sn1"),
        (["Mg1A", "Ni_2"], None, "Mg1 Ni1"),
        (["MG1A", "NI(2)"], None, "Mg1 Ni1"),
        (["MgA", "NiB"], None, "Mg1 Ni1"),
        (["NI1", "SN1"], "NI SN", "Ni1 Sn1"),
        (["CO1", "MG1"], "Mg Co", "Mg1 Co1"),
        (["CO1", "MG1"], "Mg C", "Mg1 C1"),
        (["HO1", "MG1"], "Mg H", "Mg1 H1"),
        (["OW1", "MG1"], None, "Mg1 O1"),
        (["Ow1", "MG1"], "Mg O", "Mg1 O1"),
    ],
)
@pytest.mark.parametrize("column", ["label", "type_symbol"])
def test_symbols_in_labels_and_type_symbols(tmp_path, kinds, formula_sum, expected, column):
    columns = (column, "fract_x", "fract_y", "fract_z")
    rows = [f"{kinds[0]} 0 0 0", f"{kinds[1]} 0.5 0.5 0.5"]
    tags = {"chemical_formula_sum": formula_sum} if formula_sum else {}
    path = written(tmp_path, cif(rows, operators=IDENTITY, columns=columns, **tags))
    assert formula(read_structure(path)) == expected


@pytest.mark.parametrize("kind", ["X1", "Xx", "Wat", "M1", "123", "?"])
def test_sites_that_are_no_element(tmp_path, kind):
    message = refusal(written(tmp_path, cif([f"{kind} . 0 0 0"], operators=IDENTITY)))
    assert "row 1" in message
    assert "_atom_site_type_symbol" in message


def test_dummy_atoms_are_left_out(tmp_path):
    rows = ["Mg1 Mg 0 0 0 d", "Q1 Mg 0.5 0.5 0.5 dum"]
    text = cif(rows, operators=IDENTITY, columns=(*COLUMNS, "calc_flag"))
    assert len(read_structure(written(tmp_path, text))) == 1


@pytest.mark.parametrize(
    ("rows", "name", "n_atoms", "moved"),
    [
        (["Mg1 Mg 0.333333 0.666667 0.25"], "P 63/m m c", 2, False),
        (["Mg1 Mg 0.33333 0.66667 0.25"], "P 63/m m c", 2, False),
        (["Mg1 Mg 0.3333 0.6667 0.25"], "P 63/m m c", 2, True),
        (["Mg1 Mg 0.3333(2) 0.6667(2) 0.2500"], "P 63/m m c", 2, True),
        (["Mg1 Mg 0.333 0.667 0.25"], "P 63/m m c", 2, True),
        (["Mg1 Mg 0.333 0.666 0.25"], "P 63/m m c", 2, True),  # cut off
        (["Mg1 Mg 0.33 0.67 0.25"], "P 63/m m c", 2, True),
        (["Mg1 Mg .33 .67 .25"], "P 63/m m c", 2, True),
        (["Mg1 Mg -0.333 0.333 0.75"], "P 63/m m c", 2, True),
        (["Mg1 Mg 1/3 2/3 1/4"], "P 63/m m c", 2, False),
    ],
)
def test_rounded_coordinates_are_moved_to_the_special_position_with_a_line(
    tmp_path, rows, name, n_atoms, moved, notes
):
    structure = read_structure(written(tmp_path, cif(rows, HCP, **{NAME: name})))
    assert len(structure) == n_atoms
    distances = np.abs(structure.frac_coords * 12 - np.round(structure.frac_coords * 12))
    assert distances.max() < 1e-3
    assert len(notes()) == moved
    if moved:
        assert "rounded" in notes()[0]
        assert "Mg1 (row 1)" in notes()[0]


def test_a_coordinate_beside_a_free_parameter_is_moved_along_with_it(tmp_path):
    rows = ["Mg1 Mg 0.333 0.667 0.063", "Zn1 Zn 0 0 0", "Zn2 Zn 0.830 0.661 0.25"]
    text = cif(rows, (5.24, 5.24, 8.59, 90, 90, 120), **{NAME: "P 63/m m c"})
    structure = read_structure(written(tmp_path, text))
    assert formula(structure) == "Mg4 Zn8"
    x, y, _ = structure.frac_coords[
        np.argmax(np.abs(structure.frac_coords - [0.8303, 0.6606, 0.25]).max(axis=1) < 0.01)
    ]
    assert 2 * x - 1 == pytest.approx(y, abs=1e-9)


@pytest.mark.parametrize("row", ["Mg1 Mg 0.3 0.7 0.25", "Mg1 Mg 0.32 0.66 0.25", "Mg1 Mg 0.0200 0 0"])
def test_images_that_overlap_name_digits_and_setting_not_an_atom_to_remove(tmp_path, row):
    message = refusal(written(tmp_path, cif([row], HCP, **{NAME: "P 63/m m c"})))
    assert "digits" in message
    assert "setting" in message
    assert "remove" not in message


@pytest.mark.parametrize(
    "rows",
    [
        ["Mg1 Mg 0 0 0", "Ag1 Ag 0 0 0"],
        ["Mg1 Mg 0 0 0", "Mg2 Mg 0 0 0"],
        ["Mg1 Mg 0.2 0 0", "Ag1 Ag 0.8 0 0"],  # images of each other
        ["Mg1 Mg 0.2 0 0", "Ag1 Ag 1.20005 0 0"],
    ],
)
def test_rows_on_one_position(tmp_path, rows):
    message = refusal(written(tmp_path, cif(rows, operators=("x,y,z", "-x,-y,-z"))))
    assert "overlapping atoms" in message
    assert "row 1" in message
    assert "row 2" in message


@pytest.mark.parametrize(
    ("operators", "words"),
    [
        (["x,y"], "x,y"),
        (["x,y,z", "-x,-y,w"], "w"),
        (["x,y,z", "x,x,z"], "x,x,z"),
        (["x,y,z", "-y,x,z"], "incomplete"),
        (["-x,-y,-z"], "incomplete"),
    ],
)
def test_operators_that_cannot_be_used(tmp_path, operators, words):
    message = refusal(written(tmp_path, cif(["Mg1 Mg 0.1 0.2 0.3"], operators=operators)))
    assert "operator" in message
    assert words in message


@pytest.mark.parametrize("change", ["bom", "utf-8", "latin-1", "utf-16", "crlf", "cr", "dos end"])
def test_encodings_and_line_ends(tmp_path, change):
    text = cif(["Mg1 Mg 0 0 0", "Ag1 Ag 0.5 0.5 0.5"], operators=IDENTITY, publ_author_name="Jörg Åberg")
    data = {
        "bom": text.encode("utf-8-sig"),
        "utf-8": text.encode(),
        "latin-1": text.encode("latin-1"),
        "utf-16": text.encode("utf-16"),
        "crlf": text.replace("\n", "\r\n").encode(),
        "cr": text.replace("\n", "\r").encode(),
        "dos end": text.encode("latin-1") + b"\x1a",
    }[change]
    assert formula(read_structure(written(tmp_path, data))) == "Mg1 Ag1"


def test_isotopes_are_hydrogen_with_one_line(tmp_path, notes):
    rows = ["Mg1 Mg 0 0 0", "D1 D 0.5 0.5 0.25", "T1 T 0.5 0.5 0.75"]
    tags = {"chemical_formula_sum": "D T Mg"}
    path = written(tmp_path, cif(rows, operators=IDENTITY, **tags))
    assert formula(read_structure(path)) == "Mg1 H2"
    (line,) = notes()
    assert "D1 (row 2), T1 (row 3)" in line


def test_several_blocks_are_several_crystals_and_messages_name_the_block(tmp_path):
    one = cif(["Mg1 Mg 0 0 0"], operators=IDENTITY, block="one")
    other = cif(["Ag1 Ag 0 0 0"], operators=IDENTITY, block="other")
    path = written(tmp_path, "data_global\n_publ_author_name x\n" + one + other)
    assert "2 structures" in refusal(path)
    assert [formula(s) for s in read_all(path)] == ["Mg1", "Ag1"]
    bad = other.replace("Ag1 Ag 0", "Ag1 Ag ?")
    assert "data_other" in refusal(written(tmp_path, one + bad))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_x\n_cell_length_a 3\n", "no atoms"),
        (cif(["Mg1 Mg 0 0 0"]).replace("_cell_length_b 3.3\n", ""), "_cell_length_b is missing"),
        (cif(["Mg1 Mg 0 0 0"]).replace("_cell_length_b 3.3", "_cell_length_b abc"), "abc"),
        (cif(["Mg1 Mg 0 0 0"], (3, 3, 3, 10, 10, 170)), "no volume"),
        (cif(["Mg1 Mg 0 0 0"], (3, 3, 3, 90, 90, 0)), "no volume"),
        (cif(["Mg1 Mg 0 0 0"], (0, 3, 3, 90, 90, 90)), "no volume"),
        (cif(["Mg1 Mg ? 0 0"], operators=IDENTITY), "coordinate ?"),
        (cif(["Mg1 Mg inf 0 0"], operators=IDENTITY), "coordinate inf"),
        (cif(["Mg1 Mg 0 0"]), "line"),
        (cif(["Mg1 Mg 0 0 0"]) + "_cell_length_a 4\n", "twice"),
        ("data_x\n_symmetry_space_group_name_H-M P 63/m m c\n", "line 2"),
        ("#\\#CIF_2.0\n" + cif(["Mg1 Mg 0 0 0"]) + "_x ['a' [1 2]]\n", "CIF 1.1"),
    ],
)
def test_damaged_files(tmp_path, text, words):
    assert words in refusal(written(tmp_path, text))


def test_missing_angles_are_right_angles(tmp_path):
    text = cif(["Mg1 Mg 0 0 0"], operators=IDENTITY).replace("_cell_angle_gamma 90\n", "")
    assert read_structure(written(tmp_path, text)).lattice.gamma == 90


def test_arrays_are_those_of_the_file(tmp_path):
    rows = ["Ag1 Ag 0.5 -0.5 1.5", "Mg1 Mg 0 0 0"]
    (crystal,) = read_cif_file(written(tmp_path, cif(rows, (3, 4, 5, 80, 95, 110), operators=IDENTITY)))
    assert crystal.numbers.tolist() == [47, 12]
    assert crystal.fractional.tolist() == [[0.5, -0.5, 1.5], [0, 0, 0]]
    np.testing.assert_allclose(Lattice(crystal.lattice).parameters, (3, 4, 5, 80, 95, 110))
    assert crystal.lattice[0, 1] == crystal.lattice[0, 2] == crystal.lattice[1, 2] == 0
