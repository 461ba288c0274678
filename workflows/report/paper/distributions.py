"""Figures of the labelled slabs: joint density of surface energy and work function, and distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from workflows.report.style import (
    DOUBLE_COLUMN,
    GAMMA_LABEL,
    GREY,
    PALETTE,
    PHI_LABEL,
    SINGLE_COLUMN,
    add_panel_letters,
    new_figure,
    printed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GRID = 80
_MARGIN = 3.0  # widths of the kernel that the grid extends beyond the outermost labels

_LEVELS = 9
_FEWEST = 3


def joint_density(x: Sequence[float], y: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    """Estimate the joint density of two quantities on a grid that holds all but 1e-3 of it.

    Gaussian kernels with the covariance of the data and Scott's factor (scipy.stats.gaussian_kde).

    Returns
    -------
    x, y, density
        Grid [GRID] each, and density [y, x] in the inverse units of both; it integrates to one.

    Raises
    ------
    InputError
        If there are fewer than three pairs, or they lie on a line.
    """
    from scipy.stats import gaussian_kde

    pairs = np.array([x, y], dtype=float)
    if pairs.shape[1] < _FEWEST:
        raise InputError(f"{pairs.shape[1]} slabs with both labels have no density; import more slabs")
    try:
        kernel = gaussian_kde(pairs)
    except np.linalg.LinAlgError as error:
        raise InputError("labels that lie on one line have no joint density; import other slabs") from error
    axes = [
        np.linspace(values.min() - width, values.max() + width, GRID)
        for values, width in zip(pairs, _MARGIN * np.sqrt(np.diag(kernel.covariance)), strict=True)
    ]
    grid = np.stack([part.ravel() for part in np.meshgrid(*axes)])
    return axes[0], axes[1], kernel(grid).reshape(GRID, GRID)


def joint_density_figure(
    gamma: Sequence[float], phi: Sequence[float], estimate: tuple[Floats, Floats, Floats]
) -> Figure:
    """Draw the joint density of surface energies (eV/A^2) and work functions (eV) with marginal histograms.

    One pair per slab, and what `joint_density` returns for them. As figure 1a of Shi et al.
    """
    x, y, density = estimate
    with printed():
        figure = new_figure(SINGLE_COLUMN, 0.92 * SINGLE_COLUMN)
        grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4), hspace=0.02, wspace=0.02)
        axes = figure.add_subplot(grid[1, 0])
        top = figure.add_subplot(grid[0, 0], sharex=axes)
        right = figure.add_subplot(grid[1, 1], sharey=axes)
        levels = np.linspace(0, density.max(), _LEVELS + 1)[1:]
        axes.scatter(gamma, phi, s=1.5, color=GREY, alpha=0.4, linewidths=0, zorder=2, rasterized=True)
        shades = axes.contourf(
            x, y, density, levels=[*(levels - levels[0] / 2), density.max() * 1.01], cmap="viridis",
            alpha=0.85, zorder=3,
        )  # fmt: skip
        bar = figure.colorbar(shades, ax=[axes, right], location="bottom", aspect=40, pad=0.02)
        bar.set_label(r"density (Å$^2$/eV$^2$)")
        bar.ax.set_xticks(bar.ax.get_xticks(), [f"{tick:.2g}" for tick in bar.ax.get_xticks()])
        for marginal, values, grid_of, other, sideways in (
            (top, gamma, x, y, False),
            (right, phi, y, x, True),
        ):
            _marginal(marginal, values, grid_of, density, other, sideways)
        axes.set(xlabel=GAMMA_LABEL, ylabel=PHI_LABEL)
        axes.set_xlim(max(x[0], min(gamma) - 0.04 * np.ptp(gamma)), x[-1])
        axes.set_ylim(y[0], y[-1])
    return figure


def _marginal(
    axes: Axes, values: Sequence[float], grid: Floats, density: Floats, other: Floats, sideways: bool
) -> None:
    """Draw the histogram of one quantity and the joint density integrated over the other."""
    axes.hist(
        values, bins=36, density=True, color=PALETTE[5], linewidth=0,
        orientation="horizontal" if sideways else "vertical",
    )  # fmt: skip
    curve = np.trapezoid(density, other, axis=1 if sideways else 0)
    axes.plot(*((curve, grid) if sideways else (grid, curve)), color=PALETTE[0], linewidth=1)
    axes.tick_params(labelbottom=False, labelleft=False, length=0)
    axes.grid(visible=False)
    for side in ("top", "right", "bottom" if sideways else "left"):
        axes.spines[side].set_visible(False)


def distribution_figure(
    labels: Mapping[str, Sequence[float]],
    atoms: Sequence[int],
    elements: Sequence[tuple[str, int]],
) -> Figure:
    """Draw histograms of labels and atoms per slab, and the number of slabs that hold each element.

    Parameters
    ----------
    labels
        ``surface_energy`` (eV/A^2) and ``work_function`` (eV); empty where no slab has one.
    atoms
        Of each slab.
    elements
        Symbols in the order in which they are drawn, with their numbers of slabs.
    """
    with printed():
        figure = new_figure(DOUBLE_COLUMN, 0.6 * DOUBLE_COLUMN)
        above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
        panels = list(above.subplots(1, 3))
        for axes, (name, text), colour in zip(
            panels, (("surface_energy", GAMMA_LABEL), ("work_function", PHI_LABEL)), PALETTE, strict=False
        ):
            _histogram(axes, labels[name], colour)
            axes.set(xlabel=text, ylabel="slabs")
        _histogram(panels[2], atoms, PALETTE[2])
        panels[2].set(xlabel="atoms in the slab", ylabel="slabs")
        axes = below.subplots()
        axes.bar(range(len(elements)), [n for _, n in elements], width=0.75, color=PALETTE[0], zorder=3)
        label_elements(axes, [symbol for symbol, _ in elements])
        axes.set_xlim(-0.7, len(elements) - 0.3)
        axes.set_ylabel("slabs that hold it")
        axes.set_xlabel("element, by Mendeleev number")
        add_panel_letters([*panels, axes])
    return figure


def _histogram(axes: Axes, values: Sequence[float], colour: str) -> None:
    if not len(values):
        axes.text(0.5, 0.5, "no labels", ha="center", va="center", transform=axes.transAxes, color=GREY)
        return
    axes.hist(values, bins=40, color=colour, zorder=3)
    median: Any = np.median(values)
    axes.axvline(median, color="#202124", linewidth=0.8, linestyle=(0, (4, 2)), zorder=4)
    axes.text(
        0.97, 0.95, f"n = {len(values)}\nmedian {median:.3g}", transform=axes.transAxes, ha="right", va="top",
        fontsize=6.5,
    )  # fmt: skip


CROWDED = 44  # more elements than this across a double column are labelled in two rows


def label_elements(axes: Axes, symbols: Sequence[str], fontsize: float = 6, rows: int | None = None) -> None:
    """Name elements below the ticks 0, 1, ... of a horizontal axis; many in two rows."""
    rows = rows or (1 if len(symbols) <= CROWDED else 2)
    axes.set_xticks(range(len(symbols)), symbols, fontsize=fontsize, va="baseline")
    for k, tick in enumerate(axes.xaxis.get_major_ticks()):
        # by the baseline: letters that reach below it would lift their symbols
        tick.set_pad(1 + fontsize * (1 + 1.1 * (k % rows)))
    axes.grid(axis="x", visible=False)
