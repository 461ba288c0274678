from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.evaluation.element_vectors import (  # noqa: E402
    correlations,
    element_vectors,
    group_contrast,
    mendeleev_number,
    periodic_groups,
    pettifor_order,
    ytterbium,
)
from model.graphs.batch import collate  # noqa: E402
from model.graphs.graph import GraphSettings  # noqa: E402
from stores.errors import InputError  # noqa: E402
from tests.model.small_dataset import small_dataset  # noqa: E402
from tests.model.untrained import untrained  # noqa: E402


def two_blocks() -> np.ndarray:
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = matrix[3:, 3:] = 0.8
    np.fill_diagonal(matrix, 1)
    return matrix


def test_two_blocks_are_told_apart_with_the_probability_of_dealing_them_by_chance():
    found = group_contrast(two_blocks(), [1, 1, 1, 2, 2, 2])
    assert (found.within, found.between) == pytest.approx((0.8, 0.0))
    assert (found.pairs_within, found.pairs_between) == (6, 9)
    assert found.difference == pytest.approx(0.8)
    # 2 of the 20 ways to choose three of six elements give these blocks
    assert found.p_value == pytest.approx(0.1, abs=0.01)
    assert found == group_contrast(two_blocks(), [1, 1, 1, 2, 2, 2])


def test_groups_across_the_blocks_are_not_significant():
    found = group_contrast(two_blocks(), [1, 2, 1, 2, 1, 2], permutations=500)
    assert found.within < found.between
    assert found.p_value == 1.0


@pytest.mark.parametrize(
    ("groups", "within", "between"), [([1] * 6, 6 / 15 * 0.8, None), (range(6), None, 0.32)]
)
def test_one_group_or_six_leave_nothing_to_compare(groups, within, between):
    found = group_contrast(two_blocks(), list(groups))
    assert np.isnan(found.p_value)
    for value, expected in ((found.within, within), (found.between, between)):
        assert np.isnan(value) if expected is None else value == pytest.approx(expected)


def test_elements_follow_pettifors_scale():
    assert pettifor_order(["Mg", "Eu", "Ca", "Cu", "Yb"]) == ["Ca", "Yb", "Eu", "Cu", "Mg"]
    assert [mendeleev_number(s) for s in ("Ca", "Yb", "Eu", "Mg")] == [16, 17, 18, 73]
    assert periodic_groups(["Yb", "La", "Y", "Ca", "Zn"]) == [3, 3, 3, 2, 12]


def test_ytterbium_stands_by_its_mean_correlations_and_nearest_elements():
    symbols = ["Ca", "Yb", "Sr", "La", "Nd", "Zn"]
    matrix = np.eye(6)
    matrix[1] = [0.9, 1, 0.7, 0.6, 0.2, -0.5]
    found = ytterbium(symbols, matrix)
    assert (found.divalent, found.trivalent) == pytest.approx((0.8, 0.4))
    assert [name for name, _ in found.neighbours] == ["Ca", "Sr", "La", "Nd", "Zn"]
    assert ytterbium(["Ca", "Sr"], np.eye(2)) is None


def test_vectors_are_means_over_atoms_also_of_folded_graphs():
    model = untrained(1, elements=("Ag", "Al", "Mg")).members[0]
    symbols = ["Al", "Ag", "Mg"]
    found, folded = (
        element_vectors(model, [e.graph for e in small_dataset(GraphSettings(fold=fold), 2)], symbols)
        for fold in (False, True)
    )
    assert list(found) == ["embedding", "convolution 1"]
    with torch.inference_mode():
        batch = collate([entry.graph for entry in small_dataset(GraphSettings(), 2)])
        states = list(model.network.node_states(batch))
        assert torch.equal(states[-1], model.network.convolve(batch))
        by_hand = states[1][batch.numbers == 13].mean(dim=0)
    np.testing.assert_allclose(found["convolution 1"][0], by_hand, atol=1e-5)
    np.testing.assert_allclose(found["embedding"][1], model.network.element_embedding()[47].detach())
    for stage, vectors in found.items():
        np.testing.assert_allclose(folded[stage], vectors, atol=1e-5)
        assert correlations(vectors).shape == (3, 3)
        np.testing.assert_allclose(np.diag(correlations(vectors)), 1)


def test_an_element_without_atoms_is_named():
    graphs = [entry.graph for entry in small_dataset(GraphSettings(), 1)]
    with pytest.raises(InputError, match="Zn"):
        element_vectors(untrained(1).members[0], graphs, ["Ag", "Zn"])


def test_vectors_without_variation_have_no_correlations():
    with pytest.raises(InputError, match="vary"):
        correlations(np.array([[1.0, 2.0], [3.0, 3.0]]))
