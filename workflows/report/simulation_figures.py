"""Figure of a simulation: error on the hold-out against slabs revealed, one line per strategy."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from workflows.report.style import GREY, LINE_STYLES, MARKERS, PALETTE, new_figure, styled
from workflows.report.training_figures import log_scale, target_name, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Point = Mapping[str, Any]

_ALL = "score"
_LEGEND_COLUMNS = 5
_DWARFED = 3
"""How many times the range of the later errors a start may exceed them by before it leaves the panel."""

_LOG_FROM = 5
"""Ratio of the largest to the smallest error from which the axis is logarithmic."""


def simulation_figure(
    curves: Mapping[str, Sequence[Point]], savings: Sequence[Point], reference: float
) -> Figure:
    """Draw one panel for the error over all targets and one per target.

    Parameters
    ----------
    curves
        By strategy, points with ``slabs`` and ``errors`` (by name: ``mean``, ``spread`` over seeds).
    savings
        Each ``strategy``, ``error``, ``mark``, ``slabs``, ``ratio``; none where random is not finished.
    reference
        Slabs at which random sets the mark.
    """
    names = list(dict.fromkeys(name for points in curves.values() for p in points for name in p["errors"]))
    names.sort(key=lambda name: name != _ALL)
    with styled():
        rows = -(-len(curves) // _LEGEND_COLUMNS)
        figure = new_figure(3.7 * len(names) + 0.3, 3.9 + 0.2 * rows)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _panel(axes, curves, [s for s in savings if s["error"] == name], name, reference)
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=min(len(curves), _LEGEND_COLUMNS),
        )
    return figure


def _panel(
    axes: Axes, curves: Mapping[str, Sequence[Point]], savings: Sequence[Point], name: str, reference: float
) -> None:
    for k, (strategy, points) in enumerate(curves.items()):
        x = [p["slabs"] for p in points]
        mean = [p["errors"][name]["mean"] for p in points]
        spread = [p["errors"][name]["spread"] or 0.0 for p in points]
        colour = PALETTE[k % len(PALETTE)]
        axes.fill_between(
            x,
            [m - s for m, s in zip(mean, spread, strict=True)],
            [m + s for m, s in zip(mean, spread, strict=True)],
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
        axes.plot(
            x,
            mean,
            color=colour,
            linestyle=LINE_STYLES[k % len(LINE_STYLES)],
            marker=MARKERS[k % len(MARKERS)],
            markersize=4,
            label=strategy,
        )
        for saving in savings:
            if saving["strategy"] == strategy and saving["slabs"] is not None:
                axes.plot(
                    saving["slabs"],
                    saving["mark"],
                    marker="|",
                    markersize=13,
                    markeredgewidth=2,
                    color=colour,
                )
    if savings:
        axes.axhline(savings[0]["mark"], color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        axes.axvline(reference, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        axes.set_title(
            "\n".join(textwrap.wrap(_best(savings).replace(" %", "\N{NO-BREAK SPACE}%"), 44)),
            fontsize=8.5,
            color=GREY,
        )
    axes.set(xlabel="slabs revealed", ylabel=_label(name))
    _limits(axes, curves, name, [s["mark"] for s in savings], reference if savings else None)


def _limits(
    axes: Axes,
    curves: Mapping[str, Sequence[Point]],
    name: str,
    marks: Sequence[float],
    reference: float | None,
) -> None:
    """Let the curves fill the panel, on a logarithmic axis where the errors fall far.

    A start whose error dwarfs all that follows lies above the panel, and the axis label gives it.
    """
    points = [point for curve in curves.values() for point in curve]
    slabs = [p["slabs"] for p in points] + ([] if reference is None else [reference])
    margin = 0.04 * (max(slabs) - min(slabs)) or 1.0
    axes.set_xlim(min(slabs) - margin, max(slabs) + margin)
    later = [p for p in points if p["slabs"] > min(slabs)]

    def mean_of(point: Point) -> float:
        return float(point["errors"][name]["mean"])

    low, high = _span([*map(mean_of, later or points), *marks])
    start = max(mean_of(p) for p in points)
    if later and start > high + _DWARFED * (high - low) and start > 2 * high:
        axes.set_xlabel(f"slabs revealed\nat the start, {min(slabs):g} slabs, {start:.3g}: above the panel")
        points = later
    else:
        low, high = min(low, *map(mean_of, points)), max(high, start)
    # bands of the seeds count, as long as they do not dwarf the curves
    bands = [(mean_of(p), p["errors"][name]["spread"] or 0.0) for p in points]
    room = 0.5 * (high - low) or 0.5 * abs(high) or 0.5
    bottom = max(min(mean - spread for mean, spread in bands), low - room)
    top = min(max(mean + spread for mean, spread in bands), high + room)
    if low > 0 and high / low > _LOG_FROM:
        axes.set_ylim(max(bottom, low / 1.5) / 1.05, top * 1.05)
        log_scale(axes)
    else:
        axes.set_ylim(min(bottom, low) - 0.12 * room, max(top, high) + 0.12 * room)


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _label(name: str) -> str:
    if name == _ALL:
        return "hold-out MAE (standard deviations)"
    unit = unit_of(name)
    return f"{target_name(name)}, hold-out MAE" + (f" ({unit})" if unit else "")


def _best(savings: Sequence[Point]) -> str:
    """Say which strategy reaches random's error first."""
    others = [s for s in savings if s["ratio"] is not None and s["strategy"] != "random"]
    if not others:
        return "no strategy reaches random's error sooner"
    best = min(others, key=lambda s: s["ratio"])
    return f"{best['strategy']}: random's error with {100 * best['ratio']:.0f} % of its slabs after the start"
