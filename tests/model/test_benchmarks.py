"""Scripts in benchmarks/ that use the network's parts run with them as they are."""

from __future__ import annotations

import pytest

from benchmarks.training import our_epoch
from tests.model.tiny import tiny_graph


@pytest.mark.parametrize("name", ["sem-cgcnn", "best"])
def test_an_epoch_of_the_training_benchmark(name):
    epoch = our_epoch(name, [tiny_graph(seed) for seed in range(6)], 3, "cpu")
    epoch()
    epoch.predict()
