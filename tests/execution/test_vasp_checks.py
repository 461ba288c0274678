"""The checks of `mgsurf doctor` for VASP."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.stand_in_vasp.potcars import write_potcars, write_wrong_potcar
from workflows.execution.doctor import (
    Status,
    _engine_checks,
    check_potcars,
    check_vasp_command,
    check_vasp_packages,
)

STAND_IN = shlex.join([sys.executable, str(Path(__file__).parents[1] / "stand_in_vasp" / "vasp_std")])


@pytest.fixture(autouse=True)
def nothing_set_up(monkeypatch):
    """A machine that knows nothing of VASP."""
    from pymatgen.core import SETTINGS

    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.delenv("MGSURF_VASP_CMD", raising=False)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)


def test_vasp_is_checked_when_named_or_set_up(monkeypatch):
    theirs = ["VASP packages", "VASP command", "POTCARs"]
    assert list(_engine_checks("vasp")) == theirs
    assert not set(theirs) & set(_engine_checks("gpaw"))
    monkeypatch.setenv("MGSURF_VASP_CMD", "vasp_std")
    assert list(_engine_checks("gpaw"))[-3:] == theirs


def test_nothing_set_up_has_a_remedy(monkeypatch):
    assert check_vasp_packages().status is Status.OK
    monkeypatch.setenv("MGSURF_VASP_CMD", "no_such_vasp")
    command, potcars = check_vasp_command(), check_potcars()
    assert command.status is Status.FAIL and "'no_such_vasp' is no program" in command.found
    assert "MGSURF_VASP_CMD" in command.remedy
    assert potcars.status is Status.FAIL and "no folder of POTCARs is set" in potcars.found
    assert "PMG_VASP_PSP_DIR" in potcars.remedy


def test_all_there(monkeypatch, tmp_path):
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(write_potcars(tmp_path)))
    monkeypatch.setenv("MGSURF_VASP_CMD", STAND_IN)
    command, potcars = check_vasp_command(), check_potcars()
    assert command.status is Status.OK and "vasp_std" in command.found
    assert potcars.status is Status.OK and "PAW_PBE Mg_pv" in potcars.found


def test_a_wrong_potcar_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(write_potcars(tmp_path, ["Mg_pv"])))
    write_wrong_potcar(tmp_path, "Ag", element="Pd")
    found = check_potcars()
    assert found.status is Status.WARN and "unusable: Ag" in found.found
