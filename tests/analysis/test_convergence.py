import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.errors import InputError
from workflows.analysis.convergence import converged_at, fit_thickness


@given(gamma=st.floats(0.001, 0.3), bulk=st.floats(-5000, -1), area=st.floats(5, 200))
def test_exact_line_is_found(gamma, bulk, area):
    layers = [5, 7, 9, 11]
    fit = fit_thickness(layers, [2 * gamma * area + n * bulk for n in layers], area)
    assert fit.surface_energy == pytest.approx(gamma, abs=1e-8)
    assert fit.bulk_energy == pytest.approx(bulk)
    assert fit.residual == pytest.approx(0.0, abs=1e-7)


def test_scatter_by_hand():
    # N = 1, 2, 3 and E = 1, 2 + 0.3, 3 with A = 0.5: slope 1, intercept 0.1 = gamma * 2 * 0.5,
    # deviations -0.1, 0.2, -0.1: rms sqrt(0.06/3); variance 0.06/1, error sqrt(0.06 (1/3 + 4/2)) = 0.37417
    fit = fit_thickness([1, 2, 3], [1.0, 2.3, 3.0], 0.5)
    assert fit.surface_energy == pytest.approx(0.1)
    assert fit.bulk_energy == pytest.approx(1.0)
    assert fit.residual == pytest.approx(0.02**0.5)
    assert fit.surface_energy_error == pytest.approx(0.14**0.5)


def test_wrong_separate_bulk_energy_does_not_enter():
    # with E_bulk off by 10 meV per unit the plain formula drifts by 0.01 N / 2A; the fit does not
    area, gamma, bulk = 10.0, 0.05, -100.0
    energies = {n: 2 * area * gamma + n * bulk for n in (5, 9, 13)}
    plain = [(energies[n] - n * (bulk + 0.01)) / (2 * area) for n in energies]
    assert plain[0] - plain[2] == pytest.approx(0.01 * 8 / 20)
    fit = fit_thickness(list(energies), list(energies.values()), area)
    assert fit.surface_energy == pytest.approx(gamma)


def test_two_thicknesses_are_too_few():
    with pytest.raises(InputError, match="at least three"):
        fit_thickness([5, 7, 7], [1.0, 2.0, 2.0], 1.0)
    with pytest.raises(InputError, match="area"):
        fit_thickness([5, 7, 9], [1.0, 2.0, 3.0], 0.0)


def test_converged_at_is_where_the_value_stays_close():
    settings, values = [300, 350, 400, 450, 500], [0.10, 0.051, 0.058, 0.0505, 0.05]
    assert converged_at(settings, values, 0.002) == 450  # 350 is close by chance, 400 is not
    assert converged_at(settings, values, 0.1) == 300
    assert converged_at(list(reversed(settings)), list(reversed(values)), 0.002) == 450


def test_one_point_shows_no_convergence():
    assert converged_at([300, 400], [0.1, 0.2], 0.01) is None
    assert converged_at([400], [0.2], 0.01) is None
    assert converged_at([300, 400, 500], [0.2, float("nan"), 0.2], 0.01) is None
    with pytest.raises(InputError):
        converged_at([300], [], 0.01)
