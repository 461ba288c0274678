"""`mgsurf doctor`: checks of what a campaign needs, and fixes for what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from stores.errors import pluralize
from workflows.cli.console import page, print_facts
from workflows.cli.options import JsonOption, StoreOption
from workflows.cli.typer_app import SETUP, app

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command(rich_help_panel=SETUP)
def doctor(
    store: StoreOption = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Engine to look at; vasp also where it is set up.")
    ] = "gpaw",
    as_json: JsonOption = False,
) -> int:
    """Check engine, MPI, PAW setups, store and disk, and report how to fix each.

    Example: [cyan]mgsurf doctor[/cyan]
    """
    from rich.text import Text

    from workflows.execution.doctor import run_checks, worst

    checks = run_checks(store, engine=engine)
    status = 1 if worst(checks) == "fail" else 0
    if as_json:
        # "mend" is the former key of the remedy
        print(json.dumps([{**asdict(check), "mend": check.remedy} for check in checks], indent=2))
        return status
    console = page()
    facts = [
        (check.name, Text.assemble((f"{check.status:<4}", STYLES[check.status]), "  ", check.found))
        for check in checks
    ]
    print_facts(facts, console)
    print()
    # below the table and unwrapped, so that a command can be copied
    for check in checks:
        if check.remedy:
            remedy = Text.assemble((f"{check.name}: ", STYLES[check.status]), check.remedy)
            console.print(remedy, soft_wrap=True)
    bad = sum(check.status == "fail" for check in checks)
    console.print(pluralize(bad, "problem") if bad else "everything a campaign needs is there", style="bold")
    return status
