"""Commands that show what a store holds.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stores.errors import InputError
from workflows.cli.filters import SurfaceFilter
from workflows.cli.options import (
    OUTPUT,
    CsvOption,
    JsonOption,
    MethodOption,
    OutputOption,
    OverwriteOption,
    PhaseChoice,
    ProjectOption,
    QuietOption,
    StoreOption,
)
from workflows.cli.typer_app import LOOK, app

WULFF = "Wulff shape"


class PlotKind(StrEnum):
    """What `mgsurf plot` can draw."""

    POTENTIAL = "potential"
    PHASE = "phase"
    SCATTER = "scatter"
    WULFF = "wulff"
    SUMMARY = "summary"


class AuditCheck(StrEnum):
    """What `mgsurf audit` looks for, see `model.audit.finding.CHECKS`."""

    RANGE = "range"
    BULK_ENERGY = "bulk-energy"
    OUTLIER = "outlier"
    DUPLICATES = "duplicates"
    ORDER = "order"


class ExportFormat(StrEnum):
    """What `mgsurf export` can write."""

    CSV = "csv"
    JSONL = "jsonl"
    EXTXYZ = "extxyz"
    ASE = "ase"
    CGCNN = "cgcnn"


def figure_kind(value: str) -> str:
    """Refuse a figure that `mgsurf plot` does not know.

    The argument is a text rather than a `PlotKind`, whose long list of choices would be cut in the help text.

    Raises
    ------
    typer.BadParameter
        Lists the choices.
    """
    if value not in set(PlotKind):
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(PlotKind)}")
    return value


@app.command(rich_help_panel=LOOK)
def status(
    campaign: Annotated[
        Path | None, typer.Argument(metavar="[CAMPAIGN.yaml]", help="Only this campaign, and its store.")
    ] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> int:
    """Count what is done, running, failed and unconverged; with --project, of a campaign on a queue.

    Examples: [cyan]mgsurf status quickstart.yaml[/cyan],
    [cyan]mgsurf status campaign.yaml --project cluster[/cyan]
    """
    if project is not None:
        from workflows.cli.remote import show_remote_status

        return show_remote_status(campaign, project, as_json)
    from workflows.cli.status import show_status

    return show_status(campaign, store, as_json)


import workflows.cli.query  # noqa: E402, F401


@app.command(rich_help_panel=LOOK)
def plot(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            callback=figure_kind,
            autocompletion=lambda: list(PlotKind),
            help=f"What to draw: {', '.join(PlotKind)}.",
        ),
    ],
    filters: SurfaceFilter,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    store: StoreOption = None,
    dmu: Annotated[
        float | None,
        typer.Option(
            "--dmu",
            metavar="EV",
            help="Chemical potential of Mg relative to its metal (eV, negative) for the Wulff shape; "
            "0, Mg-rich, by default.",
            rich_help_panel=WULFF,
        ),
    ] = None,
    x_rich: Annotated[
        bool,
        typer.Option("--x-rich", help="The Wulff shape at the X-rich end.", rich_help_panel=WULFF),
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
    *,
    phases: PhaseChoice,
) -> int:
    """Draw planar potentials, surface energies, work functions or Wulff shapes (PNG, PDF or SVG).

    The phase figure shades where the compound is stable against the other phases in the store.

    plot wulff also prints the shape's faces, its chemical potential and the planes it lacks.

    Examples: [cyan]mgsurf plot phase --formula MgAg -o phase.png[/cyan],
    [cyan]mgsurf plot wulff --formula MgAg --dmu -0.5[/cyan],
    [cyan]mgsurf plot potential --formula MgAg --miller 110[/cyan]
    """
    from workflows.cli.plot import draw

    return draw(
        kind, filters, output, overwrite, store, phases.phases, phases.phases_method, dmu, x_rich, max_index
    )


@app.command(rich_help_panel=LOOK)
def export(
    format: Annotated[ExportFormat, typer.Argument(help="Format of the file or folder.")],
    filters: SurfaceFilter,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    relaxed: Annotated[
        bool,
        typer.Option("--relaxed", help="The relaxed slabs, not those as cut.", rich_help_panel=OUTPUT),
    ] = False,
    include_rejected: Annotated[
        bool,
        typer.Option(
            "--include-rejected", help="Also values whose verdict is not accepted.", rich_help_panel=OUTPUT
        ),
    ] = False,
    store: StoreOption = None,
) -> int:
    """Write surfaces for other programs: CSV, JSON lines, extended XYZ, ASE database, CGCNN folder.

    Examples: [cyan]mgsurf export csv -o surfaces.csv[/cyan],
    [cyan]mgsurf export cgcnn --verdict accepted -o dataset/[/cyan]
    """
    from workflows.cli.export import write_export

    return write_export(
        format.value,
        filters,
        output,
        overwrite=overwrite,
        relaxed=relaxed,
        include_rejected=include_rejected,
        store_uri=store,
    )


@app.command(rich_help_panel=LOOK)
def audit(
    check: Annotated[
        list[AuditCheck] | None,
        typer.Option(
            "--check", metavar="NAME", help=f"Only this check (may be repeated): {', '.join(AuditCheck)}."
        ),
    ] = None,
    compound: Annotated[
        list[str] | None,
        typer.Option(
            "--compound", metavar="FORMULA", help="Only findings on this compound (may be repeated)."
        ),
    ] = None,
    reject: Annotated[
        bool,
        typer.Option(
            "--reject",
            help="Keep faulty labels out of training, with the reason; with --check or --compound also "
            "suspect ones.",
        ),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="NAME", help="Undo --reject: a formula, a record id, or all."),
    ] = None,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="List the labels that are kept out, and why.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Find outliers by the intervals of this model: a folder or champion."
        ),
    ] = None,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> int:
    """Find faulty labels: wrong bulk energies, outliers, duplicates that disagree, reversed facets.

    Labels are compared with those of similar compounds in the same store,
    computed or imported; nothing is excluded without --reject.

    Examples: [cyan]mgsurf audit --output audit.png[/cyan],
    [cyan]mgsurf audit --check bulk-energy --reject[/cyan], [cyan]mgsurf audit --accept Mg3La[/cyan]
    """
    from workflows.cli.audit import accept_labels, audit_labels, show_excluded

    if sum(map(bool, (reject, accept, excluded))) > 1:
        raise InputError("--reject, --accept and --excluded exclude each other; choose one")
    if accept:
        return accept_labels(accept, store)
    if excluded:
        return show_excluded(store, as_json)
    return audit_labels(
        store=store,
        method=method,
        model=model,
        checks=[one.value for one in check or []],
        compounds=compound or [],
        output=output,
        overwrite=overwrite,
        reject=reject,
        quiet=quiet,
        as_json=as_json,
        as_csv=as_csv,
    )
