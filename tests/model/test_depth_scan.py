from __future__ import annotations

import pytest

pytest.importorskip("torch")

from model.training.depth_scan import DepthScan, depth_curve, folder_name, is_of_scan, unfinished


def run(depth: float, seed: int, mae: float) -> dict:
    errors = {"val": {"mae": mae + 0.1}, "test": {"mae": mae}}
    return {
        "settings": {"preset": "sem-cgcnn", "seed": seed, "params": {"network.surface_threshold": depth}},
        "targets": ["work_function"],
        "metrics": {"work_function": errors},
        "history": [[{}, {}]],
    }


def test_a_scan_trains_every_depth_with_the_first_seed_first(tmp_path):
    plan = DepthScan((0.0, 2.0), seeds=2, epochs=3)
    assert [(r.seed, r.params["network.surface_threshold"]) for r in plan.runs()] == [
        (0, 0.0), (0, 2.0), (1, 0.0), (1, 2.0),
    ]  # fmt: skip
    assert folder_name(plan.runs()[1]) == "depth-2-seed-0-epochs-3"
    (tmp_path / "depth-2-seed-0-epochs-3").mkdir()
    (tmp_path / "depth-2-seed-0-epochs-3" / "run.json").touch()
    assert len(unfinished(plan, tmp_path)) == 3


def test_cost_is_that_of_table_1():
    """Seven trainings of 150 epochs with 1,756 slabs; docs/model_results.md has 8 to 12 minutes for each."""
    assert 7 * 8 * 60 <= DepthScan().seconds(2926, 7) <= 7 * 12 * 60
    assert DepthScan(epochs=15).seconds(2926, 7) == pytest.approx(DepthScan().seconds(2926, 7) / 10)


def test_a_curve_averages_seeds():
    points = depth_curve([run(2.0, 0, 0.3), run(2.0, 1, 0.5), run(0.0, 0, 0.7)])
    assert [(p["depth"], p["runs"], p["test_mae"]) for p in points] == [
        (0, 1, 0.7),
        (2, 2, pytest.approx(0.4)),
    ]
    assert points[1]["test_spread"] == pytest.approx(2**0.5 / 10)
    assert points[1]["val_mae"] == pytest.approx(0.5)
    assert (points[0]["test_spread"], points[0]["epochs"]) == (None, 2)


def test_only_trainings_that_differ_in_depth_alone_belong_to_a_scan():
    found = run(2.0, 0, 0.3)
    assert is_of_scan(found)
    found["settings"]["params"]["network.hidden"] = 8
    assert not is_of_scan(found)
    assert not is_of_scan({"settings": {"preset": "sem-cgcnn", "params": {}}})
