from __future__ import annotations

import numpy as np
import pytest

from model.calibration import NORMAL_QUANTILE, calibrate
from model.metrics import coverage, spearman_of_sigma


def drawn(n, seed, tails=False):
    """Errors whose variance is 4 s^2 + 0.5 d^2 + 0.01; with tails, Student's t of 4 degrees of freedom."""
    rng = np.random.default_rng(seed)
    s, d = rng.gamma(2.0, 0.1, n), rng.gamma(2.0, 0.2, n)
    true_sigma = np.sqrt(4 * s**2 + 0.5 * d**2 + 0.01)
    noise = rng.standard_t(4, n) / np.sqrt(2) if tails else rng.normal(size=n)
    return true_sigma * noise, s, d, true_sigma


@pytest.mark.parametrize("tails", [False, True])
def test_intervals_cover_nine_tenths_of_new_errors(tails):
    e, s, d, _ = drawn(600, 0, tails)
    found = calibrate(e, s, d)
    e2, s2, d2, _ = drawn(4000, 1, tails)
    half = NORMAL_QUANTILE * found.sigma(s2, d2)
    assert 0.85 <= coverage(e2, -half, half) <= 0.95


def test_the_known_variance_is_found_and_ranks_the_errors():
    e, s, d, _ = drawn(5000, 2)
    found = calibrate(e, s, d)
    _, s2, d2, true_sigma = drawn(500, 3)
    assert found.sigma(s2, d2) == pytest.approx(true_sigma, rel=0.15)
    assert spearman_of_sigma(e, np.zeros_like(e), found.sigma(s, d)) > 0.3


def test_one_member_leans_on_the_distance():
    e, _, d, _ = drawn(500, 4)
    found = calibrate(e, np.zeros(500), d)
    assert found.spread == 0
    assert found.distance > 0
    assert found.sigma([0.0], [5.0])[0] > found.sigma([0.0], [0.1])[0]


def test_spread_and_distance_that_tell_nothing_leave_a_constant():
    rng = np.random.default_rng(5)
    e = rng.normal(0, 0.3, 400)
    found = calibrate(e, np.zeros(400), np.zeros(400))
    assert found.sigma([0.0, 0.0], [0.0, 0.0]) == pytest.approx([0.3, 0.3], rel=0.15)


def test_few_labels_give_one_width_for_all():
    found = calibrate([0.1, -0.2, 0.3, np.nan], [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0])
    assert found.n == 3
    low, high = found.sigma([0.0, 9.0], [0.0, 9.0])
    assert low == high
    assert NORMAL_QUANTILE * low == pytest.approx(0.3)


def test_no_label_at_all_promises_nothing():
    found = calibrate([np.nan], [1.0], [1.0])
    assert np.isinf(found.sigma([0.1], [0.1])).all()


def test_scales_of_the_targets_do_not_matter():
    e, s, d, _ = drawn(400, 6)
    small = calibrate(1e-3 * e, 1e-3 * s, d)
    large = calibrate(e, s, d)
    assert 1e3 * small.sigma(1e-3 * s, d) == pytest.approx(large.sigma(s, d), rel=1e-3)
