"""The Makefile's decisions, by real runs of make in a folder of its own with a PATH of its own.

The interpreters on that PATH are small shell scripts, so that old, broken and interrupted ones can be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflows.execution.doctor import MPI_PACKAGES

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "sha256sum", "cut", "cat", "ls", "rm", "touch", "mkdir", "chmod", "cp", "make", "flock", "grep", "tail",
    "sed", "readlink", "paste",
)  # fmt: skip

OLD = """#!/bin/bash
[[ "$2" == *version.split* ]] && { echo 3.9.2; exit 0; }
exit 1
"""
NO_VENV = """#!/bin/bash
[[ "$2" == *ensurepip* ]] && exit 1
[[ "$2" == *-venv* ]] && { echo python3.12-venv; exit 0; }
exit 0
"""
# Makes a virtual environment whose Python writes down what it is called with.
GOOD = """#!/bin/bash
[[ "$1" == --version ]] && { echo Python 3.12.0; exit 0; }
[[ "$1" == -m && "$2" == venv ]] || exit 0
[[ "$3" == --clear ]] && rm -rf "$4"
mkdir -p "$4/bin" "$4/lib/python3.12/site-packages/pip-1.dist-info"
touch "$4/lib/python3.12/site-packages/pip-1.dist-info/INSTALLER"
for name in python mgsurf lint-imports; do cp inner-python "$4/bin/$name"; done
echo venv >> calls
"""
# `gpaw` holds what the environment's GPAW reports, `pip_says` how pip fails, `python_h` the headers.
INNER = """#!/bin/bash
[[ "$*" == *"import gpaw"* ]] && { [[ -e gpaw ]] && cat gpaw; exit; }
[[ "$*" == *get_path* ]] && { echo include; exit 0; }
[[ "$*" == *-dev* ]] && { echo python3.12-dev; exit 0; }
[[ "$*" == *importlib.metadata* && -e repair_with ]] && exec "$(cat repair_with)" "$@"
[[ "$*" == *-c* ]] && [[ "$1" != -m ]] && exit 0
line="$*"; echo "${line/--disable-pip-version-check --no-input /}" >> calls
[[ "$*" == *pip* && -e killed ]] && kill -9 $PPID $$
[[ "$*" == *pip* && -e interrupted ]] && kill -INT 0
[[ "$*" == *pip* && -e pip_says ]] && { cat pip_says; exit 1; }
[[ "$*" == *"dir gpaw"* ]] && { cat "$GPAW_CONFIG" > siteconfig; echo "$PIP_BUILD_CONSTRAINT" >> calls
  grep -q "mpi = True" "$GPAW_CONFIG" && how=with || how=without; echo "26.7.0 1.2.1 $how MPI" > gpaw; }
exit 0
"""
BASE, DEV = "-m pip install -e .", "-m pip install -e .[dev]"
DATA, GPAW = "-m pip install gpaw-data", "-m pip install --force-reinstall --no-deps --no-cache-dir gpaw"
BUILD = [DATA, GPAW, "constraints.txt"]
RUN = "run examples/quickstart.yaml"
SUDO = "sudo " if os.geteuid() else ""


class Checkout:
    """A folder with the Makefile and interpreters of our making; a C++ compiler that finds no library."""

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
        self.program(self.bin / "g++", '#!/bin/bash\n[[ "$*" == *-l* ]] && exit 1\nexit 0\n')
        (folder / "include").mkdir()
        (folder / "include" / "Python.h").touch()

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
            start_new_session=True,
            check=False,
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.program(made.bin / "python3", GOOD)
    return made


@pytest.mark.parametrize(
    ("programs", "arguments", "words"),
    [
        ({"python3": OLD}, [], ["3.11 or newer", "python3 (3.9.2)", "PYTHON=/path/to/python3.12"]),
        ({"python3": GOOD, "elderly": OLD}, ["PYTHON=elderly"], ["elderly (3.9.2)."]),
        ({"python3": GOOD}, ["PYTHON=/nowhere/python"], ["/nowhere/python (not found)"]),
        ({"python3": NO_VENV}, [], [f" {SUDO}apt-get install -y python3-venv "]),
        ({"python3": OLD, "python3.12": NO_VENV}, [], [f" {SUDO}apt-get install -y python3.12-venv "]),
    ],
)
def test_no_usable_python_is_one_line_with_the_remedy(checkout, programs, arguments, words):
    for name, text in programs.items():
        checkout.program(checkout.bin / name, text)
    answer = checkout.make("quickstart", *arguments)
    assert answer.returncode != 0
    assert all(word in answer.stderr.splitlines()[0] for word in words), answer.stderr
    assert not (checkout.folder / ".venv").exists()


def test_quickstart_then_tests_each_installed_once(checkout):
    checkout.program(checkout.bin / "python3", OLD)
    checkout.program(checkout.bin / "python3.12", GOOD)
    answer = checkout.make("quickstart")
    assert answer.returncode == 0, answer.stderr
    assert checkout.calls() == ["venv", BASE, *BUILD, RUN]
    assert "GPAW 26.7.0 without MPI is ready." in answer.stdout
    assert (
        checkout.make("quickstart", "MGSURF_GPAW_MPI=0").returncode,
        checkout.calls(),
    ) == (0, [RUN])
    assert checkout.make("test").returncode == 0
    installed, tests = checkout.calls()
    assert installed == DEV
    assert tests.startswith("-m pytest -m not slow")
    checkout.make("test-all")
    assert "not slow" not in "".join(checkout.calls())
    with (checkout.folder / "constraints.txt").open("a") as file:
        file.write("# another\n")
    checkout.make("setup")
    assert checkout.calls() == [DEV], "changed pins are installed; GPAW is the pinned one already"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("WARNING: NewConnectionError\nERROR: No matching distribution", "Check the network"),
        ("E: Temporary failure resolving 'deb.debian.org'", "Check the network"),
        ("ERROR: [Errno 28] No space left on device", "the disk is full"),
        ("Collecting a\nERROR: a and b do not agree\nnote", "failed: ERROR: a and b do not agree (log: "),
        ("fell silent", "failed: fell silent (log: .venv/log/packages.log)"),
    ],
)
def test_failure_of_pip_is_one_line_and_repeated_by_the_same_command(checkout, says, words):
    (checkout.folder / "pip_says").write_text(says + "\n")
    answer = checkout.make("quickstart")
    assert answer.returncode != 0
    assert words in answer.stderr.splitlines()[0]
    (checkout.folder / "pip_says").unlink()
    checkout.calls()
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls() == [BASE, *BUILD, RUN]


def test_ctrl_c_is_one_line_and_the_same_command_repeats_the_step(checkout):
    (checkout.folder / "interrupted").touch()
    answer = checkout.make("quickstart")
    assert answer.returncode != 0
    assert "Interrupted. Type the same command again." in answer.stderr
    (checkout.folder / "interrupted").unlink()
    checkout.calls()
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls() == [BASE, *BUILD, RUN]


def test_killed_installation_is_repeated_and_its_half_packages_go(checkout):
    (checkout.folder / "killed").touch()
    assert checkout.make("quickstart").returncode != 0
    assert checkout.calls() == ["venv", BASE]
    (checkout.folder / "killed").unlink()
    (checkout.folder / "repair_with").write_text(sys.executable)
    site = checkout.folder / ".venv" / "lib" / "python3.12" / "site-packages"
    for name, left_out in {
        "whole": "",
        "norecord": "RECORD",
        "noinstaller": "INSTALLER",
        "empty": "empty.py",
    }.items():
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        record = f"{name}.py,,\n{name}.pyc,,\n{info.name}/METADATA,,\n"
        for file, text in {"METADATA": "Name: x", "INSTALLER": "pip", "RECORD": record}.items():
            (info / file).write_text(text)
        (site / f"{name}.py").touch()
        (info / left_out if left_out.isupper() else site / f"{left_out}").unlink() if left_out else None
    (site / "~umpy").mkdir()
    (site / "~file").touch()
    answer = checkout.make("quickstart")
    assert answer.returncode == 0, answer.stderr
    assert checkout.calls() == [BASE, *BUILD, RUN]
    assert [path.name for path in site.glob("*-1.0.dist-info")] == ["whole-1.0.dist-info"]
    assert answer.stdout.count("Repairing") >= 3
    assert not list(site.glob("~*"))


@pytest.mark.parametrize("damage", ["dangling", "missing", "pip is broken"])
def test_broken_environment_is_replaced_and_filled_again(checkout, damage):
    """Its stamps were there when make looked, and went with the environment."""
    assert checkout.make("setup").returncode == 0
    checkout.calls()
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    if damage == "dangling":
        python.symlink_to("/nowhere/python3")
    if damage == "pip is broken":
        checkout.program(python, INNER.replace("[[", '[[ "$*" == *"import pip"* ]] && exit 1\n[[', 1))
    assert checkout.make("quickstart").returncode == 0
    assert checkout.calls()[:2] == ["venv", BASE]


def test_mpi_is_built_where_its_parts_are_and_not_where_it_is_declined(checkout):
    for name in ("mpicc", "mpirun"):
        checkout.program(checkout.bin / name, "#!/bin/bash\nexit 0\n")
    assert checkout.make("gpaw", "MGSURF_GPAW_MPI=0").returncode == 0
    assert "mpi = False" in (checkout.folder / "siteconfig").read_text()
    checkout.calls()
    answer = checkout.make("gpaw")
    assert "with MPI" in answer.stdout
    names: dict[str, object] = {}
    exec((checkout.folder / "siteconfig").read_text(), names)
    assert (names["mpi"], names["compiler"], names["scalapack"]) == (True, "mpicc", True)
    assert names["libraries"] == ["xc", "fftw3", "openblas", "scalapack-openmpi"]
    checkout.calls()
    assert (checkout.make("gpaw").returncode, checkout.calls()) == (0, [])


@pytest.mark.parametrize(
    ("linkable", "libraries", "no_libxc", "no_blas"),
    [
        ("none", [], True, True),
        ("xc openblas blas", ["xc", "openblas"], False, False),
        ("blas", ["blas"], True, False),
        ("xc", ["xc"], False, True),
    ],
)
def test_serial_build_names_only_libraries_that_link(checkout, linkable, libraries, no_libxc, no_blas):
    found = " || ".join(f'"$*" == *-l{name}' for name in linkable.split())
    checkout.program(checkout.bin / "g++", f"#!/bin/bash\n[[ {found} ]]\n")
    assert checkout.make("gpaw").returncode == 0
    names: dict[str, object] = {}
    exec((checkout.folder / "siteconfig").read_text(), names)
    assert (names["mpi"], names["libraries"]) == (False, libraries)
    assert (names["nolibxc"], names["noblas"]) == (no_libxc, no_blas)


@pytest.mark.parametrize(
    ("missing", "packages"),
    [(("g++",), "g++"), (("headers",), "python3.12-dev"), (("g++", "headers"), "g++ python3.12-dev")],
)
def test_what_compiling_needs_is_one_line_with_the_remedy(checkout, missing, packages):
    if "g++" in missing:
        (checkout.bin / "g++").unlink()
    if "headers" in missing:
        (checkout.folder / "include" / "Python.h").unlink()
    answer = checkout.make("quickstart")
    assert answer.returncode != 0
    assert f" {SUDO}apt-get install -y {packages} " in answer.stderr.splitlines()[0]


# Installs only after its lists were read, and nothing of MPI where `no_mpi` is.
APT = """#!/bin/bash
[[ "$0" == *apt-get ]] || exit 0  # copied as one of the programs that it installs
echo "apt ${*:5}" >> calls
if [[ "$5" == update ]]; then touch lists; exit 0; fi
if [[ ! -e lists ]] || [[ -e no_mpi && "$*" == *openmpi* ]]; then
  echo "E: libxc9.deb  404  Not Found"; exit 100
fi
[[ "$*" != *openmpi* ]] || for name in mpicc mpirun; do cp bin/apt-get bin/$name; done
[[ "$*" != *g++* ]] || cp bin/apt-get bin/g++
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs with apt")
@pytest.mark.parametrize("mpi", ["to be had", "not to be had", "not wanted"])
def test_root_installs_with_apt_what_is_missing(checkout, mpi):
    checkout.program(checkout.bin / "apt-get", APT)
    (checkout.bin / "g++").unlink()
    if mpi == "not to be had":
        (checkout.folder / "no_mpi").touch()
    answer = checkout.make("gpaw", f"MGSURF_GPAW_MPI={int(mpi != 'not wanted')}")
    assert answer.returncode == 0, answer.stderr
    requested = [call for call in checkout.calls() if call.startswith("apt ")]
    compiler = "apt install --no-install-recommends g++"
    everything = " ".join([compiler, *MPI_PACKAGES])
    assert (
        requested
        == {
            "to be had": [everything, "apt update", everything],
            "not to be had": [everything, "apt update", everything, compiler],
            "not wanted": [compiler, "apt update", compiler],
        }[mpi]
    )
    assert ("with MPI is ready" in answer.stdout) == (mpi == "to be had")
    if mpi == "not to be had":
        assert all(word in answer.stderr for word in ("WARNING", "libxc9.deb  404", "make gpaw"))
    else:
        assert answer.stderr == ""


def test_doctor_names_the_packages_that_make_installs():
    assert f"MPI_APT := {' '.join(MPI_PACKAGES)}\n" in (ROOT / "Makefile").read_text()


def test_bare_make_shows_the_commands(checkout):
    answer = checkout.make()
    assert answer.returncode == 0
    assert "make quickstart" in answer.stdout
    assert "make test" in answer.stdout
