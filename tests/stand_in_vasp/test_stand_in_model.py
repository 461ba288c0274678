"""The stand-in's physics: derivatives, lattice constants, work functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.surface import SlabGenerator
from pymatgen.io.vasp.outputs import Vasprun

from tests.stand_in_vasp.model import PairModel, expected
from tests.stand_in_vasp.potential import (
    FERMI_ENERGY,
    WORK_FUNCTION,
    expected_sides,
    expected_work_function,
    find_slab,
    grid_potential,
    planar_average,
)
from tests.stand_in_vasp.running import run, write_inputs


@pytest.fixture
def crooked() -> Structure:
    """A crystal of two elements without any symmetry."""
    lattice = Lattice.from_parameters(4.1, 4.6, 5.3, 82, 97, 71)
    return Structure(lattice, ["Mg", "Mg", "Ag"], [[0, 0, 0], [0.52, 0.47, 0.1], [0.2, 0.1, 0.55]])


def slab_of(symbols: str, vacuum: float = 15.0) -> Structure:
    """A stack of (100) layers of B2, one letter a layer: M for Mg, A for Ag."""
    a, d = 3.34, 1.67
    height = d * (len(symbols) - 1) + vacuum
    coords = [[0.5 * a * (i % 2), 0.5 * a * (i % 2), vacuum / 2 + d * i] for i in range(len(symbols))]
    species = ["Mg" if letter == "M" else "Ag" for letter in symbols]
    lattice = Lattice.from_parameters(a, a, height, 90, 90, 90)
    return Structure(lattice, species, coords, coords_are_cartesian=True)


def test_forces_are_the_derivatives_of_the_energy(crooked: Structure) -> None:
    step = 1e-5
    forces = expected(crooked).forces
    for atom in range(3):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = crooked.cart_coords
                moved[atom, axis] += sign * step
                ends.append(PairModel(["Mg", "Mg", "Ag"]).evaluate(crooked.lattice.matrix, moved).energy)
            assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-7)


def test_stress_is_the_derivative_of_the_energy(crooked: Structure) -> None:
    step = 1e-6
    virial = expected(crooked).virial
    for i in range(3):
        for j in range(3):
            ends = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step
                lattice = crooked.lattice.matrix @ strain.T
                ends.append(
                    PairModel(["Mg", "Mg", "Ag"]).evaluate(lattice, crooked.frac_coords @ lattice).energy
                )
            assert virial[i, j] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_energy_does_not_depend_on_the_choice_of_cell(crooked: Structure) -> None:
    doubled = crooked * (2, 1, 1)
    skewed = crooked.copy()
    skewed.make_supercell([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    energy = expected(crooked).energy
    assert expected(doubled).energy == pytest.approx(2 * energy, abs=1e-9)
    assert expected(skewed).energy == pytest.approx(energy, abs=1e-9)


@pytest.mark.parametrize(
    ("group", "lattice", "species", "coords", "measured"),
    [
        ("P6_3/mmc", Lattice.hexagonal(3.3, 5.3), ["Mg"], [[1 / 3, 2 / 3, 0.25]], 3.209),
        ("Fm-3m", Lattice.cubic(4.3), ["Ag"], [[0, 0, 0]], 4.086),
        ("Pm-3m", Lattice.cubic(3.2), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]], 3.313),
    ],
)
def test_cells_relax_to_the_measured_lattice_constants(
    tmp_path: Path,
    group: str,
    lattice: Lattice,
    species: list[str],
    coords: list[list[float]],
    measured: float,
) -> None:
    crystal = Structure.from_spacegroup(group, lattice, species, coords)
    write_inputs(tmp_path, crystal, NSW=60, IBRION=2, ISIF=3, EDIFFG=-0.005)
    assert run(tmp_path).returncode == 0
    result = Vasprun(tmp_path / "vasprun.xml", parse_potcar_file=False)
    assert result.converged
    assert result.final_structure.lattice.a == pytest.approx(measured, rel=0.02)
    assert np.abs(expected(result.final_structure).virial).max() < 0.01
    assert np.abs(result.final_structure.lattice.angles) == pytest.approx(crystal.lattice.angles, abs=1e-4)


def test_only_free_atoms_of_a_slab_relax(tmp_path: Path) -> None:
    slab = slab_of("MAMAM")
    order = sorted(range(5), key=lambda i: slab[i].specie.symbol)
    slab = Structure.from_sites([slab[i] for i in order])
    z = slab.cart_coords[:, 2]
    free = (z < z.min() + 0.1) | (z > z.max() - 0.1)
    write_inputs(tmp_path, slab, free=list(free), NSW=60, IBRION=1, EDIFFG=-0.01)
    run(tmp_path)
    result = Vasprun(tmp_path / "vasprun.xml", parse_potcar_file=False)
    moved = np.array([a.distance(b) for a, b in zip(result.final_structure, slab, strict=True)])
    assert result.converged
    assert moved[~free].max() < 1e-6
    assert moved[free].min() > 0.01
    assert np.linalg.norm(result.ionic_steps[-1]["forces"][free], axis=1).max() < 0.01


def test_work_function_is_that_of_the_outermost_atoms() -> None:
    mg, ag = WORK_FUNCTION["Mg"], WORK_FUNCTION["Ag"]
    assert expected_sides(slab_of("MAMAM")) == pytest.approx((mg, mg))
    assert expected_sides(slab_of("AMAMA")) == pytest.approx((ag, ag))
    assert expected_sides(slab_of("MAMA")) == pytest.approx((mg, ag))
    assert expected_work_function(slab_of("MAMA")) == pytest.approx((mg + ag) / 2)


def test_a_slab_that_wraps_round_the_cell_is_the_same_slab() -> None:
    wrapped = slab_of("MAMAA")
    sides = expected_sides(wrapped)
    for shift in (0.0, 0.3, 0.45, 0.9):
        moved = wrapped.copy()
        moved.translate_sites(range(5), [0, 0, shift])
        assert expected_sides(moved) == pytest.approx(sides)


def test_a_bulk_crystal_has_no_sides(crooked: Structure) -> None:
    with pytest.raises(ValueError, match="not a slab"):
        expected_sides(crooked)


def test_vacuum_is_flat_with_dipole_correction_and_tilted_without() -> None:
    slab = slab_of("MAMA")
    symbols = [site.specie.symbol for site in slab]
    found = find_slab(slab.lattice.matrix, slab.cart_coords, symbols)
    assert found is not None
    z = np.arange(400) * found.height / 400
    flat = planar_average(found, 400, dipole=True)
    tilted = planar_average(found, 400, dipole=False)
    top = (z > found.top + 5) & (z < found.top + 7.4)
    bottom = (z < found.bottom - 5) & (z > found.bottom - 7.4)
    assert np.ptp(flat[top]) < 1e-6
    assert np.mean(flat[bottom]) - FERMI_ENERGY == pytest.approx(WORK_FUNCTION["Mg"], abs=1e-6)
    assert np.mean(flat[top]) - FERMI_ENERGY == pytest.approx(WORK_FUNCTION["Ag"], abs=1e-6)
    assert np.ptp(tilted[top]) > 0.05


def test_dipole_correction_needs_the_right_centre_and_a_normal_axis() -> None:
    slab = slab_of("MAMA")
    symbols = [site.specie.symbol for site in slab]
    found = find_slab(slab.lattice.matrix, slab.cart_coords, symbols)
    assert found is not None
    middle = (found.top + found.bottom) / 2 / found.height
    right = planar_average(found, 300, dipole=True, centre=middle)
    assert right == pytest.approx(planar_average(found, 300, dipole=True), abs=1e-9)
    tilted = planar_average(found, 300, dipole=False)
    assert planar_average(found, 300, dipole=True, centre=middle + 0.5) == pytest.approx(tilted, abs=1e-9)
    skewed = slab.lattice.matrix + np.diag([1.0, 0, 0])[[1, 2, 0]]
    grid = grid_potential(skewed, slab.frac_coords @ skewed, symbols, (4, 4, 300), dipole=True)
    assert grid.mean(axis=(0, 1)) == pytest.approx(tilted, abs=1e-9)


def test_corrugation_averages_to_nothing() -> None:
    slab = SlabGenerator(
        Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3]),
        (1, 1, 0),
        8,
        15,
        center_slab=True,
    ).get_slab()
    symbols = [site.specie.symbol for site in slab]
    grid = grid_potential(slab.lattice.matrix, slab.cart_coords, symbols, (6, 8, 200))
    found = find_slab(slab.lattice.matrix, slab.cart_coords, symbols)
    assert found is not None
    assert np.ptp(grid, axis=(0, 1)).max() > 0.1
    assert grid.mean(axis=(0, 1)) == pytest.approx(planar_average(found, 200, dipole=False), abs=1e-9)
