"""Figure of a composition as a network sees it: seven grey-scale images and the key to their cells."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from workflows.report.style import GREY, PALETTE, formula_mathtext, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LETTERS_OF_A_CELL = 12


def composition_figure(
    images: NDArray[np.float32],
    cells: NDArray[np.int64],
    properties: Sequence[tuple[str, str]],
    statistics: Sequence[str],
    formula: str,
    caption: str,
) -> Figure:
    """Draw the images of one composition.

    Parameters
    ----------
    images
        [7, 8, 8] grey values from 0 to 1, by statistic; see `model.compositions.image`.
    cells
        [58] of the properties.
    properties
        Name and kind of each.
    statistics
        Names of the channels.
    formula
        In the title.
    caption
        How cells are arranged and what the grey scale spans.
    """
    with styled():
        figure = new_figure(7.0, 5.7)
        panels = figure.subplot_mosaic("K01;K23;K45;K6S", width_ratios=(4.4, 1, 1))
        key = panels.pop("K")
        _draw_key(key, cells, properties, images.shape[-1])
        for i, statistic in enumerate(statistics):
            axes = panels[str(i)]
            shown = axes.imshow(images[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(statistic, fontsize=8)
            _bare(axes)
        scale = panels["S"]
        scale.axis("off")
        bar = figure.colorbar(
            shown, cax=scale.inset_axes((0.12, 0.5, 0.76, 0.12)), orientation="horizontal", ticks=[0, 1]
        )
        bar.ax.set_xticklabels(["lowest", "highest"], fontsize=7)
        bar.outline.set_linewidth(0.5)
        figure.suptitle(f"{formula_mathtext(formula)} as an image", fontsize=10.5)
        figure.supxlabel(caption, fontsize=7.5, color=GREY)
    return figure


def _draw_key(axes: Axes, cells: NDArray[np.int64], properties: Sequence[tuple[str, str]], side: int) -> None:
    """Draw the name of the property in each cell, its kind as the colour."""
    from matplotlib.patches import Patch, Rectangle

    colours = dict(zip(dict.fromkeys(kind for _, kind in properties), PALETTE, strict=False))
    for cell, (name, kind) in zip(cells, properties, strict=True):
        row, column = divmod(int(cell), side)
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=colours[kind], alpha=0.22, edgecolor="white", lw=1
            )
        )
        # words longer than a cell
        parted = name.replace("electroneg", "electro- neg").replace("polarisa", "polar- isa")
        lines = textwrap.wrap(parted, _LETTERS_OF_A_CELL)
        axes.text(column, row, "\n".join(lines), ha="center", va="center", fontsize=5, linespacing=1.05)
    axes.set_xlim(-0.5, side - 0.5)
    axes.set_ylim(side - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_title("properties of the elements by cell", fontsize=8)
    _bare(axes)
    axes.legend(
        handles=[Patch(facecolor=c, alpha=0.4, label=kind) for kind, c in colours.items()],
        loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=6, fontsize=6.5,
        handlelength=1, columnspacing=1, handletextpad=0.4,
    )  # fmt: skip


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)
