"""Classes beside quantities: heads that begin with one another's, and the error that studies compare."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from model.data.dataset import Dataset
from model.data.splits import Split
from model.evaluation.class_metrics import class_errors
from model.evaluation.criteria import LOG_LOSS, MAE, error_of, judged_targets
from model.studies.results import best_sources, cells, curves, flat_rows, plain
from model.studies.runs import read_data, run_study
from model.studies.study import STRATEGIES, Study, StudySet
from model.training.ablation import comparisons, learning_curve, table
from model.training.ablation_rows import COLUMNS
from model.training.ablation_rows import flat_rows as rows_of_runs
from model.training.ensemble_files import load_ensemble
from model.training.fitted_heads import least_squares_map, logistic_map
from model.training.presets import OptimiserConfig, TrainingConfig
from model.training.runs import RunSettings, Transfer, read_run, run_training
from model.training.train import train
from model.training.transfer import Adaptation, Start
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_config, tiny_dataset, tiny_preset
from workflows.cli.console import print_csv
from workflows.flows.figures.inputs import find_trainings

PARTS = Split("random", 0, tuple(range(26)), tuple(range(26, 34)), tuple(range(34, 40)))
QUICK = TrainingConfig(epochs=40, batch_size=8, optimiser=OptimiserConfig(learning_rate=1e-2))
STILL = TrainingConfig(epochs=1, batch_size=8, optimiser=OptimiserConfig(learning_rate=0.0))
NAMES = ("low", "high")
CARRY = Adaptation(carry_heads=True)


def labelled(values, target, classes=()):
    """Return the tiny data set with these labels of one target."""
    entries = tuple(
        replace(entry, targets={target: float(value)})
        for entry, value in zip(tiny_dataset(), values, strict=True)
    )
    return Dataset(entries, (target,), classes={target: classes} if classes else {})


def network(target, classes=(), head_layers=1):
    return tiny_config(
        targets=(target,), classes=(classes,) if classes else (), convolutions=1, head_layers=head_layers
    )


def outputs(model, dataset):
    """Return the network's outputs for a data set: [n, W], a quantity standardised."""
    from model.training.checkpoint import predict_packed
    from model.training.inputs import pack

    graphs = pack(model.network.config, [entry.graph for entry in dataset])
    return predict_packed(model.network, graphs).double().numpy()


def fine_tuned(dataset, config, source):
    """Return what a training begins with: one epoch at a rate of zero, all but the last layer held."""
    return train(
        dataset, PARTS, tiny_preset(STILL, config), start=Start(source, "all-but-last", False, CARRY)
    )


@pytest.fixture(scope="module")
def energies():
    config = network("surface_energy")
    values = [entry.targets["surface_energy"] for entry in tiny_dataset()]
    return train(labelled(values, "surface_energy"), PARTS, tiny_preset(QUICK, config))


@pytest.fixture(scope="module")
def high(energies):
    """A network of classes: whether the other one's energy is above the median."""
    learned = outputs(energies, tiny_dataset())[:, 0]
    dataset = labelled(learned > np.median(learned), "high", NAMES)
    model = train(dataset, PARTS, tiny_preset(QUICK, network("high", NAMES)))
    return dataset, model


def test_a_head_of_classes_begins_with_what_the_source_knows_of_them(energies, high):
    dataset, _ = high
    model = fine_tuned(dataset, network("high", NAMES), energies)
    shares = model.probabilities(torch.from_numpy(outputs(model, dataset)))["high"]
    true = np.array([entry.targets["high"] for entry in dataset])
    assert ((shares[:, 1] > 0.5) == true)[list(PARTS.train)].mean() > 0.8
    # the hidden layer of the head is that of the source
    mine, theirs = model.network.heads["head_high"], energies.network.heads["head_surface_energy"]
    assert torch.equal(mine[0].weight, theirs[0].weight)


def test_a_head_of_a_quantity_begins_with_the_logits_of_classes(high):
    dataset, model = high
    logits = outputs(model, dataset)
    values = 3.0 - 2.0 * (logits[:, 1] - logits[:, 0])
    found = fine_tuned(labelled(values, "gap"), network("gap"), model)
    predicted = found.predict([entry.graph for entry in dataset])["gap"]
    assert np.corrcoef(predicted, values)[0, 1] > 0.99
    known = list(PARTS.train)
    assert (
        np.abs(predicted - values)[known].mean() < 0.3 * np.abs(values - values[known].mean())[known].mean()
    )


def test_classes_of_the_same_names_are_fitted_and_those_of_the_same_target_carried(high):
    dataset, model = high
    opposite = labelled([1 - entry.targets["high"] for entry in dataset], "low_energy", NAMES)
    found = fine_tuned(opposite, network("low_energy", NAMES), model)
    assert class_error(found, opposite) < 0.75 * np.log(2)  # carried as it is it would be wrong everywhere
    same = fine_tuned(dataset, network("high", NAMES), model)
    state = model.network.heads["head_high"].state_dict()
    for name, value in same.network.heads["head_high"].state_dict().items():
        assert torch.equal(value, state[name])
    # of other classes under the same name: three instead of two
    thirds = labelled([i % 3 for i in range(len(dataset))], "high", ("a", "b", "c"))
    assert class_error(fine_tuned(thirds, network("high", ("a", "b", "c")), model), thirds) < np.log(3) + 0.05


def class_error(model, dataset):
    name = dataset.targets[0]
    shares = model.probabilities(torch.from_numpy(outputs(model, dataset)))[name]
    true = np.array([entry.targets[name] for entry in dataset])
    known = list(PARTS.train)
    return class_errors(true[known], shares[known], dataset.classes[name])["log_loss"]


def test_a_head_without_a_source_begins_no_worse_than_the_frequencies_of_the_classes(energies):
    both = tiny_config(targets=("surface_energy", "work_function"), convolutions=1, head_layers=1)
    source = train(tiny_dataset(), PARTS, tiny_preset(STILL, both))  # two heads: neither is of the target
    rare = labelled([i % 5 == 0 for i in range(40)], "rare", NAMES)
    share = np.mean([i % 5 == 0 for i in PARTS.train])
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert class_error(fine_tuned(rare, network("rare", NAMES), source), rare) < 1.02 * entropy


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_trains_classes_from_a_quantity_and_back(energies, high, name):
    how, quick = STRATEGIES[name], replace(QUICK, epochs=2)
    dataset, classes = high
    for data, config, source in (
        (dataset, network("high", NAMES), energies),
        (tiny_dataset(), network("work_function"), classes),
    ):
        start = Start(source, how.freeze, how.reset_heads, how.adaptation)
        tuned = train(data, PARTS, tiny_preset(quick, config), start=start)
        assert max(line["score"] for line in tuned.history) < 2.0


def test_the_regressions_of_heads():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) + 2.0
    slopes, shift = least_squares_map(x, 1.0 + x @ [1.0, -2.0, 0.0])
    assert slopes[0] == pytest.approx([1.0, -2.0, 0.0], abs=0.02) and shift == pytest.approx([1.0], abs=0.1)
    places = (x[:, 0] > 2.0).astype(float)
    slopes, shift = logistic_map(x, places, 3)  # the third class has no label
    logits = x @ slopes.T + shift
    assert (logits.argmax(axis=1) == places).mean() > 0.97
    # of a source that tells nothing apart slopes stay small, though a fit without ridge would have 1000
    assert abs(least_squares_map(1e-3 * places[:, None], places)[0]).max() < 1


def test_log_loss_is_above_zero_and_counts_labels_alone():
    shares = np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    errors = class_errors(np.array([0.0, 1.0, np.nan]), shares, NAMES)
    assert errors["log_loss"] == pytest.approx(-np.log(0.75) / 2, rel=1e-5)
    assert class_errors(np.array([0.0]), shares[:1], NAMES)["log_loss"] == pytest.approx(1e-6, rel=1e-3)
    assert class_errors(np.array([np.nan]), shares[:1], NAMES)["log_loss"] is None


# a study of two data sets of one store: a quantity, and classes made of another one


def read(chosen, settings, targets):
    """Return a part of the small data set, whose work functions are also classes."""
    entries = []
    for i, entry in enumerate(small_dataset(settings)):
        work = entry.targets["work_function"]
        made = {**entry.targets, "noble": None if work is None else float(work > 3.9)}
        if chosen[0] <= i < chosen[1]:
            entries.append(replace(entry, targets={name: made[name] for name in targets}))
    return Dataset(tuple(entries), targets, classes={"noble": NAMES} if "noble" in targets else {})


PARAMS = {"training.epochs": 3, "network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}
SETS = {
    "energy": StudySet(partial(read, (0, 70)), "surface_energy"),
    "noble": StudySet(partial(read, (30, 100)), "noble"),
}
STUDY = Study(
    SETS, params=PARAMS, sizes=(12,), pretraining_sizes=(20,), seeds=(0, 1), balances=("uncertainty",),
    with_target=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    data = read_data(STUDY)
    data.check_sizes()
    results, problems = run_study(STUDY, data, folder)
    assert not problems
    return folder, data, results


def test_a_study_compares_classes_by_their_log_loss(study):
    folder, data, results = study
    assert data.union.classes == {"noble": NAMES}
    rows = flat_rows(data, results)
    assert {(row["data_set"], row["metric"]) for row in rows} == {("energy", "MAE"), ("noble", "log loss")}
    for row in rows:
        quantity = row["metric"] == "MAE"
        assert row["test_mae"] == (row["test_error"] if quantity else None)
        assert (row["test_r2"] is None) != quantity and (row["test_accuracy"] is None) == quantity
    found = cells(rows)
    pairs = {(cell.data_set, cell.source): cell for cell in found}
    together = {("energy", "mpt-uncertainty"), ("noble", "mpt-uncertainty")}
    assert set(pairs) == {("energy", "noble-20"), ("noble", "energy-20")} | together
    cell = pairs["noble", "energy-20"]
    ours, theirs = (
        [
            row["test_error"]
            for row in rows
            if (row["data_set"], row["source"], row["labels"]) == ("noble", source, 12)
        ]
        for source in ("energy-20", "scratch")
    )
    assert cell.change.mean == pytest.approx(np.exp(np.mean(np.log(np.divide(ours, theirs)))) - 1)
    assert plain(cell)["test_mae"] is None and plain(cell)["test_error"] == pytest.approx(np.mean(ours))
    energy = plain(pairs["energy", "noble-20"])
    assert energy["scratch_mae"] == energy["scratch_error"] > 0
    assert {cell.data_set for cell in best_sources(found)} == set(SETS)
    points = curves(rows, found, "noble")["scratch"]
    assert points[0]["metric"] == "log loss" and points[0]["mae"] is None
    # one network with a head of either kind
    together = next(r for r in results if r.task.balance)
    assert judged_targets(together.run) == ["surface_energy", "noble"]
    # a finished study is read
    again, _ = run_study(STUDY, data, folder)
    assert [one.run for one in again] == [one.run for one in results]


def test_runs_of_older_versions_get_their_log_loss_from_their_predictions(study):
    folder, _, results = study
    result = next(r for r in results if r.task.sets == ("noble",))
    path = folder / result.task.folder() / "run.json"
    content = json.loads(path.read_text())
    del content["checksum"]  # older ones have none
    stated = [content["classes"]["noble"][part].pop("log_loss") for part in ("train", "val", "test")]
    old = path.parent.parent / "old"
    old.mkdir()
    (old / "run.json").write_text(json.dumps(content))
    assert error_of(read_run(old), "noble").test is None  # without predictions it is not known
    (old / "predictions.csv").write_text((path.parent / "predictions.csv").read_text())
    found = error_of(read_run(old), "noble")
    assert found.criterion == LOG_LOSS and list(found.values.values()) == pytest.approx(stated)


def test_an_ablation_has_classes_beside_quantities(tmp_path):
    def runs(preset, **changes):
        settings = RunSettings(
            preset, epochs=2, params={k: v for k, v in PARAMS.items() if k != "training.epochs"},
            targets=("surface_energy", "noble"), **changes,
        )  # fmt: skip
        return run_training(
            partial(read, (0, 100)), settings, tmp_path / f"{preset}-{settings.seed}", keep_model=False
        )

    results = [runs(preset, seed=seed) for seed in (0, 1) for preset in ("sem-cgcnn", "mtl")]
    row = table(results)[0]
    errors = [error_of(run, "noble").test for run in results[::2]]
    assert list(row["targets"]) == ["surface_energy", "noble"]
    assert row["targets"]["noble"]["error"]["mean"] == pytest.approx(np.mean(errors))
    assert row["targets"]["surface_energy"]["error"] == row["targets"]["surface_energy"]["mae"]
    change = comparisons(results, "sem-cgcnn", "mtl")["noble"]
    others = [error_of(run, "noble").test for run in results[1::2]]
    assert change["error_relative"]["mean"] == pytest.approx(np.mean(errors) / np.mean(others) - 1)
    assert "mae" not in change and change["metric"] == "log loss"
    assert [point["metric"] for point in learning_curve(results, "noble")] == ["log loss"] * 2
    flat = [row for row in rows_of_runs(results) if row["target"] == "noble"]
    assert [row["error"] for row in flat[::2]] == errors and flat[0]["mae"] is None
    assert flat[0]["accuracy"] == results[0]["classes"]["noble"]["test"]["accuracy"]
    with (tmp_path / "ablation.csv").open("w") as file:
        print_csv(rows_of_runs(results), COLUMNS, file)
    _, rows, problems = find_trainings([tmp_path / "ablation.csv"])  # for figures of MAE
    assert not problems and {row["target"] for row in rows} == {"surface_energy"}


def test_trees_beside_what_begins_with_classes_see_no_predictions_of_them(tmp_path):
    """A source of classes alone predicts no quantity that trees of the new model could look at."""
    params = {**PARAMS, "trees": 3, "network.element_features": 21}
    for name, target, transfer in (
        ("classes", "noble", lambda: None),
        ("quantity", "surface_energy", lambda: Transfer.of(tmp_path / "classes")),
        ("back", "noble", lambda: Transfer.of(tmp_path / "quantity")),
    ):
        settings = RunSettings("best", params=params, targets=(target,), transfer=transfer())
        run = run_training(partial(read, (0, 100)), settings, tmp_path / name)
        assert error_of(run, target).test > 0
        assert bool(load_ensemble(tmp_path / name).descriptor_models) == (target == "surface_energy")


def test_one_criterion_for_each_kind_of_target():
    run = {
        "metrics": {"gap": {"unit": "eV", "test": {"n": 3, "mae": 0.2}}},
        "classes": {"metal": {"test": {"n": 4, "log_loss": 0.3}}},
    }
    gap, metal = error_of(run, "gap"), error_of(run, "metal")
    assert (gap.criterion, gap.unit, gap.test, gap.n["test"]) == (MAE, "eV", 0.2, 3)
    assert (metal.criterion, metal.unit, metal.test, metal.n["test"]) == (LOG_LOSS, None, 0.3, 4)
