"""Structures in plain documents: JSON files, records, responses of servers. They are data and nothing else.

pymatgen's own reader (`Structure.from_dict`) hands the properties of sites to monty, which imports whatever
module a document names under ``@module``. Here every key that is read stands in this file; no other has an
effect.
"""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.structures.symbols import ISOTOPES, exact_symbol, isotope_note, plain_symbol, symbol_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

MAX_SITES = 5_000
"""Sites of the largest document that is read: 25 times the largest slab that is cut by default."""
FULL_OCCUPANCY = 1e-3  # an occupancy this close to 1 is 1
_CONTRADICTION = 0.02  # A; two descriptions of one position or length that differ by more disagree
_FLAT = 1e-6  # of a cell's volume, squared, in units of its edges
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_CHARGE = re.compile(r"\d*\.?\d*[+-]$")  # of Mg2+, O2-, Mg0+


@dataclass(frozen=True, eq=False)
class PlainStructure:
    """A periodic, ordered structure as arrays."""

    numbers: NDArray[np.int64]  # [N] int64, atomic numbers; isotopes of hydrogen are hydrogen
    lattice: NDArray[np.float64]  # [3, 3], lattice vectors as rows (A)
    fractional: NDArray[np.float64]  # [N, 3], coordinates
    pbc: tuple[bool, bool, bool]  # whether it is periodic along each lattice vector
    charge: float | None  # of the cell (e)
    # by name one value for each site: numbers, booleans and lists of them, None where a site has none.
    # Anything else in a document is left out
    site_properties: dict[str, list[Any]]


def structure_from_document(document: Any, where: str, notes: list[str] | None = None) -> Structure:
    """Return the structure in a document that pymatgen wrote (``Structure.as_dict``), as `read_document`.

    Species are elements without oxidation states.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.periodic_table import Element
    from pymatgen.core.structure import Structure as PymatgenStructure

    plain = read_document(document, where, notes)
    elements = {number: Element.from_Z(number) for number in set(plain.numbers.tolist())}
    return PymatgenStructure(
        Lattice(plain.lattice, pbc=plain.pbc),
        [elements[number] for number in plain.numbers.tolist()],
        plain.fractional,
        charge=plain.charge,
        site_properties=plain.site_properties or None,
    )


def read_document(document: Any, where: str, notes: list[str] | None = None) -> PlainStructure:
    """Read the layout of pymatgen's ``Structure.as_dict``, of any verbosity and age.

    Parameters
    ----------
    document
        Plain values: ``lattice`` with ``matrix``, or ``a, b, c`` (A), ``alpha, beta, gamma`` (degrees), and
        ``pbc``; ``sites`` with ``species`` (a list of ``{element, occu}``, or a symbol) or ``label``, and
        ``abc`` (fractional) or ``xyz`` (A); ``charge``; numbers in ``properties`` of sites.
    where
        What it is, for messages, e.g. a file's name.
    notes
        A line about hydrogen isotopes is appended.

    Raises
    ------
    InputError
        In one line, naming the place in the document, e.g. ``sites[3].abc``, if something is missing, is of
        another kind or not finite, a site is no element or disordered, or ``matrix`` and ``a, b, c`` or
        ``abc`` and ``xyz`` contradict each other.
    """
    if not isinstance(document, dict) or not {"lattice", "sites"} <= document.keys():
        raise InputError(
            f"{where} is not a pymatgen structure (no lattice and sites): write Structure.to('x.json')"
        )
    sites = document["sites"]
    if not isinstance(sites, list | tuple) or not all(isinstance(site, dict) for site in sites):
        raise InputError(f"{where}: sites is no list of objects: write Structure.to('x.json')")
    if len(sites) > MAX_SITES:
        raise InputError(f"{where} has {len(sites)} sites: give a structure of at most {MAX_SITES}")
    lattice, pbc = _lattice(document["lattice"], where)
    charge = document.get("charge")
    if charge is not None and not _is_number(charge):
        raise InputError(f"{where}: charge is {_shown(charge)}: write a finite number or leave it out")
    return PlainStructure(
        numbers=np.array(_numbers(sites, where, notes), dtype=np.int64),
        lattice=lattice,
        fractional=_positions(sites, lattice, where),
        pbc=pbc,
        charge=charge,
        site_properties=_properties(sites),
    )


def _lattice(document: Any, where: str) -> tuple[NDArray[np.float64], tuple[bool, bool, bool]]:
    if not isinstance(document, dict):
        raise InputError(f"{where}: lattice is {_shown(document)}: write an object with a matrix (A)")
    pbc = document.get("pbc", (True, True, True))
    if not isinstance(pbc, list | tuple) or len(pbc) != 3 or not all(isinstance(p, bool) for p in pbc):
        raise InputError(f"{where}: lattice.pbc is {_shown(pbc)}: write three of true and false")
    periodic = (pbc[0], pbc[1], pbc[2])
    parameters: list[Any] = [document.get(name) for name in _PARAMETERS]
    if "matrix" in document:
        rows = document["matrix"]
        if not isinstance(rows, list | tuple) or len(rows) != 3:
            raise InputError(
                f"{where}: lattice.matrix is {_shown(rows)}: write three rows of three numbers (A)"
            )
        matrix = _vectors(rows, "lattice.matrix[{}]", range(3), where)
        if all(_is_number(value) for value in parameters[:3]):
            lengths = np.linalg.norm(matrix, axis=1)
            if np.any(np.abs(lengths - parameters[:3]) > _CONTRADICTION * np.maximum(1, lengths)):
                raise InputError(
                    f"{where}: lattice.matrix has vectors of {_lengths(lengths)} A, lattice.a, b and c are "
                    f"{_lengths(parameters[:3])} A: correct one of them"
                )
        return matrix, periodic
    for name, value in zip(_PARAMETERS, parameters, strict=True):
        if not _is_number(value):
            raise InputError(
                f"{where}: lattice has no matrix and lattice.{name} is {_shown(value)}: write a finite number"
            )
    from pymatgen.core.lattice import Lattice

    lengths, cosines = parameters[:3], np.cos(np.radians(parameters[3:]))
    # square of the volume of the cell with edges of length 1
    if min(lengths) <= 0 or 1 + 2 * np.prod(cosines) - np.sum(cosines**2) < _FLAT:
        raise InputError(f"{where}: the lengths and angles of lattice span no cell: correct them")
    return np.asarray(Lattice.from_parameters(*parameters).matrix, dtype=np.float64), periodic


def _numbers(sites: Sequence[dict[str, Any]], where: str, notes: list[str] | None) -> list[int]:
    """Return the atomic number of each site."""
    from ase.data import atomic_numbers

    try:  # what pymatgen writes of a site with one element, ten times faster than looking at each site
        kinds = [site["species"] for site in sites]
        found = [atomic_numbers[kind["element"]] for (kind,) in kinds if kind["occu"] == 1]
    except (KeyError, TypeError, ValueError):
        found = []
    if len(found) != len(sites) or 0 in found:
        symbols = [_symbol(site, i, where) for i, site in enumerate(sites)]
        isotopes = {f"sites[{i}]": symbol for i, symbol in enumerate(symbols) if symbol in ISOTOPES}
        if isotopes and notes is not None:
            notes.append(f"{where}: {isotope_note(isotopes)}")
        found = [atomic_numbers[plain_symbol(symbol)] for symbol in symbols]
    return found


def _symbol(site: dict[str, Any], number: int, where: str) -> str:
    """Return the element or hydrogen isotope of a site, in any of the ways in which it may be written."""
    key = "label" if site.get("species") is None else "species"
    place, occupancy = f"{where}: sites[{number}].{key}", 1.0
    species: Any = site.get(key)
    several = isinstance(species, list | tuple) and len(species) > 1
    if isinstance(species, list | tuple) and len(species) == 1:
        species = species[0]
    if isinstance(species, dict):
        species, occupancy = species.get("element"), species.get("occu", 1)
    if several or (_is_number(occupancy) and abs(occupancy - 1) > FULL_OCCUPANCY):
        raise InputError(
            f"{place}: site {number + 1} is disordered or partly occupied: give an ordered structure, every "
            "site fully occupied by one element"
        )
    symbol = None
    if isinstance(species, str) and _is_number(occupancy):
        symbol = symbol_in(species) if key == "label" else exact_symbol(_CHARGE.sub("", species))
    if symbol is None:
        raise InputError(f"{place} is {_shown(site.get(key))}, no element: correct its symbol")
    return symbol


def _positions(
    sites: Sequence[dict[str, Any]], lattice: NDArray[np.float64], where: str
) -> NDArray[np.float64]:
    """Return the fractional coordinates of all sites."""
    with_xyz = [i for i, site in enumerate(sites) if "xyz" in site]
    with_abc = [i for i, site in enumerate(sites) if "abc" in site or "xyz" not in site]
    given = _vectors([sites[i].get("abc") for i in with_abc], "sites[{}].abc", with_abc, where)
    if not with_xyz:
        return given
    cartesian = _vectors([sites[i]["xyz"] for i in with_xyz], "sites[{}].xyz", with_xyz, where)
    fractional = np.full((len(sites), 3), np.nan)
    try:
        fractional[with_xyz] = cartesian @ np.linalg.inv(lattice)
    except np.linalg.LinAlgError:
        raise InputError(f"{where}: the cell has no volume: correct lattice") from None
    apart = given - fractional[with_abc]
    distances = np.linalg.norm((apart - np.rint(apart)) @ lattice, axis=1)  # NaN of sites without xyz
    for i in np.flatnonzero(distances > _CONTRADICTION)[:1]:
        place = f"sites[{with_abc[i]}]"
        raise InputError(
            f"{where}: {place}.abc and {place}.xyz are {distances[i]:.2f} A apart: correct or remove one"
        )
    fractional[with_abc] = given
    return fractional


def _vectors(values: Sequence[Any], place: str, numbers: Sequence[int], where: str) -> NDArray[np.float64]:
    """Stack vectors after checking that each is three finite numbers; `place` with its number names it."""
    if not values:
        return np.empty((0, 3))
    # the types of all numbers at once; one at a time only where something is odd
    regular = all(isinstance(value, list | tuple) and len(value) == 3 for value in values)
    if regular and set(map(type, chain.from_iterable(values))) <= {float, int}:
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError:  # an integer of hundreds of digits
            array = np.array([[np.nan]])
        if np.isfinite(array).all():
            return array
    for number, value in zip(numbers, values, strict=True):
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(_is_number, value)):
            raise InputError(
                f"{where}: {place.format(number)} is {_shown(value)}: write three finite numbers"
            )
    return np.array(values, dtype=np.float64)


def _properties(sites: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the properties whose values are plain numbers at every site that has them."""
    given = [site.get("properties") for site in sites]
    if not any(given):
        return {}
    every: list[dict[str, Any]] = [p if isinstance(p, dict) else {} for p in given]
    names = dict.fromkeys(name for properties in every for name in properties)
    columns = {name: [properties.get(name) for properties in every] for name in names}
    return {str(name): values for name, values in columns.items() if all(map(_is_plain, values))}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(entry, bool | int | float) for entry in value)
    return value is None or isinstance(value, bool | int | float)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    """Return a value for a message, short and on one line."""
    if value is None:
        return "missing"
    return " ".join(reprlib.repr(value).split())


def _lengths(values: Sequence[float] | NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
