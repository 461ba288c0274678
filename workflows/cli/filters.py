"""Options that select stored surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from workflows.cli.completion import chemical_systems, formulas
from workflows.cli.options import FILTERS, OUTPUT, short_number
from workflows.report import surface_filter
from workflows.report.surface_filter import EnergyUnit

LARGEST_LIMIT = 10**9
"""Databases take no larger limit."""


def _databases_can_count(value: int | None) -> int | None:
    """Refuse a limit that a database cannot take; as a range of the option it would fill the help text."""
    if value is not None and value > LARGEST_LIMIT:
        raise typer.BadParameter(f"{value} is above the largest limit, {LARGEST_LIMIT}")
    return value


def _filter(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=FILTERS, **settings)


@dataclass(frozen=True)
class SurfaceFilter(surface_filter.SurfaceFilter):
    """The filters as options."""

    chemsys: Annotated[
        str | None,
        _filter(help="Chemical system, elements in any order: Mg-Ag.", autocompletion=chemical_systems),
    ] = None
    formula: Annotated[
        str | None, _filter(callback=short_number, autocompletion=formulas, help="Formula: MgAg, Mg2Ni.")
    ] = None
    element: Annotated[list[str] | None, _filter(help="Holds this element (may be repeated).")] = None
    miller: Annotated[
        str | None,
        _filter(metavar="HKL", callback=short_number, help="Plane: 110, 10-1, '1 0 -1', '(10-10)'."),
    ] = None
    termination: Annotated[str | None, _filter(help="Number or label of the termination: 0, Ag.")] = None
    min_surface_energy: Annotated[float | None, _filter(metavar="X", help="In --unit.")] = None
    max_surface_energy: Annotated[float | None, _filter(metavar="X", help="In --unit.")] = None
    unit: Annotated[EnergyUnit, _filter(help="Unit of the two options above.")] = EnergyUnit.EV_PER_A2
    min_work_function: Annotated[float | None, _filter(metavar="EV", help="In eV.")] = None
    max_work_function: Annotated[float | None, _filter(metavar="EV", help="In eV.")] = None
    verdict: Annotated[
        list[str] | None,
        _filter(
            metavar="[TARGET=]STATUS",
            help="accepted (both targets), or surface_energy=accepted, work_function=vacuum_not_flat, ... "
            "(may be repeated).",
        ),
    ] = None
    method: Annotated[str | None, _filter(help="Method fingerprint or its beginning: gpaw-demo.")] = None
    campaign: Annotated[str | None, _filter(metavar="NAME", help="Name of the campaign.")] = None
    since: Annotated[str | None, _filter(metavar="WHEN", help="Written since: 2026-01-31, 12h, 7d.")] = None
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="surface_energy, work_function, formula, ... ; -FIELD for descending. Records without the "
            "field come last.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=_databases_can_count,
            metavar="N",
            help="At most N records.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    raw: Annotated[
        str | None, _filter("--filter", metavar="JSON", help="Raw Mongo filter, joined to the others by AND.")
    ] = None
    labels: Annotated[bool, _filter("--labels", help="Also slabs brought in by mgsurf import.")] = False
