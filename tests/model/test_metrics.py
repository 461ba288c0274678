from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from model.evaluation.metrics import (
    bootstrap,
    by_system,
    coverage,
    errors,
    facet_order,
    macro_average,
    per_element,
    relative_change,
    spearman_of_sigma,
)


def test_errors_of_a_worked_example():
    e = errors([1.0, 2.0, 4.0, np.nan], [1.5, 2.0, 3.0, 9.0])
    assert e.n == 3
    assert e.mae == pytest.approx(0.5)
    assert e.rmse == pytest.approx(np.sqrt(1.25 / 3))
    assert e.r2 == pytest.approx(1 - 1.25 / (14 / 3))
    assert e.mape == pytest.approx(100 * (0.5 + 0 + 0.25) / 3)


def test_predicting_the_mean_explains_nothing():
    y = np.arange(10.0)
    assert errors(y, np.full(10, y.mean())).r2 == pytest.approx(0)


def test_no_labels_and_equal_labels_give_nan_not_a_crash():
    assert np.isnan(errors([np.nan], [1.0]).mae)
    assert np.isnan(errors([2.0, 2.0], [2.0, 2.1]).r2)
    assert np.isnan(errors([0.0, 0.0], [1.0, 1.0]).mape)


def test_errors_by_element_count_a_slab_for_each_of_its_elements():
    found = per_element([("Mg", "Ag"), ("Mg", "Al")], [1.0, 1.0], [1.1, 1.3])
    assert list(found) == ["Ag", "Al", "Mg"]
    assert found["Ag"].mae == pytest.approx(0.1)
    assert found["Mg"].mae == pytest.approx(0.2)


def test_each_system_counts_once_in_the_macro_average():
    found = by_system(["A"] * 9 + ["B", "C"], [0.0] * 10 + [np.nan], [0.1] * 9 + [0.5, 7.0])
    assert macro_average(found) == pytest.approx(0.3)


def test_facet_order_is_within_compounds():
    compounds = ["a"] * 3 + ["b"] * 3 + ["c", "d", "d"]
    true = [1, 2, 3, 11, 12, 13, 5, 7, 7]
    assert facet_order(compounds, true, [10, 20, 30, 1, 2, 3, 0, 0, 1]) == (pytest.approx(1.0), 2)
    assert facet_order(compounds, true, [3, 2, 1, 1, 2, 3, 0, 0, 1]) == (pytest.approx(0.0), 2)
    # a model that cannot tell facets apart gets no credit
    assert facet_order(compounds, true, [1, 1, 1, 2, 2, 2, 0, 0, 0]) == (0.0, 2)
    assert np.isnan(facet_order(["a", "b"], [1, 2], [1, 2])[0])


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = bootstrap(rng.normal(1.0, 1.0, 30), seed=trial, draws=500)
        hits += interval.low <= 1.0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_in_parts_is_that_in_one_and_needs_little_memory(monkeypatch):
    values = np.random.default_rng(3).normal(size=(40, 2))
    spread = lambda drawn: drawn.std(axis=(1, 2))  # noqa: E731
    in_parts = bootstrap(values, spread, draws=1000)
    monkeypatch.setattr("model.evaluation.metrics._BOOTSTRAP_NUMBERS", 10**9)
    assert bootstrap(values, spread, draws=1000) == in_parts
    monkeypatch.setattr("model.evaluation.metrics._BOOTSTRAP_NUMBERS", 700)
    assert bootstrap(values, spread, draws=1000) == in_parts
    monkeypatch.undo()
    tracemalloc.start()
    bootstrap(np.zeros((5000, 2)), lambda drawn: drawn.mean(axis=(1, 2)), draws=3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # all at once: 360 MB


@pytest.mark.parametrize("n", [5, 6, 12])
def test_bootstrap_of_few_values_is_not_too_narrow(n):
    rng = np.random.default_rng(0)
    below = sum(bootstrap(rng.normal(0.0, 1.0, n), seed=trial, draws=2000).high < 0 for trial in range(1000))
    assert below <= 50  # 25 expected; the plain percentile interval gives 65 at six values


def test_paired_difference_sees_what_the_spread_of_seeds_hides():
    rng = np.random.default_rng(1)
    theirs = 0.1 + rng.normal(0, 0.01, 8)
    ours = theirs - 0.005 + rng.normal(0, 0.0005, 8)
    change = bootstrap(np.asarray(ours) - np.asarray(theirs))
    assert change.low < change.mean < change.high < 0
    assert change.mean == pytest.approx(-0.005, abs=0.0005)
    assert relative_change(0.8 * theirs, theirs) == relative_change(0.8 * theirs, theirs)
    assert relative_change(0.8 * theirs, theirs).mean == pytest.approx(-0.2)


def test_coverage_ignores_slabs_without_label():
    assert coverage([1, 2, 3, np.nan], [0.5, 0.5, 0.5, 0], [1.5, 2.5, 2.5, 1]) == pytest.approx(2 / 3)


def test_sigma_that_ranks_the_errors_scores_one():
    y, p = np.zeros(5), np.array([0.1, -0.2, 0.3, -0.4, 0.5])
    assert spearman_of_sigma(y, p, np.abs(p)) == pytest.approx(1)
    assert spearman_of_sigma(y, p, 1 - np.abs(p)) == pytest.approx(-1)
    assert np.isnan(spearman_of_sigma(y, p, np.ones(5)))
