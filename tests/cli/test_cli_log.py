"""`mgsurf log`: calculations found by facet, their logs printed and followed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from stores.connections import open_store
from tests.stores.conftest import make_calculation


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def add(store, folder, number, label, status="ok", reason="", **fields):
    folder.mkdir(parents=True, exist_ok=True)
    output = {"status": status, "reason": reason, "energy": -1.0, "directory": str(folder)}
    store.add(make_calculation(number, id=folder.name, label=label, output=output, **fields))


@pytest.fixture
def runs(tmp_path):
    """A store and the folders of its calculations: GPAW, VASP, and one that failed."""
    work = tmp_path / "mgsurf_runs"
    with open_store(f"sqlite:///{tmp_path / 'mgsurf.sqlite'}") as store:
        add(store, work / "aa", 0, "MgAg (110) MgAg: slab relax")
        add(store, work / "ab", 1, "MgAg (110) MgAg: slab static")
        add(store, work / "ac", 2, "MgAg (100) Mg: slab relax")
        add(store, work / "ad", 3, "MgAg (100) Ag: slab relax", "failed", "ended with status 1")
        add(store, work / "ae", 4, "MgAg bulk: relax")
    (work / "ab" / "gpaw.txt").write_text("".join(f"iter: {number}\n" for number in range(100)))
    (work / "ad" / "gpaw.txt").write_text("iter: 1\n")
    (work / "ad" / "traceback.txt").write_text("OSError: mongodb://me:Xq7z@h \x1b[31m is away\n")
    cell = work / "ae" / "cell_1"
    cell.mkdir()
    (cell / "OSZICAR.gz").write_bytes(gzip.compress(b"DAV:   1\nDAV:   2\n"))
    (cell / "OUTCAR.gz").write_bytes(gzip.compress(b" General timing and accounting\n"))
    note = [
        {"corrections": [{"errors": ["zbrent"], "actions": [{"dict": "INCAR", "action": {"IBRION": 1}}]}]}
    ]
    (cell / "custodian.json.gz").write_bytes(gzip.compress(json.dumps(note).encode()))
    return work


def test_the_latest_calculation_of_a_facet_is_shown_by_its_end(mgsurf, runs):
    done = mgsurf("log", "MgAg (110)", "-n", 3)
    assert (done.returncode, done.stdout) == (0, "iter: 97\niter: 98\niter: 99\n")
    assert "MgAg (110) MgAg: slab static: ok" in done.stderr
    assert "also MgAg (110) MgAg: slab relax" in done.stderr
    assert str(runs / "ab" / "gpaw.txt") in done.stderr
    assert len(mgsurf("log", "MgAg (110)", "-n", 0).stdout.splitlines()) == 100


def test_several_facets_are_listed(mgsurf, runs):
    done = mgsurf("log", "MgAg (100)")
    assert done.returncode == 0
    assert "MgAg (100) Mg" in done.stdout and "MgAg (100) Ag" in done.stdout and "failed" in done.stdout
    assert "2 facets" in done.stderr


def test_of_a_failed_calculation_errors_are_shown_without_secrets_and_escapes(mgsurf, runs):
    done = mgsurf("log", "MgAg (100) Ag")
    assert done.stdout == "iter: 1\nOSError: mongodb://me:***@h ?[31m is away\n"
    assert "failed, ended with status 1" in done.stderr


def test_vasp_shows_its_steps_and_what_custodian_corrected(mgsurf, runs):
    done = mgsurf("log", "MgAg bulk")
    assert done.stdout.splitlines()[1:] == ["DAV:   1", "DAV:   2"]
    assert "zbrent" in done.stdout.splitlines()[0] and "IBRION" in done.stdout.splitlines()[0]
    assert "General timing" in mgsurf("log", "MgAg bulk", "--file", "OUTCAR.gz").stdout


def test_bad_names_and_places_are_one_line(mgsurf, refused, runs, tmp_path):
    line = refused("log", "MgAg (211)")
    assert "MgAg (211)" in line and "MgAg (110) MgAg" in line
    done = mgsurf("log", "MgAg bulk", "--file", "CHGCAR")
    assert done.returncode == 2 and "--file CHGCAR: no such file" in done.stderr and "OUTCAR" in done.stderr
    done = mgsurf("log", "MgAg (110) MgAg: slab relax")
    assert done.returncode == 2 and ": no log" in done.stderr
    (runs / "aa").rmdir()
    done = mgsurf("log", "MgAg (110) MgAg: slab relax")
    assert done.returncode == 2 and "gone or on another machine" in done.stderr
    assert "nowhere.sqlite" in refused("log", "MgAg", "--store", "nowhere.sqlite", cwd=runs)


def test_an_unfinished_calculation_is_found_by_the_note_in_its_folder(mgsurf, runs):
    folder = runs / "af"
    folder.mkdir()
    (folder / "calculation.json").write_text(json.dumps({"id": "af", "label": "MgAg (111) Mg: slab relax"}))
    (folder / "gpaw.txt").write_text("iter: 7\n")
    done = mgsurf("log", "MgAg (111)")
    assert done.stdout == "iter: 7\n" and "not finished" in done.stderr


def test_a_calculation_of_a_slab_that_is_not_stoichiometric_is_found_with_its_status(mgsurf, runs, tmp_path):
    label = "MgAg (111) Ag: slab relax"
    with open_store(f"sqlite:///{tmp_path / 'mgsurf.sqlite'}") as store:
        add(store, runs / "ag", 5, label, formula="Mg3Ag4")  # as jobs.calculate records it: of the slab
    (runs / "ag" / "calculation.json").write_text(json.dumps({"id": "ag", "label": label}))
    (runs / "ag" / "gpaw.txt").write_text("iter: 8\n")
    done = mgsurf("log", "MgAg (111)")
    assert done.stdout == "iter: 8\n" and f"{label}: ok" in done.stderr


def test_follow_prints_what_is_added_until_the_calculation_ends(runs, tmp_path, environment):
    folder, log = runs / "af", runs / "af" / "gpaw.txt"
    folder.mkdir()
    state = {"pid": os.getpid(), "host": socket.gethostname(), "directory": str(folder)}
    running = runs / "running.json"
    running.write_text(json.dumps({**state, "label": "MgAg (111) Mg: slab relax"}))
    with subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "log", "MgAg (111)", "--follow"],
        cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        log.write_text("iter: 1\n")
        assert process.stdout.readline() == "iter: 1\n"
        with log.open("a") as file:
            file.write("iter: 2\niter:")
        assert process.stdout.readline() == "iter: 2\n"
        (folder / "gpaw-2.txt").write_text("again\n")
        assert process.stdout.readline() == "iter:\n"
        assert process.stdout.readline() == "-- gpaw-2.txt --\n"
        assert process.stdout.readline() == "again\n"
        running.unlink()
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and rest == ""
    assert "slab relax: ended" in errors


def test_ctrl_c_ends_following_well(runs, tmp_path, environment):
    folder = runs / "af"
    folder.mkdir()
    (folder / "gpaw.txt").write_text("iter: 1\n")
    state = {"pid": os.getpid(), "host": socket.gethostname(), "directory": str(folder)}
    (runs / "running.json").write_text(json.dumps({**state, "label": "MgAg (111) Mg: slab relax"}))
    with subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "log", "MgAg (111)", "-f"],
        cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in errors
