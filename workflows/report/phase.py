"""Figure of surface energies over the chemical potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.analysis.surface_energy import reference_element_of
from workflows.report.style import (
    GAMMA_LABEL,
    GREY,
    LIGHT,
    LINE_STYLES,
    MARKERS,
    PALETTE,
    add_joule_axis,
    add_legend,
    axes_or_new,
    facet_mathtext,
    figure_of,
    formula_mathtext,
    is_accepted,
    sort_key,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workflows.analysis.stability_window import StableWindow

ROWS_PER_COLUMN = 22
MOST_NAMED = 2 * ROWS_PER_COLUMN
"""Of more facets, those that come lowest within the window are named; the others are grey lines."""

STABLE = "#E3F2E6"
"""Background where the compound is stable."""

_ROOM = 0.05  # space for the name of a phase, as a share of the window


def chemical_potential_figure(
    records: Iterable[Mapping[str, Any]], stable: StableWindow | None = None, ax: Axes | None = None
) -> Figure:
    """Draw gamma(dmu) of every facet of one binary compound, from X-rich to Mg-rich.

    In compounds without Mg the reference element takes its place.
    Equal colours are terminations of one plane; rejected facets are thin and pale. The window in which the
    compound is `stable` against other phases is shaded, with the phases that form beyond its ends; above the
    hull a line under the figure reports it.

    Raises
    ------
    InputError
        If the records belong to several compounds or methods, to an element, or have no window.
    """
    chosen = sorted((r for r in records if r.get("surface_energy") is not None), key=sort_key)
    formulas = sorted({r["formula"] for r in chosen})
    methods = {r["method_fingerprint"] for r in chosen}
    if len(formulas) != 1 or len(methods) != 1:
        raise InputError(
            f"surface energy over the chemical potential: one compound and one method at a time, found "
            f"{', '.join(formulas) or 'no surface energy'} with {len(methods)} methods; filter the records"
        )
    windows = [tuple(r["chemical_potential_window"]) for r in chosen if r.get("chemical_potential_window")]
    if not windows:
        raise InputError(
            f"{formulas[0]} has no window of the chemical potential: it is an element, its formation energy "
            "is positive or a reference is missing"
        )
    lowest = min(window[0] for window in windows)
    elements = chosen[0]["chemsys"].split("-")
    reference = reference_element_of(chosen[0])
    partner = next(element for element in elements if element != reference)
    named = sorted(chosen, key=lambda r: _lowest(r, lowest))[:MOST_NAMED]
    grey = [r for r in chosen if all(r is not one for one in named)]
    named.sort(key=sort_key)
    planes = list(dict.fromkeys(tuple(r["miller_index"]) for r in named))
    columns = -(-len(named) // ROWS_PER_COLUMN)

    with styled():
        height = max(4.2, 0.215 * min(len(named), ROWS_PER_COLUMN) + 1)
        axes = axes_or_new(ax, 6.4 + 2.4 * (columns - 1), height)
        seen: dict[tuple[int, ...], int] = {}
        for record in grey:
            gamma, slope = record["surface_energy"], record.get("surface_energy_slope") or 0.0
            axes.plot([lowest, 0.0], [gamma + slope * lowest, gamma], color=LIGHT, linewidth=0.7, zorder=1)
        for record in named:
            plane = tuple(record["miller_index"])
            number = seen[plane] = seen.get(plane, -1) + 1
            gamma, slope = record["surface_energy"], record.get("surface_energy_slope") or 0.0
            good = is_accepted(record, "surface_energy")
            # more planes than colours, or more terminations than dashes: markers at the ends tell them apart
            rounds = -(-len(planes) // len(PALETTE))
            marker = planes.index(plane) // len(PALETTE) + rounds * (number // len(LINE_STYLES))
            style = LINE_STYLES[number % len(LINE_STYLES)]
            axes.plot(
                [lowest, 0.0], [gamma + slope * lowest, gamma], linestyle=style,
                color=PALETTE[planes.index(plane) % len(PALETTE)],
                marker=("", *MARKERS)[marker % (len(MARKERS) + 1)], markersize=4.5, clip_on=False,
                linewidth=1.7 if good else 0.8, alpha=1.0 if good else 0.55,
                label=facet_mathtext(record) + ("" if good else " (rejected)"),
            )  # fmt: skip
        axes.set_xlim(lowest, 0.0)
        axes.set_xlabel(rf"chemical potential $\Delta\mu_{{\mathrm{{{reference}}}}}$ (eV)")
        axes.set_ylabel(GAMMA_LABEL)
        axes.margins(y=0.06)
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color="#202124", linewidth=0.8)
        for x, text, side in ((0, f"{partner}-rich", "left"), (1, f"{reference}-rich", "right")):
            axes.annotate(
                text, (x, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
                ha=side, color=GREY, fontweight="bold",
            )  # fmt: skip
        title = f"{formula_mathtext(formulas[0])}: surface energy of each facet"
        if grey:
            title += f"\n{len(named)} of {len(chosen)} are named, those that come lowest; grey: the others"
        axes.set_title(title, pad=18)
        if stable is not None:
            _shade(axes, stable, lowest)
        add_joule_axis(axes)
        add_legend(axes, ax, "right center", ncols=columns, handlelength=2.6)
        return figure_of(axes)


def _lowest(record: Mapping[str, Any], x_rich: float) -> float:
    """Return the lowest surface energy within the window (eV/A^2)."""
    gamma, slope = float(record["surface_energy"]), float(record.get("surface_energy_slope") or 0.0)
    return min(gamma, gamma + slope * x_rich)


def _shade(axes: Axes, stable: StableWindow, lowest: float) -> None:
    """Shade the stable window where it is narrower than the window of the elements."""
    if stable.energy_above_hull is None:
        return
    if stable.window is None or stable.limits is None:
        axes.set_xlabel(f"{axes.get_xlabel()}\n{stable.reason}")
        return
    low, high = (min(max(end, lowest), 0.0) for end in stable.window)
    inner = [(x, name) for x, name in zip((low, high), stable.limits, strict=True) if lowest < x < 0.0]
    if not inner:
        return
    axes.axvspan(low, high, color=STABLE, zorder=0, linewidth=0, label="stable")
    for x, name in inner:
        axes.axvline(x, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        # beyond the line, where the phase forms, unless there is no room
        left = (x == low and x - lowest > -_ROOM * lowest) or (x == high and -x < -_ROOM * lowest)
        axes.annotate(
            _phase_name(name), (x, 1), (-4 if left else 4, -5), ha="right" if left else "left",
            va="top", xycoords=("data", "axes fraction"), textcoords="offset points", color=GREY, rotation=90,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip


def _phase_name(name: str) -> str:
    formula, space, symbol = name.partition(" ")  # the numbers of a space group stay where they are
    return formula_mathtext(formula) + space + symbol
