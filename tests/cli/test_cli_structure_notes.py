"""What a reader did beyond reading reaches the user of every command as one line."""

from __future__ import annotations

import json
import logging

import pytest

from stores.structures.reading import read_structure
from tests.stores.structures.cif_texts import HCP, cif, written
from workflows.cli.app import app
from workflows.structures.sources.local import FileSource

ROUNDED = cif(["Mg1 Mg 0.333 0.667 0.25"], HCP, symmetry_space_group_name_H__M="P 63/m m c")
CAMPAIGN = "name: test\nengine: {name: gpaw, preset: demo}\nsources:\n  - folder: crystals\n"


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture
def crystals(tmp_path):
    (tmp_path / "crystals").mkdir()
    return written(tmp_path / "crystals", ROUNDED)


def test_the_command_shows_it_once(mgsurf, crystals):
    done = mgsurf("slabs", crystals, "--miller", "0001", "--json")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mgsurf: {crystals}: rounded coordinates")
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize("way", ["folder", "twice", "enumerate"])
def test_folders_and_sources_show_it_once(crystals, caplog, way, monkeypatch):
    caplog.set_level(logging.WARNING)
    folder = crystals.parent
    if way == "folder":
        assert len(list(FileSource(folder).candidates())) == 1
    elif way == "twice":
        assert read_structure(crystals) == read_structure(crystals)
    else:
        monkeypatch.chdir(folder.parent)
        written(folder.parent, CAMPAIGN, "c.yaml")
        assert app(["enumerate", "c.yaml", "--quiet", "--workers", "1"], standalone_mode=False) in (0, 1)
    lines = [r.getMessage() for r in caplog.records if "rounded" in r.getMessage()]
    assert len(lines) == 1
    assert str(crystals.name) in lines[0]
