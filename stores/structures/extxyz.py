"""Extended XYZ files: read by ASE, after their element symbols were read as in all other formats."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.structures.symbols import ISOTOPES, exact_symbol, isotope_note, plain_symbol

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


def read_extxyz(text: str, where: str, notes: list[str]) -> list[Structure]:
    """Read every frame of an extended XYZ file.

    Parameters
    ----------
    text
        Content of the file.
    where
        Its name, for messages.
    notes
        A line about hydrogen isotopes is appended.

    Raises
    ------
    InputError
        If a frame has no periodic cell or a symbol is no element.
    """
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    structures = []
    for atoms in read(StringIO(_with_plain_symbols(text, where, notes)), index=":", format="extxyz"):
        if not all(atoms.pbc) or atoms.cell.rank < 3:
            raise InputError(
                f'{where} has no periodic cell: write Lattice="..." and pbc="T T T" on the comment line'
            )
        structures.append(AseAtomsAdaptor.get_structure(atoms))
    return structures


def _with_plain_symbols(text: str, where: str, notes: list[str]) -> str:
    """Return the text with correctly capitalised symbols, isotopes as H."""
    lines = text.split("\n")
    start = 0
    heavy: dict[str, str] = {}
    while start < len(lines) and lines[start].strip():
        stated, there = lines[start].strip(), len(lines) - start - 2
        # ASE reads as many lines as are stated, also behind the end of the file
        if not stated.isdecimal() or len(stated) > 9 or int(stated) > there:
            raise InputError(
                f"{where}, line {start + 1}: {stated[:30]!r} should be the number of atoms, of which "
                f"{max(there, 0)} lines at most follow behind the comment: correct it"
            )
        count = int(stated)
        words = lines[start + 2].split() if count else []
        column = _symbol_column(lines[start + 1], len(words), f"{where}, line {start + 2}")
        for i in range(start + 2, start + 2 + count):
            words = lines[i].split()
            if column is None or len(words) <= column or words[column].isdecimal():
                continue
            symbol = exact_symbol(words[column])
            if symbol is None:
                raise InputError(f"{where}, line {i + 1}: {words[column]} is no element: correct its symbol")
            if symbol in ISOTOPES:
                heavy[f"line {i + 1}"] = symbol
            words[column] = plain_symbol(symbol)
            lines[i] = " ".join(words)
        start += 2 + count
        while start < len(lines) and lines[start].lstrip().startswith("VEC"):  # the cell, in old files
            start += 1
    if heavy:
        notes.append(f"{where}: {isotope_note(heavy)}")
    return "\n".join(lines)


def _symbol_column(comment: str, n_words: int, where: str) -> int | None:
    """Return the column of element symbols; None if the file has atomic numbers instead.

    Raises
    ------
    InputError
        If ``Properties`` names more columns than the first atom has (ASE makes as many as are named).
    """
    from ase.io.extxyz import key_val_str_to_dict

    stated = {name.lower(): value for name, value in key_val_str_to_dict(comment).items()}.get("properties")
    if stated is None:
        return 0
    words = str(stated).split(":")
    column, found, most = 0, None, n_words or 1000
    for name, width in zip(words[0::3], words[2::3], strict=False):
        if name.lower() in ("species", "symbols") and found is None:
            found = column
        column += int(width) if width.isdecimal() and len(width) < 10 else most + 1
        if column > most:
            raise InputError(
                f"{where}: Properties names {width[:12]} columns for {name[:30]}, more than the {n_words} of "
                "the first atom: correct it"
            )
    return found
