"""Descriptions of the elements for a network: CGCNN's 92 categories, or real properties.

Every value comes from pymatgen's table of elements, which names its sources, except covalent radii
(Cordero et al., Dalton Trans. 2832 (2008), doi 10.1039/b801115j, as pymatgen has them) and cohesive energies
(Kittel, see `COHESIVE_ENERGY`). Work functions and surface energies of the elements are left out: a feature
must not contain the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from stores.cgcnn_elements import (
    cgcnn_categories,
    covalent_radius,
    elements_of_table,
    positive,
    property_of,
    valence_shells,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pymatgen.core import Element

COHESIVE_ENERGY = {
    "Li": 1.63, "Be": 3.32, "B": 5.81, "C": 7.37, "N": 4.92, "O": 2.60, "F": 0.84, "Ne": 0.020,
    "Na": 1.113, "Mg": 1.51, "Al": 3.39, "Si": 4.63, "P": 3.43, "S": 2.85, "Cl": 1.40, "Ar": 0.080,
    "K": 0.934, "Ca": 1.84, "Sc": 3.90, "Ti": 4.85, "V": 5.31, "Cr": 4.10, "Mn": 2.92, "Fe": 4.28,
    "Co": 4.39, "Ni": 4.44, "Cu": 3.49, "Zn": 1.35, "Ga": 2.81, "Ge": 3.85, "As": 2.96, "Se": 2.46,
    "Br": 1.22, "Kr": 0.116, "Rb": 0.852, "Sr": 1.72, "Y": 4.37, "Zr": 6.25, "Nb": 7.57, "Mo": 6.82,
    "Tc": 6.85, "Ru": 6.74, "Rh": 5.75, "Pd": 3.89, "Ag": 2.95, "Cd": 1.16, "In": 2.52, "Sn": 3.14,
    "Sb": 2.75, "Te": 2.19, "I": 1.11, "Xe": 0.16, "Cs": 0.804, "Ba": 1.90, "La": 4.47, "Ce": 4.32,
    "Pr": 3.70, "Nd": 3.40, "Sm": 2.14, "Eu": 1.86, "Gd": 4.14, "Tb": 4.05, "Dy": 3.04, "Ho": 3.14,
    "Er": 3.29, "Tm": 2.42, "Yb": 1.60, "Lu": 4.43, "Hf": 6.44, "Ta": 8.10, "W": 8.90, "Re": 8.03,
    "Os": 8.17, "Ir": 6.94, "Pt": 5.84, "Au": 3.81, "Hg": 0.67, "Tl": 1.88, "Pb": 2.03, "Bi": 2.18,
    "Po": 1.50, "Rn": 0.202, "Ra": 1.66, "Ac": 4.25, "Th": 6.20, "U": 5.55, "Np": 4.73, "Pu": 3.60,
    "Am": 2.73,
}  # fmt: skip
"""Energy to take the solid apart into atoms (eV/atom); C. Kittel, Introduction to Solid State Physics, 8th
edition, chapter 3, table 1."""


@dataclass(frozen=True, eq=False)
class ElementFeatures:
    """A description of the elements."""

    kind: str  # a key of `FEATURES`
    names: tuple[str, ...]  # of the F features
    table: NDArray[np.float32]  # [101, F] float32, one row for each atomic number; row 0 is empty
    # [101, F] bool, False where a property was not known: a category is then empty, a real property is
    # estimated from the element's neighbours in the periodic table
    known: NDArray[np.bool_]


@cache
def cgcnn_features() -> ElementFeatures:
    """Return the 92 categories of CGCNN, see `stores.cgcnn_elements`."""
    return ElementFeatures("cgcnn", *cgcnn_categories())


@cache
def element_property(name: str) -> NDArray[np.float64]:
    """Return a property behind `chemical_features` in its own unit: [101], by atomic number."""
    return np.concatenate([[0.0], _properties()[0][name]])


@cache
def _properties() -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.bool_]]]:
    """Properties of the elements 1 to 100 by name, unknown ones estimated, and where they are known."""
    elements = elements_of_table()
    log = np.log
    properties: dict[str, Callable[[Element], float]] = {
        "group": lambda e: e.group,
        "period": lambda e: e.row,
        "Mendeleev number": lambda e: property_of(e, "mendeleev_no"),
        "electronegativity": lambda e: property_of(e, "X"),
        "atomic radius": lambda e: property_of(e, "atomic_radius"),
        "covalent radius": covalent_radius,
        "molar volume ^1/3": lambda e: property_of(e, "molar_volume") ** (1 / 3),
        "ionisation energy": lambda e: property_of(e, "ionization_energy"),
        "second ionisation energy": lambda e: (
            e.ionization_energies[1] if len(e.ionization_energies) > 1 else float("nan")
        ),
        "electron affinity": lambda e: property_of(e, "electron_affinity"),
        "valence s": lambda e: valence_shells(e)["s"],
        "valence p": lambda e: valence_shells(e)["p"],
        "valence d": lambda e: valence_shells(e)["d"],
        "valence f": lambda e: valence_shells(e)["f"],
        "d holes": lambda e: 10 - valence_shells(e)["d"] if valence_shells(e)["d"] else 0,
        "log melting point": lambda e: log(property_of(e, "melting_point")),
        "log boiling point": lambda e: log(property_of(e, "boiling_point")),
        "log bulk modulus": lambda e: log(positive(property_of(e, "bulk_modulus"))),
        "cohesive energy": lambda e: COHESIVE_ENERGY.get(e.symbol, float("nan")),
    }
    columns = {name: np.array([of(e) for e in elements], dtype=np.float64) for name, of in properties.items()}
    known = {name: ~np.isnan(values) for name, values in columns.items()}
    filled = {name: _filled(values) for name, values in columns.items()}
    volume = filled["molar volume ^1/3"]
    filled["cohesive energy per area"] = filled["cohesive energy"] / volume**2
    filled["electron density"] = np.sqrt(np.exp(filled["log bulk modulus"]) / volume**3)
    known["cohesive energy per area"] = known["cohesive energy"] & known["molar volume ^1/3"]
    known["electron density"] = known["log bulk modulus"] & known["molar volume ^1/3"]
    return filled, known


@cache
def chemical_features() -> ElementFeatures:
    """Return real properties, standardised over the elements 1 to 100, that carry from element to element.

    An unknown value is estimated as the mean of the element above and the element below in its group (in
    the f block: before and after), else the mean of all.

    The last features are estimates of the energy to make a surface: cohesive energy per area of an atom, and
    the electron density between atoms as (bulk modulus / molar volume)^1/2; de Boer, Boom, Mattens,
    Miedema and Niessen, Cohesion in Metals (North-Holland, 1988).
    """
    filled, known = _properties()
    table = np.column_stack(list(filled.values()))
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    empty = np.zeros((1, table.shape[1]))
    return ElementFeatures(
        "chemical",
        tuple(filled),
        np.vstack([empty, table]).astype(np.float32),
        np.vstack([empty.astype(bool), np.column_stack(list(known.values()))]),
    )


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    elements = elements_of_table()
    place = {(e.group, e.row): i for i, e in enumerate(elements) if not (e.is_lanthanoid or e.is_actinoid)}
    complete = values.copy()
    for i in np.flatnonzero(np.isnan(values)):
        element = elements[i]
        if element.is_lanthanoid or element.is_actinoid:
            near = [int(i) - 1, int(i) + 1]
        else:
            near = [place.get((element.group, element.row + step), -1) for step in (-1, 1)]
        found = [values[j] for j in near if 0 <= j < len(values) and not np.isnan(values[j])]
        complete[i] = np.mean(found) if found else np.nanmean(values)
    return complete


FEATURES: dict[str, Callable[[], ElementFeatures]] = {"cgcnn": cgcnn_features, "chemical": chemical_features}
