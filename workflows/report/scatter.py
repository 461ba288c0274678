"""Figure of surface energy against work function."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.report.labels import label_points
from workflows.report.style import (
    GAMMA_LABEL,
    GREY,
    MARKERS,
    PALETTE,
    PHI_LABEL,
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
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 60  # of more facets only those on the Pareto front are labelled

_OTHERS = "#BDC1C6"
_ROOMY = 14  # Up to this many facets labels are set in larger type
_COLUMN, _MOST_GROUPS = 20, 40  # entries in a column of the legend, and in all of it


def pareto_front(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """List the accepted facets that no other beats in both low surface energy and high work function.

    Ordered by surface energy; facets with equal values all count.
    """
    good = [r for r in records if is_accepted(r, "surface_energy", "work_function")]
    front: list[Mapping[str, Any]] = []
    for record in sorted(good, key=lambda r: (r["surface_energy"], -r["work_function"])):
        gamma, phi = record["surface_energy"], record["work_function"]
        last = (front[-1]["surface_energy"], front[-1]["work_function"]) if front else (gamma, phi)
        if phi > last[1] or (gamma, phi) == last:
            front.append(record)
    return front


def scatter_figure(records: Iterable[Mapping[str, Any]], ax: Axes | None = None) -> Figure:
    """Draw the Mg-rich surface energy against the work function of every facet.

    Facets with a rejected value are hollow. The grey steps are the Pareto front: no accepted facet has
    both a lower surface energy and a higher work function. One colour for each compound, or for each
    plane if there is only one compound; of more than 40 only those on the Pareto front, the others are grey.
    All facets of the Pareto front are labelled, the others where there is room; none of them if there are
    more than `MOST_LABELS` facets.

    Raises
    ------
    InputError
        If no record has both values.
    """
    known = [r for r in records if r.get("surface_energy") is not None and r.get("work_function") is not None]
    if not known:
        raise InputError("surface energy against work function: no record has both; widen the filter")
    known.sort(key=sort_key)
    formulas = list(dict.fromkeys(r["formula"] for r in known))
    single = len(formulas) == 1
    groups = list(dict.fromkeys(_group(r, single) for r in known))
    front = pareto_front(known)
    n_others = 0
    if len(groups) > _MOST_GROUPS:
        named = list(dict.fromkeys(_group(r, single) for r in front))[:_MOST_GROUPS]
        n_others, groups = len(groups) - len(named), named

    with styled():
        axes = axes_or_new(ax, 7.0 if len(groups) + n_others > 1 else 6.0, 4.8)
        for number, group in enumerate([*groups, ""] if n_others else groups):
            if group:
                members = [r for r in known if _group(r, single) == group]
                color = PALETTE[number % len(PALETTE)]
                marker = MARKERS[(number // len(PALETTE)) % len(MARKERS)]
                plane = {**members[0], "termination_label": ""}
                label = facet_mathtext(plane) if single else formula_mathtext(group)
            else:
                members = [r for r in known if _group(r, single) not in groups]
                color, marker = _OTHERS, "o"
                label = f"{n_others} other {'planes' if single else 'compounds'}"
            for good in (True, False):
                chosen = [r for r in members if is_accepted(r, "surface_energy", "work_function") == good]
                axes.scatter(
                    [r["surface_energy"] for r in chosen], [r["work_function"] for r in chosen], s=44,
                    marker=marker, facecolor=color if good else "none", edgecolor=color, linewidth=1.3,
                    zorder=3,
                )  # fmt: skip
            axes.scatter([], [], s=44, marker=marker, color=color, label=label)
        if any(not is_accepted(r, "surface_energy", "work_function") for r in known):
            axes.scatter([], [], s=44, facecolor="none", edgecolor=GREY, linewidth=1.3, label="rejected")
        if len(front) > 1:
            axes.step(
                [r["surface_energy"] for r in front], [r["work_function"] for r in front], where="post",
                color=GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=2, label="Pareto front",
            )  # fmt: skip
        axes.margins(0.13)
        axes.set_xlabel(GAMMA_LABEL)
        axes.set_ylabel(PHI_LABEL)
        what = formula_mathtext(formulas[0]) if single else f"{len(formulas)} compounds"
        title = f"{what}: surface energy against work function"
        if len(known) > _ROOMY:
            axes.set_title(f"{title}\n ")  # room for a line about the labels
        add_joule_axis(axes, horizontal=True)
        add_legend(axes, ax, "right upper", ncols=-(-len(groups) // _COLUMN), handletextpad=0.3)
        important = {id(r) for r in front}
        ordered = [*front, *(r for r in known if id(r) not in important)]
        wanted = ordered if len(ordered) <= MOST_LABELS else front
        labelled = label_points(
            axes,
            [(r["surface_energy"], r["work_function"]) for r in ordered],
            [facet_mathtext(r, with_formula=not single) for r in wanted],
            required=len(front),
            fontsize=8 if len(ordered) <= _ROOMY else 7,
            lines=_steps(front),
        )
        if len(labelled) < len(known):
            note = f"{len(labelled)} of {len(known)} facets are labelled"
            title += f"\n{note}{': the Pareto front' if wanted is front else ''}"
        axes.set_title(title)
        return figure_of(axes)


def _steps(front: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    corners = [(r["surface_energy"], r["work_function"]) for r in front]
    lines = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        lines += [((x0, y0), (x1, y0)), ((x1, y0), (x1, y1))]
    return lines


def _group(record: Mapping[str, Any], single: bool) -> str:
    return str(tuple(record["miller_index"])) if single else str(record["formula"])
