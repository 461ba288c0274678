"""The cell relaxation on ASE's EMT potential, where the answer can be found by other means."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from workflows.engines.gpaw import bulk as gpaw_bulk
from workflows.engines.gpaw.bulk import birch_murnaghan_minimum, relax_cell


class PulayEMT(Calculator):
    """EMT whose stress is off by a constant isotropic part, as that of a low plane-wave cut-off is."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 -- as ASE has it

    def __init__(self, pulay=0.0):
        super().__init__()
        self.pulay = pulay

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        emt = EMT(asap_cutoff=False)
        self.results = {
            "energy": emt.get_potential_energy(atoms),
            "forces": emt.get_forces(atoms),
            "stress": emt.get_stress(atoms) + self.pulay * np.array([1, 1, 1, 0, 0, 0]),
        }
        self.results["free_energy"] = self.results["energy"]


def relax(atoms, pulay=0.0):
    def calculator_for(_):
        return PulayEMT(pulay)

    return relax_cell(atoms, calculator_for, calculator_for, force_tolerance=1e-3, max_steps=100)


def emt_state(atoms):
    bare = atoms.copy()
    bare.calc = EMT(asap_cutoff=False)
    return bare.get_stress(), bare.get_forces()


CELLS = {
    "fcc": lambda: bulk("Cu", cubic=True, a=3.45),
    "hcp": lambda: bulk("Cu", "hcp", a=2.6, c=4.4),
    "L1_0": lambda: Atoms(
        "CuAu", cell=[2.8, 2.8, 3.6], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True
    ),
    "Cmcm": lambda: Atoms(
        "Cu4",
        cell=[2.5, 4.4, 4.1],
        scaled_positions=[[0, 0.1, 0.25], [0, 0.9, 0.75], [0.5, 0.6, 0.25], [0.5, 0.4, 0.75]],
        pbc=True,
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_stress_and_forces_vanish(name):
    result = relax(CELLS[name]())
    assert result.converged, result.reason
    stress, forces = emt_state(result.atoms)
    assert np.abs(stress).max() < 5e-5
    assert np.abs(forces).max() < 1e-3


@pytest.mark.parametrize("name", ["hcp", "L1_0"])
def test_a_pulay_stress_changes_nothing(name):
    exact, disturbed = relax(CELLS[name]()), relax(CELLS[name](), pulay=0.01)
    assert disturbed.details["pulay_stress"] == pytest.approx(0.01, abs=1e-4)
    np.testing.assert_allclose(disturbed.atoms.cell.cellpar(), exact.atoms.cell.cellpar(), rtol=2e-3)


def test_setting_order_and_orientation_are_kept():
    start = bulk("Cu", cubic=True, a=3.45)
    # A doubled, turned, reordered cell: the answer is the same crystal in the same setting.
    start = start.repeat((2, 1, 1))[[3, 0, 7, 5, 1, 6, 2, 4]]
    start.rotate(30, (1, 2, 3), rotate_cell=True)
    result = relax(start)
    scale = result.atoms.cell[:] @ np.linalg.inv(start.cell[:])
    np.testing.assert_allclose(scale, scale[0, 0] * np.eye(3), atol=1e-8)
    np.testing.assert_allclose(
        result.atoms.get_scaled_positions(wrap=False), start.get_scaled_positions(wrap=False), atol=1e-8
    )
    assert scale[0, 0] * 3.45 == pytest.approx(3.590, abs=2e-3)


@pytest.mark.parametrize("a", [3.2, 3.45, 3.75, 4.0])
def test_a_far_start_finds_the_same_minimum(a):
    result = relax(bulk("Cu", cubic=True, a=a))
    assert result.converged
    assert result.atoms.cell.lengths()[0] == pytest.approx(3.590, abs=3e-3)


def test_no_minimum_is_not_converged_and_says_so():
    class Repulsive(PulayEMT):
        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            Calculator.calculate(self, atoms, properties, system_changes)
            self.results = {"energy": 100.0 / atoms.get_volume(), "free_energy": 0.0}

    result = relax_cell(bulk("Cu"), lambda _: Repulsive(), lambda _: Repulsive(), 0.01, 10)
    assert not result.converged
    assert "no minimum of the equation of state" in result.reason


@pytest.mark.parametrize(("noise", "converged"), [(1e-4, True), (0.01, False)])
def test_scatter_about_the_equation_of_state_counts_per_atom(noise, converged):
    class Rough(PulayEMT):
        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results["energy"] += noise * len(atoms) * np.cos(1e5 * atoms.get_volume())

    result = relax_cell(CELLS["fcc"](), lambda _: Rough(), lambda _: Rough(), 0.01, 10)
    residual = result.details["equations_of_state"][-1]["residual_per_atom"]
    assert result.converged is converged
    assert (residual > 0.002) is not converged
    assert 0.05 * noise < residual < noise
    if not converged:
        assert f"scatter by {1000 * residual:.1f} meV/atom" in result.reason


def test_a_shape_that_does_not_settle_is_not_converged(monkeypatch):
    monkeypatch.setattr(gpaw_bulk, "SHAPE_DRIFT", 0.0)
    result = relax(CELLS["hcp"]())
    assert not result.converged
    assert len(result.details["equations_of_state"]) == gpaw_bulk.MAX_ROUNDS
    assert "changed by" in result.reason and "3 rounds" in result.reason


def test_birch_murnaghan_recovers_its_own_parameters():
    v0, e0, b0, b1 = 36.0, -4.5, 0.4, 4.6
    volumes = v0 * np.linspace(0.95, 1.05, 7) ** 3
    x = (v0 / volumes) ** (2 / 3)
    energies = e0 + 9 * v0 * b0 / 16 * ((x - 1) ** 3 * b1 + (x - 1) ** 2 * (6 - 4 * x))
    assert birch_murnaghan_minimum(volumes, energies)[:3] == pytest.approx((v0, e0, b0), rel=1e-6)
    assert birch_murnaghan_minimum(volumes, energies)[3] < 1e-9


def test_energies_without_a_minimum_are_refused():
    volumes = np.linspace(10, 12, 7)
    x = volumes ** (-2 / 3)
    with pytest.raises(ValueError, match="no minimum"):
        birch_murnaghan_minimum(volumes, x + x**3)  # the slope 1 + 3 x^2 has no zero
