"""`mgsurf ingest`, and the other commands on what it stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core import Structure

from stores.connections import open_store
from tests.vasp_folders import STATIC, compute, quick_tree


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    quick_tree(root)
    # a slab whose bulk is not there: no plane can be named
    slab = Structure.from_file(root / "MgAg/100_Mg/static/POSCAR")
    slab.replace_species({"Ag": "Zn"})
    compute(root / "MgZn", slab, kpoints=(4, 4, 1), **STATIC)
    return root


@pytest.fixture
def tree(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "tree"))


@pytest.fixture(scope="module")
def ingested(finished, tmp_path_factory):
    """Path of a store with everything in `finished`. Read only."""
    from workflows.jobs.ingest.ingest import ingest

    path = tmp_path_factory.mktemp("store") / "results.sqlite"
    ingest(finished, f"sqlite:///{path}")
    return path


def test_summary_and_exit_status(mgsurf, tree, tmp_path):
    done = mgsurf("ingest", "tree")
    assert done.returncode == 0, done.stderr
    assert "3 slabs and 2 bulk crystals read" in done.stdout
    assert (tmp_path / "mgsurf.sqlite").exists()
    assert "(100)" in done.stdout
    again = mgsurf("ingest", "tree")
    assert again.returncode == 0
    assert "nothing new" in again.stdout


def test_dry_run_writes_nothing(mgsurf, tree, tmp_path):
    done = mgsurf("ingest", "tree", "--dry-run", env={"COLUMNS": "200"})
    assert done.returncode == 0
    assert "tree/MgAg/bulk" in done.stdout
    assert "no bulk of Mg-Zn" in done.stdout
    assert "nothing was written" in done.stdout
    assert not (tmp_path / "mgsurf.sqlite").exists()


def test_json(mgsurf, tree):
    plain = json.loads(mgsurf("ingest", "tree", "--dry-run", "--json").stdout)
    assert [slab["miller_index"] for slab in plain["slabs"]] == [[1, 0, 0], [1, 0, 0], None]
    assert plain["surfaces"] == []
    stored = json.loads(mgsurf("ingest", "tree", "--json").stdout)
    assert len(stored["surfaces"]) == 3


def test_a_bad_folder_costs_the_exit_status_and_nothing_else(mgsurf, tree):
    (tree / "broken").mkdir()
    (tree / "broken/vasprun.xml").write_text("quota exceeded")
    done = mgsurf("ingest", "tree")
    assert done.returncode == 1
    assert "3 slabs" in done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("mgsurf: tree/broken/vasprun.xml: no vasprun.xml of VASP")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "give the folder"),
        (["nowhere"], "no such folder"),
        (["empty"], "no VASP calculation"),
        (["--pairs", "nowhere.csv"], "cannot be read"),
        (["empty", "--pairs", "wrong.csv"], "no column slab"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(refused, tmp_path, arguments, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.csv").write_text("bulk,surface\na,b\n")
    assert expected in refused("ingest", *arguments)
    assert not (tmp_path / "mgsurf.sqlite").exists()


def test_a_store_that_cannot_be_written_is_refused(refused, tree, tmp_path):
    assert "does not exist" in refused("ingest", "tree", "--store", str(tmp_path / "none" / "x.sqlite"))
    (tree / "broken").mkdir()  # the store is tried before the folders are read
    (tree / "broken/vasprun.xml").write_text("")
    (tmp_path / "text.sqlite").write_text("this is no store\n" * 100)
    assert "text.sqlite" in refused("ingest", "tree", "--store", "text.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it may not")
def test_a_read_only_store_is_refused(refused, mgsurf, tree, tmp_path):
    mgsurf("ingest", "tree", "--store", "kept.sqlite")
    (tmp_path / "kept.sqlite").chmod(0o444)
    assert "kept.sqlite" in refused("ingest", "tree", "--store", "kept.sqlite", code=4)


def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(mgsurf, tree, tmp_path, environment):
    for number in range(40):  # long enough to be interrupted
        shutil.copytree(tree / "MgAg/100_Mg/static", tree / f"copies/{number:02d}")
    process = subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "ingest", "tree"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    if process.returncode != 0:
        assert process.returncode == 130
        assert len(errors.strip().splitlines()) == 1
    done = mgsurf("ingest", "tree")
    assert done.returncode == 0
    with open_store(f"sqlite:///{tmp_path}/mgsurf.sqlite") as store:
        assert store.count() == 3


def test_surfaces_of_unknown_planes_are_shown_by_every_command(mgsurf, ingested, tmp_path):
    store = ["--store", str(ingested)]
    table = mgsurf("query", *store)
    assert "(?)" in table.stdout
    (row,) = json.loads(mgsurf("query", "--formula", "Mg3Zn2", "--json", *store).stdout) or [None]
    assert row["miller_index"] == [0, 0, 0]
    assert "0 0 0" in mgsurf("query", "--csv", *store).stdout
    assert mgsurf("status", *store).returncode == 0
    for kind in ("scatter", "phase", "summary", "potential", "wulff"):
        for formula in ("Mg3Zn2", "MgAg"):
            done = mgsurf("plot", kind, "--formula", formula, "-o", f"{kind}-{formula}.png", *store)
            assert done.returncode in (0, 2), (kind, formula, done.stderr)
    assert mgsurf("plot", "potential", "--formula", "Mg3Zn2", "-o", "p.png", *store).returncode == 0
    for form in ("csv", "jsonl", "extxyz", "ase", "cgcnn"):
        done = mgsurf("export", form, "-o", f"out.{form}", "--include-rejected", *store)
        assert done.returncode == 0, (form, done.stderr)


def test_help_and_query_do_not_load_it(environment):
    code = (
        "import workflows.cli.app, sys; "
        "print([m for m in sys.modules if m.startswith(('workflows.jobs', 'pymatgen'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
