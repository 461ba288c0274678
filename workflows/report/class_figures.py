"""Figures of classes: confusion matrix, calibration of probabilities, and importance of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workflows.report.style import GREY, MARKERS, PALETTE, new_figure, styled
from workflows.report.training_figures import target_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from workflows.report.training_figures import Row

BINS = 10  # of predicted probabilities, each of the same number of predictions
MOST_NAMED = 4  # classes up to which each has a curve of its own; of more, all predictions share one
MOST_INPUTS = 15  # bars of the figure of importance

_DARK = 0.55  # share of a row above which its number is white


def known_rows(rows: Sequence[Row], target: str) -> list[Row]:
    """Return the rows of the test set that have a label of a target."""
    return [row for row in rows if row["part"] == "test" and row.get(target) is not None]


def confusion_matrix(rows: Sequence[Row], target: str, classes: int) -> NDArray[np.int64]:
    """Count rows by their true class (first axis) and the likeliest one (second): [K, K]."""
    found = np.zeros((classes, classes), dtype=np.int64)
    for row in rows:
        found[int(row[target]), int(row[f"{target}_predicted"])] += 1
    return found


def reliability(probabilities: NDArray[np.float64], happened: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return predicted against observed frequency in bins of equally many predictions.

    Parameters
    ----------
    probabilities
        [n] predicted.
    happened
        [n] whether it was so.

    Returns
    -------
    array
        [B, 3]: mean probability, share that happened, and number of predictions of each bin.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, min(BINS, max(1, len(order) // BINS))) if len(part)]
    return np.array([(probabilities[p].mean(), happened[p].mean(), len(p)) for p in bins]).reshape(-1, 3)


def calibration_error(curve: NDArray[np.float64]) -> float:
    """Return the mean distance of predicted from observed frequency over all predictions (ECE)."""
    return float(np.average(np.abs(curve[:, 0] - curve[:, 1]), weights=curve[:, 2]))


def class_figure(rows: Sequence[Row], target: str, names: Sequence[str], nouns: str) -> Figure | None:
    """Draw the confusion matrix of the test set beside the calibration of the probabilities.

    Rows are those of `model.evaluation.metrics.prediction_rows`, `nouns` what they are of (compositions);
    None where the test set has no label.
    """
    known = known_rows(rows, target)
    if not known:
        return None
    with styled():
        side = min(max(3.6, 0.6 * len(names) + 1.6), 7.5)
        figure = new_figure(side + 4.4, side)
        left, right = figure.subplots(1, 2, width_ratios=[side, 4.2])
        _draw_matrix(left, confusion_matrix(known, target, len(names)), names)
        _draw_calibration(right, known, target, names)
        figure.suptitle(f"{target_name(target)}: {len(known)} {nouns} of the test set")
    return figure


def _draw_matrix(axes: Axes, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(names)):
        for j in range(len(names)):
            colour = "white" if shares[i, j] > _DARK else "#202124"
            text = (
                f"{counts[i, j]}\n{shares[i, j]:.0%}".replace("%", " %")
                if len(names) <= MOST_NAMED
                else f"{counts[i, j]}"
            )
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8.5)
    places = range(len(names))
    axes.set_xticks(places, list(names), rotation=0 if len(names) <= MOST_NAMED else 90)
    axes.set_yticks(places, list(names))
    axes.set(xlabel="predicted class", ylabel="true class", title="per cent of each true class")
    axes.title.set(fontsize=9, color=GREY)
    axes.grid(visible=False)


def _draw_calibration(axes: Axes, rows: Sequence[Row], target: str, names: Sequence[str]) -> None:
    true = np.array([int(row[target]) for row in rows])
    shares = np.array([[float(row[f"{target}_p_{name}"]) for name in names] for row in rows])
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9)
    if len(names) == 2:
        curves = {names[1]: (shares[:, 1], true == 1)}
    elif len(names) <= MOST_NAMED:
        curves = {name: (shares[:, k], true == k) for k, name in enumerate(names)}
    else:
        curves = {"all classes": (shares.ravel(), (true[:, None] == np.arange(len(names))).ravel())}
    for k, (name, (predicted, happened)) in enumerate(curves.items()):
        curve = reliability(predicted, happened)
        axes.plot(
            curve[:, 0],
            curve[:, 1],
            color=PALETTE[k % len(PALETTE)],
            marker=MARKERS[k % len(MARKERS)],
            markersize=4.5,
            label=f"{name} (mean distance {calibration_error(curve):.3f})",
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="predicted probability", ylabel="share that is of the class")
    axes.set_title("calibration, points of equally many predictions", fontsize=9, color=GREY)
    axes.legend(loc="upper left", fontsize=7.5)


def importance_figure(importance: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw by how much the error of each target rises when one input is shuffled, the largest first.

    See `model.evaluation.permutation.permutation_importance`.
    """
    with styled():
        most = max(min(len(found), MOST_INPUTS) for found in importance.values())
        columns = min(2, len(importance))
        lines = -(-len(importance) // columns)
        figure = new_figure(4.4 * columns, lines * (0.21 * most + 0.9))
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(importance) :]:
            axes.set_axis_off()
        for k, (axes, (target, found)) in enumerate(zip(panels, importance.items(), strict=False)):
            shown = sorted(found.items(), key=lambda pair: -pair[1])[:MOST_INPUTS][::-1]
            axes.barh(range(len(shown)), [value for _, value in shown], color=PALETTE[k % len(PALETTE)])
            axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
            axes.grid(axis="y", visible=False)
            axes.set_xlabel("rise of the error, in units of the error")
            axes.set_title(target_name(target))
    return figure
