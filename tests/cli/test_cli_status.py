from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from stores.connections import open_store
from workflows.execution.running import read_running


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def status(mgsurf, *arguments, **options):
    done = mgsurf("status", *arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_counts(mgsurf, filled):
    state = status(mgsurf, "--store", filled)
    assert state["surfaces"] == 8
    assert state["compounds"] == ["Mg", "MgAg"]
    assert state["verdicts"] == {
        "surface_energy": {"accepted": 7, "failed": 1},
        "work_function": {"accepted": 6, "vacuum_not_flat": 1, "failed": 1},
    }
    assert state["calculations"]["slab_relax"] == {"ok": 1, "unconverged": 1, "failed": 1}
    assert sum(sum(row.values()) for row in state["calculations"].values()) == 7
    assert state["running"] is None
    assert [problem["status"] for problem in state["problems"]] == ["unconverged", "failed"]
    assert state["problems"][1]["reason"] == "mpirun ended with status 1"
    assert state["last_update"].endswith(("Z", "+00:00"))


def of_a_potential(record):
    mlip = record.method.model_copy(update={"engine": "mlip", "preset": "sevennet-0"})
    changes = {"id": f"mlip-{record.id}", "method": mlip, "method_fingerprint": mlip.fingerprint}
    return record.model_copy(update=changes)


def test_a_rehearsal_is_counted_apart(mgsurf, filled, records, tmp_path):
    alone = status(mgsurf, "--store", filled)
    assert alone["rehearsal"]["surfaces"] == 0
    both = tmp_path / "both.sqlite"
    both.write_bytes(filled.read_bytes())
    rehearsal = tmp_path / "rehearsal.sqlite"
    for path in (both, rehearsal):
        with open_store(f"sqlite:///{path}") as store:
            store.add(map(of_a_potential, [*records.quickstart_surfaces()[:3], *records.calculations()[:2]]))
    state = status(mgsurf, "--store", both)
    counted = ("surfaces", "compounds", "verdicts", "calculations")
    assert {name: state[name] for name in counted} == {name: alone[name] for name in counted}
    assert state["rehearsal"]["surfaces"] == 3 and state["rehearsal"]["compounds"] == ["MgAg"]
    assert state["rehearsal"]["calculations"]["bulk_relax"]["ok"] == 2
    assert status(mgsurf, "--store", rehearsal)["surfaces"] == 0

    shown = mgsurf("status", "--store", both, env={"COLUMNS": "80"}).stdout
    assert "8 of Mg, MgAg" in shown and "rehearsal    3 of MgAg" in shown
    alone = mgsurf("status", "--store", rehearsal, env={"COLUMNS": "80"}).stdout
    assert "surfaces" not in alone and "rehearsal    3 of MgAg" in alone


def test_words(mgsurf, filled):
    done = mgsurf("status", "--store", filled, env={"COLUMNS": "80"})
    assert "8 of Mg, MgAg" in done.stdout
    assert "6 accepted, 1 vacuum not flat, 1 failed" in done.stdout
    assert "failed  Mg (10-10) Mg-b slab relax: mpirun ended with status 1" in done.stdout
    assert "\x1b[" not in done.stdout


def test_a_campaign_names_store_and_working_folder(mgsurf, filled, tmp_path):
    (tmp_path / "runs").mkdir()
    state = {"pid": os.getpid(), "host": socket.gethostname(), "label": "MgAg (110) MgAg: slab relax"}
    (tmp_path / "runs" / "running.json").write_text(json.dumps(state))
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text(
        f"name: quickstart\ncompounds:\n  - formula: Mg\nstore: sqlite:///{filled}\nwork_dir: runs\n"
    )
    found = status(mgsurf, campaign)
    assert found["running"] == f"MgAg (110) MgAg: slab relax (process {os.getpid()})"
    assert found["surfaces"] == 8
    campaign.write_text(campaign.read_text().replace("quickstart", "another"))
    assert status(mgsurf, campaign)["surfaces"] == 0


def test_a_run_that_was_killed_is_not_running(tmp_path):
    dead = 4_194_304 + 1  # above the largest process number of Linux
    (tmp_path / "running.json").write_text(
        json.dumps({"pid": dead, "host": socket.gethostname(), "label": "x"})
    )
    assert read_running(tmp_path) is None
    (tmp_path / "running.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "label": "x"}))
    assert read_running(tmp_path).words == "x (on elsewhere, process 1)"
    (tmp_path / "running.json").write_text("{half")
    assert read_running(tmp_path) is None
    assert read_running(tmp_path / "nowhere") is None


def test_a_lock_file_that_contradicts_itself_is_named_with_and_without_a_store(tmp_path, monkeypatch, capfd):
    import pytest

    from stores.connections import open_store
    from stores.errors import MgsurfError
    from tests.flows.test_lock_file import campaign_with_lock, compound
    from workflows.cli.app import app

    monkeypatch.chdir(tmp_path)
    spoilt = {"sites": [("Mg", 0.0, 0.0, 0.0), ("Zn", 0.5, 0.5, 0.5)]}
    campaign_with_lock(tmp_path, 2, compound().model_copy(update=spoilt))
    command = ["status", "a.yaml", "--store", "s.sqlite"]
    with pytest.raises(MgsurfError) as raised:
        app(command, standalone_mode=False)
    first, second = str(raised.value).splitlines()
    assert "a.lock.json: MgAg B2" in first and "MgZn" in first and "s.sqlite" in second
    open_store("s.sqlite").close()
    assert app(command, standalone_mode=False) == 1
    assert "a.lock.json: MgAg B2" in capfd.readouterr().out


def test_watched_from_a_pipe_a_line_for_each_change_and_ctrl_c_ends_well(filled, tmp_path, environment):
    import shutil

    store = tmp_path / "w.sqlite"
    shutil.copy(filled, store)
    command = [sys.executable, "-m", "workflows.cli.app", "status", "--watch", "--every", "0.2"]
    with subprocess.Popen(
        [*command, "--store", str(store)],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        first = process.stdout.readline()
        with open_store(f"sqlite:///{store}") as opened:
            opened.remove({"formula": "Mg"})
        second = process.stdout.readline()
        store.rename(tmp_path / "away.sqlite")
        third = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert "8 surfaces; calculations: 5 ok, 1 unconverged, 1 failed; nothing runs" in first
    assert "surfaces; " in second and "8 surfaces" not in second
    assert "w.sqlite" in third and "Traceback" not in third
    assert (process.returncode, rest, errors) == (0, "", "")


def test_watched_on_a_terminal_the_table_is_drawn_in_place(filled, tmp_path, environment):
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "workflows.cli.app", "status", "--watch", "--every", "0.2"]
    process = subprocess.Popen(
        [*command, "--store", str(filled)], cwd=tmp_path, env={**environment, "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown, ended = b"", False
    # read to the end: a process whose terminal nobody reads stops when the terminal's buffer is full
    while read := _read_terminal(ours):
        shown += read
        if not ended and shown.count(b"Ctrl-C ends") >= 2:
            process.send_signal(signal.SIGINT)
            ended = True
    os.close(ours)
    assert process.wait(20) == 0
    assert b"slab relax" in shown and b"\x1b[1A" in shown  # moved up to draw again
    for drawn in shown.split(b"Ctrl-C ends")[:2]:
        assert drawn.count(b"last update") == drawn.count(b"unconverged\x1b[0m  \x1b") == 1
    assert b"Traceback" not in shown


def _read_terminal(terminal: int) -> bytes:
    """Return what was written since, nothing after the last writer closed it."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
