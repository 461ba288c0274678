from __future__ import annotations

import numpy as np
import pytest

from workflows.report.training_figures import simulation_figure

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


def test_one_panel_for_all_targets_and_one_for_each_with_units():
    figure = simulation_figure(CURVES, SAVINGS, 500)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[0] == "hold-out MAE (standard deviations)"
    assert "surface energy" in labels[1] and "eV/Å²" in labels[1]
    assert "work function" in labels[2] and "(eV)" in labels[2]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["diverse"].get_xdata(), SIZES)
    np.testing.assert_allclose(lines["diverse"].get_ydata(), [0.9, 0.65, 0.52, 0.45, 0.42])


def test_the_saving_of_the_best_strategy_stands_above_the_panel():
    figure = simulation_figure(CURVES, SAVINGS, 500)
    assert "diverse: random's error with 55\N{NO-BREAK SPACE}% of its slabs after the start" in " ".join(
        figure.axes[0].get_title().split("\n")
    )
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([500, 277])


def test_without_savings_the_curves_stand_alone():
    figure = simulation_figure({"diverse": CURVES["diverse"]}, [], 500)
    assert figure.axes[0].get_title() == ""
    never = [{"strategy": "diverse", "error": "score", "mark": 0.1, "slabs": None, "ratio": None}]
    figure = simulation_figure(CURVES, never, 500)
    assert figure.axes[0].get_title() == "no strategy reaches random's error sooner"


def filled(axes):
    """Share of the panel's height that the drawn curves take."""
    ys = [y for line in axes.get_lines() if len(line.get_xdata()) > 2 for y in line.get_ydata()]
    low, high = axes.transData.transform([(1, min(ys)), (1, max(ys))])[:, 1]
    return (high - low) / axes.get_window_extent().height


@pytest.mark.parametrize(
    "errors",
    [[0.55, 0.54, 0.53, 0.525, 0.52], [0.9, 0.5, 0.3, 0.15, 0.05], [1e-3, 9e-4, 8.5e-4, 8.4e-4, 8.3e-4]],
)
def test_the_axes_show_the_curves(errors):
    figure = simulation_figure({"random": points("random", errors, spread=0.0)}, [], 500)
    figure.draw_without_rendering()
    assert all(filled(axes) > 0.6 for axes in figure.axes)


def test_a_start_that_dwarfs_the_rest_is_given_in_words():
    figure = simulation_figure({"random": points("random", [9.0, 0.55, 0.53, 0.5, 0.49])}, [], 500)
    axes = figure.axes[0]
    assert axes.get_ylim()[1] < 0.7
    assert "100 slabs, 9: above the panel" in axes.get_xlabel()


def test_errors_that_fall_far_have_a_logarithmic_axis():
    axes = simulation_figure({"random": points("random", [0.9, 0.5, 0.3, 0.2, 0.1], 0.01)}, [], 500).axes[0]
    assert axes.get_yscale() == "log"


def test_constant_errors_and_a_single_round_are_drawn():
    simulation_figure({"random": points("random", [0.5] * 5, 0.0)}, [], 500)
    simulation_figure({"random": points("random", [0.5] * 5)[:1]}, [], 500)
