"""Scripts in benchmarks/ that use the network's parts run with them as they are."""

from __future__ import annotations

import pytest

from benchmarks.coverage import divided
from benchmarks.training import our_epoch
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_graph


@pytest.mark.parametrize("name", ["sem-cgcnn", "best"])
def test_an_epoch_of_the_training_benchmark(name):
    epoch = our_epoch(name, [tiny_graph(seed) for seed in range(6)], 3, "cpu")
    epoch()
    epoch.predict()


@pytest.mark.parametrize("how", ["random", "chemsys"])
def test_all_other_slabs_test_the_intervals(how):
    dataset = small_dataset()
    chosen = list(range(0, len(dataset), 2)) if how == "random" else list(range(60))
    split = divided(dataset, chosen, how, 1)
    assert {*split.train, *split.val} < {*chosen}
    assert len(split.test) > 10
    known = [dataset[i] for i in (*split.train, *split.val)]
    assert not {entry.group for entry in known} & {dataset[i].group for i in split.test}
    if how == "chemsys":
        assert not {entry.chemsys for entry in known} & {dataset[i].chemsys for i in split.test}
