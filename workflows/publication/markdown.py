"""Tables and numbers in Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a blank line behind it; empty without rows."""
    lines = [" | ".join(plain(value).replace("|", "\\|") for value in row) for row in rows]
    if not lines:
        return ""
    return (
        "\n".join(f"| {line} |" for line in [" | ".join(header), " | ".join(["---"] * len(header)), *lines])
        + "\n\n"
    )


def plain(value: object) -> str:
    """Return a text on one line, without tags and links; code in backticks is left as it is."""
    text = " ".join(str(value).split())
    return text if re.fullmatch("`[^`]*`", text) else re.sub(r"([\\\[])", r"\\\1", text).replace("<", "&lt;")


def number(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:.4g}"


def word(name: str) -> str:
    """Return a name such as negative or vacuum_not_flat as words."""
    return name.replace("_", " ")
