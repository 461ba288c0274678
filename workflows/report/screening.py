"""Table, figure and data of screened compounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError, pluralize
from workflows.report.labels import label_points
from workflows.report.style import GREY, PALETTE, PHI_LABEL, formula_mathtext, new_figure, styled
from workflows.report.table import Column, Table, with_sigma
from workflows.structures.naming import format_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from stores.learning.screenings import ScreenedFacet, ScreeningRecord

MOST_LABELS = 70
SHOWN_SHARE = 0.01  # facets with a smaller share of the area are not named in the table


def screening_table(records: Sequence[ScreeningRecord]) -> Table:
    """Table of compounds: averages over the Wulff shape with their standard deviations, potential, facets."""
    from rich.text import Text

    has_remarks = any(remarks(record) for record in records)
    columns = [
        Column("compound", wrap=True, room=12),
        Column("γ\neV/Å²", right=True),
        Column("Φ\neV", right=True),
        Column("E\nV vs SHE", short="E\nV", right=True),
        Column("facets (share of the area)", short="facets", wrap=True, room=18, spare=True),
    ]
    table = Table([*columns, *([Column("remark", wrap=True, room=16)] if has_remarks else [])])
    for record in records:
        table.add_row(
            record.label,
            value_with_sigma(record.surface_energy, record.surface_energy_sigma),
            value_with_sigma(record.work_function, record.work_function_sigma),
            potential_with_sigma(record),
            ", ".join(
                f"{facet_name(record, facet)} {100 * facet.area_fraction:.0f} %"
                for facet in record.facets
                if facet.area_fraction >= SHOWN_SHARE
            )
            or "-",
            *([Text("; ".join(remarks(record)), style="yellow")] if has_remarks else []),
        )
    return table


def facet_name(record: ScreeningRecord, facet: ScreenedFacet) -> str:
    """Name a facet, with a star if its values are those of a model."""
    return format_plane(facet.miller_index, record.spacegroup_number) + (
        "*" if facet.source == "model" else ""
    )


def value_with_sigma(value: float | None, sigma: float | None) -> str:
    """Write an average with its standard deviation, a hyphen if there is none."""
    return "-" if value is None else with_sigma(value, sigma)


def potential_with_sigma(record: ScreeningRecord) -> str:
    """Write the dissolution potential (V), with a standard deviation if its formation energy is predicted."""
    if record.potential is None:
        return "-"
    if record.potential_sigma:
        return with_sigma(record.potential, record.potential_sigma)
    return f"{record.potential:.2f}"


def remarks(record: ScreeningRecord) -> list[str]:
    """Lines about a compound: what it is taken for, what is missing and what was chosen."""
    found = [f"semiconductor ({record.semiconductor})"] if record.semiconductor else []
    if record.unseen_elements:
        found.append(f"{', '.join(record.unseen_elements)} not in the training set")
    return [*found, *record.reasons, *record.notes]


FIELDS = (
    *("label", "formula", "spacegroup_symbol", "surface_energy", "surface_energy_sigma"),
    *("work_function", "work_function_sigma", "shape_factor", "potential", "potential_sigma"),
    *("formation_energy", "formation_energy_sigma", "energy_source", "dmu", "model", "semiconductor"),
)


def flat_row(record: ScreeningRecord) -> dict[str, Any]:
    """Return a compound as a row of CSV; lists are joined with semicolons."""
    row = {name: getattr(record, name) for name in FIELDS}
    row["cations"] = " ".join(record.cations)
    row["facets"] = "; ".join(
        f"{facet_name(record, facet)} {facet.termination} {facet.area_fraction:.4f}"
        for facet in record.facets
        if facet.area_fraction > 0
    )
    row["unseen_elements"] = " ".join(record.unseen_elements)
    row["notes"] = "; ".join([*record.reasons, *record.notes])
    return row


def potential_figure(records: Sequence[ScreeningRecord], width: float = 7.2) -> Figure:
    """Draw the dissolution potential against the work function of compounds, with error bars.

    Elements are squares, semiconductors hollow; compounds that a model predicts for elements it has not seen
    are grey. As figure 6b of Shi et al., J. Magnes. Alloys (2024).

    Raises
    ------
    InputError
        If no compound has both values.
    """
    known = [
        (r.work_function, r.potential, r)
        for r in records
        if r.potential is not None and r.work_function is not None
    ]
    if not known:
        raise InputError("no compound has a dissolution potential and a work function; nothing to draw")
    with styled():
        figure = new_figure(width, 5.0)
        axes = figure.subplots()
        for function, potential, record in known:
            element = len(record.cations) == 1
            color = GREY if record.unseen_elements else PALETTE[1 if element else 0]
            axes.errorbar(
                function, potential, xerr=record.work_function_sigma or None,
                yerr=record.potential_sigma or None, fmt="none", ecolor="#C6CACE", elinewidth=0.9, zorder=2,
            )  # fmt: skip
            axes.scatter(
                function, potential, s=26, marker="s" if element else "o",
                facecolor="none" if record.semiconductor else color, edgecolor=color, linewidth=1.1, zorder=3,
            )  # fmt: skip
        for label, style in _legend([record for _, _, record in known]):
            axes.scatter([], [], s=26, label=label, **style)
        axes.margins(0.08)
        axes.set_xlabel(f"Wulff-weighted {PHI_LABEL}")
        axes.set_ylabel("dissolution potential (V against SHE)")
        figure.legend(loc="outside upper left", ncols=4, handletextpad=0.2, columnspacing=1.2)
        order = _outermost_first(known)
        named: dict[str, tuple[float, float, ScreeningRecord]] = {}
        for point in order:  # crystals of one formula lie at one height: one label is enough
            named.setdefault(point[2].formula, point)
        others = [point for point in order if named[point[2].formula] is not point]
        label_points(
            axes,
            [(function, potential) for function, potential, _ in [*named.values(), *others]],
            [formula_mathtext(formula) for formula in list(named)[:MOST_LABELS]],
            fontsize=6.5 if len(known) > 20 else 8,
        )
        return figure


def wulff_shape_figure(record: ScreeningRecord) -> Figure:
    """Draw the Wulff shape of a screened compound, which has one, at the mean values of its facets."""
    from pymatgen.core import Structure

    from workflows.analysis.surface_energy import reference_element
    from workflows.analysis.wulff import ChemicalPotential, Facet, wulff
    from workflows.report.wulff import WulffReport, draw_wulff

    crystal = Structure(record.lattice, record.species, record.positions)
    facets = [
        Facet(facet.miller_index, facet.surface_energy, facet.work_function, facet.termination)
        for facet in record.facets
    ]
    elements = [element.symbol for element in crystal.composition.elements]
    reference = reference_element(elements)
    partner = next((e for e in elements if e != reference), "") if len(elements) == 2 else ""
    at = ChemicalPotential(record.dmu, None, reference, partner)
    naming = {"formula": record.formula, "spacegroup_number": record.spacegroup_number}
    source = ""
    if record.model:
        predicted = sum(facet.source == "model" for facet in record.facets)
        gamma = value_with_sigma(record.surface_energy, record.surface_energy_sigma)
        phi = value_with_sigma(record.work_function, record.work_function_sigma)
        source = (
            f"{predicted} of {pluralize(len(record.facets), 'facet')} by {record.model}; weighted: "
            f"γ = {gamma} eV/Å², Φ = {phi} eV"
        )
    return draw_wulff(WulffReport(naming, wulff(crystal, facets), at, [], source_note=source))


def _legend(known: Sequence[ScreeningRecord]) -> list[tuple[str, dict[str, Any]]]:
    kinds = [
        ("element", any(len(r.cations) == 1 for r in known), {"marker": "s", "color": PALETTE[1]}),
        ("compound", any(len(r.cations) > 1 for r in known), {"marker": "o", "color": PALETTE[0]}),
        (
            "semiconductor",
            any(r.semiconductor for r in known),
            {"marker": "o", "facecolor": "none", "edgecolor": PALETTE[0]},
        ),
        (
            "element outside the training set",
            any(r.unseen_elements for r in known),
            {"marker": "o", "color": GREY},
        ),
    ]
    return [(label, style) for label, present, style in kinds if present]


def _outermost_first(
    points: Sequence[tuple[float, float, ScreeningRecord]],
) -> list[tuple[float, float, ScreeningRecord]]:
    """Order points by how extreme they are, so that labels go to those that stand out."""
    import numpy as np

    values = np.array([point[:2] for point in points])
    spread = values.std(axis=0)
    distance = (((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)) ** 2).sum(axis=1)
    return [points[i] for i in np.argsort(-distance, kind="stable")]
