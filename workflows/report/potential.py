"""Figure of the planar-averaged potential with Fermi energy, vacuum levels and the slab's atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.structures.vacuum import find_vacuum
from stores.verdicts import verdict_status
from workflows.analysis.work_function import PLATEAU_START, WorkFunction, work_function
from workflows.report.style import (
    GREY,
    LIGHT,
    PALETTE,
    facet_mathtext,
    figure_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def potential_figure(record: Mapping[str, Any], ax: Axes | None = None) -> Figure:
    """Draw V - E_F along the normal over one period, the slab whole and in the middle.

    The ranges the vacuum levels are read from are shaded and marked with the work function of their
    side; the atoms are drawn below the curve, seen from the side, unless axes are given.

    Raises
    ------
    InputError
        If the stored record has no potential or Fermi energy.
    """
    curve, fermi = record.get("potential"), record.get("fermi_energy")
    structure = record.get("relaxed_slab") or record["slab"]
    if not curve or fermi is None:
        raise InputError(
            f"{record['formula']} {record['miller_index']}: the record holds no planar potential "
            f"(work function: {verdict_status(record, 'work_function')}); run the facet's static calculation"
        )
    heights, sideways, symbols, period = _atoms(structure)
    gap = find_vacuum(heights, period)
    z, potential = np.asarray(curve["z"]), np.asarray(curve["potential"]) - fermi
    start = gap.bottom - gap.width / 2
    place = np.mod(z - start, period)
    order = np.argsort(place)
    result = work_function(z, curve["potential"], heights, fermi, period)

    with styled():
        if ax is None:
            axes, strip = new_figure(6.6, 4.3).subplots(2, 1, sharex=True, height_ratios=[5, 1])
            _draw_atoms(strip, gap.heights - start, sideways, symbols)
        else:
            axes = strip = ax
        axes.set_title(f"{facet_mathtext(record, with_formula=True)}: planar-averaged potential")
        axes.plot(place[order], potential[order], color=PALETTE[0])
        axes.axhline(0, color="#202124", linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(
            "$E_F$", (1, 0), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center",
        )  # fmt: skip
        axes.set_ylabel(r"$V - E_F$ (eV)")
        axes.margins(x=0, y=0.12)
        _mark_plateaus(axes, result, start, period)
        rejected = verdict_status(record, "work_function")
        if rejected != "accepted":
            axes.text(
                0.5, 0.97, f"work function rejected: {rejected.replace('_', ' ')}",
                transform=axes.transAxes, ha="center", va="top", color=PALETTE[1],
            )  # fmt: skip
        strip.set_xlim(0, period)
        strip.set_xlabel("height along the surface normal (Å)")
        return figure_of(axes)


def _atoms(structure: Mapping[str, Any]) -> tuple[Floats, Floats, list[str], float]:
    """Heights and sideways positions (A), symbols and the cell's height (A) of a stored structure."""
    matrix = np.asarray(structure["lattice"]["matrix"], dtype=float)
    area = np.linalg.norm(np.cross(matrix[0], matrix[1]))
    period = float(abs(np.linalg.det(matrix)) / area)
    fractional = np.array([site["abc"] for site in structure["sites"]], dtype=float)
    symbols = [str(site["species"][0]["element"]) for site in structure["sites"]]
    sideways = np.mod(fractional[:, 0] + 1e-6, 1.0) * np.linalg.norm(matrix[0])
    return fractional[:, 2] * period, sideways, symbols, period


def _mark_plateaus(axes: Axes, result: WorkFunction, start: float, period: float) -> None:
    if result.plateaus is None or result.sides is None:
        axes.text(
            0.5, 0.06, "vacuum too thin for a plateau", transform=axes.transAxes, ha="center",
            color=PALETTE[1],
        )  # fmt: skip
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.10 * (high - low))
    for plateau, value, at_left in zip(result.plateaus, result.sides, (True, False), strict=True):
        left = np.mod(plateau.start - start + 1e-6, period) - 1e-6
        right = left + plateau.end - plateau.start
        axes.axvspan(left, right, color=PALETTE[4], alpha=0.25, linewidth=0)
        axes.plot([left, right], [value, value], color=PALETTE[1], linewidth=2.2)
        middle = (left + right) / 2
        axes.annotate(
            "", (middle, value), (middle, 0),
            arrowprops={"arrowstyle": "<->", "color": GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        axes.annotate(
            rf"$\Phi$ = {value:.3f} eV", (left if at_left else right, value),
            (3 if at_left else -3, 6), textcoords="offset points", ha="left" if at_left else "right",
            color=PALETTE[1],
        )  # fmt: skip
    shown = f"shaded: from {PLATEAU_START:g} Å beyond the outermost atom to mid-vacuum"
    axes.text(0.5, 0.03, shown, transform=axes.transAxes, ha="center", color=GREY, fontsize=7.5)


def _draw_atoms(strip: Axes, heights: Floats, sideways: Floats, symbols: list[str]) -> None:
    elements = sorted(set(symbols), key=lambda symbol: (symbol != "Mg", symbol))
    for number, element in enumerate(elements):
        chosen = np.array([symbol == element for symbol in symbols])
        strip.scatter(
            heights[chosen], sideways[chosen], s=46, color=PALETTE[(2, 3, 5, 6)[number % 4]],
            edgecolor="#202124", linewidth=0.5, label=element, clip_on=False, zorder=3,
        )  # fmt: skip
    for height in np.unique(heights.round(2)):
        strip.axvline(height, color=LIGHT, linewidth=0.8, zorder=1)
    width = max(float(np.ptp(sideways)), 1.0)
    strip.set_ylim(sideways.min() - 0.35 * width, sideways.max() + 0.35 * width)
    strip.set_yticks([])
    strip.grid(False)
    strip.set_ylabel("atoms", rotation=0, ha="right", va="center")
    strip.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1, borderpad=0)
