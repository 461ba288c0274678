"""Figure of the Wulff shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from workflows.report.style import (
    GREY,
    PALETTE,
    facet_mathtext,
    formula_mathtext,
    new_figure,
    signed,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workflows.analysis.wulff import WulffResult

VIEW = (22.0, 32.0)
"""Elevation and azimuth of the eye (degrees); a along x, c along z."""

MAX_LEGEND = 24

_LIGHT = np.array([0.55, 0.25, 0.80]) / np.linalg.norm([0.55, 0.25, 0.80])


def wulff_figure(records: Iterable[Mapping[str, Any]], bulk: Mapping[str, Any], dmu: float = 0.0) -> Figure:
    """Draw the Wulff shape of one compound from its accepted facets.

    The legend gives each facet's share of the area, its surface energy and its work function.

    Parameters
    ----------
    records
        Stored surface records of one bulk and one method.
    bulk
        `structure` of its BulkRecord, the cell the Miller indices refer to.
    dmu
        Chemical potential of the reference element (eV).

    Raises
    ------
    InputError
        If the records belong to several bulks or methods, or there is no Wulff shape: the message says why.
    """
    from stores.structures.document import structure_from_document
    from workflows.analysis.wulff import facets_from_records, wulff

    chosen = list(records)
    if len({(r["bulk_id"], r["method_fingerprint"]) for r in chosen}) > 1:
        names = ", ".join(sorted({r["formula"] for r in chosen}))
        raise InputError(f"Wulff shape: one bulk and one method at a time, found {names}; filter the records")
    result = wulff(structure_from_document(dict(bulk), "the bulk crystal"), facets_from_records(chosen), dmu)
    if result.shape is None:
        name = chosen[0]["formula"] if chosen else "no record"
        raise InputError(f"{name}: {result.reason}")
    return _draw(result, chosen[0], dmu)


def _draw(result: WulffResult, record: Mapping[str, Any], dmu: float) -> Figure:
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    present = [i for i in np.argsort(result.area_fractions)[::-1] if result.area_fractions[i] > 1e-6]
    colors = {i: PALETTE[place % len(PALETTE)] for place, i in enumerate(present)}
    # more facets than colours: a second round of colours is hatched
    hatches = {i: ("", "////", "....", "xxxx")[place // len(PALETTE) % 4] for place, i in enumerate(present)}
    with styled():
        figure = new_figure(7.4, 4.6)
        figure.set_layout_engine("none")
        axes: Any = figure.add_axes((0.0, 0.02, 0.53, 0.86), projection="3d")
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

        ends = "" if abs(dmu) < 1e-9 else rf" at $\Delta\mu$ = {signed(dmu, 3)} eV"
        figure.suptitle(f"{formula_mathtext(record['formula'])}: Wulff shape{ends}", y=0.96, fontsize=10.5)
        panel = figure.add_axes((0.55, 0.17, 0.44, 0.71))
        _draw_legend(panel, result, present, [(colors[i], hatches[i]) for i in present], record)
        phi = "–" if result.work_function is None else f"{result.work_function:.3f} eV"
        figure.text(
            0.545, 0.06,
            f"weighted by area: γ = {result.surface_energy:.4f} eV/Å$^2$, $\\Phi$ = {phi}\n"
            f"shape factor {result.shape_factor:.2f} (sphere 4.84)",
            fontsize=8.5, va="bottom", linespacing=1.5,
        )  # fmt: skip
        return figure


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
