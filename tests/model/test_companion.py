"""What networks, trees and process have to say: weighed on validation slabs."""

from __future__ import annotations

import numpy as np
import pytest

from model.companion import FEWEST_LABELS, LEAST, UNCHOSEN, Companion, weigh
from model.descriptors import describe_slabs
from model.gaussian_process import STAGES
from tests.model.small_dataset import small_dataset

TRUE = np.linspace(0, 1, 50)
MOST = 1 - 2 * LEAST


def errors(seed):
    return np.random.default_rng(seed).normal(size=50)


def test_shares_are_those_that_err_least_but_nobody_is_silenced():
    exact, wrong = TRUE, TRUE + 5 + errors(1)
    assert weigh(exact, wrong, [wrong], TRUE)[1] == pytest.approx((MOST, LEAST, LEAST))
    assert weigh(wrong, exact, [wrong], TRUE)[1] == pytest.approx((LEAST, MOST, LEAST))
    assert weigh(wrong, wrong, [exact], TRUE)[1] == pytest.approx((LEAST, LEAST, MOST))
    shifted = weigh(TRUE + 0.4, TRUE - 0.2, [TRUE - 0.2], TRUE)[1]
    assert shifted[0] == pytest.approx(1 / 3, abs=0.03)  # the errors cancel
    assert sum(shifted) == pytest.approx(1)


def test_the_stage_of_the_process_is_chosen_with_the_shares():
    noisy = TRUE + errors(1)
    stages = [TRUE + errors(seed) for seed in range(2, 6)]
    assert weigh(noisy, noisy, [*stages, TRUE], TRUE)[0] == 4
    assert weigh(noisy, noisy, [TRUE, *stages], TRUE)[0] == 0


def test_few_labels_choose_nothing():
    true = np.where(np.arange(50) < FEWEST_LABELS - 1, TRUE, np.nan)
    stages = [TRUE] + [TRUE + 1] * (len(STAGES) - 1)
    assert weigh(TRUE + 1, TRUE + 1, stages, true) == (UNCHOSEN, (1 / 3, 1 / 3, 1 / 3))
    enough = np.where(np.arange(50) < FEWEST_LABELS, TRUE, np.nan)
    assert weigh(TRUE + 1, TRUE + 1, stages, enough)[0] == 0


def test_a_target_with_too_few_labels_is_left_to_the_networks():
    dataset = small_dataset()
    train, val = dataset.subset(range(9)), dataset.subset(range(9, len(dataset)))
    networks = {name: np.zeros(len(val)) for name in ("surface_energy", "work_function")}
    companion = Companion.grow(train, val, networks, trees=3, seed=0)
    assert companion.shares == {}
    mixed, spread = companion.predict(networks, describe_slabs([entry.graph for entry in val]))
    assert spread == {}
    assert all(np.array_equal(mixed[name], networks[name]) for name in networks)
