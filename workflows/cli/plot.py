"""`mgsurf plot`: figures of the surfaces that the filters pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.files import replacing
from workflows.cli.access import existing_store
from workflows.cli.query import SHOWN, explain_empty, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stores.surfaces import SurfaceStore
    from workflows.cli.filters import SurfaceFilter
    from workflows.cli.options import PhaseChoice
    from workflows.report.wulff_report import WulffReport

FORMATS = (".png", ".pdf", ".svg")

_CURVE = (*SHOWN, "surface_energy_slope", "chemical_potential_window", "bulk_id")
FIELDS = {
    "potential": (*SHOWN, "potential", "fermi_energy", "slab", "relaxed_slab", "work_function_sides"),
    "phase": _CURVE,
    "scatter": SHOWN,
    "wulff": _CURVE,
    "summary": _CURVE,
}
"""What each figure reads of a record; potentials and slabs are large and stay in the store otherwise."""


NO_LABELS = {
    "potential": "the planar potential",
    "phase": "the chemical potentials of a computed surface",
}
"""What figures that cannot be drawn of imported slabs need."""


def check_output(path: Path, overwrite: bool, suffixes: tuple[str, ...] = ()) -> Path:
    """Return the path if a file can be written there.

    Parameters
    ----------
    path
        Where to write.
    overwrite
        Whether a file that exists may be replaced.
    suffixes
        Endings that are known; any if empty.

    Raises
    ------
    InputError
        If it cannot; before the work that would be lost.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: the ending decides the format; choose one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first or choose another with --output")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; choose another --output or add --overwrite")
    return path


def draw(
    kind: str,
    filters: SurfaceFilter,
    output: Path | None,
    overwrite: bool,
    store_uri: str | None,
    phases: Path | None = None,
    phases_method: str | None = None,
    dmu: float | None = None,
    x_rich: bool = False,
    max_index: int | None = None,
) -> int:
    """Draw a figure and print its path.

    Parameters
    ----------
    kind
        One of `FIELDS`.
    filters
        Which surfaces.
    output
        PNG, PDF or SVG; ``mgsurf_KIND.png`` if None.
    overwrite
        Replace a file that exists.
    store_uri
        Value of ``--store``.
    phases, phases_method
        Lock file whose phases compete in the phase figure, and by whose energies; the store's if None.
    dmu, x_rich
        Chemical potential of the Wulff shape (eV): a value, or the X-rich end; Mg-rich if neither is given.
    max_index
        Planes up to this Miller index are expected in the Wulff shape.

    Returns
    -------
    int
        Exit status; 1 if no surface matches.
    """
    from workflows.cli.options import PhaseChoice

    choice = PhaseChoice(phases, phases_method)
    for name, given, kinds in (
        ("--phases", phases is not None, ("phase", "wulff")),
        ("--dmu", dmu is not None, ("wulff",)),
        ("--x-rich", x_rich, ("wulff",)),
        ("--max-index", max_index is not None, ("wulff",)),
    ):
        if given and kind not in kinds:
            where = " and ".join(f"plot {one}" for one in kinds)
            raise InputError(f"{name} belongs to {where}, not to plot {kind}; leave it out")
    if dmu is not None and x_rich:
        raise InputError("--dmu and --x-rich exclude each other; choose one")
    if filters.labels and kind in NO_LABELS:
        raise InputError(
            f"plot {kind} needs {NO_LABELS[kind]}, which imported slabs do not have; leave out --labels"
        )
    path = check_output(output or Path(f"mgsurf_{kind}.png"), overwrite, FORMATS)
    filters.criteria()
    with existing_store(store_uri) as store:
        with_slabs = ("slab",) if kind == "wulff" and filters.labels else ()
        found = select(store, filters, (*FIELDS[kind], *with_slabs))
        if not found:
            print(f"mgsurf: {explain_empty(store, filters)}", file=sys.stderr)
            return 1
        if kind == "wulff":
            from workflows.report.wulff_figure import draw_wulff

            report = _wulff(found, store, choice, dmu or 0.0, x_rich, max_index)
            figure = draw_wulff(report)
        else:
            figure = _figure(kind, found, store, filters, choice)
    from workflows.report.style import save

    # a full disk leaves what was there before, not half a picture
    with replacing(path) as new:
        save(figure, new)
    if kind == "wulff":
        from workflows.cli.console import print_table
        from workflows.report.wulff_report import wulff_table

        print_table(wulff_table(report))
    print(path)
    return 0


def _figure(
    kind: str,
    found: list[dict[str, Any]],
    store: SurfaceStore,
    filters: SurfaceFilter,
    choice: PhaseChoice,
) -> Figure:
    if kind == "potential":
        from workflows.report.potential import potential_figure

        return potential_figure(_only(found))
    if kind == "phase":
        from workflows.cli.stable_windows import windows_of
        from workflows.report.phase import chemical_potential_figure

        windows = list(dict.fromkeys(windows_of(store, found, choice)))
        figure = chemical_potential_figure(found, windows[0] if len(windows) == 1 else None)
        if len(windows) > 1:
            print("mgsurf: the surfaces are of several crystals; no stable window is drawn", file=sys.stderr)
        return figure
    if kind == "scatter":
        from workflows.report.scatter import scatter_figure

        return scatter_figure(found)
    from workflows.report.summary_figure import summary_figure

    return summary_figure(found, title=filters.campaign or "")


def _wulff(
    found: list[dict[str, Any]],
    store: SurfaceStore,
    choice: PhaseChoice,
    dmu: float,
    x_rich: bool,
    max_index: int | None,
) -> WulffReport:
    """Build the Wulff shape with what the store knows of other planes and of competing phases."""
    from workflows.cli.stable_windows import windows_of
    from workflows.report.wulff_report import wulff_report

    if all("source" in record for record in found):
        from workflows.cli.imported_wulff import imported_facets

        found, crystal, lines = imported_facets(found)
        for line in lines:
            print(f"mgsurf: {line}", file=sys.stderr)
        return wulff_report(found, crystal, dmu=dmu, x_rich=x_rich, max_index=max_index)
    if any("source" in record for record in found):
        raise InputError(
            "Wulff shape: computed or imported surfaces, not both; leave out --labels, or choose a source "
            "with --method imported-NAME"
        )
    bulk = next(store.query({"id": found[0]["bulk_id"]}, ["structure"], limit=1, collection="bulks"), None)
    if bulk is None:
        raise InputError(
            f"{found[0]['formula']}: its bulk {found[0]['bulk_id']} is not in {store.uri}; run the campaign "
            "again, or take another store"
        )
    own = {name: found[0][name] for name in ("bulk_id", "method_fingerprint")}
    known = list(store.query(own, (*SHOWN, "surface_energy_slope")))
    return wulff_report(
        found,
        bulk["structure"],
        dmu=dmu,
        x_rich=x_rich,
        known=known,
        max_index=max_index,
        stable=windows_of(store, found[:1], choice)[0],
    )


def _only(found: list[dict[str, Any]]) -> dict[str, Any]:
    if len(found) == 1:
        return found[0]
    from workflows.report.style import facet_text

    names = [f"{r['formula']} {facet_text(r)} {r['termination_label']}" for r in found[:5]]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    raise InputError(
        f"plot potential draws one surface, {len(found)} match: {', '.join(names)}{more}; narrow them with "
        "--formula, --miller, --termination, --method or --limit 1"
    )
