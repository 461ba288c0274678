"""Tables of text from any program: cells separated by commas, semicolons or tabs, quoted or not.

UTF-8 or, with a byte order mark, UTF-16; lines ending in LF, CRLF or CR. Where semicolons or tabs separate,
the decimal sign may be a comma.
"""

from __future__ import annotations

import csv
import io
import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.input_files import LARGEST, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Lines of cells."""

    # number of the line in the file, and its cells without surrounding blanks; empty lines are left out
    lines: list[tuple[int, list[str]]]
    separator: str  # one of `SEPARATORS`

    def number(self, cell: str) -> float | None:
        """Return the number in a cell, None if it is empty; raises InputError if it holds anything else."""
        if not cell:
            return None
        if self.separator != "," and _DECIMAL_COMMA.fullmatch(cell):
            cell = cell.replace(",", ".")
        try:
            value = float(cell)
        except ValueError:
            advice = "; write a decimal point" if _DECIMAL_COMMA.fullmatch(cell) else ""
            raise InputError(f"{cell[:40]!r} is no number{advice}; left out") from None
        if not math.isfinite(value):
            raise InputError(
                f"{cell[:40]!r} is no finite number; left out (an unknown value is an empty cell)"
            )
        if not _NUMBER.fullmatch(cell):  # Python reads 1_000, too
            raise InputError(f"{cell[:40]!r} is no number; left out")
        return value


def read_table(path: Path, is_id: Callable[[str], bool]) -> Table:
    """Read a table; the separator is the one by which most lines become a known id (`is_id`) and numbers.

    Raises
    ------
    InputError
        If the file is no text, is empty, or has decimal commas and decimal points.
    """
    raw = read_bytes(path)
    try:
        text = raw.decode(_encoding(raw))
    except UnicodeDecodeError:
        raise InputError(f"{path} is no UTF-8 text; save it as UTF-8.") from None
    table = max(_tables(path, text), key=lambda table: _fits(table, is_id))  # the first of equal ones
    if not table.lines:
        raise InputError(f"{path} is empty; write one line for each slab: id,target,...")
    _one_decimal_sign(path, table)
    return table


def read_headed_table(path: Path, wanted: Collection[str]) -> tuple[Table, list[str]]:
    """Read a table with a header line; return its other lines, and the names of its columns.

    The separator is the one by which the header has most of the `wanted` columns, then most columns at all.
    What is no UTF-8 is read as Latin-1. InputError if it is empty, or has decimal commas and decimal points.
    """
    raw = read_bytes(path, LARGEST)
    try:
        text = raw.decode(_encoding(raw))
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{path} is no text; save the table as a CSV file.")

    def fits(table: Table) -> tuple[int, int]:
        header = table.lines[0][1] if table.lines else []
        return len(set(header) & set(wanted)), len(header)

    table = max(_tables(path, text), key=fits)
    if len(table.lines) < 2:
        raise InputError(f"{path} has no line below its header; write one line for each composition.")
    _one_decimal_sign(path, table)
    return Table(table.lines[1:], table.separator), table.lines[0][1]


def _encoding(raw: bytes) -> str:
    return "utf-16" if raw[:2] in (BOM_UTF16_BE, BOM_UTF16_LE) else "utf-8-sig"


def _tables(path: Path, text: str) -> list[Table]:
    """Split a text by each separator that it may have."""
    first_number = 1
    if stated := re.match(r"sep=([,;\t])\s*?(\r\n|\r|\n)", text):  # a hint that Excel writes and reads
        text, first_number = text[stated.end() :], 2
    separators = [stated[1]] if stated else [s for s in SEPARATORS if s in text] or [","]
    return [_split(path, text, separator, first_number) for separator in separators]


def _split(path: Path, text: str, separator: str, first_number: int) -> Table:
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator)
    try:
        rows = [(reader.line_num + first_number - 1, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        line = reader.line_num + first_number - 1
        raise InputError(f"{path}, line {line}: {error}; save the file as plain CSV.") from None
    return Table([(number, cells) for number, cells in rows if any(cells)], separator)


def _fits(table: Table, is_id: Callable[[str], bool]) -> tuple[int, int, int]:
    """How well a separator explains the lines: by known ids, numbers and cells."""
    several = [cells for _, cells in table.lines if len(cells) > 1]
    numeric = sum(
        all(
            not cell or _NUMBER.fullmatch(cell) or (table.separator != "," and _DECIMAL_COMMA.fullmatch(cell))
            for cell in cells[1:]
        )
        for cells in several
    )
    return sum(is_id(cells[0]) for cells in several), numeric, len(several)


def _one_decimal_sign(path: Path, table: Table) -> None:
    """Refuse a file where 1,234 may be 1.234 or 1234: one with decimal commas and decimal points."""
    if table.separator == ",":
        return
    comma = point = None
    for number, cells in table.lines:
        for cell in cells[1:]:
            if comma is None and _DECIMAL_COMMA.fullmatch(cell):
                comma = (number, cell)
            elif point is None and "." in cell and _NUMBER.fullmatch(cell):
                point = (number, cell)
    if comma and point:
        raise InputError(
            f"{path}: line {comma[0]} has a decimal comma ({comma[1]}) and line {point[0]} a decimal point "
            f"({point[1]}); write all numbers in one way."
        )
