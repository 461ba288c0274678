from __future__ import annotations

import json

import pytest

from stores.errors import InputError
from workflows.cli.converge import engine_options

ENGINE = ("--engine", "tests.engines.pair_engine:PairEngine")
SLAB = ("--formula", "MgAg", "--prototype", "B2", "--miller", "110")


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def test_table_and_pictures(mgsurf, tmp_path):
    done = mgsurf(
        "converge", *SLAB, *ENGINE, "--scan", "thickness", "--scan", "vacuum", "--output", "pictures"
    )
    assert done.returncode == 0, done.stderr
    assert "MgAg (110): thickness" in done.stdout
    assert "Fiorentini" in done.stdout
    assert "settled from" in done.stdout
    for kind in ("thickness", "vacuum"):
        picture = tmp_path / "pictures" / f"MgAg_110_{kind}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_json(mgsurf):
    done = mgsurf("converge", *SLAB, *ENGINE, "--scan", "thickness", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["thickness"]
    assert len(found["points"]) >= 3
    assert found["fit"]["surface_energy"] == pytest.approx(found["points"][-1]["surface_energy"], rel=0.05)


def test_settings_of_the_engine_and_the_folder_of_its_files(mgsurf, tmp_path):
    options = ("--option", "softness=0.5", "--option", "width=2")
    done = mgsurf("converge", *SLAB, *ENGINE, "--scan", "vacuum", *options, "--work-dir", "raw", "--json")
    assert done.returncode == 2
    assert "has no option 'softness', 'width'" in done.stderr
    assert (tmp_path / "raw").is_dir()
    assert not (tmp_path / "mgsurf_runs").exists()


def test_settings_are_read_as_yaml_reads_them():
    texts = ["cutoff=340", "width=0.1", "spin=true", "xc=PBE", "start=", "setups=a=b", "kind='1'"]
    assert engine_options(texts) == {
        "cutoff": 340, "width": 0.1, "spin": True, "xc": "PBE", "start": None, "setups": "a=b", "kind": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["cutoff"], "'cutoff' cannot be read; write KEY=VALUE"),
        (["cut-off=3"], "'cut-off=3' cannot be read"),
        (["a=1", "a=2"], "a is there twice"),
        (["a=[1, 2]"], "a is no single number"),
        (["a={"], "a is no single number"),
        (["a=2026-13-01"], "a is no single number"),
        (["a=" + "9" * 5000], "a is no single number"),
    ],
)
def test_settings_that_cannot_be_read(texts, words):
    with pytest.raises(InputError) as caught:
        engine_options(texts)
    assert words in str(caught.value)
    assert str(caught.value).startswith("--option: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--formula", "MgAg", "--prototype", "B2", "--miller", "000"), "000"),
        (("--formula", "MgAg", "--prototype", "Z9", "--miller", "110"), "Z9"),
        (("missing.cif", "--miller", "110"), "missing.cif"),
        (("--miller", "110"), "formula"),
        (("--formula", "Mg", "--miller", "99999999 0 1"), "--miller"),
        (("--formula", "Mg", "--engine", ":"), "engine ':'"),
        (("--formula", "Mg", "--option", "cutoff"), "--option"),
    ],
)
def test_bad_input_is_one_line(refused_here, arguments, words):
    assert words in refused_here("converge", *ENGINE, *arguments, "--scan", "vacuum")
