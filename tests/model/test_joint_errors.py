"""Errors that slabs of a compound share: estimated, left by training slabs, conditioned on known ones."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.joint_errors import KnownFacets, correlation_left, correlation_within


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_correlation_is_estimated_without_bias(rho):
    rng = np.random.default_rng(0)
    compounds = np.repeat(np.arange(3000), 4)
    z = rho**0.5 * rng.normal(size=3000)[compounds] + (1 - rho) ** 0.5 * rng.normal(size=12000)
    assert correlation_within(7 * z, compounds.astype(str).tolist()) == pytest.approx(rho, abs=0.03)


def test_compounds_of_one_slab_tell_nothing():
    assert correlation_within([1.0, 2.0, -1.0], ["a", "b", "c"]) == 0.0
    assert correlation_within([], []) == 0.0
    assert correlation_within([1.0, 1.0], ["a", "a"]) == 0.95


@pytest.mark.parametrize("known", [0, 1, 5])
def test_training_slabs_leave_the_posterior_correlation(known):
    """Against the covariance of two new slabs given so many of the same compound."""
    rho, n = 0.6, known + 2
    joint = np.full((n, n), rho) + (1 - rho) * np.eye(n)
    a, b = joint[:known, :known], joint[:known, known:]
    left = joint[known:, known:] - (b.T @ np.linalg.solve(a, b) if known else 0)
    assert correlation_left(rho, [known])[0] == pytest.approx(left[0, 1] / left[0, 0])


def test_known_facets_condition_the_others():
    """Against the formula for the joint normal distribution of all."""
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.5, 2.0, 5)
    shared = sigma * rng.uniform(0.3, 0.9, 5)
    error = rng.normal(size=3)
    joint = np.outer(shared, shared) + np.diag(sigma**2 - shared**2)
    a, b = joint[:3, :3], joint[:3, 3:]
    mean = b.T @ np.linalg.solve(a, error)
    left = joint[3:, 3:] - b.T @ np.linalg.solve(a, b)
    known = KnownFacets.of(error, sigma[:3], shared[:3])
    found = [known.correct(4.0, sigma[i], shared[i]) for i in (3, 4)]
    assert [value for value, _, _ in found] == pytest.approx(4.0 - mean)
    assert [s for _, s, _ in found] == pytest.approx(np.sqrt(np.diagonal(left)))
    assert found[0][2] * found[1][2] == pytest.approx(left[0, 1])


def test_nothing_known_changes_nothing():
    known = KnownFacets.of([np.nan, 1.0], [1.0, np.inf], [0.5, np.inf])
    assert known.correct(4.0, 2.0, 1.0) == pytest.approx((4.0, 2.0, 1.0))
