"""`mgsurf plot`: figures of the surfaces that pass the filters."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_note, print_table
from workflows.cli.filters import SurfaceFilter
from workflows.cli.options import FIGURES, OutputFile, PhaseChoice, StoreOption
from workflows.cli.query import SHOWN
from workflows.cli.typer_app import LOOK, app
from workflows.report.surface_filter import explain_empty, select

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from stores.surfaces import SurfaceStore
    from workflows.report.wulff import WulffReport

WULFF = "Wulff shape"
COMPOSITION = "Composition"

_CURVE = (*SHOWN, "surface_energy_slope", "chemical_potential_window", "bulk_id")
FIELDS = {
    "potential": (*SHOWN, "potential", "fermi_energy", "slab", "relaxed_slab", "work_function_sides"),
    "phase": _CURVE,
    "scatter": SHOWN,
    "wulff": _CURVE,
    "summary": _CURVE,
}
"""What each figure reads of a record; potentials and slabs are large and stay in the store otherwise."""

NO_LABELS = {"potential": "the planar potential", "phase": "the chemical potentials of a computed surface"}
"""Data that imported slabs lack, by the figure that needs them."""


class PlotKind(StrEnum):
    """Figure of `mgsurf plot`."""

    POTENTIAL = "potential"
    PHASE = "phase"
    SCATTER = "scatter"
    WULFF = "wulff"
    SUMMARY = "summary"
    COMPOSITION = "composition"


def _known_kind(value: str) -> str:
    # the argument is a text rather than a PlotKind, whose long list of choices would be cut in the help text
    if value not in set(PlotKind):
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(PlotKind)}")
    return value


@app.command(rich_help_panel=LOOK)
def plot(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            callback=_known_kind,
            autocompletion=lambda: list(PlotKind),
            help=f"What to draw: {', '.join(PlotKind)}.",
        ),
    ],
    filters: SurfaceFilter,
    target: OutputFile,
    store: StoreOption = None,
    dmu: Annotated[
        float | None,
        typer.Option(
            "--dmu",
            metavar="EV",
            help="Chemical potential of Mg relative to its metal (eV, negative) for the Wulff shape; "
            "0, Mg-rich, by default. Without Mg: of the less electronegative element.",
            rich_help_panel=WULFF,
        ),
    ] = None,
    x_rich: Annotated[
        bool, typer.Option("--x-rich", help="The Wulff shape at the X-rich end.", rich_help_panel=WULFF)
    ] = False,
    max_index: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=5,
            metavar="N",
            help="Report planes up to this Miller index that the Wulff shape lacks; else the largest in "
            "the store.",
            rich_help_panel=WULFF,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Cells: properties that vary alike (likeness) or of one kind (expert) together, or random.",
            rich_help_panel=COMPOSITION,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Cells and grey scale of this model of compositions, learned from its training set.",
            rich_help_panel=COMPOSITION,
        ),
    ] = None,
    *,
    phases: PhaseChoice,
) -> int:
    """Draw planar potentials, surface energies, work functions or Wulff shapes (PNG, PDF or SVG).

    The phase figure shades where the compound is stable against the other phases in the store.

    plot wulff also prints the shape's faces, its chemical potential and the planes it lacks.

    plot composition draws the grey-scale image of the alloy --formula that networks on compositions see.

    Examples: [cyan]mgsurf plot phase --formula MgAg -o phase.png[/cyan],
    [cyan]mgsurf plot wulff --formula MgAg --dmu -0.5[/cyan],
    [cyan]mgsurf plot potential --formula MgAg --miller 110[/cyan],
    [cyan]mgsurf plot composition --formula Mg65Cu25Y10[/cyan]
    """
    from workflows.cli.access import existing_store

    for name, given, kinds in (
        ("--phases", phases.phases is not None, ("phase", "wulff")),
        ("--dmu", dmu is not None, ("wulff",)),
        ("--x-rich", x_rich, ("wulff",)),
        ("--max-index", max_index is not None, ("wulff",)),
        ("--layout", layout is not None, ("composition",)),
        ("--model", model is not None, ("composition",)),
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
    path = target.checked(f"mgsurf_{kind}.png", FIGURES)
    if kind == "composition":
        _write(_composition(filters, layout, model, store), path)
        print(path)
        return 0
    filters.criteria()  # an unreadable filter is reported before a missing store
    with existing_store(store) as opened:
        with_slabs = ("slab",) if kind == "wulff" and filters.labels else ()
        found = select(opened, filters, (*FIELDS[kind], *with_slabs))
        if not found:
            print_note(explain_empty(opened, filters))
            return 1
        if kind == "wulff":
            from workflows.report.wulff import draw_wulff

            report = _wulff(found, opened, phases, dmu or 0.0, x_rich, max_index)
            figure = draw_wulff(report)
        else:
            figure = _figure(kind, found, opened, filters, phases)
    _write(figure, path)
    if kind == "wulff":
        from workflows.report.wulff import wulff_table

        print_table(wulff_table(report))
    print(path)
    return 0


def _write(figure: Figure, path: Path) -> None:
    from stores.files import replacing
    from workflows.report.style import save

    # a full disk leaves what was there before, not half a picture
    with replacing(path) as new:
        save(figure, new)


def _composition(filters: SurfaceFilter, layout: str | None, model: str | None, store: str | None) -> Figure:
    """Draw the image of a composition, as a model sees it, else by the elements and their 1:1 mixtures."""
    if layout is not None and model is not None:
        raise InputError("--layout and --model exclude each other: the model has an arrangement of its own")
    if filters.formula is None:
        raise InputError("plot composition draws an alloy; name it: --formula Mg65Cu25Y10")
    if replace(filters, formula=None).describe():
        raise InputError("plot composition reads no store; leave out all filters but --formula")
    from model.compositions.element_properties import element_properties
    from model.compositions.features import STATISTICS, composition_features
    from model.compositions.formulas import parse_composition, plain_composition
    from model.compositions.image import composition_images, property_cells, reference_features
    from model.data.composition_entries import canonical_formula
    from workflows.report.composition_image import composition_figure

    parsed = parse_composition(filters.formula)
    if parsed.note:
        print_note(parsed.note)
    features = composition_features([plain_composition(parsed.amounts)])
    if model is not None:
        from model.network.composition_network import CompositionNetwork
        from workflows.cli.access import chosen_ensemble
        from workflows.cli.learning import require_network

        require_network()
        ensemble, name = chosen_ensemble(model, store)
        network = ensemble.members[0].network
        if not isinstance(network, CompositionNetwork) or network.config.image == "none":
            raise InputError(f"{name}: sees no images of compositions; name a model of the preset mcvn")
        cells, *ends = (t.numpy() for t in (network.cells, network.darkest, network.brightest))
        layout, span = network.config.image, f"the training set of {name}"
    else:
        reference, layout = reference_features(), layout or "likeness"
        cells, ends = property_cells(reference, layout), [reference.min(axis=0), reference.max(axis=0)]
        span = "the elements 1 to 100 and their 1:1 mixtures"
    (images,) = composition_images(features, cells, *ends)
    caption = f"cells by {layout}; grey scale over {span}"
    table = element_properties()
    properties = list(zip(table.names, table.kinds, strict=True))
    formula = canonical_formula(parsed.amounts)  # any spelling can be read, not every one be set as a title
    return composition_figure(images, cells, properties, STATISTICS, formula, caption)


def _figure(
    kind: str, found: list[dict[str, Any]], store: SurfaceStore, filters: SurfaceFilter, choice: PhaseChoice
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
            print_note("the surfaces are of several crystals; no stable window is drawn")
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
    from workflows.report.wulff import wulff_report

    if all("source" in record for record in found):
        records, crystal, lines = _imported_facets(found)
        for line in lines:
            print_note(line)
        return wulff_report(records, crystal, dmu=dmu, x_rich=x_rich, max_index=max_index)
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


def _imported_facets(
    found: Sequence[dict[str, Any]],
) -> tuple[Sequence[dict[str, Any]], dict[str, Any], list[str]]:
    """Find from the slabs themselves which planes of which crystal they are.

    A source gives Miller indices seldom, and never in which cell; see
    `workflows.flows.learning.imported_crystals`.

    Returns the records whose plane is known, their crystal as a document, and notes.
    """
    from workflows.flows.learning.imported_crystals import imported_crystals

    sources = sorted({str(record["source"]) for record in found})
    if len(sources) > 1:
        methods = sorted({str(record["method_fingerprint"]) for record in found})
        raise InputError(
            f"Wulff shape: one source at a time, found {', '.join(sources)}; choose one with --method "
            f"{' or '.join(methods)}"
        )
    crystals, unknown = imported_crystals(found)
    if not crystals:
        raise InputError(
            f"Wulff shape: none of {pluralize(len(found), 'imported slab')} shows its crystal (too thin), so "
            "that their planes are not known; import thicker slabs"
        )
    if len(crystals) > 1:
        shown = "; ".join(
            f"{one.records[0]['formula']} {one.crystal.spacegroup_symbol} ({one.records[0]['compound']}, "
            f"{pluralize(len(one.records), 'slab')})"
            for one in crystals[:5]
        )
        first = crystals[0].records
        keys = {record["compound"] for record in first}
        # each relaxed slab has a volume of its own, and two crystals of a formula may have the same
        is_own = len(keys) == 1 and all(r["compound"] not in keys for c in crystals[1:] for r in c.records)
        ids = [record["source_id"] for record in first]
        one = {"compound": keys.pop()} if is_own else {"source_id": {"$in": ids}}
        raise InputError(
            f"Wulff shape: one crystal at a time, the imported slabs are of {shown}; choose one, such as "
            f"with --filter '{json.dumps(one)}'"
        )
    lines = [f"surface energies are those of {sources[0]}; planes and crystal are found from its slabs"]
    if unknown:
        ids = [str(record["source_id"]) for record in unknown]
        named = ", ".join(ids[:3]) + (" ..." if len(ids) > 3 else "")
        lines.append(f"{pluralize(len(ids), 'slab')} left out, too thin to show the crystal: {named}")
    return crystals[0].records, crystals[0].crystal.structure.as_dict(), lines


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
