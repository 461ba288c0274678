"""Averages over Wulff shapes with uncertainty: against pymatgen's shape, against theory, bad input."""

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from workflows.analysis.wulff import CrystalWulffShape, Facet, wulff
from workflows.analysis.wulff_draws import Planes, Termination, weighted_values
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import distinct_facets

CRYSTALS = {
    "cubic": Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "hexagonal": Structure(
        Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    ),
    "triclinic": Structure(
        Lattice.from_parameters(4, 5, 6, 80, 95, 100), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.4, 0.3]]
    ),
}


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("max_index", [1, 2])
def test_areas_are_those_of_pymatgens_shape(name, max_index):
    crystal = crystal_of(CRYSTALS[name])
    facets = distinct_facets(crystal, max_index)
    energies = np.random.default_rng(3).uniform(0.8, 1.25, len(facets))
    expected = np.array(CrystalWulffShape(crystal, facets, list(energies)).color_area)
    assert Planes.of(crystal, facets).areas(energies) == pytest.approx(expected, abs=1e-9)


def test_cube():
    found = weighted_values(crystal_of(CRYSTALS["cubic"]), [Termination((1, 0, 0), "Mg", 0.05, 0.0, 4.0)])
    assert found.surface_energy == pytest.approx(0.05)
    assert found.work_function == pytest.approx(4.0)
    assert found.shape_factor == pytest.approx(6.0)
    assert found.surface_energy_sigma == pytest.approx(0.0, abs=1e-12)
    (facet,) = found.facets
    assert (facet.area_fraction, facet.appears) == (pytest.approx(1.0), 1.0)


def test_averages_agree_with_the_shape_that_is_drawn():
    bulk = CRYSTALS["hexagonal"]
    values = {
        (0, 0, 1): (0.032, 3.7),
        (1, 0, 0): (0.036, 3.6),
        (1, 0, 1): (0.039, 3.65),
        (1, 1, 0): (0.05, 3.4),
    }
    shape = wulff(bulk, [Facet(h, gamma, phi) for h, (gamma, phi) in values.items()])
    terminations = [Termination(h, "", gamma, 0.001, phi, 0.1) for h, (gamma, phi) in values.items()]
    found = weighted_values(crystal_of(bulk), terminations)
    assert found.surface_energy == pytest.approx(shape.surface_energy)
    assert found.work_function == pytest.approx(shape.work_function)
    assert found.shape_factor == pytest.approx(shape.shape_factor)
    assert sum(facet.area_fraction for facet in found.facets) == pytest.approx(1)


def test_uncertainty_of_one_facet_is_that_of_the_average():
    one = Termination((1, 0, 0), "Mg", 0.05, 0.004, 4.0, 0.12)
    found = weighted_values(crystal_of(CRYSTALS["cubic"]), [one], draws=4000)
    assert found.surface_energy_sigma == pytest.approx(0.004, rel=0.05)
    assert found.work_function_sigma == pytest.approx(0.12, rel=0.05)


@pytest.mark.parametrize(("correlation", "expected"), [(0.0, 0.12 / 3**0.5), (1.0, 0.12)])
def test_shared_errors_do_not_average_out(correlation, expected):
    """Three faces of equal area: errors of a work function average if they are independent."""
    orthorhombic = Structure(Lattice.orthorhombic(3, 4, 5), ["Mg", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    faces = [Termination(h, "", 0.05, 0.0, 4.0, 0.12) for h in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    found = weighted_values(crystal_of(orthorhombic), faces, draws=4000, correlation=correlation)
    assert [facet.area_fraction for facet in found.facets] == pytest.approx([1 / 3] * 3)
    assert found.work_function_sigma == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 0.12 / 3**0.5), (0.06, 0.0849), (0.12, 0.12)])
def test_what_errors_share_is_stated_by_each_termination(shared, expected):
    """The variance of the mean of three: shared^2 + (sigma^2 - shared^2) / 3."""
    orthorhombic = Structure(Lattice.orthorhombic(3, 4, 5), ["Mg", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    faces = [
        Termination(h, "", 0.05, 0.0, 4.0, 0.12, work_function_shared=shared)
        for h in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    found = weighted_values(crystal_of(orthorhombic), faces, draws=4000, correlation=0.9)
    assert found.work_function_sigma == pytest.approx(expected, rel=0.06)


def test_termination_of_lowest_energy_and_how_often_a_facet_appears():
    crystal = crystal_of(CRYSTALS["cubic"])
    # (111) touches the corners of the cube {100} at sqrt(3) times its energy, (110) its edges at sqrt(2)
    terminations = [
        Termination((1, 0, 0), "Mg", 0.06, 0.0, 3.5),
        Termination((1, 0, 0), "Ag", 0.05, 0.0, 4.5),
        Termination((1, 1, 1), "Mg", 0.05 * 3**0.5, 0.002, 3.0),
        Termination((1, 1, 0), "MgAg", 0.09, 0.0, 3.0),
    ]
    found = weighted_values(crystal, terminations, draws=2000)
    by_plane = {facet.termination.miller_index: facet for facet in found.facets}
    assert by_plane[1, 0, 0].termination.label == "Ag" and by_plane[1, 0, 0].appears == 1
    assert by_plane[1, 1, 1].appears == pytest.approx(0.5, abs=0.05)
    assert (by_plane[1, 1, 0].area_fraction, by_plane[1, 1, 0].appears) == (0, 0)
    assert found.work_function == pytest.approx(4.5)


def test_chemical_potential_changes_the_termination():
    crystal = crystal_of(CRYSTALS["cubic"])
    terminations = [
        Termination((1, 0, 0), "Mg", 0.05, slope=-0.04),
        Termination((1, 0, 0), "Ag", 0.06, slope=0.04),
    ]
    labels = [
        weighted_values(crystal, terminations, dmu=dmu).facets[0].termination.label for dmu in (0, -0.4)
    ]
    assert labels == ["Mg", "Ag"]


def test_an_uncertain_chemical_potential_moves_all_terminations_of_a_draw():
    """sigma of the average is |mean slope| sigma_dmu: (0.03 + 0.06 + 0.06) / 3 = 0.05 for equal faces."""
    orthorhombic = Structure(Lattice.orthorhombic(3, 4, 5), ["Mg", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    slopes = {(1, 0, 0): 0.03, (0, 1, 0): 0.06, (0, 0, 1): 0.06}
    faces = [Termination(h, "", 0.05 + 0.1 * slope, slope=slope) for h, slope in slopes.items()]
    drawn = -0.1 + 0.01 * np.random.default_rng(1).standard_normal(2000)
    found = weighted_values(crystal_of(orthorhombic), faces, dmu=-0.1, drawn_dmu=drawn, draws=2000)
    assert found.surface_energy == pytest.approx(0.05)
    assert found.surface_energy_sigma == pytest.approx(0.05 * drawn.std(), rel=0.02)
    level = [Termination(h, "", 0.05) for h in slopes]
    found = weighted_values(crystal_of(orthorhombic), level, dmu=-0.1, drawn_dmu=drawn, draws=2000)
    assert found.surface_energy_sigma == 0


def test_same_seed_same_numbers():
    one = [Termination((1, 0, 0), "Mg", 0.05, 0.004, 4.0, 0.12)]
    crystal = crystal_of(CRYSTALS["cubic"])
    assert weighted_values(crystal, one, seed=4) == weighted_values(crystal, one, seed=4)
    assert weighted_values(crystal, one, seed=4) != weighted_values(crystal, one, seed=5)


@pytest.mark.parametrize(
    ("terminations", "word"),
    [
        ([], "no facet"),
        ([Termination((0, 0, 1), "", 0.03)], "enclose"),
        ([Termination((0, 0, 1), "", 0.03), Termination((1, 0, 0), "Mg", -0.01)], "(1, 0, 0)"),
        ([Termination((0, 0, 1), "", 0.03), Termination((1, 0, 0), "Mg", math.nan)], "(1, 0, 0) Mg"),
        ([Termination((0, 0, 1), "", math.inf), Termination((1, 0, 0), "Mg", 0.03)], "(0, 0, 1)"),
    ],
)
def test_no_shape_has_a_reason(terminations, word):
    found = weighted_values(crystal_of(CRYSTALS["hexagonal"]), terminations)
    assert found.surface_energy is None and word in found.reason


def test_face_without_work_function():
    found = weighted_values(crystal_of(CRYSTALS["cubic"]), [Termination((1, 0, 0), "", 0.05)])
    assert found.surface_energy == pytest.approx(0.05)
    assert found.work_function is None and "work function" in found.reason
