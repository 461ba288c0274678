"""``mgsurf converge``: how thick a slab, how dense a mesh, how high a cut-off is enough."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.connections import resolve_store_uri
from stores.errors import InputError
from stores.settings_file import resolve_work_dir
from stores.structures.reading import show_notes
from workflows.analysis.convergence import converged_at, fit_thickness
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2
from workflows.cli.console import page, print_table, print_text
from workflows.cli.options import CrystalChoice
from workflows.execution.kept import kept_in_words, kept_of_run
from workflows.execution.listener import RunListener
from workflows.flows.convergence import SCANS, ScanPoint, SlabScan, thickness_series
from workflows.jobs.calculate import make_directory
from workflows.jobs.context import RunContext
from workflows.report.table import Column, Table
from workflows.structures.axes import axes_note
from workflows.structures.counting import facets_of
from workflows.structures.crystal import crystal_of
from workflows.structures.naming import format_plane, mg_first_formula, parse_miller

if TYPE_CHECKING:
    from rich.console import Console

GAMMA_TOLERANCE = 0.001
"""A surface energy is called settled within this of the last one (eV/A^2)."""

PHI_TOLERANCE = 0.02
"""A work function is called settled within this of the last one (eV)."""


def converge(
    structure: Path | None = None,
    *,
    prototype: str | None = None,
    formula: str | None = None,
    miller: str,
    termination: int = 0,
    symprec: float | None = None,
    scan: list[str],
    engine: str = "gpaw",
    preset: str = "demo",
    options: dict[str, Any] | None = None,
    store: str | None = None,
    work_dir: Path | None = None,
    output: Path | None = None,
    as_json: bool = False,
) -> int:
    """Scan settings for one slab and print tables; every calculation is kept in the store and reused.

    Parameters
    ----------
    structure
        File of the bulk crystal; else `formula` with `prototype`, or an element.
    prototype, formula
        As in a campaign file.
    miller, termination
        Which slab.
    symprec
        See `CrystalChoice`.
    scan
        Keys of `workflows.flows.convergence.SCANS`.
    engine, preset, options
        As in a campaign file.
    store, work_dir
        As in a campaign file.
    output
        Folder for one PNG per scan; none are drawn if None.
    as_json
        Print one JSON object instead of tables.

    Returns
    -------
    int
        Exit status 0.

    Raises
    ------
    MgsurfError
        If an argument is wrong or a calculation fails; finished points are kept.
    """
    unknown = [name for name in scan if name not in SCANS]
    if unknown:
        raise InputError(f"scan '{unknown[0]}' is unknown; choose from {', '.join(SCANS)}")
    bulk = CrystalChoice(prototype, formula, symprec).structure(structure)
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
        options=options or {},
    )
    make_directory(folder)
    runner = SlabScan(context, bulk, plane, termination)
    name = f"{mg_first_formula(bulk.composition)} {format_plane(plane, crystal.spacegroup_number)}"
    console = page(stderr=as_json)
    results = {}
    for kind in scan:
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


def _settled(points: list[ScanPoint]) -> tuple[float | None, float | None]:
    """Return the settings from which on surface energy and work function stay within the tolerances."""
    found: list[float | None] = []
    for name, tolerance in (("surface_energy", GAMMA_TOLERANCE), ("work_function", PHI_TOLERANCE)):
        known = [(p.setting, getattr(p, name)) for p in points if getattr(p, name) is not None]
        settings, values = [k[0] for k in known], [k[1] for k in known]
        found.append(converged_at(settings, values, tolerance) if len(known) > 1 else None)
    return found[0], found[1]


def scan_table(name: str, kind: str, points: list[ScanPoint]) -> Table:
    """Table of a scan: surface energy and work function at each setting."""
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
    print_table(scan_table(name, kind, points), console)
    for symbol, unit, tolerance, setting in zip(
        ("γ", "Φ"), ("eV/Å²", "eV"), (GAMMA_TOLERANCE, PHI_TOLERANCE), _settled(points), strict=True
    ):
        last = points[-1].setting
        settled = setting is not None and setting < last
        text = f"settled from {setting:.2f} on" if settled else "not settled before the last value"
        print_text(f"  {symbol}: {text} (within {tolerance:g} {unit})", console)
    if kind == "thickness":
        units, energies, area = thickness_series(points)
        fit = fit_thickness(units, energies, area)
        print_text(
            f"  fit over thickness (Fiorentini and Methfessel 1996): γ = {fit.surface_energy:.4f} "
            f"± {fit.surface_energy_error:.4f} eV/Å², E_bulk = {fit.bulk_energy:.5f} eV, "
            f"residual {1000 * fit.residual:.1f} meV",
            console,
        )


def _draw(name: str, kind: str, points: list[ScanPoint], output: Path) -> Path:
    from workflows.report.convergence_figure import scan_figure, thickness_figure
    from workflows.report.style import GAMMA_LABEL, save

    make_directory(output)
    picture = output / f"{re.sub(r'[^A-Za-z0-9-]+', '_', name).strip('_')}_{kind}.png"
    if kind == "thickness":
        figure = thickness_figure(name, *thickness_series(points))
    else:
        series = [
            (GAMMA_LABEL, [_number(p.surface_energy) for p in points], GAMMA_TOLERANCE),
            ("work function (eV)", [_number(p.work_function) for p in points], PHI_TOLERANCE),
        ]
        figure = scan_figure(name, [p.setting for p in points], series, SCANS[kind])
    save(figure, picture)
    return picture


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(kind: str, points: list[ScanPoint]) -> dict[str, Any]:
    gamma, phi = _settled(points)
    plain: dict[str, Any] = {
        "points": [asdict(point) for point in points],
        "surface_energy_settled_from": gamma,
        "work_function_settled_from": phi,
    }
    if kind == "thickness":
        plain["fit"] = asdict(fit_thickness(*thickness_series(points)))
    return plain
