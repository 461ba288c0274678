from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import process_time

import pytest
import torch

from model.data.dataset import Dataset
from model.data.splits import Split
from model.evaluation.criteria import MAE
from model.studies.data import StudyData
from model.studies.results import best_sources, cells
from model.studies.runs import _next_task, _Timed, estimate_cost, read_data, run_study, train_task, unfinished
from model.studies.study import SCRATCH, STRATEGIES, Study, StudySet, Task
from model.training.ensemble import resampled
from model.training.losses import BALANCERS, BalanceConfig
from model.training.presets import OptimiserConfig, TrainingConfig
from model.training.train import train
from model.training.transfer import Adaptation, Start
from stores.errors import InputError, StoreError
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_config, tiny_dataset, tiny_preset

PARTS = Split("random", 0, tuple(range(26)), tuple(range(26, 34)), tuple(range(34, 40)))
QUICK = TrainingConfig(epochs=2, batch_size=8, optimiser=OptimiserConfig(learning_rate=1e-2))
PARAMS = {
    "training.epochs": 1, "network.embedding": 8, "network.hidden": 8, "network.convolutions": 2,
}  # fmt: skip


def read(chosen, shift, settings, targets):
    """Return a part of the small data set; records of another shift have other names."""
    whole = small_dataset(settings)
    entries = [
        replace(e, record_id=f"{shift}{e.record_id}", targets={t: e.targets[t] for t in targets})
        for i, e in enumerate(whole)
        if chosen[0] <= i < chosen[1]
    ]
    return Dataset(tuple(entries), targets)


SETS = {
    "energy": StudySet(partial(read, (0, 70), ""), "surface_energy"),
    "work": StudySet(partial(read, (30, 100), ""), "work_function"),
    "copies": StudySet(partial(read, (0, 60), "copy of "), "surface_energy"),
}
SMALL = Study(SETS, params=PARAMS, sizes=(5, 12), pretraining_sizes=(20,), seeds=(0, 1))


@pytest.fixture(scope="module")
def data():
    return read_data(SMALL)


@pytest.fixture(scope="module")
def pretrained():
    return train(tiny_dataset(), PARTS, tiny_preset(QUICK, tiny_config(targets=("surface_energy",))))


def test_every_ordered_pair_is_trained_after_its_pretraining_and_scratch_beside_it():
    tasks = SMALL.tasks()
    assert len(tasks) == len(set(tasks))
    for position, task in enumerate(tasks):
        assert task.source is None or tasks.index(task.source) < position
    tuned = {(t.source.sets[0], t.sets[0], t.size, t.seed) for t in tasks if t.source}
    assert len(tuned) == 3 * 2 * 2 * 2
    assert {(t.sets[0], t.size, t.seed) for t in tasks if not t.source and t.size in (5, 12)} == {
        (name, size, seed) for name in SETS for size in (5, 12) for seed in (0, 1)
    }
    outside = replace(SMALL, sets={**SETS, "work": replace(SETS["work"], only_target=True)})
    assert not any("work" in t.source.sets for t in outside.tasks() if t.source)
    together = replace(SMALL, balances=("equal",), pairs=False).tasks()
    assert {t.sets for t in together if t.balance} == {
        ("work", "copies"), ("energy", "copies"), ("energy", "work"),
    }  # fmt: skip
    assert all(not set(t.sets) & set(t.source.sets) for t in together if t.source)


def test_no_structure_of_a_test_set_is_learned_from_in_any_data_set(data):
    assert data.heads == {
        "energy": "surface_energy@energy", "work": "work_function", "copies": "surface_energy@copies",
    }  # fmt: skip
    for seed in SMALL.seeds:
        parts = data.parts(seed)
        by_group = {}
        for entry, part in zip(data.union, parts, strict=True):
            by_group.setdefault(entry.group, set()).add(part)
        assert {len(found) for found in by_group.values()} == {1}
    tested = {e.graph.identity for e, part in zip(data.union, data.parts(0), strict=True) if part == "test"}
    for task in SMALL.tasks():
        if task.seed == 0:
            dataset, divide = data.of_task(task)
            split = divide(dataset)
            assert not {dataset[i].graph.identity for i in split.train} & tested
            assert {e.record_id.startswith("copy") for e in dataset} == {task.sets == ("copies",)}
    # one structure under two names in two data sets
    names = {e.graph.identity for e in data.union if e.record_id.startswith("copy")}
    assert names & {e.graph.identity for e in data.union if not e.record_id.startswith("copy")}


def test_larger_sets_hold_the_smaller_and_test_sets_stay(data):
    (small, divide), (large, divide_large) = (data.of_task(Task(("energy",), n, 1)) for n in (5, 12))
    ids = [
        {name: {d[i].record_id for i in s.part(name)} for name in ("train", "val", "test")}
        for d, s in ((small, divide(small)), (large, divide_large(large)))
    ]
    assert ids[0]["train"] < ids[1]["train"]
    assert [len(part["train"]) for part in ids] == [5, 12]
    assert all(ids[0][name] == ids[1][name] for name in ("val", "test"))


def test_a_data_set_more_leaves_the_sets_of_the_others(data):
    without = StudyData.read(
        replace(SMALL, sets={n: s for n, s in SETS.items() if n != "copies"}),
        tiny_preset(QUICK).graph,
    )
    before = dict(zip((e.record_id for e in without.union), without.parts(0), strict=True))
    after = dict(zip((e.record_id for e in data.union), data.parts(0), strict=True))
    assert len(before) > 90
    assert sum(after[name] != part for name, part in before.items()) <= len(before) // 10


def test_compounds_are_kept_apart_across_data_sets():
    data = read_data(replace(SMALL, split="compound"))
    by_compound = {}
    for entry, part in zip(data.union, data.parts(3), strict=True):
        by_compound.setdefault(entry.crystal, set()).add(part)
    assert {len(found) for found in by_compound.values()} == {1}


def test_unknown_names_and_sizes_above_the_data_are_refused(data):
    for change, word in (
        ({"strategies": ("ALL",)}, "LAST-LAY"),
        ({"balances": ("fixed",)}, "pcgrad"),
        ({"split": "element"}, "chemsys"),
        ({"sets": {"energy": SETS["energy"]}}, "two data sets"),
        ({"params": {"training.epoch": 3}}, "training.epoch"),
        ({"params": {"training.epochs": 0}}, "training.epochs 0"),
        ({"tuning_params": {"training.batch_size": 0}}, "training.batch_size 0"),
        ({"params": {"network.hidden": 0}}, "network.hidden 0"),
        ({"params": {"network.pooling": "max"}}, "pooling 'max'"),
        ({"params": {"network.dropout": 2.0}}, "dropout"),
        ({"params": {"training.loss": "l1"}}, "loss 'l1'"),
        ({"tuning_params": {"training.optimiser.name": "sgd"}}, "schedule 'sgd'"),
        ({"tuning_params": {"training.optimiser.learning_rate": 0.0}}, "learning_rate 0"),
        ({"tuning_params": {"network.hidden": 16}}, "network.hidden"),
        ({"test": 0.8, "validation": 0.3}, "0.2"),
        ({"temperature": 0.5}, "1"),
    ):
        with pytest.raises(InputError, match=word):
            replace(SMALL, **change)
    data.check_sizes()
    larger = StudyData(replace(SMALL, sizes=(5000,)), data.union, data.heads)
    with pytest.raises(InputError, match="data set energy: 5000 labels"):
        larger.check_sizes()


def test_runs_resume_and_finished_ones_are_not_repeated(data, tmp_path, monkeypatch):
    study = replace(SMALL, seeds=(0,), sizes=(12,), balances=("pcgrad",), temperature=2.0)
    data = StudyData(study, data.union, data.heads)
    steps = []

    def stop(step):
        steps.append(step)
        if step.number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, data, tmp_path, tell=stop)
    left = unfinished(study.tasks(), tmp_path)
    assert len(left) == len(study.tasks()) - 4
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    results, problems = run_study(study, data, tmp_path)
    assert not problems
    assert [result.task for result in results] == study.tasks()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    tuned = next(r for r in results if r.task.source and r.task.source.balance)
    assert tuned.run["sizes"]["train"] == 12
    assert not (tmp_path / tuned.task.folder() / "model").exists()  # its errors are all that is wanted
    # a full disk ends the study, it does not fail every other training
    monkeypatch.setattr(
        "model.studies.runs.run_training", lambda *_, **__: (_ for _ in ()).throw(StoreError("full"))
    )
    with pytest.raises(StoreError, match="full"):
        run_study(study, data, tmp_path / "other")


def test_trees_of_a_fine_tuning_look_at_those_of_its_source(data, tmp_path, monkeypatch):
    monkeypatch.setattr("model.baselines.blend.LEAST_GAIN", -9.0)  # whatever the source knows
    sets = {name: SETS[name] for name in ("energy", "work")}
    params = {**PARAMS, "trees": 4, "network.element_features": 21}
    study = replace(
        SMALL, sets=sets, preset="best", params=params, sizes=(12,), pretraining_sizes=(12, 20), seeds=(0,),
        balances=("equal",), with_target=True, together_size=16,
    )  # fmt: skip
    results, problems = run_study(study, read_data(study), tmp_path)
    assert not problems
    sources = {result.task.source for result in results if result.task.source}
    assert {(len(source.sets), source.size) for source in sources} == {(1, 12), (1, 20), (2, 16)}
    for source in sources:
        assert (tmp_path / source.folder() / "model" / "trees.pt").exists()
    tuned = [result.run["settings"]["transfer"] for result in results if result.task.source]
    assert len({transfer["descriptors"] for transfer in tuned}) == len(sources)


def test_a_process_takes_what_shares_the_training_set_of_its_last_ones():
    source = Task(("copies",), 20, 0)
    scratch, tuned = Task(("energy",), 12, 0), Task(("energy",), 12, 0, source, "ALL-UF")
    other, later = Task(("work",), 12, 0), Task(("energy",), 12, 1)
    # its trees and process are fitted in this process already
    trained = [{(("energy",), 12, 0)}, {(("work",), 12, 0)}]
    assert _next_task([other, tuned, later], trained, 0) == tuned
    assert _next_task([tuned, later], trained, 1) == later  # left to the other one, as long as there is more
    assert _next_task([tuned], trained, 1) == tuned  # better than to wait
    assert _next_task([], trained, 1) is None
    assert _next_task([scratch, other], [set(), set()], 1) == scratch


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_moves_what_it_says_and_nothing_else(pretrained, name):
    how = STRATEGIES[name]
    config = tiny_config(targets=("work_function",), convolutions=2)
    start = Start(pretrained, how.freeze, how.reset_heads, how.adaptation)
    tuned = train(tiny_dataset(), PARTS, tiny_preset(QUICK, config), start=start)
    before, after = pretrained.network.state_dict(), tuned.network.state_dict()
    moved = {key for key in before if key in after and not torch.equal(before[key], after[key])}
    moved_parts = {key.split(".")[0] for key in moved}
    if name == "LAST-LAY":
        assert moved == set()
        assert any("head_work_function" in key for key in after)
    elif name == "NPH":
        assert moved_parts == {"shared"}
    elif name in ("2B", "3B"):
        trained_maps = {"2B": {"centre", "neighbour"}, "3B": {"edge"}}[name]
        maps = {key.split(".")[2] for key in moved if key.startswith("convolutions")}
        assert maps == trained_maps | {"norm_edges", "norm_sum"}
        assert "embed" not in moved_parts
    elif name == "GRADUAL":  # two epochs: nothing but the heads has been released
        weights = {key for key in moved if key.endswith("weight") and "norm" not in key}
        assert weights and all(key.startswith("shared") for key in weights)
    else:
        assert {"embed", "convolutions", "shared"} <= moved_parts


def test_a_head_begins_with_that_of_another_property_fitted_to_the_training_labels(pretrained):
    still = TrainingConfig(epochs=1, batch_size=8, optimiser=OptimiserConfig(learning_rate=0.0))
    how = Adaptation(carry_heads=True)
    preset = tiny_preset(still, tiny_config(targets=("work_function",)))
    # a quantity that falls where the pre-trained one rises
    learned = pretrained.predict([entry.graph for entry in tiny_dataset()])["surface_energy"]
    opposite = Dataset(
        tuple(
            replace(entry, targets={"work_function": 3.0 - 2.0 * value})
            for entry, value in zip(tiny_dataset(), learned, strict=True)
        ),
        ("work_function",),
    )
    carried = train(opposite, PARTS, preset, start=Start(pretrained, "all-but-last", adaptation=how))
    graphs = [entry.graph for entry in opposite][:6]
    assert carried.predict(graphs)["work_function"] == pytest.approx(3.0 - 2.0 * learned[:6], abs=1e-4)
    # of any other quantity no worse than the mean of the labels
    carried = train(tiny_dataset(), PARTS, preset, start=Start(pretrained, "all-but-last", adaptation=how))
    part = [tiny_dataset()[i] for i in PARTS.train]
    true = torch.tensor([entry.targets["work_function"] for entry in part])
    found = torch.as_tensor(carried.predict([entry.graph for entry in part])["work_function"])
    assert (found - true).square().mean() <= true.var(correction=0) * (1 + 1e-4)


def test_a_head_of_the_same_quantity_in_another_scale_is_fitted(pretrained):
    still = TrainingConfig(epochs=1, batch_size=8, optimiser=OptimiserConfig(learning_rate=0.0))
    preset = tiny_preset(still, tiny_config(targets=("surface_energy@scaled",)))
    learned = pretrained.predict([entry.graph for entry in tiny_dataset()])["surface_energy"]
    scaled = Dataset(
        tuple(
            replace(entry, targets={"surface_energy@scaled": 2.0 * value / 0.3 - 1.0})
            for entry, value in zip(tiny_dataset(), learned, strict=True)
        ),
        ("surface_energy@scaled",),
    )
    how = Adaptation(carry_heads=True)
    carried = train(scaled, PARTS, preset, start=Start(pretrained, "all-but-last", adaptation=how))
    graphs = [entry.graph for entry in scaled][:6]
    found = carried.predict(graphs)["surface_energy@scaled"]
    assert found == pytest.approx(2.0 * learned[:6] / 0.3 - 1.0, abs=1e-4)


@pytest.mark.parametrize("balance", [name for name in BALANCERS if name != "fixed"])
def test_every_balancer_trains_where_all_that_targets_share_is_held(pretrained, balance):
    both = train(tiny_dataset(), PARTS, tiny_preset(QUICK))
    config = replace(QUICK, balance=BalanceConfig(balance))
    tuned = train(tiny_dataset(), PARTS, tiny_preset(config), start=Start(both, "all-but-last"))
    for key, value in both.network.state_dict().items():
        assert key.startswith("heads.") or torch.equal(value, tuned.network.state_dict()[key])


def test_lower_layers_learn_at_smaller_rates():
    adaptation = Adaptation(layer_decay=0.5, gradual=2)
    assert [adaptation.rate_share(steps, 2) for steps in (0, 1, 2)] == [1.0, 0.5, 0.0]
    assert Adaptation().plain() == {}


def test_the_cost_counts_labels_that_are_repeated(data, monkeypatch):
    monkeypatch.setattr("model.studies.runs._timed", lambda *_: _Timed(1.0, 0.0, 0.0))
    counts = [data.counts(name, 0)["train"] for name in ("energy", "copies")]
    task = Task(("energy", "copies"), 0, 0, balance="equal")
    assert estimate_cost(data, [task]) == sum(counts)
    warm = StudyData(replace(SMALL, temperature=2.0), data.union, data.heads)
    assert estimate_cost(warm, [task]) == pytest.approx(max(counts) + (max(counts) * min(counts)) ** 0.5)


def test_what_is_no_epoch_counts_for_each_training(data, monkeypatch):
    monkeypatch.setattr("model.studies.runs._timed", lambda *_: _Timed(0.0, 0.0, 2.0))
    assert estimate_cost(data, [Task(("energy",), 5, 0), Task(("work",), 12, 1)]) == 4.0
    assert estimate_cost(data, []) == 0.0


def test_the_estimate_is_that_of_a_run(data, tmp_path):
    """Of a few labels nearly all of it is no epoch: an estimate of epochs alone was a tenth of this."""
    task = Task(("energy",), 12, 0)
    estimate = estimate_cost(data, [task])
    began = process_time()
    train_task(data, tmp_path, task)
    assert 0.3 < estimate / (process_time() - began) < 5


def test_temperature_repeats_what_is_rare_and_leaves_nothing_out():
    dataset = tiny_dataset(40, missing=range(24))
    targets = ("surface_energy", "work_function")
    part = Split("random", 0, tuple(range(32)), (32,), (33,))
    assert resampled(dataset, part, targets, 1.0, 0).train == part.train
    drawn = resampled(dataset, part, targets, 2.0, 0).train  # 32 and 8 labels: twice
    assert [drawn.count(i) for i in range(32)] == [1] * 24 + [2] * 8


def test_changes_are_paired_and_choices_made_by_validation():
    change = MAE.change([0.8, 0.9, 0.85], [1.0, 1.1, 1.0])
    assert change.low < change.mean < change.high < 0
    assert change.mean == pytest.approx((0.8 * 0.9 * 0.85 / 1.1) ** (1 / 3) - 1)
    one = MAE.change([0.5], [1.0])
    assert one.low == one.high == pytest.approx(-0.5)

    def row(source, strategy, seed, val, test):
        return {"data_set": "a", "source": source, "strategy": strategy, "labels": 10, "n_train": 10,
                "seed": seed, "metric": "MAE", "val_error": val, "test_error": test}  # fmt: skip

    rows = [row(SCRATCH, SCRATCH, seed, 1.0, 1.0 + 0.1 * seed) for seed in range(3)]
    rows += [row("b", "ALL-UF", seed, 0.8, 0.9 + 0.1 * seed) for seed in range(3)]
    rows += [row("b", "NPH", seed, 0.9, 0.5) for seed in range(3)]  # better on the test set: not chosen
    rows += [row("c", "ALL-UF", seed, 0.7, (1.2, 0.9, 1.3)[seed]) for seed in range(2)]
    found = {cell.source: cell for cell in cells(rows)}
    assert found["b"].strategy == "ALL-UF"
    assert found["b"].significant
    assert found["c"].pairs == 2
    assert not found["c"].significant
    assert [cell.source for cell in best_sources(list(found.values()))] == ["c"]
