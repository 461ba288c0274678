"""Structures out of entries as servers really write them, good and bad."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tests.sources.optimade_server import entry
from workflows.structures.sources.optimade_entries import UnusableError, read_entry

MGAG = Structure(Lattice.cubic(3.31), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
C14 = Structure.from_spacegroup(
    "P6_3/mmc",
    Lattice.hexagonal(5.22, 8.57),
    ["Mg", "Zn", "Zn"],
    [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.8305, 0.661, 0.25]],
)


def symbols(structure: Structure) -> list[str]:
    return [site.specie.symbol for site in structure]


PURE = {"chemical_symbols": ["Mg"], "concentration": [1.0]}


@pytest.mark.parametrize("structure", [MGAG, C14, MGAG * (2, 1, 3), C14.get_primitive_structure()])
def test_a_structure_comes_back(structure: Structure) -> None:
    read = read_entry(entry(structure, "x"))
    assert read.species == structure.species
    assert np.allclose(read.lattice.matrix, structure.lattice.matrix, atol=1e-12)
    assert np.allclose(read.cart_coords, structure.cart_coords, atol=1e-8)


def test_an_entry_of_the_oqmd() -> None:
    # no species, date or dimensions, elements as one text, a whole number as id
    attributes = entry(MGAG, "x", species=[], last_modified="", elements="Ag,Mg", dimension_types=None)
    attributes["id"] = 5012
    assert symbols(read_entry(attributes)) == ["Mg", "Ag"]


def test_names_of_species_need_not_be_elements() -> None:
    species = [{"name": "Mg1", **PURE}, {"name": "Ag_b", "chemical_symbols": ["Ag"], "concentration": [1]}]
    read = read_entry(entry(MGAG, "x", species=species, species_at_sites=["Mg1", "Ag_b"]))
    assert symbols(read) == ["Mg", "Ag"]


def test_heavy_hydrogen_is_hydrogen() -> None:
    site = {"name": "D", "chemical_symbols": ["D"], "concentration": [1.0]}
    read = read_entry(entry(MGAG, "x", species=[site], species_at_sites=["Mg", "D"]))
    assert symbols(read) == ["Mg", "H"]


def kind(symbols: Any, concentration: Any, **more: Any) -> dict[str, Any]:
    site = {"name": "Mg", "chemical_symbols": symbols, "concentration": concentration, **more}
    return {"species": [site, {"name": "Ag", "chemical_symbols": ["Ag"], "concentration": [1.0]}]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (kind(["Mg", "Zn"], [0.5, 0.5]), "disordered"),
        (kind(["Mg"], [0.7]), "disordered"),
        (kind(["Mg"], []), "disordered"),
        (kind(["Mg"], "1"), "disordered"),
        (kind(["Mg", "vacancy"], [0.9, 0.1]), "vacancies"),
        (kind(["vacancy"], [1.0]), "vacancies"),
        (kind(["X"], [1.0]), "unknown element"),
        (kind(["Mg2+"], [1.0]), "unknown element"),
        (kind([], [1.0]), "malformed species"),
        (kind(None, [1.0]), "malformed species"),
        (kind(["Mg"], [1.0], attached=["H"], nattached=[2]), "atoms without positions"),
        ({"species": [3]}, "malformed species"),
        ({"species_at_sites": ["Mg", "X"]}, "unknown element"),
        ({"species_at_sites": None}, "no species"),
        ({"species_at_sites": []}, "no species"),
        ({"species_at_sites": ["Mg", 7]}, "no species"),
        ({"species_at_sites": ["Mg"]}, "no positions"),
        ({"cartesian_site_positions": None}, "no positions"),
        ({"cartesian_site_positions": []}, "no positions"),
        ({"lattice_vectors": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 20]]}, "vacuum in the cell"),
        (
            {"cartesian_site_positions": [[0, 0, 0], [None, 1, 1]]},
            "no positions (numbers that are not finite)",
        ),
        ({"cartesian_site_positions": [[0, 0, 0], ["a", 1, 1]]}, "no positions"),
        ({"cartesian_site_positions": [[0, 0, 0], [1e-3, 0, 0]]}, "overlapping atoms"),
        ({"lattice_vectors": None}, "no lattice"),
        ({"lattice_vectors": []}, "no lattice"),
        ({"lattice_vectors": [[3.3, 0, 0], [0, 3.3, 0]]}, "no lattice"),
        ({"lattice_vectors": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 0]]}, "cell without volume"),
        ({"lattice_vectors": [[3.3, 0, 0], [3.3, 0, 0], [0, 0, 3.3]]}, "cell without volume"),
        ({"lattice_vectors": [[None] * 3, [0, 3.3, 0], [0, 0, 3.3]]}, "no lattice"),
        ({"structure_features": ["assemblies"]}, "disordered"),
        ({"structure_features": ["implicit_atoms"]}, "atoms without positions"),
        ({"dimension_types": [1, 1, 0]}, "not periodic in three directions"),
    ],
)
def test_what_is_no_ordered_crystal_says_why(change: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableError) as caught:
        read_entry(entry(MGAG, "x", **change))
    assert str(caught.value).startswith(why)
