import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.errors import InputError
from workflows.analysis.work_function import work_function

PERIOD = 25.0
ATOMS = np.array([7.5, 10.0, 12.5, 15.0, 17.5])  # 10 A slab, 15 A vacuum, centred


def potential_of(z, level=4.5, step=0.0, slope=0.0):
    """Slab well of 8 eV between 6 and 19 A, vacuum at `level`; the top side is higher by `step`."""
    v = np.where((z > 6.0) & (z < 19.0), level - 8.0 + 3.0 * np.cos(2 * np.pi * z / 2.5), level)
    v = v + np.where(z >= 19.0, step, 0.0)
    return v + np.where(z >= 19.0, slope * (z - 23.75), 0.0)


def grid(n=500):
    return np.arange(n) * PERIOD / n


def test_both_sides_of_a_symmetric_slab():
    z = grid()
    result = work_function(z, potential_of(z), ATOMS, 0.8, PERIOD)
    # 4.5 - 0.8
    assert result.work_function == pytest.approx(3.7)
    assert result.sides == pytest.approx((3.7, 3.7))
    assert result.slopes == pytest.approx((0.0, 0.0), abs=1e-12)
    assert result.unevenness(0.01, 0.02) == []


def test_ranges_reach_from_5_angstrom_beyond_the_atoms_to_mid_vacuum():
    bottom, top = work_function(grid(), potential_of(grid()), ATOMS, 0.8, PERIOD).plateaus
    assert (bottom.start, bottom.end) == pytest.approx(
        (0.0, 2.5), abs=1e-5
    )  # 7.5 - 5; (17.5 + 7.5 - 25)/2 = 0
    assert (top.start, top.end) == pytest.approx((22.5, 25.0), abs=1e-5)


def test_dipole_step_between_the_sides():
    z = grid()
    result = work_function(z, potential_of(z, step=0.3), ATOMS, 0.8, PERIOD)
    assert result.sides == pytest.approx((3.7, 4.0))
    assert result.work_function == pytest.approx(3.85)


@given(shift=st.integers(0, 499))
def test_wherever_the_slab_lies_in_the_cell(shift):
    z = grid()
    v = np.roll(potential_of(z, step=0.3), shift)
    atoms = np.mod(ATOMS + shift * PERIOD / 500, PERIOD)
    still = work_function(z, potential_of(z, step=0.3), ATOMS, 0.8, PERIOD)
    moved = work_function(z, v, atoms, 0.8, PERIOD)
    assert moved.sides == pytest.approx(still.sides, abs=1e-9)


def test_constant_shift_of_potential_and_fermi_energy_drops_out():
    z = grid()
    result = work_function(z, potential_of(z) - 11.0, ATOMS, 0.8 - 11.0, PERIOD)
    assert result.work_function == pytest.approx(3.7)


def test_slope_and_spread_are_measured_and_named():
    z = grid()
    result = work_function(z, potential_of(z, slope=0.02), ATOMS, 0.8, PERIOD)
    assert result.slopes == pytest.approx((0.0, 0.02), abs=1e-9)
    # 2.5 A at 0.02 eV/A, less one grid step of 0.05 A: 0.049 to 0.050 eV
    assert result.spreads[1] == pytest.approx(0.0495, abs=1e-3)
    slope, spread = result.unevenness(0.01, 0.02)
    assert slope.startswith("top vacuum slopes by 0.0200 eV/A") and spread.startswith("top vacuum spreads")
    assert result.unevenness(0.03, 0.06) == []


def test_the_maximum_is_not_the_vacuum_level():
    z = grid()
    v = potential_of(z)
    v[np.abs(z - 20.0) < 0.2] += 2.0  # a spike 2.5 A beyond the atoms, outside the plateau
    assert work_function(z, v, ATOMS, 0.8, PERIOD).work_function == pytest.approx(3.7)


def test_thin_vacuum_gives_a_reason_and_no_number():
    z = np.arange(200) * 21.0 / 200
    result = work_function(z, np.zeros(200), ATOMS, 0.0, 21.0)  # 11 A vacuum
    assert result.work_function is None and result.sides is None and result.slopes is None
    assert "vacuum of 11.0 A leaves no plateau" in result.reason


def test_bad_potential():
    with pytest.raises(InputError, match="do not match"):
        work_function([0.0, 1.0], [0.0], ATOMS, 0.0, PERIOD)
    with pytest.raises(InputError, match="not finite"):
        work_function(grid(), np.full(500, np.nan), ATOMS, 0.0, PERIOD)
