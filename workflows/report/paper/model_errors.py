"""Errors of trained models at the size of a printed column: figures 2, 3, 5 and S3 of Shi et al."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.report.paper.distributions import label_elements
from workflows.report.style import (
    DOUBLE_COLUMN,
    GREY,
    MARKERS,
    PALETTE,
    SINGLE_COLUMN,
    add_panel_letters,
    new_figure,
    printed,
)
from workflows.report.training_figures import (
    UNITS,
    add_unit,
    draw_parity,
    log_scale,
    significant,
    target_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Panel = tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]
    """Rows of ``predictions.csv`` and the metrics of the target."""

METAL, SEMICONDUCTOR = PALETTE[5], PALETTE[0]
SYMBOLS = {"surface_energy": r"$\gamma$", "work_function": r"$\Phi$"}

_BINS = 31
_INNER = 99.0  # per cent of the errors that the axis shows; the rest lies in the outermost bins


def parity_grid(models: Mapping[str, Mapping[str, Panel]], targets: Sequence[str]) -> Figure:
    """Draw predictions of training and test slabs against DFT: one column per model, one row per target.

    As figure 2 of Shi et al. All panels of a row have the same labels and so the same axes.
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


def transfer_figure(panels: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw test MAE against training slabs, and the distribution of test errors below; figure 5 of Shi et al.

    Parameters
    ----------
    panels
        One column each: ``target``, ``data`` (words), ``curves`` (by model, points of ``n``, ``mae`` and
        ``spread``), ``errors`` (by model, predicted minus DFT; may be empty) and ``n`` (training slabs of the
        models whose errors are shown). Without any errors the row of their distributions is left out.
    """
    rows = 1 + any(panel["errors"] for panel in panels)
    with printed():
        width = DOUBLE_COLUMN if len(panels) > 1 else SINGLE_COLUMN
        figure = new_figure(width, 2.3 * rows)
        grid = figure.subplots(rows, len(panels), squeeze=False)
        for column, panel in zip(grid.T, panels, strict=True):
            _learning_curves(column[0], panel)
            column[0].set_title(str(panel["data"]))
            for axes in column[1:]:
                _error_histograms(axes, panel)
        add_panel_letters(list(grid.ravel()))
    return figure


def _learning_curves(axes: Axes, panel: Mapping[str, Any]) -> None:
    for k, (model, points) in enumerate(panel["curves"].items()):
        axes.errorbar(
            [p["n"] for p in points],
            [p["mae"] for p in points],
            yerr=[p["spread"] or 0.0 for p in points],
            color=PALETTE[k % len(PALETTE)],
            marker=MARKERS[k % len(MARKERS)],
            capsize=2,
            label=model,
        )
    axes.set_xscale("log")
    log_scale(axes)
    sizes = sorted({p["n"] for points in panel["curves"].values() for p in points})
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("training slabs")
    axes.set_ylabel(add_unit(f"{target_name(panel['target'])}, test MAE", panel["target"]))
    axes.legend()


def _error_histograms(axes: Axes, panel: Mapping[str, Any]) -> None:
    axes.set_xlabel(add_unit(f"{target_name(panel['target'])}, predicted − DFT", panel["target"]))
    axes.set_ylabel("share of the test slabs")
    if not panel["errors"]:
        axes.text(0.5, 0.5, "no predictions", ha="center", va="center", transform=axes.transAxes, color=GREY)
        return
    everything = np.concatenate([np.asarray(values) for values in panel["errors"].values()])
    reach = float(np.percentile(np.abs(everything), _INNER)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1).tolist()
    for k, (model, values) in enumerate(panel["errors"].items()):
        mae = significant(float(np.abs(values).mean()))
        axes.hist(
            np.clip(values, -reach, reach), bins=edges, weights=np.full(len(values), 1 / len(values)),
            histtype="stepfilled", color=PALETTE[k % len(PALETTE)], alpha=0.3, zorder=3,
        )  # fmt: skip
        axes.hist(
            np.clip(values, -reach, reach), bins=edges, weights=np.full(len(values), 1 / len(values)),
            histtype="step", color=PALETTE[k % len(PALETTE)], linewidth=1, zorder=4,
            label=f"{model}\nMAE {mae}",
        )  # fmt: skip
    axes.axvline(0, color="#202124", linewidth=0.6, zorder=2)
    axes.legend(loc="upper left", title=f"{panel['n']} training slabs", title_fontsize=6.5, alignment="left")


def depth_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw validation and test MAE against the depth, a panel for each target; figure S3 of Shi et al.

    Points are those of `model.training.depth_scan.depth_curve`.
    """
    targets = list(dict.fromkeys(str(point["target"]) for point in points))
    with printed():
        figure = new_figure(SINGLE_COLUMN, 1.75 * len(targets) + 0.35)
        panels = list(figure.subplots(len(targets), 1, sharex=True, squeeze=False)[:, 0])
        for axes, target in zip(panels, targets, strict=True):
            own = [point for point in points if point["target"] == target]
            for k, (part, name) in enumerate((("val", "validation"), ("test", "test"))):
                axes.errorbar(
                    [p["depth"] for p in own], [p[f"{part}_mae"] for p in own],
                    yerr=[p[f"{part}_spread"] or 0.0 for p in own], color=PALETTE[k], marker="os"[k],
                    capsize=2, label=name,
                )  # fmt: skip
            axes.set_ylabel(add_unit(f"{target_name(target)}\nMAE", target))
        panels[-1].set_xlabel("depth of the surface (Å)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        add_panel_letters(panels)
        figure.align_ylabels(panels)
    return figure
