"""Labels and errors by element, with elements of semiconductors marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.paper.distributions import label_elements
from workflows.report.style import (
    DOUBLE_COLUMN,
    PALETTE,
    add_panel_letters,
    new_figure,
    printed,
)
from workflows.report.training_figures import UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METAL, SEMICONDUCTOR = PALETTE[5], PALETTE[0]
SYMBOLS = {"surface_energy": r"$\gamma$", "work_function": r"$\Phi$"}


def element_error_figure(elements: Sequence[Mapping[str, Any]], targets: Sequence[str]) -> Figure:
    """Draw box plots of labels and of test errors by element, and the mean absolute percentage error.

    As figure 3 of Shi et al., with the errors themselves beside it.

    Parameters
    ----------
    elements
        In the order in which they are drawn: ``element``, ``labels`` and ``errors`` (values by target; errors
        are predicted minus DFT of the test slabs), ``mape`` (%, or None), ``n_test``, ``n_metal`` and
        ``n_semiconductor`` (slabs), ``semiconductor`` (whether most of its slabs are of semiconductors).
    targets
        Drawn, in this order.
    """
    symbols = [str(row["element"]) for row in elements]
    colours = [SEMICONDUCTOR if row["semiconductor"] else METAL for row in elements]
    with printed():
        figure = new_figure(DOUBLE_COLUMN, 1.05 * (2 * len(targets) + 2))
        panels = list(figure.subplots(2 * len(targets) + 2, 1, sharex=True))
        waiting = iter(panels)
        for kind, words in (("labels", "{}, DFT"), ("errors", "{}, error")):
            for target in targets:
                axes = next(waiting)
                _boxes(axes, [row[kind].get(target) or [] for row in elements], colours)
                name = words.format(SYMBOLS.get(target, target.replace("_", " ")))
                axes.set_ylabel(f"{name}\n({UNITS[target]})" if target in UNITS else name)
                if kind == "errors":
                    axes.axhline(0, color="#202124", linewidth=0.6, zorder=2)
        mape, counts = next(waiting), next(waiting)
        mape.bar(range(len(symbols)), [row["mape"] or 0.0 for row in elements], color=colours, zorder=3)
        mape.set_ylabel("MAPE (%)")
        metal = [row["n_metal"] for row in elements]
        counts.bar(range(len(symbols)), metal, color=METAL, zorder=3, label="slabs of metals")
        counts.bar(
            range(len(symbols)), [row["n_semiconductor"] for row in elements], bottom=metal,
            color=SEMICONDUCTOR, zorder=3, label="slabs of semiconductors",
        )  # fmt: skip
        total = [row["n_metal"] + row["n_semiconductor"] for row in elements]
        counts.set(ylabel="slabs", ylim=(0, 1.08 * max(total)))
        counts.set_xlabel("element, by Mendeleev number")
        label_elements(counts, symbols)
        counts.set_xlim(-0.7, len(symbols) - 0.3)
        figure.legend(*counts.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        for axes in panels:
            axes.grid(axis="x", visible=False)
        add_panel_letters(panels)
        figure.align_ylabels(panels)
    return figure


def _boxes(axes: Axes, values: Sequence[Sequence[float]], colours: Sequence[str]) -> None:
    """Draw quartiles, medians and whiskers up to 1.5 interquartile ranges; outliers are hidden."""
    shown = [k for k, own in enumerate(values) if len(own)]
    if not shown:
        return
    boxes = axes.boxplot(
        [values[k] for k in shown], positions=shown, widths=0.62, showfliers=False, patch_artist=True,
        manage_ticks=False, medianprops={"color": "#202124", "linewidth": 0.9},
        whiskerprops={"linewidth": 0.6}, capprops={"linewidth": 0.6}, boxprops={"linewidth": 0.5},
    )  # fmt: skip
    for box, k in zip(boxes["boxes"], shown, strict=True):
        box.set_facecolor(colours[k])
