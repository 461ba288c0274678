from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import time
from functools import partial

import pytest

ANSWERS = [
    "cluster", "--scheduler", "slurm", "--work-dir", "/scratch/me", "--mongodb", "mongodb://127.0.0.1:1/jobs",
    "--partition", "standard", "--account", "matsci", "--tasks-per-node", "32", "--walltime", "12h",
]  # fmt: skip


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import jobflow_remote

    monkeypatch.setattr("stores.backends.mongo.SERVER_TIMEOUT", 0.1)
    monkeypatch.setattr(jobflow_remote.SETTINGS, "projects_folder", str(tmp_path / "projects"))
    return tmp_path / "projects"


@pytest.fixture
def init(mgsurf, folder):
    return partial(mgsurf, "init-hpc")


@pytest.fixture
def refused_init(refused, folder):
    return partial(refused, "init-hpc")


def load(path):
    from jobflow_remote.config.base import Project
    from ruamel.yaml import YAML

    return Project.model_validate(YAML(typ="safe").load(path.read_text()))


def test_project_is_one_of_jobflow_remote(init, folder):
    done = init(*ANSWERS, "--light-worker")
    assert done.returncode == 0, done.stderr
    project = load(folder / "cluster.yaml")
    assert project.name == "cluster"
    assert list(project.workers) == ["queue", "front"]
    worker = project.workers["queue"]
    assert (worker.type, worker.scheduler_type, str(worker.work_dir)) == ("local", "slurm", "/scratch/me")
    assert worker.resources["time"] == "12:00:00"
    store = project.get_queue_store()
    assert (store.database, store.collection_name) == ("jobs", "jf_jobs")
    script = (folder / "cluster" / "example_job.sh").read_text()
    for line in ("#SBATCH --partition=standard", "#SBATCH --account=matsci", "#SBATCH --ntasks-per-node=32"):
        assert line in script
    assert "jf -fe execution run" in script
    assert "No MongoDB server answers" in done.stdout  # said, but no reason to refuse
    assert stat.S_IMODE((folder / "cluster.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize(("scheduler", "line"), [("pbs", "#PBS -q standard"), ("sge", "#$ -pe mpi 32")])
def test_other_schedulers(init, folder, scheduler, line):
    answers = [scheduler if word == "slurm" else word for word in ANSWERS]
    assert init(*answers).returncode == 0
    assert load(folder / "cluster.yaml").workers["queue"].scheduler_type == scheduler
    assert line in (folder / "cluster" / "example_job.sh").read_text()


def test_a_cluster_reached_by_ssh(init, folder):
    host = ["--host", "login.example.org", "--user", "me", "--prepare", "source ~/mgsurf/bin/activate"]
    assert init(*ANSWERS, *host, "--prepare", "export MY_TOKEN=Xq7zTop").returncode == 0
    assert "Xq7z" not in (folder / "cluster" / "example_job.sh").read_text()
    worker = load(folder / "cluster.yaml").workers["queue"]
    assert (worker.type, worker.host, worker.user) == ("remote", "login.example.org", "me")
    assert worker.pre_run == "source ~/mgsurf/bin/activate\nexport MY_TOKEN=Xq7zTop\n"


def test_a_project_is_replaced_by_force_only(init, refused_init, folder):
    init(*ANSWERS)
    before = (folder / "cluster.yaml").read_text()
    line = refused_init(*ANSWERS, "--worker", "other")
    assert "cluster.yaml exists; --force replaces it" in line
    assert (folder / "cluster.yaml").read_text() == before
    assert init(*ANSWERS, "--worker", "other", "--force").returncode == 0
    assert list(load(folder / "cluster.yaml").workers) == ["other"]


def test_no_password_is_shown(init, folder):
    answers = [word.replace("//127", "//me:secret@127") for word in ANSWERS]
    done = init(*answers)
    assert "secret" not in done.stdout + done.stderr
    assert "me:secret@" in (folder / "cluster.yaml").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("slurm", "lsf"), "'lsf' is not known; allowed: slurm, pbs, sge"),
        (("/scratch/me", "scratch"), "must be an absolute path"),
        (("/scratch/me", "/scratch/my folder"), "holds a blank"),
        (("mongodb://127.0.0.1:1/jobs", "localhost"), "write mongodb://HOST:PORT/DATABASE"),
        (("12h", "long"), "--walltime: 'long' is no time"),
        (("cluster", "a/b"), "may hold letters, digits, - and _ only"),
        (("standard", "a b"), "--partition: 'a b' holds a blank"),
    ],
)
def test_wrong_answers(refused_here, folder, change, words):
    answers = [change[1] if word == change[0] else word for word in ANSWERS]
    assert words in refused_here("init-hpc", *answers)
    assert not folder.exists()


def test_missing_answers_without_anybody_to_ask(refused_init):
    assert "give --work-dir" in refused_init("cluster", "--scheduler", "slurm")


def test_a_folder_that_cannot_be_written(refused_init, folder):
    folder.write_text("a file")
    assert "JFREMOTE_PROJECTS_FOLDER" in refused_init(*ANSWERS)


def test_a_terminal_asks_again_after_a_wrong_answer(environment, folder, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "init-hpc"],
        env={**environment, "JFREMOTE_PROJECTS_FOLDER": str(folder)},
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    answers = iter([
        "my project", "mine", "lsf", "pbs", "", "scratch", "/scratch/me", "localhost",
        "mongodb://127.0.0.1:1/x", "workq", "", "many", "16", "long", "8h",
    ])  # fmt: skip
    shown, end = "", time.monotonic() + 60
    while time.monotonic() < end:
        ready, _, _ = select.select([ours], [], [], 0.5)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            new = os.read(ours, 4096).decode()
        except OSError:
            break
        shown += new
        if new.rstrip(" ").endswith(":"):
            os.write(ours, f"{next(answers)}\n".encode())
    assert process.wait(30) == 0, shown
    os.close(ours)
    worker = load(folder / "mine.yaml").workers["queue"]
    assert worker.scheduler_type == "pbs"
    assert worker.resources["select"] == "select=1:ncpus=16:mpiprocs=16"
    assert worker.resources["walltime"] == "8:00:00"


def test_jobs_find_vasp_where_this_shell_does(init, folder):
    """PBS and SGE hand no environment on, and batch jobs read no ~/.bashrc."""
    variables = {"MGSURF_VASP_CMD": "mpirun -np '4' vasp_std", "PMG_VASP_PSP_DIR": "/potcars"}
    done = init(*ANSWERS, env=variables)
    assert done.returncode == 0, done.stderr
    lines = load(folder / "cluster.yaml").workers["queue"].pre_run
    for own in ({}, {"PMG_VASP_PSP_DIR": "/mine"}):
        shell = subprocess.run(
            ["/bin/bash", "-ec", f"{lines}\nenv"], env=own, text=True, capture_output=True, check=True
        )
        seen = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
        assert {name: seen[name] for name in variables} == {**variables, **own}
