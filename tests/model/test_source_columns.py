"""Predictions of the model that a fine-tuning began with, as descriptors of its trees and process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.baselines.blend import DescriptorModels
from model.baselines.descriptors import descriptor_names
from model.data.splits import grouped_split
from model.evaluation.metrics import labels
from model.promotion.registration import weight_files
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.presets import PRESETS
from model.training.transfer import Start
from stores.errors import InputError
from tests.model.small_dataset import small_dataset

NAME = "surface_energy"
D = len(descriptor_names())


@pytest.fixture(scope="module")
def parts():
    dataset = small_dataset()
    return dataset.subset(range(0, len(dataset), 2)), dataset.subset(range(1, len(dataset), 2))


def fit(parts, columns):
    train, val = parts
    sources = None if columns is None else tuple(columns(part)[:, None] for part in parts)
    networks, folds = {NAME: np.zeros(len(val))}, np.arange(len(val)) % 5
    return DescriptorModels.fit(train, val, networks, 10, 0, folds, sources=sources)[0]


def known(part):
    """What a source predicts that knows the answer up to a factor."""
    return 3 * labels(part, NAME)


def error(models, part, sources=None):
    networks = {NAME: np.zeros(len(part))}
    alone = replace(models.targets[NAME], shares=(0.0, 0.5, 0.5), unseen=None)
    one = replace(models, targets={NAME: alone})
    found = one.predict(networks, [entry.graph for entry in part], sources).mean[NAME]
    return float(np.nanmean(np.abs(found - labels(part, NAME))))


def test_a_source_that_knows_more_is_looked_at(parts):
    models, plain = fit(parts, known), fit(parts, None)
    assert models.sources == 1 and models.targets[NAME].forest.width == D + 1
    assert error(models, parts[1], known(parts[1])[:, None]) < 0.8 * error(plain, parts[1])
    again = DescriptorModels.from_state(models.state())
    assert again.sources == 1 and again.targets[NAME].forest.width == D + 1
    with pytest.raises(InputError, match="do not fit its descriptors"):
        DescriptorModels.from_state({**models.state(), "sources": 2})


def test_a_source_that_knows_nothing_is_not_kept(parts):
    rng = np.random.default_rng(0)
    models = fit(parts, lambda part: rng.normal(size=len(part)))
    assert models.sources == 0 and models.targets[NAME].forest.width == D
    assert "sources" not in models.state()


@pytest.mark.parametrize("source_trees", [0, 5])
def test_a_fine_tuned_model_keeps_its_source_in_its_folder(source_trees, tmp_path, monkeypatch):
    monkeypatch.setattr("model.baselines.blend.LEAST_GAIN", -9.0)  # whatever the source knows
    best = PRESETS["best"]
    tiny = replace(best.network, targets=(NAME,), hidden=8, convolutions=1)
    preset = replace(best, network=tiny, training=replace(best.training, epochs=1), trees=5)
    dataset = small_dataset(best.graph)
    split = grouped_split(dataset, "random")
    source = train_ensemble(dataset, split, replace(preset, trees=source_trees))
    start = Start(source.members[0], descriptor_models=source.descriptor_models)
    ensemble = train_ensemble(dataset, split, preset, starts=[start])
    assert ensemble.descriptor_models["slab"].sources == 1
    save_ensemble(ensemble, tmp_path)
    assert "source.pt" in weight_files(tmp_path)
    assert ("source-trees.pt" in weight_files(tmp_path)) == (source_trees > 0)
    graphs = [entry.graph for entry in dataset]
    seen = ensemble.source.columns(graphs)[:, 0]
    assert np.allclose(seen, source.predict(graphs).mean[NAME])
    found, expected = load_ensemble(tmp_path).predict(graphs), ensemble.predict(graphs)
    assert np.array_equal(found.mean[NAME], expected.mean[NAME])
    assert np.array_equal(found.sigma[NAME], expected.sigma[NAME])
    if source_trees:
        content = (tmp_path / "source-trees.pt").read_bytes()
        for damaged in (content[:-100], b"", content[:200] + b"x" + content[201:]):
            (tmp_path / "source-trees.pt").write_bytes(damaged)
            with pytest.raises(InputError, match=r"source-trees\.pt"):
                load_ensemble(tmp_path)
        (tmp_path / "source-trees.pt").write_bytes(content)
    (tmp_path / "source.pt").unlink()
    with pytest.raises(InputError, match=r"source\.pt"):
        load_ensemble(tmp_path)
