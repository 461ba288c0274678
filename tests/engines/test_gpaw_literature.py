"""Lattice parameters at the demo preset against published PBE values."""

from __future__ import annotations

import importlib.util

import pytest
from pymatgen.core import Lattice, Structure

from stores.records import CalculationStatus
from workflows.engines.registry import make_engine

pytestmark = [
    pytest.mark.gpaw,
    pytest.mark.slow,
    pytest.mark.xdist_group("gpaw"),
    pytest.mark.skipif(
        importlib.util.find_spec("gpaw") is None, reason="GPAW is not installed: make gpaw installs it"
    ),
]


def relax(structure, folder, **options):
    out = make_engine("gpaw", **options).relax_bulk(structure, folder)
    assert out.status is CalculationStatus.OK, out.reason
    return Structure.from_dict(out.structure).lattice, out


def test_hcp_mg(tmp_path):
    start = Structure(Lattice.hexagonal(3.3, 5.1), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    lattice, out = relax(start, tmp_path)
    assert lattice.a == pytest.approx(3.195, abs=0.015)
    assert lattice.c / lattice.a == pytest.approx(1.62, abs=0.015)
    assert abs(out.details["pulay_stress"]) < 0.02


def test_fcc_ag_in_its_conventional_cell(tmp_path):
    start = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Ag"], [[0, 0, 0]])
    lattice, out = relax(start, tmp_path)
    assert lattice.abc == pytest.approx([4.155] * 3, abs=0.015)
    assert out.details["atoms_in_primitive_cell"] == 1
    assert len(out.details["equations_of_state"][-1]["volumes"]) == 7


def test_b2_mgag(tmp_path):
    start = Structure(Lattice.cubic(3.2), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    lattice, _ = relax(start, tmp_path)
    assert lattice.abc == pytest.approx([3.340] * 3, abs=0.012)


def test_a_ferromagnet_keeps_its_moment(tmp_path):
    # bcc Fe: 2.2 Bohr magnetons per atom at the experimental lattice parameter
    crystal = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    out = make_engine("gpaw").static_bulk(crystal, (8, 8, 8), tmp_path)
    assert out.status is CalculationStatus.OK, out.reason
    assert out.total_magnetization == pytest.approx(4.4, abs=0.3)
    assert out.site_magnetizations[0] == pytest.approx(out.site_magnetizations[1], abs=0.01)


def test_davidson_elements_converge(tmp_path):
    # B2 MgSc, PBE lattice parameter about 3.59 A
    crystal = Structure(Lattice.cubic(3.59), ["Mg", "Sc"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    out = make_engine("gpaw", k_density=3.0).static_bulk(crystal, (6, 6, 6), tmp_path)
    assert out.status is CalculationStatus.OK, out.reason
    assert not out.retried


def test_an_insulator_has_band_edges(tmp_path):
    # MgO, PBE gap about 4.4 eV at Gamma
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    primitive = crystal.get_primitive_structure()
    out = make_engine("gpaw", cutoff=400.0).static_bulk(primitive, (4, 4, 4), tmp_path)
    assert out.cbm - out.vbm == pytest.approx(4.5, abs=0.6)
