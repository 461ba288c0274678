"""Confusion matrix and calibration of classes."""

from __future__ import annotations

import numpy as np
import pytest

from workflows.report.class_figures import calibration_error, class_figure, confusion_matrix, reliability


def rows_of(true, probabilities, names=("no", "yes")):
    return [
        {
            "part": "test",
            "glass": None if t is None else float(t),
            "glass_predicted": float(np.argmax(p)),
            **{f"glass_p_{name}": share for name, share in zip(names, p, strict=True)},
        }
        for t, p in zip(true, probabilities, strict=True)
    ]


def test_confusion_matrix_counts_true_classes_in_rows():
    rows = rows_of([0, 0, 1, 1], [(0.9, 0.1), (0.2, 0.8), (0.4, 0.6), (0.3, 0.7)])
    assert confusion_matrix(rows, "glass", 2).tolist() == [[1, 1], [0, 2]]


def test_calibration_of_right_and_of_overconfident_probabilities():
    shares = np.random.default_rng(0).uniform(size=20_000)
    happened = np.random.default_rng(1).uniform(size=20_000) < shares
    curve = reliability(shares, happened)
    assert len(curve) == 10 and (curve[:, 2] == 2000).all() and calibration_error(curve) < 0.02
    extreme = reliability(np.where(shares > 0.5, 0.99, 0.01), happened)
    assert calibration_error(extreme) == pytest.approx(0.24, abs=0.02)


def test_figures_need_labels_in_the_test_set():
    assert class_figure(rows_of([None], [(0.9, 0.1)]), "glass", ("no", "yes"), "compositions") is None
    figure = class_figure(
        rows_of([0, 1, 1], [(0.9, 0.1), (0.2, 0.8), (0.4, 0.6)]), "glass", ("no", "yes"), "x"
    )
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["1\n100 %", "0\n0 %", "0\n0 %", "2\n100 %"]
    assert right.get_legend().get_texts()[0].get_text().startswith("yes")
