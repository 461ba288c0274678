from __future__ import annotations

import json

import pytest
from pymatgen.core import Lattice, Structure

from workflows.cli.app import app


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture
def slabs(capsys):
    """Run `mgsurf slabs` in this process; return what it printed."""

    def run(*options):
        assert app(["slabs", *map(str, options)], standalone_mode=False) == 0
        return capsys.readouterr().out

    return run


def test_every_slab_of_b2_as_json(slabs):
    facets = json.loads(slabs("--prototype", "B2", "--formula", "MgAg", "--json"))
    assert [facet["miller_index"] for facet in facets] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    found = [slab for facet in facets for slab in facet["slabs"]]
    assert len(found) == 5
    assert all(slab["thickness"] >= 10 for slab in found)
    assert all(slab["vacuum"] == pytest.approx(15, abs=1e-6) for slab in found)


def test_the_table_says_why_a_facet_gives_nothing(slabs):
    text = slabs("--prototype", "A12", "--formula", "Mg17Al12", "--miller", "111")
    assert "0 symmetric slabs of 1 plane" in text
    assert "(111): polar direction: no symmetric slab exists" in text


def test_hexagonal_planes_are_shown_with_four_indices(slabs):
    text = slabs("--formula", "Mg")
    assert "P6_3/mmc (no. 194)" in text
    assert "(0001)" in text
    assert "(10-10)" in text


def test_settings_reach_the_enumeration(slabs):
    thick = json.loads(slabs("--formula", "Mg", "--miller", "0001", "--min-thickness", "25", "--json"))
    assert thick[0]["slabs"][0]["thickness"] >= 25
    few = json.loads(
        slabs("--prototype", "B2", "--formula", "MgAg", "--max-terminations", "1", "--vacuum", "20", "--json")
    )
    assert [len(facet["slabs"]) for facet in few] == [1, 1, 1]
    assert few[0]["slabs"][0]["vacuum"] == pytest.approx(20)
    none = json.loads(slabs("--prototype", "B2", "--formula", "MgAg", "--max-atoms", "3", "--json"))
    assert all(facet["slabs"] == [] and facet["reason"] for facet in none)


def test_written_files_hold_the_slabs(slabs, tmp_path):
    crystal = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3])
    crystal.to(str(tmp_path / "MgAg.cif"))
    facets = json.loads(slabs(tmp_path / "MgAg.cif", "--write", tmp_path / "out", "--json"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 5
    assert "MgAg_110_0_MgAg.vasp" in names
    for facet in facets:
        for slab in facet["slabs"]:
            written = Structure.from_file(slab["file"])
            assert len(written) == slab["n_atoms"]
            heights = written.cart_coords[:, 2]
            assert heights.max() - heights.min() == pytest.approx(slab["thickness"], abs=1e-5)


def test_files_are_not_overwritten_unless_asked(refused, mgsurf, tmp_path):
    arguments = ["slabs", "--formula", "Mg", "--miller", "0001", "--write", "out"]
    assert "1 file written to out" in mgsurf(*arguments).stdout
    file = tmp_path / "out" / "Mg_001_0_Mg.vasp"
    file.write_text("precious")
    assert "exists already" in refused(*arguments)
    assert file.read_text() == "precious"
    assert mgsurf(*arguments, "--overwrite").returncode == 0
    assert file.read_text() != "precious"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(mgsurf, width):
    done = mgsurf("slabs", "--prototype", "C14", "--formula", "MgZn2", env={"COLUMNS": str(width)})
    assert "23 symmetric slabs of 5 planes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= width
    assert "…" not in done.stdout
    assert "\x1b[" not in done.stdout


def test_bad_arguments_get_one_line(refused, refused_here):
    assert "give a CIF or POSCAR file" in refused("slabs")
    assert "add --prototype" in refused_here("slabs", "--formula", "MgAg")
    assert "not both" in refused_here("slabs", "x.cif", "--formula", "Mg")
    assert "unknown prototype" in refused_here("slabs", "--formula", "MgAg", "--prototype", "Z9")
    assert "a facet is named by (100)" in refused_here("slabs", "--formula", "Mg", "--miller", "200")
    for spelling in ("--max-index", "--max-miller"):  # the second is the former name
        assert spelling in refused_here("slabs", "--formula", "Mg", spelling, "0")
    assert "thickness" in refused_here("slabs", "--formula", "Mg", "--min-thickness", "-1")


@pytest.fixture
def pbnm(tmp_path):
    """MgPd of the FeB type with the axes of Pbnm; its standard setting is Pnma."""
    standard = Structure.from_spacegroup(
        "Pnma", Lattice.orthorhombic(6.0, 4.1, 5.5), ["Mg", "Pd"], [[0.18, 0.25, 0.62], [0.03, 0.25, 0.12]]
    )
    path = tmp_path / "pbnm.vasp"
    (standard * [[0, 0, 1], [1, 0, 0], [0, 1, 0]]).to(str(path), fmt="poscar")
    return path


def test_a_plane_is_named_in_the_standard_cell_and_in_the_axes_of_the_file_once(slabs, pbnm, caplog):
    text = slabs(pbnm, "--miller", "010")
    assert "Pnma (no. 62)" in text
    assert "(001)" not in text
    assert [record.getMessage().count("(010) is (001)") for record in caplog.records] == [1]
    (facet,) = json.loads(slabs(pbnm, "--miller", "010", "--json"))
    assert (facet["miller_index"], facet["miller_index_file"]) == ([0, 1, 0], [0, 0, 1])
    assert facet["slabs"][0]["area"] == pytest.approx(6.0 * 5.5)


@pytest.mark.parametrize(("strain", "options", "group"), [(0.003, [], 194), (0.006, ["--symprec", 0.1], 194)])
def test_the_cell_of_the_header_is_the_one_that_is_cut(slabs, tmp_path, strain, options, group):
    cell = [[3.2 * (1 + strain), 0, 0], [-1.6 * (1 + strain), 1.6 * 3**0.5, 0], [0, 0, 5.2]]
    path = tmp_path / "hcp.vasp"
    Structure(cell, ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]).to(str(path), fmt="poscar")
    (facet,) = json.loads(slabs(path, "--miller", "(10-10)", "--json", *options))
    assert facet["spacegroup_number"] == group
    assert facet["slabs"][0]["area"] == pytest.approx(3.2 * 5.2, rel=0.005)


def test_a_more_symmetric_crystal_within_a_looser_tolerance_is_named_on_stderr(mgsurf, tmp_path):
    cell = [[3.22, 0, 0], [-1.61, 1.6 * 3**0.5, 0], [0, 0, 5.2]]
    Structure(cell, ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]).to(
        str(tmp_path / "hcp.vasp"), fmt="poscar"
    )
    done = mgsurf("slabs", "hcp.vasp", "--json")
    assert json.loads(done.stdout)[0]["spacegroup_symbol"] == "Cmcm"
    assert done.stderr.count("P6_3/mmc (no. 194)") == 1
    assert "--symprec 0.1" in done.stderr
