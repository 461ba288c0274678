from __future__ import annotations

import numpy as np

from model.baselines.extra_trees import Forest
from model.baselines.recent_fits import KEPT, recall


def test_the_same_inputs_are_fitted_once_and_others_again():
    fitted = []

    def fit(values, shift, kind):
        fitted.append(kind)
        return values.sum() + shift

    values = np.arange(4.0)
    assert recall(fit, values, 1, "bulk") == 7.0
    assert recall(fit, values.copy(), 1, "bulk") == 7.0
    assert fitted == ["bulk"]
    assert recall(fit, values + 1, 1, "bulk") == 11.0
    assert recall(fit, values.astype(np.float32), 1, "bulk") == 7.0  # other bits than in double precision
    assert recall(fit, values, 2, "bulk") == 8.0
    assert recall(fit, values, 1, "slab") == 7.0
    assert len(fitted) == 5
    for shift in range(10, 10 + KEPT):
        recall(fit, values, shift, "bulk")
    recall(fit, values, 1, "bulk")  # forgotten meanwhile
    assert len(fitted) == 6 + KEPT


def test_what_is_recalled_predicts_the_same():
    rng = np.random.default_rng(0)
    descriptors, labels = rng.normal(size=(80, 5)).astype(np.float32), rng.normal(size=80)
    first, again = (recall(Forest.fit, descriptors, labels, 4, 0) for _ in range(2))
    assert first is again
    fresh = Forest.fit(descriptors, labels, 4, 0)
    for one, other in zip(first.predict(descriptors), fresh.predict(descriptors), strict=True):
        assert np.array_equal(one, other)
