"""Figures of trainings and simulations: parity, errors by element, history, learning curves."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from stores.method_names import quantity_of
from workflows.report.style import (
    GAMMA_LABEL,
    GREY,
    LIGHT,
    LINE_STYLES,
    MARKERS,
    PALETTE,
    PHI_LABEL,
    add_legend,
    axes_or_new,
    figure_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

_UPRIGHT = 36  # elements on an axis; the names of more would touch
_MARKED = 5  # epochs; a line through fewer points hardly shows

PARTS = ("train", "val", "test")
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
_PART_COLOURS = {"train": "#B8BCC2", "val": PALETTE[0], "test": PALETTE[1]}

LABELS = {"surface_energy": GAMMA_LABEL, "work_function": PHI_LABEL}
UNITS = {"surface_energy": "eV/Å²", "work_function": "eV", "cleavage_energy": "eV/Å²"}

_TOO_FEW = 3  # test slabs of an element for a meaningful mean error

_ALL = "score"
_LEGEND_COLUMNS = 5
_DWARFED = 3
"""A start above the later errors by more than this many times their range is left out of the panel."""

_LOG_FROM = 5  # ratio of the largest to the smallest error from which the axis is logarithmic


def target_name(target: str) -> str:
    """Name a target in words: ``work_function@gpaw-demo-1a2b`` becomes "work function (gpaw-demo)"."""
    name, _, method = target.partition("@")
    words = name.replace("_", " ")
    return f"{words} ({method.rpartition('-')[0] or method})" if method else words  # without its hash


def unit_of(target: str, stated: str | None = None) -> str:
    """Return the unit of a target, as a model states it or as is agreed; empty where it is unknown."""
    return (stated or "").replace("A^2", "Å²") or UNITS.get(quantity_of(target), "")


def add_unit(text: str, target: str, stated: str | None = None) -> str:
    """Append the unit of a target in brackets, where it is known."""
    unit = unit_of(target, stated)
    return f"{text} ({unit})" if unit else text


def with_unit(value: float | None, target: str, stated: str | None = None) -> str:
    """Format an error with three significant digits and its unit."""
    if value is None:
        return "-"
    return f"{significant(value)} {unit_of(target, stated)}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """Format a number with significant digits and no exponent: 0.00532, 0.118, 12."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def parity_figure(
    rows: Sequence[Row], metrics: Mapping[str, Any], title: str = "", truth: str = "DFT"
) -> Figure:
    """Draw predictions against labels, one panel for each target, with training, validation and test sets.

    Rows are those of `model.evaluation.metrics.prediction_rows`, metrics those of `evaluate`, by target;
    `truth` names the labels.
    """
    targets = list(metrics)
    with styled():
        figure = new_figure(4.7 * len(targets), 4.75 + 0.25 * bool(title))
        if title:
            figure.suptitle(title, fontsize=11)
        for axes, target in zip(figure.subplots(1, len(targets), squeeze=False)[0], targets, strict=True):
            draw_parity(axes, rows, target, metrics[target], truth=truth)
    return figure


def draw_parity(
    axes: Axes,
    rows: Sequence[Row],
    target: str,
    metrics: Mapping[str, Any],
    parts: Sequence[str] = PARTS,
    *,
    narrow: bool = False,
    truth: str = "DFT",
) -> None:
    """Draw predictions of some of the sets against labels on axes; see `parity_figure`.

    On `narrow` axes the errors of the last of the sets, and how many predictions lie outside and are
    drawn at the edge, stand at the lower right instead of in the legend.
    """
    known = [
        r
        for r in rows
        if r["part"] in parts and r[target] is not None and r[f"{target}_predicted"] is not None
    ]
    values = [float(r[key]) for r in known for key in (target, f"{target}_predicted")]
    if not values:
        axes.text(0.5, 0.5, "no labels", ha="center", va="center", transform=axes.transAxes, color=GREY)
        return
    # labels alone set the range: one wild prediction must not squeeze all others together
    labels = [float(r[target]) for r in known]
    margin = 0.06 * (max(labels) - min(labels)) or 0.1 * abs(labels[0]) or 1.0
    low, high = min(labels) - margin, max(labels) + margin
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.9, zorder=2)
    for part in parts:
        chosen = [r for r in known if r["part"] == part]
        axes.scatter(
            [r[target] for r in chosen],
            [min(max(r[f"{target}_predicted"], low), high) for r in chosen],
            s=_dot_size(len(known)) * (0.8 if part == "train" else 1.0),
            color=_PART_COLOURS[part],
            alpha=0.75,
            linewidths=0,
            zorder=3 + PARTS.index(part),
            label=PART_NAMES[part] if narrow else _part_label(part, metrics[part]),
            clip_on=False,
        )
    beyond = sum(not low <= r[f"{target}_predicted"] <= high for r in known)
    name = LABELS.get(target) or add_unit(target_name(target), target, metrics.get("unit"))
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel(f"{name}, {truth}")
    axes.set_ylabel(f"{name}, predicted")
    # the two axes show one scale, so they get the same ticks
    axes.set_yticks([t for t in axes.get_xticks() if low <= t <= high])
    axes.set_xticks([t for t in axes.get_xticks() if low <= t <= high])
    axes.legend(
        loc="upper left", handletextpad=0.3, borderaxespad=0.4, labelspacing=0.45, markerscale=1.5
    ).set_zorder(9)
    if narrow:
        found = metrics[parts[-1]]
        lines = [f"MAE {with_unit(found['mae'], target, metrics.get('unit'))}"]
        lines += [] if found["r2"] is None else [f"R² {found['r2']:.3f}"]
        lines += [f"{beyond} at the edge"] if beyond else []
        axes.text(0.97, 0.03, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom", zorder=9)
    elif beyond:
        axes.text(0.98, 0.02, f"{beyond} outside, drawn at the edge", transform=axes.transAxes, ha="right",
                  fontsize=7.5, color=GREY)  # fmt: skip


def _part_label(part: str, errors: Mapping[str, Any]) -> str:
    if not errors["n"]:
        return f"{PART_NAMES[part]} (none)"
    r2 = "" if errors["r2"] is None else f", R² {errors['r2']:.3f}"
    return f"{PART_NAMES[part]} ({errors['n']}): MAE {significant(errors['mae'])}{r2}"


def _dot_size(n: int) -> float:
    return min(22.0, max(5.0, 9000 / max(n, 1)))


def element_figure(metrics: Mapping[str, Any], nouns: str = "slabs") -> Figure:
    """Draw the test error by element, one row per target, elements in the order of the periodic table.

    Pale bars rest on fewer than three slabs (`nouns`), whose number stands below each element.
    """
    from pymatgen.core import Element

    targets = list(metrics)
    elements = sorted({e for t in targets for e in metrics[t]["by_element"]}, key=lambda e: Element(e).Z)
    with styled():
        width = min(max(5.0, 0.24 * len(elements) + 1.6), 14.0)
        figure = new_figure(width, 2.15 * len(targets) + 0.5)
        panels = figure.subplots(len(targets), 1, squeeze=False, sharex=True)[:, 0]
        for place, (axes, target) in enumerate(zip(panels, targets, strict=True)):
            found = metrics[target]["by_element"]
            heights = [(found.get(e) or {}).get("mae") or 0.0 for e in elements]
            counts = [(found.get(e) or {"n": 0})["n"] for e in elements]
            colours = [PALETTE[place % len(PALETTE)] if n >= _TOO_FEW else LIGHT for n in counts]
            axes.bar(range(len(elements)), heights, width=0.72, color=colours, zorder=3)
            overall = metrics[target]["test"]["mae"]
            if overall is not None:
                axes.axhline(overall, color="#202124", linewidth=0.9, linestyle=(0, (4, 2)), zorder=4)
                axes.text(1.005, overall, " all", transform=axes.get_yaxis_transform(), va="center",
                          fontsize=8)  # fmt: skip
            axes.set_ylabel(add_unit(f"{target_name(target)}\nMAE", target, metrics[target].get("unit")))
            axes.set_xlim(-0.7, len(elements) - 0.3)
            axes.grid(axis="x", visible=False)
            axes.set_title("")
        last = panels[-1]
        counts = [
            max(((metrics[t]["by_element"].get(e) or {"n": 0})["n"]) for t in targets) for e in elements
        ]
        upright = len(elements) > _UPRIGHT
        last.set_xticks(
            range(len(elements)),
            [f"{e}{' ' if upright else chr(10)}{n}" for e, n in zip(elements, counts, strict=True)],
            fontsize=7.5,
            rotation=90 if upright else 0,
        )
        last.set_xlabel(f"element, and number of test {nouns} that hold it")
    return figure


def history_figure(history: Sequence[Row], classes: Collection[str] = ()) -> Figure:
    """Draw losses, loss weights and the angle between the targets' gradients, epoch by epoch.

    One row per epoch, as `model.training.train.Epoch`: ``epoch``, ``loss`` and ``weights`` (by target),
    ``score`` and ``cosine``. The dashed line is the epoch with the best score, whose weights were kept.
    classes: targets whose labels are classes.
    """
    several = len(history[0]["weights"]) > 1
    angles = [r for r in history if r["cosine"] is not None]
    panels = 1 + several + bool(angles)
    with styled():
        figure = new_figure(3.9 * panels + 0.4, 3.3 + 0.17 * (len(history[0]["loss"]) + 2))
        all_axes = list(figure.subplots(1, panels, squeeze=False)[0])
        for axes in all_axes:
            axes.xaxis.get_major_locator().set_params(integer=True)
        _losses(all_axes.pop(0), history, classes)
        if several:
            _weights(all_axes.pop(0), history)
        if angles:
            _angles(all_axes.pop(0), angles)
    return figure


def _losses(axes: Axes, history: Sequence[Row], classes: Collection[str]) -> None:
    epochs = [r["epoch"] for r in history]
    marker = _marker(history)
    for colour, target in zip(PALETTE, history[0]["loss"], strict=False):
        loss = [max(r["loss"][target], 0.0) for r in history]
        shown, what = (loss, "cross-entropy") if target in classes else ([math.sqrt(x) for x in loss], "RMS")
        axes.plot(epochs, shown, color=colour, marker=marker, markersize=4,
                  label=f"{target_name(target)}, training ({what})")  # fmt: skip
    kinds = {target in classes for target in history[0]["loss"]}
    names = [name for kind, name in ((False, "MAE"), (True, "missed probability")) if kind in kinds]
    score = [r["score"] for r in history]
    axes.plot(epochs, score, color="#202124", marker=marker, markersize=4,
              label=f"all, validation ({', '.join(names)})")  # fmt: skip
    best = min(history, key=lambda r: float(r["score"]))["epoch"]
    axes.axvline(best, color=GREY, linewidth=1, linestyle=(0, (4, 2)), label=f"kept: epoch {best}")
    axes.set(xlabel="epoch", ylabel="error" if True in kinds else "error (standard deviations of the labels)")
    log_scale(axes)
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    """Put the legend over the panel, where it covers no curve."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=7.5, borderaxespad=0.3)


def _marker(history: Sequence[Row]) -> str:
    return "o" if len(history) < _MARKED else ""


def log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic with ticks at plain numbers, more of them where it is short."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ratio = high / low
    digits: tuple[float, ...] = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    if ratio > 3:
        digits = (1, 2, 5) if ratio > 8 else (1, 1.5, 2, 3, 4, 6)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axes.yaxis.set_major_locator(FixedLocator([d * 10.0**p for p in powers for d in digits]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)


def _weights(axes: Axes, history: Sequence[Row]) -> None:
    targets = list(history[0]["weights"])
    for colour, target in zip(PALETTE, targets, strict=False):
        axes.plot(
            [r["epoch"] for r in history],
            [r["weights"][target] for r in history],
            color=colour,
            marker=_marker(history),
            markersize=4,
            label=target_name(target),
        )
    axes.set(xlabel="epoch", ylabel="weight of the loss")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.9), max(high, 1.1))
    _legend_above(axes)


def _angles(axes: Axes, history: Sequence[Row]) -> None:
    angle = [math.degrees(math.acos(min(1.0, max(-1.0, r["cosine"])))) for r in history]
    axes.axhline(90, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot([r["epoch"] for r in history], angle, color=PALETTE[2], marker=_marker(history), markersize=4)
    axes.set(xlabel="epoch", ylabel="angle between the targets' gradients (°)")
    low, high = min(*angle, 90), max(*angle, 90)
    axes.set_ylim(max(low - 12, 0), min(high + 12, 180))
    axes.set_title("above 90° the targets conflict", fontsize=8, color=GREY)


def learning_curve_figure(points: Sequence[Row], target: str, ax: Axes | None = None) -> Figure:
    """Draw the test error of a target against the number of training slabs, one line per preset.

    Each point has ``preset``, ``n`` (training slabs), ``metric`` (what the error is), ``error``
    (mean over seeds) and ``spread`` (standard deviation); on axes `ax` if given.
    """
    with styled():
        axes = axes_or_new(ax, 4.8, 3.6)
        for k, preset in enumerate(dict.fromkeys(p["preset"] for p in points)):
            line = sorted((p for p in points if p["preset"] == preset), key=lambda p: p["n"])
            axes.errorbar(
                [p["n"] for p in line],
                [p["error"] for p in line],
                yerr=[p["spread"] or 0.0 for p in line],
                color=PALETTE[k % len(PALETTE)],
                marker=MARKERS[k // len(PALETTE) % len(MARKERS)],
                markersize=4,
                capsize=2.5,
                label=preset,
            )
        error = f"{target_name(target)}, test {points[0]['metric']}"
        axes.set(xscale="log", xlabel="training slabs", ylabel=add_unit(error, target))
        log_scale(axes)
        sizes = sorted({p["n"] for p in points})
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.set_xticks([], minor=True)
        add_legend(axes, ax, "right upper")
    return figure_of(axes)


def simulation_figure(
    curves: Mapping[str, Sequence[Row]], savings: Sequence[Row], reference: float
) -> Figure:
    """Draw hold-out errors against slabs revealed: one panel over all targets and one per target.

    `curves` are by strategy points with ``slabs`` and ``errors`` (by name: ``mean``, ``spread`` over seeds);
    `savings` have ``strategy``, ``error``, ``mark``, ``slabs``, ``ratio``; `reference` is the number of slabs
    at which random sets the mark.
    """
    names = list(dict.fromkeys(name for points in curves.values() for p in points for name in p["errors"]))
    names.sort(key=lambda name: name != _ALL)
    with styled():
        rows = -(-len(curves) // _LEGEND_COLUMNS)
        figure = new_figure(3.7 * len(names) + 0.3, 3.9 + 0.2 * rows)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _panel(axes, curves, [s for s in savings if s["error"] == name], name, reference)
        columns = min(len(curves), _LEGEND_COLUMNS)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=columns)
    return figure


def _panel(
    axes: Axes, curves: Mapping[str, Sequence[Row]], savings: Sequence[Row], name: str, reference: float
) -> None:
    for k, (strategy, points) in enumerate(curves.items()):
        x = [p["slabs"] for p in points]
        mean = [p["errors"][name]["mean"] for p in points]
        spread = [p["errors"][name]["spread"] or 0.0 for p in points]
        colour = PALETTE[k % len(PALETTE)]
        low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(
            x, mean, color=colour, linestyle=LINE_STYLES[k % len(LINE_STYLES)],
            marker=MARKERS[k % len(MARKERS)], markersize=4, label=strategy,
        )  # fmt: skip
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
    curves: Mapping[str, Sequence[Row]],
    name: str,
    marks: Sequence[float],
    reference: float | None,
) -> None:
    """Let the curves fill the panel, on a logarithmic axis where the errors fall far."""
    # a start whose error dwarfs all that follows lies above the panel, and the axis label gives it
    points = [point for curve in curves.values() for point in curve]
    slabs = [p["slabs"] for p in points] + ([] if reference is None else [reference])
    margin = 0.04 * (max(slabs) - min(slabs)) or 1.0
    axes.set_xlim(min(slabs) - margin, max(slabs) + margin)
    later = [p for p in points if p["slabs"] > min(slabs)]

    def mean_of(point: Row) -> float:
        return float(point["errors"][name]["mean"])

    shown = [*map(mean_of, later or points), *marks]
    low, high = min(shown), max(shown)
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


def _label(name: str) -> str:
    return (
        "hold-out MAE (standard deviations)"
        if name == _ALL
        else add_unit(f"{target_name(name)}, hold-out MAE", name)
    )


def _best(savings: Sequence[Row]) -> str:
    """Name the strategy that reaches random's error first."""
    others = [s for s in savings if s["ratio"] is not None and s["strategy"] != "random"]
    if not others:
        return "no strategy reaches random's error sooner"
    best = min(others, key=lambda s: s["ratio"])
    return f"{best['strategy']}: random's error with {100 * best['ratio']:.0f} % of its slabs after the start"
