from __future__ import annotations

import numpy as np
import pytest

from model.promotion.gate import FEWEST_COMPOUNDS, compound_errors, judge

TARGETS = ("surface_energy", "work_function")
SCALE = {"surface_energy": 0.03, "work_function": 0.5}


def world(n_compounds=20, slabs=5, seed=0):
    """Slabs of compounds whose labels are known."""
    rng = np.random.default_rng(seed)
    compounds = [f"C{i}" for i in range(n_compounds) for _ in range(slabs)]
    true = {name: rng.normal(size=len(compounds)) * SCALE[name] for name in TARGETS}
    return rng, compounds, true


def off(true, rng, size):
    """Predictions that are wrong by about so many standard deviations."""
    return {
        name: values + rng.normal(size=len(values)) * np.broadcast_to(size, ()) * SCALE[name]
        for name, values in true.items()
    }


def test_errors_are_means_over_the_slabs_of_a_compound_in_standard_deviations():
    compounds = ["b", "a", "b"]
    true = {"surface_energy": np.array([0.1, 0.2, np.nan]), "work_function": np.array([4.0, np.nan, 5.0])}
    predicted = {"surface_energy": np.array([0.13, 0.2, 9.0]), "work_function": np.array([4.5, 9.0, 5.0])}
    errors = compound_errors(compounds, true, predicted, SCALE)
    np.testing.assert_allclose(errors, [[0.0, np.nan], [1.0, 0.5]])


def test_a_better_model_is_better_and_the_reverse_is_worse():
    rng, compounds, true = world()
    good, bad = off(true, rng, 0.3), off(true, rng, 0.6)
    found = judge(compounds, true, good, bad, SCALE, "v3")
    assert found.better
    assert found.reason.startswith("better than v3: mean scaled error 0.")
    assert found.difference.high < 0
    assert set(found.by_target) == set(TARGETS)
    assert found.ours == pytest.approx(found.theirs + found.difference.mean)
    back = judge(compounds, true, bad, good, SCALE, "v3")
    assert not back.better
    assert back.reason.startswith("worse than v3")
    assert back.difference.mean == pytest.approx(-found.difference.mean)


def test_equal_models_are_judged_better_no_more_often_than_chance():
    wrong = 0
    for seed in range(60):
        rng, compounds, true = world(20, 4, seed)
        wrong += judge(compounds, true, off(true, rng, 0.5), off(true, rng, 0.5), SCALE, "v1").better
    assert wrong <= 5  # 2.5 % of 60 is 1 or 2; the percentile interval is a little narrow at 20 compounds


def test_slabs_of_one_compound_are_not_independent():
    """A hundred slabs of two lucky compounds must not outweigh chance, whatever their number."""
    rng = np.random.default_rng(1)
    compounds = [f"C{i}" for i in range(8) for _ in range(100)]
    true = {"work_function": np.zeros(800)}
    shift = np.repeat(rng.normal(size=8) * 0.3, 100)
    ours = {"work_function": 0.5 + shift}
    theirs = {"work_function": np.full(800, 0.5)}
    found = judge(compounds, true, ours, theirs, {"work_function": 1.0}, "v1")
    by_slab = np.abs(ours["work_function"]) - 0.5
    assert abs(by_slab.mean()) / (by_slab.std() / 800**0.5) > 3  # slab by slab it would look sure
    assert found.difference.low < 0 < found.difference.high
    assert not found.better
    assert "by more than chance" in found.reason


def test_one_target_must_not_pay_for_the_other():
    rng, compounds, true = world()
    theirs = off(true, rng, 0.6)
    ours = off(true, rng, 0.1)
    ours["work_function"] = theirs["work_function"] * 1.0 + 0.1 * SCALE["work_function"] * np.sign(
        theirs["work_function"] - true["work_function"]
    )
    found = judge(compounds, true, ours, theirs, SCALE, "v1")
    assert found.difference.high < 0
    assert not found.better
    assert "worse in work_function" in found.reason


def test_few_compounds_decide_nothing_however_large_the_difference():
    rng, compounds, true = world(FEWEST_COMPOUNDS - 1, 50)
    found = judge(compounds, true, off(true, rng, 0.01), off(true, rng, 2.0), SCALE, "the mean")
    assert not found.better
    assert "too few" in found.reason
    rng, compounds, true = world(FEWEST_COMPOUNDS, 50)
    assert judge(compounds, true, off(true, rng, 0.01), off(true, rng, 2.0), SCALE, "the mean").better


def test_compounds_without_a_label_of_one_target_count_for_the_other():
    rng, compounds, true = world()
    true["work_function"][: 5 * 15] = np.nan
    ours, theirs = off(true, rng, 0.2), off(true, rng, 0.5)
    ours["work_function"], theirs["work_function"] = (
        np.where(np.isnan(v["work_function"]), 4.0, v["work_function"]) for v in (ours, theirs)
    )
    found = judge(compounds, true, ours, theirs, SCALE, "v1")
    assert found.better
    assert found.compounds == 20
    assert np.isfinite([found.ours, found.theirs, found.difference.low, found.difference.high]).all()


def test_a_prediction_that_is_no_number_is_an_error_and_no_tie():
    rng, compounds, true = world()
    ours = off(true, rng, 0.2)
    ours["work_function"][:5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        judge(compounds, true, ours, off(true, rng, 0.5), SCALE, "v1")
