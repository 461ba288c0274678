"""Trees beside the networks: as scikit-learn grows them, kept as arrays, part of an ensemble."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from model.baselines.descriptors import describe_slabs
from model.baselines.extra_trees import Forest
from model.data.splits import grouped_split
from model.evaluation.calibration import calibrate
from model.evaluation.metrics import labels
from model.network.network import NetworkConfig
from model.promotion.registration import weight_files
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.presets import PRESETS, TrainingConfig
from model.training.runs import RunSettings, make_split, run_training
from model.training.tensor_files import write_tensors
from stores.errors import InputError
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_preset
from tests.model.untrained import without_checksums

TINY = NetworkConfig(
    targets=("surface_energy", "work_function"), embedding=8, convolutions=1, hidden=8, hidden_layers=1
)


def sample(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return x, np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] * (x[:, 2] > 0)


def test_predictions_are_trimmed_means_of_the_trees_of_scikit_learn():
    from scipy.stats import trim_mean
    from sklearn.ensemble import ExtraTreesRegressor

    x, y = sample()
    other, _ = sample(300, seed=1)
    forest = Forest.fit(x, y, trees=20, seed=7)
    peer = ExtraTreesRegressor(20, max_features=1.0, random_state=7).fit(x, y)
    mean, spread = forest.predict(other)
    each = np.stack([tree.predict(other) for tree in peer.estimators_])
    assert mean == pytest.approx(trim_mean(each, 0.2), abs=1e-6)
    assert spread == pytest.approx(each.std(axis=0), abs=1e-6)
    assert forest.predict(other[:0])[0].shape == (0,)


def test_odd_labels_pull_less_than_on_a_plain_mean(monkeypatch):
    x, y = sample()
    other, expected = sample(300, seed=1)
    y[:3] += 50
    forest = Forest.fit(x, y, trees=50, seed=0)
    trimmed = np.abs(forest.predict(other)[0] - expected).mean()
    monkeypatch.setattr("model.baselines.extra_trees.TRIMMED", 0)
    assert trimmed < 0.6 * np.abs(forest.predict(other)[0] - expected).mean()


def test_slabs_without_a_label_are_left_out_and_too_few_give_none():
    x, y = sample(40)
    y[::2] = np.nan
    forest = Forest.fit(x, y, trees=5, seed=0)
    assert forest.predict(x[1::2])[0] == pytest.approx(y[1::2], abs=1e-6)  # leaves of one slab
    y[18:] = np.nan
    assert Forest.fit(x, y, trees=5, seed=0) is None


def test_state_goes_through_a_file(tmp_path):
    x, y = sample()
    forest = Forest.fit(x, y, trees=5, seed=0)
    torch.save(forest.state(), tmp_path / "trees.pt")
    again = Forest.from_state(torch.load(tmp_path / "trees.pt", weights_only=True))
    assert np.array_equal(again.predict(x)[0], forest.predict(x)[0])


@pytest.mark.parametrize("what", ["loop", "far", "short", "feature", "missing", "empty"])
def test_damaged_trees_are_refused(what):
    x, y = sample()
    state = Forest.fit(x, y, trees=3, seed=0).state()
    if what == "loop":
        state["right"][0] = 0
    elif what == "far":
        state["right"][0] = 10**6
    elif what == "short":
        state["value"] = state["value"][:-1]
    elif what == "feature":
        state["feature"][0] = 5
    elif what == "missing":
        del state["roots"]
    else:
        state = {name: value[:0] if torch.is_tensor(value) else value for name, value in state.items()}
    with pytest.raises(InputError, match="trees"):
        Forest.from_state(state)


def test_trees_that_disagree_widen_the_interval():
    rng = np.random.default_rng(2)
    t = rng.uniform(0.1, 1, 600)
    error = rng.normal(size=600) * t
    found = calibrate(error, np.zeros(600), np.zeros(600), 0.5 * t, folds=np.arange(600) % 5)
    sigma = found.sigma(0.0, 0.0, 0.5 * np.array([0.1, 1.0]))
    assert sigma == pytest.approx([0.1, 1.0], rel=0.25)
    assert np.mean(np.abs(error) < 1.645 * found.sigma(np.zeros(600), 0.0, 0.5 * t)) == pytest.approx(
        0.9, abs=0.01
    )


@pytest.fixture(scope="module")
def pair():
    dataset = small_dataset()
    split = grouped_split(dataset, "random", seed=1)
    preset = tiny_preset(TrainingConfig(epochs=3, batch_size=16, seed=3), TINY, "cgcnn", trees=10)
    return dataset, split, train_ensemble(dataset, split, preset)


def test_an_ensemble_mixes_its_trees_and_never_shows_them_the_other_parts(pair):
    dataset, split, ensemble = pair
    graphs = [entry.graph for entry in dataset]
    found = ensemble.predict(graphs)
    network = ensemble.members[0].predict(graphs)
    descriptors = describe_slabs(graphs)
    descriptor_models = ensemble.descriptor_models["slab"]
    recognised = descriptor_models.compounds.recognise(graphs)
    for name in TINY.targets:
        models = descriptor_models.targets[name]
        trees = models.forest.predict(descriptors)[0]
        process = models.process.predict(descriptors, recognised)
        a, b, c = models.shares
        assert found.mean[name] == pytest.approx(a * network[name] + b * trees + c * process)
        true = labels(dataset, name)
        error = np.abs(trees - true)
        assert np.nanmax(error[list(split.train)]) < 1e-6  # they know these by heart
        for part in (split.val, split.test):
            assert np.nanmedian(error[list(part)]) > 1e-4
        assert len(models.process.points) == np.isfinite(true[list(split.train)]).sum()


def test_an_ensemble_with_trees_goes_through_files_and_the_registry(pair, tmp_path):
    dataset, _, ensemble = pair
    graphs = [entry.graph for entry in dataset]
    save_ensemble(ensemble, tmp_path)
    again = load_ensemble(tmp_path)
    for name, models in ensemble.descriptor_models["slab"].targets.items():
        assert again.descriptor_models["slab"].targets[name].shares == models.shares
    found, expected = again.predict(graphs), ensemble.predict(graphs)
    for name in TINY.targets:
        assert np.array_equal(found.mean[name], expected.mean[name])
        assert np.array_equal(found.sigma[name], expected.sigma[name])
    assert "trees.pt" in weight_files(tmp_path)

    without_checksums(tmp_path)
    for damage, message in (
        (lambda state: state["descriptors"].__setitem__(3, "colour"), "made with other descriptors"),
        (lambda state: state["targets"]["work_function"].update(shares=[0.5, 0.2, 0.2]), "do not sum to 1"),
        (lambda state: state["targets"]["work_function"].pop("process"), "damaged"),
        (lambda state: state.pop("targets"), "damaged"),
        (lambda state: state["targets"]["work_function"]["forest"].update(width=300), "do not fit"),
    ):  # fmt: skip
        state = ensemble.descriptor_models["slab"].state()
        damage(state)
        write_tensors(tmp_path / "trees.pt", state)
        with pytest.raises(InputError, match=rf"trees\.pt: .*{message}"):
            load_ensemble(tmp_path)
    (tmp_path / "trees.pt").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"trees\.pt"):
        load_ensemble(tmp_path)
    (tmp_path / "trees.pt").unlink()
    with pytest.raises(InputError, match=r"trees\.pt"):
        load_ensemble(tmp_path)


def test_an_ensemble_written_before_there_were_trees_is_read(pair, tmp_path):
    _, _, ensemble = pair
    save_ensemble(ensemble, tmp_path)
    without_checksums(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["trees"]
    for values in manifest["calibration"].values():
        del values["trees"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert load_ensemble(tmp_path).descriptor_models == {}


def test_thresholds_divide_float32_numbers_as_before():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 1)).astype(np.float32)
    forest = Forest.fit(x, x[:, 0].astype(float), trees=1, seed=0)
    beside = np.concatenate([np.nextafter(x, np.float32(9)), np.nextafter(x, np.float32(-9)), x])
    from sklearn.ensemble import ExtraTreesRegressor

    peer = ExtraTreesRegressor(1, max_features=1.0, random_state=0).fit(x, x[:, 0])
    assert forest.predict(beside)[0] == pytest.approx(peer.predict(beside), abs=1e-6)


def test_many_slabs_are_predicted_as_few_are():
    x, y = sample(700)
    forest = Forest.fit(x[:100], y[:100], trees=7, seed=0)
    whole = forest.predict(x)
    parts = [forest.predict(x[i : i + 33]) for i in range(0, 700, 33)]
    for k in (0, 1):
        assert np.array_equal(whole[k], np.concatenate([part[k] for part in parts]))


def test_a_run_notes_what_its_trees_saw_when_its_members_are_bagged(tmp_path):
    dataset = small_dataset()
    narrow = {"trees": 5, "network.convolutions": 1, "network.embedding": 8}
    settings = RunSettings("best", epochs=1, bagging=True, seed=1, params=narrow)
    run = run_training(lambda graphs, targets: small_dataset(graphs), settings, tmp_path)
    split = make_split(small_dataset(PRESETS["best"].graph), settings)
    crystals = {dataset[i].crystal for i in (*split.train, *split.val)}
    assert max(one["compounds"] for one in run["trainings"]) == len(crystals)


def test_scikit_learn_is_asked_for_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    monkeypatch.setattr("model.training.ensemble.train_in_processes", lambda *a, **k: pytest.fail("trained"))
    dataset = small_dataset()
    preset = tiny_preset(TrainingConfig(epochs=1), TINY, "cgcnn", trees=5)
    with pytest.raises(InputError, match=r"scikit-learn.*-e '\.\[model\]'"):
        train_ensemble(dataset, grouped_split(dataset, "random", seed=1), preset)
