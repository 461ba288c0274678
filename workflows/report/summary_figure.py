"""One figure for a whole campaign: surface energy range and work function of every facet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.report.style import (
    GAMMA_LABEL,
    GREY,
    LIGHT,
    PALETTE,
    PHI_LABEL,
    add_joule_axis,
    facet_mathtext,
    formula_mathtext,
    new_figure,
    sort_key,
    styled,
    verdict_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = tuple[float, Mapping[str, Any]]


def summary_figure(records: Iterable[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw, facet by facet, gamma from X-rich to Mg-rich and the work function.

    Rejected values are hollow; a facet without any value is named with its verdict.

    Parameters
    ----------
    records
        Stored surface records of one method.
    title
        Heading, e.g. the campaign's name.

    Raises
    ------
    InputError
        If there is no record.
    """
    listed = sorted(records, key=sort_key)
    if not listed:
        raise InputError("summary figure: no surface record to show; run the campaign first")
    # facets from top to bottom, with a gap before every further compound
    lines: list[Row] = []
    y, previous = 0.0, None
    for record in listed:
        y += 1.0 if record["formula"] == previous else (0.0 if previous is None else 2.1)
        lines.append((y, record))
        previous = record["formula"]

    with styled():
        figure = new_figure(7.6, max(2.6, 0.225 * (y + 2.5) + 1.25))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
        if title:
            figure.suptitle(title, fontsize=10.5)
        _draw_surface_energies(left, lines)
        _draw_work_functions(right, lines)
        left.set_yticks([height for height, _ in lines], [facet_mathtext(r) for _, r in lines])
        left.set_ylim(y + 0.8, -1.7)
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            for height, _ in lines:
                axes.axhline(height, color=LIGHT, linewidth=0.6, zorder=0)
        first: set[str] = set()
        for height, record in lines:
            if record["formula"] not in first:
                first.add(record["formula"])
                left.annotate(
                    formula_mathtext(record["formula"]), (0, height - 0.95), (-6, 0), ha="right", va="center",
                    xycoords=("axes fraction", "data"), textcoords="offset points", fontweight="bold",
                )  # fmt: skip
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handletextpad=0.3)
        return figure


def _draw_surface_energies(axes: Axes, lines: list[Row]) -> None:
    for height, record in lines:
        rich, poor = record.get("surface_energy"), record.get("surface_energy_x_rich")
        status = verdict_of(record, "surface_energy")
        face = PALETTE[0] if status == "accepted" else "white"
        if rich is None:
            _say(axes, height, status)
            continue
        if poor is not None:
            axes.plot([rich, poor], [height, height], color=PALETTE[5], linewidth=2.4, zorder=2)
            axes.plot(
                poor, height, "D", markersize=5, markeredgecolor=PALETTE[5],
                markerfacecolor=PALETTE[5] if status == "accepted" else "white", zorder=3,
            )  # fmt: skip
        axes.plot(rich, height, "o", markersize=6.5, color=PALETTE[0], markerfacecolor=face, zorder=4)
    binary = any(record.get("surface_energy_x_rich") is not None for _, record in lines)
    axes.plot([], [], "o", color=PALETTE[0], label="Mg-rich" if binary else "surface energy")
    if binary:
        axes.plot([], [], "D", color=PALETTE[5], markersize=5, label="X-rich")
    if any(verdict_of(r, t) != "accepted" for _, r in lines for t in ("surface_energy", "work_function")):
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="rejected")
    axes.margins(x=0.08)
    axes.set_xlabel(GAMMA_LABEL)
    add_joule_axis(axes, horizontal=True)


def _draw_work_functions(axes: Axes, lines: list[Row]) -> None:
    for height, record in lines:
        phi, status = record.get("work_function"), verdict_of(record, "work_function")
        if phi is None:
            _say(axes, height, status)
            continue
        face = PALETTE[1] if status == "accepted" else "white"
        axes.plot(phi, height, "o", markersize=6.5, color=PALETTE[1], markerfacecolor=face, zorder=3)
    axes.margins(x=0.12)
    axes.set_xlabel(PHI_LABEL)


def _say(axes: Axes, height: float, status: str) -> None:
    """Write a verdict where there is no value, at the left edge of the panel."""
    axes.annotate(
        status.replace("_", " "), (0.02, height), xycoords=("axes fraction", "data"), va="center",
        color=GREY, fontsize=7.5, fontstyle="italic",
    )  # fmt: skip
