"""DFT and predicted Wulff shapes side by side: figure, table and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError, pluralize
from workflows.report.style import DOUBLE_COLUMN, GREY, facet_mathtext, formula_mathtext, new_figure, styled
from workflows.report.table import Column, Table, with_sigma
from workflows.report.wulff import SMALLEST_SHARE, draw_shape, fills_of
from workflows.structures.naming import format_plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workflows.analysis.wulff import WulffResult
    from workflows.analysis.wulff_comparison import FacetComparison, PredictedSlab, ShapeComparison
    from workflows.analysis.wulff_draws import WeightedValues

LABELLED_SHARE = 0.01  # facets with a larger share of the area are labelled, as in figure 6a of Shi et al

_ROW, _HEAD = 2.75, 0.3  # heights of a crystal and of the line above the first (inches)

FIELDS = (
    *("formula", "spacegroup_number", "spacegroup_symbol", "model", "miller_index", "facet"),
    *("slab_dft", "termination_dft", "slab_predicted", "termination_predicted"),
    *("surface_energy_dft", "surface_energy_predicted", "surface_energy_sigma", "surface_energy_error"),
    *("work_function_dft", "work_function_predicted", "work_function_sigma", "work_function_error"),
    *("area_dft", "area_predicted", "appears"),
)
"""Columns of `facet_rows`."""


def facet_rows(comparison: ShapeComparison) -> list[dict[str, Any]]:
    """List the facets of a comparison as plain values, with the keys `FIELDS`.

    Surface energies in eV/A^2, work functions in eV, shares of area and of draws between 0 and 1; errors are
    predicted minus DFT, each of its termination of lowest surface energy.
    """
    crystal = comparison.crystal
    rows = []
    for facet in comparison.facets:
        dft, model = facet.dft.dft, facet.predicted.predicted
        values = (
            *(comparison.formula, crystal.spacegroup_number, crystal.spacegroup_symbol, comparison.model),
            *(" ".join(map(str, facet.miller_index)), _plane(comparison, facet)),
            *(facet.dft.name, dft.label, facet.predicted.name, model.label),
            *(dft.surface_energy, model.surface_energy, model.surface_energy_sigma),
            *(facet.surface_energy_error, dft.work_function, model.work_function),
            None if model.work_function is None else model.work_function_sigma,
            *(facet.work_function_error, facet.area_dft, facet.area_predicted, facet.appears),
        )
        rows.append(dict(zip(FIELDS, values, strict=True)))
    return rows


def comparison_document(comparison: ShapeComparison) -> dict[str, Any]:
    """Return a comparison as JSON: averages over both shapes, errors, facets, all slabs, what is missing."""
    crystal = comparison.crystal
    return {
        "formula": comparison.formula,
        "spacegroup_number": crystal.spacegroup_number,
        "spacegroup_symbol": crystal.spacegroup_symbol,
        "lattice": crystal.lattice.tolist(),
        "model": comparison.model,
        "dft": _averages(comparison.dft),
        "predicted": _averages(comparison.predicted),
        "errors": comparison.errors(),
        "facets": facet_rows(comparison),
        "slabs": [_slab_row(slab) for slab in comparison.slabs],
        "missing": list(comparison.missing),
    }


def _averages(values: WeightedValues) -> dict[str, Any]:
    names = ("surface_energy", "surface_energy_sigma", "work_function", "work_function_sigma", "shape_factor")
    return {**{name: getattr(values, name) for name in names}, "reason": values.reason}


def _slab_row(slab: PredictedSlab) -> dict[str, Any]:
    return {
        "slab": slab.name,
        "miller_index": list(slab.dft.miller_index),
        "termination": slab.dft.label,
        "surface_energy_dft": slab.dft.surface_energy,
        "surface_energy_predicted": slab.predicted.surface_energy,
        "surface_energy_sigma": slab.predicted.surface_energy_sigma,
        "work_function_dft": slab.dft.work_function,
        "work_function_predicted": slab.predicted.work_function,
        "work_function_sigma": slab.predicted.work_function_sigma,
    }


def comparison_table(comparison: ShapeComparison) -> Table:
    """Table of the facets with both values; below it averages, mean absolute errors and what is missing."""
    with_terminations = len({slab.dft.label for slab in comparison.slabs}) > 1
    columns = [
        Column("facet"),
        *([Column("termination", short="term.")] if with_terminations else []),
        *(
            Column(name, right=True)
            for name in (
                *("γ\neV/Å²\nDFT", "\n\npredicted", "\n\nerror", "Φ\neV\nDFT", "\n\npredicted", "\n\nerror"),
                *("area\n%\nDFT", "\n\npred."),
            )
        ),
    ]
    table = Table(columns, f"{comparison.name}: {comparison.model}, trained without it")
    for facet in comparison.facets:
        dft, model = facet.dft.dft, facet.predicted.predicted
        table.add_row(
            _plane(comparison, facet) + ("" if facet.same_termination else "*"),
            *([dft.label] if with_terminations else []),
            f"{dft.surface_energy:.4f}",
            _number(model.surface_energy, model.surface_energy_sigma, 4),
            f"{facet.surface_energy_error:+.4f}",
            _number(dft.work_function, None, 2),
            _number(model.work_function, model.work_function_sigma, 2),
            "–" if (error := facet.work_function_error) is None else f"{error:+.2f}",
            *(
                "–" if share is None else f"{100 * share:.0f}"
                for share in (facet.area_dft, facet.area_predicted)
            ),
        )
    table.notes += _notes(comparison)
    return table


def _notes(comparison: ShapeComparison) -> list[str]:
    notes = [
        f"weighted by area, DFT in brackets: {', '.join(_weighted(comparison.predicted, comparison.dft))}"
    ]
    errors = comparison.errors()
    for name, count in (("facets", len(comparison.facets)), ("slabs", len(comparison.slabs))):
        gamma, phi = errors[f"surface_energy_mae_{name}"], errors[f"work_function_mae_{name}"]
        phi_text = "" if phi is None else f", Φ {phi:.3f} eV"
        notes.append(f"mean absolute error over {count} {name}: γ {gamma:.4f} eV/Å²{phi_text}")
    if any(not facet.same_termination for facet in comparison.facets):
        notes.append(
            "* the model has another slab of this facet lowest than DFT; its values are those predicted"
        )
    return [*notes, *comparison.missing]


AVERAGES = (("γ", "eV/Å²", "surface_energy", 4), ("Φ", "eV", "work_function", 2))
"""Symbol, unit, field of `WeightedValues` and decimals without a standard deviation."""


def _weighted(values: WeightedValues, dft: WeightedValues) -> list[str]:
    """Write averages with their standard deviations, those of DFT in brackets; of DFT itself these alone."""
    texts = []
    for symbol, unit, name, decimals in AVERAGES:
        value, reference = getattr(values, name), getattr(dft, name)
        text = "–" if reference is None else f"({reference:.{decimals}f})"
        if values is not dft:
            text = f"{_number(value, getattr(values, f'{name}_sigma'), decimals)} {text}"
        texts.append(f"{symbol} = {text} {unit}")
    return texts


def _number(value: float | None, sigma: float | None, decimals: int) -> str:
    """Write a value with its standard deviation, with fixed decimals without one, a dash for None."""
    if value is None:
        return "–"
    return with_sigma(value, sigma) if sigma else f"{value:.{decimals}f}"


def _plane(comparison: ShapeComparison, facet: FacetComparison) -> str:
    return format_plane(facet.miller_index, comparison.crystal.spacegroup_number)


def comparison_figure(comparisons: Sequence[ShapeComparison]) -> Figure:
    """Draw DFT and predicted Wulff shapes side by side, one row for each crystal.

    Both shapes are seen from the same side; a colour is one family of planes. Facets with a share of the area
    above `LABELLED_SHARE` are labelled and listed. Below the shapes stand the surface energy and the work
    function weighted by area, those of DFT in brackets. As figure 6a of Shi et al., J. Magnes. Alloys (2024).

    Parameters
    ----------
    comparisons
        Of crystals that have both shapes.

    Raises
    ------
    InputError
        If there is none, or one lacks a shape.
    """
    if not comparisons:
        raise InputError("no Wulff shapes to compare: no crystal has both")
    height = _HEAD + _ROW * len(comparisons)
    models = list(dict.fromkeys(one.model for one in comparisons))
    with styled():
        figure = new_figure(DOUBLE_COLUMN, height)
        figure.set_layout_engine("none")
        heads = (
            ("DFT", 0.19),
            ("predicted" + (f" ({models[0]})" if len(models) == 1 and models[0] else ""), 0.57),
        )
        for text, x in heads:
            figure.text(x, 1 - 0.06 / height, text, ha="center", va="top", fontsize=9.5)
        for number, comparison in enumerate(comparisons):
            top = 1 - (_HEAD + number * _ROW) / height
            _draw_row(figure, comparison, top, height)
        return figure


def _draw_row(figure: Figure, comparison: ShapeComparison, top: float, height: float) -> None:
    """Draw one crystal: both shapes, the list of facets, the averages below the shapes."""
    shapes = [_shape(comparison, predicted=predicted) for predicted in (False, True)]
    shown = [
        facet
        for facet in comparison.facets
        if max(facet.area_dft or 0.0, facet.area_predicted or 0.0) > SMALLEST_SHARE
    ]
    # large facets first, so that they have plain colours
    ranked = sorted(shown, key=lambda facet: -max(facet.area_dft or 0.0, facet.area_predicted or 0.0))
    fills = fills_of([facet.miller_index for facet in ranked])
    names = {
        facet.miller_index: facet_mathtext(
            {
                "miller_index": facet.miller_index,
                "spacegroup_number": comparison.crystal.spacegroup_number,
                "formula": comparison.formula,
            }
        )
        for facet in shown
    }
    bottom = top - _ROW / height
    for place, (shape, values) in enumerate(zip(shapes, (comparison.dft, comparison.predicted), strict=True)):
        low, left = bottom + 0.46 / height, 0.38 * place
        axes = figure.add_axes((left, low, 0.38, top - low), projection="3d")
        families = {i: facet.miller_index for i, facet in enumerate(shape.facets)}
        draw_shape(
            axes,
            shape,
            {i: fills[h] for i, h in families.items() if h in fills},
            labels={
                i: names[h]
                for i, h in families.items()
                if h in names and shape.area_fractions[i] > LABELLED_SHARE
            },
        )
        for line, text in enumerate(_weighted(values, comparison.dft)):
            for plain, drawn in (("γ", r"$\bar{\gamma}$"), ("Φ", r"$\bar{\Phi}$"), ("Å²", "Å$^2$")):
                text = text.replace(plain, drawn)
            figure.text(
                left + 0.19, low - (0.02 + 0.18 * line) / height, text, ha="center", va="top", fontsize=8.5
            )
    panel = figure.add_axes((0.775, bottom + 0.3 / height, 0.22, (_ROW - 0.3) / height))
    _list_facets(panel, comparison, shown, fills, names)


def _shape(comparison: ShapeComparison, *, predicted: bool) -> WulffResult:
    from workflows.analysis.wulff import Facet, wulff

    facets = []
    for facet in comparison.facets:
        one = facet.predicted.predicted if predicted else facet.dft.dft
        facets.append(Facet(one.miller_index, one.surface_energy, one.work_function, one.label))
    result = wulff(comparison.crystal.structure, facets)
    if result.shape is None:
        raise InputError(f"{comparison.name}: {result.reason}")
    return result


def _list_facets(
    panel: Axes,
    comparison: ShapeComparison,
    shown: Sequence[FacetComparison],
    fills: Mapping[Any, tuple[str, str]],
    names: Mapping[Any, str],
) -> None:
    """List the facets with their shares of the area of both shapes, and name the crystal above."""
    from matplotlib.patches import Rectangle

    panel.set_axis_off()
    panel.set_xlim(0, 1)
    rows = max(11.0, len(shown) + 3.2)
    panel.set_ylim(rows, 0)
    size = min(8.0, 92 / rows)
    symbol = comparison.crystal.spacegroup_symbol
    panel.text(
        0, 0.6, f"{formula_mathtext(comparison.formula)}  {_symbol(symbol)}", va="center", fontsize=9.5
    )
    columns = (0.64, 1.0)
    panel.text(0, 2, "area (%)", va="center", color=GREY, fontsize=size)
    for x, head in zip(columns, ("DFT", "pred."), strict=True):
        panel.text(x, 2, head, va="center", ha="right", color=GREY, fontsize=size)
    for row, facet in enumerate(shown, start=3):
        colour, hatch = fills[facet.miller_index]
        panel.add_patch(
            Rectangle(
                (0, row - 0.32), 0.1, 0.64, facecolor=colour, hatch=hatch, edgecolor="#202124", linewidth=0.6
            )
        )
        panel.text(0.14, row, names[facet.miller_index], va="center", fontsize=size)
        for x, share in zip(columns, (facet.area_dft, facet.area_predicted), strict=True):
            text = "–" if not share else f"{100 * share:.1f}"
            panel.text(x, row, text, va="center", ha="right", fontsize=size)
    left_over = len(comparison.facets) - len(shown)
    if left_over:
        panel.text(
            0,
            len(shown) + 3,
            f"{pluralize(left_over, 'facet')} on neither",
            va="center",
            color=GREY,
            fontsize=size,
        )


def _symbol(spacegroup: str) -> str:
    """Write a space group for matplotlib: P6_3/mmc with a lowered 3, Fm-3m with an overbar."""
    import re

    text = re.sub(r"_(\d)", r"_{\1}", spacegroup)
    text = re.sub(r"-(\d)", r"\\overline{\1}", text)
    return f"${text}$"
