"""Learning targets together or alone: same sets for all trainings, angles, verdicts from validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.evaluation.criteria import F1, MAE, RECALL
from model.training.advice import (
    MOST_EPOCHS,
    STRATEGIES,
    AdviceData,
    AdvicePlan,
    Training,
    angles,
    run_advice,
    unfinished,
)
from model.training.presets import PRESETS, OptimiserConfig, TrainingConfig
from model.training.runs import RunSettings, read_rows
from model.training.verdicts import options, reference_of, verdicts
from stores.errors import InputError
from tests.model.tiny import tiny_config, tiny_dataset, tiny_preset

PAIR = ("surface_energy", "work_function")
QUICK = TrainingConfig(epochs=2, batch_size=8, optimiser=OptimiserConfig(learning_rate=1e-2))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", tiny_preset(QUICK))


def classes_dataset(n=60):
    """Quantities of all, and two classes that a quarter has, half of these each."""
    entries = [
        replace(e, targets={**e.targets, "glass": float(i % 8 == 0) if i % 4 == 0 else None})
        for i, e in enumerate(tiny_dataset(n))
    ]
    return Dataset(tuple(entries), (*PAIR, "glass"), classes={"glass": ("crystal", "glass")})


def advice_data(dataset, targets=PAIR, **settings):
    settings = RunSettings("tiny", targets=targets, **settings)
    return AdviceData.read(lambda *_: dataset, settings), settings


def test_all_trainings_of_a_seed_share_their_sets(tmp_path):
    dataset = tiny_dataset(60, missing=[i for i in range(60) if i % 3])
    data, settings = advice_data(dataset)
    plan = AdvicePlan(settings, seeds=(0, 1), strategies=("equal", "pcgrad"))
    assert [(t.targets, t.strategy, t.settings.seed) for t in plan.trainings(data)][:4] == [
        (("surface_energy",), "equal", 0),
        (("work_function",), "equal", 0),
        (PAIR, "equal", 0),
        (PAIR, "pcgrad", 0),
    ]
    results, problems = run_advice(data, plan, tmp_path)
    assert not problems and len(results) == 8
    tested = {}
    for training, _ in results:
        for row in read_rows(tmp_path / training.folder()):
            for target in training.targets:
                if row[target] is not None:
                    key = target, training.settings.seed, row["part"]
                    tested.setdefault(key, {}).setdefault(training.folder(), set()).add(row["record_id"])
    assert len(tested) == 2 * 2 * 3
    for (target, *_), sets in tested.items():
        assert len(sets) == 3  # alone, equal, pcgrad
        assert len(set(map(frozenset, sets.values()))) == 1, target
    first = tested["work_function", 0, "test"][results[1][0].folder()]
    assert first != tested["work_function", 1, "test"][results[5][0].folder()]


def test_finished_trainings_are_read_and_angles_are_kept(tmp_path):
    data, settings = advice_data(tiny_dataset(40))
    plan = AdvicePlan(settings, seeds=(0,), strategies=("equal", "gradnorm+smoothing"))
    seen = []

    def stop(step):
        seen.append(step.run)
        if step.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_advice(data, plan, tmp_path, stop)
    trainings = plan.trainings(data)
    assert [(len(t.targets), t.strategy) for t in unfinished(trainings, tmp_path)] == [
        (2, "gradnorm+smoothing")
    ]
    results, _ = run_advice(data, plan, tmp_path)
    assert [training for training, _ in results] == trainings and not unfinished(trainings, tmp_path)
    together = results[-1][1]["settings"]
    assert together["params"] == {
        "trees": 0, "training.balance.name": "gradnorm", "training.smoothing": True
    }  # fmt: skip
    measured = angles(results)
    assert [(a.first, a.second, a.strategy) for a in measured] == [
        (*PAIR, "equal"), (*PAIR, "gradnorm+smoothing")
    ]  # fmt: skip
    for one in measured:
        assert [len(run) for run in one.degrees] == [2] and all(0 <= v <= 180 for v in one.known)
        line = results[-1][1]["history"][0][0]
        assert set(line["cosines"]) == {"surface_energy / work_function"}
    assert "cosines" not in results[0][1]["history"][0][0]


def test_a_target_with_few_labels_is_trained_longer_alone():
    dataset = tiny_dataset(200, missing=range(190))
    data, settings = advice_data(dataset, epochs=3)
    trainings = AdvicePlan(settings, seeds=(0,), strategies=("equal",)).trainings(data)
    epochs = {t.targets: t.settings.epochs for t in trainings}
    assert epochs == {("surface_energy",): 3, ("work_function",): 3 * MOST_EPOCHS, PAIR: 3}
    with pytest.raises(InputError, match="two or more with --targets"):
        AdviceData.read(lambda *_: dataset, RunSettings("tiny", targets=("work_function",)))
    with pytest.raises(InputError, match="pcgrad"):
        AdvicePlan(settings, strategies=("nothing",))


def test_groups_of_three_targets_and_long_names():
    data, settings = advice_data(classes_dataset(), targets=(*PAIR, "glass"))
    trainings = AdvicePlan(settings, seeds=(0,), strategies=("equal", "smoothing")).trainings(data)
    assert len(trainings) == 2 * 3 + 2 * 3 + 2 * 1
    assert len({t.folder() for t in trainings}) == len(trainings)
    # what smoothing gains for a target alone is no gain of learning it together
    plan = AdvicePlan(settings, seeds=(0,), strategies=("gradnorm+smoothing",))
    names = [t.strategy for t in plan.trainings(data) if t.targets == ("glass",)]
    assert names == ["equal", "smoothing"]
    long = Training(tuple(f"{'x' * 90}{i}" for i in range(3)), "equal", settings)
    assert max(map(len, long.folder().split("/"))) < 100 and "seed 0" in long.label()


def test_classes_are_judged_by_f1_and_recall(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", tiny_preset(QUICK, tiny_config(targets=("surface_energy", "glass"))))
    data, settings = advice_data(classes_dataset(160), targets=("surface_energy", "glass"))
    results, problems = run_advice(data, AdvicePlan(settings, (0,), ("equal",)), tmp_path)
    assert not problems
    found = options(results)
    assert {(o.target, o.criterion.name, o.alone) for o in found} == {
        ("surface_energy", "MAE", True), ("surface_energy", "MAE", False),
        ("glass", "F1", True), ("glass", "F1", False),
        ("glass", "recall", True), ("glass", "recall", False),
    }  # fmt: skip
    row = next(o for o in found if o.criterion is RECALL and not o.alone)
    assert row.others == ("surface_energy",) and set(row.recalls[0, 0]) == {"crystal", "glass"}
    plain = row.plain(reference_of(row, found))
    assert set(plain["recall_by_class"]) == {"crystal", "glass"}
    assert plain["test_change"]["mean"] == pytest.approx(row.test[0, 0] - reference_of(row, found).test[0, 0])
    assert {v.verdict for v in verdicts(found, angles(results))} == {"undecided"}


def fake_results(errors, targets=PAIR):
    """Finished runs with validation and test MAEs, a pair for each seed, by group, strategy and target."""
    results = []
    for (group, strategy), by_target in errors.items():
        for seed in range(len(next(iter(by_target.values())))):
            metrics = {
                name: {"val": {"mae": values[seed][0]}, "test": {"mae": values[seed][1]}}
                for name, values in by_target.items()
            }
            training = Training(group, strategy, RunSettings("tiny", seed=seed, targets=group))
            history = [{"cosines": {"surface_energy / work_function": -0.5}}] if len(group) > 1 else [{}]
            results.append((training, {"metrics": metrics, "classes": {}, "history": [history]}))
    return results


def pairs(factor, spread=0.01, n=4, test=None, rng=7):
    noise = np.random.default_rng(rng).normal(0, spread, (2, n))
    return [(factor * np.exp(a), (test or factor) * np.exp(b)) for a, b in noise.T]


def test_verdicts_follow_validation_and_report_the_test_set():
    alone, rest = (("surface_energy",), "equal"), (PAIR, "equal")
    results = fake_results({
        alone: {"surface_energy": pairs(1.0, rng=1)},
        (("surface_energy",), "smoothing"): {"surface_energy": pairs(1.02, rng=2)},
        (("work_function",), "equal"): {"work_function": pairs(1.0, rng=3)},
        rest: {"surface_energy": pairs(1.1, test=1.2, rng=4), "work_function": pairs(0.8, test=0.9, rng=5)},
        (PAIR, "pcgrad"): {"surface_energy": pairs(1.3, rng=6), "work_function": pairs(0.95, rng=7)},
    })  # fmt: skip
    energy, work = verdicts(options(results), angles(results))
    assert (energy.verdict, energy.recommended.name, energy.together.name) == ("alone", "alone", "equal")
    assert energy.val.mean == pytest.approx(0.1, abs=0.03) and energy.test.mean == pytest.approx(
        0.2, abs=0.03
    )
    assert energy.recommended_test.mean == energy.recommended_test.high == 0
    assert (work.verdict, work.recommended.name) == ("together", "equal")
    assert work.recommended_test.high < 0 and work.val.mean == pytest.approx(-0.2, abs=0.03)
    assert (energy.angle, energy.conflicts) == (pytest.approx(120), 1.0)


def test_no_difference_within_noise_and_few_seeds_decide_nothing():
    def judge(n):
        results = fake_results({
            (("surface_energy",), "equal"): {"surface_energy": pairs(1.0, 0.05, n, rng=1)},
            (("work_function",), "equal"): {"work_function": pairs(1.0, 0.001, n, rng=2)},
            (PAIR, "equal"): {"surface_energy": pairs(0.99, 0.05, n, rng=3),
                              "work_function": pairs(0.5, 0.001, n, rng=4)},
        })  # fmt: skip
        return [v.verdict for v in verdicts(options(results))]

    assert judge(5) == ["no difference", "together"]
    assert judge(2) == ["undecided", "undecided"]


def test_the_best_of_many_useless_strategies_is_no_gain():
    # with the winner's own validation errors one of twenty equal strategies would often look better
    found = 0
    for trial in range(40):
        errors = {((name,), "equal"): {name: pairs(1.0, 0.05, 5, rng=1000 * trial)} for name in PAIR}
        for i, strategy in enumerate(STRATEGIES):
            draws = {
                name: pairs(1.0, 0.05, 5, rng=1000 * trial + 10 * i + k) for k, name in enumerate(PAIR, 1)
            }
            errors[PAIR, strategy] = draws
        found += sum(v.verdict == "together" for v in verdicts(options(fake_results(errors))))
    assert found <= 0.08 * 80


def test_a_run_that_failed_leaves_out_its_option_alone():
    results = fake_results({
        (("surface_energy",), "equal"): {"surface_energy": pairs(1.0)},
        (PAIR, "equal"): {"surface_energy": pairs(0.9, rng=3), "work_function": pairs(1.0)},
        (PAIR, "pcgrad"): {"surface_energy": pairs(0.5, rng=4), "work_function": pairs(1.0)},
    })  # fmt: skip
    (one,) = verdicts(options(results[:-1]))  # work_function was never trained alone
    assert (one.target, one.together.name, one.pairs) == ("surface_energy", "equal", 4)


def test_a_seed_that_failed_for_the_plain_model_alone_leaves_the_others():
    results = fake_results({
        (("surface_energy",), "equal"): {"surface_energy": pairs(1.0)},
        (PAIR, "equal"): {"surface_energy": pairs(0.9, rng=3), "work_function": pairs(1.0)},
    })  # fmt: skip
    (one,) = verdicts(options(results[1:]))  # seed 0 alone
    assert (one.verdict, one.pairs) == ("together", 3)


def test_changes_of_errors_are_ratios_and_of_scores_differences():
    change = MAE.change([0.9, 1.8], [1.0, 2.0])
    assert (change.mean, change.low, change.high) == pytest.approx((-0.1,) * 3)
    assert MAE.gain(change) == 1 and F1.gain(F1.change([0.7, 0.8], [0.8, 0.9])) == -1
    one = F1.change([0.7], [0.5])
    assert one.low == one.mean == one.high == pytest.approx(0.2)
    zero = MAE.change([0.0, 0.1], [0.2, 0.1])
    assert zero.mean == pytest.approx(-0.1)
    # Student's t of two pairs: 12.706
    wide = F1.change([0.2, 0.4], [0.0, 0.0])
    assert wide.high - wide.mean == pytest.approx(12.706 * 0.1, rel=1e-3)
