"""`mgsurf doctor`: checks of what a campaign needs, and fixes for what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from stores.errors import counted
from workflows.cli.console import page, print_facts

if TYPE_CHECKING:
    from workflows.execution.checks import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(store_uri: str | None, as_json: bool, engine: str = "gpaw") -> int:
    """Print each check, its result and the fix.

    Parameters
    ----------
    store_uri
        Value of ``--store``.
    as_json
        Instead of a table.
    engine
        Name of the engine.

    Returns
    -------
    int
        Exit status: 1 if a check failed, else 0.
    """
    from workflows.execution.doctor import run_checks, worst

    checks = run_checks(store_uri, engine=engine)
    if as_json:
        print(json.dumps([{**asdict(check), "mend": check.remedy} for check in checks], indent=2))
    else:
        _print(checks)
    return 1 if worst(checks) == "fail" else 0


def _print(checks: list[Check]) -> None:
    from rich.text import Text

    console = page()
    print_facts(
        [
            (check.name, Text.assemble((f"{check.status:<4}", STYLES[check.status]), "  ", check.found))
            for check in checks
        ],
        console,
    )
    print()
    # below the table and unwrapped, so that a command can be copied
    for check in checks:
        if check.remedy:
            console.print(
                Text.assemble((f"{check.name}: ", STYLES[check.status]), check.remedy), soft_wrap=True
            )
    bad = sum(check.status == "fail" for check in checks)
    console.print(counted(bad, "problem") if bad else "everything a campaign needs is there", style="bold")
