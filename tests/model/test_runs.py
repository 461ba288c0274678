from __future__ import annotations

import csv
import fcntl
import json
from dataclasses import replace

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.splits import split_dataset
from model.network.network import NetworkConfig
from model.training.ablation import (
    PAPER,
    TABLE_1,
    Plan,
    ablate,
    comparisons,
    folder_name,
    learning_curve,
    table,
)
from model.training.checked_json import write_json
from model.training.ensemble_files import load_ensemble
from model.training.presets import PRESETS, find_preset, with_params
from model.training.runs import (
    RunSettings,
    chosen_preset,
    data_key,
    make_split,
    read_rows,
    read_run,
    run_training,
)
from model.training.tuning import TrainingTask, space_of
from stores.errors import InputError, MgsurfError
from tests.model.small_dataset import small_dataset

QUICK = RunSettings("sem-cgcnn", epochs=2, seed=1)
NARROW = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}


def datasets(settings, targets=()):
    return small_dataset(settings, 4)


def quick(preset="sem-cgcnn", **changes):
    return replace(QUICK, preset=preset, params=NARROW, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run_training(datasets, quick(), folder)


def test_labels_of_a_left_out_compound_change_nothing(tmp_path):
    """Neither weights, trees, calibration nor scales of a model depend on what it is tested on."""
    whole = small_dataset(find_preset("best").graph, 4)
    changed = Dataset(
        tuple(
            replace(e, targets=dict.fromkeys(e.targets, 9.0)) if e.compound == "Mg3Al" else e for e in whole
        ),
        whole.targets,
    )
    settings = replace(
        quick("best"), split="compound:Mg3Al", epochs=1, params={**NARROW, "network.embedding": 6, "trees": 5}
    )
    runs = []
    for name, dataset in (("a", whole), ("b", changed)):
        run_training(lambda *_, d=dataset: d, settings, tmp_path / name)
        runs.append([row for row in read_rows(tmp_path / name) if row["part"] == "test"])
    assert {row["formula"] for row in runs[0]} == {"Mg3Al"}
    predicted = [
        [{k: v for k, v in row.items() if k.endswith(("_predicted", "_sigma", "distance"))} for row in rows]
        for rows in runs
    ]
    assert predicted[0] == predicted[1] and runs[0] != runs[1]


def test_a_run_leaves_all_that_is_promised(finished):
    folder, run = finished
    for target in ("surface_energy", "work_function"):
        for part in ("train", "val", "test"):
            assert set(run["metrics"][target][part]) == {"n", "mae", "rmse", "r2", "mape"}
            assert run["metrics"][target][part]["mae"] > 0
    assert read_run(folder) == run
    assert len(load_ensemble(folder).members) == 1
    rows = read_rows(folder)
    assert len(rows) == sum(run["sizes"].values()) == 40
    test = [r for r in rows if r["part"] == "test"]
    mae = np.mean([abs(r["surface_energy"] - r["surface_energy_predicted"]) for r in test])
    assert mae == pytest.approx(run["metrics"]["surface_energy"]["test"]["mae"])
    assert any(r["work_function"] is None for r in rows)
    # the history holds what the report draws
    assert [line["epoch"] for line in run["history"][0]] == [1, 2]
    assert run["history"][0][0]["cosine"] is not None
    assert set(run["history"][0][0]["weights"]) == {"surface_energy", "work_function"}
    assert not list(folder.glob("training/*/state.pt"))


def test_a_finished_run_is_read_and_not_run_again(finished):
    folder, run = finished
    epochs = []
    assert run_training(datasets, quick(), folder, progress=lambda *line: epochs.append(line)) == run
    assert epochs == []
    with pytest.raises(InputError, match="other settings or data") as caught:
        run_training(datasets, quick(seed=2), folder)
    assert "this is" not in str(caught.value)


def test_a_run_of_another_version_is_refused_by_its_version(finished, tmp_path):
    _, run = finished
    write_json(tmp_path / "run.json", {**run, "code": "0.1.0+12345678", "data": "other"})
    with pytest.raises(InputError, match=r"written by mgsurf 0\.1\.0\+12345678, this is .*--output"):
        run_training(datasets, quick(), tmp_path)


def test_the_written_split_gives_the_same_parts(finished):
    folder, run = finished
    dataset = datasets(find_preset("sem-cgcnn").graph)
    again = split_dataset(dataset, str(folder / "split.csv"))
    assert {name: len(again.part(name)) for name in run["sizes"]} == run["sizes"]
    assert again.test == make_split(dataset, quick()).test


def test_runs_are_the_same_to_the_bit(finished, tmp_path):
    again = run_training(datasets, quick(), tmp_path)
    assert again["metrics"] == finished[1]["metrics"]
    assert (tmp_path / "predictions.csv").read_text() == (finished[0] / "predictions.csv").read_text()


def test_an_interrupted_run_goes_on(finished, tmp_path):
    def interrupt(member, line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(datasets, quick(), tmp_path, progress=interrupt)
    assert read_run(tmp_path) is None
    epochs = []
    run = run_training(datasets, quick(), tmp_path, progress=lambda _, line: epochs.append(line.epoch.epoch))
    assert epochs == [2]
    assert run["metrics"] == finished[1]["metrics"]


def test_what_cannot_be_trained_is_refused(tmp_path):
    def few(settings, targets):
        return datasets(settings).subset(range(9))

    def unlabelled(settings, targets):
        whole = datasets(settings)
        entries = tuple(replace(e, targets={"cleavage_energy": 0.1}) for e in whole)
        return replace(whole, entries=entries, targets=("cleavage_energy",))

    with pytest.raises(InputError, match="no preset 'sem'"):
        run_training(datasets, quick("sem"), tmp_path)
    with pytest.raises(InputError, match="9 labelled slabs are too few"):
        run_training(few, quick(), tmp_path)
    with pytest.raises(InputError, match="labels there are: cleavage_energy"):
        run_training(unlabelled, quick(), tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_training(datasets, quick(), tmp_path)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with (tmp_path / "run.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"in use by another process.*--output"):
            run_training(datasets, quick(), tmp_path)


def test_the_data_key_sees_labels_and_not_the_order():
    dataset = datasets(find_preset("sem-cgcnn").graph)
    turned = dataset.subset(list(range(len(dataset)))[::-1])
    assert data_key(turned) == data_key(dataset)
    changed = replace(dataset[0], targets={**dataset[0].targets, "surface_energy": 0.5})
    assert data_key(replace(dataset, entries=(changed, *dataset.entries[1:]))) != data_key(dataset)


def test_every_preset_trains_and_is_judged(tmp_path):
    for name in PRESETS:
        preset = find_preset(name)
        if not isinstance(preset.network, NetworkConfig) or preset.graph.angles:
            continue  # of compositions, or of bulk crystals
        run = run_training(datasets, quick(name, epochs=1), tmp_path / name)
        assert run["targets"] == list(preset.network.targets)
        assert run["total_loss"] > 0


def test_epochs_and_seed_are_the_runs():
    preset = chosen_preset(replace(QUICK, epochs=7, seed=5))
    assert (preset.training.epochs, preset.training.seed) == (7, 5)
    assert chosen_preset(replace(QUICK, epochs=None)).training.epochs == PRESETS["sem-cgcnn"].training.epochs


def test_settings_are_put_in_by_their_path():
    preset = with_params(
        find_preset("best"), {"training.optimiser.learning_rate": 0.01, "network.hidden": 32}
    )
    assert preset.training.optimiser.learning_rate == 0.01
    assert preset.network.hidden == 32
    assert preset.training.optimiser.weight_decay == find_preset("best").training.optimiser.weight_decay
    for params, words in [({"network.width": 3}, "no setting"), ({"network": 3}, "does not fit"),
                          ({"network.hidden": "wide"}, "does not fit")]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            with_params(find_preset("best"), params)


@pytest.mark.parametrize("name", PRESETS)
def test_every_searched_setting_exists_and_the_presets_own_value_is_of_its_kind(name):
    pytest.importorskip("optuna")
    preset = find_preset(name)
    for path in space_of(preset):
        value = preset
        for part in path.split("."):
            value = getattr(value, part)
        assert with_params(preset, {path: value}) == preset


def test_the_objective_of_a_search_is_the_best_validation_score():
    objective = TrainingTask(datasets, quick(epochs=3))()
    scores = []
    loss = objective({"network.embedding": 8}, lambda epoch, score: scores.append(score))
    assert loss == min(scores)
    assert len(scores) == 3


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    presets = ("stl-surface-energy", "stl-work-function", "sem-cgcnn", "best")
    plan = Plan(presets, seeds=(0, 1), settings=quick("best", epochs=1))
    steps = []
    results, problems = ablate(datasets, plan, folder, steps.append)
    assert problems == []
    return folder, plan, results, steps


def test_the_table_has_mean_and_spread_beside_the_paper(ablation):
    _, plan, results, _ = ablation
    rows = table(results)
    assert [row["preset"] for row in rows] == [*plan.presets, "stl"]
    sem = rows[2]["targets"]["surface_energy"]
    own = [r["metrics"]["surface_energy"]["test"]["mae"] for r in results
           if r["settings"]["preset"] == "sem-cgcnn"]  # fmt: skip
    assert sem["mae"]["mean"] == pytest.approx(np.mean(own))
    assert sem["mae"]["spread"] == pytest.approx(np.std(own, ddof=1))
    assert sem["paper"] == {"mae": 0.0053, "r2": 0.9348}
    assert rows[3]["targets"]["work_function"]["paper"] is None
    # the two single-task models have one total loss together, as in the paper
    losses = [row["total_loss"]["mean"] for row in rows]
    assert losses[4] == pytest.approx(losses[0] + losses[1])
    assert rows[4]["paper_loss"] == 0.1727
    json.dumps(rows, allow_nan=False)


def test_best_is_compared_with_the_papers_model_by_pairs(ablation):
    found = comparisons(ablation[2])
    for target in ("surface_energy", "work_function"):
        assert found[target]["pairs"] == 2
        change = found[target]["mae"]
        assert change["low"] <= change["mean"] <= change["high"]
        assert found[target]["systems"] >= 2
    assert comparisons([run for run in ablation[2] if run["settings"]["preset"] != "best"]) == {}


def test_a_repeated_ablation_trains_nothing_and_goes_on_with_new_seeds(ablation):
    folder, plan, results, _ = ablation
    steps = []
    again, _ = ablate(datasets, replace(plan, seeds=(0, 1, 2)), folder, steps.append)
    assert len(again) == 12
    assert {step.run.seed for step in steps if step.line} == {2}
    assert [r for r in again if r["settings"]["seed"] < 2] == results


def test_a_run_that_fails_costs_only_itself(ablation, tmp_path):
    folder, plan, _, _ = ablation
    bad = folder / folder_name(plan.runs()[0])
    text = (bad / "run.json").read_text()
    (bad / "run.json").write_text("{")
    try:
        results, problems = ablate(datasets, plan, folder)
    finally:
        (bad / "run.json").write_text(text)
    assert len(results) == 7
    assert len(problems) == 1
    assert "is damaged" in problems[0]

    def nothing(settings, targets):
        return datasets(settings).subset([])

    with pytest.raises(MgsurfError, match="no slab of 0"):
        ablate(nothing, plan, tmp_path)


def test_folds_and_shares_of_the_training_part_are_runs_of_their_own(tmp_path):
    shared = quick("surface", split="chemsys", epochs=1, folds=3)
    plan = Plan(("surface",), (0,), (0.5, 1.0), settings=shared)
    results, problems = ablate(datasets, plan, tmp_path)
    assert problems == []
    assert len(results) == 6
    assert len({folder_name(run) for run in plan.runs()}) == 6
    tested = {row["record_id"] for run in plan.runs() for row in read_rows(tmp_path / folder_name(run))
              if row["part"] == "test"}  # fmt: skip
    assert len(tested) == 40
    points = learning_curve(results, "work_function")
    assert [p["preset"] for p in points] == ["surface", "surface"]
    assert points[0]["n"] == pytest.approx(points[1]["n"] / 2, abs=2)
    assert {row["train_fraction"] for row in table(results)} == {0.5, 1.0}


def test_the_papers_table_is_that_of_the_paper():
    assert set(PAPER) == set(TABLE_1)
    assert set(TABLE_1) <= set(PRESETS)
    with_targets = {name: set(PRESETS[name].network.targets) for name in TABLE_1}
    assert {name: set(values) for name, values in PAPER.items()} == with_targets


def test_predictions_are_plain_csv(finished):
    with (finished[0] / "predictions.csv").open() as file:
        header = next(csv.reader(file))
    assert header[:5] == ["record_id", "formula", "chemsys", "part", "distance"]
    assert json.loads((finished[0] / "run.json").read_text())["settings"] == quick().plain()
