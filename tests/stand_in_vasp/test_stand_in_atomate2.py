"""atomate2's own makers run the stand-in through custodian, as they would run VASP."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atomate2.vasp.jobs.base import BaseVaspMaker
from atomate2.vasp.jobs.core import RelaxMaker, StaticMaker
from atomate2.vasp.sets.core import RelaxSetGenerator, StaticSetGenerator
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import SETTINGS, Lattice, Structure

from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.potcars import write_potcars
from tests.stand_in_vasp.potential import FERMI_ENERGY, expected_work_function
from tests.stand_in_vasp.running import COMMAND

# Monitors look only every 10 s: one that looks while a run starts still finds the OSZICAR of the run before.
RUN = {"vasp_cmd": COMMAND, "custodian_kwargs": {"polling_time_step": 0.2, "monitor_freq": 50}}


@pytest.fixture(autouse=True)
def potcars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(write_potcars(tmp_path / "potcars")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def crystal() -> Structure:
    lattice = Lattice.from_parameters(3.4, 3.5, 3.2, 88, 93, 91)
    return Structure(lattice, ["Mg", "Ag"], [[0, 0, 0], [0.53, 0.48, 0.5]])


def go(maker: BaseVaspMaker, structure: Structure, folder: Path) -> Any:
    job = maker.make(structure)
    store = JobStore(MemoryStore())
    done = run_locally(
        job, root_dir=folder, create_folders=True, store=store, raise_immediately=True, log=False
    )
    return done[job.uuid][1].output


def relax_maker() -> RelaxMaker:
    generator = RelaxSetGenerator(user_incar_settings={"EDIFFG": -0.02, "ISMEAR": 1, "SIGMA": 0.1})
    return RelaxMaker(input_set_generator=generator, run_vasp_kwargs=RUN)


@pytest.mark.parametrize("version", ["6", "5.4.4"])
def test_relax(tmp_path: Path, crystal: Structure, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("STAND_IN_VASP_VERSION", version)
    document = go(relax_maker(), crystal, tmp_path)
    assert document.state == "successful"
    assert document.output.energy == pytest.approx(expected_energy(document.structure), abs=1e-6)
    assert document.calcs_reversed[0].vasp_version.startswith(version)
    assert document.calcs_reversed[0].output.efermi == FERMI_ENERGY
    assert document.calcs_reversed[0].output.is_metal
    assert document.structure.lattice.a == pytest.approx(3.34, abs=0.02)


def test_static_of_a_slab_gives_its_work_function(tmp_path: Path) -> None:
    heights = [8.0, 9.67, 11.34]
    coords = [[1.67 * (i % 2), 1.67 * (i % 2), z] for i, z in enumerate(heights)]
    slab = Structure(
        Lattice.tetragonal(3.34, 20), ["Mg", "Ag", "Mg"], coords, coords_are_cartesian=True
    ).get_sorted_structure()
    generator = StaticSetGenerator(user_incar_settings={"LVHAR": True, "LVTOT": False})
    document = go(StaticMaker(input_set_generator=generator, run_vasp_kwargs=RUN), slab, tmp_path)
    potential = np.array(document.calcs_reversed[0].output.locpot["2"])
    assert document.state == "successful"
    assert potential[0] - FERMI_ENERGY == pytest.approx(expected_work_function(slab), abs=1e-3)


def test_magnetic_moments_reach_the_document(tmp_path: Path) -> None:
    alloy = Structure(Lattice.cubic(2.9), ["Fe", "Co"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    document = go(StaticMaker(run_vasp_kwargs=RUN), alloy, tmp_path)
    assert document.structure.site_properties["magmom"] == [2.2, 1.6]
