from __future__ import annotations

import itertools

import pytest

from workflows.web.atoms import MOST_ATOMS, element_colours, view_of
from workflows.web.charts import Chart, tick_text, ticks
from workflows.web.notation import formula, indices, ion, joule, number, space_group, termination
from workflows.web.shapes import drawing


def test_notation():
    assert formula("Mg17Al12") == "Mg<sub>17</sub>Al<sub>12</sub>"
    assert indices((1, 0, -1, 0)) == '(10<span class="bar">1</span>0)'
    assert indices((0, 0, 0)) == "(?)"
    assert termination({"termination_label": "Mg2Zn-b"}) == "Mg<sub>2</sub>Zn-b"
    assert ion("Mg2+") == "Mg<sup>2+</sup>"
    assert ion("Ag+") == "Ag<sup>+</sup>"
    assert space_group("P6_3/mmc") == "P6<sub>3</sub>/mmc"
    assert space_group("Pm-3m") == 'Pm<span class="bar">3</span>m'
    assert number(-0.05, 2) == "\N{MINUS SIGN}0.05"
    assert number(None, 2) == number(float("nan"), 2) == "–"
    assert joule(0.0364) == "0.583"


@pytest.mark.parametrize("write", [formula, ion, space_group])
def test_notation_escapes_markup(write):
    assert "<script>" not in write("<script>2</script>-3_1+")


def test_ticks_are_round_numbers_within_the_axis():
    assert ticks(-0.514, 0.0) == pytest.approx([-0.4, -0.2, 0.0])
    assert tick_text(-0.4, -0.514, 0.0) == "\N{MINUS SIGN}0.4"
    assert ticks(-17, 6) == pytest.approx([-15, -10, -5, 0, 5])


def test_points_of_a_chart_lie_in_its_frame():
    chart = Chart("", (0.0, 2.0), (1.0, 3.0))
    (left, low), (right, high) = chart.place(0, 1), chart.place(2, 3)
    assert 0 < left < right < chart.width
    assert 0 < high < low < chart.height
    assert chart.place(1, 2) == pytest.approx(((left + right) / 2, (low + high) / 2))
    chart.text(1, 2, "<b>", "middle")
    assert "<b>" not in chart.svg()


def slab(atoms, edge):
    sites = [{"species": [{"element": "Mg"}], "abc": [0, 0, n / atoms]} for n in range(atoms)]
    return {"lattice": {"matrix": [[edge, 0, 0], [0, edge, 0], [0, 0, 20]]}, "sites": sites}


def test_small_slabs_are_repeated_in_their_plane_large_ones_are_not():
    view = view_of(slab(5, 3.3))
    assert view["repeats"] == [3, 3]
    assert len(view["positions"]) == len(view["symbols"]) == 45
    assert max(p[0] for p in view["positions"]) == pytest.approx(6.6)
    assert view_of(slab(MOST_ATOMS, 3.3))["repeats"] == [1, 1]


def test_magnesium_has_the_same_colour_in_every_slab():
    assert element_colours(["Zn", "Mg"])["Mg"] == element_colours(["Mg", "Ag", "Ag"])["Mg"]


def test_three_faces_of_a_cube_look_to_the_eye():
    faces = []
    for axis, sign in itertools.product(range(3), (1, -1)):
        normal = [sign if i == axis else 0 for i in range(3)]
        faces.append({"corners": [normal] * 4, "normal": normal, "colour": axis, "facet": axis})
    text = drawing(faces, "a cube")
    assert [text.count(f"face f{n}") for n in range(3)] == [1, 1, 1]
