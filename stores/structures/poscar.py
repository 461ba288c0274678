"""POSCAR files as VASP reads them (https://www.vasp.at/wiki/index.php/POSCAR)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.symbols import ISOTOPES, exact_symbol, isotope_note, plain_symbol

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

_COMMENT = re.compile(r"[!#].*")
_FLAG = re.compile(r"\.?[TF](RUE|ALSE)?\.?", re.IGNORECASE)


class _Lines:
    """The lines of a file without comments, counted for messages."""

    def __init__(self, text: str, where: str) -> None:
        self._lines = text.split("\n")
        self._where = where
        self.number = 0

    def next(self, what: str, *, blank: bool = False) -> str:
        """Return the next line that is not blank, or the very next one."""
        while self.number < len(self._lines):
            line = _COMMENT.sub("", self._lines[self.number])
            self.number += 1
            if blank or line.strip():
                return line
        raise InputError(f"{self._where} ends before {what}: complete it")

    def numbers(self, what: str, count: int = 3) -> list[float]:
        """Return the first numbers of the next line."""
        words = self.next(what).replace(",", " ").split()
        try:
            values = [fortran_number(word) for word in words[:count]]
        except ValueError:
            values = []
        if len(values) < count:
            raise self.error(f"has no {count} numbers for {what}: correct it")
        return values

    def error(self, problem: str) -> InputError:
        """Return an error about the line that was read last."""
        shown = self._lines[self.number - 1].strip()[:60]
        return InputError(f"{self._where}, line {self.number} ({shown}) {problem}")


def fortran_number(word: str) -> float:
    """Read a number as Fortran does, exponents also with D; a ValueError if it is none or not finite."""
    value = float(re.sub(r"(?<=[\d.])[dDqQ](?=[+-]?\d)", "e", word))
    if "_" in word or not np.isfinite(value):
        raise ValueError(word)
    return value


def read_poscar(text: str, where: str, notes: list[str]) -> Structure:
    """Read a POSCAR or CONTCAR with the names of its elements (VASP 5 and later).

    One scale factor multiplies the lattice and Cartesian coordinates, a negative one is the volume of the
    cell (A^3), three scale their x, y and z components. What follows the coordinates is ignored.

    Raises
    ------
    InputError
        Naming the line, if it is no such file or names no elements.
    """
    from pymatgen.core import Lattice, Structure

    lines = _Lines(text, where)
    lines.next("the comment line", blank=True)
    scales = _scales(lines)
    rows = np.array([lines.numbers("a lattice vector") for _ in range(3)])
    scale = _scale(scales, rows, lines)
    names, counts = _species(lines)
    mode = lines.next("the line Direct or Cartesian")
    selective = mode.strip()[0] in "sS"
    if selective:
        mode = lines.next("the line Direct or Cartesian")
    if re.match(r"\s*[-+.\d]", mode):
        raise lines.error("should be Direct or Cartesian: add that line before the coordinates")
    cartesian = mode.strip()[0] in "cCkK"
    if cartesian and mode[0].isspace():
        # only the first character of the line counts for VASP
        raise lines.error("begins with a blank, so that VASP reads it as Direct: remove the blank")
    positions, ends = [], []
    for i in range(sum(counts)):
        positions.append(lines.numbers(f"the coordinates of atom {i + 1} of {sum(counts)}"))
        ends.append(_COMMENT.sub("", text.split("\n", lines.number)[lines.number - 1]).split()[3:])
    if names is None:
        names = _labels(ends, counts, selective, where)
    symbols = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    heavy = {f"atom {i}": symbol for i, symbol in enumerate(symbols, start=1) if symbol in ISOTOPES}
    if heavy:
        notes.append(f"{where}: {isotope_note(heavy)}")
    coordinates = np.array(positions).reshape(-1, 3)
    return Structure(
        Lattice(rows * scale),
        [plain_symbol(symbol) for symbol in symbols],
        coordinates * scale if cartesian else coordinates,
        coords_are_cartesian=cartesian,
    )


def _scales(lines: _Lines) -> list[float]:
    words = lines.next("the scale factor").replace(",", " ").split()
    scales = []
    for word in words[:3]:
        try:
            scales.append(fortran_number(word))
        except ValueError:
            break
    if len(scales) not in (1, 3):
        raise lines.error("should be one scale factor or three: correct it")
    if 0 in scales or (len(scales) == 3 and min(scales) < 0):
        raise lines.error("has a scale factor that VASP refuses: write positive ones, or one negative volume")
    return scales


def _scale(scales: list[float], rows: NDArray[np.float64], lines: _Lines) -> NDArray[np.float64]:
    """Return the factors of the x, y and z components."""
    if len(scales) == 1 and scales[0] < 0:
        volume = abs(float(np.linalg.det(rows)))
        if not volume:
            raise lines.error("ends lattice vectors without volume: correct them")
        return np.full(3, (-scales[0] / volume) ** (1 / 3))
    return np.array(scales if len(scales) == 3 else scales * 3)


def _species(lines: _Lines) -> tuple[list[str] | None, list[int]]:
    """Return the elements of the groups, None if the file has no line of them, and their numbers of atoms."""
    names = None
    words = lines.next("the line of element symbols").split()
    if not words[0].isdecimal():
        names = []
        for word in words:
            # potentials may stand for elements: Mg_pv, or Mg_pv with its hash
            symbol = exact_symbol(word.split("/")[0].split("_")[0])
            if symbol is None:
                raise lines.error(f"has {word}, no element: write element symbols, one for each count below")
            names.append(symbol)
        words = lines.next("the line of atom counts").split()
    counts = []
    for word in words:
        if not word.isdecimal():
            break
        counts.append(int(word))
    if not counts or 0 in counts:
        raise lines.error("should be the numbers of atoms, one for each element, none of them 0: correct it")
    if names is not None and len(names) != len(counts):
        raise lines.error(
            f"has {len(counts)} numbers of atoms, but the line above {len(names)} elements: correct either"
        )
    return names, counts


def _labels(ends: list[list[str]], counts: list[int], selective: bool, where: str) -> list[str]:
    """Return the elements of a file without their line (VASP 4), from labels behind the coordinates."""
    refusal = InputError(
        f"{where} names no elements: write their symbols above the line of counts (VASP 5 format)"
    )
    labels = [end[3:] if selective else end for end in ends]
    groups, start = [], 0
    for count in counts:
        group = {exact_symbol(words[0]) if words and not _FLAG.fullmatch(words[0]) else None
                 for words in labels[start : start + count]}  # fmt: skip
        symbol = group.pop()
        if symbol is None or group:
            raise refusal
        groups.append(symbol)
        start += count
    return groups
