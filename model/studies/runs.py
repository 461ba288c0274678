"""The trainings of a study, in one process or several: finished runs are read, unfinished ones resumed.

Several calls, on one machine or on nodes that share the folder, divide the trainings among themselves: what
another process trains is left to it, and what depends on that is waited for, never trained twice.
Their cost is estimated from a timed run on a sample of each data set.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time, sleep
from typing import TYPE_CHECKING, Any

from model.data.splits import Split
from model.studies.data import StudyData
from model.studies.study import STRATEGIES
from model.training.ablation import Step
from model.training.ensemble_files import load_ensemble
from model.training.presets import find_preset, with_params
from model.training.runs import RunSettings, Transfer, in_work, read_run, run_training
from stores.errors import MgsurfError, StoreError
from stores.files import InUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from model.studies.study import Study, Task
    from model.training.train import Progress

    Tell = Callable[[Step], None]

LOG = logging.getLogger(__name__)

PAUSE = 5.0
"""Time between two looks at trainings of other processes (s)."""


@dataclass(frozen=True)
class TaskResult:
    """A finished training of a study."""

    task: Task
    run: dict[str, Any]  # see `model.training.runs.run_training`


def run_study(
    study: Study,
    data: StudyData,
    folder: Path,
    *,
    processes: int = 1,
    tell: Tell | None = None,
    shared: bool = False,
) -> tuple[list[TaskResult], list[str]]:
    """Run the trainings of a study; finished ones of the folder are read.

    What another process trains is left out as long as there is anything else to train. While trainings that
    begin with it are left, it is looked at every `PAUSE` seconds; otherwise the call ends.

    Parameters
    ----------
    data
        Of the study; other processes read it again.
    folder
        Each training has a folder of its own below it, see `Task.folder`.
    processes
        In which trainings run side by side.
    tell
        Called before each training or, with several processes, after it, and with one after each epoch.
    shared
        Whether trainings that are left to other processes are as good as done; else there is a line for each.

    Returns
    -------
    tuple
        What was trained, in the order of the study, and a line for each training that failed or was left.

    Raises
    ------
    StoreError
        If the folder cannot be written: nothing more is tried.
    MgsurfError
        If every training failed, or a process ended before its time.
    """
    tasks = study.tasks()
    runner = _Runner(tasks, folder, tell or (lambda _: None))
    if processes == 1:
        _one_by_one(runner, data)
    else:
        _in_processes(runner, study, processes)
    if not shared:
        runner.problems += [
            f"{task.label()}: is in work elsewhere; run the same command again later"
            for task in runner.waiting
        ]
    if not runner.results and runner.problems:
        raise MgsurfError(runner.problems[0])
    results = [TaskResult(task, runner.results[task]) for task in tasks if task in runner.results]
    return results, runner.problems


def train_task(
    data: StudyData, folder: Path, task: Task, progress: Callable[[int, Progress], None] | None = None
) -> dict[str, Any]:
    """Run one training, whose pre-training is finished; returns the content of its ``run.json``."""
    study = data.study
    dataset, divide = data.of_task(task)
    transfer = None
    if task.source is not None:
        how = STRATEGIES[task.strategy]
        transfer = Transfer.of(
            folder / task.source.folder() / "model",
            how.freeze,
            reset_heads=how.reset_heads,
            adaptation=how.adaptation,
        )
    settings = RunSettings(
        study.preset,
        split=f"study {study.split}",
        seed=task.seed,
        params=study.params_of(task),
        targets=dataset.targets,
        transfer=transfer,
        temperature=study.temperature if task.balance else 1.0,
    )
    return run_training(
        lambda *_: dataset,
        settings,
        folder / task.folder(),
        progress=progress,
        divide=divide,
        keep_model=task.source is None,
    )


def read_data(study: Study) -> StudyData:
    """Read the data sets with the graphs of the study's preset."""
    return StudyData.read(study, with_params(find_preset(study.preset), study.params).graph)


def unfinished(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """Return the trainings that a folder does not hold finished."""
    return [task for task in tasks if read_run(folder / task.folder()) is None]


def open_trainings(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """Return the trainings that are not finished and that no other process runs."""
    return [task for task in unfinished(tasks, folder) if not in_work(folder / task.folder())]


SAMPLE = 64  # graphs of a data set that are timed; an epoch of them takes a tenth of a second


def estimate_cost(data: StudyData, tasks: Sequence[Task]) -> float:
    """Return the seconds of one core that trainings take at most, from a timed run on a sample of each set.

    The share that goes to the validation set is timed, too: with few labels it is most of an epoch. What is
    no epoch (graphs in batches, trees, process, files) is taken as in proportion to the labels, and not less
    than that of the sample.
    """
    study = data.study
    names = sorted({name for t in tasks for name in t.sets})
    if names:
        _timed(data, names[0])  # compiles and imports, which is done once
    timed = {name: _timed(data, name) for name in names}
    counts = {(name, seed): data.counts(name, seed) for name in names for seed in {t.seed for t in tasks}}
    total = 0.0
    for task in tasks:
        epochs = with_params(find_preset(study.preset), study.params_of(task)).training.epochs
        found = {name: counts[name, task.seed] for name in task.sets}
        labels = {name: min(task.size or n["train"], n["train"]) for name, n in found.items()}
        for name, n in labels.items():
            repeats = (max(labels.values()) / n) ** (1 - 1 / study.temperature)  # see `resampled`
            cost = timed[name]
            total += epochs * (cost.learn * n * repeats + cost.judge * found[name]["val"])
            total += cost.rest * max(1.0, n / SAMPLE)
    return total


@dataclass(frozen=True)
class _Timed:
    """Seconds of one core: of a graph to train on and to predict, in one epoch; of the rest of a run."""

    learn: float
    judge: float
    rest: float


def _timed(data: StudyData, name: str) -> _Timed:
    """Train on a sample of a data set for two epochs, as the study does."""
    study: Study = data.study
    labelled = data.labelled(name)
    sample = [labelled[i * len(labelled) // SAMPLE] for i in range(min(SAMPLE, len(labelled)))]
    part = data.union.subset(sorted(set(sample)))
    everyone = tuple(range(len(part)))
    clock = [process_time()]  # other work on the machine does not count
    with TemporaryDirectory() as folder:
        run_training(
            lambda *_: part,
            RunSettings(
                study.preset, params={**study.params, "training.epochs": 2}, targets=(data.heads[name],)
            ),
            Path(folder) / "run",
            progress=lambda *_: clock.append(process_time()),
            divide=lambda _: Split("timed", 0, everyone, everyone, everyone),
        )
        clock.append(process_time())
        model = load_ensemble(Path(folder) / "run").members[0]
    epoch, graphs = clock[2] - clock[1], [entry.graph for entry in part]
    began = process_time()
    model.predict(graphs)
    judge = (process_time() - began) / len(part)
    learn = max(epoch / len(part) - judge, 0.0)
    return _Timed(learn, judge, max(clock[3] - clock[0] - 2 * epoch, 0.0))


class _Runner:
    """Results and problems of a study, and what waits for what."""

    def __init__(self, tasks: Sequence[Task], folder: Path, tell: Tell) -> None:
        self.tasks, self.folder, self.tell = tasks, folder, tell
        self.waiting = dict.fromkeys(tasks)  # neither finished nor failed, in order
        self.held: set[Task] = set()  # of these in work in another process when last looked at
        self.results: dict[Task, dict[str, Any]] = {}
        self.failed: set[Task] = set()
        self.problems: list[str] = []
        self._named: set[Task] = set()  # that others hold and this process has waited for

    def can_start(self, task: Task) -> bool:
        """Whether its pre-training is finished; notes the task as failed if that has failed."""
        if task.source in self.failed:
            self._fail(task)  # the line of its pre-training states the reason
            return False
        return task.source is None or task.source in self.results

    def is_free(self, task: Task) -> bool:
        """Whether no other process trains it now."""
        held = in_work(self.folder / task.folder())
        (self.held.add if held else self.held.discard)(task)
        return not held

    def take(self, task: Task, result: Callable[[], dict[str, Any]]) -> None:
        """Keep a result, or the reason why there is none; what another process took meanwhile waits."""
        try:
            self.results[task] = result()
            del self.waiting[task]
        except InUseError:
            self.held.add(task)
        except StoreError:
            raise  # a full disk fails every other training, too
        except MgsurfError as error:
            self._fail(task)
            self.problems.append(f"{task.label()}: {error}")

    def wait_for_others(self) -> bool:
        """Wait if trainings are left that begin with one of another process; False if there are none."""
        sources = {task.source for task in self.waiting if task not in self.held and task.source is not None}
        if not sources:
            return False
        for source in sources - self._named:
            LOG.warning("%s: is in work in another process; the rest waits for it", source.label())
        self._named |= sources
        sleep(PAUSE)
        return True

    def train_here(self, data: StudyData, task: Task) -> dict[str, Any]:
        """Train in this process, with progress epoch by epoch."""
        number, total = self.ended, len(self.tasks)
        self.tell(Step(number, total, task))
        return train_task(
            data, self.folder, task, lambda member, line: self.tell(Step(number, total, task, member, line))
        )

    @property
    def ended(self) -> int:
        """Number of trainings that are finished or have failed."""
        return len(self.tasks) - len(self.waiting)

    def _fail(self, task: Task) -> None:
        self.failed.add(task)
        del self.waiting[task]


def _one_by_one(runner: _Runner, data: StudyData) -> None:
    """Train in this process, in order; what others hold is tried again after the rest."""
    while True:
        before = runner.ended
        for task in list(runner.waiting):
            if runner.can_start(task) and runner.is_free(task):
                runner.take(task, partial(runner.train_here, data, task))
        if runner.ended == before and not runner.wait_for_others():
            return


def _in_processes(runner: _Runner, study: Study, processes: int) -> None:
    """Start each training when its pre-training is finished, so many at a time."""
    context = multiprocessing.get_context("spawn")
    running: dict[Future[dict[str, Any]], tuple[int, Task]] = {}
    pools = [
        ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(study,))
        for _ in range(processes)
    ]
    trained: list[set[tuple[Any, ...]]] = [set() for _ in pools]  # training sets that each process has had
    try:
        while True:
            started = {task for _, task in running.values()}
            ready = [task for task in list(runner.waiting) if task not in started and runner.can_start(task)]
            # no more than can begin: what gets ready meanwhile is earlier in the study than the rest
            for place in sorted(set(range(processes)) - {place for place, _ in running.values()}):
                while (task := _next_task(ready, trained, place)) is not None:
                    ready.remove(task)
                    if runner.is_free(task):
                        trained[place].add(_training_set(task))
                        running[pools[place].submit(_train_there, runner.folder, task)] = place, task
                        break
            if not running:
                if runner.wait_for_others():
                    continue
                return
            done, _ = wait(running, PAUSE if runner.held else None, return_when=FIRST_COMPLETED)
            for future in done:
                _, task = running.pop(future)
                runner.take(task, future.result)
                runner.tell(Step(runner.ended, len(runner.tasks), task))
    except BrokenExecutor as error:
        raise MgsurfError(
            "a process of the study ended before its time (out of memory?); finished trainings are kept, run "
            "the same command again with fewer --processes"
        ) from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # what it trains is resumed
        raise
    finally:
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _training_set(task: Task) -> tuple[Any, ...]:
    return task.sets, task.size, task.seed


def _next_task(ready: Sequence[Task], trained: Sequence[set[tuple[Any, ...]]], place: int) -> Task | None:
    """Return the training that a process takes next: one whose training set it has had, if there is any."""
    # it remembers the trees and the process of that set (`model.baselines.recent_fits`). Else one of a set
    # that no process has had, else the first.
    known = set().union(*trained)
    for task in ready:
        if _training_set(task) in trained[place]:
            return task
    return next((task for task in ready if _training_set(task) not in known), ready[0] if ready else None)


_data: list[StudyData | MgsurfError] = []  # of a process that trains for another; or why it has none


def _begin(study: Study) -> None:
    """Prepare a process: it reads the data, uses one core, and ends with the process that started it."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    # elements that a source has not seen: a line for each training, without its name
    logging.getLogger("model.training.runs").disabled = True
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _data.append(read_data(study))
    except MgsurfError as error:  # raised here it would end the process with a traceback
        _data.append(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # killed: nobody would take the results


def _train_there(folder: Path, task: Task) -> dict[str, Any]:
    data = _data[0]
    if isinstance(data, MgsurfError):
        raise data
    return train_task(data, folder, task)
