"""The Typer application that the modules in `workflows.cli.commands` add their commands to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType

from stores.paths import expand_user

COMPUTE = "Compute"
QUEUE = "Compute on a queue"
LOOK = "Look at results"
LEARN = "Learn and predict"
LOOP = "Close the loop"
MEND = "Set up and fix"


class Command(TyperCommand):
    """A command whose paths may begin with ``~``, which shells leave as it is after ``--output=``."""

    def invoke(self, ctx: Any) -> Any:
        """Replace ``~`` in every path, then run the command."""
        for name, value in ctx.params.items():
            if isinstance(value, Path):
                ctx.params[name] = expand_user(value, name)
            elif isinstance(value, (list, tuple)):
                ctx.params[name] = [
                    expand_user(entry, name) if isinstance(entry, Path) else entry for entry in value
                ]
        return super().invoke(ctx)


class App(typer.Typer):
    """An application of such commands."""

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Declare a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **settings})


app = App(
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
