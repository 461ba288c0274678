"""What the stand-in writes, read back with pymatgen: every file, both versions, restarts, convergence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar
from pymatgen.io.vasp.outputs import Chgcar, Eigenval, Locpot, Oszicar, Outcar, Vasprun, Xdatcar

from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.potential import FERMI_ENERGY, WORK_FUNCTION
from tests.stand_in_vasp.running import COMMAND, VASP_STD, run, write_inputs


@pytest.fixture
def crystal() -> Structure:
    return Structure(Lattice.cubic(3.4), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def slab() -> Structure:
    heights = {"Mg": [7.5, 10.9], "Ag": [9.2, 12.6]}
    species = [symbol for symbol, zs in heights.items() for _ in zs]
    coords = [[1.7 * (i % 2), 0.1, z] for zs in heights.values() for i, z in enumerate(zs)]
    return Structure(Lattice.tetragonal(3.4, 20.1), species, coords, coords_are_cartesian=True)


def vasprun(folder: Path) -> Vasprun:
    return Vasprun(folder / "vasprun.xml", parse_potcar_file=False)


@pytest.mark.parametrize("version", ["6", "5.4.4"])
def test_every_file_of_a_relaxation_tells_the_same(tmp_path: Path, crystal: Structure, version: str) -> None:
    write_inputs(tmp_path, crystal, NSW=30, IBRION=2, ISIF=3, EDIFFG=-0.02, LORBIT=11)
    assert run(tmp_path, version=version).returncode == 0
    xml, outcar = vasprun(tmp_path), Outcar(tmp_path / "OUTCAR")
    oszicar = Oszicar(tmp_path / "OSZICAR")
    energy = expected_energy(Poscar.from_file(tmp_path / "CONTCAR").structure)
    assert xml.converged
    assert xml.vasp_version.startswith(version)
    assert float(xml.final_energy) == pytest.approx(energy, abs=1e-6)
    assert xml.ionic_steps[-1]["electronic_steps"][-1]["e_0_energy"] == pytest.approx(energy, abs=1e-6)
    assert outcar.final_energy == pytest.approx(energy, abs=1e-6)
    assert float(oszicar.final_energy) == pytest.approx(energy, abs=1e-6)
    assert len(oszicar.ionic_steps) == len(xml.ionic_steps) == len(Xdatcar(tmp_path / "XDATCAR").structures)
    assert xml.efermi == outcar.efermi == FERMI_ENERGY
    assert outcar.drift[-1] == pytest.approx([0, 0, 0], abs=1e-5)
    assert xml.complete_dos.efermi == FERMI_ENERGY
    assert len(outcar.charge) == 2
    assert outcar.run_stats["cores"] == 1
    assert outcar.data["nplwvs_at_kpoints"] == [outcar.data["nplwvs_at_kpoints"][0]] * len(xml.actual_kpoints)
    assert xml.potcar_symbols == ["PAW_PBE Mg_pv 01Jan2000", "PAW_PBE Ag 01Jan2000"]
    assert xml.parameters["NELM"] == 60
    assert sum(xml.actual_kpoints_weights) == pytest.approx(1)
    assert Eigenval(tmp_path / "EIGENVAL").nbands == outcar.data["nbands"]


def test_version_5_misnames_energies_of_ionic_steps(tmp_path: Path, crystal: Structure) -> None:
    write_inputs(tmp_path, crystal)
    run(tmp_path, version="5.4.4")
    step = vasprun(tmp_path).ionic_steps[-1]
    assert abs(step["e_0_energy"]) < 0.01
    assert step["electronic_steps"][-1]["e_0_energy"] < -1


def test_three_energies_differ_by_the_entropy(tmp_path: Path, crystal: Structure) -> None:
    for smearing, order in ((1, 1), (0, 0), (2, 2)):
        write_inputs(tmp_path, crystal, ISMEAR=smearing, SIGMA=0.3)
        run(tmp_path)
        outcar = Outcar(tmp_path / "OUTCAR")
        free, without, zero = outcar.final_fr_energy, outcar.final_energy_wo_entrp, outcar.final_energy
        assert free < zero < without
        assert zero == pytest.approx(((order + 1) * free + without) / (order + 2), abs=1e-7)
        assert zero == pytest.approx(expected_energy(crystal), abs=1e-6)


def test_locpot_gives_the_vacuum_levels(tmp_path: Path, slab: Structure) -> None:
    levels = {}
    for name, tags in {
        "free": {},
        "corrected": {"LDIPOL": True, "IDIPOL": 3},
        "total": {"LDIPOL": True, "IDIPOL": 3, "LVHAR": False, "LVTOT": True},
    }.items():
        folder = write_inputs(tmp_path / name, slab, kpoints=(4, 4, 1), **({"LVHAR": True} | tags))
        run(folder)
        levels[name] = Locpot.from_file(folder / "LOCPOT").get_average_along_axis(2)
    z = np.arange(len(levels["free"])) * 20.1 / len(levels["free"])
    assert levels["corrected"][z > 17.8][0] - FERMI_ENERGY == pytest.approx(WORK_FUNCTION["Ag"], abs=1e-3)
    assert levels["corrected"][z < 2.3].mean() - FERMI_ENERGY == pytest.approx(WORK_FUNCTION["Mg"], abs=1e-3)
    assert np.ptp(levels["free"][z < 2.3]) > 0.02
    assert levels["total"].min() < levels["corrected"].min() - 1


def test_locpot_is_written_when_asked_for_only(tmp_path: Path, crystal: Structure) -> None:
    run(write_inputs(tmp_path, crystal))
    assert not (tmp_path / "LOCPOT").exists()


def test_contcar_keeps_the_frozen_atoms_and_has_velocities(tmp_path: Path, slab: Structure) -> None:
    run(write_inputs(tmp_path, slab, kpoints=(4, 4, 1), free=[True, False, False, True], NSW=5, IBRION=2))
    contcar = Poscar.from_file(tmp_path / "CONTCAR")
    assert [bool(row[0]) for row in contcar.selective_dynamics] == [True, False, False, True]
    lines = (tmp_path / "CONTCAR").read_text().splitlines()
    assert lines[-5:] == ["", *["  0.00000000E+00" * 3] * 4]
    assert "/" in lines[5]


def test_runs_are_deterministic(tmp_path: Path, crystal: Structure) -> None:
    for name in "ab":
        run(write_inputs(tmp_path / name, crystal, NSW=20, IBRION=2, ISIF=3, LVHAR=True))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) > 14
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_restart_files_save_electronic_steps(tmp_path: Path, crystal: Structure) -> None:
    steps = []
    for tags in ({}, {}, {"ISTART": 0, "ICHARG": 1}, {"ISTART": 0, "ICHARG": 2}):
        run(write_inputs(tmp_path, crystal, **tags))
        steps.append(len(vasprun(tmp_path).ionic_steps[-1]["electronic_steps"]))
    scratch, orbitals, density, again = steps
    assert orbitals < density < scratch == again


def test_no_restart_files_if_not_wanted(tmp_path: Path, crystal: Structure) -> None:
    run(write_inputs(tmp_path, crystal, LWAVE=False, LCHARG=False))
    assert not (tmp_path / "WAVECAR").exists()
    assert not (tmp_path / "CHGCAR").exists()


def test_wavecar_of_other_atoms_is_refused(tmp_path: Path, crystal: Structure) -> None:
    run(write_inputs(tmp_path, crystal))
    write_inputs(tmp_path, crystal * (1, 1, 2))
    write_inputs(tmp_path, (crystal * (1, 1, 2)).get_sorted_structure(), ISTART=1)
    done = run(tmp_path)
    assert done.returncode == 1
    assert "while reading WAVECAR" in done.stdout


def test_tighter_ediff_costs_steps_and_nelm_limits_them(tmp_path: Path, crystal: Structure) -> None:
    counts = []
    for ediff in (1e-3, 1e-5, 1e-7):
        run(write_inputs(tmp_path / str(ediff), crystal, EDIFF=ediff))
        counts.append(len(vasprun(tmp_path / str(ediff)).ionic_steps[-1]["electronic_steps"]))
    assert counts == sorted(set(counts))
    run(write_inputs(tmp_path, crystal, NELM=6))
    short = vasprun(tmp_path)
    assert not short.converged_electronic
    assert float(short.final_energy) > expected_energy(crystal) + 1e-3


def test_magnetic_moments(tmp_path: Path) -> None:
    alloy = Structure(Lattice.cubic(2.9), ["Fe", "Co"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    run(write_inputs(tmp_path, alloy, ISPIN=2, MAGMOM=[5, -3], LORBIT=11, LVHAR=True))
    outcar, xml = Outcar(tmp_path / "OUTCAR"), vasprun(tmp_path)
    assert [row["tot"] for row in outcar.magnetization] == [2.2, -1.6]
    assert outcar.total_mag == pytest.approx(0.6)
    assert outcar.spin
    assert xml.is_spin
    assert Oszicar(tmp_path / "OSZICAR").ionic_steps[-1]["mag"] == pytest.approx(0.6)
    assert set(Chgcar.from_file(tmp_path / "CHGCAR").data) == {"total", "diff"}
    assert Locpot.from_file(tmp_path / "LOCPOT").data["total"].shape[2] > 2
    magnetic = float(xml.final_energy)
    run(write_inputs(tmp_path, alloy))
    assert magnetic < float(vasprun(tmp_path).final_energy)


def test_frozen_f_electrons_carry_no_moment(tmp_path: Path) -> None:
    for label, moment in (("Gd", 7.0), ("Gd_3", 0.0)):
        crystal = Structure(Lattice.cubic(3.8), ["Mg", "Gd"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        run(write_inputs(tmp_path, crystal, ISPIN=2, MAGMOM=[0, 7], labels={"Gd": label}))
        assert Outcar(tmp_path / "OUTCAR").total_mag == pytest.approx(moment)


def test_a_semiconductor_has_a_gap_and_a_metal_has_none(tmp_path: Path, crystal: Structure) -> None:
    coords = [[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0, 0, 0]]
    silicide = Structure(Lattice.from_parameters(4.5, 4.5, 4.5, 60, 60, 60), ["Mg", "Mg", "Si"], coords)
    run(write_inputs(tmp_path / "a", silicide))
    run(write_inputs(tmp_path / "b", crystal))
    gap, _, top, _ = vasprun(tmp_path / "a").eigenvalue_band_properties
    assert gap == pytest.approx(0.6, abs=0.1)
    assert top < FERMI_ENERGY
    assert vasprun(tmp_path / "b").get_band_structure().is_metal()
    assert not vasprun(tmp_path / "a").get_band_structure().is_metal()


def test_vasp_believes_potcar_and_says_so(tmp_path: Path, crystal: Structure) -> None:
    write_inputs(tmp_path, crystal, labels={"Ag": "Zn"})
    done = run(tmp_path)
    assert "POTCAR overwrites the type information in POSCAR" in done.stdout
    assert vasprun(tmp_path).final_structure.composition.as_dict() == {"Mg": 1, "Zn": 1}


@pytest.mark.parametrize("missing", ["POTCAR", "POSCAR", "INCAR"])
def test_missing_input_ends_the_run(tmp_path: Path, crystal: Structure, missing: str) -> None:
    (write_inputs(tmp_path, crystal) / missing).unlink()
    done = run(tmp_path)
    assert done.returncode == 1
    assert missing in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("tags", [{"IBRION": 0, "NSW": 5}, {"ISIF": 4, "IBRION": 2, "NSW": 5}])
def test_what_it_does_not_know_it_refuses(tmp_path: Path, crystal: Structure, tags: dict[str, int]) -> None:
    done = run(write_inputs(tmp_path, crystal, **tags))
    assert done.returncode == 1
    assert "stand-in VASP: it has no" in done.stdout


def test_incar_of_pymatgen_is_read(tmp_path: Path, crystal: Structure) -> None:
    write_inputs(tmp_path, crystal)
    tags = {"ENCUT": 480, "LVHAR": True, "LREAL": "Auto", "ISPIN": 2, "MAGMOM": [0.6, 0.6], "ALGO": "Fast"}
    Incar(tags | {"EDIFF": 1e-5, "LDIPOL": False}).write_file(tmp_path / "INCAR")
    run(tmp_path)
    xml = vasprun(tmp_path)
    assert xml.incar["MAGMOM"] == [0.6, 0.6]
    assert xml.incar["LVHAR"] is True
    assert xml.incar["ALGO"] == "Fast"


def test_stopcar_ends_a_relaxation_softly(tmp_path: Path, crystal: Structure) -> None:
    write_inputs(tmp_path, crystal, NSW=30, IBRION=2, ISIF=3, EDIFFG=-0.001)
    (tmp_path / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    assert run(tmp_path).returncode == 0
    assert Outcar(tmp_path / "OUTCAR").is_stopped
    assert len(vasprun(tmp_path).ionic_steps) == 1


def test_it_starts_without_pymatgen() -> None:
    code = f"import sys, runpy; sys.argv = ['x']; sys.path.insert(0, {str(VASP_STD.parents[2])!r});"
    code += "import tests.stand_in_vasp.run; print([m for m in ('pymatgen', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert str(VASP_STD) in COMMAND
