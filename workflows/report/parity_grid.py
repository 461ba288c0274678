"""Parity plots of several models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.style import DOUBLE_COLUMN, add_panel_letters, new_figure, printed
from workflows.report.training_figures import draw_parity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    Panel = tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]
    """Rows of ``predictions.csv`` and the metrics of the target."""


def parity_grid(models: Mapping[str, Mapping[str, Panel]], targets: Sequence[str]) -> Figure:
    """Draw predictions of training and test slabs against DFT: one column per model, one row per target.

    As figure 2 of Shi et al. All panels of a row have the same labels, hence the same axes.
    """
    columns = len(models)
    side = DOUBLE_COLUMN / max(columns, 2)
    with printed():
        figure = new_figure(side * columns, side * len(targets) * 1.02)
        panels = figure.subplots(len(targets), columns, squeeze=False)
        for row, target in zip(panels, targets, strict=True):
            for axes, (name, found) in zip(row, models.items(), strict=True):
                rows, metrics = found[target]
                draw_parity(axes, rows, target, metrics, ("train", "test"), narrow=True)
                axes.set_title(name)
                if axes is not row[0]:
                    axes.set_ylabel("")
        add_panel_letters(list(panels.ravel()))
    return figure
