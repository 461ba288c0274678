"""`mgsurf converge`: how thick a slab, how dense a mesh, how high a cut-off is enough."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from enum import StrEnum
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError
from workflows.cli.console import page, print_table, print_text
from workflows.cli.options import (
    CrystalChoice,
    JsonOption,
    OutputOption,
    StoreOption,
    StructureArgument,
    short_number,
)
from workflows.cli.typer_app import COMPUTE, app
from workflows.report.table import Column, Table
from workflows.report.tables import EV_PER_A2_IN_J_PER_M2

if TYPE_CHECKING:
    from rich.console import Console

    from workflows.flows.convergence import ScanPoint

GAMMA_TOLERANCE = 0.001  # a surface energy is called settled within this of the last one (eV/A^2)
PHI_TOLERANCE = 0.02  # a work function is called settled within this of the last one (eV)


class ScanKind(StrEnum):
    """Setting that `mgsurf converge` varies."""

    THICKNESS = "thickness"
    K_DENSITY = "k_density"
    CUTOFF = "cutoff"
    VACUUM = "vacuum"


@app.command(rich_help_panel=COMPUTE)
def converge(
    structure: StructureArgument = None,
    *,
    choice: CrystalChoice,
    miller: Annotated[str, typer.Option(metavar="HKL", callback=short_number, help="The plane.")] = "001",
    termination: Annotated[int, typer.Option(min=0, help="Number of the termination.")] = 0,
    scan: Annotated[
        list[ScanKind] | None,
        typer.Option(
            metavar="NAME", help=f"What to vary: {', '.join(ScanKind)} (may be repeated); all by default."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="Engine.")] = "gpaw",
    preset: Annotated[str, typer.Option(metavar="NAME", help="Its preset: demo, production.")] = "demo",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Setting of the engine (may be repeated): cutoff=340, ranks=2."
        ),
    ] = None,
    store: StoreOption = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Raw files of the engine; else MGSURF_WORK_DIR, else ./mgsurf_runs."
        ),
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> int:
    """Vary slab thickness, k density, cut-off and vacuum of one facet: table and plot.

    Every calculation is kept in the store and reused.

    Example: [cyan]mgsurf converge --formula Mg --miller 0001 --scan thickness[/cyan]
    """
    from stores.connections import resolve_store_uri
    from stores.settings_file import resolve_work_dir
    from stores.structures.reading import show_notes
    from workflows.execution.kept import kept_in_words, kept_of_run
    from workflows.execution.listener import RunListener
    from workflows.flows.convergence import SlabScan
    from workflows.jobs.calculate import make_directory
    from workflows.jobs.context import RunContext
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import axes_note, facets_of
    from workflows.structures.naming import format_plane, mg_first_formula, parse_miller

    options = engine_options(option or [])
    bulk = choice.structure(structure)
    plane = parse_miller(miller)
    crystal = crystal_of(bulk)
    facets = facets_of(crystal, 1, [plane])
    if structure is not None:
        show_notes(axes_note(crystal, facets, structure.name))
    folder = resolve_work_dir(work_dir)
    context = RunContext(
        store=resolve_store_uri(store, None),
        work_dir=str(folder),
        engine=engine,
        preset=preset,
        options=options,
    )
    make_directory(folder)
    runner = SlabScan(context, bulk, plane, termination)
    name = f"{mg_first_formula(bulk.composition)} {format_plane(plane, crystal.spacegroup_number)}"
    console = page(stderr=as_json)
    results = {}
    for kind in (one.value for one in scan or ScanKind):
        with (
            RunListener(console, folder, quiet=as_json) as listener,
            kept_in_words(kept_of_run(listener.tally, folder, context.make_engine())),
        ):
            points = list(runner.points(kind))
        results[kind] = points
        if not as_json:
            _print_scan(console, name, kind, points)
        if output is not None:
            picture = _draw(name, kind, points, output)
            print_text(f"picture  {picture}", console)
    if as_json:
        print(json.dumps({kind: _plain(kind, points) for kind, points in results.items()}, indent=2))
    return 0


def engine_options(texts: list[str]) -> dict[str, Any]:
    """Return engine settings from texts ``KEY=VALUE``, the values as YAML reads them.

    Raises
    ------
    InputError
        If one has another form, is there twice, or its value is not a single number, truth value or text.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(f"--option: {text[:60]!r} cannot be read; write KEY=VALUE, such as cutoff=340")
        if key in options:
            raise InputError(f"--option: {key} is there twice; keep one of them")
        options[key] = _yaml_scalar(key, value)
    return options


def _yaml_scalar(key: str, text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, OverflowError):
        value = {}
    if not isinstance(value, (str, bool, int, float, type(None))):
        raise InputError(
            f"--option: the value of {key} is no single number, truth value or text: {text[:60]!r}; "
            "settings of another form go into a campaign file"
        )
    return value


def _settled(points: list[ScanPoint]) -> tuple[float | None, float | None]:
    """Return the settings from which on surface energy and work function stay within the tolerances."""
    from workflows.analysis.convergence import converged_at

    found: list[float | None] = []
    for name, tolerance in (("surface_energy", GAMMA_TOLERANCE), ("work_function", PHI_TOLERANCE)):
        known = [(p.setting, getattr(p, name)) for p in points if getattr(p, name) is not None]
        settings, values = [k[0] for k in known], [k[1] for k in known]
        found.append(converged_at(settings, values, tolerance) if len(known) > 1 else None)
    return found[0], found[1]


def scan_table(name: str, kind: str, points: list[ScanPoint]) -> Table:
    """Table of a scan: surface energy and work function at each setting."""
    from workflows.flows.convergence import SCANS

    headings = (SCANS[kind], "γ\neV/Å²", "γ\nJ/m²", "Φ\neV")
    table = Table([Column(heading, right=True) for heading in headings], title=f"{name}: {kind}")
    for point in points:
        gamma, phi = point.surface_energy, point.work_function
        table.add_row(
            f"{point.setting:.2f}",
            "" if gamma is None else f"{gamma:.4f}",
            "" if gamma is None else f"{gamma * EV_PER_A2_IN_J_PER_M2:.3f}",
            "no plateau" if phi is None else f"{phi:.3f}",
        )
    return table


def _print_scan(console: Console, name: str, kind: str, points: list[ScanPoint]) -> None:
    from workflows.analysis.convergence import fit_thickness
    from workflows.flows.convergence import thickness_series

    print_table(scan_table(name, kind, points), console)
    for symbol, unit, tolerance, setting in zip(
        ("γ", "Φ"), ("eV/Å²", "eV"), (GAMMA_TOLERANCE, PHI_TOLERANCE), _settled(points), strict=True
    ):
        last = points[-1].setting
        settled = setting is not None and setting < last
        text = f"settled from {setting:.2f} on" if settled else "not settled before the last value"
        print_text(f"  {symbol}: {text} (within {tolerance:g} {unit})", console)
    if kind == "thickness":
        fit = fit_thickness(*thickness_series(points))
        print_text(
            f"  fit over thickness (Fiorentini and Methfessel 1996): γ = {fit.surface_energy:.4f} "
            f"± {fit.surface_energy_error:.4f} eV/Å², E_bulk = {fit.bulk_energy:.5f} eV, "
            f"residual {1000 * fit.residual:.1f} meV",
            console,
        )


def _draw(name: str, kind: str, points: list[ScanPoint], output: Path) -> Path:
    from workflows.flows.convergence import SCANS, thickness_series
    from workflows.jobs.calculate import make_directory
    from workflows.report.convergence_figure import scan_figure, thickness_figure
    from workflows.report.style import GAMMA_LABEL, save

    make_directory(output)
    picture = output / f"{re.sub(r'[^A-Za-z0-9-]+', '_', name).strip('_')}_{kind}.png"
    if kind == "thickness":
        figure = thickness_figure(name, *thickness_series(points))
    else:
        series = [
            (label, [nan if (value := getattr(p, name)) is None else value for p in points], tolerance)
            for label, name, tolerance in (
                (GAMMA_LABEL, "surface_energy", GAMMA_TOLERANCE),
                ("work function (eV)", "work_function", PHI_TOLERANCE),
            )
        ]
        figure = scan_figure(name, [p.setting for p in points], series, SCANS[kind])
    save(figure, picture)
    return picture


def _plain(kind: str, points: list[ScanPoint]) -> dict[str, Any]:
    from workflows.analysis.convergence import fit_thickness
    from workflows.flows.convergence import thickness_series

    gamma, phi = _settled(points)
    plain: dict[str, Any] = {
        "points": [asdict(point) for point in points],
        "surface_energy_settled_from": gamma,
        "work_function_settled_from": phi,
    }
    if kind == "thickness":
        plain["fit"] = asdict(fit_thickness(*thickness_series(points)))
    return plain
