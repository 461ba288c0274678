"""The command; what a refresh does is in tests/flows/test_refresh.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stores.connections import open_store
from tests.flows.labelled_store import HELD, MORE, OTHER, SLABS, TRAIN, VAL, fill

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = """name: loop
compounds: [{{formula: Mg}}]
store: sqlite:///mgsurf.sqlite
refresh: {refresh}
"""

COMPOUNDS = TRAIN + VAL + HELD
RECORDS = len(COMPOUNDS) * SLABS


@pytest.fixture(scope="session")
def plenty(tmp_path_factory):
    """A store with enough for a first model. Read only."""
    path = tmp_path_factory.mktemp("plenty") / "mgsurf.sqlite"
    fill(f"sqlite:///{path}", COMPOUNDS)
    return path


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def test_it_says_what_is_missing_without_torch(tmp_path, environment):
    uri = f"sqlite:///{tmp_path}/mgsurf.sqlite"
    fill(uri, TRAIN[:2])
    script = (
        "import sys, workflows.cli.app as app\n"
        "try: app.main(['refresh'])\n"
        "except SystemExit as end: status = end.code\n"
        "print(status, sorted({'torch', 'jobflow', 'pymatgen', 'maggma'} & set(sys.modules)))\n"
    )
    began = time.process_time()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path,
        check=True,
    )  # fmt: skip
    assert time.process_time() - began < 2
    assert done.stdout.splitlines() == [
        "6 accepted records of 2 compounds; missing before a model can be trained: 44 more records, "
        "4 more compounds to train on, 2 more compounds to validate, 6 more compounds to hold out",
        "compounds  2 to train on, 0 to validate, 0 held out; the set of a compound follows from its formula "
        "alone",
        f"labels     surface_energy, work_function by {_method(uri)}",
        "0 []",
    ]


def _method(uri):
    with open_store(uri) as store:
        return store.distinct("method_fingerprint")[0]


def test_dry_run_and_json(mgsurf, plenty):
    answer = json.loads(mgsurf("refresh", "--dry-run", "--json", "--store", plenty).stdout)
    assert answer["outcome"] == "would_refresh"
    assert answer["ready"] is True
    assert answer["parts"] == {"train": len(TRAIN), "val": len(VAL), "test": len(HELD)}
    assert answer["champion"] is None
    assert answer["new"] == answer["accepted"] == RECORDS
    assert "enough for a refresh" in mgsurf("refresh", "--dry-run", "--store", plenty).stdout


def test_the_campaign_says_how_much_is_enough_and_options_overrule(mgsurf, tmp_path, plenty):
    (tmp_path / "c.yaml").write_text(CAMPAIGN.format(refresh=f"{{min_new_records: {RECORDS + 8}}}"))
    done = mgsurf("refresh", "c.yaml", "--store", plenty)
    assert done.returncode == 0
    assert "missing before a model can be trained: 8 more records" in done.stdout
    done = mgsurf("refresh", "c.yaml", "--store", plenty, "--dry-run", "--min-new", f"{RECORDS}")
    assert "enough for a refresh" in done.stdout


def test_a_refresh_from_end_to_end(mgsurf, tmp_path, plenty):
    """With a real preset, for as few epochs as can be."""
    shutil.copy(plenty, tmp_path / "mgsurf.sqlite")
    cache = {"MGSURF_CACHE": str(tmp_path / "cache")}
    done = mgsurf("refresh", "--preset", "mtl", "--epochs", "1", "--members", "1", env=cache)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("v1 ")
    assert "mean scaled error" in done.stdout
    steps = [
        line.strip()
        for line in done.stderr.splitlines()
        if not line.startswith(("mgsurf: training", "mgsurf: reading"))
    ]
    assert steps == [
        f"snapshot of {RECORDS} accepted records of {len(COMPOUNDS)} compounds",
        "training from scratch",
        "keeping its weights",
        "comparing v1 with predicting the training mean on the hold-out",
    ]
    assert list(tmp_path.glob("mgsurf_runs/refresh/*")) == []
    shown = mgsurf("models", "show", "v1").stdout
    assert "mtl" in shown
    assert "holdout" in shown
    again = mgsurf("refresh", "--json", env=cache)
    assert json.loads(again.stdout)["outcome"] == "too_few"


def test_bad_input(refused, tmp_path, plenty):
    assert "There is no store" in refused("refresh")
    assert "--preset: preset 'bets' is not known" in refused("refresh", "--preset", "bets", "--store", plenty)
    line = refused("refresh", "--store", plenty, "--method", "vasp")
    assert "The method vasp is not there; the store has rule-demo-" in line
    (tmp_path / "c.yaml").write_text(CAMPAIGN.format(refresh="{min_records: 80}"))
    assert "refresh" in refused("refresh", "c.yaml")


def test_two_methods_are_told_apart_in_one_line(refused, tmp_path):
    uri = f"sqlite:///{tmp_path}/mgsurf.sqlite"
    fill(uri, TRAIN[:1])
    fill(uri, MORE[:1], OTHER)
    line = refused("refresh", "--dry-run")
    assert "come from several methods" in line
    assert line.endswith("choose one (--method).")
