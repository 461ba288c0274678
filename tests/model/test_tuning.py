from __future__ import annotations

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from model.training.tuning import STARTUP_TRIALS, rounded, summaries, tune
from stores.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

SPACE = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "width": IntDistribution(1, 4),
    "kind": CategoricalDistribution(["a", "b"]),
}


def bowl():
    """Least at rate 1e-2, width 3, kind b."""

    def objective(params, report):
        loss = (math.log10(params["rate"]) + 2) ** 2 + (params["width"] - 3) ** 2 + (params["kind"] == "a")
        for epoch in range(3):
            report(epoch, loss + 1 / (1 + epoch))
        return loss

    return objective


def test_the_search_finds_the_bottom_and_repeats_nothing(tmp_path):
    found = tune(tmp_path, SPACE, bowl, trials=45, seed=1)
    assert len(found) == 45
    assert found[0].params["kind"] == "b"
    assert found[0].params["width"] == 3
    assert found[0].loss < 0.1
    assert len({tuple(trial.params.items()) for trial in found}) == 45
    # the estimator is better than chance
    late = [trial.loss for trial in found if trial.number >= STARTUP_TRIALS]
    early = [trial.loss for trial in found if trial.number < STARTUP_TRIALS]
    assert sum(late) / len(late) < sum(early) / len(early)


def test_a_search_goes_on_where_it_stopped(tmp_path):
    first = tune(tmp_path, SPACE, bowl, trials=6)
    more = tune(tmp_path, SPACE, bowl, trials=10)
    assert len(more) == 10
    assert {trial.number for trial in first} < {trial.number for trial in more}
    assert tune(tmp_path, SPACE, bowl, trials=10) == more


def test_a_small_space_is_searched_once_and_then_ends(tmp_path):
    def objective(params, report):
        return float(params["n"])

    found = tune(tmp_path, {"n": IntDistribution(1, 6)}, lambda: objective, trials=50)
    assert [trial.params["n"] for trial in found] == [1, 2, 3, 4, 5, 6]


def test_bad_trials_are_pruned_and_diverged_ones_do_not_stop_the_search(tmp_path):
    epochs = []

    def objective(params, report):
        if params["width"] == 1:
            return math.nan
        for epoch in range(10):
            report(epoch, float(params["width"]) + params["rate"])
        epochs.append(params["width"])
        return float(params["width"])

    found = tune(tmp_path, SPACE, lambda: objective, trials=40)
    assert len(found) == 40
    assert any(trial.pruned for trial in found)
    assert not found[0].pruned
    assert all(math.isinf(trial.loss) for trial in found if trial.params["width"] == 1)


def test_an_interrupted_trial_is_tried_again(tmp_path):
    tried = []

    def interrupted():
        def objective(params, report):
            tried.append(params)
            if len(tried) == 4:
                raise KeyboardInterrupt
            return params["rate"]

        return objective

    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path, SPACE, interrupted, trials=8)
    assert len(summaries(tmp_path)) == 3
    found = tune(tmp_path, SPACE, interrupted, trials=8)
    assert tried[4] == tried[3]
    assert len(found) == 8


def test_a_killed_search_loses_only_the_trial_in_work(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from optuna.distributions import FloatDistribution\nfrom model.training.tuning import tune\n"
        "def objective(params, report):\n    time.sleep(0.2)\n    return params['rate']\n"
        "tune(Path(sys.argv[1]), {'rate': FloatDistribution(1e-4, 1e-1, log=True)}, lambda: objective)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while len(summaries(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
    with (tmp_path / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code": 6, "half')  # as if the kill had hit the middle of a line
    before = summaries(tmp_path)
    assert len(before) >= 3

    def objective(params, report):
        return params["rate"]

    space = {"rate": FloatDistribution(1e-4, 1e-1, log=True)}
    found = tune(tmp_path, space, lambda: objective, trials=len(before) + 2)
    assert {trial.number for trial in before} < {trial.number for trial in found}
    assert len(found) == len(before) + 2


def test_several_processes_share_one_search(tmp_path):
    counts = []
    found = tune(
        tmp_path, SPACE, bowl, trials=12, workers=2, progress=lambda trials: counts.append(len(trials))
    )
    assert len(found) == 12
    assert len({tuple(trial.params.items()) for trial in found}) == 12
    assert counts == sorted(counts)


def refusing():
    raise InputError("the store holds no labels")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_the_user_ends_the_search_in_words(tmp_path, workers):
    with pytest.raises(InputError, match="holds no labels"):
        tune(tmp_path, SPACE, refusing, trials=5, workers=workers)


def test_two_searches_in_one_folder_are_refused(tmp_path):
    with (tmp_path / "search.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"in use by another process.*--output"):
            tune(tmp_path, SPACE, bowl, trials=3)


def test_another_space_in_the_same_folder_is_refused(tmp_path):
    tune(tmp_path, SPACE, bowl, trials=3)
    with pytest.raises(InputError, match="another space"):
        tune(tmp_path, {"rate": FloatDistribution(1e-3, 1e-1)}, bowl, trials=4)


def test_no_search_no_trials(tmp_path):
    assert summaries(tmp_path) == []


def test_floats_keep_two_digits():
    assert rounded({"a": 0.012345, "b": 3, "c": "x"}) == {"a": 0.012, "b": 3, "c": "x"}
