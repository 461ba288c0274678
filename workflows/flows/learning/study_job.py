"""The job that trains a study of transfer on a node of a queue, beside others of the same study."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from jobflow import Flow, JobConfig, job

from stores.errors import InputError, MgsurfError, install_command, pluralize
from workflows.flows.learning.labelled_datasets import labelled_datasets
from workflows.flows.learning.study_file import StudyFile, make_study

if TYPE_CHECKING:
    from model.training.ablation import Step

LINES = 10.0
"""Least time between two lines of progress in the output of a job (s)."""


@job(name="train study")
def train_study(study: str, file: str, folder: str, processes: int) -> dict[str, Any]:
    """Run the trainings of a study that no other process runs, until none is left to take.

    Parameters
    ----------
    study
        The study file as `StudyFile.for_nodes` writes it.
    file
        Its path, for messages.
    folder
        Absolute folder of the study, shared by all of its jobs and made before the first of them.
    processes
        Trainings side by side.

    Returns
    -------
    dict
        ``trainings`` of the study, how many of them are ``finished`` now, and the ``host``.

    Raises
    ------
    InputError
        If the folder or a store is not on this machine, torch is not installed, or the labels have changed
        in a way that the study does not fit.
    MgsurfError
        If trainings failed, after all others: how many, and the first reason.
    """
    root, host = Path(folder), socket.gethostname()
    if not root.is_dir():
        raise InputError(
            f"{folder}: not on {host}; folder and stores of a study must lie on a file system that the nodes "
            "share: submit it again with --output there"
        )
    if find_spec("torch") is None:
        raise InputError(f"the Python of the jobs on {host} lacks torch: {install_command('model')}")
    from model.studies.runs import open_trainings, read_data, run_study, unfinished

    plan = make_study(StudyFile.model_validate_json(study), Path(file), labelled_datasets_of)
    tasks = plan.tasks()
    problems: list[str] = []
    _print(f"study {file} in {folder}, on {host}")
    if takeable := open_trainings(tasks, root):
        _print(f"{len(takeable)} of {pluralize(len(tasks), 'training')} left, {processes} at a time")
        data = read_data(plan)
        data.check_sizes()
        show = _Progress().step
        _, problems = run_study(plan, data, root, processes=processes, tell=show, shared=True)
    finished = len(tasks) - len(unfinished(tasks, root))
    _print(f"{finished} of {pluralize(len(tasks), 'training')} finished; none is left for this job")
    if problems:
        for problem in problems:
            _print(problem)
        raise MgsurfError(f"{pluralize(len(problems), 'training')} failed; the first: {problems[0]}")
    return {"trainings": len(tasks), "finished": finished, "host": host}


def study_flow(
    study: str, file: Path, folder: Path, *, name: str, processes: int, request: dict[str, Any]
) -> Flow:
    """Return a flow of one job; jobs of a study need nothing of each other.

    Parameters
    ----------
    study, file, folder, processes
        See `train_study`.
    name
        Of the flow and its job.
    request
        What the job requests: a jobflow-remote ``manager_config``.
    """
    one = train_study(study, str(file), str(folder), processes)
    one.name = name
    one.config = JobConfig(manager_config=request)
    return Flow([one], name=name)


def labelled_datasets_of(store: str, method: str | None, snapshot: str | None) -> Any:
    """Return the labels of a data set of a study."""
    return labelled_datasets([store], method, snapshot)


class _Progress:
    """Prints how far the study is, one line for a training and none sooner than `LINES` after the last."""

    def __init__(self) -> None:
        self._last = -LINES

    def step(self, step: Step) -> None:
        if step.line is None and monotonic() - self._last >= LINES:
            self._last = monotonic()
            _print(f"{step.number} of {step.total} done; {step.run.label()}")


def _print(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {text}", flush=True)
