"""Tables on terminals of any width: columns while they fit, otherwise one card for each row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    Cell = str | Text


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    heading: str  # wraps at its spaces and newlines
    short: str = ""  # heading where room is short; the same if empty
    right: bool = False  # whether cells are aligned right, as numbers are
    wrap: bool = False  # whether cells may take several lines, broken at spaces only
    room: int = 0  # width of legible wrapped cells (columns); less where all are shorter
    once: bool = False  # whether a value equal to that in the row above is left blank
    # whether the column repeats another in a second unit and is dropped first where room is short
    spare: bool = False


@dataclass(frozen=True)
class _Layout:
    """Indices of the columns that are shown, their headings and widths, and the gap between them."""

    chosen: list[int]
    headings: list[str]
    widths: list[int]
    gap: int


@dataclass
class Table:
    """Rows of cells that rich prints at the width of its console.

    No number and no word is ever broken: a table too wide for the console is printed as cards, one line for
    each heading. A word longer than the console runs over its edge. Title and notes are printed above and
    below, broken at spaces.
    """

    columns: Sequence[Column]
    title: str = ""
    title_style: str = "bold"
    notes: list[str] = field(default_factory=list)
    rows: list[tuple[list[Text], str]] = field(default_factory=list)

    def add_row(self, *cells: Cell, style: str = "") -> None:
        """Append a row with one cell for each column; `style` is rich's, for the whole row."""
        from rich.text import Text

        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells in a table of {len(self.columns)} columns")
        self.rows.append(([cell if isinstance(cell, Text) else Text(cell) for cell in cells], style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines for a console; called by rich."""
        from rich.text import Text

        width = options.max_width
        for line in wrapped(Text(self.title, style=self.title_style), width) if self.title else []:
            yield _line(line)
        layout = self._fit(width)
        if layout is None:
            yield from self._cards(width)
        else:
            yield from self._lines(layout, "-" if options.ascii_only else "─")
        for note in self.notes:
            for line in wrapped(Text(note, style="dim"), width):
                yield _line(line)

    def markdown(self) -> list[str]:
        """Return the lines of a table in Markdown, padded to columns; without title and notes."""
        cells = [[" ".join(column.heading.split()) for column in self.columns]]
        cells += [[cell.plain for cell in row] for row, _ in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        return [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]

    def _fit(self, width: int) -> _Layout | None:
        """Choose columns, headings and widths; None if not even the least fits."""
        every = list(range(len(self.columns)))
        fewer = [i for i in every if not self.columns[i].spare]
        full = [column.heading for column in self.columns]
        short = [column.short or column.heading for column in self.columns]
        for chosen, names in ((every, full), (every, short), (fewer, short)):
            headings = [names[i] for i in chosen]
            natural = [self._natural(*pair) for pair in zip(chosen, headings, strict=True)]
            least = [self._least(*pair) for pair in zip(chosen, headings, strict=True)]
            for needed, gap in ((natural, 2), (natural, 1), (least, 2), (least, 1)):
                left = width - sum(needed) - gap * (len(chosen) - 1)
                if left >= 0:
                    return _Layout(chosen, headings, _grown(needed, natural, left), gap)
        return None

    def _natural(self, i: int, heading: str) -> int:
        """Width in which no cell wraps; the heading may wrap."""
        lines = [line for row, _ in self.rows for line in row[i].plain.split("\n")]
        return max(_longest(heading.split()), _longest(lines))

    def _least(self, i: int, heading: str) -> int:
        column, natural = self.columns[i], self._natural(i, heading)
        if not column.wrap:
            return natural
        words = [word for row, _ in self.rows for word in row[i].plain.split()]
        return max(_longest(heading.split()), _longest(words), min(natural, column.room))

    def _lines(self, layout: _Layout, rule: str) -> Iterator[Text]:
        from rich.text import Text

        yield from self._row([Text(heading, style="bold") for heading in layout.headings], layout)
        yield _line(Text(rule * (sum(layout.widths) + layout.gap * (len(layout.chosen) - 1))))
        above: list[str] = []
        for cells, style in self.rows:
            shown, same = [], True
            for i in layout.chosen:
                same = same and (not self.columns[i].once or (bool(above) and cells[i].plain == above[i]))
                shown.append(Text() if self.columns[i].once and same else cells[i])
            above = [cell.plain for cell in cells]
            yield from self._row(shown, layout, style)
        yield _line(Text())

    def _row(self, cells: Sequence[Text], layout: _Layout, style: str = "") -> Iterator[Text]:
        from rich.text import Text

        parts = [wrapped(cell, width) for cell, width in zip(cells, layout.widths, strict=True)]
        for number in range(max(map(len, parts))):
            line = Text(style=style)
            for place, (i, lines, width) in enumerate(zip(layout.chosen, parts, layout.widths, strict=True)):
                part = lines[number] if number < len(lines) else Text()
                padding = " " * (width - part.cell_len)
                right = self.columns[i].right
                line.append(" " * layout.gap if place else "").append(padding if right else "")
                line.append_text(part).append("" if right else padding)
            line.rstrip()
            yield _line(line)

    def _cards(self, width: int) -> Iterator[Text]:
        from rich.text import Text

        headings = [" ".join(column.heading.split()) for column in self.columns]
        for cells, style in self.rows:
            for column, cell in zip(self.columns, cells, strict=True):
                cell.no_wrap = not column.wrap
            pairs = [(name, cell) for name, cell in zip(headings, cells, strict=True) if cell.plain]
            yield from card_lines(pairs, width, style)
            yield _line(Text())


def card_lines(
    pairs: Sequence[tuple[str, Text]], width: int | None = None, style: str = ""
) -> Iterator[Text]:
    """Yield lines of names and values; long values, unless `no_wrap`, are broken at spaces and indented.

    `width` is that of the console (columns): values are not broken if None.
    """
    from rich.text import Text

    indent = max((len(name) for name, _ in pairs), default=0) + 2
    for name, value in pairs:
        room = None if width is None else width - indent
        pieces = [value.plain] if value.no_wrap else value.plain.split()
        beside = room is None or _longest(pieces) <= room
        if not beside:  # a long path or id has a line of its own
            for line in wrapped(Text(name, style="bold"), width or len(name)):
                yield _line(line)
            room, indent_here = (width or 0) - 2, 2
        else:
            indent_here = indent
        lines = [value] if room is None or value.no_wrap else wrapped(value, max(room, 1))
        for number, line in enumerate(lines):
            start = name if beside and number == 0 else ""
            text = Text(style=style)
            text.append(f"{start:<{indent_here}}", style="bold").append_text(line)
            text.rstrip()
            yield _line(text)


def wrapped(text: Text, width: int) -> list[Text]:
    """Break a text at spaces and newlines into lines of at most `width` columns; words stay whole."""
    from rich.cells import cell_len

    lines = []
    for paragraph in text.split("\n", allow_blank=True):
        breaks, used = [], 0
        for word in re.finditer(r"\S+\s*", paragraph.plain):
            if used and used + cell_len(word.group().rstrip()) > width:
                breaks.append(word.start())
                used = 0
            used += cell_len(word.group())
        for line in paragraph.divide(breaks):
            line.rstrip()
            lines.append(line)
    return lines


def _grown(least: Sequence[int], natural: Sequence[int], left: int) -> list[int]:
    """Share out columns that are left, always to the column that lacks most of what it would take."""
    widths = list(least)
    for _ in range(left):
        lacking = [most - width for most, width in zip(natural, widths, strict=True)]
        if max(lacking) <= 0:
            break
        widths[lacking.index(max(lacking))] += 1
    return widths


def _longest(parts: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max((cell_len(part) for part in parts), default=0)


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text


def with_sigma(value: float, sigma: float | None) -> str:
    """Write a value with as many decimals as two digits of its standard deviation."""
    import math

    if not sigma or not math.isfinite(sigma):
        return f"{value:.4g}"
    decimals = max(1 - math.floor(math.log10(sigma)), 0)
    return f"{value:.{decimals}f} ± {sigma:.{decimals}f}"
