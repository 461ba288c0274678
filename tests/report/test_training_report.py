from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from pymatgen.core import Element

from stores.errors import StoreError
from workflows.report.training_figures import (
    element_figure,
    history_figure,
    learning_curve_figure,
    parity_figure,
    significant,
    with_unit,
)
from workflows.report.training_report import write_report

ELEMENTS = ("Mg", "Ag", "Zn", "La")
PARTS = ("train", "val", "test")


def errors(n, mae, r2=0.9):
    return {"n": n, "mae": mae, "rmse": 1.3 * mae if mae else mae, "r2": r2, "mape": 9.1}


def metrics(mae):
    return {
        **{part: errors(20, mae) for part in PARTS},
        "by_element": {e: errors(n, mae * (1 + n / 10)) for n, e in enumerate(ELEMENTS, start=1)},
        "by_system": {},
        "facet_order": {"kendall_tau": 0.71, "compounds": 6},
        "macro_mae": mae,
        "coverage_90": 0.88,
        "spearman_sigma": None,
    }


def history(epochs, targets=("surface_energy", "work_function")):
    return [
        {
            "epoch": n,
            "loss": dict.fromkeys(targets, 1 / n),
            "score": abs(n - 0.8 * epochs) + 0.1,
            "weights": {t: 1 + 0.1 * n * (-1) ** i for i, t in enumerate(targets)},
            "cosine": None if len(targets) == 1 else 0.5,
            "learning_rate": 1e-3,
            "seconds": 1.0,
        }
        for n in range(1, epochs + 1)
    ]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return [
        {
            "record_id": str(n),
            "part": PARTS[n % 3],
            "surface_energy": 0.05 + 0.001 * n,
            "surface_energy_predicted": 0.05 + 0.001 * n + rng.normal(0, 0.004),
            "work_function": None if n == 5 else 3.5 + 0.01 * n,
            "work_function_predicted": 3.5 if n != 7 else 9.0,
        }
        for n in range(60)
    ]


@pytest.fixture
def run():
    return {
        "label": "sem-cgcnn, <random>, seed 0",
        "split_name": "random",
        "settings": {"preset": "sem-cgcnn", "seed": 0, "bagging": False},
        "metrics": {"surface_energy": metrics(0.0053), "work_function": metrics(0.118)},
        "sizes": dict.fromkeys(PARTS, 20),
        "history": [history(10), history(10)],
        "seconds": 200.0,
        "total_loss": 0.157,
        "elements": list(ELEMENTS),
        "data": "abc",
    }


def test_all_three_parts_are_drawn_and_named_with_their_errors(rows, run):
    axes = parity_figure(rows, run["metrics"]).axes
    assert len(axes) == 2
    for one, target in zip(axes, run["metrics"], strict=True):
        texts = [text.get_text() for text in one.get_legend().get_texts()]
        assert [text.split(" ")[0] for text in texts] == ["training", "validation", "test"]
        assert all(significant(run["metrics"][target]["test"]["mae"]) in text for text in texts)
        assert one.get_xlim() == one.get_ylim()
    drawn = sum(len(points.get_offsets()) for points in axes[1].collections)
    assert drawn == 59  # all with a label


def test_one_wild_prediction_does_not_squeeze_the_others(rows, run):
    axes = parity_figure(rows, run["metrics"]).axes[1]
    assert axes.get_ylim()[1] < 4.2
    assert any("1 outside" in text.get_text() for text in axes.texts)


def test_elements_stand_in_the_order_of_the_periodic_table_with_their_counts(run):
    figure = element_figure(run["metrics"])
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels == ["Mg\n1", "Zn\n3", "Ag\n2", "La\n4"]


def test_many_elements_stand_upright(run):
    by_element = {Element.from_Z(z).symbol: {"n": 1000 + z, "mae": 0.1} for z in range(1, 85)}
    metrics = {"work_function": {**run["metrics"]["work_function"], "by_element": by_element}}
    figure = element_figure(metrics)
    figure.draw_without_rendering()
    labels = figure.axes[-1].get_xticklabels()
    assert labels[11].get_text() == "Mg 1012"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_the_losses_of_classes_are_named_as_such():
    axes = history_figure(history(3, ("metal", "gap")), {"metal": {}}).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[:3] == [
        "metal, training (cross-entropy)",
        "gap, training (RMS)",
        "all, validation (MAE, missed probability)",
    ]
    assert "standard deviations" not in axes.get_ylabel()
    assert axes.get_lines()[0].get_ydata()[0] == history(3, ("metal", "gap"))[0]["loss"]["metal"]


def test_only_reports_of_slabs_have_the_order_of_facets(rows, run, tmp_path):
    write_report(tmp_path, run, rows)
    assert "order of facets" in (tmp_path / "report.html").read_text()
    for metrics in run["metrics"].values():
        metrics["facet_order"] = {"kendall_tau": None, "compounds": 0}
    write_report(tmp_path, {**run, "noun": "crystal"}, rows)
    page = (tmp_path / "report.html").read_text()
    assert "order of facets" not in page
    assert "Predicted against labels" in page


def test_weights_and_angles_are_drawn_for_several_targets_only():
    assert len(history_figure(history(10)).axes) == 3
    assert len(history_figure(history(10, ("surface_energy",))).axes) == 1
    angle = history_figure(history(10)).axes[2].get_lines()[1].get_ydata()
    assert angle == pytest.approx([60.0] * 10)
    assert len(history_figure(history(1)).axes) == 3


@pytest.mark.parametrize("epochs", [1, 3, 200])
def test_the_legends_of_a_history_cover_nothing(epochs):
    figure = history_figure(history(epochs))
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        panel, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
        assert legend.y0 >= panel.y1
        page = figure.bbox
        assert legend.x0 >= page.x0 and legend.x1 <= page.x1 and legend.y1 <= page.y1


def test_a_learning_curve_has_a_line_for_each_preset():
    presets = list("abcdefghij")  # more than there are colours
    points = [
        {"preset": p, "n": n, "metric": "MAE", "error": 1 / n, "spread": None}
        for p in presets
        for n in (100, 200)
    ]
    figure = learning_curve_figure(points, "cleavage_energy")
    axes = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == presets
    assert len({(line[0].get_color(), line[0].get_marker()) for line in axes.containers}) == len(presets)
    assert "cleavage energy" in axes.get_ylabel()


def test_the_page_needs_nothing_beside_itself(rows, run, tmp_path):
    path = write_report(tmp_path, run, rows)
    page = path.read_text()
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "&lt;random&gt;" in page
    assert "<random>" not in page
    assert "0.00530 eV/Å²" in page
    for name in ("parity", "elements", "history"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_named(rows, run, tmp_path):
    with pytest.raises(StoreError, match=r"absent.*report cannot be written.*--output"):
        write_report(tmp_path / "absent", run, rows)


@pytest.mark.parametrize(
    ("value", "text"), [(0.005321, "0.00532"), (0.118, "0.118"), (12.34, "12.3"), (0, "0"), (1234.5, "1234")]
)
def test_three_digits_and_no_exponent(value, text):
    assert significant(value) == text


def test_a_target_of_unknown_unit_has_none():
    assert with_unit(0.5, "hardness") == "0.500"
    assert with_unit(None, "work_function") == "-"
