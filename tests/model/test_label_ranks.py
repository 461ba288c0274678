"""Labels as normal scores: the map, processes and trees on it, and that the validation set chooses them."""

from __future__ import annotations

import numpy as np
import pytest

from model.baselines.blend_weights import FEWEST_LABELS, least_error
from model.baselines.gaussian_process import GaussianProcess
from model.baselines.label_ranks import LabelRanks, RankedProcess, ranked_forest
from stores.errors import InputError


def heavy_tailed(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors, and labels of which one in thirty is far above all others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    y = np.tanh(x[:, 0] + x[:, 1]).astype(float) + 0.1 * rng.normal(size=n)
    return x, np.where(rng.random(n) < 0.03, y + 30, y)


def test_scores_are_quantiles_and_lead_back_to_the_labels():
    labels = np.array([5.0, 1.0, np.nan, 1.0, 1.0, 2.0])
    ranks = LabelRanks.of(labels)
    assert ranks.labels.tolist() == [1, 2, 5]
    assert ranks.scores == pytest.approx([-0.5244, 0.5244, 1.2816], abs=1e-4)  # of 0.3, 0.7 and 0.9
    assert ranks.labels_of(ranks.scores_of(labels)) == pytest.approx(labels, nan_ok=True)
    assert ranks.labels_of(np.array([-9.0, 9.0])).tolist() == [1, 5]  # never beyond the labels


def test_a_process_of_scores_errs_less_where_labels_have_a_long_tail():
    (x, y), (new, true) = heavy_tailed(120, 0), heavy_tailed(300, 1)
    plain = GaussianProcess.fit(x, y, 0)[-1].predict(new)
    ranked = RankedProcess.fit(x, y, 0)[-1].predict(new)
    assert np.abs(ranked - true).mean() < 0.6 * np.abs(plain - true).mean()
    assert ranked.min() >= y.min() and ranked.max() <= y.max()


def test_trees_of_scores_have_labels_in_their_leaves():
    x, y = heavy_tailed(100, 0)
    forest = ranked_forest(x, y, 20, 0)
    assert forest.predict(x)[0] == pytest.approx(y, rel=1e-3)
    assert ranked_forest(x, np.full(100, np.nan), 20, 0) is None and RankedProcess.fit(x, y * np.nan, 0) == ()


def test_a_ranked_process_goes_through_a_file_and_a_damaged_one_is_refused():
    x, y = heavy_tailed(60, 0)
    process = RankedProcess.fit(x, y, 0)[0]
    state = process.state()
    assert np.array_equal(RankedProcess.from_state(state, 4).predict(x), process.predict(x))
    ranks = state["ranks"]
    for damage in ({"labels": ranks["labels"].flip(0)}, {"scores": ranks["scores"][:-1]}, {"labels": None}):
        with pytest.raises(InputError, match="ranks of its labels"):
            RankedProcess.from_state(state | {"ranks": ranks | damage}, 4)


def test_the_validation_set_chooses_and_few_labels_choose_the_first():
    true = np.linspace(0, 1, FEWEST_LABELS)
    assert least_error([true + 1, true], true) == 1
    assert least_error([true + 1, true], np.append(true[:-1], np.nan)) == 0
    odd = np.arange(FEWEST_LABELS) % 2 == 1
    assert least_error([true + odd, true + ~odd], true, odd) == 1
    assert least_error([true + odd, true + ~odd], true, ~odd) == 0
