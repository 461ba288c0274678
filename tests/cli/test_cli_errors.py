"""Bad input through a real process: one clear line, no traceback, a status that is not 0."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import EngineError, InputError
from workflows.cli.app import ending

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def without_privileges():
    """Make file permissions hold for root too, from the next exec on."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
        libc.prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0)


def small_files():
    # above the 32 KiB that SQLite shares between readers, below any figure
    resource.setrlimit(resource.RLIMIT_FSIZE, (36_000, 36_000))


@pytest.fixture
def read_only_folder(tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


# stores


def test_store_that_is_not_sqlite(refused_here, tmp_path):
    (tmp_path / "notes.sqlite").write_text("these are notes, not a database\n" * 50)
    for command in ("query", "status"):
        assert "not an SQLite file" in refused_here(command, "--store", tmp_path / "notes.sqlite")


def test_store_of_a_newer_version(refused_here, filled, tmp_path):
    path = tmp_path / "newer.sqlite"
    shutil.copy(filled, path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=999")
    assert "newer" in refused_here("query", "--store", path)


def test_store_that_is_not_there(refused_here, tmp_path):
    assert "There is no store" in refused_here("query")
    assert "There is no store" in refused_here("status", "--store", tmp_path / "no.sqlite")
    assert not (tmp_path / "no.sqlite").exists()


def test_store_of_an_unknown_kind(refused_here):
    assert "no known form" in refused_here("query", "--store", "postgres://host/db")


def test_store_of_another_program(refused_here, tmp_path):
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    assert "belongs to another program" in refused_here("query", "--store", tmp_path / "other.sqlite")


# structures


def test_structures_that_no_slab_can_be_cut_from(refused, refused_here, tmp_path):
    disordered = Structure(Lattice.cubic(3.3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]])
    disordered.to(str(tmp_path / "disordered.cif"))
    Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.05, 0, 0]]).to(str(tmp_path / "close.json"))
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "nonsense.cif").write_text("data_\n_cell_length_a five\n")
    assert "disordered" in refused("slabs", "disordered.cif")
    assert "overlapping atoms" in refused_here("slabs", "close.json")
    assert "is empty" in refused_here("slabs", "empty.cif")
    assert "nonsense.cif" in refused_here("slabs", "nonsense.cif")
    assert "does not exist" in refused_here("slabs", "missing.cif")


# campaigns


def campaign(tmp_path, compounds):
    path = tmp_path / "campaign.yaml"
    path.write_text(f"name: test\ncompounds:\n{compounds}store: sqlite:///own.sqlite\n")
    return path


def test_run_notes_compounds_without_mg(mgsurf, tmp_path):
    path = campaign(tmp_path, "  - formula: NiAl\n    prototype: B2\n")
    done = mgsurf("run", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "AlNi (Al-rich)" in done.stdout and "no Mg intermetallic" in " ".join(done.stdout.split())
    assert "5 slabs of 1 compound" in done.stdout and "core-hours" in done.stdout
    assert not (tmp_path / "own.sqlite").exists()


def test_run_refuses_ternaries_which_slabs_accepts(refused, mgsurf, tmp_path):
    heusler = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.4), ["Mg", "Ag", "Al"], [[0, 0, 0], [0.25] * 3, [0.5, 0, 0]]
    )
    heusler.to(str(tmp_path / "heusler.cif"))
    assert "more than two elements" in refused("run", campaign(tmp_path, "  - file: heusler.cif\n"))
    done = mgsurf("slabs", "heusler.cif")
    assert done.returncode == 0
    assert "symmetric slabs of 3 planes" in done.stdout


def test_all_mistakes_of_a_campaign_file_are_told_by_every_command_that_reads_it(mgsurf, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text("name: a b\ncompunds:\n  - formula: Mg\nslabs:\n  vacuum: 3\n")
    for command in ("run", "status"):
        done = mgsurf(command, path)
        assert done.returncode == 2
        lines = done.stderr.splitlines()
        assert len(lines) == 3  # sources could stand in for the compounds
        assert all(line.startswith(f"mgsurf: {path}") for line in lines)
        assert f"{path}:2: compunds: unknown key; did you mean 'compounds'?" in done.stderr


# disks


def test_folder_that_cannot_be_written(refused, filled, read_only_folder):
    line = refused(
        "plot", "scatter", "--store", filled, "-o", read_only_folder / "a.png", code=74,
        preexec_fn=without_privileges,
    )  # fmt: skip
    assert str(read_only_folder) in line
    assert "permission denied" in line
    line = refused(
        "slabs", "--formula", "Mg", "--write", read_only_folder / "slabs", code=74,
        preexec_fn=without_privileges,
    )  # fmt: skip
    assert "permission denied" in line


def test_a_store_in_a_read_only_folder_can_be_read(mgsurf, filled, tmp_path, read_only_folder):
    read_only_folder.chmod(0o755)
    shutil.copy(filled, read_only_folder / "results.sqlite")
    read_only_folder.chmod(0o555)
    done = mgsurf(
        "query", "--store", read_only_folder / "results.sqlite", "--csv", preexec_fn=without_privileges
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9


def test_full_disk(mgsurf, filled, environment, tmp_path):
    command = [sys.executable, "-m", "workflows.cli.app", "query", "--store", str(filled), "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr == (
        "mgsurf: no space left on the disk; free some space and run the same command again\n"
    )


def test_file_that_grows_too_large(refused, filled, tmp_path):
    line = refused(
        "plot", "scatter", "--store", filled, "-o", "big.png", code=74, preexec_fn=small_files,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert "exceed the allowed size" in line
    assert list(tmp_path.iterdir()) == []
    line = refused(
        "export", "jsonl", "--store", filled, "-o", "all.jsonl", code=4, preexec_fn=small_files,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


# the way a command ends


def test_closed_pipe_is_quiet(filled, environment, tmp_path):
    command = (
        f"{sys.executable} -m workflows.cli.app query --store {filled} --json | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "141"


def test_ctrl_c_says_that_nothing_is_lost(environment, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "slabs", "--formula", "Mg17Al12", "--prototype", "A12",
         "--max-miller", "5"],
        env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for_library(process, "spglib")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output == ""
    assert errors == ("mgsurf: interrupted; what is finished is kept, the same command resumes there\n")


def wait_for_library(process, name):
    """Wait until a library is mapped by a process: it is well under way then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if name in Path(f"/proc/{process.pid}/maps").read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} was never loaded")


def test_a_fault_of_our_own_leaves_a_log_and_no_traceback(environment, filled, tmp_path):
    script = (
        "import workflows.cli.query as query, workflows.cli.app as app\n"
        "def broken(*arguments): raise RuntimeError('left is not right')\n"
        "query.select = broken\n"
        f"app.main(['query', '--store', {str(filled)!r}])\n"
    )
    for debug in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False,
            env={**environment, "TMPDIR": str(tmp_path), "MGSURF_DEBUG": debug},
        )  # fmt: skip
        assert done.returncode == 70
        assert "internal error, RuntimeError: left is not right; details in " in done.stderr
        assert ("Traceback" in done.stderr) == (debug == "1")
    log = next(tmp_path.glob("mgsurf-error-*.log")).read_text()
    assert "Traceback" in log
    assert "left is not right" in log


def test_unknown_command_and_missing_argument(refused_here):
    assert "did you mean 'query'" in refused_here("qeury").lower()
    assert "see mgsurf run --help" in refused_here("run")
    assert "see mgsurf plot --help" in refused_here("plot", "pie")


@pytest.mark.parametrize("group", ["", "models", "snapshot", "store"])
def test_a_group_without_a_command_says_so(refused_here, capsys, group):
    line = refused_here(*group.split())
    assert "no command" in line and f"see {' '.join(['mgsurf', *group.split()])} --help" in line
    assert "Usage: mgsurf" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("screen", "--dmu"),  # has a range
        ("screen", "--min-potential"),
        ("query", "--max-work-function"),
        ("train", "--train-fraction"),
        ("ablate", "--train-fraction"),  # may be repeated
    ],
)
def test_options_of_numbers_refuse_what_is_not_finite(refused_here, command, option, number):
    line = refused_here(command, f"{option}={number}")
    assert f"'{option}': '{number}' is no finite number; see mgsurf {command} --help" in line


def test_limits_of_rounds_are_finite(refused_here, tmp_path):
    (tmp_path / "campaign.yaml").write_text("name: c\n")
    for option in ("--error", "--sigma"):
        assert f"{option} work_function=nan: " in refused_here(
            "rounds", "campaign.yaml", option, "work_function=nan"
        )


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("a\nb"), 2, "a"),
        (EngineError("no mpirun"), 3, "no mpirun"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 74, "/data/x: no space left"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), 74, "read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 74, "permission denied"),
        (sqlite3.OperationalError("database is locked"), 74, "SQLite file failed: database is locked"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_kind_of_error_has_its_line_and_status(error, code, words):
    lines, found = ending(error)
    assert found == code
    assert words in lines[0]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ("slabs", "~nosuchuser/x.cif"),
        ("run", "~nosuchuser/campaign.yaml"),
        ("plot", "summary", "--output=~nosuchuser/x.png"),
        ("query", "--store", "~nosuchuser/x.sqlite"),
        ("models", "list", "--store=sqlite:///~nosuchuser/x.db"),
        ("ingest", "~nosuchuser/runs", "--dry-run"),
        ("export", "csv", "--output", "~nosuchuser/x.csv"),
        ("models", "add", "~nosuchuser/model"),
        ("store", "backup", "~nosuchuser/x.sqlite"),
        ("store", "restore", "~nosuchuser/x.sqlite"),
    ],
)
def test_the_home_of_a_user_that_does_not_exist(refused_here, arguments):
    assert "there is no user nosuchuser" in refused_here(*arguments)


def test_the_home_folder_in_an_option(tmp_path, monkeypatch, capsys):
    from workflows.cli.app import app

    monkeypatch.setenv("HOME", str(tmp_path))
    Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3]).to(str(tmp_path / "x.cif"))
    assert app(["slabs", "~/x.cif", "--miller", "100"], standalone_mode=False) == 0
    assert "Ag" in capsys.readouterr().out
