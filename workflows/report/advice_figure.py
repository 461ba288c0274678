"""Figure of `mgsurf ablate --advise`: change of every way of learning a target, and angles of gradients."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.report.advice import criterion_name, partners, shown_rows, strategy_name
from workflows.report.style import GREY, LINE_STYLES, PALETTE, new_figure, styled
from workflows.report.training_figures import target_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

COLUMNS = 2  # panels side by side
NAME_WIDTH = 26  # characters in a line of the names of targets
ANGLE_LINES = 8  # pairs of targets whose angles are drawn at most


def advice_figure(rows: Sequence[Row], judged: Sequence[Row], angles: Sequence[Row]) -> Figure:
    """Draw test and validation change of each way of learning a target, and the angles over the epochs.

    Parameters
    ----------
    rows, judged, angles
        ``options``, ``verdicts`` and ``angles`` of ``advice.json``. A filled marker is the change on the test
        set with its 95 % interval, an open one that on validation; to the left of zero an error is lower.
        The way that is recommended is bold. Angles are means over runs, of the losses with equal weights.
    """
    from matplotlib.lines import Line2D

    keys = list(dict.fromkeys((row["target"], row["criterion"]) for row in rows))
    others = [row for row in shown_rows(rows) if row["strategy"] != "alone"]
    keys = [key for key in keys if any((row["target"], row["criterion"]) == key for row in others)]
    panels = [[row for row in others if (row["target"], row["criterion"]) == key] for key in keys]
    recommended = {(one["target"], one["criterion"]): (tuple(one["with"]), one["strategy"]) for one in judged}
    lines = _angle_lines(angles)
    across = min(COLUMNS, len(panels))
    down = math.ceil(len(panels) / across)
    tallest = max(len(panel) * (1.6 if _named(panel) else 1) for panel in panels)
    height = 0.23 * max(tallest, 4) + 0.85
    with styled():
        figure = new_figure(4.5 * across, down * height + (2.5 if lines else 0) + 0.3)
        grid = figure.add_gridspec(
            down + bool(lines), across, height_ratios=[height] * down + [2.5] * bool(lines)
        )
        for i, (key, panel) in enumerate(zip(keys, panels, strict=True)):
            axes = figure.add_subplot(grid[i // across, i % across])
            _changes(axes, panel, recommended.get(key))
        if lines:
            _angles(figure.add_subplot(grid[down, :]), lines)
        figure.legend(
            [
                Line2D([], [], color=PALETTE[0], marker="o", markersize=5),
                Line2D([], [], color="white", marker="o", markeredgecolor=PALETTE[0], markersize=5),
            ],
            ["test set, 95 % interval", "validation set"],
            loc="outside lower center",
            ncols=2,
        )
    return figure


def _changes(axes: Axes, rows: Sequence[Row], recommended: tuple[tuple[str, ...], str] | None) -> None:
    from matplotlib.ticker import MaxNLocator

    relative = rows[0]["criterion"] == "MAE"
    scale = 100 if relative else 1
    several, names = _named(rows), []
    for y, row in enumerate(rows):
        colour = PALETTE[0] if row["with"] else GREY
        test, val = row["test_change"], row["val_change"]
        axes.plot([scale * test["low"], scale * test["high"]], [y, y], color=colour, linewidth=1.4, zorder=2)
        axes.plot(scale * test["mean"], y, "o", color=colour, markersize=5, zorder=4)
        axes.plot(
            scale * val["mean"],
            y,
            "o",
            markerfacecolor="white",
            markeredgecolor=colour,
            markersize=5,
            zorder=3,
        )
        name = strategy_name(row["strategy"])
        if several and row["with"]:
            name += "\n" + textwrap.fill(f"with {partners(row['with'])}", NAME_WIDTH)
        names.append(name)
    axes.axvline(0, color=GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.set_yticks(range(len(rows)), names)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if recommended == (tuple(row["with"]), row["strategy"]):
            label.set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(criterion_name(rows[0]))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("change against alone (%)" if relative else "change against alone")
    _clip(axes, rows, scale)


def _named(rows: Sequence[Row]) -> bool:
    """Whether a target is learned with different others, so that these are named."""
    return len({tuple(row["with"]) for row in rows if row["with"]}) > 1


def _clip(axes: Axes, rows: Sequence[Row], scale: float) -> None:
    """Limit the axis to twice the usual interval: a single wide one must not hide the rest."""
    means = [scale * row[f"{part}_change"]["mean"] for row in rows for part in ("val", "test")]
    ends = [scale * row["test_change"][end] for row in rows for end in ("low", "high")]
    low, high = min(0.0, *means), max(0.0, *means)
    usual = float(np.median([ends[i + 1] - ends[i] for i in range(0, len(ends), 2)]))
    room = max(high - low, usual, 1e-9)
    left, right = max(min(low, *ends), low - room), min(max(high, *ends), high + room)
    axes.set_xlim(left - 0.1 * room, right + 0.1 * room)


def _angle_lines(angles: Sequence[Row]) -> list[tuple[str, list[float], list[float], list[float]]]:
    """Return name, and mean, lowest and highest angle by epoch, of each pair where all are together."""
    largest = max((len(one["group"]) for one in angles), default=0)
    known = {one["strategy"] for one in angles}
    wanted = "equal" if "equal" in known else next(iter(known), "")
    lines = []
    for one in angles:
        if one["strategy"] != wanted or one["mean"] is None or len(one["group"]) < largest:
            continue
        epochs = max(map(len, one["degrees"]))
        table = np.full((len(one["degrees"]), epochs), np.nan)
        for i, run in enumerate(one["degrees"]):
            table[i, : len(run)] = [math.nan if value is None else value for value in run]
        name = f"{target_name(one['first'])}, {target_name(one['second'])}"
        columns = [column[~np.isnan(column)] for column in table.T]
        each = [
            [float(of(column)) if len(column) else math.nan for column in columns]
            for of in (np.mean, np.min, np.max)
        ]
        lines.append((name, each[0], each[1], each[2]))
    return lines[:ANGLE_LINES]


def _angles(axes: Axes, lines: Sequence[tuple[str, list[float], list[float], list[float]]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for i, (name, mean, low, high) in enumerate(lines):
        epochs = range(1, len(mean) + 1)
        colour = PALETTE[i % len(PALETTE)]
        if len(lines) < 4:
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            epochs,
            mean,
            color=colour,
            linestyle=LINE_STYLES[i % len(LINE_STYLES)],
            marker="o" if len(mean) < 5 else None,
            markersize=4,
            label=name,
        )
    axes.axhline(90, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlabel("epoch")
    axes.set_ylabel("angle between gradients (°)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=7.5, borderpad=0.1)
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, 80), max(top, 100))
