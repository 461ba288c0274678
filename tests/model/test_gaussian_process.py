"""The Gaussian process: against scikit-learn's, its gradient against differences, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.baselines import gaussian_process
from model.baselines.gaussian_process import STAGES, GaussianProcess, loss, matern, matern_slope
from stores.errors import InputError


def sample(n=150, seed=0, width=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32)
    return x, np.sin(1.5 * x[:, 0].astype(float)) + x[:, 1]


def test_prediction_is_that_of_scikit_learn_with_the_same_lengths():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    x, y = sample()
    other, _ = sample(40, seed=1)
    stages = GaussianProcess.fit(x, y, seed=0)
    centre, width = x.mean(axis=0), x.std(axis=0)
    assert np.abs((other - centre) / width).max() < gaussian_process.BOUND
    scaled, unit = ((x - centre) / width).astype(float), (y - y.mean()) / y.std()
    found = gaussian_process._learn(scaled, unit)
    assert found[0][0] == pytest.approx(np.log(gaussian_process.LENGTH))
    for stage, (log_lengths, noise, amplitude, _) in zip(stages, found, strict=True):
        kernel = ConstantKernel(amplitude) * Matern(length_scale=np.exp(log_lengths), nu=1.5)
        peer = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(scaled, unit)
        expected = peer.predict((other - centre) / width) * y.std() + y.mean()
        assert stage.predict(other) == pytest.approx(expected, abs=1e-4)
    assert stages[0].predict(other[:0]).shape == (0,)


def test_likelihood_is_that_of_scikit_learn():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    x, y = sample(60)
    x = x.astype(float)

    def difference(lengths, noise, amplitude):
        theta = np.log([*lengths, noise, amplitude, 1.0])
        ours = loss(x, y, theta)[0] - (gaussian_process.LENGTH / np.array(lengths)).sum()  # prior
        kernel = ConstantKernel(amplitude) * Matern(length_scale=lengths, nu=1.5)
        peer = GaussianProcessRegressor(
            kernel, alpha=noise + gaussian_process.LEAST_NOISE, optimizer=None
        ).fit(x, y)
        return ours + peer.log_marginal_likelihood(peer.kernel_.theta)

    one = difference([1.0, 2, 3, 4, 5], 0.1, 1.5)
    assert one == pytest.approx(-len(y) / 2 * np.log(2 * np.pi), abs=1e-6)  # the constant that ours lacks
    assert difference([9.0, 7, 5, 3, 1], 0.01, 0.7) == pytest.approx(one, abs=1e-6)


def test_gradient_is_that_of_finite_differences():
    x, y = sample(40)
    x = x.astype(float)
    theta = np.random.default_rng(2).normal(size=8) * 0.3 + 0.5
    compounds = np.arange(40) % 7
    same = (compounds[:, None] == compounds).astype(float)
    gradient = loss(x, y, theta, same)[1]
    for i, step in enumerate(1e-5 * np.eye(8)):
        difference = loss(x, y, theta + step, same)[0] - loss(x, y, theta - step, same)[0]
        assert gradient[i] == pytest.approx(difference / 2e-5, rel=1e-5, abs=1e-6)


def test_kernel_is_one_at_no_distance_and_its_slope_is_its_derivative():
    squares = np.linspace(0, 4, 5)
    assert matern(squares)[0] == 1
    difference = (matern(squares[1:] + 1e-6) - matern(squares[1:] - 1e-6)) / 2e-6
    assert matern_slope(squares)[1:] == pytest.approx(difference, rel=1e-6)


def test_lengths_of_what_matters_become_short_and_predictions_better():
    x, y = sample(300, width=20)
    other, expected = sample(300, seed=1, width=20)
    stages = GaussianProcess.fit(x, y, seed=0)
    assert len(stages) == len(STAGES)
    errors = [np.abs(stage.predict(other) - expected).mean() for stage in stages]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.8 * errors[0]
    assert set(stages[-1].lengths.argsort()[:2]) == {0, 1}


def test_slabs_without_a_label_are_left_out_and_too_few_give_none():
    x, y = sample(40)
    without = y.copy()
    without[20:] = np.nan
    some = GaussianProcess.fit(x, without, seed=0)[0]
    alone = GaussianProcess.fit(x[:20], y[:20], seed=0)[0]
    assert some.predict(x) == pytest.approx(alone.predict(x), abs=1e-9)
    without[9:] = np.nan
    assert GaussianProcess.fit(x, without, seed=0) == ()


def test_what_never_varies_and_equal_labels_and_identical_slabs_do_no_harm():
    x, y = sample(60)
    x[:, 2] = 7
    x[30:] = x[:30]  # the same slabs with other labels
    stage = GaussianProcess.fit(x, y, seed=0)[-1]
    assert np.isfinite(stage.predict(x)).all()
    strange = x[:1].copy()
    strange[:, 2] = 8
    assert stage.predict(strange) == pytest.approx(stage.predict(x[:1]))
    same = GaussianProcess.fit(x, np.full(60, 4.0), seed=0)[-1]
    assert same.predict(x) == pytest.approx(4.0)


def test_what_only_the_thickness_changes_is_no_difference():
    x, y = sample(60)
    x[:, 2] = 1 + 1e-4 * x[:, 2]  # a bulk's density, of slabs of one crystal
    stages = GaussianProcess.fit(x, y, seed=0)
    changed = x.copy()
    changed[:, 2] = 1.0003
    for stage in stages:
        assert stage.scale[2] == 0
        assert stage.predict(changed) == pytest.approx(stage.predict(x))


def test_elements_unlike_all_others_are_not_far_from_everything():
    x, y = sample()
    stage = GaussianProcess.fit(x, y, seed=0)[-1]
    far, farther = (stage.predict(x[:3] + np.float32(shift)) for shift in (1e3, 1e6))
    assert far == pytest.approx(farther)


def test_many_slabs_are_learned_from_a_part(monkeypatch):
    monkeypatch.setattr(gaussian_process, "MOST_FOR_LENGTHS", 50)
    monkeypatch.setattr(gaussian_process, "MOST_POINTS", 200)
    monkeypatch.setattr(gaussian_process, "INDUCING", 100)
    x, y = sample(300)
    stages = GaussianProcess.fit(x, y, seed=3)
    assert {stage.points.shape for stage in stages} == {(100, 5)}
    again = GaussianProcess.fit(x, y, seed=3)
    assert np.array_equal(stages[-1].predict(x), again[-1].predict(x))
    assert not np.array_equal(stages[-1].predict(x), GaussianProcess.fit(x, y, seed=4)[-1].predict(x))


def test_a_slab_is_predicted_alike_alone_and_among_others():
    x, y = sample()
    stage = GaussianProcess.fit(x, y, seed=0)[-1]
    alone = np.concatenate([stage.predict(x[i : i + 1]) for i in range(20)])
    assert alone == pytest.approx(stage.predict(x)[:20], abs=1e-12)
    many = np.tile(x, (5, 1))  # more than are predicted at once
    assert stage.predict(many) == pytest.approx(np.tile(stage.predict(x), 5), abs=1e-12)


def with_offsets(seed=0, size=0.5):
    """Slabs of 30 compounds, five each, whose labels share an offset."""
    x, y = sample(150, seed)
    compounds = np.arange(150) // 5
    return x, y + size * np.random.default_rng(seed + 9).normal(size=30)[compounds], compounds


def test_compounds_share_an_offset_that_their_slabs_show():
    x, y, compounds = with_offsets()
    known = np.arange(150) % 5 < 3
    with_effect, without = (
        GaussianProcess.fit(x[known], y[known], 0, numbers)[-1] for numbers in (compounds[known], None)
    )
    error = np.abs(with_effect.predict(x[~known], compounds[~known]) - y[~known]).mean()
    assert error < 0.7 * np.abs(without.predict(x[~known]) - y[~known]).mean()
    assert with_effect.offset == pytest.approx(0.25, rel=0.6)  # the square of what was added
    # nothing is known of another compound
    other = with_effect.predict(x[~known], np.full(60, 99))
    assert np.array_equal(other, with_effect.predict(x[~known]))


def test_offsets_are_those_of_the_formula_for_a_sum_of_kernels():
    """The mean of equation 2.25, with the kernel of offsets added by hand."""
    x, y, compounds = with_offsets()
    known = np.arange(150) < 128
    process = GaussianProcess.fit(x[known], y[known], 0, compounds[known])[2]
    points = process._scaled(x)

    def kernel(a, b):
        squares = ((points[a][:, None] - points[b]) ** 2).sum(axis=2)
        return process.variance * matern(squares) + process.offset * (compounds[a][:, None] == compounds[b])

    inside = kernel(known, known) + process.noise * np.eye(128)
    solved = np.linalg.solve(inside, kernel(known, ~known))
    mean = process.mean + solved.T @ (y[known] - process.mean)
    assert process.predict(x[~known], compounds[~known]) == pytest.approx(mean, abs=1e-8)


def test_a_process_refitted_to_other_slabs_keeps_its_kernel():
    x, y, compounds = with_offsets()
    process = GaussianProcess.fit(x, y, 0, compounds)[1]
    again = process.refitted(x, y, compounds)
    assert again.predict(x, compounds) == pytest.approx(process.predict(x, compounds), abs=1e-9)
    some = process.refitted(x[:40], y[:40], compounds[:40])
    assert (some.variance, some.noise, some.offset) == (process.variance, process.noise, process.offset)
    assert len(some.coefficients) == len(some.points) == len(some.compounds) == 40


def test_files_of_versions_that_kept_the_mean_alone_predict_the_same():
    x, y = sample()
    process = GaussianProcess.fit(x, y, seed=0)[-1]
    state = process.state()
    del state["variance"], state["noise"]
    old = GaussianProcess.from_state(state, width=5)
    assert np.array_equal(old.predict(x), process.predict(x))


def test_state_goes_through_a_file(tmp_path):
    x, y = sample()
    stage = GaussianProcess.fit(x, y, seed=0)[-1]
    torch.save(stage.state(), tmp_path / "trees.pt")
    again = GaussianProcess.from_state(torch.load(tmp_path / "trees.pt", weights_only=True), width=5)
    assert np.array_equal(again.predict(x), stage.predict(x))
    assert again.compounds is None and again.offset is None


def test_offsets_go_through_a_file(tmp_path):
    x, y, compounds = with_offsets()
    stage = GaussianProcess.fit(x, y, 0, compounds)[1]
    torch.save(stage.state(), tmp_path / "trees.pt")
    again = GaussianProcess.from_state(torch.load(tmp_path / "trees.pt", weights_only=True), width=5)
    assert np.array_equal(again.predict(x, compounds), stage.predict(x, compounds))
    for damage in ({"offset": None}, {"compounds": torch.arange(3)}, {"offset": -1.0}):
        with pytest.raises(InputError, match="Gaussian process"):
            GaussianProcess.from_state(stage.state() | damage, width=5)


@pytest.mark.parametrize(
    "what",
    ["missing", "short", "wide", "nan", "zero", "text", "scalar", "empty", "huge", "learning", "noiseless"],
)
def test_a_damaged_process_is_refused(what):
    x, y = sample(30)
    state = GaussianProcess.fit(x, y, seed=0)[0].state()
    if what == "missing":
        del state["points"]
    elif what == "short":
        state["coefficients"] = state["coefficients"][:-1]
    elif what == "nan":
        state["coefficients"][3] = np.nan
    elif what == "zero":
        state["lengths"][1] = 0
    elif what == "text":
        state["mean"] = "four"
    elif what == "scalar":
        state["coefficients"] = state["coefficients"].sum()
    elif what == "empty":
        state["coefficients"], state["points"] = state["coefficients"][:0], state["points"][:0]
    elif what == "huge":
        state["mean"] = 10**400
    elif what == "noiseless":
        state["noise"] = 0.0
    elif what == "learning":
        state["points"].requires_grad_()
    with pytest.raises(InputError, match="Gaussian process"):
        GaussianProcess.from_state(state, width=6 if what == "wide" else 5)
