import subprocess
import sys

import pytest
from pymatgen.core import Composition

from stores.errors import InputError
from workflows.structures.naming import chemsys, format_miller, mg_first_formula, parse_miller


@pytest.mark.parametrize(
    ("given", "formula", "system"),
    [
        ("AgMg", "MgAg", "Ag-Mg"),
        ("Al12Mg17", "Mg17Al12", "Al-Mg"),
        ("Ni2Mg4", "Mg2Ni", "Mg-Ni"),
        ("Zn8Mg4", "MgZn2", "Mg-Zn"),
        ("Mg2", "Mg", "Mg"),
        ("Mg2ZnCu3", "Mg2Cu3Zn", "Cu-Mg-Zn"),
        ("NiAl", "AlNi", "Al-Ni"),
    ],
)
def test_formulas(given, formula, system):
    for composition in (given, Composition(given), Composition(given).get_el_amt_dict()):
        assert mg_first_formula(composition) == formula
        assert chemsys(composition) == system


def test_oxidation_states_do_not_show_in_formulas():
    composition = Composition({"Mg2+": 2, "Sn4-": 1})
    assert mg_first_formula(composition) == "Mg2Sn"
    assert chemsys(composition) == "Mg-Sn"


@pytest.mark.parametrize("given", ["", "Mg(", "Qq2"])
def test_bad_formula_is_one_line(given):
    with pytest.raises(InputError) as error:
        mg_first_formula(given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "hkl"),
    [
        ("10-1", (1, 0, -1)),
        ("1 0 -1", (1, 0, -1)),
        ("1,0,-1", (1, 0, -1)),
        ("(10-10)", (1, 0, 0)),
        ("(-1-11)", (-1, -1, 1)),
        ([1, 0, -1, 0], (1, 0, 0)),
        ("0001", (0, 0, 1)),
        ("1 0 -1 12", (1, 0, 12)),
        (110, (1, 1, 0)),
        (1, (0, 0, 1)),
        (-110, (-1, 1, 0)),
        ((1, 1, 1), (1, 1, 1)),
    ],
)
def test_miller_is_read(given, hkl):
    assert parse_miller(given) == hkl


@pytest.mark.parametrize("hkl", [(1, 0, -1), (0, 0, 1), (-1, 2, -3), (10, 0, -1), (1, -11, 0)])
def test_miller_round_trip(hkl):
    assert parse_miller(format_miller(hkl)) == hkl


def test_miller_is_written_without_spaces():
    assert format_miller((1, 0, -1)) == "(10-1)"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "11",
        "abc",
        "10-20",
        [1, 0, 0, 0],
        "000",
        "200",
        [1, 0],
        -11,
        1.5,
        True,
        [0.5, 1, 0],
        [10**20, 1, 1],
        "101 0 1",
        "99999999999999999999 0 1",
    ],
)
def test_bad_miller_is_one_line(given):
    with pytest.raises(InputError) as error:
        parse_miller(given)
    assert "\n" not in str(error.value)


def test_naming_does_not_import_pymatgen():
    code = (
        "import sys; from workflows.structures.naming import mg_first_formula as f, parse_miller;"
        "assert f({'Ag': 1, 'Mg': 1}) == 'MgAg'; parse_miller('110'); sys.exit('pymatgen' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
