"""Wulff shape of stored records with its conditions: as a table, as lines and as a figure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from stores.errors import InputError
from workflows.report.style import (
    GREY,
    PALETTE,
    facet_mathtext,
    facet_text,
    figure_of,
    formula_mathtext,
    new_figure,
    signed,
    styled,
)
from workflows.report.table import Column, Table
from workflows.report.tables import unstable_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workflows.analysis.stability_window import StableWindow
    from workflows.analysis.wulff import ChemicalPotential, LeftOut, WulffResult

Key = TypeVar("Key")

SMALLEST_SHARE = 1e-6  # faces below this share of the area are rounding errors of the hull
VIEW = (22.0, 32.0)  # elevation and azimuth of the eye (degrees); a along x, c along z

MAX_LEGEND = 24

_NOTE_WIDTH, _MAX_NOTES, _LINE = 118, 6, 0.17  # characters, lines, inches


@dataclass(frozen=True)
class WulffReport:
    """A Wulff shape, its chemical potential, and planes without an accepted surface energy.

    `record` is one of the records, to name planes by; `stable_note` a line about phases that form at this
    chemical potential, empty if none is known to; `source_note` one about values that are not of DFT.
    """

    record: Mapping[str, Any]
    result: WulffResult
    potential: ChemicalPotential
    missing: list[LeftOut]
    stable_note: str = ""
    source_note: str = ""

    def present(self) -> list[int]:
        """Return indices into the facets of the shape, the largest share of the area first."""
        shares = self.result.area_fractions
        return sorted(
            (i for i, share in enumerate(shares) if share > SMALLEST_SHARE), key=lambda i: -shares[i]
        )

    def conditions(self) -> str:
        """Return the chemical potential as text; empty for an element."""
        at = self.potential
        if not at.partner:
            return ""
        value = f"Δμ({at.reference}) = {signed(at.dmu, 3) if at.dmu else '0'} eV"
        if at.window is None:
            return f"{at.end}, {value}"
        ends = f"{signed(at.window[0], 3)} ({at.partner}-rich) to 0 ({at.reference}-rich)"
        return f"{at.end}, {value}; window {ends}" if at.end else f"{value}; window {ends}"

    def averages(self) -> str:
        """Return the values weighted by area as text."""
        phi = "–" if self.result.work_function is None else f"{self.result.work_function:.3f} eV"
        return (
            f"weighted by area: γ = {self.result.surface_energy:.4f} eV/Å², Φ = {phi}; "
            f"shape factor {self.result.shape_factor:.2f} (sphere 4.84)"
        )

    def notes(self) -> list[str]:
        """Return lines on a missing average, on phases that form, and on planes left out."""
        lines = (self.source_note, self.result.reason, self.stable_note, *self.missing_lines())
        return [line for line in lines if line]

    def missing_lines(self) -> list[str]:
        """Return lines that name the planes left out, grouped by the reason."""
        return missing_lines(self.missing, self.record)


def missing_lines(missing: Sequence[LeftOut], naming: Mapping[str, Any]) -> list[str]:
    """Return lines that name the planes left out, grouped by the reason.

    `naming` holds the ``spacegroup_number`` of the crystal, which decides how planes are written.
    """

    def named(entry: LeftOut) -> str:
        return f"{facet_text({**naming, 'miller_index': entry.miller_index})} {entry.label}".rstrip()

    lines = []
    for start, entries in (
        ("planes not in the shape and its averages", [m for m in missing if not m.label]),
        ("terminations left out", [m for m in missing if m.label]),
    ):
        reasons = dict.fromkeys(entry.reason for entry in entries)
        texts = [
            f"{', '.join(named(e) for e in entries if e.reason == reason)} ({reason})" for reason in reasons
        ]
        lines += [f"{start}: {'; '.join(texts)}"] if texts else []
    return lines


def wulff_report(
    records: Iterable[Mapping[str, Any]],
    bulk: Mapping[str, Any],
    *,
    dmu: float = 0.0,
    x_rich: bool = False,
    known: Iterable[Mapping[str, Any]] | None = None,
    max_index: int | None = None,
    stable: StableWindow | None = None,
) -> WulffReport:
    """Build the Wulff shape of one compound from its accepted facets.

    Parameters
    ----------
    records
        Stored surface records of one bulk and one method.
    bulk
        `structure` of its BulkRecord, the cell the Miller indices refer to.
    dmu, x_rich
        Chemical potential of the reference element (eV), 0 is Mg-rich; or the X-rich end of the window.
    known, max_index
        All records of this bulk and method, to find missing planes, up to this Miller index.
    stable
        Window in which the compound is stable against other phases; a note is added outside it.

    Raises
    ------
    InputError
        If the records belong to several bulks or methods, the chemical potential lies outside the window, or
        there is no Wulff shape: the message gives the reason.
    """
    from stores.structures.document import structure_from_document
    from workflows.analysis.wulff import chemical_potential, facets_from_records, left_out, wulff
    from workflows.structures.crystal import crystal_of

    chosen = list(records)
    if not chosen:
        raise InputError("Wulff shape: no record; widen the filter")
    if len({(r["bulk_id"], r["method_fingerprint"]) for r in chosen}) > 1:
        names = ", ".join(sorted({r["formula"] for r in chosen}))
        raise InputError(f"Wulff shape: one bulk and one method at a time, found {names}; filter the records")
    at = chemical_potential(chosen, dmu, x_rich)
    crystal = structure_from_document(dict(bulk), "the bulk crystal")
    result = wulff(crystal, facets_from_records(chosen, at.dmu), at.dmu)
    if result.shape is None:
        raise InputError(f"{chosen[0]['formula']}: {result.reason}")
    missing = left_out(crystal_of(crystal), chosen, chosen if known is None else known, at.dmu, max_index)
    return WulffReport(chosen[0], result, at, missing, unstable_note(stable, at.dmu))


def wulff_table(report: WulffReport) -> Table:
    """Table of the faces of the shape; below it the averages and what is left out."""
    from workflows.report.tables import EV_PER_A2_IN_J_PER_M2

    result = report.result
    title = ": ".join(part for part in (report.record["formula"], report.conditions()) if part)
    numbers = ("area\n%", "γ\neV/Å²", "γ\nJ/m²", "Φ\neV")
    columns = [Column("facet"), Column("termination", short="term.")]
    table = Table([*columns, *(Column(name, right=True) for name in numbers)], title)
    for index in report.present():
        facet, gamma = result.facets[index], result.surface_energies[index]
        table.add_row(
            facet_text({**report.record, "miller_index": facet.miller_index}),
            facet.label,
            f"{100 * result.area_fractions[index]:.1f}",
            f"{gamma:.4f}",
            f"{gamma * EV_PER_A2_IN_J_PER_M2:.3f}",
            "–" if facet.work_function is None else f"{facet.work_function:.3f}",
        )
    table.notes += [report.averages(), *report.notes()]
    return table


def wulff_figure(
    records: Iterable[Mapping[str, Any]],
    bulk: Mapping[str, Any],
    dmu: float = 0.0,
    ax: Axes | None = None,
) -> Figure:
    """Draw the Wulff shape of one compound from its accepted facets.

    The legend gives each facet's share of the area, its surface energy and its work function; lines below
    name the chemical potential and the planes that are missing. Parameters and errors as in `wulff_report`;
    on three-dimensional axes `ax` only the shape is drawn, with a legend.
    """
    return draw_wulff(wulff_report(records, bulk, dmu=dmu), ax)


def draw_wulff(report: WulffReport, ax: Axes | None = None) -> Figure:
    """Draw a Wulff shape with its legend and its conditions, or on given 3D axes the shape and its legend."""
    present = report.present()
    fills = fills_of(present)
    if ax is not None:
        return _draw_on(ax, report, fills)
    notes = [line for text in report.notes() for line in textwrap.wrap(text, _NOTE_WIDTH)]
    if len(notes) > _MAX_NOTES:
        notes = [*notes[: _MAX_NOTES - 1], "... (all in the table that is printed)"]
    with styled():
        bottom = _LINE * (len(notes) + 0.6)  # inches
        height = 4.3 + bottom
        figure = new_figure(7.6, height)
        figure.set_layout_engine("none")
        low, high = bottom / height, 1 - 0.62 / height
        draw_shape(figure.add_axes((0.0, low, 0.53, high - low), projection="3d"), report.result, fills)
        figure.text(
            0.5, 1 - 0.12 / height, f"{formula_mathtext(report.record['formula'])}: Wulff shape",
            ha="center", va="top", fontsize=10.5,
        )  # fmt: skip
        if conditions := report.conditions():
            figure.text(0.5, 1 - 0.36 / height, conditions, ha="center", va="top", color=GREY)
        panel = figure.add_axes((0.55, low + 0.62 / height, 0.44, high - low - 0.62 / height))
        _draw_legend(panel, report, present, fills)
        figure.text(
            0.545, low + 0.1 / height, report.averages().replace("; ", "\n"), fontsize=8.5, va="bottom",
            linespacing=1.5,
        )  # fmt: skip
        for number, line in enumerate(reversed(notes)):
            figure.text(0.015, (0.08 + _LINE * number) / height, line, fontsize=7.5, color=GREY)
        return figure


def _draw_on(ax: Axes, report: WulffReport, fills: Mapping[int, tuple[str, str]]) -> Figure:
    from matplotlib.patches import Patch

    if ax.name != "3d":
        raise InputError('Wulff shape: ax must be three-dimensional; make it with projection="3d"')
    draw_shape(ax, report.result, fills)
    handles = [
        Patch(
            facecolor=colour,
            hatch=hatch,
            edgecolor="#202124",
            label=f"{_facet_name(report, index)} {100 * report.result.area_fractions[index]:.1f} %",
        )
        for index, (colour, hatch) in fills.items()
    ]
    ax.legend(handles=handles[:MAX_LEGEND], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set_title(": ".join(p for p in (formula_mathtext(report.record["formula"]), report.conditions()) if p))
    return figure_of(ax)


def fills_of(facets: Sequence[Key]) -> dict[Key, tuple[str, str]]:
    """Give each facet a colour and a hatch; more facets than colours: a second round is hatched."""
    return {
        facet: (PALETTE[place % len(PALETTE)], ("", "////", "....", "xxxx")[place // len(PALETTE) % 4])
        for place, facet in enumerate(facets)
    }


def draw_shape(
    axes: Any,
    result: WulffResult,
    fills: Mapping[int, tuple[str, str]],
    labels: Mapping[int, str] | None = None,
) -> None:
    """Draw the faces of a Wulff shape that point to the eye.

    Parameters
    ----------
    axes
        Three-dimensional axes; the shape fills them.
    result
        With a shape.
    fills
        Colour and hatch by index into the facets of `result`; the others are not drawn.
    labels
        Text by index, put on the face of this facet that looks largest.
    """
    import numpy as np
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    light = np.array([0.55, 0.25, 0.80]) / np.linalg.norm([0.55, 0.25, 0.80])
    reach = max(float(np.linalg.norm(corners, axis=1).max()) for _, corners in result.polygons)
    labelled, darkness = [], []
    for index, corners in result.polygons:
        if len(corners) < 3 or index not in fills:
            continue
        colour, hatch = fills[index]
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
        normal = normal / np.linalg.norm(normal)
        normal = normal * np.sign(normal @ corners.mean(axis=0))
        bright = 0.62 + 0.38 * max(0.0, float(normal @ light))
        shade = np.clip(np.array(to_rgb(colour)) * bright + 0.22 * bright, 0, 1)
        labelled.append((index, corners))
        darkness.append(1 - float(shade @ (0.299, 0.587, 0.114)))
        face = Poly3DCollection([corners], facecolor=shade, edgecolor="#202124", linewidth=0.8)
        if hatch:
            face.set_hatch(hatch)
        axes.add_collection3d(face, autolim=False)
    for set_limits in (axes.set_xlim, axes.set_ylim, axes.set_zlim):
        set_limits(-reach, reach)
    axes.set_box_aspect((1, 1, 1), zoom=1.45 if labels is None else 1.25)
    axes.set_axis_off()
    axes.view_init(*VIEW)
    if labels is not None:
        from workflows.report.face_labels import label_faces

        label_faces(axes, labelled, labels, darkness)


def _facet_name(report: WulffReport, index: int) -> str:
    facet = report.result.facets[index]
    return facet_mathtext(
        {**report.record, "miller_index": facet.miller_index, "termination_label": facet.label}
    )


def _draw_legend(
    panel: Axes, report: WulffReport, present: Sequence[int], fills: Mapping[int, tuple[str, str]]
) -> None:
    """List the faces, largest first, with numbers in columns."""
    from matplotlib.patches import Rectangle

    result = report.result

    columns = (0.56, 0.80, 1.0)
    panel.set_axis_off()
    panel.set_xlim(0, 1)
    rows = max(12, min(len(present), MAX_LEGEND) + 2)
    panel.set_ylim(rows - 0.5, -0.5)
    size = min(8.5, 100 / rows)
    panel.text(0, 0, "facet", va="center", color=GREY, fontsize=size)
    for x, head in zip(columns, ("area", "γ (eV/Å$^2$)", "$\\Phi$ (eV)"), strict=True):
        panel.text(x, 0, head, va="center", ha="right", color=GREY, fontsize=size)
    for row, index in enumerate(present[:MAX_LEGEND], start=1):
        facet, (colour, hatch) = result.facets[index], fills[index]
        panel.add_patch(
            Rectangle(
                (0, row - 0.3), 0.055, 0.6, facecolor=colour, hatch=hatch, edgecolor="#202124", linewidth=0.6
            )
        )
        panel.text(0.08, row, _facet_name(report, index), va="center", fontsize=size)
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
