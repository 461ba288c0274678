from __future__ import annotations

import stat

import pytest

from stores.errors import InputError
from workflows.engines.gpaw import process as mpi


@pytest.fixture
def open_mpi(tmp_path):
    program = tmp_path / "mpirun"
    program.write_text("#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(program)


def test_open_mpi_oversubscribes_only_when_slots_are_short(open_mpi):
    few = mpi.mpirun_command(open_mpi, 1)
    many = mpi.mpirun_command(open_mpi, mpi.physical_cores() + 1)
    assert "--oversubscribe" not in few
    assert "--oversubscribe" in many
    assert few[:3] == [open_mpi, "-n", "1"]


def test_another_mpi_gets_no_options_of_open_mpi(tmp_path):
    program = tmp_path / "mpirun"
    program.write_text("#!/bin/sh\necho 'HYDRA build details'\n")
    program.chmod(0o755)
    assert mpi.mpirun_command(str(program), 64) == [str(program), "-n", "64"]


def test_root_is_told_to_open_mpi_and_threads_are_off(monkeypatch):
    monkeypatch.setattr(mpi.os, "geteuid", lambda: 0)
    environment = mpi.mpi_environment({"PATH": "/bin", "OMP_NUM_THREADS": "8"})
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["OMPI_ALLOW_RUN_AS_ROOT"] == environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] == "1"
    monkeypatch.setattr(mpi.os, "geteuid", lambda: 1000)
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in mpi.mpi_environment({})


def test_ranks_are_limited_by_cores_k_points_and_the_environment(monkeypatch):
    monkeypatch.delenv("MGSURF_RANKS", raising=False)
    monkeypatch.setattr(mpi, "physical_cores", lambda: 16)
    assert mpi.default_ranks(50) == 16
    assert mpi.default_ranks(3) == 3
    monkeypatch.setenv("MGSURF_RANKS", "4")
    assert mpi.default_ranks(50) == 4
    monkeypatch.setenv("MGSURF_RANKS", "all")
    with pytest.raises(InputError, match="ranks"):
        mpi.default_ranks(50)
