"""Scripts in benchmarks/ that use the network's parts run with them as they are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import divided
from benchmarks.label_noise import find_families, scatter
from benchmarks.training import our_epoch
from model.audit.slabs import read_audit_slabs
from stores.connections import open_store
from stores.labelled import add_labels
from tests.model.d03_series import SERIES, cuts, series
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


def test_noise_of_a_series_is_told_from_its_trend_and_from_offsets(tmp_path):
    with open_store(f"{tmp_path}/s.sqlite") as store:
        add_labels(store, series(SERIES))
    (slabs,) = read_audit_slabs(f"{tmp_path}/s.sqlite")
    (family,) = find_families(slabs.compounds.values())
    lanthanides, facets = len(SERIES) - 1, len(cuts())  # Y is none
    assert (family.kind, len(set(family.compounds))) == ((3, 1), lanthanides)
    assert len(family.slabs) == lanthanides * facets

    rng, values = np.random.default_rng(0), np.full(len(slabs.entries), np.nan)
    offsets = rng.normal(0, 0.02, size=lanthanides)
    noise = rng.normal(0, 0.001, size=len(family.slabs))
    trend = 0.05 + 0.01 * family.facets + 0.001 * family.facets * (family.partners - 64)
    values[family.slabs] = trend
    assert scatter(family, values, offsets=False).mean < 1e-9
    values[family.slabs] = trend + offsets[family.compounds] + noise
    mean_size = float(np.sqrt(2 / np.pi))  # of a normal error, in standard deviations
    assert scatter(family, values, offsets=True).mean == pytest.approx(0.001 * mean_size, rel=0.35)
    assert scatter(family, values, offsets=False).mean == pytest.approx(0.02 * mean_size, rel=0.6)
    values[family.slabs[0]] = np.nan
    assert scatter(family, values, offsets=True).n == len(family.slabs) - 1
