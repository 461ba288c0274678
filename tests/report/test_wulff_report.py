"""Wulff shapes at a chemical potential: values, window, and what the shape leaves out."""

import copy
from io import StringIO

import pytest
from matplotlib.text import Text
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Lattice, Structure
from rich.console import Console

from stores.errors import InputError
from workflows.analysis.stability_window import StableWindow
from workflows.analysis.wulff import left_out
from workflows.report.wulff import draw_wulff, wulff_report, wulff_table
from workflows.structures.crystal import crystal_of

# preset demo of docs/validation.md with 4.062 eV for (110): (100) Mg, (100) Ag, (110), (111) Mg, (111) Ag
DEMO = ((0.0431, 3.348), (0.0796, 4.138), (0.0510, 4.062), (0.0545, 3.516), (0.0719, 3.921))
WINDOW = (-0.513, 0.0)


@pytest.fixture
def demo(mgag):
    for record, (gamma, phi) in zip(mgag, DEMO, strict=True):
        record |= {"surface_energy": gamma, "work_function": phi, "chemical_potential_window": WINDOW}
    return mgag


def reject(record, status="reconstructed"):
    record["verdicts"]["surface_energy"] = {"status": status, "reason": "moved"}


def printed(report, width=80):
    output = StringIO()
    Console(file=output, width=width).print(wulff_table(report))
    return " ".join(output.getvalue().split())


def drawn(figure):
    return " ".join(" ".join(t.get_text() for t in figure.findobj(Text) if t.get_visible()).split())


@pytest.mark.parametrize(
    ("options", "phi", "words"),
    [
        ({}, 3.590, "Mg-rich, Δμ(Mg) = 0 eV"),
        ({"dmu": 0.0}, 3.590, "Mg-rich, Δμ(Mg) = 0 eV"),
        ({"dmu": -0.0}, 3.590, "Mg-rich, Δμ(Mg) = 0 eV"),
        ({"dmu": -0.5}, 4.069, "Δμ(Mg) = −0.500 eV"),
        ({"x_rich": True}, None, "Ag-rich, Δμ(Mg) = −0.513 eV"),
        ({"dmu": -0.513}, None, "Ag-rich, Δμ(Mg) = −0.513 eV"),
        ({"dmu": -0.5134}, None, "Ag-rich, Δμ(Mg) = −0.513 eV"),  # shown with three decimals
    ],
)
def test_weighted_work_function_of_mgag(demo, mgag_bulk, options, phi, words):
    report = wulff_report(demo, mgag_bulk, **options)
    if phi is not None:
        assert report.result.work_function == pytest.approx(phi, abs=0.003)
        assert f"Φ = {report.result.work_function:.3f} eV" in printed(report)
    assert words in printed(report)
    assert "−0.513 (Ag-rich) to 0 (Mg-rich)" in printed(report)


@pytest.mark.parametrize("dmu", [0.0, -0.2, -0.5, -0.513])
def test_against_pymatgen(demo, mgag_bulk, dmu):
    lowest = [min(r["surface_energy"] + r["surface_energy_slope"] * dmu for r in pair)
              for pair in (demo[:2], demo[2:3], demo[3:])]  # fmt: skip
    shape = WulffShape(Lattice.cubic(3.34), [(1, 0, 0), (1, 1, 0), (1, 1, 1)], lowest)
    result = wulff_report(demo, mgag_bulk, dmu=dmu).result
    assert result.surface_energy == pytest.approx(shape.weighted_surface_energy)
    assert list(result.area_fractions) == pytest.approx(list(shape.area_fraction_dict.values()), abs=1e-6)


@pytest.mark.parametrize("dmu", [-0.52, -5.0, 0.01, 1e9, float("nan"), float("inf"), float("-inf")])
def test_outside_the_window(demo, mgag_bulk, dmu):
    with pytest.raises(InputError) as raised:
        wulff_report(demo, mgag_bulk, dmu=dmu)
    line = str(raised.value)
    assert all(part in line for part in ("MgAg", "-0.513 eV (Ag-rich)", "0 eV (Mg-rich)"))
    assert "\n" not in line


def test_elements_and_compounds_without_a_window(magnesium, mgag, mgag_bulk):
    with pytest.raises(InputError, match=r"it is an element.*leave out --x-rich"):
        wulff_report(magnesium, mgag_bulk, x_rich=True)
    for record in mgag:
        record["chemical_potential_window"] = None
    with pytest.raises(InputError, match=r"reference of Ag is missing.*leave out --dmu -0.1"):
        wulff_report(mgag, mgag_bulk, dmu=-0.1)
    assert "Mg-rich, Δμ(Mg) = 0 eV" in printed(wulff_report(mgag, mgag_bulk))
    with pytest.raises(InputError, match="exclude each other"):
        wulff_report(mgag, mgag_bulk, dmu=-0.1, x_rich=True)


def test_an_element_has_no_chemical_potential(magnesium, laves_bulk):
    hcp = {**laves_bulk}
    report = wulff_report(magnesium, hcp)
    assert report.conditions() == ""
    assert "rich" not in printed(report)


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (lambda r: None, {}, []),
        (lambda r: reject(r[2]), {}, ["planes not in the shape and its averages: (110) (reconstructed)"]),
        (lambda r: reject(r[0]), {}, ["terminations left out: (100) Mg (reconstructed)"]),
        # the same termination with other slab settings: accepted, or rejected as well
        (lambda r: (r.append(copy.deepcopy(r[0])), reject(r[0])), {}, []),
        (
            lambda r: (reject(r[0]), r.append(copy.deepcopy(r[0]))),
            {},
            ["terminations left out: (100) Mg (reconstructed)"],
        ),
        (
            lambda r: (reject(r[3], "failed"), reject(r[4], "inconsistent_settings")),
            {},
            ["planes not in the shape and its averages: (111) (failed, inconsistent settings)"],
        ),
        (
            lambda r: r.pop(2),
            {},
            ["planes not in the shape and its averages: (110) (not computed)"],
        ),
        (
            lambda r: None,
            {"max_index": 2},
            ["planes not in the shape and its averages: (210), (211), (221) (not computed)"],
        ),
    ],
)
def test_what_is_missing(demo, mgag_bulk, change, options, expected):
    change(demo)
    report = wulff_report(demo, mgag_bulk, **options)
    assert report.missing_lines() == expected
    assert all(line in printed(report) for line in expected)


def test_the_figure_states_the_chemical_potential_and_what_is_missing(demo, mgag_bulk):
    reject(demo[2])
    reject(demo[1], "failed")
    report = wulff_report(demo, mgag_bulk, dmu=-0.3, max_index=2)
    text = drawn(draw_wulff(report))
    assert report.conditions() in text
    assert all(line in text for line in report.missing_lines())
    assert f"{report.result.work_function:.3f} eV" in text


def test_without_a_slope_a_facet_counts_at_the_mg_rich_end_only(demo, mgag_bulk):
    demo[2]["surface_energy_slope"] = None
    assert wulff_report(demo, mgag_bulk).missing_lines() == []
    (line,) = wulff_report(demo, mgag_bulk, dmu=-0.2).missing_lines()
    assert "(110) (surface energy known at the Mg-rich end only)" in line


def test_polar_directions_are_named_as_such():
    zincblende = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(5.6), ["Mg", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    found = {entry.miller_index: entry.reason for entry in left_out(crystal_of(zincblende), [], [])}
    assert found[(1, 1, 1)] == "polar direction: no symmetric slab exists"
    assert found[(1, 1, 0)] == "not computed"


def test_planes_that_the_filter_left_out(demo, mgag_bulk):
    report = wulff_report(demo[:3], mgag_bulk, known=demo)
    assert report.missing_lines() == [
        "planes not in the shape and its averages: (111) (not among the selected records)"
    ]


def test_planes_of_hexagonal_crystals_have_four_indices(laves, laves_bulk):
    for record in laves:
        if record["miller_index"] == [0, 0, 1]:
            reject(record)
    report = wulff_report(laves, laves_bulk, dmu=-0.2)
    assert "(0001) (reconstructed)" in " ".join(report.missing_lines())


@pytest.mark.parametrize(
    ("dmu", "note"), [(-0.2, ""), (-0.5, "MgAg3 forms"), (0.0, "Mg3Ag forms"), (-0.3, "")]
)
def test_other_phases_that_form_there(demo, mgag_bulk, dmu, note):
    stable = StableWindow((-0.3, -0.05), ("MgAg3", "Mg3Ag"), 0.0, (), (), "Mg", "gpaw-demo")
    text = printed(wulff_report(demo, mgag_bulk, dmu=dmu, stable=stable))
    assert note in text if note else "forms" not in text
