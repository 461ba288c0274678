"""Starting and ending the worker, with small programs in the worker's place."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflows.engines.gpaw import process as gpaw_process
from workflows.engines.gpaw.process import run_worker

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


def test_a_kill_while_going_on_loses_no_geometry(worker):
    folder = worker("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    last = {"task_hash": "abc", "status": "unconverged", "max_force": 0.3, "positions": [[0, 0, 1]]}
    (folder / "output.json").write_text(json.dumps(last))
    (folder / "input.json").write_text(json.dumps(TASK))
    for _ in range(2):
        assert run_worker(folder, TASK, 1)["status"] == "failed"
        assert json.loads((folder / "input.json").read_text())["start_positions"] == [[0, 0, 1]]
    other = {**TASK, "task_hash": "other"}
    run_worker(folder, other, 1)
    assert json.loads((folder / "input.json").read_text()) == other


def test_the_new_input_is_written_before_the_old_answer_goes(worker, monkeypatch):
    last = {"task_hash": "abc", "status": "unconverged", "max_force": 0.3, "positions": [[0, 0, 1]]}
    folder = worker(ANSWERS)
    (folder / "output.json").write_text(json.dumps(last))
    (folder / "input.json").write_text(json.dumps(TASK))
    unlink = Path.unlink

    def killed(path, missing_ok=False):
        if path.name == "output.json":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        run_worker(folder, TASK, 1)
    assert json.loads((folder / "input.json").read_text())["start_positions"] == [[0, 0, 1]]
    assert json.loads((folder / "output.json").read_text()) == last


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
    assert "starting again without MPI" in caplog.text


@pytest.fixture
def mpirun(tmp_path, monkeypatch):
    """Put a shell script in mpirun's place, for a GPAW with MPI."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpaw_process, "gpaw_has_mpi", lambda: True)

    def write(text):
        program = tmp_path / "mpirun"
        program.write_text(f"#!/bin/sh\n[ $1 = --version ] && exit\n{text}\n")
        program.chmod(0o755)

    return write


NOT_STARTED = "echo 'prterun: mpirun was unable to launch' >&2; exit 1"


@pytest.mark.parametrize(
    "before",
    [
        "echo 'prterun noticed that process rank 0 exited' >&2; exit 1",
        "touch worker.started",
        "echo 'MemoryError: no memory' > error-1.txt",
    ],
)
def test_a_crash_under_mpi_is_not_repeated_serially(worker, mpirun, before):
    mpirun(f"{before}; {NOT_STARTED}")
    answer = run_worker(worker(ANSWERS), TASK, 2)
    assert answer["status"] == "failed"


def test_an_answer_counts_even_if_mpirun_ends_badly(worker, mpirun):
    done = json.dumps({"task_hash": "abc", "status": "ok", "ran": 7})
    mpirun(f"echo '{done}' > output.json; {NOT_STARTED}")
    assert run_worker(worker(ANSWERS), TASK, 2)["ran"] == 7


def test_the_mpirun_of_another_mpi_falls_back_to_serial(worker, mpirun, caplog):
    mpirun("touch worker.started worker.other-mpi; exit 1")
    folder = worker(ANSWERS)
    assert run_worker(folder, TASK, 2)["status"] == "ok"
    assert "another MPI library than GPAW (" in caplog.text


def test_the_number_of_ranks_reaches_the_worker(worker, mpirun):
    mpirun("echo $MGSURF_WORKER_RANKS > ranks")
    folder = worker(ANSWERS)
    run_worker(folder, TASK, 3)
    assert (folder / "ranks").read_text() == "3\n"


@pytest.mark.gpaw
@pytest.mark.skipif(importlib.util.find_spec("gpaw") is None, reason="GPAW is not installed")
def test_the_worker_stops_before_it_writes_if_ranks_are_missing(tmp_path):
    (tmp_path / "input.json").write_text(json.dumps(TASK))
    ended = subprocess.run(
        [sys.executable, "-P", str(gpaw_process.WORKER)],
        cwd=tmp_path,
        env={**os.environ, "MGSURF_WORKER_RANKS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "2 MPI ranks were requested, GPAW sees 1" in ended.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"input.json", "worker.started", "worker.other-mpi"}


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
    # Where the tests run in a shell's background, SIGINT is ignored, and processes inherit that.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from pathlib import Path; from workflows.engines.gpaw import process as p\n"
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


def test_a_worker_whose_parent_was_killed_keeps_the_next_one_out(worker, tmp_path, caplog):
    folder = worker(
        "import time; open('begun', 'w').close(); time.sleep(2); open('journal.jsonl', 'w').write('late')"
    )
    script = (
        "from pathlib import Path; from workflows.engines.gpaw import process as p\n"
        f"p.WORKER = Path({str(tmp_path / 'worker.py')!r})\n"
        f"p.run_worker(Path({str(folder)!r}), {TASK!r}, 1)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    wait_for(lambda: (folder / "begun").exists())
    parent.kill()
    parent.wait()
    worker("assert open('journal.jsonl').read() == 'late'\n" + ANSWERS)
    assert run_worker(folder, TASK, 1)["status"] == "ok"
    assert "waiting until the worker of an earlier run" in caplog.text


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
