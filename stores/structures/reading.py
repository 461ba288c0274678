"""Bulk structures from files, each one checked before anything is cut or computed from it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.input_files import read_bytes
from stores.nesting import load_json
from stores.structures.encoding import decode
from stores.structures.overlaps import MIN_DISTANCE, closest_overlap
from stores.structures.vacuum import check_bulk

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

    from stores.structures.cif import CifCrystal

LOG = logging.getLogger(__name__)
"""Gets a warning for each thing in which a structure is not simply what its file has; commands show it."""

FORMATS = "CIF (.cif), POSCAR, CONTCAR or .vasp, extended XYZ (.xyz, .extxyz), pymatgen JSON (.json)"
ATOM_INIT = "atom_init.json"
"""Features of elements in a folder of CGCNN, beside its structures."""

_MIN_FLATNESS = 1e-3  # volume over the product of the cell's edges
MAX_EDGE, _MAX_VOLUME = 1e3, 1e7  # A, A^3; in a larger cell the grid of neighbours fills the memory
MAX_FRACTION = 1e3  # a fractional coordinate beyond is a Cartesian one, or damaged


def is_structure_file(path: Path) -> bool:
    """Tell by its name whether a file holds a structure in one of the formats read here."""
    name = path.name.lower()
    if name == ATOM_INIT:
        return False
    return _is_poscar(path) or name.endswith((".cif", ".xyz", ".extxyz", ".json"))


def _is_poscar(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(("poscar", "contcar")) or name.endswith((".vasp", ".poscar"))


def check_structure(structure: Structure, where: str) -> None:
    """Refuse a structure that no slab can be cut from.

    Parameters
    ----------
    structure
        A bulk crystal.
    where
        Where it came from, for the message, e.g. the file's name.

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
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file in it")
    if not path.exists():
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
        CIF, POSCAR/CONTCAR/.vasp, extended XYZ or pymatgen JSON, told by its name.

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
    """Read the crystals of a CIF as arrays, without the checks of `check_structure`.

    Raises
    ------
    InputError
        As `stores.structures.cif.read_cif`, or if the file cannot be read.
    """
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
            from stores.structures.extxyz import read_extxyz

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
