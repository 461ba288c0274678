"""Where tables, notes and CSV are printed: colour on a terminal only, and a width that fits."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

    from workflows.report.table import Table

PIPE_WIDTH = 120
"""Width of tables that go to a file or another program (columns), unless COLUMNS sets another."""

TABLE_ROWS = 100  # rows of a table without --limit: more are not readable, and laying out 1,000 takes 2 s


def page(stderr: bool = False) -> Console:
    """Return the console that tables are printed on, without colour unless it is a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False, stderr=stderr)


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table, which chooses its layout by the width of the console; nothing is cut."""
    (console or page()).print(table, crop=False, overflow="ignore")


def print_text(text: str | Text, console: Console | None = None) -> None:
    """Print sentences, without rich's markup: on a terminal broken at spaces, elsewhere in one line."""
    from rich.text import Text

    from workflows.report.table import wrapped

    where = console or page()
    shown = text if isinstance(text, Text) else Text(text)
    for line in wrapped(shown, where.width) if where.is_terminal else [shown]:
        where.print(line, soft_wrap=True)


def print_facts(pairs: Sequence[tuple[str, str | Text]], console: Console | None = None) -> None:
    """Print names and values, without rich's markup; values are broken, at spaces, on a terminal only."""
    from rich.text import Text

    from workflows.report.table import card_lines

    where = console or page()
    texts = [(name, value if isinstance(value, Text) else Text(value)) for name, value in pairs]
    for line in card_lines(texts, where.width if where.is_terminal else None):
        where.print(line, soft_wrap=True)


def print_note(text: str) -> None:
    """Print a line about the result on stderr."""
    print(f"mgsurf: {text}", file=sys.stderr)


def print_csv(rows: Iterable[Mapping[str, Any]], header: Sequence[str], file: TextIO | None = None) -> None:
    """Print rows as CSV, on stdout or in a file, with the columns of `header`; other keys are left out."""
    import csv

    writer = csv.DictWriter(file or sys.stdout, header, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
