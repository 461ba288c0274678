from __future__ import annotations

import pytest
import torch

from model.training.losses import LARGEST, label_weights


def test_rare_labels_count_more_and_the_mean_is_one():
    labels = torch.cat([torch.linspace(0.0, 0.1, 500), torch.linspace(0.1, 1.0, 20)])
    weights = label_weights(labels)
    assert weights[-1] > 2 * weights[100]
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)


def test_missing_labels_weigh_nothing():
    weights = label_weights(torch.tensor([1.0, float("nan"), 2.0, 3.0]))
    assert weights[1] == 0
    assert float(weights.sum()) == pytest.approx(3)


def test_evenly_spread_labels_weigh_the_same():
    weights = label_weights(torch.linspace(0, 1, 5000))
    assert float(weights.std()) < 0.05


def test_one_outlier_does_not_rule():
    weights = label_weights(torch.cat([torch.zeros(100_000), torch.ones(1)]))
    assert weights[-1] <= LARGEST * 1.01


def test_equal_labels():
    assert label_weights(torch.ones(4)).tolist() == pytest.approx([1, 1, 1, 1])
