"""Search for hyper-parameters: TPE over any space, resumable after a kill, in several processes.

Optuna's TPE is used rather than hyperopt's, which the paper took: it is the same estimator (Bergstra et al.,
NeurIPS 24, 2011), but its journal file lets several processes share one search and survives a kill, it prunes
bad trials early, counts running trials as bad guesses so that workers spread out, and is maintained.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, MgsurfError
from stores.files import FileLock, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.storages import JournalStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

    from model.training.presets import Preset
    from model.training.runs import Datasets, RunSettings

    Space = Mapping[str, BaseDistribution]
    Report = Callable[[int, float], None]
    """Called with epoch and loss; ends the trial by an exception if it is to be pruned."""
    Objective = Callable[[dict[str, Any], Report], float]
    Factory = Callable[[], Objective]
    """Makes the objective, once in each process; must be picklable for several."""


TRIALS = 200  # of the paper

STARTUP_TRIALS = 20  # random trials before the estimator has something to go by, and before any is pruned

_NAME = "mgsurf"
_REFUSALS_IN_A_ROW = 100  # then the space holds nothing new
_POLL = 1.0  # s


@dataclass(frozen=True)
class TrialSummary:
    """One finished trial."""

    number: int  # in the order of their start; refused duplicates leave gaps
    params: dict[str, Any]  # what was tried
    loss: float  # what the objective returned; infinite for a pruned or diverged trial
    pruned: bool  # true if it was given up early


def tune(
    folder: Path,
    space: Space,
    factory: Factory,
    *,
    trials: int = TRIALS,
    workers: int = 1,
    seed: int = 0,
    progress: Callable[[list[TrialSummary]], None] | None = None,
) -> list[TrialSummary]:
    """Search until the folder holds enough finished trials; the same call resumes if interrupted.

    Parameters
    ----------
    folder
        Where the journal is kept.
    space
        Optuna distributions by name. A trial that repeats the values of another is refused, floats being
        compared (and used) with two digits.
    factory
        Makes the objective, which is minimised.
    trials
        Finished ones, pruned ones included, those of earlier calls included.
    workers
        Processes; with one, the search runs in this process.
    seed
        Of the sampler.
    progress
        Called with all finished trials from time to time.

    Returns
    -------
    list of TrialSummary
        The best first.

    Raises
    ------
    InputError
        If another search works in the folder, or the folder holds a search of another space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "search.lock", 0, "choose another folder with --output"):
        _cut_half_line(folder / "journal.log")
        study = _open(folder, seed, 0)
        _same_space(study, space)
        _give_back(study)
        tell = progress or (lambda _: None)
        search = _Search(folder, space, factory, trials, seed)
        if workers == 1:
            search.work(0, lambda: tell(summaries(folder)))
        else:
            _in_processes(search, workers, tell)
    return summaries(folder)


def summaries(folder: Path) -> list[TrialSummary]:
    """Return the finished trials of a folder, the best first; none if it holds no search."""
    import optuna

    path = folder / "journal.log"
    if not path.is_file() or not path.stat().st_size:
        return []
    study = optuna.load_study(study_name=_NAME, storage=_storage(path))  # which writes nothing
    found = []
    for trial in _finished(study):
        pruned = trial.state == optuna.trial.TrialState.PRUNED
        loss = math.inf if pruned or trial.value is None else float(trial.value)
        found.append(TrialSummary(trial.number, rounded(trial.params), loss, pruned))
    return sorted(found, key=lambda summary: (summary.loss, summary.number))


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Round floats to two digits: finer differences are not worth a training."""
    return {
        name: float(f"{value:.1e}") if isinstance(value, float) else value for name, value in params.items()
    }


@dataclass(frozen=True)
class _Search:
    folder: Path
    space: Space
    factory: Factory
    trials: int
    seed: int

    def work(self, worker: int, after: Callable[[], None] | None = None) -> None:
        """Run trials until there are enough."""
        import optuna

        study = _open(self.folder, self.seed, worker)
        objective: Objective | None = None
        parent = os.getppid()
        while (trial := _ask_new(study, self.space, self.trials)) is not None:
            objective = objective or self.factory()

            def report(epoch: int, loss: float, trial: Trial = trial) -> None:
                if os.getppid() != parent:
                    raise SystemExit("the search that started this process is gone")
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

            try:
                loss = objective(rounded(trial.params), report)
            except optuna.TrialPruned:
                loss = math.inf
            if math.isfinite(loss):
                study.tell(trial, loss)
            else:  # diverged trainings are as bad as pruned ones, and not tried again
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            if after is not None:
                after()


def _ask_new(study: Study, space: Space, trials: int) -> Trial | None:
    """Return a trial that repeats none; None if there are enough or nothing new is found."""
    from optuna.trial import TrialState

    for _ in range(_REFUSALS_IN_A_ROW):
        if len(_finished(study)) >= trials:
            return None
        trial = study.ask(dict(space))
        others = [t for t in _finished(study, TrialState.RUNNING) if t.number < trial.number]
        if len(others) >= trials:  # the rest is in work elsewhere
            study.tell(trial, state=TrialState.FAIL)
            return None
        if all(rounded(t.params) != rounded(trial.params) for t in others):
            return trial
        study.tell(trial, state=TrialState.FAIL)
    return None


def _in_processes(search: _Search, workers: int, tell: Callable[[list[TrialSummary]], None]) -> None:
    context = multiprocessing.get_context("spawn")
    problems = context.SimpleQueue()
    running = [
        context.Process(target=_worker, args=(search, n, problems), daemon=True) for n in range(workers)
    ]
    for process in running:
        process.start()
    known = -1
    try:
        while any(process.is_alive() for process in running):
            if not problems.empty():
                raise InputError(problems.get())
            time.sleep(_POLL)
            found = summaries(search.folder)
            if len(found) != known:
                known = len(found)
                tell(found)
        if not problems.empty():
            raise InputError(problems.get())
        if any(process.exitcode for process in running):
            raise MgsurfError(
                "a process of the search ended before its time (out of memory?); finished trials are kept, "
                "run the same command again with fewer workers"
            )
    finally:
        for process in running:
            process.terminate()
            process.join()


def _worker(search: _Search, worker: int, problems: Any) -> None:
    """Run trials in a process of its own; the one that started it gets Ctrl-C and ends this one."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        search.work(worker)
    except MgsurfError as error:
        problems.put(str(error))


def _open(folder: Path, seed: int, worker: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=_storage(folder / "journal.log"),
        study_name=_NAME,
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=5),
    )
    # a resumed search and every worker draw other numbers
    drawn = 1_000_003 * seed + 1_009 * worker + len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True, seed=drawn % 2**32
    )
    return study


def _storage(path: Path) -> JournalStorage:
    from optuna.storages import journal

    # a killed process cannot leave it behind, as it can Optuna's own
    lock: Any = FileLock(path.with_suffix(".lock"))
    return journal.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=lock))


def _same_space(study: Study, space: Space) -> None:
    from optuna.distributions import distribution_to_json

    now = {name: json.loads(distribution_to_json(one)) for name, one in sorted(space.items())}
    before = study.user_attrs.get("space")
    if before is None:
        study.set_user_attr("space", now)
    elif before != now:
        raise InputError(
            "the folder holds a search of another space of hyper-parameters; "
            "choose another folder with --output"
        )


def _give_back(study: Study) -> None:
    """Repeat trials that a killed search left running; only the holder of the folder may do so."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _cut_half_line(path: Path) -> None:
    """Cut off a line that a kill left half written; everything before it is kept."""
    if not path.is_file():
        return
    text = path.read_bytes()
    if text and not text.endswith(b"\n"):
        with path.open("r+b") as journal:
            journal.truncate(text.rfind(b"\n") + 1)


def _finished(study: Study, *more: TrialState) -> list[FrozenTrial]:
    """Return the finished trials, and those in other states."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, *more))


def space_of(preset: Preset) -> dict[str, BaseDistribution]:
    """Return what is searched for a preset; the paper does not print its Table S2, so the ranges are ours.

    Settings that make a preset what it is (depth, pooling, balancing) stay; those that only some presets
    have (threshold of the surface flag, alpha of GradNorm, one-cycle's weight decay) are searched there.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from model.compositions.image import LAYOUTS
    from model.network.composition_network import CompositionConfig

    space: dict[str, BaseDistribution] = {
        "network.embedding": CategoricalDistribution([32, 48, 64, 96, 128]),
        "network.convolutions": IntDistribution(2, 5),
        "network.hidden": CategoricalDistribution([64, 128, 192, 256]),
        "network.hidden_layers": IntDistribution(1, 4),
        "training.batch_size": CategoricalDistribution([32, 64, 128]),
        "training.optimiser.learning_rate": FloatDistribution(3e-4, 1e-2, log=True),
    }
    if isinstance(preset.network, CompositionConfig):
        del space["network.convolutions"]
        space["network.image"] = CategoricalDistribution(["none", *LAYOUTS])
        space["network.attention"] = CategoricalDistribution([False, True])
    elif preset.network.depth == "flag":
        space["network.surface_threshold"] = CategoricalDistribution([1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
    if preset.training.balance.name == "gradnorm":
        space["training.balance.alpha"] = CategoricalDistribution([0.5, 1.0, 1.5, 2.0])
    if preset.training.optimiser.name == "one-cycle":
        space["training.optimiser.weight_decay"] = FloatDistribution(1e-4, 1e-1, log=True)
        space["network.dropout"] = CategoricalDistribution([0.0, 0.05, 0.1, 0.2])
    return space


@dataclass(frozen=True)
class TrainingTask:
    """Makes the objective of a search: best validation score of a training, without the test set."""

    datasets: Datasets  # the labelled slabs; called once in each process
    settings: RunSettings  # of the run whose preset is searched

    def __call__(self) -> Objective:
        """Return the objective."""
        from model.training.presets import with_params
        from model.training.runs import chosen_preset, labelled_data, make_split
        from model.training.train import train

        base, dataset = labelled_data(self.datasets, chosen_preset(self.settings))
        split = make_split(dataset, self.settings)

        def objective(params: dict[str, Any], report: Report) -> float:
            try:
                model = train(
                    dataset,
                    split,
                    with_params(base, params),
                    progress=lambda line: report(line.epoch.epoch, line.epoch.score),
                )
            except InputError as error:
                if "diverged" in str(error):  # a bad choice of settings, not a mistake of the user
                    return math.nan
                raise
            return float(min(line["score"] for line in model.history))

        return objective
