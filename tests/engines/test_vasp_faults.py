"""Every way VASP fails: a corrected run or a clear verdict, and nothing lost."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pymatgen.core import Structure

from stores.records import CalculationOutput, CalculationStatus
from tests.engines.vasp_engine import MESH, engine, mgag, mgag_slab, set_up
from tests.stand_in_vasp.model import expected, expected_energy
from workflows.engines.vasp.restart import last_geometry
from workflows.engines.vasp.run import sorted_cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def relax(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., CalculationOutput]:
    """Relax the slab MgAg (110) with a fault, in the same folder each time."""
    set_up(monkeypatch, tmp_path)
    monkeypatch.setenv("STAND_IN_VASP_STATE", str(tmp_path / "state.json"))
    directory = tmp_path / "relax"
    directory.mkdir()

    def run(fault: str = "", **options: Any) -> CalculationOutput:
        monkeypatch.setenv("STAND_IN_VASP_FAULT", fault)
        slab, free = mgag_slab()
        return engine(**options).relax_slab(slab, free, MESH, directory)

    return run


def check_relaxed(output: CalculationOutput) -> None:
    """Energy and forces are the model's at the geometry that came back: a number of that geometry."""
    assert output.status is CalculationStatus.OK, output.reason
    final = Structure.from_dict(output.structure)
    assert output.energy == pytest.approx(expected_energy(final), abs=1e-4)
    forces = np.linalg.norm(expected(final).forces, axis=1)[np.array(mgag_slab()[1])]
    assert forces.max() <= 0.0501


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("zbrent:1", "zbrent (CONTCAR to POSCAR"),
        ("edddav?ALGO=All", "edddav (CHGCAR removed, ALGO = All"),
        pytest.param("brmix?IMIX=1", "brmix (IMIX = 1)", marks=pytest.mark.slow),
        ("nelm?ALGO=All", "Unconverged (ALGO = All"),
        pytest.param("nsw:1", "Unconverged (IBRION = 1, CONTCAR to POSCAR)", marks=pytest.mark.slow),
    ],
)
def test_corrected(relax: Callable[..., CalculationOutput], fault: str, said: str) -> None:
    output = relax(fault)
    check_relaxed(output)
    assert output.retried
    assert any(said in words for words in output.details["corrections"]), output.details


@pytest.mark.parametrize(
    "fault",
    [
        "cutoff:1",
        "truncated_xml:1",
        "sigkill:1",
        pytest.param("walltime:1", marks=pytest.mark.slow),
    ],
)
def test_killed_runs_go_on_from_their_last_geometry(
    relax: Callable[..., CalculationOutput], fault: str, tmp_path: Path
) -> None:
    output = relax(fault)
    check_relaxed(output)
    assert output.details["attempts"] == 2 and output.retried
    # the first attempt is there, and the second began where it ended, not at the start
    first = tmp_path / "relax" / "attempt_1"
    assert (first / "OUTCAR.gz").stat().st_size > 100
    start, reached = (poscar(path) for path in (first, tmp_path / "relax"))
    assert np.abs(reached.cart_coords - start.cart_coords).max() > 1e-3


def poscar(directory: Path) -> Structure:
    """The POSCAR of a finished attempt."""
    return Structure.from_str(gzip.decompress((directory / "POSCAR.gz").read_bytes()).decode(), fmt="poscar")


def test_an_empty_contcar_does_not_lose_a_finished_run(relax: Callable[..., CalculationOutput]) -> None:
    check_relaxed(relax("empty_contcar"))


def test_an_empty_contcar_of_a_killed_run_is_replaced_by_its_last_whole_step(
    relax: Callable[..., CalculationOutput], tmp_path: Path
) -> None:
    output = relax("sigkill:1,empty_contcar:1")
    check_relaxed(output)
    first = tmp_path / "relax" / "attempt_1"
    assert np.abs(poscar(tmp_path / "relax").cart_coords - poscar(first).cart_coords).max() > 1e-3


def test_a_hang_is_ended_and_gone_on_with(relax: Callable[..., CalculationOutput]) -> None:
    output = relax("hang:1", hang_timeout=1.5)
    check_relaxed(output)
    assert any("no output for 1.5 s" in words for words in output.details["corrections"])


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("edddav", "failed", "custodian gave up: SlabErrorHandler knew no further correction"),
        pytest.param("brmix", "failed", "custodian gave up: ", marks=pytest.mark.slow),
        ("nelm", "unconverged", "the electronic loop stopped after NELM = 120 steps; custodian gave up"),
        pytest.param(
            "nsw",
            "unconverged",
            "the relaxation stopped after NSW = 60 steps; custodian gave up",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_given_up(relax: Callable[..., CalculationOutput], fault: str, status: str, said: str) -> None:
    output = relax(fault)
    assert output.status == status
    assert output.reason.startswith(said) and "\n" not in output.reason
    named = {"nelm": "Unconverged (ALGO = All", "nsw": "Unconverged (IBRION = 1"}.get(fault, fault)
    assert f"corrections: {named}" in output.reason
    if status == "failed":
        assert output.energy is None and output.fermi_energy is None and output.max_force is None


@pytest.mark.slow
def test_a_run_that_dies_at_once_each_time_says_so(
    relax: Callable[..., CalculationOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VASP_STEPS", "0")
    output = relax("sigkill", restarts=1)
    assert output.status is CalculationStatus.FAILED
    assert output.reason.startswith("VASP was killed or crashed 2 times: after 0 whole ionic steps")


@pytest.mark.slow
def test_a_hang_without_end_is_given_up(
    relax: Callable[..., CalculationOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VASP_STEPS", "0")
    output = relax("hang", hang_timeout=1.0)
    assert output.status is CalculationStatus.FAILED and output.energy is None
    assert "HangHandler" in output.reason


def test_what_custodian_gave_up_is_not_taken_for_good_by_the_next_call(
    relax: Callable[..., CalculationOutput],
) -> None:
    """After BRMIX VASP runs on to a wrong energy that looks converged."""
    assert relax("brmix", max_errors=1).status is CalculationStatus.FAILED
    output = relax()
    check_relaxed(output)
    assert "corrections" not in output.details


def test_a_full_disk_is_raised_and_the_next_run_goes_on(
    relax: Callable[..., CalculationOutput], tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        relax("disk")
    assert caught.value.errno == errno.ENOSPC
    check_relaxed(relax())
    assert (tmp_path / "relax" / "attempt_1").is_dir()


def test_failed_runs_are_gone_on_with_by_the_next_call(
    relax: Callable[..., CalculationOutput], tmp_path: Path
) -> None:
    assert relax("sigkill", restarts=0).status is CalculationStatus.FAILED
    output = relax()
    check_relaxed(output)
    first = poscar(tmp_path / "relax" / "attempt_1")
    assert np.abs(poscar(tmp_path / "relax").cart_coords - first.cart_coords).max() > 1e-3


def test_near_its_end_a_job_stops_vasp_after_a_step_and_the_next_goes_on(
    relax: Callable[..., CalculationOutput], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 2.0))
    monkeypatch.setenv("STAND_IN_VASP_DELAY", "0.4")
    stopped = relax(walltime_buffer=1.2, monitor_time=0.1)
    assert stopped.status is CalculationStatus.FAILED and stopped.energy is None
    assert stopped.reason.startswith("stopped before the queue's time ran out; the next run resumes")
    # nothing is begun that cannot be ended
    soon = relax(walltime_buffer=600)
    assert soon.status is CalculationStatus.FAILED and soon.reason.startswith("not started: the queue ends")

    monkeypatch.delenv("SLURM_JOB_END_TIME")
    monkeypatch.setenv("STAND_IN_VASP_DELAY", "0")
    check_relaxed(relax())
    # its orbitals were whole, for VASP ended by itself
    assert "ISTART = 1" in gzip.decompress((tmp_path / "relax" / "INCAR.gz").read_bytes()).decode()
    first = poscar(tmp_path / "relax" / "attempt_1")
    assert np.abs(poscar(tmp_path / "relax").cart_coords - first.cart_coords).max() > 1e-3


def test_a_crystal_broken_off_goes_on_in_its_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path)
    monkeypatch.setenv("STAND_IN_VASP_STATE", str(tmp_path / "state.json"))
    squeezed = mgag()
    squeezed.scale_lattice(0.9 * squeezed.volume)
    directory = tmp_path / "bulk"
    directory.mkdir()
    monkeypatch.setenv("STAND_IN_VASP_FAULT", "sigkill@bulk_relax")
    failed = engine(restarts=0).relax_bulk(squeezed, directory)
    assert failed.status is CalculationStatus.FAILED and failed.energy is None
    monkeypatch.setenv("STAND_IN_VASP_FAULT", "")
    output = engine().relax_bulk(squeezed, directory)
    final = Structure.from_dict(output.structure)
    assert output.status is CalculationStatus.OK
    assert output.energy == pytest.approx(expected_energy(final), abs=1e-4)
    assert poscar(directory / "cell_1").volume > 1.01 * squeezed.volume


def test_no_correction_may_change_what_is_computed(
    relax: Callable[..., CalculationOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.engines.vasp.custodian import UnconvergedHandler

    def wider_smearing(self: UnconvergedHandler, directory: str = "./") -> dict[str, Any]:
        from custodian.vasp.interpreter import VaspModder

        actions = [{"dict": "INCAR", "action": {"_set": {"SIGMA": 0.4, "ALGO": "All"}}}]
        VaspModder(directory=directory).apply_actions(actions)
        return {"errors": ["Unconverged"], "actions": actions}

    monkeypatch.setattr(UnconvergedHandler, "correct", wider_smearing)
    output = relax("nelm?ALGO=All")
    assert output.status is CalculationStatus.FAILED and output.energy is None
    assert "a correction changed SIGMA" in output.reason


@pytest.mark.parametrize("stopping", [signal.SIGKILL, signal.SIGINT])
def test_mgsurf_ended_from_outside_leaves_no_vasp_behind(
    stopping: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 VASP lives on; the next run ends it before it touches the same files."""
    set_up(monkeypatch, tmp_path)
    directory = tmp_path / "relax"
    directory.mkdir()
    script = textwrap.dedent(f"""
        from pathlib import Path
        from tests.engines.vasp_engine import MESH, engine, mgag_slab
        slab, free = mgag_slab()
        engine().relax_slab(slab, free, MESH, Path({str(directory)!r}))
    """)
    environment = {**os.environ, "STAND_IN_VASP_FAULT": "hang", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    ours = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stderr=subprocess.DEVNULL,
        # where the tests run in a shell's background, SIGINT is ignored, and processes inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        noted = wait_for(directory / "vasp.pid")
        wait_for(directory / "OUTCAR")
        assert alive(noted["pid"])
        ours.send_signal(stopping)
        ours.wait(timeout=30)
        if stopping == signal.SIGINT:
            assert not alive(noted["pid"])
        else:
            assert alive(noted["pid"])
        slab, free = mgag_slab()
        check_relaxed(engine().relax_slab(slab, free, MESH, directory))
        assert not alive(noted["pid"])
        assert not (directory / "vasp.pid").exists() and (directory / "attempt_1").is_dir()
    finally:
        if ours.poll() is None:
            ours.kill()


def wait_for(path: Path) -> Any:
    """Wait until a file has content and return it, read as JSON where it is JSON."""
    for _ in range(600):
        if path.exists() and path.stat().st_size:
            try:
                return json.loads(path.read_text())
            except ValueError:
                return None
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_another_process_with_the_noted_number_is_left_alone(
    relax: Callable[..., CalculationOutput], tmp_path: Path
) -> None:
    import socket

    plain = {"host": socket.gethostname(), "pid": os.getpid(), "started": "1"}
    (tmp_path / "relax" / "vasp.pid").write_text(json.dumps(plain))
    check_relaxed(relax())


@pytest.mark.parametrize("damage", ["empty", "header", "cut", "number", "nan", "collapsed", "other species"])
def test_a_damaged_contcar_is_passed_over(damage: str, tmp_path: Path) -> None:
    cell, _ = sorted_cell(mgag_slab()[0])
    moved = cell.copy()
    moved.translate_sites([0], [0.0, 0.0, 0.002])
    later = moved.copy()
    later.translate_sites([0], [0.0, 0.0, 0.002])
    (tmp_path / "POSCAR").write_text(cell.to(fmt="poscar"))
    configuration = "\n".join(" ".join(f"{x:.8f}" for x in row) for row in moved.frac_coords)
    header = "\n".join(cell.to(fmt="poscar").splitlines()[:7])
    (tmp_path / "XDATCAR").write_text(
        f"{header}\nDirect configuration=     1\n{configuration}\nDirect configuration=     2\n  0.1 0.2\n"
    )
    whole = later.to(fmt="poscar")
    lines = whole.splitlines()
    text = {
        "empty": "",
        "header": "\n".join(lines[:7]),
        "cut": "\n".join(lines[:-3]) + "\n 0.5 0.5",
        "number": "\n".join([*lines[:-1], lines[-1][: lines[-1].rindex(".") + 2]]),
        "nan": whole.replace(lines[-1], "NaN NaN NaN Ag"),
        "collapsed": "\n".join([*lines[:8], *[lines[8]] * (len(lines) - 8)]),
        "other species": whole.replace("Ag", "Pd"),
    }[damage]
    (tmp_path / "CONTCAR").write_text(text)

    found = last_geometry(tmp_path, cell)
    assert found is not None
    assert np.allclose(found.frac_coords, moved.frac_coords, atol=1e-7)

    (tmp_path / "CONTCAR").write_text(whole)
    assert np.allclose(last_geometry(tmp_path, cell).frac_coords, later.frac_coords, atol=1e-6)


def test_without_any_whole_geometry_the_start_is_taken(tmp_path: Path) -> None:
    cell, _ = sorted_cell(mgag_slab()[0])
    for name in ("CONTCAR", "POSCAR", "XDATCAR", "vasprun.xml"):
        (tmp_path / name).write_text("")
    assert last_geometry(tmp_path, cell) is None
