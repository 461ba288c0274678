from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model.data.splits import grouped_split
from model.evaluation.metrics import coverage, evaluate, labels, prediction_rows, total_loss
from model.network.network import NetworkConfig
from model.training.ensemble import bagged, train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.presets import TrainingConfig
from stores.errors import InputError
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_preset

TINY = NetworkConfig(
    targets=("surface_energy", "work_function"), embedding=12, convolutions=2, hidden=16, hidden_layers=1
)
SHORT = TrainingConfig(epochs=8, batch_size=16, seed=3)


def trained(members, bagging=False, folder=None, progress=None):
    dataset = small_dataset()
    split = grouped_split(dataset, "random", seed=1)
    preset = tiny_preset(SHORT, TINY, "cgcnn")
    ensemble = train_ensemble(
        dataset, split, preset, members=members, bagging=bagging, folder=folder, progress=progress
    )
    return dataset, split, ensemble


@pytest.fixture(scope="module")
def three():
    return trained(3)


def graphs(dataset, indices=None):
    return [dataset[i].graph for i in (range(len(dataset)) if indices is None else indices)]


def test_members_differ_by_their_seed_and_are_averaged(three):
    dataset, _, ensemble = three
    each = [member.predict(graphs(dataset)) for member in ensemble.members]
    found = ensemble.predict(graphs(dataset))
    for target in TINY.targets:
        values = np.stack([e[target] for e in each])
        assert values.std(axis=0).min() > 0
        assert found.mean[target] == pytest.approx(values.mean(axis=0), abs=1e-6)


def test_intervals_hold_nine_tenths_of_the_validation_part(three):
    dataset, split, ensemble = three
    found = ensemble.predict(graphs(dataset, split.val))
    for target in TINY.targets:
        true = labels(dataset.subset(split.val), target)
        assert 0.85 <= coverage(true, *found.interval(target)) <= 1.0


def test_a_prediction_does_not_depend_on_what_else_is_predicted(three):
    dataset, _, ensemble = three
    together = ensemble.predict(graphs(dataset))
    for i in (0, 17, 60):
        alone = ensemble.predict(graphs(dataset, [i]))
        for target in TINY.targets:
            assert alone.mean[target][0] == pytest.approx(together.mean[target][i], abs=2e-6)
            assert alone.sigma[target][0] == pytest.approx(together.sigma[target][i], rel=1e-3)
        assert alone.distance[0] == pytest.approx(together.distance[i], rel=1e-3, abs=1e-3)


def test_training_slabs_are_near_and_others_farther(three):
    dataset, split, ensemble = three
    near = ensemble.predict(graphs(dataset, split.train)).distance
    # gold in the place of every partner: chemistry that the network never saw
    strange = [
        replace(g, numbers=np.where(g.numbers == 12, 12, 9).astype(np.int16))
        for g in graphs(dataset, range(0, 100, 10))
    ]
    assert np.median(ensemble.predict(strange).distance) > np.quantile(near, 0.9)
    assert (ensemble.predict(graphs(dataset, split.val)).distance <= 1).mean() >= 0.7


def test_a_saved_ensemble_predicts_the_same(three, tmp_path):
    dataset, _, ensemble = three
    save_ensemble(ensemble, tmp_path / "run" / "model")
    again = load_ensemble(tmp_path / "run")  # the folder of the run will do
    assert again.elements == ensemble.elements
    before, after = ensemble.predict(graphs(dataset)), again.predict(graphs(dataset))
    for target in TINY.targets:
        assert (after.mean[target] == before.mean[target]).all()
        assert after.sigma[target] == pytest.approx(before.sigma[target])
    assert (again.predict([]).mean["surface_energy"]).shape == (0,)


def test_broken_folders_are_refused_in_words(three, tmp_path):
    folder = tmp_path / "model"
    save_ensemble(three[2], folder)
    with pytest.raises(InputError, match="holds no trained model"):
        load_ensemble(tmp_path / "nothing")

    (folder / "manifest.json").write_text(json.dumps({"format": "mgsurf ensemble 9"}))
    with pytest.raises(InputError, match="mgsurf ensemble 9"):
        load_ensemble(folder)
    save_ensemble(three[2], folder)
    (folder / "member-1.pt").unlink()
    with pytest.raises(InputError, match=r"member-1\.pt does not exist"):
        load_ensemble(folder)


def test_one_member_has_an_uncertainty_too():
    dataset, split, ensemble = trained(1)
    found = ensemble.predict(graphs(dataset, split.test))
    assert (found.sigma["surface_energy"] > 0).all()
    assert np.isfinite(found.sigma["work_function"]).all()


def test_bagging_draws_training_slabs_only():
    dataset = small_dataset()
    split = grouped_split(dataset, "random", seed=1)
    drawn = bagged(dataset, split, seed=5)
    assert set(drawn.train) < set(split.train)
    assert (drawn.val, drawn.test) == (split.val, split.test)
    assert drawn == bagged(dataset, split, seed=5)
    assert drawn.train != bagged(dataset, split, seed=6).train


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, three):
    seen = []

    def interrupt(member, line):
        seen.append((member, line.epoch.epoch))
        if (member, line.epoch.epoch) == (1, 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(3, folder=tmp_path, progress=interrupt)
    assert seen[-1] == (1, 5)
    seen.clear()
    dataset, _, ensemble = trained(3, folder=tmp_path, progress=lambda *where: seen.append(where[0]))
    assert seen.count(0) == 0
    assert seen.count(1) == SHORT.epochs - 5
    ours, theirs = ensemble.predict(graphs(dataset)), three[2].predict(graphs(dataset))
    assert (ours.mean["work_function"] == theirs.mean["work_function"]).all()


def test_the_evaluation_tells_all_parts(three):
    dataset, split, ensemble = three
    found = ensemble.predict(graphs(dataset))
    result = evaluate(dataset, split, found)
    json.dumps(result, allow_nan=False)
    work_function = result["work_function"]
    labelled = sum(dataset[i].targets["work_function"] is not None for i in split.test)
    assert work_function["test"]["n"] == labelled < len(split.test)
    assert work_function["train"]["mae"] > 0
    assert set(work_function["by_element"]) <= {e for entry in dataset for e in entry.elements}
    assert work_function["by_element"]["Mg"]["n"] == labelled
    assert -1 <= work_function["facet_order"]["kendall_tau"] <= 1
    rows = prediction_rows(dataset, split, found)
    assert len(rows) == len(dataset)
    test_error = [abs(r["work_function"] - r["work_function_predicted"]) for r in rows
                  if r["part"] == "test" and r["work_function"] is not None]  # fmt: skip
    assert np.mean(test_error) == pytest.approx(work_function["test"]["mae"])
    assert total_loss(result, {"surface_energy": 0.03, "work_function": 0.5}) > 0
    assert "work_function_shared" not in rows[0]  # of a model that does not state it
    sigma = found.sigma["work_function"]
    stated = prediction_rows(dataset, split, replace(found, shared={"work_function": sigma / 2}))
    assert all(r["work_function_shared"] == r["work_function_sigma"] / 2 for r in stated)
    assert "surface_energy_shared" not in stated[0]
