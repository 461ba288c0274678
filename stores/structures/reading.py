"""Bulk structures from files, each one checked before anything is cut or computed from it."""

from __future__ import annotations

import codecs
import logging
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.input_files import load_json, read_bytes
from stores.paths import kind_of_path
from stores.structures.cell import MIN_DISTANCE, closest_overlap
from stores.structures.symbols import ISOTOPES, exact_symbol, isotope_note, plain_symbol
from stores.structures.vacuum import check_bulk

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

    from stores.structures.cif import CifCrystal


_CONTROL = bytes({*range(9), *range(14, 26), *range(27, 32), 127})
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes) -> str:
    r"""Return the text of a file with ``\n`` at the end of every line; a ValueError if it is no text.

    UTF-8, UTF-16 with a mark, or Latin-1: outside comments and names, structure files are plain ASCII.
    """
    if data.isascii():
        text = data.decode("ascii")
    elif data.startswith(_UTF16):
        text = data.decode("utf-16")  # UnicodeDecodeError is a ValueError
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        text = text.removeprefix("\ufeff")
    text = text.rstrip("\x1a\x00")  # ends of old DOS files and of padded ones
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    plain = text.encode("ascii", "ignore")
    if len(plain.translate(None, _CONTROL)) < len(plain) or (not plain.strip() and text.strip()):
        raise ValueError("not a text")
    return text


def read_extxyz(text: str, where: str, notes: list[str]) -> list[Structure]:
    """Read every frame of an extended XYZ file; `InputError` without periodic cell or element."""
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
    """Return the column of element symbols; None if the file has atomic numbers instead."""
    # Refused are ``Properties`` with more columns than the first atom has (ASE makes as many as are named)
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


LOG = logging.getLogger(__name__)
"""Gets a warning for each thing in which a structure is not simply what its file has; commands show it."""

FORMATS = "CIF (.cif), POSCAR, CONTCAR or .vasp, extended XYZ (.xyz, .extxyz), pymatgen JSON (.json)"
ATOM_INIT = "atom_init.json"  # features of elements in a folder of CGCNN, beside its structures

_MIN_FLATNESS = 1e-3  # volume over the product of the cell's edges
MAX_EDGE, _MAX_VOLUME = 1e3, 1e7  # A, A^3; in a larger cell the grid of neighbours fills the memory
MAX_FRACTION = 1e3  # a fractional coordinate beyond is a Cartesian one, or damaged


def is_structure_file(path: Path) -> bool:
    """Whether the name of a file is that of a structure in one of the formats read here."""
    name = path.name.lower()
    if name == ATOM_INIT:
        return False
    return _is_poscar(path) or name.endswith((".cif", ".xyz", ".extxyz", ".json"))


def _is_poscar(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(("poscar", "contcar")) or name.endswith((".vasp", ".poscar"))


def check_structure(structure: Structure, where: str) -> None:
    """Refuse a structure that no slab can be cut from; `where` it came from is named in the message.

    Raises
    ------
    InputError
        In one line, if it is empty, not periodic, has a flat cell, coordinates that are not finite, sites
        that are partly occupied, mixed or no element, or atoms that overlap: closer than 0.7 A or half the
        sum of their covalent radii (B. Cordero et al., Dalton Trans. 2832, 2008).
    """
    if len(structure) == 0:
        raise InputError(f"{where} holds no atoms: give a structure with at least one site")
    if not all(structure.lattice.pbc):
        raise InputError(f"{where} is not periodic in all three directions: give a bulk crystal")
    matrix = np.asarray(structure.lattice.matrix, dtype=float)
    if not np.all(np.isfinite(matrix)):
        raise InputError(f"{where}: the cell has entries that are not finite numbers: correct the lattice")
    edges = np.linalg.norm(matrix, axis=1)
    if np.any(edges == 0) or abs(np.linalg.det(matrix)) < _MIN_FLATNESS * np.prod(edges):
        raise InputError(
            f"{where}: the cell has no volume ({abs(np.linalg.det(matrix)):.2g} A^3): correct the lattice"
        )
    if edges.max() > MAX_EDGE or abs(np.linalg.det(matrix)) > _MAX_VOLUME:
        size = " x ".join(f"{edge:.4g}" for edge in edges)
        raise InputError(f"{where}: the cell of {size} A is too large: give lattice vectors in A")
    for i, site in enumerate(structure):
        _check_site(site, i, where)
    _check_distances(structure, where)


def _check_site(site: object, i: int, where: str) -> None:
    from pymatgen.core.periodic_table import DummySpecies

    species = site.species  # type: ignore[attr-defined]
    name = f"site {i + 1} ({species})"
    if len(species) != 1 or abs(sum(species.values()) - 1) > 1e-6:
        raise InputError(
            f"{where}: {name} is disordered or partly occupied: give an ordered structure, every site fully "
            "occupied by one element"
        )
    if any(isinstance(element, DummySpecies) for element in species):
        raise InputError(f"{where}: {name} is no element: correct its symbol")
    if not np.all(np.isfinite(site.frac_coords)):  # type: ignore[attr-defined]
        raise InputError(f"{where}: {name} has coordinates that are not finite numbers: correct them")
    farthest = float(np.abs(site.frac_coords).max())  # type: ignore[attr-defined]
    if farthest > MAX_FRACTION:
        raise InputError(f"{where}: {name} has the fractional coordinate {farthest:.3g}: correct it")


def _check_distances(structure: Structure, where: str) -> None:
    if min(structure.lattice.abc) < MIN_DISTANCE:
        raise InputError(
            f"{where}: overlapping atoms, the cell's edge of {min(structure.lattice.abc):.2g} A puts an atom "
            "on its own image: correct the lattice (A)"
        )
    numbers = np.array([site.specie.Z for site in structure])
    overlap = closest_overlap(numbers, structure.lattice.matrix, structure.frac_coords)
    if overlap is not None:
        i, j, distance = overlap
        raise InputError(
            f"{where}: overlapping atoms, site {i + 1} ({structure[i].specie}) and site {j + 1} "
            f"({structure[j].specie}) are {distance:.2f} A apart: remove one or correct the cell"
        )


def read_all(path: str | Path) -> list[Structure]:
    """Read and check every structure in a file; several only from CIF and extended XYZ.

    Returns and errors are those of `read_structure`, except that more than one structure is allowed.
    """
    path = Path(path)
    kind = kind_of_path(path)
    if kind == "folder":
        raise InputError(f"{path} is a folder: give a file in it")
    if not kind:
        raise InputError(f"{path} does not exist: check the path")
    if not is_structure_file(path):
        raise InputError(f"{path}: unknown kind of structure file: use {FORMATS}")
    text = _read_text(path)
    notes: list[str] = []
    found = _parse(path, text, notes)
    if not found:
        raise InputError(f"{path} holds no structure: give {FORMATS}")
    show_notes(notes)
    clean = []
    for number, structure in enumerate(found, start=1):
        check_structure(structure, str(path) if len(found) == 1 else f"{path} (structure {number})")
        clean.append(_bare(structure))
    return clean


def read_structure(path: str | Path) -> Structure:
    """Read one bulk structure from a file and check it.

    Parameters
    ----------
    path
        CIF, POSCAR/CONTCAR/.vasp, extended XYZ or pymatgen JSON, by its name.

    Returns
    -------
    Structure
        Lattice (A), elements and positions only: oxidation states, moments and the like are dropped.

    Raises
    ------
    InputError
        In one line, if the file is missing, unreadable, empty, of another kind, holds several structures, or
        its structure fails `check_structure` or `stores.structures.vacuum.check_bulk`.
    """
    found = read_all(path)
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} structures: keep one of them in the file")
    show_notes(check_bulk(found[0], str(path)))
    return found[0]


def structure_files(folder: str | Path) -> list[Path]:
    """Return the structure files of a folder and its subfolders, hidden ones left out, sorted by path."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: check the path")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and is_structure_file(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"{folder} holds no structure file: put in {FORMATS}")
    return files


_SHOWN: set[str] = set()


def show_notes(notes: list[str]) -> None:
    """Log what a reader did beyond reading, each line once in a process however often its file is read."""
    for note in notes:
        if note not in _SHOWN:
            _SHOWN.add(note)
            LOG.warning(note)


def read_cif_file(path: str | Path) -> list[CifCrystal]:
    """Read the crystals of a CIF as arrays, without the checks of `check_structure`."""
    from stores.structures.cif import read_cif

    path = Path(path)
    notes: list[str] = []
    found = read_cif(_read_text(path), str(path), notes)
    show_notes(notes)
    return found


def _read_text(path: Path) -> str:
    try:
        text = decode(read_bytes(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except ValueError as error:
        raise InputError(f"{path} is not a text file: give {FORMATS}") from error
    if not text.strip():
        raise InputError(f"{path} is empty: give a file with a structure")
    return text


def _bare(structure: Structure) -> Structure:
    from pymatgen.core.structure import Structure as PymatgenStructure

    numbers = [site.specie.Z for site in structure]
    return PymatgenStructure(structure.lattice.matrix, numbers, structure.frac_coords)


def _parse(path: Path, text: str, notes: list[str]) -> list[Structure]:
    name = path.name.lower()
    where = str(path)
    try:
        if name.endswith(".cif"):
            from stores.structures.cif import read_cif

            return [crystal.structure() for crystal in read_cif(text, where, notes)]
        if name.endswith((".xyz", ".extxyz")):
            return read_extxyz(text, where, notes)
        if _is_poscar(path):
            from stores.structures.poscar import read_poscar

            return [read_poscar(text, where, notes)]
        from stores.structures.document import structure_from_document

        return [structure_from_document(load_json(text), where, notes)]
    except InputError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{path} cannot be read in the format that its name implies ({why}): check the file"
        ) from error
