"""`mgsurf ablate --advise` on compositions: a quantity of some, classes of others, and what is shown."""

from __future__ import annotations

import json

import pytest

from tests.model.alloys import fill, record, ternaries
from workflows.report.advice import options_table, reason, shown_rows, verdict_table
from workflows.report.advice_figure import advice_figure

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def alloys(tmp_path_factory):
    """Sixty alloys with a class and forty others with a hardness. Read only."""
    path = tmp_path_factory.mktemp("alloys") / "alloys.sqlite"
    hard = [record({"Mg": 90 - 2 * i, "Al": 10 + i, "Zn": i}, hardness=40.0 + 2 * i) for i in range(1, 41)]
    glasses = [one.model_copy(update={"targets": {"glass": one.targets["glass"]}}) for one in ternaries(60)]
    fill(f"sqlite:///{path}", [*hard, *glasses])
    return path


def test_compositions_with_classes_are_judged_by_recall_too(alloys, mgsurf, tmp_path):
    done = mgsurf(
        "ablate", "--advise", "--preset", "mcvn", "--targets", "hardness,glass", "--seeds", 1, "--epochs", 1,
        "--strategy", "gradnorm+smoothing", "--store", alloys, "-o", "out", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["labels"] == {"hardness": 40, "glass": 60}
    judged = [(v["target"], v["criterion"], v["verdict"]) for v in found["verdicts"]]
    assert judged == [(*name, "undecided") for name in
                      (("hardness", "MAE"), ("glass", "F1"), ("glass", "recall"))]  # fmt: skip
    recall = next(o for o in found["options"] if o["criterion"] == "recall" and o["with"])
    by_class = recall["recall_by_class"]
    assert set(by_class) == {"no", "yes"}
    assert recall["test"]["mean"] == pytest.approx(sum(v["mean"] for v in by_class.values()) / 2)
    (angle,) = found["angles"]
    assert angle["group"] == ["hardness", "glass"] and 0 < angle["mean"] < 180
    text = (tmp_path / "out" / "advice.md").read_text()
    assert "glass recall" in text and "gradnorm + smoothing" in text


def row(target, criterion, others, strategy, val, change=0.0):
    interval = {"mean": change, "low": change - 0.01, "high": change + 0.01}
    score = {"mean": val, "spread": None}
    return {
        "target": target, "criterion": criterion, "with": others, "strategy": strategy, "pairs": 3,
        "val": score, "test": score, "val_change": interval, "test_change": interval,
    }  # fmt: skip


def test_of_three_targets_the_best_strategy_with_each_set_of_others_is_shown():
    rows = [
        row("a", "MAE", [], "alone", 1.0),
        row("a", "MAE", ["b"], "equal", 0.9, -0.1),
        row("a", "MAE", ["b"], "pcgrad", 0.8, -0.2),
        row("a", "MAE", ["b", "c"], "equal", 1.1, 0.1),
        row("c", "F1", ["a"], "equal", 0.7, 0.005),
        row("c", "F1", ["a"], "pcgrad", 0.8, 0.1),
    ]
    shown = shown_rows(rows)
    assert [(r["target"], r["with"], r["strategy"]) for r in shown] == [
        ("a", [], "alone"), ("a", ["b"], "pcgrad"), ("a", ["b", "c"], "equal"), ("c", ["a"], "pcgrad")
    ]  # fmt: skip
    assert shown_rows(rows[:3]) == rows[:3]  # of two targets all
    lines = options_table(shown).markdown()
    assert any("pcgrad" in line and "−20.0 %*" in line and "−21.0 to −19.0 %" in line for line in lines)
    assert any("+0.100*" in line for line in lines)


def test_the_figure_shows_zero_where_all_changes_are_on_one_side():
    for change in (0.5, -0.5):
        rows = [row("a", "MAE", [], "alone", 1.0), row("a", "MAE", ["b"], "equal", 1.0, change)]
        low, high = advice_figure(rows, [], []).axes[0].get_xlim()
        assert low < 0 < high


def test_a_verdict_names_the_others_the_interval_and_the_angle():
    verdict = {
        "target": "glass", "criterion": "recall", "verdict": "together", "with": ["hardness"],
        "strategy": "gradnorm", "alone": "alone", "together": {"with": ["hardness"], "strategy": "gradnorm"},
        "pairs": 4, "val_change": {"mean": 0.05, "low": 0.01, "high": 0.09},
        "test_change": {"mean": 0.06, "low": 0.03, "high": 0.09},
        "recommended_test_change": {"mean": 0.06, "low": 0.03, "high": 0.09}, "angle": 97.4, "conflicts": 0.8,
    }  # fmt: skip
    text = reason(verdict)
    for part in ("together with hardness (gradnorm)", "+0.050 (+0.010 to +0.090)", "4 pairs", "97°", "80 %"):
        assert part in text
    assert "alone" in reason({**verdict, "verdict": "alone"}).split(".")[0]
    assert "+0.060 (+0.030 to +0.090)" in verdict_table([verdict]).markdown()[2]
