"""What networks, trees and process have to say: weighed on validation slabs."""

from __future__ import annotations

import numpy as np
import pytest

from model.companion import FEWEST_LABELS, LEAST, UNCHOSEN, Companion, weigh
from model.descriptors import describe_slabs
from model.evaluation import labels
from model.forest import Forest
from model.gaussian_process import STAGES, GaussianProcess
from tests.model.small_dataset import small_dataset

TRUE = np.linspace(0, 1, 90)
MOST = 1 - 2 * LEAST


def errors(seed):
    return np.random.default_rng(seed).normal(size=90)


def test_shares_are_those_that_err_least_but_nobody_is_silenced():
    exact, wrong = TRUE, TRUE + 5 + errors(1)
    assert weigh(exact, wrong, [wrong], TRUE)[1] == pytest.approx((MOST, LEAST, LEAST))
    assert weigh(wrong, exact, [wrong], TRUE)[1] == pytest.approx((LEAST, MOST, LEAST))
    assert weigh(wrong, wrong, [exact], TRUE)[1] == pytest.approx((LEAST, LEAST, MOST))
    shifted = weigh(TRUE + 0.4, TRUE - 0.2, [TRUE - 0.2], TRUE)[1]
    assert shifted[0] == pytest.approx(1 / 3, abs=0.03)  # the errors cancel
    assert sum(shifted) == pytest.approx(1)


def test_the_stage_of_the_process_is_chosen_with_the_shares():
    noisy = TRUE + errors(1)
    stages = [TRUE + errors(seed) for seed in range(2, 6)]
    assert weigh(noisy, noisy, [*stages, TRUE], TRUE)[0] == 4
    assert weigh(noisy, noisy, [TRUE, *stages], TRUE)[0] == 0


def test_few_labels_choose_nothing():
    true = np.where(np.arange(90) < FEWEST_LABELS - 1, TRUE, np.nan)
    stages = [TRUE] + [TRUE + 1] * (len(STAGES) - 1)
    assert weigh(TRUE + 1, TRUE + 1, stages, true) == (UNCHOSEN, (1 / 3, 1 / 3, 1 / 3))
    enough = np.where(np.arange(90) < FEWEST_LABELS, TRUE, np.nan)
    assert weigh(TRUE + 1, TRUE + 1, stages, enough)[0] == 0


def test_what_was_chosen_is_kept(monkeypatch):
    monkeypatch.setattr("model.companion.FEWEST_LABELS", 10)
    dataset = small_dataset()
    train, val = dataset.subset(range(0, len(dataset), 2)), dataset.subset(range(1, len(dataset), 2))
    name, (before, after) = "surface_energy", (describe_slabs([e.graph for e in p]) for p in (train, val))
    forest = Forest.grow(before, labels(train, name), trees=5, seed=7)
    stages = [process.predict(after) for process in GaussianProcess.grow(before, labels(train, name), seed=7)]
    true = labels(val, name)
    network = true + 0.2 * np.nanstd(true) * np.random.default_rng(0).normal(size=len(val))
    stage, shares = weigh(network, forest.predict(after)[0], stages, true)
    assert len(set(shares)) == 3  # so that none can be taken for another
    companion = Companion.grow(train, val, {name: network}, trees=5, seed=7)
    assert companion.shares == {name: shares}
    mixed = companion.predict({name: network}, after)[0][name]
    expected = shares[0] * network + shares[1] * forest.predict(after)[0] + shares[2] * stages[stage]
    assert mixed == pytest.approx(expected)
    assert [np.allclose(s, companion.processes[name].predict(after)) for s in stages].index(True) == stage


def test_a_target_with_too_few_labels_is_left_to_the_networks():
    dataset = small_dataset()
    train, val = dataset.subset(range(9)), dataset.subset(range(9, len(dataset)))
    networks = {name: np.zeros(len(val)) for name in ("surface_energy", "work_function")}
    companion = Companion.grow(train, val, networks, trees=3, seed=0)
    assert companion.shares == companion.processes == companion.forests == {}
    mixed, spread = companion.predict(networks, describe_slabs([entry.graph for entry in val]))
    assert spread == {}
    assert all(np.array_equal(mixed[name], networks[name]) for name in networks)
