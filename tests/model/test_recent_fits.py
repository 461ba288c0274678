from __future__ import annotations

import numpy as np

from model.baselines import recent_fits
from model.baselines.extra_trees import Forest
from model.baselines.recent_fits import MOST_BYTES, recall


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


def test_fits_are_forgotten_by_their_memory_oldest_first():
    fitted = []

    def fit(number, n):
        fitted.append(number)
        return ([np.empty(n, dtype=np.uint8)],)

    half = MOST_BYTES // 2
    for number in (0, 1, 0, 2):  # the third takes the place of the one that was not used since
        recall(fit, number, half)
    assert fitted == [0, 1, 2]
    recall(fit, 0, half)
    assert fitted == [0, 1, 2]
    recall(fit, 1, half)
    assert fitted == [0, 1, 2, 1]
    assert recall(fit, 3, 2 * MOST_BYTES)[0][0].nbytes == 2 * MOST_BYTES  # too large to keep
    assert not recent_fits._RECENT


def test_what_is_recalled_predicts_the_same():
    rng = np.random.default_rng(0)
    descriptors, labels = rng.normal(size=(80, 5)).astype(np.float32), rng.normal(size=80)
    first, again = (recall(Forest.fit, descriptors, labels, 4, 0) for _ in range(2))
    assert first is again
    fresh = Forest.fit(descriptors, labels, 4, 0)
    for one, other in zip(first.predict(descriptors), fresh.predict(descriptors), strict=True):
        assert np.array_equal(one, other)
