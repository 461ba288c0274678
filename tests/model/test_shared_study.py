"""A study in several processes that share its folder: nothing twice, nothing left, no needless waiting."""

from __future__ import annotations

import fcntl
import json
import time

import pytest

from model.studies import runs
from model.studies.runs import read_data, run_study, train_task, unfinished
from model.training import runs as training_runs
from stores.files import locked
from tests.model.shared_study import SOURCE, STUDY, noted_trainings, second_process

TASKS = STUDY.tasks()
TUNED = [task for task in TASKS if task.source is not None]


@pytest.fixture(scope="module")
def data():
    return read_data(STUDY)


@pytest.fixture
def pauses(monkeypatch):
    """Pauses of this process between two looks at others, each cut to a tenth of a second."""
    made = []

    def pause(seconds):
        made.append(seconds)
        time.sleep(0.1)

    monkeypatch.setattr(runs, "sleep", pause)
    return made


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_fine_tuning_waits_for_a_source_that_another_process_trains(
    data, tmp_path, pauses, caplog, processes
):
    other = second_process(tmp_path)
    release = runs.sleep

    def go(seconds):
        assert len(unfinished(TASKS, tmp_path)) == len(TUNED) + 1  # first all that does not depend on it
        release(seconds)
        if len(pauses) == 3:
            (tmp_path / "go").touch()
            runs.sleep = release

    runs.sleep = go
    with noted_trainings(tmp_path) as here:
        results, problems = run_study(STUDY, data, tmp_path, processes=processes, shared=True)
    other.join(100)
    there = json.loads((tmp_path / "noted.json").read_text())
    assert not problems
    assert not unfinished(TASKS, tmp_path)
    if processes == 1:
        assert sorted(here + there) == sorted(task.folder() for task in TASKS)  # each once
    assert SOURCE.folder() in there
    assert SOURCE in {result.task for result in results}
    assert pauses[:3] == [runs.PAUSE] * 3
    assert sum(SOURCE.label() in line for line in caplog.messages) == 1  # however long it took


def test_a_source_whose_process_is_killed_is_taken_over(data, tmp_path, pauses):
    other = second_process(tmp_path)
    release = runs.sleep

    def kill(seconds):
        other.kill()
        other.join()
        release(seconds)

    runs.sleep = kill
    results, problems = run_study(STUDY, data, tmp_path, shared=True)
    assert not problems
    assert [result.task for result in results] == TASKS
    assert len(pauses) == 1


def test_what_others_train_is_left_to_them_without_waiting(data, tmp_path, pauses):
    leaf = TUNED[-1]
    (tmp_path / leaf.folder()).mkdir(parents=True)
    with locked(tmp_path / leaf.folder() / training_runs.LOCK):
        results, problems = run_study(STUDY, data, tmp_path, shared=True)
        assert [result.task for result in results] == [task for task in TASKS if task is not leaf]
        assert not problems
        _, problems = run_study(STUDY, data, tmp_path)
        assert [leaf.label() in problem and "later" in problem for problem in problems] == [True]
    assert not pauses
    assert unfinished(TASKS, tmp_path) == [leaf]


def test_a_look_of_another_process_at_a_training_does_not_keep_this_one_from_it(data, tmp_path, monkeypatch):
    lock = tmp_path / SOURCE.folder() / training_runs.LOCK
    lock.parent.mkdir(parents=True)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        monkeypatch.setattr("stores.files.time.sleep", lambda _: other.close())
        assert train_task(data, tmp_path, SOURCE)["label"]


def test_a_training_that_another_process_ends_just_before_the_lock_is_not_repeated(
    data, tmp_path, monkeypatch
):
    lock = training_runs.locked

    def late(*arguments):
        monkeypatch.setattr(training_runs, "locked", lock)
        train_task(data, tmp_path, SOURCE)  # by another process
        return lock(*arguments)

    monkeypatch.setattr(training_runs, "locked", late)
    with noted_trainings(tmp_path) as noted:
        run = train_task(data, tmp_path, SOURCE)
    assert noted == [SOURCE.folder()]
    assert run == training_runs.read_run(tmp_path / SOURCE.folder())
