"""The distance from the training slabs, and what counts as unusual."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.evaluation.familiarity import UNUSUAL, TrainingMap


def cloud(n, seed, shift=0.0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)) + shift


def test_a_tenth_of_slabs_like_the_training_slabs_is_unusual():
    found = TrainingMap.of(cloud(1500, 0), cloud(500, 1), range(1500))
    assert (found.distance(cloud(4000, 2)) > 1).mean() == pytest.approx(1 - UNUSUAL, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 3.0, 30.0])
def test_unlike_validation_slabs_silence_nothing(shift):
    """Validated on systems of their own, a model knows no less which slabs are unlike its training slabs."""
    ordinary = TrainingMap.of(cloud(300, 0), cloud(100, 1), range(300))
    found = TrainingMap.of(cloud(300, 0), cloud(100, 1, shift), range(300))
    assert found.unit == ordinary.unit
    assert (found.distance(cloud(100, 3, 3.0)) > 1).mean() > 0.9


def test_twins_do_not_make_all_others_unusual():
    points = cloud(300, 0)
    alone = TrainingMap.of(points, points, range(300))
    every = torch.cat([points] * 4)  # each slab four times: identical ones tell nothing of what is usual
    found = TrainingMap.of(every, points, [i % 300 for i in range(1200)])
    assert found.unit == pytest.approx(alone.unit, rel=0.35)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_training_slabs_have_a_finite_unit(n):
    found = TrainingMap.of(cloud(n, 0), cloud(5, 1), range(n))
    assert np.isfinite([found.unit, found.place_unit]).all()
    assert found.unit > 0
    assert found.distance(cloud(7, 2)).shape == (7,)


def test_maps_of_older_versions_have_one_unit():
    state = TrainingMap.of(cloud(50, 0), cloud(20, 1), range(50)).state()
    again = TrainingMap.from_state(state, state["mean"].numel())
    assert (again.unit, again.place_unit) == (state["unit"], state["place_unit"])
    del state["place_unit"]
    old = TrainingMap.from_state(state, state["mean"].numel())
    assert old.place_unit == old.unit == state["unit"]
    assert (old.distance(cloud(9, 2)) == again.distance(cloud(9, 2))).all()
