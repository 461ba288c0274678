"""Figures at their printed size: widths, densities, and labels that do not run into each other."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import pytest

from stores.errors import InputError
from workflows.report.paper.distributions import distribution_figure, joint_density, joint_density_figure
from workflows.report.paper.element_correlations import convolution_figure, correlation_figure
from workflows.report.paper.model_errors import depth_figure, element_error_figure, transfer_figure
from workflows.report.style import DOUBLE_COLUMN, SINGLE_COLUMN, printed_files

SYMBOLS = [
    "Li", "Na", "Ba", "Sr", "Ca", "Yb", "Eu", "Sc", "Lu", "Er", "Ho", "Dy", "Y", "Tb", "Gd", "Sm", "Pm",
    "Nd", "Pr", "Ce", "La", "Th", "Ac", "Zr", "Ti", "Mn", "Fe", "Co", "Rh", "Ni", "Pt", "Pd", "Au", "Ag",
    "Cu", "Hg", "Cd", "Zn", "In", "Al", "Ga", "Pb", "Sn", "Ge", "Si", "B", "Bi", "Sb", "As", "Te",
]  # fmt: skip
"""Fifty, as many as the paper has."""


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    return rng.normal(0.06, 0.01, 60), rng.normal(4, 0.4, 60)


def apart(texts, renderer):
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    return all(a.x1 < b.x0 or abs(a.y0 - b.y0) > 0.8 * a.height for a, b in pairwise(boxes))


def test_a_joint_density_integrates_to_one(labels):
    x, y, density = joint_density(*labels)
    assert np.trapezoid(np.trapezoid(density, x, axis=1), y) == pytest.approx(1, abs=2e-3)
    j, i = np.unravel_index(density.argmax(), density.shape)
    assert (x[i], y[j]) == (pytest.approx(0.06, abs=0.005), pytest.approx(4, abs=0.3))


@pytest.mark.parametrize("pairs", [([0.05], [4.0]), ([0.05, 0.06, 0.07], [4.0, 4.1, 4.2])])
def test_labels_without_a_density_are_refused(pairs):
    with pytest.raises(InputError, match="density"):
        joint_density(*pairs)


def test_figures_have_the_width_of_a_column_in_both_formats(labels):
    from PIL import Image

    figure = joint_density_figure(*labels, joint_density(*labels))
    files = printed_files(figure, (".pdf", ".png"), 300)
    assert Image.open(io.BytesIO(files[".png"])).width == pytest.approx(8.6 / 2.54 * 300, abs=1)
    pdf = files[".pdf"]
    assert pdf.startswith(b"%PDF") and b"/CreationDate" not in pdf
    assert figure.get_figwidth() == pytest.approx(SINGLE_COLUMN)
    atoms = [8, 12, 30]
    wide = distribution_figure(
        {"surface_energy": labels[0], "work_function": []}, atoms, [(s, 5) for s in SYMBOLS]
    )
    assert wide.get_figwidth() == pytest.approx(DOUBLE_COLUMN)


def test_fifty_elements_are_named_without_touching():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(50, 64))
    matrix = np.corrcoef(vectors)
    contrast = {"within": 0.5, "between": 0.1, "p_value": 0.01, "divalent": None, "trivalent": None}
    rows = [{"stage": name, **contrast} for name in ("embedding", "convolution 1", "convolution 2")]
    elements = [
        {"element": s, "labels": {"work_function": [3.0, 4.0]}, "errors": {"work_function": []}, "mape": None,
         "n_metal": 3, "n_semiconductor": 0, "semiconductor": False}
        for s in SYMBOLS
    ]  # fmt: skip
    for figure, panel in (
        (correlation_figure(SYMBOLS, matrix), 0),
        (convolution_figure(SYMBOLS, {f"convolution {n}": matrix for n in (1, 2)}, rows), 1),
        (element_error_figure(elements, ["work_function"]), -1),
    ):
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        ticks = figure.axes[panel].get_xticklabels()
        assert [tick.get_text() for tick in ticks] == SYMBOLS
        for row in (ticks[::2], ticks[1::2]) if panel else (ticks,):
            assert apart(row, renderer)
        edge = figure.bbox
        for tick in ticks:
            box = tick.get_window_extent(renderer)
            assert box.x0 >= edge.x0 and box.x1 <= edge.x1 and box.y0 >= edge.y0


def test_curves_of_transfer_and_depth_show_their_points():
    points = [{"n": 48, "mae": 0.02, "spread": None}, {"n": 480, "mae": 0.005, "spread": 0.001}]
    panel = {"target": "surface_energy", "data": "801 slabs", "curves": {"from scratch": points},
             "errors": {"from scratch": [0.01, -0.01, 0.02]}, "n": 48}  # fmt: skip
    above, below = transfer_figure([panel, panel]).axes[:3:2]
    assert [text.get_text() for text in above.get_xticklabels()] == ["48", "480"]
    assert "MAE 0.0133" in below.get_legend().get_texts()[0].get_text()
    assert len(transfer_figure([{**panel, "errors": {}}]).axes) == 1
    depths = [
        {"target": "work_function", "depth": d, "val_mae": 0.2, "val_spread": None, "test_mae": 0.1 + d,
         "test_spread": 0.01}
        for d in (0.0, 2.0)
    ]  # fmt: skip
    figure = depth_figure(depths)
    title = figure.suptitle("error and depth of the surface")
    figure.draw_without_rendering()
    assert not title.get_window_extent().overlaps(figure.legends[0].get_window_extent())
    lines = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(len(line) == 2 and math.isclose(line[1], 2.1) for line in lines)
