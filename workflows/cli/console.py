"""Where tables are printed: colour on a terminal only, and a width that fits; --json or --csv instead."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 120
"""Width of tables that go to a file or another program (columns), unless COLUMNS says otherwise."""


def check_one_format(as_json: bool, as_csv: bool) -> None:
    """Raise an InputError if both ``--json`` and ``--csv`` are given."""
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; choose one")


def page() -> Console:
    """Return the console that tables are printed on.

    Returns
    -------
    rich.console.Console
        On stdout; without colour unless stdout is a terminal.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def simple_table(*headings: str, right: Collection[str] = (), fold: Collection[str] = ()) -> Table:
    """Return a table with a line below its headings and nothing else.

    Parameters
    ----------
    *headings
        Of its columns.
    right
        Those whose cells are numbers.
    fold
        Those whose cells may take several lines.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=heading not in fold,
            overflow="fold" if heading in fold else "ellipsis",
        )
    return table
