"""Each way of failing: what is left on disk, the exit status, and that custodian's strings are printed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from custodian.vasp.handlers import VaspErrorHandler
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Outcar, Vasprun

from tests.stand_in_vasp.faults import NAMES, parse
from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.running import VASP_STD, run, write_inputs


@pytest.fixture
def relaxation(tmp_path: Path) -> Path:
    """A crooked MgAg that takes more than five ionic steps."""
    lattice = Lattice.from_parameters(3.4, 3.5, 3.2, 88, 93, 91)
    crystal = Structure(lattice, ["Mg", "Ag"], [[0, 0, 0], [0.53, 0.48, 0.5]])
    return write_inputs(tmp_path, crystal, NSW=60, IBRION=2, ISIF=3, EDIFFG=-0.01, kpoints=(2, 2, 2))


def complete(folder: Path) -> bool:
    """Tell whether the run came to its end and its vasprun.xml can be read."""
    try:
        found = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    except Exception:  # noqa: BLE001 -- anything a parser raises
        return False
    return bool(found.converged) and "General timing" in (folder / "OUTCAR").read_text()


def recognised(folder: Path) -> set[str]:
    handler = VaspErrorHandler()
    handler.check(str(folder))
    return handler.errors


def geometry_steps(folder: Path) -> int:
    return (folder / "OUTCAR").read_text().count("TOTAL-FORCE")


@pytest.mark.parametrize("name", ["zbrent", "edddav", "brmix"])
def test_custodian_recognises(relaxation: Path, name: str) -> None:
    done = run(relaxation, fault=name)
    assert recognised(relaxation) == {name}
    assert done.returncode == (0 if name == "brmix" else 1)


def test_zbrent_leaves_a_geometry_to_go_on_from(relaxation: Path) -> None:
    start = Poscar.from_file(relaxation / "POSCAR").structure
    run(relaxation, fault="zbrent")
    assert not complete(relaxation)
    assert expected_energy(Poscar.from_file(relaxation / "CONTCAR").structure) < expected_energy(start)


def test_zbrent_needs_conjugate_gradients(relaxation: Path) -> None:
    text = (relaxation / "INCAR").read_text()
    (relaxation / "INCAR").write_text(text.replace("IBRION = 2", "IBRION = 1"))
    run(relaxation, fault="zbrent")
    assert complete(relaxation)


def test_edddav_leaves_no_geometry(relaxation: Path) -> None:
    run(relaxation, fault="edddav")
    assert (relaxation / "CONTCAR").read_bytes() == b""


def test_brmix_gives_a_wrong_energy(relaxation: Path) -> None:
    run(relaxation, fault="brmix")
    found = Vasprun(relaxation / "vasprun.xml", parse_potcar_file=False)
    assert float(found.final_energy) > expected_energy(found.final_structure) + 1


def test_electronic_steps_do_not_converge(relaxation: Path) -> None:
    run(relaxation, fault="nelm")
    found = Vasprun(relaxation / "vasprun.xml", parse_potcar_file=False)
    assert not found.converged_electronic
    assert "unconverged" in (relaxation / "OUTCAR").read_text()


def test_ionic_steps_do_not_converge(relaxation: Path) -> None:
    run(relaxation, fault="nsw")
    found = Vasprun(relaxation / "vasprun.xml", parse_potcar_file=False)
    assert found.converged_electronic
    assert not found.converged_ionic
    assert len(found.ionic_steps) == 60


@pytest.mark.parametrize(
    ("name", "status"),
    [("cutoff", 1), ("disk", 38), ("sigkill", -signal.SIGKILL), ("walltime", -signal.SIGTERM)],
)
def test_run_ends_in_the_middle(relaxation: Path, name: str, status: int) -> None:
    done = run(relaxation, fault=name, steps="3")
    assert done.returncode == status
    assert not complete(relaxation)
    assert geometry_steps(relaxation) in (2, 3)  # cutoff takes some away
    assert Poscar.from_file(relaxation / "CONTCAR").structure.num_sites == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["cutoff", "walltime"])
def test_a_static_run_ends_in_the_middle(relaxation: Path, name: str) -> None:
    write_inputs(relaxation, Poscar.from_file(relaxation / "POSCAR").structure)
    run(relaxation, fault=name)
    assert not complete(relaxation)
    assert geometry_steps(relaxation) == 0


def test_after_walltime_the_relaxation_goes_on_from_contcar(relaxation: Path) -> None:
    run(relaxation)
    straight = geometry_steps(relaxation)
    (relaxation / "WAVECAR").unlink()
    run(relaxation, fault="walltime:1", steps="4")
    (relaxation / "POSCAR").write_bytes((relaxation / "CONTCAR").read_bytes())
    run(relaxation, fault="walltime:1", steps="4")
    assert complete(relaxation)
    assert geometry_steps(relaxation) < straight


def test_truncated_xml(relaxation: Path) -> None:
    assert run(relaxation, fault="truncated_xml").returncode == 0
    assert not complete(relaxation)
    assert Outcar(relaxation / "OUTCAR").final_energy < 0
    assert not (relaxation / "vasprun.xml").read_text().rstrip().endswith("</modeling>")


def test_empty_contcar(relaxation: Path) -> None:
    assert run(relaxation, fault="empty_contcar").returncode == 0
    assert complete(relaxation)
    assert (relaxation / "CONTCAR").read_bytes() == b""


def test_hang_sleeps_with_files_that_do_not_grow(relaxation: Path) -> None:
    environment = os.environ | {"STAND_IN_VASP_FAULT": "hang", "STAND_IN_VASP_STEPS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(VASP_STD)], cwd=relaxation, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        outcar = relaxation / "OUTCAR"
        while not (outcar.exists() and "Iteration      2(   2)" in outcar.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        size = outcar.stat().st_size
        time.sleep(0.3)
        assert process.poll() is None
        assert outcar.stat().st_size == size
    finally:
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM


def test_a_real_limit_of_file_size_looks_like_a_full_disk(relaxation: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(VASP_STD)],
        cwd=relaxation,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)),
    )
    assert done.returncode == 38
    assert "severe (38): error during write" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_the_first_runs_fail(relaxation: Path) -> None:
    results = []
    for _ in range(3):
        run(relaxation, fault="truncated_xml:2")
        results.append(complete(relaxation))
    assert results == [False, False, True]


def test_runs_are_counted_over_folders_in_one_file(relaxation: Path, tmp_path: Path) -> None:
    crystal = Poscar.from_file(relaxation / "POSCAR").structure
    state = tmp_path / "count.json"
    results = []
    for name in "abc":
        folder = write_inputs(tmp_path / name, crystal)
        run(folder, fault="truncated_xml:2", state=str(state))
        results.append(complete(folder))
    assert results == [False, False, True]
    assert list(json.loads(state.read_text()).values()) == [3]


def test_the_remedy_heals(relaxation: Path) -> None:
    run(relaxation, fault="edddav?ALGO=All")
    assert not complete(relaxation)
    with (relaxation / "INCAR").open("a") as incar:
        incar.write("ALGO = All\n")
    run(relaxation, fault="edddav?ALGO=All")
    assert complete(relaxation)


@pytest.mark.parametrize(
    ("words", "fails"),
    [("bulk_relax", True), ("bulk+Ag", True), ("slab", False)],
)
def test_only_the_runs_meant_fail(relaxation: Path, words: str, fails: bool) -> None:
    run(relaxation, fault=f"truncated_xml@{words}")
    assert complete(relaxation) is not fails


def test_short_relaxations_are_struck_at_their_end(relaxation: Path) -> None:
    run(relaxation, fault="cutoff", steps="99")
    assert not complete(relaxation)


def test_drift_and_entropy_are_large_but_harm_nothing(relaxation: Path) -> None:
    run(relaxation, fault="drift,entropy")
    outcar = Outcar(relaxation / "OUTCAR")
    assert complete(relaxation)
    assert max(outcar.drift[-1]) > 0.25
    assert outcar.final_energy_wo_entrp - outcar.final_fr_energy > 2 * 0.005
    assert outcar.final_energy == pytest.approx(
        expected_energy(Poscar.from_file(relaxation / "CONTCAR").structure), abs=1e-6
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(relaxation: Path) -> None:
    relaxation.chmod(0o500)
    try:
        done = subprocess.run(
            [sys.executable, str(VASP_STD)], cwd=relaxation, capture_output=True, text=True, check=False
        )
    finally:
        relaxation.chmod(0o700)
    assert done.returncode == 9
    assert "permission to access file denied" in done.stderr


def test_requests_are_read() -> None:
    first, second = parse("zbrent:2?IBRION=1@slab_relax+Mg, hang")
    assert (first.name, first.runs, first.remedy) == ("zbrent", 2, ("IBRION", "1"))
    assert first.words == ("slab_relax", "Mg")
    assert (second.name, second.runs, second.remedy, second.words) == ("hang", None, None, ())
    with pytest.raises(ValueError, match="known are zbrent"):
        parse("zbrend")
    assert set(NAMES) >= {"zbrent", "edddav", "brmix", "nelm", "nsw", "disk", "walltime"}
