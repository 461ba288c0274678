from __future__ import annotations

import json

import pytest

ENGINE = ("--engine", "tests.engines.pair_engine:PairEngine")
SLAB = ("--formula", "MgAg", "--prototype", "B2", "--miller", "110")


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--formula", "MgAg", "--prototype", "B2", "--miller", "000"), "000"),
        (("--formula", "MgAg", "--prototype", "Z9", "--miller", "110"), "Z9"),
        (("missing.cif", "--miller", "110"), "missing.cif"),
        (("--miller", "110"), "formula"),
    ],
)
def test_bad_input_is_one_line(mgsurf, arguments, words):
    done = mgsurf("converge", *arguments, *ENGINE, "--scan", "vacuum")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert words in line
