"""Matrices of correlations between a network's vectors of elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workflows.report.style import (
    DOUBLE_COLUMN,
    PALETTE,
    add_panel_letters,
    new_figure,
    printed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_COLOURS = "viridis"


def correlation_figure(symbols: Sequence[str], correlation: NDArray[Any]) -> Figure:
    """Draw one matrix [k, k] of correlations between k elements, all of them named; figure 4 of Shi et al."""
    with printed():
        figure = new_figure(DOUBLE_COLUMN, 0.9 * DOUBLE_COLUMN)
        axes = figure.subplots()
        _matrix(figure, axes, symbols, correlation, fontsize=6, rows=1)
    return figure


def convolution_figure(
    symbols: Sequence[str],
    matrices: Mapping[str, NDArray[Any]],
    contrasts: Sequence[Mapping[str, Any]],
) -> Figure:
    """Draw the matrices after each convolution, and how the mean correlations change; figure S5 of Shi et al.

    Parameters
    ----------
    symbols
        Of the k elements.
    matrices
        [k, k] by name of the stage.
    contrasts
        Of all stages: ``stage``, ``within`` and ``between`` groups of the periodic table, ``p_value``, and
        ``divalent`` and ``trivalent`` of ytterbium (None where there is no value).
    """
    rows = -(-(len(matrices) + 1) // 2)
    with printed():
        figure = new_figure(DOUBLE_COLUMN, 0.52 * rows * DOUBLE_COLUMN)
        panels = list(figure.subplots(rows, 2, squeeze=False).ravel())
        for axes, (name, matrix) in zip(panels, matrices.items(), strict=False):
            _matrix(figure, axes, symbols, matrix, fontsize=4.5, rows=2)
            axes.set_title(name)
        _contrasts(panels[len(matrices)], contrasts)
        for axes in panels[len(matrices) + 1 :]:
            axes.set_visible(False)
        add_panel_letters(panels[: len(matrices) + 1])
    return figure


def _matrix(
    figure: Figure, axes: Axes, symbols: Sequence[str], matrix: NDArray[Any], fontsize: float, rows: int
) -> None:
    lowest = math.floor(10 * float(matrix.min())) / 10
    image = axes.imshow(matrix, cmap=_COLOURS, vmin=min(lowest, 0.9), vmax=1)
    texts = [symbol if k % rows == 0 else f"\n{symbol}" for k, symbol in enumerate(symbols)]
    axes.set_xticks(range(len(symbols)), texts, fontsize=fontsize, linespacing=1.0)
    texts = [symbol if k % rows == 0 else f"{symbol}     " for k, symbol in enumerate(symbols)]
    axes.set_yticks(range(len(symbols)), texts, fontsize=fontsize)
    axes.tick_params(length=1, pad=1)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, aspect=35, pad=0.01).set_label("Pearson correlation")


def _contrasts(axes: Axes, contrasts: Sequence[Mapping[str, Any]]) -> None:
    lines = (
        ("within", "within a group", PALETTE[0], "-", "o"),
        ("between", "between groups", PALETTE[1], "-", "s"),
        ("divalent", "Yb with Ca, Sr, Ba, Eu", PALETTE[2], (0, (4, 2)), "^"),
        ("trivalent", "Yb with trivalent lanthanoids", PALETTE[3], (0, (4, 2)), "v"),
    )
    for key, label, colour, style, marker in lines:
        values = [row[key] for row in contrasts]
        if any(value is not None for value in values):
            heights = [math.nan if value is None else value for value in values]
            axes.plot(heights, color=colour, linestyle=style, marker=marker, label=label)
    texts = [
        row["stage"].replace(" ", "\n") + ("" if row["p_value"] is None else f"\np = {row['p_value']:.2g}")
        for row in contrasts
    ]
    axes.set_xticks(range(len(contrasts)), texts)
    axes.set_xlim(-0.4, len(contrasts) - 0.6)
    axes.set_ylabel("mean Pearson correlation")
    axes.legend(loc="best")
