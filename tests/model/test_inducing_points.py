"""Inducing points: against the exact process and dense matrices, kept in files, and better than a subset."""

from __future__ import annotations

import numpy as np
import pytest

from model.baselines import gaussian_process
from model.baselines.gaussian_process import NO_COMPOUND, GaussianProcess, matern
from model.baselines.inducing_points import solve
from stores.errors import InputError

NOISE, OFFSET = 0.02, 0.1


def kernel(a, b):
    return matern(((a[:, None] - b) ** 2).sum(-1))


def sample(n=90, seed=0, width=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width))
    compounds = np.arange(n) % 12
    compounds[::7] = NO_COMPOUND
    offsets = np.append(0.3 * rng.normal(size=12), 0.0)
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1] + offsets[compounds] + 0.05 * rng.normal(size=n)
    return x, y, compounds


def together(compounds):
    same = (compounds[:, None] == compounds) & (compounds != NO_COMPOUND)
    return same | np.eye(len(compounds), dtype=bool)


def test_with_all_slabs_as_inducing_points_it_is_the_exact_process():
    x, y, compounds = sample()
    at = sample(7, seed=1)[0]
    exact = np.linalg.solve(kernel(x, x) + OFFSET * together(compounds) + NOISE * np.eye(90), y)
    coefficients, offsets = solve(kernel, x, x, y, NOISE, compounds, OFFSET)
    assert kernel(at, x) @ coefficients == pytest.approx(kernel(at, x) @ exact, abs=1e-5)
    expected = [OFFSET * exact[compounds == number].sum() for number in range(12)]
    assert offsets == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("with_offsets", [True, False])
def test_with_few_it_is_the_textbook_matrix(with_offsets):
    """Quinonero-Candela and Rasmussen (2005), eq. 24, with the offsets as noise of blocks."""
    x, y, compounds = sample()
    few, at = x[:15] + 0.01, sample(7, seed=1)[0]
    inner = kernel(few, few) + 1e-6 * np.eye(15)
    seen = kernel(x, few) @ np.linalg.solve(inner, kernel(few, x))
    covariance = seen + np.diag(1 - np.diag(seen)) + NOISE * np.eye(90)
    if with_offsets:
        covariance += OFFSET * together(compounds)
    solved = np.linalg.solve(covariance, y)
    coefficients, offsets = solve(
        kernel, few, x, y, NOISE, compounds if with_offsets else None, OFFSET if with_offsets else 0.0
    )
    expected = kernel(at, few) @ np.linalg.solve(inner, kernel(few, x) @ solved)
    assert kernel(at, few) @ coefficients == pytest.approx(expected, abs=1e-9)
    sums = [OFFSET * solved[compounds == number].sum() for number in range(12)] if with_offsets else []
    assert offsets == pytest.approx(sums, abs=1e-9)


def test_more_slabs_than_an_exact_process_takes_all_count(monkeypatch):
    x, y, compounds = (values for values in sample(600, width=6))
    other, true, _ = sample(400, seed=5, width=6)
    true = np.sin(other[:, 0]) + 0.5 * other[:, 1]
    described = x.astype(np.float32)
    exact = GaussianProcess.fit(described, y, 0, compounds, stages=(0,))[0]
    subset = exact.refitted(described[:60], y[:60], compounds[:60])
    monkeypatch.setattr(gaussian_process, "MOST_POINTS", 200)
    monkeypatch.setattr(gaussian_process, "INDUCING", 60)
    through_few = exact.refitted(described, y, compounds)
    assert through_few.points.shape == (60, 6)
    errors = [
        np.abs(one.predict(other.astype(np.float32)) - true).mean() for one in (exact, through_few, subset)
    ]
    assert errors[1] < 0.8 * errors[2]
    assert errors[1] < 1.5 * errors[0]
    # the offset of a compound of the training set is known
    number = np.full(400, 3)
    shift = [
        np.mean(p.predict(described[:9], number[:9]) - p.predict(described[:9])) for p in (exact, through_few)
    ]
    assert shift[1] == pytest.approx(shift[0], abs=0.05)
    assert abs(shift[0]) > 0.1

    again = GaussianProcess.from_state(through_few.state(), 6)
    assert np.array_equal(again.predict(described, compounds), through_few.predict(described, compounds))
    damaged = through_few.state() | {"offset_means": through_few.state()["offset_means"][:-1]}
    with pytest.raises(InputError, match="do not fit together"):
        GaussianProcess.from_state(damaged, 6)
    # without offsets, and back to an exact process
    plain = GaussianProcess.fit(described, y, 0, stages=(0,))[0]
    assert plain.points.shape == (60, 6)
    kept = GaussianProcess.from_state(plain.state(), 6)
    assert np.array_equal(kept.predict(described), plain.predict(described))
    few = kept.refitted(described[:50], y[:50])
    assert few.points.shape == (50, 6)
