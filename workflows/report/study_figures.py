"""Figures of a study of transfer: heat map of the changes against scratch, and learning curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workflows.report.style import GREY, LIGHT, LINE_STYLES, MARKERS, PALETTE, new_figure, styled
from workflows.report.training_figures import add_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Cell = Mapping[str, Any]

SHADE = 40.0  # change of the test error, in per cent, at which a field has its full colour
WIDTH = 9.5  # inches that panels side by side take at most

_DARK = 0.6  # share of the full colour from which white text is readable


def matrix_figure(cells: Sequence[Cell], names: Sequence[str]) -> Figure:
    """Draw the change of the test error against scratch: a row for each data set, a column for each source.

    One panel for each number of labels; the largest share one where each data set has one of them. Blue is
    better than scratch, red worse; changes whose 95 % interval leaves zero out are bold with a star. Where
    the errors of the data sets are of several kinds, each row names its own.

    Parameters
    ----------
    cells
        Values of `model.studies.results.plain`.
    names
        Data sets, in the order of the rows.
    """
    sizes = _panels(cells)
    found = {cell["source"] for cell in cells}
    known = [name for name in names if name in found]
    sources = known + sorted(found - set(known), key=lambda name: (name.startswith("mpt-"), name))
    metrics = {cell["data_set"]: cell["metric"] for cell in cells}
    rows = [name for name in names if name in metrics]
    error = error_name(cells)
    shown = [name if error == metrics[name] else f"{name}\n({metrics[name]})" for name in rows]
    wide = 0.54 * len(sources) + 0.25
    columns = min(len(sizes), max(1, int(WIDTH / wide)))
    lines = math.ceil(len(sizes) / columns)
    longest = max(map(len, rows))
    with styled():
        figure = new_figure(
            columns * wide + 0.075 * longest + 1.3,
            lines * (0.42 * len(rows) + 0.35) + 0.06 * max(map(len, sources)) + 0.5,
        )
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        image = None
        for axes, (title, labels) in zip(panels.flat, sizes.items(), strict=False):
            of_size = {(c["data_set"], c["source"]): c for c in cells if c["labels"] in labels}
            image = _panel(axes, of_size, rows, sources)
            axes.set_yticks(range(len(rows)), shown)
            axes.set_title(title)
        for place, axes in enumerate(panels.flat):
            axes.set_visible(place < len(sizes))
            if place + columns < len(sizes):  # the panel below has the names
                axes.set_xticklabels([])
            else:
                axes.set_xlabel("pre-trained on")
        for axes in panels[:, 0]:
            axes.set_ylabel("fine-tuned on")
        if image is not None:
            bar = figure.colorbar(image, ax=panels, fraction=0.05, pad=0.02, extend="both", aspect=14)
            bar.set_label(f"test {error} against scratch (%)")
    return figure


def error_name(values: Sequence[Mapping[str, Any]]) -> str:
    """Name errors by the ``metric`` that all of them are, else in general."""
    found = {value["metric"] for value in values}
    return str(found.pop()) if len(found) == 1 else "error"


def percent(change: float) -> str:
    """Write a change as a whole number of per cent; above 999 that it is more: errors near zero rise so."""
    if change >= 10:
        return ">999"
    text = f"{100 * change:+.0f}"
    return "0" if text in ("+0", "-0") else text.replace("-", "\N{MINUS SIGN}")


def _panels(cells: Sequence[Cell]) -> dict[str, set[int]]:
    """Name the panels of a matrix, and the numbers of labels that each shows, in ascending order."""
    by_set: dict[str, set[int]] = {}
    for cell in cells:
        by_set.setdefault(cell["data_set"], set()).add(cell["labels"])
    sizes = sorted(set().union(*by_set.values()), key=lambda size: size or math.inf)
    largest = {sizes.pop()}  # smaller sets give what they have: numbers join that no data set has beside
    while sizes and not any(sizes[-1] in own and own & largest for own in by_set.values()):
        largest.add(sizes.pop())
    words = sorted(largest, key=lambda size: size or math.inf)
    title = " or ".join(f"{size or 'all'}" for size in words)
    return {**{f"{size} labels": {size} for size in sizes}, f"{title} labels": largest}


def _panel(
    axes: Axes, cells: Mapping[tuple[str, str], Cell], rows: Sequence[str], sources: Sequence[str]
) -> Any:
    values = [
        [100 * cells[row, source]["change"] if (row, source) in cells else math.nan for source in sources]
        for row in rows
    ]
    image = axes.imshow(values, cmap="RdBu_r", vmin=-SHADE, vmax=SHADE, aspect="auto")
    axes.set_facecolor(LIGHT)  # where there is no such training
    axes.grid(visible=False)
    axes.set_xticks(range(len(sources)), sources, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    for i, row in enumerate(rows):
        for j, source in enumerate(sources):
            if (row, source) not in cells:
                continue
            cell, value = cells[row, source], values[i][j]
            star = bool(cell["significant"])
            axes.text(
                j,
                i,
                percent(cell["change"]) + ("*" if star else ""),
                ha="center",
                va="center",
                fontsize=8.5,
                fontweight="bold" if star else "normal",
                color="white" if abs(value) > _DARK * SHADE else "#202124",
            )
    return image


def curves_figure(
    curves: Mapping[str, Mapping[str, Sequence[Cell]]],
    targets: Mapping[str, str],
    units: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the test error against training labels, one panel for each data set, a line for each source.

    Parameters
    ----------
    curves
        By data set and source, points ``n``, ``metric``, ``error`` and ``spread`` (None with one seed).
    targets, units
        By data set its target, and by target its unit where stated.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    order = ["scratch", *sorted({s for lines in curves.values() for s in lines} - {"scratch"})]
    columns = min(len(curves), 3)
    rows = math.ceil(len(curves) / columns)
    with styled():
        figure = new_figure(3.1 * columns, 2.7 * rows + 0.3 + 0.2 * math.ceil(len(order) / 4))
        panels = figure.subplots(rows, columns, squeeze=False)
        shown: dict[str, Any] = {}
        for axes, (name, lines) in zip(panels.flat, curves.items(), strict=False):
            for source in (s for s in order if s in lines):
                shown[source] = _curve(axes, lines[source], order.index(source), source)
            axes.set_xscale("log")
            axes.set_yscale("log")
            marks = sorted({point["n"] for points in lines.values() for point in points})
            axes.set_xticks(marks, _spaced(marks))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.minorticks_off()
            low, high = axes.get_ylim()
            axes.set_yticks([t for t in _ticks(low, high) if low <= t <= high])
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.set_title(name)
            axes.set_xlabel("training labels")
            error = error_name([point for points in lines.values() for point in points])
            unit = (units or {}).get(targets[name])
            axes.set_ylabel(add_unit(f"test {error}", targets[name], unit))
        for axes in panels.flat[len(curves) :]:
            axes.set_visible(False)
        names = [source for source in order if source in shown]
        figure.legend(
            [shown[source] for source in names],
            names,
            loc="outside lower center",
            ncols=min(len(names), 4),
        )
    return figure


def _curve(axes: Axes, points: Sequence[Cell], place: int, source: str) -> Any:
    colour = GREY if source == "scratch" else PALETTE[(place - 1) % len(PALETTE)]
    return axes.errorbar(
        [point["n"] for point in points],
        [point["error"] for point in points],
        yerr=[point["spread"] or 0.0 for point in points],
        color=colour,
        linestyle=LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)] if place else (0, (4, 2)),
        marker=MARKERS[place % len(MARKERS)],
        markersize=4,
        capsize=2,
        elinewidth=0.8,
    )


def _spaced(marks: Sequence[int]) -> list[str]:
    """Name marks of a logarithmic axis, but those so near the next named one that they would touch it."""
    names, above = [], math.inf
    for mark in reversed(marks):
        named = mark < above / 1.7
        names.append(f"{mark:,}" if named else "")
        above = mark if named else above
    return names[::-1]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers around two bounds: 1, 2 and 5 of each decade, more in less than a decade."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    found = [step * 10.0**decade for decade in decades for step in steps]
    if sum(low <= tick <= high for tick in found) > 1:
        return found
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high)]
