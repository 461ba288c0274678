"""Figure of the Wulff shape."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.report.style import (
    GREY,
    PALETTE,
    facet_mathtext,
    formula_mathtext,
    new_figure,
    styled,
)
from workflows.report.wulff_report import WulffReport, wulff_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workflows.analysis.wulff import WulffResult

VIEW = (22.0, 32.0)
"""Elevation and azimuth of the eye (degrees); a along x, c along z."""

MAX_LEGEND = 24

_NOTE_WIDTH, _MAX_NOTES, _LINE = 118, 6, 0.17  # characters, lines, inches

_LIGHT = np.array([0.55, 0.25, 0.80]) / np.linalg.norm([0.55, 0.25, 0.80])


def wulff_figure(
    records: Iterable[Mapping[str, Any]], bulk: Mapping[str, Any], dmu: float = 0.0, x_rich: bool = False
) -> Figure:
    """Draw the Wulff shape of one compound from its accepted facets.

    The legend gives each facet's share of the area, its surface energy and its work function; lines below
    name the chemical potential and the planes that are missing. Parameters and errors as in
    `workflows.report.wulff_report.wulff_report`.
    """
    return draw_wulff(wulff_report(records, bulk, dmu=dmu, x_rich=x_rich))


def draw_wulff(report: WulffReport) -> Figure:
    """Draw a Wulff shape with its legend and its conditions."""
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    result, present = report.result, report.present()
    colors = {i: PALETTE[place % len(PALETTE)] for place, i in enumerate(present)}
    # more facets than colours: a second round of colours is hatched
    hatches = {i: ("", "////", "....", "xxxx")[place // len(PALETTE) % 4] for place, i in enumerate(present)}
    notes = [line for text in _notes(report) for line in textwrap.wrap(text, _NOTE_WIDTH)]
    if len(notes) > _MAX_NOTES:
        notes = [*notes[: _MAX_NOTES - 1], "... (all in the table that is printed)"]
    with styled():
        bottom = _LINE * (len(notes) + 0.6)  # inches
        height = 4.3 + bottom
        figure = new_figure(7.6, height)
        figure.set_layout_engine("none")
        low, high = bottom / height, 1 - 0.62 / height
        axes: Any = figure.add_axes((0.0, low, 0.53, high - low), projection="3d")
        reach = max(float(np.linalg.norm(corners, axis=1).max()) for _, corners in result.polygons)
        for index, corners in result.polygons:
            if len(corners) < 3 or index not in colors:
                continue
            normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
            normal = normal / np.linalg.norm(normal)
            normal = normal * np.sign(normal @ corners.mean(axis=0))
            bright = 0.62 + 0.38 * max(0.0, float(normal @ _LIGHT))
            shade = np.clip(np.array(to_rgb(colors[index])) * bright + 0.22 * bright, 0, 1)
            face = Poly3DCollection([corners], facecolor=shade, edgecolor="#202124", linewidth=0.8)
            if hatches[index]:
                face.set_hatch(hatches[index])
            axes.add_collection3d(face)
        for set_limits in (axes.set_xlim, axes.set_ylim, axes.set_zlim):
            set_limits(-reach, reach)
        axes.set_box_aspect((1, 1, 1), zoom=1.45)
        axes.set_axis_off()
        axes.view_init(*VIEW)

        figure.text(
            0.5, 1 - 0.12 / height, f"{formula_mathtext(report.record['formula'])}: Wulff shape",
            ha="center", va="top", fontsize=10.5,
        )  # fmt: skip
        if conditions := report.conditions():
            figure.text(0.5, 1 - 0.36 / height, conditions, ha="center", va="top", color=GREY)
        panel = figure.add_axes((0.55, low + 0.62 / height, 0.44, high - low - 0.62 / height))
        _draw_legend(panel, result, present, [(colors[i], hatches[i]) for i in present], report.record)
        phi = "–" if result.work_function is None else f"{result.work_function:.3f} eV"
        figure.text(
            0.545, low + 0.1 / height,
            f"weighted by area: γ = {result.surface_energy:.4f} eV/Å$^2$, $\\Phi$ = {phi}\n"
            f"shape factor {result.shape_factor:.2f} (sphere 4.84)",
            fontsize=8.5, va="bottom", linespacing=1.5,
        )  # fmt: skip
        for number, line in enumerate(reversed(notes)):
            figure.text(0.015, (0.08 + _LINE * number) / height, line, fontsize=7.5, color=GREY)
        return figure


def _notes(report: WulffReport) -> list[str]:
    return [line for line in (report.result.reason, report.stable_note, *report.missing_lines()) if line]


def _draw_legend(
    panel: Axes,
    result: WulffResult,
    present: Sequence[int],
    fills: Sequence[tuple[str, str]],
    record: Mapping[str, Any],
) -> None:
    """List the faces, largest first, with numbers in columns."""
    from matplotlib.patches import Rectangle

    columns = (0.56, 0.80, 1.0)
    panel.set_axis_off()
    panel.set_xlim(0, 1)
    rows = max(12, min(len(present), MAX_LEGEND) + 2)
    panel.set_ylim(rows - 0.5, -0.5)
    size = min(8.5, 100 / rows)
    panel.text(0, 0, "facet", va="center", color=GREY, fontsize=size)
    for x, head in zip(columns, ("area", "γ (eV/Å$^2$)", "$\\Phi$ (eV)"), strict=True):
        panel.text(x, 0, head, va="center", ha="right", color=GREY, fontsize=size)
    for row, (index, (color, hatch)) in enumerate(zip(present[:MAX_LEGEND], fills, strict=False), start=1):
        facet = result.facets[index]
        naming = {**record, "miller_index": facet.miller_index, "termination_label": facet.label}
        panel.add_patch(
            Rectangle(
                (0, row - 0.3), 0.055, 0.6, facecolor=color, hatch=hatch, edgecolor="#202124", linewidth=0.6
            )
        )
        panel.text(0.08, row, facet_mathtext(naming), va="center", fontsize=size)
        phi = "–" if facet.work_function is None else f"{facet.work_function:.3f}"
        values = (f"{100 * result.area_fractions[index]:.1f} %", f"{result.surface_energies[index]:.4f}", phi)
        for x, text in zip(columns, values, strict=True):
            panel.text(x, row, text, va="center", ha="right", fontsize=size)
    if len(present) > MAX_LEGEND:
        rest = 100 * sum(result.area_fractions[i] for i in present[MAX_LEGEND:])
        panel.text(
            0.08,
            MAX_LEGEND + 1,
            f"{len(present) - MAX_LEGEND} more: {rest:.1f} %",
            va="center",
            fontsize=size,
        )
