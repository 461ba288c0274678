from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path

import pytest

from stores.errors import EngineError
from workflows.engines.pip_runner import (
    clean_environment,
    environment_lock,
    explain,
    is_whole,
    one_line_errors,
    pip,
    remove_half_installed,
    run_logged,
)

ROOT = Path(__file__).resolve().parents[2]


def package(site: Path, name: str, *, leave_out: str = "") -> None:
    """Lay out an installed package, less one of its files."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (site / f"{name}.py").write_text("")
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "INSTALLER": "pip\n",
        "RECORD": f"{name}.py,,\n{name}.pyc,,\n{info.name}/METADATA,,\n",
    }
    for file, text in files.items():
        (info / file).write_text(text)
    if leave_out:
        next(path for path in (info / leave_out, site / leave_out) if path.exists()).unlink()


def test_half_installed_packages_are_taken_out_and_whole_ones_stay(tmp_path):
    package(tmp_path, "whole")
    package(tmp_path, "norecord", leave_out="RECORD")
    package(tmp_path, "noinstaller", leave_out="INSTALLER")
    package(tmp_path, "nomodule", leave_out="nomodule.py")
    (tmp_path / "~umpy").mkdir()
    (tmp_path / "~umpy" / "core.py").write_text("")
    removed = remove_half_installed(tmp_path)
    assert removed == ["noinstaller-1.0", "nomodule-1.0", "norecord-1.0"]
    assert [path.name for path in tmp_path.glob("*.dist-info")] == ["whole-1.0.dist-info"]
    assert not (tmp_path / "~umpy").exists()


def test_real_installation_counts_as_whole():
    site = Path(sysconfig.get_path("purelib"))
    assert [info.name for info in site.glob("*.dist-info") if not is_whole(info)] == []


def test_output_goes_to_the_log_and_one_line_to_the_user(tmp_path, capsys):
    log = tmp_path / "log" / "step.log"
    run_logged(["sh", "-c", "echo compiler noise; echo more >&2"], "Compiling", log, typical="1 s")
    assert capsys.readouterr().out == "Compiling (typically 1 s) ... done in 0 s\n"
    assert log.read_text() == "compiler noise\nmore\n"


def test_failure_names_cause_and_log(tmp_path):
    log = tmp_path / "step.log"
    with pytest.raises(
        EngineError, match=r"Compiling failed: error: no such header \(whole log: .*step.log\)"
    ):
        run_logged(
            ["sh", "-c", "echo a; echo 'error: no such header'; exit 3"], "Compiling", log, typical="1 s"
        )


def test_missing_program_is_one_line(tmp_path):
    with pytest.raises(EngineError, match="cannot start /nowhere/pip"):
        run_logged(["/nowhere/pip"], "Installing", tmp_path / "log", typical="1 s")


def test_pip_without_network_is_told_in_one_line(tmp_path):
    # Port 9 of this machine answers nobody; --isolated keeps the user's own pip settings out.
    command = pip(
        "--isolated", "download", "--retries", "1", "-i", "http://127.0.0.1:9/simple", "mgsurf-nothing"
    )
    environment = {key: value for key, value in clean_environment().items() if not key.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with pytest.raises(EngineError, match="Installing failed: no connection to the package server") as caught:
        run_logged(command, "Installing", tmp_path / "log", typical="1 s", environment=environment)
    assert "\n" not in str(caught.value)


def test_full_disk_is_recognised():
    text = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    assert "the disk is full" in explain(text, "Installing", Path("log"))


def test_interruption_says_how_to_go_on(capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert one_line_errors(interrupted) == 130
    assert "Type the same command again" in capsys.readouterr().err


def test_child_of_a_killed_set_up_keeps_the_lock_until_it_ends(tmp_path):
    # kill -9 leaves pip at work; a second set-up must not write into the same environment meanwhile.
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'ended')!r}).touch()"
    parent = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from workflows.engines.pip_runner import environment_lock, run_logged
        venv = Path({str(tmp_path)!r})
        with environment_lock(venv) as lock:
            command = [sys.executable, "-c", {child!r}]
            run_logged(command, "Working", venv / "log", typical="2 s", keep_open=[lock])
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.read(7) == "Working"
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    time.sleep(0.2)  # from the log's opening to the child's start
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "ended").exists()
    with environment_lock(tmp_path):
        assert (tmp_path / "ended").exists()
