from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.calibration import FOLDS, NORMAL_QUANTILE, calibrate, fold_numbers
from model.evaluation.metrics import coverage, spearman_of_sigma


def drawn(n, seed, tails=False):
    """Errors whose variance is 4 s^2 + 0.5 d^2 + 0.01; with tails, Student's t of 4 degrees of freedom."""
    rng = np.random.default_rng(seed)
    s, d = rng.gamma(2.0, 0.1, n), rng.gamma(2.0, 0.2, n)
    true_sigma = np.sqrt(4 * s**2 + 0.5 * d**2 + 0.01)
    noise = rng.standard_t(4, n) / np.sqrt(2) if tails else rng.normal(size=n)
    return true_sigma * noise, s, d, true_sigma


def folds_of(e):
    return np.arange(len(e)) % FOLDS


@pytest.mark.parametrize("tails", [False, True])
def test_intervals_cover_nine_tenths_of_new_errors(tails):
    e, s, d, _ = drawn(600, 0, tails)
    found = calibrate(e, s, d, folds=folds_of(e))
    e2, s2, d2, _ = drawn(4000, 1, tails)
    half = NORMAL_QUANTILE * found.sigma(s2, d2)
    assert 0.85 <= coverage(e2, -half, half) <= 0.95


def test_the_known_variance_is_found_and_ranks_the_errors():
    e, s, d, _ = drawn(5000, 2)
    found = calibrate(e, s, d, folds=folds_of(e))
    _, s2, d2, true_sigma = drawn(500, 3)
    assert found.sigma(s2, d2) == pytest.approx(true_sigma, rel=0.15)
    assert spearman_of_sigma(e, np.zeros_like(e), found.sigma(s, d)) > 0.3


def test_one_member_leans_on_the_distance():
    e, _, d, _ = drawn(500, 4)
    found = calibrate(e, np.zeros(500), d, folds=folds_of(e))
    assert found.spread == 0
    assert found.distance > 0
    assert found.sigma([0.0], [5.0])[0] > found.sigma([0.0], [0.1])[0]


def test_spread_and_distance_that_tell_nothing_leave_a_constant():
    rng = np.random.default_rng(5)
    e = rng.normal(0, 0.3, 400)
    found = calibrate(e, np.zeros(400), np.zeros(400), folds=folds_of(e))
    assert found.sigma([0.0, 0.0], [0.0, 0.0]) == pytest.approx([0.3, 0.3], rel=0.15)


def test_few_labels_give_one_width_for_all():
    found = calibrate([0.1, -0.2, 0.3, np.nan], [1.0, 2.0, 3.0, 4.0], [1.0] * 4, folds=[0, 1, 2, 3])
    assert found.n == 3
    low, high = found.sigma([0.0, 9.0], [0.0, 9.0])
    assert low == high
    assert NORMAL_QUANTILE * low == pytest.approx(0.3)


def test_no_label_at_all_promises_nothing():
    found = calibrate([np.nan], [1.0], [1.0], folds=[0])
    assert np.isinf(found.sigma([0.1], [0.1])).all()


def test_scales_of_the_targets_do_not_matter():
    e, s, d, _ = drawn(400, 6)
    small = calibrate(1e-3 * e, 1e-3 * s, d, folds=folds_of(e))
    large = calibrate(e, s, d, folds=folds_of(e))
    assert 1e3 * small.sigma(1e-3 * s, d) == pytest.approx(large.sigma(s, d), rel=1e-3)


def test_what_shares_a_name_shares_a_fold_in_any_order():
    names = [f"slab {i // 2}" for i in range(40)]
    found = fold_numbers(names)
    assert sorted(np.bincount(found)) == [8] * FOLDS
    assert (found[::2] == found[1::2]).all()
    assert (fold_numbers(names[::-1]) == found[::-1]).all()
    assert set(fold_numbers(["a", "b", "a"])) == {0, 1}


@pytest.mark.parametrize("n", [12, 30, 60])
def test_few_labels_cover_what_they_promise(n):
    """The 90 % interval of n exchangeable scores covers ceil(0.9 (n + 1)) / (n + 1) of new ones."""
    covered, in_sample = [], []
    for seed in range(100):
        e, s, d, _ = drawn(n, 2 * seed)
        e2, s2, d2, _ = drawn(200, 2 * seed + 1)
        half = NORMAL_QUANTILE * calibrate(e, s, d, folds=folds_of(e)).sigma(s2, d2)
        covered.append(coverage(e2, -half, half))
        half = NORMAL_QUANTILE * calibrate(e, s, d, folds=np.zeros(n)).sigma(s2, d2)
        in_sample.append(coverage(e2, -half, half))
    assert np.mean(covered) == pytest.approx(np.ceil(0.9 * (n + 1)) / (n + 1), abs=0.02)
    assert np.mean(covered) >= np.mean(in_sample)


def test_errors_count_as_they_are_without_the_labels_of_their_fold():
    e, s, d, _ = drawn(200, 8)
    folds = folds_of(e)
    worse = np.tile(e, (FOLDS, 1))
    worse[folds, np.arange(200)] *= 2  # each slab in the row of its own fold
    one, two = (calibrate(e, s, d, folds=folds, held_out=rows) for rows in (None, worse))
    assert two.scale == pytest.approx(2 * one.scale)
    assert (two.spread, two.distance, two.floor) == (one.spread, one.distance, one.floor)
