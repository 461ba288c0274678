from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.selection.improvement import (
    Objective,
    expected_improvement,
    front_of,
    hypervolume,
    improvement_chance,
)
from stores.errors import InputError

TARGETS = ("surface_energy", "work_function")
NUMBERS = st.floats(-3, 3, allow_nan=False, width=32)
POINTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=NUMBERS)


def area_by_counting(points, reference, upper=4.0, steps=400):
    """Share of a fine grid that some point dominates, as an area."""
    axes = [np.linspace(r, upper, steps, endpoint=False) + (upper - r) / steps / 2 for r in reference]
    x, y = np.meshgrid(*axes, indexing="ij")
    inside = np.zeros_like(x, dtype=bool)
    for a, b in points:
        inside |= (x < a) & (y < b)
    return inside.mean() * (upper - reference[0]) * (upper - reference[1])


@given(POINTS)
@settings(max_examples=60, deadline=None)
def test_the_front_holds_what_nothing_beats_and_its_area_is_the_dominated_one(points):
    reference = np.array([-1.0, -2.0])
    front = front_of(points, reference)
    beyond = points[(points > reference).all(axis=1)]
    for p in beyond:
        assert ((front >= p).all(axis=1)).any()
    for p in front:
        assert not ((beyond >= p).all(axis=1) & (beyond > p).any(axis=1)).any()
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) < 0).all()
    assert hypervolume(front, reference) == pytest.approx(area_by_counting(front, reference), abs=0.08)


def test_two_targets_agree_with_monte_carlo():
    rng = np.random.default_rng(0)
    reference = np.array([-1.0, -1.0])
    differences = []
    for n_known in (0, 1, 2, 7, 20):
        front = front_of(rng.normal(size=(n_known, 2)), reference)
        mean, sigma = rng.normal(size=(6, 2)), rng.uniform(0.05, 1.5, size=(6, 2))
        exact = expected_improvement(mean, sigma, front, reference)
        chance = improvement_chance(mean, sigma, front, reference)
        for i in range(6):
            draws = mean[i] + sigma[i] * rng.normal(size=(40_000, 2))
            # area each draw adds: of the steps of the front, the part below and left of it
            starts = np.concatenate([[reference[0]], front[:, 0]])
            ends = np.concatenate([front[:, 0], [np.inf]])
            heights = np.concatenate([front[:, 1], [reference[1]]])
            widths = np.clip(np.minimum(draws[:, :1], ends) - starts, 0, None)
            gains = (widths * np.clip(draws[:, 1:] - heights, 0, None)).sum(axis=1)
            error = gains.std() / len(gains) ** 0.5
            assert exact[i] == pytest.approx(gains.mean(), abs=4.5 * error + 1e-5)
            assert chance[i] == pytest.approx((gains > 0).mean(), abs=0.012)
            differences.append((exact[i] - gains.mean()) / max(error, 1e-6))
    # neither the formula compared with itself nor an error that always has one sign
    assert 0.3 < np.std(differences) < 2
    assert abs(np.mean(differences)) < 0.8


def test_certain_candidates_add_exactly_their_area():
    reference = np.zeros(2)
    front = front_of(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]), reference)
    mean = np.array([[2.5, 2.5], [1.0, 1.0], [4.0, 4.0], [-1.0, 9.0], [2.0, 2.0]])
    found = expected_improvement(mean, np.zeros((5, 2)), front, reference)
    by_area = [hypervolume(front_of(np.vstack([front, m]), reference), reference) for m in mean]
    assert found == pytest.approx(np.array(by_area) - hypervolume(front, reference))
    # the area is 2.5 x 2.5 less what the front's steps hold of it
    assert found == pytest.approx([1.25, 0.0, 10.0, 0.0, 0.0])


def test_one_target_is_the_textbook_formula():
    from scipy.stats import norm

    mean, sigma = np.array([[1.0], [2.0], [0.0]]), np.array([[0.5], [0.1], [2.0]])
    best = 1.2
    z = (mean[:, 0] - best) / sigma[:, 0]
    expected = (mean[:, 0] - best) * norm.cdf(z) + sigma[:, 0] * norm.pdf(z)
    front = front_of(np.array([[0.3], [best]]), np.array([0.0]))
    assert expected_improvement(mean, sigma, front, np.array([0.0])) == pytest.approx(expected)
    assert improvement_chance(mean, sigma, front, np.array([0.0])) == pytest.approx(norm.cdf(z))


@given(POINTS, st.floats(0.01, 2), st.floats(1.0, 3))
@settings(max_examples=60, deadline=None)
def test_improvement_falls_as_the_front_grows_and_as_uncertainty_shrinks(points, sigma, factor):
    reference = np.array([-3.5, -3.5])
    mean = np.array([[0.3, -0.2], [1.0, 1.0], [-2.0, 2.5]])
    width = np.full((3, 2), sigma)
    small = expected_improvement(mean, width, front_of(points[:-1], reference), reference)
    large = expected_improvement(mean, width, front_of(points, reference), reference)
    assert (large <= small + 1e-9).all()
    wide = expected_improvement(mean, factor * width, front_of(points, reference), reference)
    assert (wide >= large - 1e-9).all()


def test_a_goal_turns_what_is_to_shrink_around():
    objective = Objective.of(TARGETS, maximise=["work_function"], minimise=["surface_energy"])
    values = np.array([[0.03, 4.0], [0.05, 3.5]])
    assert objective.upward(values).tolist() == [[4.0, -0.03], [3.5, -0.05]]
    assert objective.sigma(values).tolist() == [[4.0, 0.03], [3.5, 0.05]]


@pytest.mark.parametrize(
    ("maximise", "minimise", "words"),
    [
        ([], [], "one target or two"),
        (["work_function"], ["work_function"], "different"),
        (["colour"], [], "does not predict 'colour'"),
    ],
)
def test_goals_that_make_no_sense_are_one_line(maximise, minimise, words):
    with pytest.raises(InputError, match=words) as raised:
        Objective.of(TARGETS, maximise, minimise)
    assert "\n" not in str(raised.value)


def test_the_reference_lies_just_below_the_front_whatever_its_size():
    objective = Objective((0, 1), (1.0, 1.0))
    assert objective.reference(np.array([[0.0, 2.0], [1.0, 0.0], [-5.0, -5.0]])) == pytest.approx(
        [-0.1, -0.2]
    )
    assert objective.reference(np.array([[2.0, 2.0], [1.0, 0.0]])) == pytest.approx([1.9, 1.8])
    assert (objective.reference(np.array([[2.0, 3.0]])) < [2.0, 3.0]).all()
    assert Objective((0,), (1.0,)).reference(np.array([[1.0], [4.0]])) == pytest.approx([4.0])
