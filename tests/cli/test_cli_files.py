"""`mgsurf plot` and `mgsurf export`: what they write, and what they refuse to replace."""

from __future__ import annotations

import csv
import json

import ase.db
import ase.io
import pytest

from workflows.cli.app import app


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture
def make(filled):
    """Run a command in this process with the filled store; return its status."""

    def run(*arguments):
        return app([*map(str, arguments), "--store", str(filled)], standalone_mode=False)

    return run


@pytest.mark.parametrize(
    ("kind", "filters"),
    [
        ("potential", ["--formula", "MgAg", "--miller", "110"]),
        ("phase", ["--formula", "MgAg"]),
        ("scatter", []),
        ("wulff", ["--formula", "MgAg"]),
        ("summary", ["--campaign", "quickstart"]),
        ("composition", ["--formula", "Mg65Cu25Y10", "--layout", "expert"]),
    ],
)
def test_every_figure_is_drawn(make, tmp_path, capsys, kind, filters):
    path = tmp_path / "figure.png"
    assert make("plot", kind, *filters, "-o", path) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_figures_in_other_formats(make, tmp_path):
    make("plot", "scatter", "-o", tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text()


@pytest.mark.parametrize("formula", ["(Fe0.5Co0.5)72B20Si4Nb4", "Mg$_{65}$Cu$_{35}$"])
def test_plot_composition_takes_any_spelling(make, tmp_path, formula):
    make("plot", "composition", "--formula", formula, "-o", tmp_path / "alloy.png")
    assert (tmp_path / "alloy.png").read_bytes().startswith(b"\x89PNG")


def test_plot_refuses_what_it_cannot_draw(refused_here, filled, tmp_path):
    def line(*arguments):
        return refused_here("plot", *arguments, "--store", filled)

    assert "8 match: " in line("potential")
    assert "narrow them with --formula" in line("potential")
    assert "one compound and one method" in line("phase")
    assert "choose one of .png, .pdf, .svg" in line("scatter", "-o", "figure.gif")
    assert "--output nowhere/figure.png: no folder nowhere" in line("scatter", "-o", "nowhere/figure.png")
    assert "--formula Mg65Cu25Y10" in line("composition")
    assert "'Xx'" in line("composition", "--formula", "MgXx")
    assert "likeness, expert, random" in line("composition", "--formula", "MgCu2", "--layout", "round")
    assert "leave out all filters" in line("composition", "--formula", "MgCu2", "--element", "Cu")
    assert "plot composition" in line("phase", "--formula", "MgAg", "--layout", "expert")
    (tmp_path / "mgsurf_scatter.png").write_text("precious")
    assert "add --overwrite" in line("scatter")
    assert (tmp_path / "mgsurf_scatter.png").read_text() == "precious"


def test_nothing_to_write_is_a_failure(refused, filled, tmp_path):
    for command in (("plot", "scatter"), ("export", "csv")):
        line = refused(*command, "--store", filled, "--element", "Cu", code=1)
        assert "no surface matches with Cu" in line
    assert list(tmp_path.iterdir()) == []


def test_export_csv_and_json_lines(make, tmp_path):
    assert (
        make("export", "csv", "-o", tmp_path / "all.csv", "--sort", "-work_function", "--include-rejected")
        == 0
    )
    with (tmp_path / "all.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["work_function"]) for line in lines[:3]] == [4.304, 4.078, 3.841]

    make("export", "jsonl", "-o", tmp_path / "all.jsonl", "--chemsys", "Mg-Ag")
    documents = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert len(documents) == 5
    assert documents[0]["slab"]["lattice"]


def test_export_structures(make, tmp_path):
    make("export", "extxyz", "-o", tmp_path / "all.extxyz", "--formula", "MgAg")
    assert len(ase.io.read(tmp_path / "all.extxyz", index=":")) == 5
    make("export", "ase", "-o", tmp_path / "all.db", "--formula", "MgAg")
    assert len(ase.db.connect(tmp_path / "all.db")) == 5


def test_export_for_cgcnn_leaves_rejected_values_out_unless_asked(make, tmp_path):
    def work_functions(folder):
        lines = (folder / "id_prop_all.csv").read_text().splitlines()
        return [line.split(",")[-1] for line in lines[1:]]

    make("export", "cgcnn", "-o", tmp_path / "a", "--miller", "111")
    assert sorted(work_functions(tmp_path / "a")) == ["", "3.611"]
    make("export", "cgcnn", "-o", tmp_path / "b", "--miller", "111", "--include-rejected")
    assert sorted(work_functions(tmp_path / "b")) == ["3.611", "3.841"]
    assert len(list((tmp_path / "a").glob("*.cif"))) == 2


def test_export_does_not_overwrite_unless_asked(make, refused, filled, tmp_path):
    (tmp_path / "surfaces.csv").write_text("precious")
    assert "add --overwrite" in refused("export", "csv", "--store", filled)
    assert make("export", "csv", "-o", tmp_path / "surfaces.csv", "--overwrite") == 0
    assert (tmp_path / "surfaces.csv").read_text().startswith("id,formula")


def test_missing_relaxed_slabs_are_told(mgsurf, filled):
    done = mgsurf("export", "extxyz", "--store", filled, "--formula", "Mg", "--relaxed")
    assert done.returncode == 0
    assert "2 surfaces in surfaces.extxyz" in done.stdout
    assert done.stderr.startswith("mgsurf: Mg ")
    assert "has no relaxed slab" in done.stderr


def test_wulff_shape_at_a_chemical_potential(make, tmp_path, capsys):
    assert (
        make("plot", "wulff", "--formula", "MgAg", "--dmu", -0.3, "--max-index", 2, "-o", tmp_path / "w.png")
        == 0
    )
    text = " ".join(capsys.readouterr().out.split())
    assert "Δμ(Mg) = −0.300 eV" in text and "(210), (211), (221) (not computed)" in text


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("wulff", "--dmu", "-0.9"), ("--dmu -0.9", "-0.600 eV (Ag-rich)")),
        (("wulff", "--dmu", "nan"), ("--dmu", "'nan' is no finite number")),
        (("wulff", "--dmu", "-0.1", "--x-rich"), ("--dmu and --x-rich",)),
        (("phase", "--x-rich"), ("--x-rich", "plot wulff", "plot phase")),
        (("scatter", "--dmu", "0"), ("--dmu", "plot wulff", "plot scatter")),
    ],
)
def test_chemical_potentials_that_cannot_be(refused_here, filled, arguments, parts):
    line = refused_here("plot", *arguments, "--formula", "MgAg", "--store", filled)
    assert all(part in line for part in parts), line
