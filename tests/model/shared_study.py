"""A small study, and a second process that works on it in the same folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch

import model.training.runs
from model.data.dataset import Dataset
from model.studies.runs import read_data, run_study, train_task
from model.studies.study import Study, StudySet
from tests.model.small_dataset import small_dataset


def _read(first, last, settings, targets):
    chosen = small_dataset(settings).entries[first:last]
    return Dataset(tuple(replace(e, targets={t: e.targets[t] for t in targets}) for e in chosen), targets)


STUDY = Study(
    {
        "energy": StudySet(partial(_read, 0, 70), "surface_energy"),
        "work": StudySet(partial(_read, 30, 90), "work_function", only_target=True),
    },
    params={
        "training.epochs": 1, "network.embedding": 8, "network.hidden": 8, "network.convolutions": 2,
    },
    sizes=(5, 12),
    pretraining_sizes=(20,),
    seeds=(0,),
)  # fmt: skip
SOURCE = next(task.source for task in STUDY.tasks() if task.source is not None)


@contextmanager
def noted_trainings(root: Path, before: Callable[[], object] = lambda: None) -> Iterator[list[str]]:
    """Note the folder of every training that this process does, not of those that it reads."""
    train, noted = model.training.runs._run, []

    def note(*arguments):
        noted.append(str(arguments[4].relative_to(root)))
        before()
        return train(*arguments)

    with patch.object(model.training.runs, "_run", note):
        yield noted


def second_process(folder: Path) -> BaseProcess:
    """Start a process that holds the source, trains it once there is a file ``go``, and then all the rest."""
    started = get_context("spawn").Process(target=_work, args=(folder,))
    started.start()
    wait_for(folder / "held")
    return started


def _work(folder: Path) -> None:
    def hold():
        (folder / "held").touch()
        wait_for(folder / "go")

    with noted_trainings(folder, hold) as noted:
        data = read_data(STUDY)
        train_task(data, folder, SOURCE)
        run_study(STUDY, data, folder, shared=True)
    (folder / "noted.json").write_text(json.dumps(noted))


def wait_for(path: Path, seconds: float = 200) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name} in {seconds:g} s"
        time.sleep(0.05)
