"""Where tables are printed: colour on a terminal only, and a width that fits."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Width of tables that go to a file or another program (columns), unless COLUMNS says otherwise."""


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
