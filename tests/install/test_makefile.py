"""The Makefile's decisions, by real runs of make in a folder of its own with a PATH of its own.

The interpreters on that PATH are small shell scripts, so that old, broken and interrupted ones can be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sha256sum", "cut", "cat", "ls", "rm", "touch", "mkdir", "chmod", "cp", "make")

OLD = """#!/bin/bash
[[ "$2" == *version.split* ]] && { echo 3.9.2; exit 0; }
exit 1
"""
NO_VENV = """#!/bin/bash
[[ "$2" == *ensurepip* ]] && exit 1
[[ "$2" == *-venv* ]] && { echo python3.12-venv; exit 0; }
exit 0
"""
# Makes a virtual environment whose Python writes down what it is asked to do.
GOOD = """#!/bin/bash
[[ "$1" == --version ]] && { echo Python 3.12.0; exit 0; }
[[ "$1" == -m && "$2" == venv ]] || exit 0
[[ "$3" == --clear ]] && rm -rf "$4"
mkdir -p "$4/bin" "$4/lib/python3.12/site-packages/pip-1.dist-info"
touch "$4/lib/python3.12/site-packages/pip-1.dist-info/INSTALLER"
cp inner-python "$4/bin/python"
cp inner-python "$4/bin/mgsurf"
cp inner-python "$4/bin/lint-imports"
echo venv >> calls
"""
INNER = """#!/bin/bash
[[ "$1" == -c ]] && exit 0
echo "$@" >> calls
[[ -e break && "$*" == *install_packages* ]] && kill -9 $$
exit 0
"""


class Checkout:
    """A folder with the Makefile and interpreters of our making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            place = shutil.which(tool)
            assert place is not None, f"{tool} is needed for this test"
            (self.bin / tool).symlink_to(place)
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        self.program(folder / "inner-python", INNER)

    def program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        environment.pop("PYTHON", None)
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={**environment, "PATH": str(self.bin)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_too_old_python_says_what_was_found_and_how_to_name_another(checkout):
    checkout.program(checkout.bin / "python3", OLD)
    answer = checkout.make("quickstart")
    assert answer.returncode != 0
    line = answer.stderr.splitlines()[0]
    assert "needs Python 3.11 or newer" in line
    assert f"{checkout.bin}/python3 (3.9.2)" in line
    assert "make quickstart PYTHON=/path/to/python3.12" in line
    assert not (checkout.folder / ".venv").exists()


def test_newer_python_beside_an_old_one_is_taken(checkout):
    checkout.program(checkout.bin / "python3", OLD)
    checkout.program(checkout.bin / "python3.12", GOOD)
    assert checkout.make("quickstart").returncode == 0


def test_named_python_is_the_only_one_tried(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    checkout.program(checkout.bin / "elderly", OLD)
    answer = checkout.make("test", "PYTHON=elderly")
    assert answer.returncode != 0
    assert f"tried: {checkout.bin}/elderly (3.9.2)." in answer.stderr


def test_missing_python_is_said(checkout):
    answer = checkout.make("test", "PYTHON=/nowhere/python")
    assert answer.returncode != 0
    assert "/nowhere/python (not found)" in answer.stderr


@pytest.mark.parametrize(
    ("name", "package"), [("python3", "python3-venv"), ("python3.12", "python3.12-venv")]
)
def test_missing_venv_module_gives_the_apt_line(checkout, name, package):
    checkout.program(checkout.bin / name, NO_VENV)
    answer = checkout.make("quickstart")
    assert answer.returncode != 0
    assert f"sudo apt-get install -y {package} " in answer.stderr.splitlines()[0]


def test_quickstart_sets_up_and_runs_and_the_second_time_only_runs(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    run = "run examples/quickstart.yaml"
    assert checkout.make("quickstart").returncode == 0
    first = checkout.calls()
    assert first == [
        "venv",
        "-m workflows.engines.install_packages",
        "-m workflows.engines.install_gpaw",
        run,
    ]
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls() == [run]


def test_tests_install_the_extra_that_they_need_and_leave_out_the_slow_ones(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    checkout.make("quickstart")
    checkout.calls()
    assert checkout.make("test").returncode == 0
    calls = checkout.calls()
    assert calls[0] == "-m workflows.engines.install_packages dev"
    assert calls[-1].startswith("-m pytest -m not slow")
    assert len(calls) == 2
    checkout.make("test-all")
    assert all("not slow" not in call for call in checkout.calls())


def test_changed_pins_are_installed(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    checkout.make("setup")
    checkout.calls()
    with (checkout.folder / "constraints.txt").open("a") as file:
        file.write("# another\n")
    checkout.make("setup")
    assert "-m workflows.engines.install_packages dev" in checkout.calls()


def test_killed_installation_is_done_again(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    (checkout.folder / "break").touch()
    assert checkout.make("quickstart").returncode != 0
    assert checkout.calls() == ["venv", "-m workflows.engines.install_packages"]
    (checkout.folder / "break").unlink()
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls()[0] == "-m workflows.engines.install_packages"


def test_half_made_environment_is_made_anew(checkout):
    checkout.program(checkout.bin / "python3", GOOD)
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    (checkout.folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    assert checkout.make("venv").returncode == 0
    assert checkout.calls() == ["venv"]


NO_PIP = INNER.replace("[[", '[[ "$*" == *"import pip"* ]] && exit 1\n[[', 1)


@pytest.mark.parametrize("damage", ["dangling", "missing", "pip is broken"])
def test_environment_made_anew_is_filled_again(checkout, damage):
    """Its stamps were there when make looked, and went with the environment."""
    checkout.program(checkout.bin / "python3", GOOD)
    assert checkout.make("setup").returncode == 0
    assert checkout.make("quickstart").returncode == 0
    checkout.calls()
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    if damage == "dangling":
        python.symlink_to("/nowhere/python3")
    if damage == "pip is broken":
        checkout.program(python, NO_PIP)
    installed = ["venv", "-m workflows.engines.install_packages", "-m workflows.engines.install_gpaw"]
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls() == [*installed, "run examples/quickstart.yaml"]
    python.unlink()
    assert checkout.make("test").returncode == 0
    calls = checkout.calls()
    assert calls[:2] == ["venv", "-m workflows.engines.install_packages dev"]
    assert calls[2] == "-m workflows.engines.install_gpaw"
    assert calls[3].startswith("-m pytest")


def test_bare_make_shows_the_commands(checkout):
    answer = checkout.make()
    assert answer.returncode == 0
    assert "make quickstart" in answer.stdout
    assert "make test" in answer.stdout
