from __future__ import annotations

import numpy as np
import pytest

from workflows.report.simulation_figures import simulation_figure
from workflows.report.style import save

SIZES = [100, 200, 300, 400, 500]


def points(strategy, errors, spread=0.02):
    return [
        {
            "strategy": strategy,
            "slabs": n,
            "errors": {
                "surface_energy": {"mean": 0.01 * e, "spread": 0.01 * spread},
                "work_function": {"mean": 0.3 * e, "spread": None},
                "score": {"mean": e, "spread": spread},
            },
        }
        for n, e in zip(SIZES, errors, strict=True)
    ]


CURVES = {
    "random": points("random", [0.9, 0.75, 0.65, 0.6, 0.55]),
    "diverse": points("diverse", [0.9, 0.65, 0.52, 0.45, 0.42]),
}
SAVINGS = [
    {"strategy": strategy, "error": "score", "mark": 0.55, "slabs": slabs, "ratio": ratio}
    for strategy, slabs, ratio in (("random", 500.0, 1.0), ("diverse", 277.0, 0.554))
]


def test_one_panel_for_all_targets_and_one_for_each_with_units(tmp_path):
    figure = simulation_figure(CURVES, SAVINGS, 500)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[0] == "hold-out MAE (standard deviations)"
    assert "surface energy" in labels[1] and "eV/Å²" in labels[1]
    assert "work function" in labels[2] and "(eV)" in labels[2]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["diverse"].get_xdata(), SIZES)
    np.testing.assert_allclose(lines["diverse"].get_ydata(), [0.9, 0.65, 0.52, 0.45, 0.42])
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_saving_of_the_best_strategy_stands_above_the_panel():
    figure = simulation_figure(CURVES, SAVINGS, 500)
    assert figure.axes[0].get_title() == "diverse: random's error with 55 % of its slabs after the start"
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([500, 277])


def test_without_savings_the_curves_stand_alone():
    figure = simulation_figure({"diverse": CURVES["diverse"]}, [], 500)
    assert figure.axes[0].get_title() == ""
    never = [{"strategy": "diverse", "error": "score", "mark": 0.1, "slabs": None, "ratio": None}]
    figure = simulation_figure(CURVES, never, 500)
    assert figure.axes[0].get_title() == "no strategy reaches random's error sooner"
