"""Figure of an audit: shifts of surface energies over the formula units in a slab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workflows.report.style import (
    GREY,
    LIGHT,
    MARKERS,
    PALETTE,
    add_joule_axis,
    axes_or_new,
    figure_of,
    formula_mathtext,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Points = Sequence[tuple[float, float]]


def audit_figure(
    compounds: Sequence[tuple[str, str, float, Points]], backdrop: Points, ax: Axes | None = None
) -> Figure:
    """Draw the facets of compounds with a wrong bulk energy beside those of all others (`backdrop`).

    A compound is its formula, level (faulty, suspect), error of the bulk energy (eV per formula unit) and
    facets: formula units per area of both sides (1/A^2) and shift of the surface energy (eV/A^2).
    """
    with styled():
        axes = axes_or_new(ax, 6.8, 4.3)
        axes.axhline(0, color=GREY, linewidth=1)
        if backdrop:
            x, y = np.array(backdrop).T
            axes.plot(
                x, y, "o", color=LIGHT, markersize=3, markeredgewidth=0, label="other compounds", zorder=1
            )
        largest = max((x for _, _, _, points in compounds for x, _ in points), default=0.0)
        for place, (formula, level, energy, points) in enumerate(compounds):
            x, y = np.array(points).T
            colour = PALETTE[place % len(PALETTE)]
            error = f"{abs(energy):.2f} eV too {'high' if energy > 0 else 'low'}"
            axes.plot(
                x, y, MARKERS[place % len(MARKERS)], color=colour, markersize=5.5, zorder=3,
                markerfacecolor=colour if level == "faulty" else "white",
                label=f"{formula_mathtext(formula)}: $E_b$ {error}",
            )  # fmt: skip
            ends = np.array([0.0, 1.05 * max(x)])
            axes.plot(ends, -energy * ends, color=colour, linewidth=1, zorder=2)
        shown = [abs(y) for _, _, _, points in compounds for _, y in points]
        shown += list(np.quantile(np.abs([y for _, y in backdrop]), [0.95])) if backdrop else []
        if shown:
            axes.set_ylim(-1.35 * max(shown), 1.35 * max(shown))
        if largest:
            axes.set_xlim(0, 1.6 * largest)
        axes.set_xlabel(r"formula units in the slab per area, both sides (1/Å$^2$)")
        axes.set_ylabel(r"$\gamma$ less that of similar compounds (eV/Å$^2$)")
        axes.set_title("Hollow: suspect. Lines: the shift by a wrong bulk energy.", color=GREY, fontsize=8.5)
        add_joule_axis(axes)
        if compounds or backdrop:
            columns = 2 if len(compounds) > 3 else 1
            axes.legend(loc="upper right", ncols=columns, frameon=True, edgecolor="none", framealpha=0.9)
    return figure_of(axes)
