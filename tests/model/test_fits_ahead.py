from __future__ import annotations

import functools
import threading
import time

import numpy as np
import pytest
import torch

from model.baselines import recent_fits
from model.baselines.blend import DescriptorModels
from model.baselines.candidates import FitSettings
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import GaussianProcess
from model.baselines.kinds import THREAD, fitting_ahead
from model.baselines.recent_fits import recall
from model.evaluation.metrics import labels
from model.network.convolution import repeatable
from stores.errors import InputError
from tests.model.small_dataset import small_dataset


def test_a_fit_being_computed_in_another_thread_is_waited_for():
    started, may_end, fitted = threading.Event(), threading.Event(), []

    def fit(number):
        fitted.append(number)
        started.set()
        assert may_end.wait(10)
        return number + 1

    first = threading.Thread(target=recall, args=(fit, 1))
    first.start()
    assert started.wait(10)
    threading.Timer(0.1, may_end.set).start()
    assert recall(fit, 1) == 2
    first.join()
    assert fitted == [1]


def test_a_fit_that_failed_is_tried_again():
    calls = []

    def fit(number):
        calls.append(number)
        if len(calls) == 1:
            raise np.linalg.LinAlgError("not positive definite")
        return number

    with pytest.raises(np.linalg.LinAlgError):
        recall(fit, 5)
    assert recall(fit, 5) == 5
    assert calls == [5, 5]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    recent_fits._RECENT.clear()
    yield
    torch.set_num_threads(before)
    recent_fits._RECENT.clear()


@pytest.fixture
def fitted(monkeypatch):
    """Return the threads that forests and processes are fitted in."""
    found = []
    for kind in (Forest, GaussianProcess):
        original = kind.fit.__func__

        @functools.wraps(original)
        def counted(cls, *arguments, original=original, **options):
            found.append(threading.current_thread())
            return original(cls, *arguments, **options)

        monkeypatch.setattr(kind, "fit", classmethod(counted))
    return found


def fit_blend(train, val):
    networks = {name: np.full(len(val), float(np.nanmean(labels(val, name)))) for name in train.targets}
    return DescriptorModels.fit(train, val, networks, 5, 3, np.arange(len(val)) % 5)[0]


def test_what_was_fitted_ahead_is_not_fitted_again(two_threads, fitted):
    data = small_dataset()
    train, val = data.subset(range(60)), data.subset(range(60, len(data)))
    plain = fit_blend(train, val)
    needed = len(fitted)
    recent_fits._RECENT.clear()
    fitted.clear()
    with repeatable(), fitting_ahead(train, train.targets, 5, 3):
        (thread,) = {one for one in threading.enumerate() if one.name == THREAD}
        thread.join(60)
    assert {one.name for one in fitted} == {THREAD} and len(fitted) == needed
    after = fit_blend(train, val)
    assert len(fitted) == needed
    for name, models in plain.targets.items():
        assert np.array_equal(models.forest.value, after.targets[name].forest.value)
        assert np.array_equal(models.process.coefficients, after.targets[name].process.coefficients)


def test_with_one_thread_or_no_trees_nothing_is_fitted_ahead(two_threads, fitted):
    data = small_dataset()
    with fitting_ahead(data, data.targets, 0, 3):
        pass
    torch.set_num_threads(1)
    with fitting_ahead(data, data.targets, 5, 3):
        pass
    assert not any(one.name == THREAD for one in threading.enumerate())
    assert not fitted


def test_fitting_ahead_ends_with_the_piece_at_hand_and_hides_no_error(two_threads, monkeypatch):
    pieces, begun, may_end = [], threading.Event(), threading.Event()

    def piece(self, rows, true):
        pieces.append(len(true))
        begun.set()
        assert may_end.wait(10)
        raise MemoryError

    monkeypatch.setattr(FitSettings, "fit", piece)
    data = small_dataset()
    with repeatable(), fitting_ahead(data, data.targets, 5, 3):
        (thread,) = {one for one in threading.enumerate() if one.name == THREAD}
        assert begun.wait(10)
    may_end.set()
    thread.join(10)
    assert not thread.is_alive() and pieces == [len(data)]


def test_no_fit_outlives_the_error_of_a_training(two_threads, monkeypatch):
    begun = threading.Event()

    def piece(self, rows, true):
        begun.set()
        time.sleep(0.2)

    monkeypatch.setattr(FitSettings, "fit", piece)
    data = small_dataset()
    with pytest.raises(InputError), repeatable(), fitting_ahead(data, data.targets, 5, 3):
        assert begun.wait(10)
        raise InputError("training diverged")
    assert not any(one.name == THREAD for one in threading.enumerate())
