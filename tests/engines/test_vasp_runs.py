"""The engine vasp on the stand-in: what comes out of runs that go well."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar

from stores.errors import EngineError
from stores.records import CalculationOutput, CalculationStatus
from tests.engines.vasp_engine import MESH, engine, mgag, mgag_slab, set_up
from tests.stand_in_vasp.model import expected, expected_energy
from tests.stand_in_vasp.potential import FERMI_ENERGY
from workflows.analysis.work_function import work_function
from workflows.engines.protocol import Engine
from workflows.engines.registry import make_engine
from workflows.engines.vasp.inputs import PRESETS, BulkRelaxSetGenerator
from workflows.engines.vasp.run import run_calculation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def potcars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Synthetic POTCARs, no faults."""
    set_up(monkeypatch, tmp_path)


def folder(tmp_path: Path, name: str) -> Path:
    """An empty folder of a calculation."""
    path = tmp_path / name
    path.mkdir()
    return path


def incar_of(directory: Path) -> Incar:
    """INCAR as VASP last read it."""
    return Incar.from_str(gzip.decompress((directory / "INCAR.gz").read_bytes()).decode())


def test_it_is_an_engine_of_the_registry() -> None:
    made = make_engine("vasp", "production", vasp_command="srun vasp_std")
    assert isinstance(made, Engine) and made.name == "vasp"
    assert made.method().cutoff == 480.0


@pytest.fixture(scope="module")
def relaxed_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Structure, CalculationOutput, Path]:
    """A relaxed MgAg (110) slab whose species were listed in turn."""
    parent = tmp_path_factory.mktemp("once")
    slab, free = mgag_slab()
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_up(monkeypatch, parent)
        directory = folder(parent, "relax")
        return slab, engine().relax_slab(slab, free, MESH, directory), directory


@pytest.fixture
def relaxed(
    relaxed_once: tuple[Structure, CalculationOutput, Path], tmp_path: Path
) -> tuple[Structure, CalculationOutput, Path]:
    """The same with a copy of its folder, which a test may change."""
    slab, output, directory = relaxed_once
    return slab, output, shutil.copytree(directory, tmp_path / "relax")


def test_a_slab_keeps_the_order_of_its_atoms_and_its_frozen_ones(
    relaxed: tuple[Structure, CalculationOutput, Path],
) -> None:
    slab, output, directory = relaxed
    assert output.status is CalculationStatus.OK, output.reason
    final = Structure.from_dict(output.structure)
    assert final.species == slab.species
    assert np.allclose(final.lattice.matrix, slab.lattice.matrix, atol=0)
    moved = np.linalg.norm(final.cart_coords - slab.cart_coords, axis=1)
    free = np.array(mgag_slab()[1])
    assert (moved[~free] == 0).all()
    assert 0.01 < moved[free].max() < 0.5
    # in the order of the input, energy and forces are the model's
    assert output.energy == pytest.approx(expected_energy(final), abs=1e-4)
    forces = np.linalg.norm(expected(final).forces[free], axis=1).max()
    assert output.max_force == pytest.approx(forces, abs=1e-4) and forces <= 0.05
    assert output.kpoints == MESH
    assert output.directory.endswith(directory.name)
    assert set(output.setups) == {"Mg", "Ag"} and output.setups["Mg"].startswith("PAW_PBE Mg_pv ")
    assert output.details["dipole_correction"] is False and not output.retried
    assert output.potential is None


def test_the_static_run_starts_from_the_relaxation(
    relaxed: tuple[Structure, CalculationOutput, Path], tmp_path: Path
) -> None:
    _, output, before = relaxed
    final = Structure.from_dict(output.structure)
    assert (before / "WAVECAR").stat().st_size > 0
    cold = engine().static_slab(final, MESH, folder(tmp_path, "cold"))
    static = folder(tmp_path, "static")
    warm = engine().static_slab(final, MESH, static, prev_dir=before)

    assert (incar_of(static)["ISTART"], incar_of(static)["ICHARG"]) == (1, 1)
    assert warm.scf_steps < cold.scf_steps
    assert warm.energy == pytest.approx(cold.energy, abs=2e-5)
    assert warm.energy == pytest.approx(expected_energy(final), abs=1e-4)
    # what it needed is not kept any longer
    assert not any((place / name).exists() for place in (before, static) for name in ("WAVECAR", "CHGCAR"))


def test_work_function_is_the_closed_form(
    relaxed: tuple[Structure, CalculationOutput, Path], tmp_path: Path
) -> None:
    final = Structure.from_dict(relaxed[1].structure)
    output = engine().static_slab(final, MESH, folder(tmp_path, "static"))
    assert output.status is CalculationStatus.OK and output.potential is not None
    assert output.fermi_energy == pytest.approx(FERMI_ENERGY, abs=1e-3)
    heights = final.cart_coords[:, 2]
    planar = output.potential
    found = work_function(planar.z, planar.potential, heights, output.fermi_energy, final.lattice.c)
    assert found.work_function == pytest.approx((3.66 + 4.26) / 2, abs=1e-3)


def test_a_crystal_is_relaxed_until_its_cell_rests_then_computed_once_more(tmp_path: Path) -> None:
    directory = folder(tmp_path, "bulk")
    squeezed = mgag()
    squeezed.scale_lattice(0.85 * squeezed.volume)
    output = engine().relax_bulk(squeezed, directory)

    assert output.status is CalculationStatus.OK, output.reason
    runs = sorted(path.name for path in directory.iterdir())
    assert runs[0] == "cell_1" and runs[-1] == "static" and len(runs) >= 3
    final = Structure.from_dict(output.structure)
    assert np.ptp(final.lattice.abc) < 1e-6 and final.lattice.angles == pytest.approx((90, 90, 90))
    assert output.energy == pytest.approx(expected_energy(final), abs=1e-4)
    stress = expected(final).stress if hasattr(expected(final), "stress") else np.zeros(1)
    assert np.abs(stress).max() < 0.02
    # the last run began with the plane waves of the cell it ended with
    assert incar_of(directory / "static")["NSW"] == 0
    assert output.ionic_steps > 3


def test_moments_come_back_in_the_order_of_the_atoms(tmp_path: Path) -> None:
    sites = [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]]
    cell = Structure(Lattice.tetragonal(3.0, 6.0), ["Co", "Mg", "Co", "Mg"], sites)
    output = engine().static_bulk(cell, (2, 2, 2), folder(tmp_path, "static"))
    assert output.status is CalculationStatus.OK, output.reason
    moments = output.site_magnetizations
    assert moments is not None and output.total_magnetization is not None
    assert min(moments[0], moments[2]) > 0.5 and max(abs(moments[1]), abs(moments[3])) < 0.5


def test_files_are_kept_compressed(relaxed: tuple[Structure, CalculationOutput, Path]) -> None:
    directory = relaxed[2]
    plain = {path.name for path in directory.iterdir() if path.suffix != ".gz"}
    assert plain == {"WAVECAR", "CHGCAR", "mgsurf.json"}
    assert {"INCAR.gz", "KPOINTS.gz", "POSCAR.gz", "OUTCAR.gz", "vasprun.xml.gz", "CONTCAR.gz"} <= {
        path.name for path in directory.iterdir()
    }
    json.loads(gzip.decompress((directory / "custodian.json.gz").read_bytes()))


def test_a_finished_run_is_read_not_run_again(
    relaxed: tuple[Structure, CalculationOutput, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slab, before, directory = relaxed
    monkeypatch.setenv("STAND_IN_VASP_FAULT", "edddav")  # would fail now
    again = engine().relax_slab(slab, mgag_slab()[1], MESH, directory)
    assert again.status is CalculationStatus.OK
    assert again.energy == before.energy and again.structure == before.structure
    assert not list(directory.glob("attempt_*"))


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_static_run_whose_potential_was_lost_is_run_again(
    relaxed: tuple[Structure, CalculationOutput, Path], tmp_path: Path, damage: str
) -> None:
    final = Structure.from_dict(relaxed[1].structure)
    static = folder(tmp_path, "static")
    before = engine().static_slab(final, MESH, static)
    packed = static / "LOCPOT.gz"
    packed.write_bytes(packed.read_bytes()[:2000]) if damage == "cut" else packed.unlink()
    again = engine().static_slab(final, MESH, static)
    assert again.status is CalculationStatus.OK, again.reason
    assert again.potential == before.potential
    assert (static / "attempt_1" / "OUTCAR.gz").exists()


def test_a_run_that_writes_orbitals_leaves_those_it_began_with_alone(tmp_path: Path) -> None:
    # a kill while VASP writes its WAVECAR must not damage the one the next attempt begins with
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    control = engine()._control()
    generator = BulkRelaxSetGenerator(settings=PRESETS["demo"], mesh=(3, 3, 3))
    assert run_calculation(generator, mgag(), first, control).status is CalculationStatus.OK
    for name in ("WAVECAR", "CHGCAR"):
        (first / name).write_text(f"{name} of the first run")
    larger = mgag().scale_lattice(1.05 * mgag().volume)
    generator = BulkRelaxSetGenerator(settings=PRESETS["demo"], mesh=(3, 3, 3))
    assert run_calculation(generator, larger, second, control, first).status is CalculationStatus.OK
    assert incar_of(second)["ISTART"] == 1
    for name in ("WAVECAR", "CHGCAR"):
        assert (first / name).read_text() == f"{name} of the first run"


def test_another_task_in_the_same_folder_starts_afresh(
    relaxed: tuple[Structure, CalculationOutput, Path],
) -> None:
    slab, _, directory = relaxed
    other = engine().relax_slab(slab, mgag_slab()[1], (2, 3, 1), directory)
    assert other.status is CalculationStatus.OK and other.kpoints == (2, 3, 1)
    assert incar_of(directory)["ISTART"] == 0
    assert (directory / "other_1" / "OUTCAR.gz").exists()


def test_a_missing_potcar_stops_before_anything_is_written(tmp_path: Path) -> None:
    next((tmp_path / "potcars").rglob("POTCAR.Ag")).unlink()
    directory = folder(tmp_path, "x")
    with pytest.raises(EngineError, match="no POTCAR Ag"):
        engine().static_bulk(mgag(), (2, 2, 2), directory)
    assert not list(directory.iterdir())
