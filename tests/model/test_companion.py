"""Shares of networks, trees and process: fitted on validation slabs."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from model.baselines import recent_fits
from model.baselines.blend import DescriptorModels
from model.baselines.blend_weights import FEWEST_LABELS, LEAST, UNCHOSEN, fit_blend_weights
from model.baselines.compounds import CompoundTable
from model.baselines.descriptors import describe_slabs
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import STAGES, GaussianProcess
from model.evaluation.metrics import labels
from tests.model.small_dataset import small_dataset

TRUE = np.linspace(0, 1, 90)
MOST = 1 - 2 * LEAST


def errors(seed):
    return np.random.default_rng(seed).normal(size=90)


def test_shares_are_those_that_err_least_but_nobody_is_silenced():
    exact, wrong = TRUE, TRUE + 5 + errors(1)
    assert fit_blend_weights(exact, wrong, [wrong], TRUE)[1] == pytest.approx((MOST, LEAST, LEAST))
    assert fit_blend_weights(wrong, exact, [wrong], TRUE)[1] == pytest.approx((LEAST, MOST, LEAST))
    assert fit_blend_weights(wrong, wrong, [exact], TRUE)[1] == pytest.approx((LEAST, LEAST, MOST))
    shifted = fit_blend_weights(TRUE + 0.4, TRUE - 0.2, [TRUE - 0.2], TRUE)[1]
    assert shifted[0] == pytest.approx(1 / 3, abs=0.03)  # the errors cancel
    assert sum(shifted) == pytest.approx(1)


def test_the_stage_of_the_process_is_chosen_with_the_shares():
    noisy = TRUE + errors(1)
    stages = [TRUE + errors(seed) for seed in range(2, 6)]
    assert fit_blend_weights(noisy, noisy, [*stages, TRUE], TRUE)[0] == 4
    assert fit_blend_weights(noisy, noisy, [TRUE, *stages], TRUE)[0] == 0


def test_few_labels_choose_nothing():
    true = np.where(np.arange(90) < FEWEST_LABELS - 1, TRUE, np.nan)
    stages = [TRUE] + [TRUE + 1] * (len(STAGES) - 1)
    assert fit_blend_weights(TRUE + 1, TRUE + 1, stages, true) == (UNCHOSEN, (1 / 3, 1 / 3, 1 / 3))
    enough = np.where(np.arange(90) < FEWEST_LABELS, TRUE, np.nan)
    assert fit_blend_weights(TRUE + 1, TRUE + 1, stages, enough)[0] == 0


def test_labels_of_a_fold_choose_nothing_for_it():
    odd = np.arange(90) % 2 == 1
    even_exact, odd_exact = TRUE + odd, TRUE + ~odd
    assert fit_blend_weights(even_exact, odd_exact, [TRUE + 1], TRUE, ~odd)[1] == pytest.approx(
        (MOST, LEAST, LEAST)
    )
    assert fit_blend_weights(even_exact, odd_exact, [TRUE + 1], TRUE, odd)[1] == pytest.approx(
        (LEAST, MOST, LEAST)
    )
    few = np.arange(90) < FEWEST_LABELS // 2  # enough labels in all
    assert fit_blend_weights(TRUE, TRUE + 1, [TRUE + 1], TRUE, few)[1] == pytest.approx((MOST, LEAST, LEAST))


def test_what_was_chosen_is_kept(monkeypatch):
    monkeypatch.setattr("model.baselines.blend_weights.FEWEST_LABELS", 10)
    dataset = small_dataset()
    train, val = dataset.subset(range(0, len(dataset), 2)), dataset.subset(range(1, len(dataset), 2))
    name, (before, after) = "surface_energy", (describe_slabs([e.graph for e in p]) for p in (train, val))
    forest = Forest.fit(before, labels(train, name), trees=5, seed=7)
    numbers = np.unique([entry.compound for entry in train], return_inverse=True)[1]
    table = CompoundTable.of([entry.graph for entry in train], numbers)
    recognised = table.recognise([entry.graph for entry in val])
    stages = [
        process.predict(after, recognised)
        for process in GaussianProcess.fit(before, labels(train, name), 7, numbers)
    ]
    true = labels(val, name)
    network = true + 0.2 * np.nanstd(true) * np.random.default_rng(0).normal(size=len(val))
    stage, shares = fit_blend_weights(network, forest.predict(after)[0], stages, true)
    assert len(set(shares)) == 3  # so that none can be taken for another
    folds = np.arange(len(val)) % 3
    descriptor_models, held_out = DescriptorModels.fit(train, val, {name: network}, 5, 7, folds)
    assert {key: one.shares for key, one in descriptor_models.targets.items()} == {name: shares}
    for fold, row in enumerate(held_out[name]):
        k, (a, b, c) = fit_blend_weights(network, forest.predict(after)[0], stages, true, folds != fold)
        assert row == pytest.approx(a * network + b * forest.predict(after)[0] + c * stages[k])
    graphs = [entry.graph for entry in val]
    mixed = descriptor_models.predict({name: network}, graphs).mean[name]
    expected = shares[0] * network + shares[1] * forest.predict(after)[0] + shares[2] * stages[stage]
    assert mixed == pytest.approx(expected)
    process = descriptor_models.targets[name].process
    assert [np.allclose(s, process.predict(after, recognised)) for s in stages].index(True) == stage


def test_a_target_with_too_few_labels_is_left_to_the_networks():
    dataset = small_dataset()
    train, val = dataset.subset(range(9)), dataset.subset(range(9, len(dataset)))
    networks = {name: np.zeros(len(val)) for name in ("surface_energy", "work_function")}
    descriptor_models, held_out = DescriptorModels.fit(
        train, val, networks, 3, 0, np.zeros(len(val), dtype=np.intp)
    )
    assert descriptor_models.targets == held_out == {}
    blended = descriptor_models.predict(networks, [entry.graph for entry in val])
    assert blended.deviation == {}
    assert all(np.array_equal(blended.mean[name], networks[name]) for name in networks)


def test_targets_fitted_by_two_threads_are_those_of_one(monkeypatch):
    dataset = small_dataset()
    train, val = dataset.subset(range(0, len(dataset), 2)), dataset.subset(range(1, len(dataset), 2))
    networks = {
        name: np.nan_to_num(labels(val, name), nan=3.0) * 0.9 for name in ("surface_energy", "work_function")
    }
    graphs, found = [entry.graph for entry in val], []
    for n in (1, 2):
        monkeypatch.setattr("model.baselines.blend.edge_threads", lambda n=n: n)
        monkeypatch.setattr(recent_fits, "_RECENT", OrderedDict())  # fitted again
        models, held_out = DescriptorModels.fit(train, val, networks, 3, 0, np.arange(len(val)) % 3)
        assert list(models.targets) == list(networks)
        found.append((models.predict(networks, graphs).mean, held_out))
    for one, other in zip(*found, strict=True):
        for name in networks:
            np.testing.assert_array_equal(one[name], other[name])
