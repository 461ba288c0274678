"""Units of imported labels: spellings, conversions, and values or columns that no surface has."""

from __future__ import annotations

import pytest

from model.data.label_units import check_value, factor_of, plan_units, split_heading, units_from_options
from stores.errors import InputError

J = 1 / 16.02176634


@pytest.mark.parametrize(
    ("target", "unit", "factor"),
    [
        *[("surface_energy", u, 1.0) for u in ("eV/A^2", "eV/A2", "eV/Å²", "eV A^-2", "eV/Angstrom**2")],
        *[
            ("surface_energy", u, J)
            for u in ("J/m2", "J/m^2", "J m^-2", "J·m⁻²", "Joule/m^2", "N/m", "j_m2", "J.m-2", "$J/m^2$")
        ],
        *[("surface_energy", u, 1e-3 * J) for u in ("mJ/m2", "mJ m-2", "erg/cm^2", "erg/cm2", "mN/m")],
        ("surface_energy", "meV/Å^2", 1e-3),
        ("surface_energy", "eV/nm^2", 1e-2),
        ("surface_energy", "Hartree/bohr^2", 97.17362),  # 27.21139 / 0.5291772^2
        ("surface_energy", "Ry/a0^2", 48.58681),
        ("surface_energy", "kJ/m2", 1e3 * J),
        ("surface_energy", "mJ/cm2", 10 * J),
        ("work_function", "eV", 1.0),
        ("work_function", "meV", 1e-3),
        *[("work_function", u, 27.211386) for u in ("Hartree", "Ha", "Eh")],
        *[("work_function", u, 13.605693) for u in ("Ry", "Rydberg")],
        ("work_function", "kJ/mol", 0.01036427),
        ("work_function", "J", 1 / 1.602176634e-19),
    ],
)
def test_units_in_their_spellings(target, unit, factor):
    assert factor_of(target, unit, "x.csv") == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(
    ("target", "unit"), [("surface_energy", "eV"), ("surface_energy", "eV/atom"), ("work_function", "J/m2"),
                         ("work_function", ""), ("surface_energy", "K"), ("surface_energy", "1e-3 J/m2"),
                         ("surface_energy", "J/m3"), ("surface_energy", "J/m"), ("surface_energy", "J2/m2"),
                         ("surface_energy", "J/m2 (PBE)"), ("work_function", "N"), ("work_function", "V")],
)  # fmt: skip
def test_units_of_other_quantities_are_refused(target, unit):
    with pytest.raises(InputError, match=rf"x\.csv states the unit .* --unit {target}="):
        factor_of(target, unit, "x.csv")


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("surface_energy", ("surface_energy", None)),
        ("Surface Energy (J/m^2)", ("surface_energy", "J/m^2")),
        ("work function [eV]", ("work_function", "eV")),
        ("surface_energy / J/m2", ("surface_energy", "J/m2")),
        ("surface_energy_J_m2", ("surface_energy", "j_m2")),
        ("surface_energy_x_rich", ("surface_energy_x_rich", None)),
        ("cleavage_energy", ("cleavage_energy", None)),
        ("Band gap (eV)", ("Band gap", "eV")),
    ],
)
def test_headings_name_target_and_unit(heading, expected):
    assert split_heading(heading) == expected


@pytest.mark.parametrize(
    "text", ["surface_energy", "surface_energy=", "gap=eV", "=J/m2", "surface_energy=eV/atom"]
)
def test_options_that_state_no_unit_are_refused(text):
    with pytest.raises(InputError, match="--unit"):
        units_from_options([text])
    with pytest.raises(InputError, match="twice"):
        units_from_options(["work_function=eV", "work_function=meV"])


@pytest.mark.parametrize(
    ("target", "value", "named"),
    [
        ("surface_energy", 50, "surface_energy=meV/A2"),
        ("surface_energy", 2.1, "surface_energy=J/m2"),
        ("surface_energy", 1100, "surface_energy=mJ/m2"),
        ("surface_energy", -2.1, "surface_energy="),
        ("work_function", 4100, "work_function=meV"),
        ("work_function", 0.15, "work_function=Hartree"),
        ("work_function", 0.25, "work_function=Hartree or Ry"),
        ("work_function", 400, "work_function=kJ/mol"),
        ("work_function", 6.6e-19, "work_function=J"),
        ("work_function", -4.1, "work_function="),
        ("work_function", 0.0, "work_function="),
        ("work_function", 12.1, "work_function="),
    ],
)
def test_a_value_that_no_surface_has_is_refused_with_its_likely_unit(target, value, named):
    with pytest.raises(InputError, match=rf"{target} .* is refused.*--unit {named}"):
        check_value(target, value)


@pytest.mark.parametrize(
    ("target", "value"),
    [("surface_energy", 2.0), ("surface_energy", -0.1), ("surface_energy", 0.0), ("work_function", 0.5),
     ("work_function", 12.0), ("cleavage_energy", 50.0)],
)  # fmt: skip
def test_values_within_the_range_pass(target, value):
    check_value(target, value)


SANE = {"surface_energy": [0.05, 0.04, 0.07], "work_function": [3.5, 4.1, 3.9]}


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        # J/m^2 within the bounds of eV/A^2
        ({"surface_energy": [0.8, 1.1, 0.9, 1.9]}, "surface_energy=J/m2"),
        ({"surface_energy": [0.0005, 0.0006, 0.0008]}, "surface_energy=Hartree/bohr2"),
        ({"surface_energy": [4.1, 3.9, 4.4], "work_function": [0.05, 0.06, 0.1]}, "exchanged"),
    ],
)
def test_a_column_that_is_typical_of_another_unit_is_refused_as_a_whole(columns, named):
    with pytest.raises(InputError, match=named):
        plan_units(columns, {}, {}, "data")


@pytest.mark.parametrize(
    ("by_source", "by_user", "value", "expected", "notes"),
    [
        ({}, {}, 0.05, 0.05, 0),
        ({"surface_energy": "eV/Angstrom^2"}, {}, 0.05, 0.05, 0),
        ({"surface_energy": "J/m^2"}, {}, 0.8, 0.8 * J, 1),
        ({}, {"surface_energy": "J/m2"}, 0.8, 0.8 * J, 1),
        ({"surface_energy": "eV/A^2"}, {"surface_energy": "J/m2"}, 0.8, 0.8 * J, 2),  # the user settles it
        ({}, {"surface_energy": "eV/A2"}, 0.8, 0.8, 1),  # as it is, pointed out
    ],
)
def test_units_that_are_stated_convert(by_source, by_user, value, expected, notes):
    plan = plan_units({"surface_energy": [value] * 3}, by_source, by_user, "data")
    assert plan.convert({"surface_energy": value, "x": None})["surface_energy"] == pytest.approx(expected)
    assert len(plan.notes) == notes


def test_both_wrong_values_of_a_line_are_named():
    with pytest.raises(InputError, match=r"surface_energy 50 .*; work_function 4100 "):
        plan_units(SANE, {}, {}, "data").convert({"surface_energy": 50.0, "work_function": 4100.0})


@pytest.mark.parametrize(("value", "likely"), [(1100.0, "mJ/m2"), (50.0, "meV/A2")])
def test_the_likely_unit_is_that_of_the_value_as_the_source_has_it(value, likely):
    plan = plan_units({"surface_energy": [1.1, 0.9, value]}, {"surface_energy": "J/m2"}, {}, "data")
    with pytest.raises(InputError, match=f"--unit surface_energy={likely}"):
        plan.convert({"surface_energy": value})


def test_a_unit_of_a_target_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no target work_function"):
        plan_units({"surface_energy": [0.05]}, {}, {"work_function": "eV"}, "data")


def test_a_few_high_values_are_pointed_out():
    plan = plan_units({"surface_energy": [0.05] * 8 + [1.2]}, {}, {}, "data")
    assert len(plan.notes) == 1
    assert "1.2" in plan.notes[0]
