"""`mgsurf query`: surfaces of the store as a table, JSON or CSV."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workflows.cli.console import TABLE_ROWS, print_csv, print_note, print_table
from workflows.cli.filters import SurfaceFilter
from workflows.cli.options import STABILITY, PhaseChoice, StoreOption, TableFormat
from workflows.cli.typer_app import LOOK, app
from workflows.report.surface_filter import count_selected, explain_empty, select
from workflows.report.tables import ROW_FIELDS, flat_rows, rows, surface_table

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = (*ROW_FIELDS, "spacegroup_number")
"""Fields that are read from the store; the space group decides whether a plane is written hkil."""


@app.command(rich_help_panel=LOOK)
def query(
    filters: SurfaceFilter,
    store: StoreOption = None,
    *,
    shown: TableFormat,
    stable_window: Annotated[
        bool,
        typer.Option(
            "--stable-window",
            help="Add the chemical potentials at which the compound is stable against all other phases of "
            "its method in the store, and the surface energy there.",
            rich_help_panel=STABILITY,
        ),
    ] = False,
    phases: PhaseChoice,
) -> int:
    """Find facets and show their surface energies, work functions and verdicts.

    Examples: [cyan]mgsurf query --chemsys Mg-Ag --sort surface_energy[/cyan],
    [cyan]mgsurf query --formula MgAg --stable-window[/cyan],
    [cyan]mgsurf query --miller 110 --min-work-function 4 --verdict accepted[/cyan],
    [cyan]mgsurf query --filter '{"n_atoms": {"$lt": 10}}' --json[/cyan]
    """
    from workflows.cli.access import existing_store

    filters.criteria()  # an unreadable filter is reported before a missing store
    shortened = filters.limit is None and not (shown.as_json or shown.as_csv)
    if shortened:
        filters = replace(filters, limit=TABLE_ROWS)
    with_windows = stable_window or phases.phases is not None
    fields: tuple[str, ...] = SHOWN
    if with_windows:
        from workflows.analysis.stability_window import StableWindow
        from workflows.cli.stable_windows import SURFACE_FIELDS, windows_of
        from workflows.report.tables import flat_window_fields, stable_window_table, window_fields

        fields = tuple(dict.fromkeys((*SHOWN, *SURFACE_FIELDS)))
    with existing_store(store) as opened:
        found = select(opened, filters, fields)
        windows = windows_of(opened, found, phases) if with_windows else []
        remark = "" if found else explain_empty(opened, filters)
        if shortened and len(found) == TABLE_ROWS and (total := count_selected(opened, filters)) > TABLE_ROWS:
            remark = f"{TABLE_ROWS} of {total} surfaces shown; --limit {total}, --json or --csv show all"
    if shown.as_json:
        import json

        plain = rows(found)
        if filters.labels:
            plain = [r | _source(s) for r, s in zip(plain, found, strict=True)]
        if with_windows:
            plain = [r | window_fields(s, w) for r, s, w in zip(plain, found, windows, strict=True)]
        print(json.dumps(plain, indent=2))
    elif shown.as_csv:
        # an empty result still has its header
        lines, header = flat_rows(found), flat_rows([{}])[0]
        if filters.labels:
            lines = [r | _source(s) for r, s in zip(lines, found, strict=True)]
            header |= _source({})
        if with_windows:
            lines = [r | flat_window_fields(s, w) for r, s, w in zip(lines, found, windows, strict=True)]
            header |= flat_window_fields({}, StableWindow(None))
        print_csv(lines, list(header))
    elif found:
        ordered = filters.sort is None
        if with_windows:
            print_table(stable_window_table(found, windows, sort=ordered))
        else:
            print_table(surface_table(found, sort=ordered))
    if remark:
        print_note(remark)
    return 0


def _source(surface: Mapping[str, Any]) -> dict[str, Any]:
    """Return where an imported slab comes from; None for computed surfaces."""
    return {"source": surface.get("source"), "source_id": surface.get("source_id")}
