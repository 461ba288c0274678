"""Matrices of correlations between a network's vectors of elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workflows.report.paper.distributions import CROWDED, label_elements
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
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

_LABEL = "Pearson correlation"


def correlation_figure(symbols: Sequence[str], correlation: NDArray[Any]) -> Figure:
    """Draw one matrix [k, k] of correlations between k elements, all of them named; figure 4 of Shi et al."""
    with printed():
        figure = new_figure(DOUBLE_COLUMN, 0.9 * DOUBLE_COLUMN)
        axes = figure.subplots()
        rows = 1 if len(symbols) <= CROWDED else 2
        image = _matrix(axes, symbols, correlation, _lowest([correlation]), fontsize=5.5, rows=rows)
        figure.colorbar(image, ax=axes, aspect=35, pad=0.01).set_label(_LABEL)
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
        figure = new_figure(DOUBLE_COLUMN, 0.5 * rows * DOUBLE_COLUMN + 0.4)
        panels = list(figure.subplots(rows, 2, squeeze=False).ravel())
        lowest = _lowest(list(matrices.values()))
        for axes, (name, matrix) in zip(panels, matrices.items(), strict=False):
            image = _matrix(axes, symbols, matrix, lowest, fontsize=4.5, rows=2)
            axes.set_title(name)
        _contrasts(panels[len(matrices)], contrasts)
        for axes in panels[len(matrices) + 1 :]:
            axes.set_visible(False)
        figure.colorbar(image, ax=panels, location="bottom", aspect=60, shrink=0.6, pad=0.02).set_label(
            _LABEL
        )
        add_panel_letters(panels[: len(matrices) + 1])
    return figure


def _lowest(matrices: Sequence[NDArray[Any]]) -> float:
    """Return the lower end of the scale, a multiple of 0.1."""
    return min(math.floor(10 * min(float(matrix.min()) for matrix in matrices)) / 10, 0.9)


def _matrix(
    axes: Axes, symbols: Sequence[str], matrix: NDArray[Any], lowest: float, fontsize: float, rows: int
) -> AxesImage:
    image = axes.imshow(matrix, cmap="viridis", vmin=lowest, vmax=1)
    label_elements(axes, symbols, fontsize, rows)
    axes.set_yticks(range(len(symbols)), symbols, fontsize=fontsize)
    for k, tick in enumerate(axes.yaxis.get_major_ticks()):
        tick.set_pad(1 + 2 * fontsize * (k % rows))
    axes.tick_params(length=1)
    axes.grid(visible=False)
    return image


def _contrasts(axes: Axes, contrasts: Sequence[Mapping[str, Any]]) -> None:
    lines = (
        ("within", "within a group", PALETTE[0], "-", "o"),
        ("between", "between groups", PALETTE[1], "-", "s"),
        ("divalent", "Yb with divalent metals", PALETTE[2], (0, (4, 2)), "^"),
        ("trivalent", "Yb with trivalent lanthanoids", PALETTE[3], (0, (4, 2)), "v"),
    )
    for key, label, colour, style, marker in lines:
        values = [row[key] for row in contrasts]
        if any(value is not None for value in values):
            heights = [math.nan if value is None else value for value in values]
            axes.plot(heights, color=colour, linestyle=style, marker=marker, label=label)
    texts = []
    for row in contrasts:
        p_value = "" if row["p_value"] is None else f"\np = {row['p_value']:.2g}"
        texts.append(row["stage"].replace("convolution", "conv.") + p_value)
    axes.set_xticks(range(len(contrasts)), texts)
    axes.set_xlim(-0.4, len(contrasts) - 0.6)
    axes.set_ylabel("mean Pearson correlation")
    axes.legend(loc="best")
