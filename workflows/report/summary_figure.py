"""Summary figure of a campaign: surface energy range and work function of every facet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.verdicts import TARGETS, verdict_status
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
)
from workflows.report.tables import reference_elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = tuple[float, Mapping[str, Any]]


BLOCK = 52  # facets below one another; with their compounds' names they are as tall as a page

MOST = 2 * BLOCK


def summary_figure(records: Iterable[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw, facet by facet, gamma from X-rich to Mg-rich and the work function, on one page.

    Rejected values are hollow; a facet without any value is named with its verdict. Above `BLOCK` facets
    there are two blocks side by side; of more than two blocks hold, the facets of lowest accepted surface
    energy are shown and the title states how many there are.

    Raises
    ------
    InputError
        If there is no record.
    """
    listed = list(records)
    if not listed:
        raise InputError("summary figure: no surface record to show; run the campaign first")
    if len(listed) > MOST:
        kept = f"{MOST} of {len(listed)} facets, those of lowest surface energy"
        title = f"{title}: {kept}" if title else kept
        listed = sorted(listed, key=_by_surface_energy)[:MOST]
    listed.sort(key=sort_key)
    n_blocks = -(-len(listed) // BLOCK)
    size = -(-len(listed) // n_blocks)
    blocks = [_lines(listed[start : start + size]) for start in range(0, len(listed), size)]
    tallest = max(lines[-1][0] for lines in blocks)

    with styled():
        figure = new_figure(7.6 * n_blocks, max(2.6, 0.225 * (tallest + 2.5) + 1.25))
        panels = figure.subplots(1, 2 * n_blocks, squeeze=False, width_ratios=[1.25, 1] * n_blocks)[0]
        if title:
            figure.suptitle(title, fontsize=10.5)
        for lines, left, right in zip(blocks, panels[::2], panels[1::2], strict=True):
            _draw_surface_energies(left, lines, listed)
            _draw_work_functions(right, lines)
            _name_facets(left, right, lines, tallest)
        if all(record.get("work_function") is None for record in listed):
            for axes in panels[1::2]:  # numbers of an empty axis would mean nothing
                axes.set_xticks([])
        for columns in (panels[::2], panels[1::2]):  # equal scales, so that blocks compare
            limits = [axes.get_xlim() for axes in columns]
            for axes in columns:
                axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handletextpad=0.3)
        return figure


def _by_surface_energy(record: Mapping[str, Any]) -> tuple[bool, float]:
    value = record.get("surface_energy")
    accepted = verdict_status(record, "surface_energy") == "accepted" and value is not None
    return not accepted, math.inf if value is None else float(value)


def _lines(records: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return facets from top to bottom with their heights, with a gap before every further compound."""
    lines: list[Row] = []
    y, previous = 0.0, None
    for record in records:
        y += 1.0 if record["formula"] == previous else (0.0 if previous is None else 2.1)
        lines.append((y, record))
        previous = record["formula"]
    return lines


def _name_facets(left: Axes, right: Axes, lines: list[Row], tallest: float) -> None:
    left.set_yticks([height for height, _ in lines], [facet_mathtext(r) for _, r in lines])
    right.set_yticks([])
    for axes in (left, right):
        axes.set_ylim(tallest + 0.8, -1.7)
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


def _draw_surface_energies(axes: Axes, lines: list[Row], shown: Sequence[Mapping[str, Any]]) -> None:
    for height, record in lines:
        rich, poor = record.get("surface_energy"), record.get("surface_energy_x_rich")
        status = verdict_status(record, "surface_energy")
        face = PALETTE[0] if status == "accepted" else "white"
        if rich is None:
            _write(axes, height, status)
            continue
        if poor is not None:
            axes.plot([rich, poor], [height, height], color=PALETTE[5], linewidth=2.4, zorder=2)
            axes.plot(
                poor, height, "D", markersize=5, markeredgecolor=PALETTE[5],
                markerfacecolor=PALETTE[5] if status == "accepted" else "white", zorder=3,
            )  # fmt: skip
        axes.plot(rich, height, "o", markersize=6.5, color=PALETTE[0], markerfacecolor=face, zorder=4)
    binary = any(record.get("surface_energy_x_rich") is not None for record in shown)
    axes.plot([], [], "o", color=PALETTE[0], label=_rich_in(shown) if binary else "surface energy")
    if binary:
        axes.plot([], [], "D", color=PALETTE[5], markersize=5, label="X-rich")
    if any(verdict_status(r, t) != "accepted" for r in shown for t in TARGETS):
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="rejected")
    axes.margins(x=0.08)
    axes.set_xlabel(GAMMA_LABEL)
    add_joule_axis(axes, horizontal=True)


def _rich_in(records: Sequence[Mapping[str, Any]]) -> str:
    """Name the end dmu = 0; `A` stands for several elements."""
    elements = sorted(
        set(reference_elements(records).values()), key=lambda element: (element != "Mg", element)
    )
    return f"{elements[0]}-rich" if len(elements) == 1 else f"A-rich (A: {', '.join(elements)})"


def _draw_work_functions(axes: Axes, lines: list[Row]) -> None:
    for height, record in lines:
        phi, status = record.get("work_function"), verdict_status(record, "work_function")
        if phi is None:
            _write(axes, height, status)
            continue
        face = PALETTE[1] if status == "accepted" else "white"
        axes.plot(phi, height, "o", markersize=6.5, color=PALETTE[1], markerfacecolor=face, zorder=3)
    axes.margins(x=0.12)
    axes.set_xlabel(PHI_LABEL)


def _write(axes: Axes, height: float, status: str) -> None:
    """Write a verdict where there is no value, at the left edge of the panel."""
    axes.annotate(
        status.replace("_", " "), (0.02, height), xycoords=("axes fraction", "data"), va="center",
        color=GREY, fontsize=7.5, fontstyle="italic",
    )  # fmt: skip
