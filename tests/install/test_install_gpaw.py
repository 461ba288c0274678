from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from stores.errors import EngineError
from workflows.engines.install_gpaw import (
    MPI_LIBRARIES,
    MPI_PACKAGES,
    InstalledGpaw,
    Machine,
    apt_install,
    installed_gpaw,
    is_sufficient,
    links,
    look_at_machine,
    pinned_versions,
    plan_build,
)
from workflows.engines.pip_runner import environment_lock

ROOT = Path(__file__).resolve().parents[2]
PINS = {"gpaw": "26.7.0", "gpaw-data": "1.2.1"}
BARE_ROOT = Machine(
    can_apt=True,
    compiler=None,
    mpi_compiler=None,
    libraries=frozenset(),
    python_headers=False,
    python_dev="python3-dev",
)
BARE_USER = replace(BARE_ROOT, can_apt=False)
USER = replace(BARE_USER, compiler="g++", python_headers=True)
MPI_USER = replace(USER, mpi_compiler="mpicc", libraries=frozenset(MPI_LIBRARIES))
SERIAL = InstalledGpaw(version="26.7.0", setups_version="1.2.1", mpi=False, libxc=None, setups=("/setups",))


def settings(siteconfig: str) -> dict[str, object]:
    """Run a siteconfig as GPAW's setup.py does."""
    names: dict[str, object] = {}
    exec(siteconfig, names)
    return names


def test_root_gets_mpi_and_a_compiler_through_apt():
    build = plan_build(BARE_ROOT)
    assert build.mpi
    assert build.apt_packages == ("g++", "python3-dev", *MPI_PACKAGES)
    config = settings(build.siteconfig)
    assert (config["mpi"], config["compiler"], config["scalapack"]) == (True, "mpicc", True)
    assert config["libraries"] == ["xc", "fftw3", "openblas", "scalapack-openmpi"]


def test_user_with_mpi_parts_needs_no_apt():
    build = plan_build(MPI_USER)
    assert build.mpi
    assert build.apt_packages == ()


@pytest.mark.parametrize("library", MPI_LIBRARIES)
def test_user_lacking_one_part_gets_the_serial_build(library):
    build = plan_build(replace(MPI_USER, libraries=MPI_USER.libraries - {library}))
    assert not build.mpi
    assert build.apt_packages == ()


def test_serial_build_names_only_libraries_that_link():
    config = settings(plan_build(USER).siteconfig)
    assert (config["mpi"], config["compiler"], config["libraries"]) == (False, "g++", [])
    assert config["noblas"]
    assert config["nolibxc"]
    config = settings(plan_build(replace(USER, libraries=frozenset({"xc", "openblas", "blas"}))).siteconfig)
    assert config["libraries"] == ["xc", "openblas"]
    assert "noblas" not in config
    assert "nolibxc" not in config


def test_libxc_missing_does_not_cost_blas():
    config = settings(plan_build(replace(USER, libraries=frozenset({"blas"}))).siteconfig)
    assert config["libraries"] == ["blas"]
    assert "noblas" not in config
    assert config["nolibxc"]


def test_switch_asks_for_the_serial_build_even_of_root():
    build = plan_build(replace(BARE_ROOT, wants_mpi=False))
    assert not build.mpi
    assert build.apt_packages == ("g++", "python3-dev")


@pytest.mark.parametrize(
    ("machine", "line"),
    [
        (BARE_USER, "sudo apt-get install -y g++ python3-dev "),
        (
            replace(BARE_USER, compiler="g++", python_dev="python3.12-dev"),
            "sudo apt-get install -y python3.12-dev ",
        ),
        (replace(BARE_USER, python_headers=True), "sudo apt-get install -y g++ "),
    ],
)
def test_neither_compiler_nor_root_gives_the_line_to_type(machine, line):
    with pytest.raises(EngineError) as caught:
        plan_build(machine)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_serial_gpaw_suffices_only_where_mpi_is_impossible():
    assert is_sufficient(SERIAL, PINS, mpi_possible=False)
    assert not is_sufficient(SERIAL, PINS, mpi_possible=True)
    assert is_sufficient(replace(SERIAL, mpi=True), PINS, mpi_possible=True)


@pytest.mark.parametrize(
    "found",
    [
        None,
        replace(SERIAL, version="25.1.0"),
        replace(SERIAL, setups_version="1.0"),
        replace(SERIAL, setups=()),
    ],
)
def test_missing_other_or_incomplete_gpaw_does_not_suffice(found):
    assert not is_sufficient(found, PINS, mpi_possible=False)


def test_versions_come_from_pyproject():
    assert pinned_versions(ROOT / "pyproject.toml") == PINS


def test_linker_is_really_asked(monkeypatch, tmp_path):
    compiler = look_at_machine().compiler
    if compiler is None:
        pytest.skip("no C++ compiler here")
    library, source = tmp_path / "libmgsurfprobe.so", tmp_path / "empty.cpp"
    source.write_text("")
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    assert not links(compiler, "mgsurfprobe")
    monkeypatch.setenv("LIBRARY_PATH", str(tmp_path))
    assert links(compiler, "mgsurfprobe")


def test_without_compiler_and_apt_the_command_stops_with_one_line(tmp_path):
    # An environment without GPAW, and a PATH on which there is nothing.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    answer = subprocess.run(
        [str(python), "-m", "workflows.engines.install_gpaw"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == EngineError.exit_code
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("Error: GPAW has to be compiled, and a C++ compiler")
    assert "sudo apt-get install -y g++" in answer.stderr


# Installs only after its lists were read; then MPI's packages cannot be had at all if `broken` is there.
APT = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
  *" update") touch {folder}/lists; exit 0;;
  *) [ -e {folder}/lists ] && [ ! -e {folder}/broken ] && exit 0
     echo "E: Failed to fetch http://mirror/libxc9.deb  404  Not Found"; exit 100;;
esac
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text(APT.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: [line.split()[4] for line in (tmp_path / "calls").read_text().splitlines()]


def test_package_lists_that_are_too_old_are_read_anew_once(apt, tmp_path):
    with environment_lock(tmp_path) as lock:
        apt_install(MPI_PACKAGES, tmp_path / "log", lock)
        assert apt() == ["install", "update", "install"]
        apt_install(MPI_PACKAGES, tmp_path / "log", lock)
        assert apt() == ["install", "update", "install", "install"]
        (tmp_path / "broken").touch()
        with pytest.raises(EngineError, match=r"libxc9\.deb  404"):
            apt_install(MPI_PACKAGES, tmp_path / "log", lock)
    assert apt()[4:] == ["install", "update", "install"]


def test_build_dependencies_are_pinned_in_the_environment_that_pip_builds_in(tmp_path):
    """A module pip.py in the current folder takes the place of pip and writes down what it was given."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (tmp_path / "pip.py").write_text(
        "import os, sys, json\n"
        "names = ('PIP_CONSTRAINT', 'PIP_BUILD_CONSTRAINT', 'PIP_TARGET')\n"
        "json.dump([sys.argv[1:], [os.environ.get(n) for n in names]], open('asked.json', 'w'))\n"
    )
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "workflows.engines.install_packages", "dev"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PIP_TARGET": "/elsewhere"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    arguments, settings = json.loads((tmp_path / "asked.json").read_text())
    assert arguments[-2:] == ["-e", ".[dev]"]
    assert settings == ["constraints.txt", "constraints.txt", None]


@pytest.mark.gpaw
def test_installed_gpaw_is_left_alone():
    found = installed_gpaw()
    assert found is not None
    assert found.version == PINS["gpaw"]
    answer = subprocess.run(
        [sys.executable, "-m", "workflows.engines.install_gpaw"],
        cwd=ROOT,
        env={**os.environ, "MGSURF_GPAW_MPI": "1" if found.mpi else "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
