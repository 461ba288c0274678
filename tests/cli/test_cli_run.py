from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from stores.connections import open_store

CAMPAIGN = """\
name: kill-test
compounds:
  - formula: Mg
    facets: ["(0001)"]
  - formula: MgAg
    prototype: B2
engine:
  name: tests.engines.pair_engine:PairEngine
  options: {{log: {log}, delay: {delay}{more}}}
store: sqlite:///results.sqlite
work_dir: runs
"""

N_SURFACES = 6


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture
def campaign(tmp_path):
    def write(delay=0.0, more=""):
        path = tmp_path / "campaign.yaml"
        path.write_text(CAMPAIGN.format(log=tmp_path / "engine.log", delay=delay, more=more))
        return path

    return write


@pytest.fixture
def start(tmp_path, environment):
    """Start `mgsurf run` in a process group of its own."""
    processes = []

    def begin(path):
        process = subprocess.Popen(
            [sys.executable, "-m", "workflows.cli.app", "run", str(path)],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def executed(folder):
    log = folder / "engine.log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def wait_for_calculations(folder, n, process):
    """Wait until the engine has finished n calculations."""
    for _ in range(600):
        if sum(executed(folder).values()) >= n:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("the run did not get so far in a minute")


def stored(folder):
    with open_store(f"sqlite:///{folder / 'results.sqlite'}") as store:
        calculations = {c["id"] for c in store.collection("calculations").query({}, ["id"])}
        return store.count(), calculations


def test_the_end_of_a_run_is_notified_and_a_failing_hook_harms_nothing(campaign, mgsurf, tmp_path):
    path = campaign()
    text = path.read_text().replace("  - formula: MgAg\n    prototype: B2\n", "")
    command = [sys.executable, "-c", "import sys; open('mail', 'w').write(sys.stdin.read())"]
    path.write_text(f"{text}notify: {{command: {json.dumps(command)}, webhook: $MGSURF_NO_HOOK}}\n")
    done = mgsurf("run", path, "--quiet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mail").read_text().startswith("mgsurf, kill-test: ended: 1 surface; ")
    (line,) = done.stderr.strip().splitlines()
    assert "$MGSURF_NO_HOOK" in line and "set it" in line


def test_run_prints_table_picture_and_store(campaign, mgsurf, tmp_path):
    done = mgsurf("run", campaign())
    assert done.returncode == 0, done.stderr
    assert "MgAg" in done.stdout
    assert "(0001)" in done.stdout
    assert "results.sqlite" in done.stdout
    picture = tmp_path / "runs" / "kill-test.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    assert not (tmp_path / "runs" / "running.json").exists()

    rows = json.loads(mgsurf("query", "--store", "results.sqlite", "--json").stdout)
    assert len(rows) == N_SURFACES
    for row in rows:
        assert row["verdicts"]["surface_energy"]["status"] == "accepted"

    again = mgsurf("run", campaign())
    assert again.returncode == 0
    assert "0 calculations run" in again.stdout
    assert set(executed(tmp_path).values()) == {1}


def test_dry_run_computes_nothing(campaign, mgsurf, tmp_path):
    done = mgsurf("run", campaign(), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{N_SURFACES} slabs of 2 compounds" in done.stdout
    assert not executed(tmp_path)
    assert not (tmp_path / "results.sqlite").exists()


@pytest.mark.parametrize("after", [1, 14])
def test_kill_9_and_start_again(campaign, start, mgsurf, tmp_path, after):
    process = start(campaign(delay=0.3))
    wait_for_calculations(tmp_path, after, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _, kept = stored(tmp_path)
    ran = executed(tmp_path)
    # at most the one that was being stored when the process died may be missing
    assert len(kept) >= sum(ran.values()) - 1

    done = mgsurf("run", campaign())
    assert done.returncode == 0, done.stderr
    n_surfaces, calculations = stored(tmp_path)
    assert n_surfaces == N_SURFACES
    assert kept <= calculations
    repeated = {line.split()[0] for line, n in executed(tmp_path).items() if n > 1}
    assert not repeated & kept, "a finished calculation was run again"


def test_interrupt_is_one_line_and_keeps_everything(campaign, start, mgsurf, tmp_path):
    process = start(campaign(delay=0.3))
    wait_for_calculations(tmp_path, 5, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines() == [
        "mgsurf: interrupted; what is finished is kept, the same command resumes there"
    ]
    _, kept = stored(tmp_path)
    assert len(kept) >= 4
    assert not (tmp_path / "runs" / "running.json").exists()
    done = mgsurf("run", campaign())
    assert done.returncode == 0
    assert stored(tmp_path)[0] == N_SURFACES
    assert not {line.split()[0] for line, n in executed(tmp_path).items() if n > 1} & kept


def test_two_runs_at_once_share_the_work(campaign, start, tmp_path):
    path = campaign(delay=0.1)
    first, second = start(path), start(path)
    for process in (first, second):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert stored(tmp_path)[0] == N_SURFACES
    assert set(executed(tmp_path).values()) == {1}


def test_a_failed_slab_is_named_and_the_exit_status_tells(campaign, mgsurf, tmp_path):
    done = mgsurf("run", campaign(more=", fail_on: slab_relax MgAg 12"))
    assert done.returncode == 1
    assert "1 problem" in done.stdout
    assert re.search(r"MgAg \(110\).*failure requested", done.stdout)
    assert stored(tmp_path)[0] == N_SURFACES


def test_a_full_disk_stops_in_one_line_and_loses_nothing(campaign, mgsurf, tmp_path):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = mgsurf("run", campaign(), preexec_fn=small_files)
    assert done.returncode not in (0, 1)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("mgsurf: ")
    _, kept = stored(tmp_path)
    before = executed(tmp_path)
    assert kept
    done = mgsurf("run", campaign())
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path)[0] == N_SURFACES
    again = {line.split()[0] for line, n in (executed(tmp_path) - before).items() if line in before}
    assert not again & kept


@pytest.mark.parametrize(
    ("compound", "words"),
    [
        ("{file: ternary.vasp}", ["more than two elements", "mgsurf slabs accepts it"]),
        ("{formula: MgXe, prototype: B2}", ["Xe"]),
        ("{file: missing.cif}", ["missing.cif", "does not exist"]),
    ],
)
def test_what_run_refuses(mgsurf, tmp_path, compound, words):
    (tmp_path / "ternary.vasp").write_text(
        "ternary\n1.0\n4.0 0 0\n0 4.0 0\n0 0 4.0\nMg Ag Cu\n1 1 1\nDirect\n0 0 0\n0.5 0.5 0\n0.5 0 0.5\n"
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(
        f"name: bad\ncompounds:\n  - {compound}\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\nstore: results.sqlite\n"
    )
    done = mgsurf("run", path)
    assert done.returncode not in (0, 1)
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line, line
    assert not (tmp_path / "mgsurf_runs").exists()


def test_unknown_engine_option_is_one_line(campaign, mgsurf):
    done = mgsurf("run", campaign(more=", colour: red"))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "colour" in line
    assert "delay" in line


def test_work_dir_that_cannot_be_made(campaign, mgsurf, tmp_path):
    (tmp_path / "runs").write_text("a file, not a folder")
    done = mgsurf("run", campaign())
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "runs" in line
    assert "work_dir" in line


def test_a_plane_is_found_by_any_of_its_names(campaign, mgsurf):
    assert mgsurf("run", campaign()).returncode == 0
    for name, n in (("110", 1), ("0-11", 1), ("001", 3), ("0001", 1), ("11-1", 2), ("210", 0)):
        done = mgsurf("query", "--store", "results.sqlite", "--miller", name, "--json")
        assert len(json.loads(done.stdout)) == n, name


def test_dry_run_says_why_a_facet_gives_nothing(mgsurf, tmp_path):
    path = tmp_path / "polar.yaml"
    path.write_text(
        'name: polar\ncompounds:\n  - {formula: Mg17Al12, prototype: A12, facets: ["(111)"]}\n'
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
    )
    done = mgsurf("run", path, "--dry-run")
    assert done.returncode == 0
    assert "Mg17Al12 (111)  polar direction: no symmetric slab exists" in done.stdout


def test_a_picture_that_cannot_be_made_hides_nothing(campaign, mgsurf, tmp_path):
    (tmp_path / "runs" / "kill-test.png").mkdir(parents=True)
    done = mgsurf("run", campaign(more=", fail_on: slab_relax MgAg 12"))
    assert done.returncode == 1
    assert "2 problems" in done.stdout
    assert "failure requested" in done.stdout
    assert "picture: IsADirectoryError" in done.stdout
