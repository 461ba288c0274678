"""Screened compounds as galvcalc 1.0.2 takes them, for polarization curves of micro-galvanic corrosion.

galvcalc (PyPI, MIT) turns surface energies and work functions of facets, and adsorption energies of hydrogen
on them, into exchange current densities, and these with equilibrium potentials into polarization curves. It
reads no file of its own for that: the exported file holds the arguments of its functions.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.screenings import ScreenedFacet, ScreeningRecord


def galvcalc_document(records: Sequence[ScreeningRecord]) -> tuple[str, list[str]]:
    """Return screened compounds as JSON for galvcalc, and a line for each compound that it cannot use.

    Each of the ``phases`` holds, beside label, formula and values of `ScreeningRecord`:

    ``structure``
        POSCAR of the cell that facets refer to, for ``Bulk.from_str(..., fmt="poscar")``.
    ``facets``
        Records for ``facet_dependant_property``: J/m^2, eV; one termination of each facet, named 1.
    ``dissolution``
        Arguments of ``Bulk.get_equilibrium_potential`` (eV per formula unit, K, mol/L); None if the potential
        is unknown.

    Raises
    ------
    InputError
        If no compound has an average over a Wulff shape with work functions.
    """
    problems = [
        f"{record.label}: not exported to galvcalc, no average of the work function"
        for record in records
        if record.work_function is None
    ]
    phases = [_phase(record) for record in records if record.work_function is not None]
    if not phases:
        raise InputError("no compound with an average of the work function to export; widen the filters")
    document = {"format": "galvcalc 1.0.2", "phases": phases}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n", problems


def _phase(record: ScreeningRecord) -> dict[str, Any]:
    from pymatgen.core import Structure

    structure = Structure(record.lattice, record.species, record.positions)
    formula = structure.composition.reduced_formula
    return {
        "label": record.label,
        "formula": formula,
        "spacegroup_number": record.spacegroup_number,
        "structure": structure.to(fmt="poscar"),
        "surface_energy": record.surface_energy,
        "surface_energy_sigma": record.surface_energy_sigma,
        "work_function": record.work_function,
        "work_function_sigma": record.work_function_sigma,
        "equilibrium_potential": record.potential,
        "dissolution": None if record.potential is None else _dissolution(record, structure),
        "facets": [_facet(formula, facet) for facet in record.facets if facet.work_function is not None],
    }


def _dissolution(record: ScreeningRecord, structure: Any) -> dict[str, Any]:
    amounts, _ = structure.composition.get_reduced_composition_and_factor()
    ions = [re.fullmatch(r"([A-Z][a-z]?)(\d*)\+", cation) for cation in record.cations]
    elements, charges = zip(*((ion[1], ion[2]) for ion in ions if ion), strict=True)
    assert record.formation_energy is not None  # as there is a potential
    return {
        "ions": [f"{element}[{charge}+]" for element, charge in zip(elements, charges, strict=True)],
        "ion_numbers": [amounts[element] for element in elements],
        "valence": [int(charge or 1) for charge in charges],
        "energy_formation": record.formation_energy * amounts.num_atoms,
        "T": record.settings["temperature"],
        "ion_con": record.settings["concentration"],
    }


def _facet(formula: str, facet: ScreenedFacet) -> dict[str, Any]:
    plane = "".join(map(str, facet.miller_index))
    return {
        "Formula": formula,
        "Facet": f"{plane}_1",
        "Surface_energy": facet.surface_energy * EV_PER_A2_IN_J_PER_M2,
        "Work_function": facet.work_function,
        "termination": facet.termination,
        "source": facet.source,
        "area_fraction": facet.area_fraction,
    }
