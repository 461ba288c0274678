"""Structures out of OPTIMADE entries, as real servers write them.

The models and adapters of the `optimade` package refuse an entry for any field that breaks the specification;
the OQMD for one sends no species, an empty date and elements as one text. Only lattice, positions and species
are read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.structures.reading import check_structure
from stores.structures.vacuum import check_bulk

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

STRUCTURE_PROPERTIES = (
    "elements",
    "dimension_types",
    "lattice_vectors",
    "cartesian_site_positions",
    "species_at_sites",
    "species",
    "structure_features",
)
# features (OPTIMADE 1.2, structure_features) of what is not simply one atom on each site
_FEATURES = {
    "assemblies": "disordered",
    "disorder": "disordered",
    "implicit_atoms": "atoms without positions",
    "site_attachments": "atoms without positions",
}


class UnusableError(Exception):
    """An entry that is no ordered crystal of elements; the text is the reason, in a few words."""


def read_entry(attributes: dict[str, Any]) -> Structure:
    """Read and check the crystal of an entry from the attributes that the server sent.

    Raises
    ------
    UnusableError
        With the reason, if the entry is disordered, lacks something, holds no elements or fails
        `stores.structures.reading.check_structure`, or its cell holds vacuum.
    """
    from pymatgen.core.structure import Structure as PymatgenStructure

    dimensions = attributes.get("dimension_types")
    if isinstance(dimensions, list) and any(d == 0 for d in dimensions):
        raise UnusableError("not periodic in three directions")
    features = attributes.get("structure_features")
    for feature in features if isinstance(features, list) else ():
        if feature in _FEATURES:
            raise UnusableError(_FEATURES[feature])
    names = attributes.get("species_at_sites")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UnusableError("no species")
    symbols = _symbols(names, attributes.get("species"))
    lattice = _numbers(attributes.get("lattice_vectors"), (3, 3), "no lattice")
    positions = _numbers(attributes.get("cartesian_site_positions"), (len(names), 3), "no positions")
    edges = np.linalg.norm(lattice, axis=1)
    if abs(np.linalg.det(lattice)) < 1e-3 * np.prod(edges) or edges.min() < 0.1:
        raise UnusableError("cell without volume")
    fractional = np.round(positions @ np.linalg.inv(lattice), 10)
    try:
        structure = PymatgenStructure(lattice, symbols, fractional)
        check_structure(structure, "the structure")
        check_bulk(structure, "the structure")
    except InputError as error:
        known = {"overlapping": "overlapping atoms", "vacuum": "vacuum in the cell"}
        reason = next((words for word, words in known.items() if word in str(error)), str(error))
        raise UnusableError(reason) from error
    return structure


def _numbers(value: Any, shape: tuple[int, int], missing: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UnusableError(missing) from None
    if array.shape != shape:
        raise UnusableError(missing)
    if not np.all(np.isfinite(array)):
        raise UnusableError(f"{missing} (numbers that are not finite)")
    return array


def _symbols(names: list[str], species: Any) -> list[str]:
    """Return the element of each site; a species without a definition is named by its element."""
    from pymatgen.core.periodic_table import Element

    element_of: dict[str, str] = {}
    for kind in species if isinstance(species, list) else ():
        if not isinstance(kind, dict) or not isinstance(kind.get("name"), str):
            raise UnusableError("malformed species")
        element_of[kind["name"]] = _element(kind)
    for name in set(names) - set(element_of):
        element_of[name] = name
    for name in set(names):
        if not Element.is_valid_symbol(element_of[name]):
            raise UnusableError("unknown element" if element_of[name] != "vacancy" else "vacancies")
    return [element_of[name] for name in names]


def _element(kind: dict[str, Any]) -> str:
    symbols, shares = kind.get("chemical_symbols"), kind.get("concentration")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
        raise UnusableError("malformed species")
    if kind.get("attached"):
        raise UnusableError("atoms without positions")
    if "vacancy" in symbols:
        raise UnusableError("vacancies")
    full = shares is None or (isinstance(shares, list) and len(shares) == 1 and _is_one(shares[0]))
    if len(symbols) > 1 or not full:
        raise UnusableError("disordered")
    # an isotope is an element of its own in OPTIMADE's species, but no other in a DFT calculation
    symbol: str = symbols[0]
    return {"D": "H", "T": "H"}.get(symbol, symbol)


def _is_one(share: Any) -> bool:
    return isinstance(share, int | float) and abs(share - 1) < 1e-6
