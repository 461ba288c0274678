from __future__ import annotations

import importlib.util
import os
import sqlite3
import stat
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from workflows.execution.doctor import (
    Check,
    Status,
    check_engine,
    check_folder,
    check_gpaw,
    check_memory,
    check_mpi,
    check_packages,
    check_potentials,
    check_python,
    check_setups,
    check_store,
    check_threads,
    run_checks,
    worst,
)

ROOT = Path(__file__).resolve().parents[2]


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_old_python_fails():
    assert check_python((3, 10, 4)).status is Status.FAIL
    assert check_python().status is Status.OK


def test_other_versions_than_the_pinned_ones_are_named(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("packaging==0.1\npluggy==0.2\n")
    check = check_packages(pins, "pytest")
    assert check.status is Status.WARN
    assert "packaging" in check.found
    assert "(pinned 0.1)" in check.found
    assert "pip install -c constraints.txt" in check.remedy


def test_without_pins_presence_is_enough(tmp_path):
    check = check_packages(tmp_path / "none.txt", "pytest")
    assert check.status is Status.OK


def test_distribution_that_is_not_installed_is_said():
    check = check_packages(distribution="mgsurf-of-another-world")
    assert check.status is Status.WARN
    assert "not installed" in check.found


@pytest.mark.parametrize(
    ("value", "status"), [(None, Status.OK), ("", Status.OK), ("1", Status.OK), ("8", Status.WARN)]
)
def test_threads(value, status):
    assert check_threads(value).status is status


def test_folder_that_does_not_exist_is_judged_by_the_one_above(tmp_path):
    check = check_folder("work folder", tmp_path / "a" / "b")
    assert check.status in (Status.OK, Status.WARN)
    assert list(tmp_path.iterdir()) == []


def test_file_in_place_of_a_folder_fails(tmp_path):
    (tmp_path / "runs").write_text("")
    check = check_folder("work folder", tmp_path / "runs")
    assert check.status is Status.FAIL
    assert "not a folder" in check.found


def test_folder_that_cannot_be_written_fails(tmp_path):
    folder = Path("/proc")  # not even root may make files there
    if os.geteuid() != 0:
        folder = tmp_path / "locked"
        folder.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    check = check_folder("work folder", folder)
    assert check.status is Status.FAIL
    assert "cannot be written" in check.found
    assert str(folder) in check.remedy


def test_little_memory_is_a_warning(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4000000 kB\nMemAvailable:    1048576 kB\n")
    check = check_memory(meminfo)
    assert check.status is Status.WARN
    assert check.found.startswith("1.0 GB available")
    assert check_memory(tmp_path / "none").status is Status.OK


def test_store_that_is_not_there_yet_is_fine_and_not_made(tmp_path):
    path = tmp_path / "new.sqlite"
    check = check_store(f"sqlite:///{path}")
    assert check.status is Status.OK
    assert "does not exist yet" in check.found
    assert not path.exists()


def test_store_is_opened_and_counted(tmp_path):
    from stores.connections import open_store

    uri = f"sqlite:///{tmp_path / 'results.sqlite'}"
    with open_store(uri):
        pass
    check = check_store(uri)
    assert check.status is Status.OK
    assert "0 surfaces" in check.found
    assert "schema version" in check.found


def test_file_that_is_no_store_fails(tmp_path):
    path = tmp_path / "notes.sqlite"
    path.write_text("this is a shopping list, not a database")
    check = check_store(f"sqlite:///{path}")
    assert check.status is Status.FAIL
    assert "not an SQLite file" in check.found
    assert "--store" in check.remedy


def test_store_of_a_newer_version_fails(tmp_path):
    from stores.connections import open_store

    path = tmp_path / "newer.sqlite"
    with open_store(f"sqlite:///{path}"):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=999")
    connection.commit()
    connection.close()
    check = check_store(f"sqlite:///{path}")
    assert check.status is Status.FAIL
    assert "newer mgsurf" in check.found


def test_unknown_form_of_store_fails_and_the_other_checks_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checks = by_name(run_checks("carrier-pigeon", tmp_path, "gpaw"))
    assert checks["store"].status is Status.FAIL
    assert "sqlite:///" in checks["store"].found
    assert checks["Python"].status is Status.OK


def test_potentials_that_are_missing_are_named_with_the_extra(monkeypatch):
    installed = importlib.util.find_spec("sevenn") is not None
    assert [check.name for check in run_checks(engine="mlip")].count("potentials") == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check = check_potentials()
    assert check.status == "fail" and "sevennet-0 (no sevenn)" in check.found and "foundation" in check.remedy
    monkeypatch.undo()
    assert (check_potentials().status == "fail") is not installed


def test_engine_of_an_unknown_name_fails():
    check = check_engine("abacus")
    assert check.status is Status.FAIL
    assert "gpaw" in check.found


def test_missing_mpirun_gives_the_apt_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_mpi()
    assert check.status is Status.WARN
    assert "openmpi-bin" in check.remedy


def test_mpirun_that_fails_shows_its_reason(monkeypatch, tmp_path):
    program(tmp_path / "mpirun", "echo 'There are not enough slots available' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check = check_mpi()
    assert check.status is Status.FAIL
    assert "not enough slots" in check.found
    assert "MGSURF_RANKS=1" in check.remedy


def test_ranks_that_do_not_know_each_other_are_found_out(monkeypatch, tmp_path):
    program(tmp_path / "mpirun", "echo 1; echo 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check = check_mpi()
    assert check.status is Status.WARN
    assert "built without MPI" in check.found


@pytest.mark.parametrize("said", ["2\\n2\\n", "22\\n\\n"])
def test_lines_of_ranks_may_be_mixed_up(monkeypatch, tmp_path, said):
    program(tmp_path / "mpirun", f"printf '{said}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check_mpi().status is Status.OK


def test_environment_without_gpaw_fails_with_the_remedy(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    assert check_gpaw(python).status is Status.FAIL
    assert "gpaw" in check_gpaw(python).found
    assert check_gpaw(python).remedy == "make gpaw"
    assert check_setups(python).status is Status.FAIL


@pytest.mark.gpaw
def test_this_machine_in_one_pass(tmp_path):
    began = time.monotonic()
    checks = run_checks(f"sqlite:///{tmp_path / 'new.sqlite'}", tmp_path / "runs", "gpaw")
    assert time.monotonic() - began < 60  # hangs, not speed
    named = by_name(checks)
    assert list(named) == [
        "Python",
        "packages",
        "GPAW",
        "PAW setups",
        "MPI",
        "OMP_NUM_THREADS",
        "store",
        "store folder",
        "work folder",
        "memory",
    ]
    assert named["GPAW"].found.startswith("26.7.0")
    assert "gpaw_data" in named["PAW setups"].found
    assert all("\n" not in check.found + check.remedy for check in checks)
    assert all(check.remedy for check in checks if check.status is not Status.OK)
    assert list(tmp_path.iterdir()) == []


def test_gpaw_is_never_imported_here():
    question = (
        "import sys; from workflows.execution.doctor import run_checks; run_checks('memory://');"
        "print([name for name in ('gpaw', 'torch', 'ase') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_worst():
    ok, warn, fail = (Check("x", status, "") for status in (Status.OK, Status.WARN, Status.FAIL))
    assert worst([]) is Status.OK
    assert worst([ok, warn]) is Status.WARN
    assert worst([fail, ok, warn]) is Status.FAIL


def test_mongodb_that_holds_nothing_yet_is_fine():
    from tests.stores.mongo_server import MongoServer

    with MongoServer() as server:
        check = check_store(server.uri + "empty")
    assert check.status is Status.OK, check
    assert "0 surfaces" in check.found
