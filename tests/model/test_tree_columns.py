"""Trees of compositions see what they err least with, and keep it in files."""

import numpy as np
import pytest

from model.baselines.blend_weights import RULES, fit_blend_weights
from model.baselines.candidates import composition_columns
from model.baselines.class_trees import ClassForest
from model.baselines.composition_descriptors import describe_compositions
from model.baselines.extra_trees import Forest
from model.baselines.tree_columns import columns_of, without_properties
from model.compositions.composition import PlainComposition
from model.compositions.features import feature_names

N = len(feature_names())


def steels(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Iron with a little of four elements, and a strength that nitrogen and carbon alone make."""
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 0.02, (n, 4))
    made = [PlainComposition(np.array([6, 7, 24, 25, 26]), np.array([*row, 1 - row.sum()])) for row in small]
    return describe_compositions(made), 1000 + 4e4 * (small[:, 0] > 0.01) + 2e4 * (small[:, 2] > 0.013)


def mixtures(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Two of many elements, and a value that follows the mean atomic number."""
    rng = np.random.default_rng(1)
    pairs = [np.sort(rng.choice(np.arange(3, 84), 2, replace=False)) for _ in range(n)]
    shares = rng.uniform(0.2, 0.8, n)
    made = [PlainComposition(p, np.array([x, 1 - x])) for p, x in zip(pairs, shares, strict=True)]
    return describe_compositions(made), np.array([p @ [x, 1 - x] for p, x in zip(pairs, shares, strict=True)])


def test_steels_have_trees_on_fractions_and_mixtures_of_all_elements_on_properties_too():
    described, strength = steels()
    found = composition_columns(described, strength, np.arange(80), 0)
    assert found.tolist() == list(range(N, described.shape[1]))
    described, value = mixtures()
    assert composition_columns(described, value, np.arange(80), 0) is None


def test_a_handful_of_compositions_chooses_nothing():
    described, strength = steels()
    assert composition_columns(described, strength, np.arange(80) % 9, 0) is None


def test_trees_on_some_columns_are_those_of_scikit_learn_on_them():
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    described, strength = steels()
    columns = without_properties(described.shape[1])
    forest = Forest.fit(described, strength, 10, 3, columns)
    grown = ExtraTreesRegressor(10, max_features=1.0, random_state=3).fit(described[:, columns], strength)
    each = [tree.predict(described[:, columns]) for tree in grown.estimators_]
    assert forest.predict(described)[1] == pytest.approx(np.std(each, axis=0), abs=0.1)
    places = (strength > 30000).astype(float)
    classes = ClassForest.fit(described, places, 2, 10, 3, columns)
    again = ExtraTreesClassifier(10, max_features=0.2, random_state=3).fit(described[:, columns], places)
    assert classes.predict(described) == pytest.approx(again.predict_proba(described[:, columns]), abs=1e-6)
    for one in (forest, Forest.from_state(forest.state()), classes.trees):
        assert columns_of(one).tolist() == columns.tolist()
    assert columns_of(Forest.fit(described, strength, 10, 3)) is None


def test_compositions_are_blended_by_fewer_labels_and_networks_may_have_no_weight():
    true = np.linspace(0, 1, 40)
    network, trees, stages = true + 5, true, [true + 1] * 5
    assert fit_blend_weights(network, trees, stages, true)[1] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    rule = RULES["composition"]
    assert fit_blend_weights(network, trees, stages, true, rule=rule)[1] == pytest.approx((0, 1, 0))
    few = fit_blend_weights(network[:20], trees[:20], [s[:20] for s in stages], true[:20], rule=rule)[1]
    assert few == pytest.approx((1 / 6, 1 / 2, 1 / 3))
