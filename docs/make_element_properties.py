"""Write the table of element properties behind the features of compositions.

    python docs/make_element_properties.py PATH/TO/mendeleev/elements.db

The table is written once and then kept, so that the features under a stored model never change: run this
only to make another version of it. Values come from pymatgen (MIT licence) and from the database inside the
package mendeleev (MIT licence, ``pip install mendeleev==1.3.0``), which name the publications.
"""

from __future__ import annotations

import csv
import sqlite3
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, before an installed one
from stores.cgcnn_elements import elements_of_table, property_of, valence_shells

TABLE = Path(__file__).parents[1] / "model" / "compositions" / "element_properties.csv"
WIDTH, RIDGE = 4.0, 0.05
"""Of the regression that fills gaps, chosen by leaving out one known value at a time."""

IMPLAUSIBLE = {
    "enthalpy of fusion": ("K",),  # 102.5 kJ/mol, an entropy of fusion forty times that of other metals
    # K: 2.33 kJ/mol, which is its enthalpy of fusion; Cd: 59.1 kJ/mol, 57 J/(mol K) at its boiling point,
    # where Trouton's rule gives 85 to 95
    "enthalpy of vaporisation": ("K", "Cd"),
    "shear modulus": ("Mo",),  # 20 GPa, a sixth of what Young's modulus and Poisson's ratio give
    "velocity of sound": ("Si",),  # 2200 m/s, half of the root of Young's modulus over density
}
"""Values that disagree with other properties of the same element; taken as unknown."""

ELEMENTS = elements_of_table()
CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}


@dataclass(frozen=True)
class Property:
    """A property of the elements: name, kind, unit, source and its values."""

    name: str
    kind: str
    unit: str
    source: str
    values: NDArray[np.float64]  # [100], NaN where unknown


def _pymatgen(name: str, of: Callable[[Element], float]) -> tuple[str, NDArray[np.float64]]:
    return f"pymatgen {name}", np.array([of(element) for element in ELEMENTS], dtype=float)


def _attribute(name: str, factor: float = 1.0) -> tuple[str, NDArray[np.float64]]:
    return _pymatgen(name, lambda e: factor * property_of(e, name))


def _unfilled(element: Element, letter: str) -> float:
    count = valence_shells(element)[letter]
    return CAPACITY[letter] - count if count else 0


def _ionisation(element: Element, order: int) -> float:
    energies = element.ionization_energies
    return energies[order] if len(energies) > order and energies[order] is not None else float("nan")


def _highest_orbital(element: Element) -> float:
    orbitals = element.data.get("Atomic orbitals")
    return max(orbitals.values()) if isinstance(orbitals, dict) else float("nan")


def _oxidation(element: Element, which: Callable[[tuple[int, ...]], int]) -> float:
    # elements without common compounds (He, Ne, Ar) stay neutral
    return float(which(tuple(element.common_oxidation_states) or (0,)))


def _ionic_radius(element: Element) -> float:
    radius = float(element.average_ionic_radius)
    return radius if radius > 0 else float("nan")


def properties(database: Path) -> list[Property]:
    """Return the 58 properties with gaps, in the order of the table."""
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    rows = {row["atomic_number"]: row for row in connection.execute("select * from elements")}

    def mendeleev(column: str, reference: str, factor: float = 1.0) -> tuple[str, NDArray[np.float64]]:
        values = [rows[element.Z][column] for element in ELEMENTS]
        numbers = [float("nan") if value is None else factor * float(value) for value in values]
        return f"mendeleev {column}: {reference}", np.array(numbers)

    cordero = "Cordero et al., Dalton Trans. 2832 (2008)"
    pyykko = "Pyykkö and Atsumi, Chem. Eur. J. 15, 186 (2009); 15, 12770 (2009)"
    triple = "Pyykkö, Riedel and Patzschke, Chem. Eur. J. 11, 3511 (2005)"
    miedema = "de Boer et al., Cohesion in Metals (North-Holland, 1988)"
    handbook = "CRC Handbook of Chemistry and Physics, 95th ed. (2014)"
    table = [
        ("atomic number", "periodic table", "", _pymatgen("Z", lambda e: e.Z)),
        ("atomic mass", "periodic table", "u", _attribute("atomic_mass")),
        ("period", "periodic table", "", _pymatgen("row", lambda e: e.row)),
        ("group", "periodic table", "", _pymatgen("group", lambda e: e.group)),
        ("Mendeleev number", "periodic table", "", _attribute("mendeleev_no")),
        ("Pettifor number", "periodic table", "",
         mendeleev("pettifor_number", "Pettifor, Solid State Commun. 51, 31 (1984)")),
        ("Glawe number", "periodic table", "",
         mendeleev("glawe_number", "Glawe et al., New J. Phys. 18, 093011 (2016)")),
        *((f"{letter} valence electrons", "valence", "",
           _pymatgen("electronic_structure", lambda e, k=letter: valence_shells(e)[k])) for letter in "spdf"),
        ("valence electrons", "valence", "",
         _pymatgen("electronic_structure", lambda e: sum(valence_shells(e).values()))),
        *((f"{letter} holes", "valence", "",
           _pymatgen("electronic_structure", lambda e, k=letter: _unfilled(e, k))) for letter in "pdf"),
        ("holes", "valence", "",
         _pymatgen("electronic_structure", lambda e: sum(_unfilled(e, k) for k in CAPACITY))),
        ("lowest oxidation state", "valence", "",
         _pymatgen("common_oxidation_states", lambda e: _oxidation(e, min))),
        ("highest oxidation state", "valence", "",
         _pymatgen("common_oxidation_states", lambda e: _oxidation(e, max))),
        ("atomic radius", "size", "A", _attribute("atomic_radius")),
        ("atomic radius, electron density", "size", "A",
         mendeleev("atomic_radius_rahm", "Rahm et al., Chem. Eur. J. 22, 14625 (2016)", 0.01)),
        ("metallic radius", "size", "A",
         mendeleev("metallic_radius_c12", "Pauling, for 12 neighbours", 0.01)),
        ("covalent radius", "size", "A", mendeleev("covalent_radius_cordero", cordero, 0.01)),
        ("covalent radius, single bond", "size", "A", mendeleev("covalent_radius_pyykko", pyykko, 0.01)),
        ("covalent radius, double bond", "size", "A",
         mendeleev("covalent_radius_pyykko_double", pyykko, 0.01)),
        ("covalent radius, triple bond", "size", "A",
         mendeleev("covalent_radius_pyykko_triple", triple, 0.01)),
        ("van der Waals radius", "size", "A",
         mendeleev("vdw_radius_alvarez", "Alvarez, Dalton Trans. 42, 8617 (2013)", 0.01)),
        ("mean ionic radius", "size", "A", _pymatgen("average_ionic_radius", _ionic_radius)),
        ("molar volume", "size", "cm3/mol", _attribute("molar_volume")),
        ("molar volume, Miedema", "size", "cm3/mol", mendeleev("miedema_molar_volume", miedema)),
        ("electronegativity, Pauling", "electronic", "", _attribute("X")),
        ("electronegativity, Allen", "electronic", "eV",
         mendeleev("en_allen", "Allen, J. Am. Chem. Soc. 111, 9003 (1989)")),
        ("electronegativity, Ghosh", "electronic", "",
         mendeleev("en_ghosh", "Ghosh, J. Theor. Comput. Chem. 4, 21 (2005)")),
        ("electronegativity, Miedema", "electronic", "V", mendeleev("en_miedema", miedema)),
        ("electronegativity, Robles", "electronic", "eV",
         mendeleev("en_robles_bartolotti", "Robles and Bartolotti, J. Am. Chem. Soc. 106, 3723 (1984)")),
        ("electron density, Miedema", "electronic", "density units",
         mendeleev("miedema_electron_density", miedema)),
        ("first ionisation energy", "electronic", "eV",
         _pymatgen("ionization_energies", lambda e: _ionisation(e, 0))),
        ("second ionisation energy", "electronic", "eV",
         _pymatgen("ionization_energies", lambda e: _ionisation(e, 1))),
        ("electron affinity", "electronic", "eV", _attribute("electron_affinity")),
        ("dipole polarisability", "electronic", "a.u.",
         mendeleev("dipole_polarizability", "Schwerdtfeger and Nagle, Mol. Phys. 117, 1200 (2019)")),
        ("C6 coefficient", "electronic", "a.u.",
         mendeleev("c6_gb", "Gould and Bučko, J. Chem. Theory Comput. 12, 3603 (2016)")),
        ("highest occupied orbital", "electronic", "hartree",
         _pymatgen("atomic_orbitals", _highest_orbital)),
        ("atomisation enthalpy", "energy", "kJ/mol", mendeleev("heat_of_formation", handbook)),
        ("enthalpy of fusion", "energy", "kJ/mol", mendeleev("fusion_heat", handbook)),
        ("enthalpy of vaporisation", "energy", "kJ/mol", mendeleev("evaporation_heat", handbook)),
        ("melting point", "energy", "K", _attribute("melting_point")),
        ("boiling point", "energy", "K", _attribute("boiling_point")),
        ("specific heat capacity", "energy", "J/(g K)", mendeleev("specific_heat_capacity", handbook)),
        ("molar heat capacity", "energy", "J/(mol K)", mendeleev("molar_heat_capacity", handbook)),
        ("density", "solid", "g/cm3", mendeleev("density", handbook)),
        ("thermal conductivity", "solid", "W/(m K)", _attribute("thermal_conductivity")),
        ("thermal expansion", "solid", "1e-6/K",
         _attribute("coefficient_of_linear_thermal_expansion", 1e6)),
        ("log10 resistivity", "solid", "log10(ohm m)",
         _pymatgen("electrical_resistivity", lambda e: np.log10(property_of(e, "electrical_resistivity")))),
        ("bulk modulus", "solid", "GPa", _attribute("bulk_modulus")),
        ("Young's modulus", "solid", "GPa", _attribute("youngs_modulus")),
        ("shear modulus", "solid", "GPa", _attribute("rigidity_modulus")),
        ("Poisson's ratio", "solid", "", _attribute("poissons_ratio")),
        ("velocity of sound", "solid", "m/s", _attribute("velocity_of_sound")),
        ("hardness, Mohs", "solid", "", _attribute("mineral_hardness")),
    ]  # fmt: skip
    for name, _, _, (_, values) in table:
        values[[e.symbol in IMPLAUSIBLE.get(name, ()) for e in ELEMENTS]] = np.nan
    return [Property(name, kind, unit, source, values) for name, kind, unit, (source, values) in table]


COMPLETE = (
    "atomic number", "atomic mass", "period", "group", "Mendeleev number", "Pettifor number", "Glawe number",
    "covalent radius, single bond", "electronegativity, Ghosh", "first ionisation energy",
    "electron affinity", "dipole polarisability", "melting point", "density",
)  # fmt: skip
"""Properties known of all elements, by which the regression knows similar ones."""

ON_LOGARITHMS = ("dipole polarisability", "melting point", "density")


def descriptors(table: list[Property]) -> NDArray[np.float64]:
    """Return the properties known of all elements, standardised: [100, 14]."""
    values = {p.name: p.values for p in table}
    columns = [np.log(values[name]) if name in ON_LOGARITHMS else values[name] for name in COMPLETE]
    matrix = np.column_stack(columns)
    return np.asarray((matrix - matrix.mean(axis=0)) / matrix.std(axis=0))


def filled(
    values: NDArray[np.float64], described: NDArray[np.float64], missing: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Estimate missing values by kernel ridge regression, within the range of the known ones."""
    known = ~missing
    distance = ((described[:, None] - described[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-distance / (2 * WIDTH**2))
    mean = values[known].mean()
    weights = np.linalg.solve(
        kernel[np.ix_(known, known)] + RIDGE * np.eye(known.sum()), values[known] - mean
    )
    estimate = mean + kernel[np.ix_(missing, known)] @ weights
    complete = values.copy()
    complete[missing] = np.clip(estimate, values[known].min(), values[known].max())
    return complete


def leave_one_out(values: NDArray[np.float64], described: NDArray[np.float64]) -> float:
    """Return the root-mean-square error of estimates over the standard deviation of known values."""
    known = np.flatnonzero(~np.isnan(values))
    errors = []
    for left_out in known:
        missing = np.isnan(values)
        missing[left_out] = True
        errors.append(filled(values, described, missing)[left_out] - values[left_out])
    return float(np.sqrt(np.mean(np.square(errors))) / values[known].std())


def main() -> None:
    """Write the table and print how well gaps are filled."""
    warnings.simplefilter("ignore")
    table = properties(Path(sys.argv[1]))
    described = descriptors(table)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "kind", "unit", "source", *(e.symbol for e in ELEMENTS)])
        for p in table:
            missing = np.isnan(p.values)
            values = filled(p.values, described, missing) if missing.any() else p.values
            numbers = [f"{'~' if gap else ''}{v:.6g}" for v, gap in zip(values, missing, strict=True)]
            writer.writerow([p.name, p.kind, p.unit, p.source, *numbers])
            if missing.any():
                error = leave_one_out(p.values, described)
                print(f"{p.name:32} {(~missing).sum():4} known   leave-one-out error {error:.2f} σ")
            else:
                print(f"{p.name:32}  100 known")
    print(f"{len(table)} properties written to {TABLE}")


if __name__ == "__main__":
    main()
