from __future__ import annotations

import json

import pytest


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def test_doctor_fails_and_names_the_remedy_of_a_store(mgsurf, tmp_path):
    (tmp_path / "notes.sqlite").write_text("no database\n" * 100)
    done = mgsurf("doctor", "--store", tmp_path / "notes.sqlite", "--json")
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["store"]["status"] == "fail"
    assert "not an SQLite file" in checks["store"]["found"]
    assert checks["store"]["mend"]
    assert checks["Python"]["status"] == "ok"


def test_doctor_shows_a_table(mgsurf, filled):
    done = mgsurf("doctor", "--store", filled, env={"COLUMNS": "80"})
    assert done.returncode in (0, 1)  # an engine may be missing here
    assert "8 surfaces" in done.stdout
    assert done.stderr == ""
    assert "\x1b[" not in done.stdout


def test_doctor_of_an_unconfigured_vasp_names_what_to_set(mgsurf):
    unset = {"PMG_VASP_PSP_DIR": "", "MGSURF_VASP_CMD": ""}
    done = mgsurf("doctor", "--engine", "vasp", "--json", env=unset)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    failed = {name for name, check in checks.items() if check["status"] == "fail"}
    assert failed == {"VASP command", "POTCARs"}
    assert "MGSURF_VASP_CMD" in checks["VASP command"]["mend"]
    assert "PMG_VASP_PSP_DIR" in checks["POTCARs"]["mend"]
