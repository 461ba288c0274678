"""Potentials of dissolution: values of the paper's equation, choices of cations, bad input."""

import math

import pytest

from stores.errors import InputError
from workflows.analysis.dissolution import dissolution, known_cations, parse_ions

# formation energies (eV/atom) of the Materials Project, Bartel et al., npj Comput. Mater. 6, 97 (2020)
COMPOUNDS = {
    "Mg": ({"Mg": 1}, 0.0, -2.534),
    "YMg": ({"Y": 1, "Mg": 1}, -0.10832569, -2.479),
    "Mg17Al12": ({"Mg": 17, "Al": 12}, -0.02361742, -2.144),
    "MgZn2": ({"Mg": 1, "Zn": 2}, -0.12350835, -1.409),
    "MgCu2": ({"Mg": 1, "Cu": 2}, -0.1414681, -1.080),
}


@pytest.mark.parametrize("name", COMPOUNDS)
def test_potentials_of_known_compounds(name):
    amounts, energy, expected = COMPOUNDS[name]
    assert dissolution(amounts, energy).potential == pytest.approx(expected, abs=5e-4)


def test_only_ratios_of_atoms_count():
    assert dissolution({"Mg": 2, "Zn": 4}, -0.1235).potential == pytest.approx(
        dissolution({"Mg": 1, "Zn": 2}, -0.1235).potential
    )


def test_nernst_slope_of_magnesium():
    # 2.303 RT / 2F = 29.6 mV for each power of ten at 298.15 K
    step = dissolution({"Mg": 1}, 0, concentration=1e-5).potential - dissolution({"Mg": 1}, 0).potential
    assert step == pytest.approx(0.02958, abs=1e-5)
    assert dissolution({"Mg": 1}, 0, concentration=1).potential == pytest.approx(-2.356825)


def test_stability_raises_the_potential():
    # each eV per atom of binding costs one eV over the electrons of an atom
    loose, tight = (dissolution({"Mg": 1, "Zn": 2}, e).potential for e in (0.0, -0.3))
    assert tight - loose == pytest.approx(0.3 * 3 / 6)


def test_two_cations_of_copper_that_data_do_not_tell_apart_are_noted():
    found = dissolution({"Mg": 1, "Cu": 2}, -0.1414681)
    assert [str(c) for c in found.cations] == ["Cu+", "Mg2+"]
    assert any("Cu2+" in note for note in found.notes)
    other = dissolution({"Mg": 1, "Cu": 2}, -0.1414681, charges={"Cu": 2})
    assert other.potential == pytest.approx(-0.666, abs=1e-3)
    assert [str(c) for c in other.cations] == ["Cu2+", "Mg2+"] and not other.notes


def test_iron_dissolves_as_the_cation_of_lowest_potential():
    assert str(dissolution({"Fe": 1}, 0).cations[0]) == "Fe2+"
    assert str(dissolution({"Fe": 1}, 0, charges=parse_ions(["Fe=3"])).cations[0]) == "Fe3+"


@pytest.mark.parametrize("element", ["As", "B", "Ge", "Ir", "Ru", "Sb", "Se", "Si", "Zr"])
def test_elements_without_a_cation_are_named(element):
    found = dissolution({"Mg": 2, element: 1}, -0.2)
    assert found.potential is None and element in found.reason


def test_formation_energy_missing():
    found = dissolution({"Mg": 1, "Zn": 2}, None)
    assert found.potential is None and "formation energy" in found.reason
    assert [str(c) for c in found.cations] == ["Mg2+", "Zn2+"]


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["Fe"], "Fe=2"),
        (["Fe=two"], "Fe=2"),
        (["=2"], "Fe=2"),
        (["Fe=2", "Fe=3"], "once"),
        (["Fe=9"], "Fe2+, Fe3+"),
        (["Zr=4"], "Zr"),
        (["Xx=1"], "Xx"),
        (["Fe=²"], "Fe=2"),
        (["Fe=" + 5000 * "9"], "Fe=2"),
    ],
)
def test_bad_choices_of_ions(texts, word):
    with pytest.raises(InputError, match=word.replace("+", r"\+")):
        parse_ions(texts)


def test_choices_of_ions():
    assert parse_ions(["Fe=2", " Cu = 2+ ", "Fe=2"]) == {"Fe": 2, "Cu": 2}


@pytest.mark.parametrize("bad", [{"concentration": 0.0}, {"temperature": -1.0}, {"concentration": math.nan}])
def test_conditions_must_be_positive(bad):
    with pytest.raises(InputError, match="positive"):
        dissolution({"Mg": 1}, 0.0, **bad)


def test_table_is_plausible():
    """Standard potentials (V) of J. A. Dean, Lange's Handbook: wrong charges, units or signs would show."""
    handbook = {
        "Li1": -3.04,
        "Na1": -2.714,
        "Mg2": -2.356,
        "Al3": -1.67,
        "Zn2": -0.763,
        "Fe2": -0.44,
        "Ni2": -0.257,
        "Ag1": 0.799,
        "Cu2": 0.340,
        "Y3": -2.37,
        "Ca2": -2.84,
        "Yb2": -2.8,
        "Yb3": -2.22,
        "Ce3": -2.34,
        "Pd2": 0.915,
        "Mn2": -1.18,
        "Sn2": -0.137,
        "Pb2": -0.125,
        "Gd3": -2.28,
        "Hf4": -1.70,
    }
    for name, value in handbook.items():
        (cation,) = (c for c in known_cations()[name[:-1]] if c.charge == int(name[-1]))
        assert cation.potential(1.0, 298.15) == pytest.approx(value, abs=0.08), name
    assert len(known_cations()) == 55
    assert all(c.source and c.charge in range(1, 5) for cations in known_cations().values() for c in cations)
