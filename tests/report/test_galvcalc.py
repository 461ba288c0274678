"""Export to galvcalc: its numbers, and what galvcalc itself makes of it where it is installed."""

from __future__ import annotations

import json

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from stores.learning.screenings import ScreenedFacet, ScreeningRecord
from workflows.analysis.dissolution import dissolution
from workflows.analysis.wulff_draws import Termination, weighted_values
from workflows.report.galvcalc import galvcalc_document
from workflows.structures.crystal import crystal_of

# G. Shi et al., J. Magnes. Alloys (2024): Mg-rich surface energy (eV/A^2), work function (eV)
MGAG = [
    ((1, 0, 0), "Mg", 0.0364, 3.378),
    ((1, 1, 0), "MgAg", 0.0505, 4.078),
    ((1, 1, 1), "Mg", 0.0537, 3.611),
]


def record(**changes) -> ScreeningRecord:
    crystal = crystal_of(Structure(Lattice.cubic(3.314), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    values = weighted_values(crystal, [Termination(h, t, e, 0, phi) for h, t, e, phi in MGAG], draws=0)
    found = dissolution({"Mg": 1, "Ag": 1}, -0.2)
    facets = [
        ScreenedFacet(
            miller_index=one.termination.miller_index,
            termination=one.termination.label,
            surface_energy=one.termination.surface_energy,
            surface_energy_sigma=0.0,
            work_function=one.termination.work_function,
            work_function_sigma=0.0,
            source="dft",
            area_fraction=one.area_fraction,
            appears=1.0,
        )
        for one in values.facets
    ]
    plain = {
        "id": "a",
        "inputs": "",
        "label": "MgAg (a.cif)",
        "formula": "MgAg",
        "bulk_key": "a",
        "spacegroup_number": 221,
        "spacegroup_symbol": "Pm-3m",
        "lattice": crystal.lattice.tolist(),
        "species": list(crystal.species),
        "positions": crystal.positions.tolist(),
        "settings": {"temperature": 298.15, "concentration": 1e-6},
        "model": "",
        "surface_energy": values.surface_energy,
        "work_function": values.work_function,
        "facets": facets,
        "potential": found.potential,
        "cations": [str(cation) for cation in found.cations],
        "formation_energy": -0.2,
    }
    return ScreeningRecord(**{**plain, **changes})


def test_units_and_arguments():
    text, problems = galvcalc_document([record()])
    (phase,) = json.loads(text)["phases"]
    assert problems == []
    assert phase["formula"] == "MgAg"
    facets = {one["Facet"]: (one["Surface_energy"], one["Work_function"]) for one in phase["facets"]}
    assert set(facets) == {"100_1", "110_1", "111_1"}
    assert facets["100_1"] == (pytest.approx(0.0364 * 16.02177, rel=1e-5), 3.378)
    assert phase["dissolution"] == {
        "ions": ["Ag[+]", "Mg[2+]"],
        "ion_numbers": [1, 1],
        "valence": [1, 2],
        "energy_formation": pytest.approx(-0.4),
        "T": 298.15,
        "ion_con": 1e-6,
    }
    assert Structure.from_str(phase["structure"], fmt="poscar").composition.reduced_formula == "MgAg"


def test_negative_indices_and_amounts_of_a_formula_unit():
    cell = Structure(Lattice.cubic(6.6), ["Mg", "Mg", "Ag"], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]])
    double = cell * (2, 1, 1)
    lattice = {"lattice": double.lattice.matrix.tolist(), "positions": double.frac_coords.tolist()}
    facet = record().facets[0].model_copy(update={"miller_index": (1, -1, 1)})
    changed = record(species=[s.specie.symbol for s in double], facets=[facet], **lattice)
    (phase,) = json.loads(galvcalc_document([changed])[0])["phases"]
    assert phase["facets"][0]["Facet"] == "1-11_1"
    assert phase["dissolution"]["ion_numbers"] == [1, 2]
    assert phase["dissolution"]["energy_formation"] == pytest.approx(-0.6)


def test_what_galvcalc_cannot_use():
    bare = record(potential=None, cations=[], formation_energy=None, label="bare")
    without = record(work_function=None, label="no averages")
    text, problems = galvcalc_document([bare, without])
    (phase,) = json.loads(text)["phases"]
    assert (phase["label"], phase["dissolution"], phase["equilibrium_potential"]) == ("bare", None, None)
    assert len(problems) == 1 and "no averages" in problems[0]
    with pytest.raises(InputError, match="work function"):
        galvcalc_document([without])


def test_galvcalc_finds_the_same_values():
    cathode = pytest.importorskip("GalvCalc.cathode")
    bulk_class = pytest.importorskip("GalvCalc.core.structures").Bulk
    (phase,) = json.loads(galvcalc_document([record()])[0])["phases"]
    bulk = bulk_class.from_str(phase["structure"], fmt="poscar")
    function, _ = cathode.facet_dependant_property().weighted_wf(phase["facets"], bulk)
    assert function == pytest.approx(phase["work_function"], abs=1e-4)
    potential = bulk_class.get_equilibrium_potential(**phase["dissolution"])
    assert potential == pytest.approx(phase["equilibrium_potential"], abs=1e-5)
