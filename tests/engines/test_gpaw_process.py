"""Starting and ending the worker, with small programs in the worker's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflows.engines import gpaw_process
from workflows.engines.gpaw_process import run_worker

TASK = {"task_hash": "abc", "kind": "slab_relax"}
ANSWERS = (
    "import json; open('output.json', 'w').write(json.dumps({'task_hash': 'abc', 'status': 'ok', 'ran': 1}))"
)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Put a program in the worker's place; without MPI."""
    path = tmp_path / "worker.py"
    monkeypatch.setattr(gpaw_process, "WORKER", path)

    def write(text):
        path.write_text(text)
        folder = tmp_path / "calculation"
        folder.mkdir(exist_ok=True)
        return folder

    return write


def test_a_finished_answer_is_not_computed_again(worker):
    folder = worker(ANSWERS)
    assert run_worker(folder, TASK, 1)["ran"] == 1
    worker("raise SystemExit(3)")
    assert run_worker(folder, TASK, 1)["ran"] == 1


def test_the_answer_and_journal_of_another_task_are_not_taken(worker):
    folder = worker(ANSWERS)
    run_worker(folder, TASK, 1)
    (folder / "journal.jsonl").write_text("{}")
    worker("raise SystemExit(3)")
    assert run_worker(folder, {**TASK, "task_hash": "other"}, 1)["status"] == "failed"
    assert not (folder / "journal.jsonl").exists()


def test_the_journal_of_the_same_task_stays(worker):
    folder = worker("raise SystemExit(3)")
    run_worker(folder, TASK, 1)
    (folder / "journal.jsonl").write_text("{}")
    run_worker(folder, TASK, 1)
    assert (folder / "journal.jsonl").exists()


def test_reaching_the_step_limit_goes_on_from_the_last_geometry(worker):
    last = {"task_hash": "abc", "status": "unconverged", "max_force": 0.3, "positions": [[0, 0, 1]]}
    folder = worker(ANSWERS)
    (folder / "output.json").write_text(json.dumps(last))
    (folder / "input.json").write_text(json.dumps(TASK))
    assert run_worker(folder, TASK, 1)["status"] == "ok"
    assert json.loads((folder / "input.json").read_text())["start_positions"] == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('two atoms\\n at one place')", "ValueError: two atoms"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "ended by SIGKILL, out of memory perhaps",
        ),
        ("import sys; sys.exit('no room left')", "status 1: no room left"),
        ("open('error-0.txt', 'w').write('OSError: disk full'); 1/0", "gpaw: OSError: disk full"),
    ],
)
def test_a_crash_is_a_failed_answer_with_one_line(worker, program, reason):
    folder = worker(program)
    answer = run_worker(folder, TASK, 1)
    assert answer["status"] == "failed"
    assert reason in answer["reason"]
    assert "\n" not in answer["reason"]
    assert "Traceback" not in answer["reason"]
    assert str(folder / "worker.err") in answer["reason"]


def test_mpi_that_does_not_start_falls_back_to_serial(worker, tmp_path, monkeypatch, caplog):
    program = tmp_path / "mpirun"
    program.write_text("#!/bin/sh\necho 'There are not enough slots available' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpaw_process, "gpaw_has_mpi", lambda: True)
    folder = worker(ANSWERS)
    assert run_worker(folder, TASK, 2)["status"] == "ok"
    assert "going on without MPI" in caplog.text


def test_without_an_mpi_build_mpirun_is_not_called(worker, tmp_path, monkeypatch):
    program = tmp_path / "mpirun"
    program.write_text("#!/bin/sh\ntouch called\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpaw_process, "gpaw_has_mpi", lambda: False)
    folder = worker(ANSWERS)
    assert run_worker(folder, TASK, 2)["status"] == "ok"
    assert not (folder / "called").exists()


def test_ctrl_c_ends_the_worker_and_its_children(worker, tmp_path):
    # The worker ignores the polite signal, and so does its child: both must be killed.
    folder = worker(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'])\n"
        "open('pids.part', 'w').write(f'{__import__(\"os\").getpid()} {child.pid}')\n"
        "__import__('os').replace('pids.part', 'pids')\n"
        "time.sleep(60)\n"
    )
    script = (
        "import sys; from pathlib import Path; from workflows.engines import gpaw_process as p\n"
        f"p.WORKER = Path({str(tmp_path / 'worker.py')!r}); p.SECONDS_TO_END = 0.5\n"
        f"p.run_worker(Path({str(folder)!r}), {TASK!r}, 1)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (folder / "pids").exists())
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
