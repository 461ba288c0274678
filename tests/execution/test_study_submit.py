"""Studies of transfer as jobs of a project: submitted, run by its runner, killed, tried again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from model.studies.runs import unfinished
from model.training.checked_json import write_json
from model.training.runs import FORMAT, LOCK
from stores.connections import open_store
from stores.errors import InputError, MgsurfError
from stores.files import locked
from tests.cli.test_cli_learning import add
from tests.execution.cluster import PROJECT
from tests.model.small_dataset import PARTNERS
from workflows.execution.remote.study import study_name
from workflows.flows.learning.study_file import StudyFile, make_study, read_study
from workflows.flows.learning.study_job import labelled_datasets_of, train_study

STUDY = """\
data:
  energy: {store: labels.sqlite, target: surface_energy}
  work: {store: labels.sqlite, target: work_function, only_target: true}
params: {network.embedding: 8, network.hidden: 8, network.convolutions: 2, training.epochs: 2}
pretraining: {sizes: [all]}
fine_tuning: {sizes: [6, 12]}
seeds: [0]
"""


@pytest.fixture
def study(project) -> Path:
    """A study file with the path of its store relative to the working folder."""
    with open_store(f"sqlite:///{project.folder}/labels.sqlite") as store:
        add(store, PARTNERS[:5])
    path = project.folder / "small.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def submit(project, study):
    def run(*more, code=0):
        done = project.mgsurf(
            "transfer", study, "-o", "found", "--quiet", "--submit", "--project", PROJECT, *more
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr

    return run


def tasks_of(study: Path):
    return make_study(read_study(study), study, labelled_datasets_of).tasks()


def train(study: Path, folder: Path):
    """What a job of the study does, in this process."""
    return train_study.original(read_study(study).for_nodes(), str(study), str(folder), 1)


def test_as_many_jobs_as_wanted_and_no_second_set(submit, project, study):
    name = study_name(study)
    assert name != study_name(project.folder / "other" / study.name)
    assert name == study_name(project.folder / "other" / ".." / study.name)
    shown = submit("--jobs", 2, "--processes", 4)
    assert "submitted 2 jobs with 4 cores each to project cluster, worker queue: 7 trainings" in shown
    jobs = project.jobs(name)
    assert sorted(job["job"]["name"] for job in jobs) == [f"{name} 1", f"{name} 2"]
    for job in jobs:
        wanted = job["resources"]
        assert (wanted["nodes"], wanted["ntasks_per_node"], wanted["cpus_per_task"]) == (1, 4, 1)
        assert wanted["partition"] == "debug"  # the worker's
        assert wanted["time"] == "0:10:00"
        text, file, folder, processes = job["job"]["function_args"]
        read = StudyFile.model_validate_json(text)
        # the folder of the submission is not that of the job
        assert read.data["work"].store == f"sqlite:///{project.folder}/labels.sqlite"
        assert read.pretraining.sizes == [0]
        assert (file, folder, processes) == (str(study), str(project.folder / "found"), 4)
    again = submit("--jobs", 2, "-o", project.folder / "other" / ".." / "found")
    assert f"2 jobs of {name} are in project cluster already; nothing was submitted" in again
    assert len(project.jobs(name)) == 2
    assert "submitted 1 job with 1 core each beside 2 that have not ended" in submit("--jobs", 3)
    # a study that has changed is another one, in the same folder
    study.write_text(STUDY.replace("seeds: [0]", "seeds: [0, 1]\nresources: {walltime: 2h, worker: queue}"))
    assert json.loads(submit("--json"))["active"] == 0
    assert project.jobs(name)[-1]["resources"]["time"] == "2:00:00"
    assert project.state(study)["counts"]["waiting"] == 4
    cancelled = project.mgsurf("cancel", study, "--project", PROJECT)
    assert "4 jobs cancelled" in cancelled.stdout
    assert "submitted 1 job" in submit()  # cancelled ones do not count


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{store: labels.sqlite, target: w", "{store: 'memory://x', target: w", ["data set work", "memory"]),
        (
            "{store: labels.sqlite, target: w",
            "{store: 'mongodb://me:Xq7zW@db/labels', target: w",
            ["data set work", "password", "--submit"],
        ),
        ("seeds: [0]", "resources: {nodes: 2}", ["small.yaml:7", "nodes", "--processes"]),
        ("seeds: [0]", "resources: {worker: nobody}", ["small.yaml", "no worker 'nobody'"]),
        ("seeds: [0]", "resources: {walltime: soon}", ["small.yaml:7", "'soon' is no time"]),
    ],
)
def test_what_no_node_can_do_is_refused_before_anything_is_submitted(submit, project, study, old, new, words):
    study.write_text(STUDY.replace(old, new))
    (line,) = submit(code=2).strip().splitlines()[-1:]
    for word in words:
        assert word in line
    assert "Xq7zW" not in line
    assert not project.jobs()


def test_options_of_a_queue_need_submit_and_a_study_is_not_pulled(project, study):
    for option in (("--jobs", 2), ("--worker", "queue"), ("--project", PROJECT)):
        done = project.mgsurf("transfer", study, *option)
        assert done.returncode == 2
        assert "--submit" in done.stderr
    for command in (("pull", study, "--project", PROJECT), ("status", study)):
        done = project.mgsurf(*command)
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert f"mgsurf transfer {study}" in line and "status --project" in line


def test_a_job_ends_with_the_reason_after_all_that_could_be_trained(project, study, capsys, monkeypatch):
    folder = project.folder / "found"
    with pytest.raises(InputError, match="file system that the nodes share"):
        train(study, folder)
    folder.mkdir()
    tasks = tasks_of(study)
    bad = folder / next(task for task in tasks if task.source).folder()
    bad.mkdir(parents=True)
    write_json(bad / "run.json", {"format": FORMAT, "label": "another"})
    with pytest.raises(MgsurfError, match=r"1 training failed; the first: work from energy"):
        train(study, folder)
    assert not unfinished(tasks, folder)
    (bad / "run.json").unlink()
    # another job has it: this one reads no data and ends
    with monkeypatch.context() as patched, locked(bad / LOCK):
        patched.setattr("model.studies.runs.read_data", None)
        assert train(study, folder)["finished"] == len(tasks) - 1
    assert train(study, folder)["finished"] == len(tasks)
    shown = capsys.readouterr().out
    assert f"{len(tasks) - 1} of {len(tasks)} trainings finished" in shown
    assert tasks[0].label() in shown  # progress


@pytest.mark.slow
def test_a_killed_job_leaves_its_trainings_to_the_others_and_runs_again(project, study, submit):
    """Two jobs of the runner, on the worker without a queue; the first to train is killed."""
    project.make_project("--light-worker", "--force")
    study.write_text(STUDY.replace("training.epochs: 2", "training.epochs: 60"))
    folder, name = project.folder / "found", study_name(study)
    submit("--jobs", 2, "--worker", "front")
    project.start_runner()

    def jobs():
        return {job["job"]["name"]: job["state"] for job in project.jobs(name)}

    try:
        project.wait(lambda: list(folder.rglob("history.jsonl")), 600, "a training")
        holder = json.loads(next(folder.rglob(LOCK)).read_text())["pid"]
        os.kill(holder, signal.SIGKILL)
        project.wait(lambda: sorted(jobs().values()) == ["COMPLETED", "FAILED"], 600, "the other job's end")
        tasks = tasks_of(study)
        assert not unfinished(tasks, folder)
        kept = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
        state = project.state(study)
        assert [job for job, _ in state["failed"]] == [n for n, s in jobs().items() if s == "FAILED"]
        log = project.mgsurf("log", f"{name} 1", "--project", PROJECT, "-n", 0)
        assert str(folder) in log.stdout
        again = project.mgsurf("retry", study, "--failed", "--project", PROJECT)
        assert "1 job will run again" in again.stdout
        project.wait_for_the_end(name, 600)
    finally:
        project.stop_runner()
    assert "every training is finished; nothing was submitted" in submit("--jobs", 2)
    done = project.mgsurf("transfer", study, "-o", "found", "--json", "--quiet")
    assert json.loads(done.stdout)["trainings"] == len(tasks)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == kept
    assert (folder / "matrix.png").stat().st_size > 0
