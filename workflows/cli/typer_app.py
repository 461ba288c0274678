"""The Typer application that the modules in `workflows.cli.commands` add their commands to."""

from __future__ import annotations

from typing import Annotated

import typer

COMPUTE = "Compute"
QUEUE = "Compute on a queue"
LOOK = "Look at results"
LEARN = "Learn and predict"
LOOP = "Close the loop"
MEND = "Set up and mend"

app = typer.Typer(
    name="mgsurf",
    help="Surface energies and work functions of Mg intermetallics: from a chemical system to records.",
    epilog="Start with `mgsurf doctor`, then `mgsurf run CAMPAIGN.yaml`.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mgsurf {version('mgsurf')}")
        except PackageNotFoundError:
            print("mgsurf (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
