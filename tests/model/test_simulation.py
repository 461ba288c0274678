from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.selection import simulation as simulation_learning
from model.selection.simulation import SCORE, curve, reached, savings, simulate
from model.selection.simulation_plan import SimulationPlan, world_of
from model.training.checked_json import read_json, write_json
from model.training.presets import find_preset
from stores.errors import InputError
from tests.model.small_dataset import small_dataset

PLAN = SimulationPlan(
    strategies=("random", "diverse"),
    seeds=(0,),
    start=8,
    batch=6,
    until=0.5,
    preset="surface",
    epochs=1,
    warm=False,
)


def datasets(settings, targets=()):
    return small_dataset(settings, 5)


def backwards(settings, targets=()):
    dataset = datasets(settings)
    return Dataset(tuple(reversed(dataset.entries)), dataset.targets)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(simulation_learning, "LEAST_STEPS", 2)


def numbers(rounds):
    """Return what must not depend on how a simulation was run."""
    return [{k: v for k, v in line.items() if k != "cpu_seconds"} for line in rounds]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation_learning, "LEAST_STEPS", 2)
        folder = tmp_path_factory.mktemp("simulation")
        return folder, *simulate(datasets, PLAN, folder)


def test_every_strategy_reveals_batches_of_the_pool_and_nothing_that_is_held_out(finished):
    _, rounds, sizes, problems = finished
    dataset = datasets(find_preset(PLAN.preset).graph)
    assert not problems
    assert sizes["pool"] + sizes["holdout"] == len(dataset)
    compound = {entry.record_id: entry.compound for entry in dataset}
    for strategy in PLAN.strategies:
        lines = [line for line in rounds if line["strategy"] == strategy]
        assert [line["slabs"] for line in lines] == PLAN.sizes(sizes["pool"])
        assert lines[-1]["share"] >= 0.5
        chosen = [name for line in lines for name in line["chosen"]]
        assert len(set(chosen)) == len(chosen) == 6 * len(lines)
        held_out = {compound[e.record_id] for e in dataset} - {
            dataset[i].compound for i in world_of(datasets, PLAN).pool
        }
        assert held_out
        assert not held_out & {compound[name] for name in chosen}
        for line in lines:
            assert all(np.isfinite(value) and value > 0 for value in line["mae"].values())
            assert 0 <= line["front"] <= 1
            assert line["cpu_seconds"] > 0
    # what is found of the front never shrinks
    fronts = [line["front"] for line in rounds if line["strategy"] == "random"]
    assert fronts == sorted(fronts)


def test_strategies_of_a_seed_share_their_start_and_then_part(finished):
    _, rounds, _, _ = finished
    first = [line for line in rounds if line["round"] == 0]
    assert first[0]["score"] == first[1]["score"]
    assert first[0]["chosen"] != first[1]["chosen"]


def test_the_order_of_the_records_does_not_matter_and_a_seed_repeats_itself(finished, tmp_path):
    _, rounds, _, _ = finished
    plan = replace(PLAN, strategies=("random",), rounds=1)
    again, _, _ = simulate(backwards, plan, tmp_path)
    expected = [line for line in rounds if line["strategy"] == "random"][:2]
    assert [line["chosen"] for line in again] == [line["chosen"] for line in expected]
    assert again[0]["front"] == expected[0]["front"]
    other, _, _ = simulate(datasets, replace(plan, seeds=(1,), rounds=0), tmp_path)
    assert other[0]["chosen"] != expected[0]["chosen"]


def test_a_killed_simulation_goes_on_to_the_same_numbers_and_repeats_no_round(finished, tmp_path):
    _, rounds, _, _ = finished
    seen = []

    def stop(step):
        if step.line is None:
            seen.append((step.run.strategy, step.run.number))
            if len(seen) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(datasets, PLAN, tmp_path, stop)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("round-*.json")}
    assert len(kept) == 2
    more = []
    again, _, _ = simulate(datasets, PLAN, tmp_path, lambda s: s.line is None and more.append(s.run.number))
    assert numbers(again) == numbers(rounds)
    assert len(more) == len(rounds) - 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_finished_simulation_is_read_and_a_longer_one_goes_on(finished):
    folder, rounds, _, _ = finished
    trained = []
    again, _, _ = simulate(datasets, PLAN, folder, trained.append)
    assert again == rounds
    assert not trained
    longer, _, _ = simulate(datasets, replace(PLAN, strategies=("random",), until=0.6), folder)
    assert longer[: len(rounds) // 2] == rounds[: len(rounds) // 2]
    assert len(longer) > len(rounds) // 2


def test_a_simulation_of_other_settings_or_a_damaged_round_is_refused(finished, tmp_path):
    folder, _, _, _ = finished
    with pytest.raises(InputError, match="other settings or data"):
        simulate(datasets, replace(PLAN, batch=7), folder)
    broken = tmp_path / "random" / "seed-0"
    broken.mkdir(parents=True)
    (broken / "round-0.json").write_text('{"key": ')
    with pytest.raises(InputError, match=r"round-0.json: is damaged .*delete it"):
        simulate(datasets, PLAN, tmp_path)


def test_rounds_chosen_by_an_older_rule_are_read_and_not_continued(finished, tmp_path):
    folder, rounds, _, _ = finished
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    simulate(datasets, replace(PLAN, strategies=("uncertain",)), old)
    for path in old.glob("*/seed-0/round-*.json"):
        content = read_json(path, "")
        del content["rule"], content["code"]
        path.unlink()
        write_json(path, content)
    again, _, _ = simulate(datasets, PLAN, old)
    assert [one["chosen"] for one in again] == [one["chosen"] for one in rounds]
    longer, _, _ = simulate(datasets, replace(PLAN, until=0.6), old)
    assert len(longer) > len(rounds)  # these two choose as ever
    with pytest.raises(InputError, match=r"uncertain.seed-0: .*written by an older mgsurf, this is .*delete"):
        simulate(datasets, replace(PLAN, strategies=("uncertain",), until=0.6), old)


def test_what_another_process_works_on_is_left_to_it(finished, tmp_path):
    _, rounds, _, _ = finished
    held = tmp_path / "random" / "seed-0"
    held.mkdir(parents=True)
    with (held / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found, _, problems = simulate(datasets, PLAN, tmp_path)
    assert {line["strategy"] for line in found} == {"diverse"}
    assert problems == ["random, seed 0: is in work elsewhere; run the same command again later"]
    assert numbers(found) == numbers(line for line in rounds if line["strategy"] == "diverse")


def test_a_warm_start_takes_fewer_epochs_and_survives_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation_learning, "LEAST_STEPS", 5)
    plan = replace(PLAN, strategies=("random",), rounds=2, warm=True)
    whole, _, _ = simulate(datasets, plan, tmp_path / "whole")
    assert [line["epochs"] for line in whole] == [[5], [2], [2]]

    def stop(step):
        if step.line is None and step.run.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(datasets, plan, tmp_path / "parts", stop)
    again, _, _ = simulate(datasets, plan, tmp_path / "parts")
    assert numbers(again) == numbers(whole)
    # a later round cannot begin without the model before it
    shutil.rmtree(tmp_path / "whole" / "random" / "seed-0" / "model-2")
    with pytest.raises(InputError, match=r"model-2: the model .* missing or damaged; delete"):
        simulate(datasets, replace(plan, rounds=3), tmp_path / "whole")
    # only the model that a further round would need is kept
    assert [p.name for p in (tmp_path / "parts" / "random" / "seed-0").glob("model-*")] == ["model-2"]


def test_plans_that_make_no_sense_are_one_line(tmp_path):
    for changes, words in (
        ({"strategies": ("luck",)}, "'luck' is unknown"),
        ({"until": 0.0}, "--until 0"),
        ({"until": 1.5}, "--until 1.5"),
        ({"start": 500}, "--start 500"),
        ({"preset": "stl-work-function", "strategies": ("improvement",)}, "needs an objective"),
    ):
        with pytest.raises(InputError) as raised:
            simulate(datasets, replace(PLAN, **changes), tmp_path / words[-3:])
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


def test_sizes_reach_the_share_that_is_asked_for_and_never_exceed_the_pool():
    plan = SimulationPlan(start=100, batch=100)
    assert plan.sizes(1001) == [100, 200, 300, 400, 500, 600]
    assert plan.sizes(1000) == [100, 200, 300, 400, 500]
    assert replace(plan, until=1.0).sizes(250) == [100, 200, 250]
    assert replace(plan, rounds=1).sizes(1000) == [100, 200]
    assert replace(plan, rounds=9).sizes(250) == [100, 200, 250]
    assert replace(plan, until=0.1).sizes(250) == [100]


def rounds_of(strategy, error, seeds=(0, 1), sizes=(100, 200, 300, 400, 500)):
    return [
        {
            "strategy": strategy,
            "seed": seed,
            "slabs": n,
            "share": n / 1000,
            "mae": {"work_function": 2 * error(n) * (1 + 0.1 * seed)},
            "score": error(n) * (1 + 0.1 * seed),
            "front": None,
        }
        for seed in seeds
        for n in sizes
    ]


def test_savings_tell_the_share_of_slabs_that_a_strategy_needs():
    lines = rounds_of("random", lambda n: 1 - n / 1000) + rounds_of("diverse", lambda n: 1 - 2 * n / 1000)
    lines += rounds_of("improvement", lambda n: 0.9)
    found = {(s["strategy"], s["error"]): s for s in savings(lines, 500)}
    # 150 slabs after the 100 that all begin with, where random needs 400
    assert found["diverse", SCORE]["ratio"] == pytest.approx(0.375)
    assert found["diverse", "work_function"]["slabs"] == pytest.approx(250)
    assert found["diverse", SCORE]["ratios"] == pytest.approx([0.375, 0.375])
    assert found["diverse", SCORE]["mark"] == pytest.approx(0.5 * 1.05)
    assert found["random", SCORE]["ratio"] == pytest.approx(1.0)
    assert found["improvement", SCORE]["ratio"] is None
    assert found["improvement", SCORE]["ratios"] == [None, None]
    # the mark may lie between two rounds of random
    assert savings(lines, 450)[0]["mark"] == pytest.approx(0.55 * 1.05)
    # what comes after the reference does not count
    odd = lines + rounds_of("random", lambda n: 3.0, sizes=(600,))
    assert [s["ratio"] for s in savings(odd, 500) if s["strategy"] == "random"] == pytest.approx([1.0, 1.0])
    # random that has not come so far sets no mark
    assert savings(lines, 501) == []
    assert savings(rounds_of("diverse", lambda n: 1.0), 500) == []
    # nor does one that has only the start set
    assert savings(lines, 100) == []


@pytest.mark.parametrize(("start", "ratio"), [(100, 0.0), (50, 50 / 450), (10, 90 / 490)])
def test_the_start_set_does_not_count(start, ratio):
    """The other strategy is at the mark with 100 slabs."""
    sizes = sorted({start, 100, 500})
    lines = rounds_of("random", lambda n: 1 - n / 1000, sizes=sizes)
    lines += rounds_of("uncertain", lambda n: 0.5 if n >= 100 else 50.0, sizes=sizes)
    (found,) = (s for s in savings(lines, 500) if (s["strategy"], s["error"]) == ("uncertain", SCORE))
    assert found["slabs"] == pytest.approx(100)
    assert found["ratio"] == pytest.approx(ratio)
    assert found["ratios"] == pytest.approx([ratio, ratio])


def test_a_mark_counts_as_reached_only_where_the_curve_stays_below_it():
    assert reached([(100, 1.0), (200, 0.4), (300, 0.8), (400, 0.2)], 0.5) == pytest.approx(350)
    assert reached([(100, 0.3), (200, 0.2)], 0.5) == 100
    assert reached([(100, 1.0), (200, 0.6)], 0.5) is None
    assert reached([], 0.5) is None


def test_curves_are_means_and_spreads_over_seeds():
    (first, *_) = curve(rounds_of("random", lambda n: 1 - n / 1000), "random")
    assert first["slabs"] == 100
    assert first["errors"][SCORE]["mean"] == pytest.approx(0.945)
    assert first["errors"][SCORE]["spread"] == pytest.approx(0.09 / 2**0.5)
    assert first["front"] == {"mean": None, "spread": None}
    assert json.dumps(first)
