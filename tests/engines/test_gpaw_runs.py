"""Small real GPAW runs: a coarse Mg(0001) slab and hcp Mg."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from stores.records import CalculationStatus
from workflows.engines.gpaw import engine as gpaw
from workflows.engines.gpaw import process as gpaw_process
from workflows.engines.gpaw.presets import GENTLER_SCF, setup_folders
from workflows.engines.registry import make_engine

pytestmark = [
    pytest.mark.gpaw,
    pytest.mark.xdist_group("gpaw"),
    pytest.mark.skipif(
        importlib.util.find_spec("gpaw") is None, reason="GPAW is not installed: make gpaw installs it"
    ),
]

A, C = 3.19, 3.19 * 1.62
# Coarse in k and in cut-off (enough for two valence electrons): every run takes seconds.
COARSE = {"cutoff": 200.0, "k_density": 2.0, "bulk_k_density": 2.0, "ranks": 1}


def mg_bulk():
    return Structure(Lattice.hexagonal(A, C), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


def mg_0001(n_layers=5, vacuum=15.0):
    """Mg(0001), c along the normal, centred."""
    height = (n_layers - 1) * C / 2 + vacuum
    z = (np.arange(n_layers) - (n_layers - 1) / 2) * C / 2 + height / 2
    inplane = [[1 / 3, 2 / 3], [2 / 3, 1 / 3]]
    return Structure(
        Lattice.hexagonal(A, height),
        ["Mg"] * n_layers,
        [[*inplane[i % 2], z[i] / height] for i in range(n_layers)],
    )


@pytest.fixture(scope="module")
def unrelaxed(tmp_path_factory):
    """Surface energy (J/m2) and static output of a five-layer slab at demo's cut-off and setups."""
    engine = make_engine("gpaw", k_density=4.0)
    bulk, slab = mg_bulk(), mg_0001()
    mesh = engine.kpoints(slab, slab=True)
    out = engine.static_slab(slab, mesh, tmp_path_factory.mktemp("slab"))
    reference = engine.static_bulk(bulk, engine.kpoints(bulk), tmp_path_factory.mktemp("bulk"))
    area = np.linalg.norm(np.cross(*slab.lattice.matrix[:2]))
    gamma = (out.energy - 2.5 * reference.energy) / (2 * area) * 16.02177
    return gamma, out


def test_surface_energy_of_mg_0001(unrelaxed):
    gamma, _ = unrelaxed
    assert 0.46 < gamma < 0.60


def test_vacuum_level_minus_fermi_energy_is_the_work_function(unrelaxed):
    _, out = unrelaxed
    z, v = np.array(out.potential.z), np.array(out.potential.potential)
    slab = mg_0001()
    heights = slab.cart_coords[:, 2]
    for side in (z < heights.min() - 5.0, z > heights.max() + 5.0):
        assert np.ptp(v[side]) < 0.02
        assert 3.6 < v[side].mean() - out.fermi_energy < 3.8
    assert z[1] * len(z) == pytest.approx(slab.lattice.c, rel=1e-5)
    assert out.vbm is None and out.cbm is None  # a metal


def test_ca_has_empty_bands_and_thus_a_fermi_level(tmp_path):
    crystal = Structure(Lattice.from_parameters(*3 * [3.91], *3 * [60]), ["Ca"], [[0, 0, 0]])
    output = make_engine("gpaw", **COARSE).static_bulk(crystal, (2, 2, 2), tmp_path)
    assert output.status is CalculationStatus.OK
    assert np.isfinite(output.fermi_energy)


def test_record_of_a_calculation_is_complete(unrelaxed):
    _, out = unrelaxed
    assert out.status is CalculationStatus.OK
    file = next(path for folder in setup_folders() if (path := folder / "Mg.2.PBE.gz").exists())
    checksum = hashlib.md5(gzip.decompress(file.read_bytes())).hexdigest()
    assert out.setups == {"Mg": f"2 (md5 {checksum[:8]})"}
    assert out.kpoints == (10, 10, 1)
    assert out.engine_version
    assert out.scf_steps > 2
    assert not out.retried
    assert out.total_magnetization is None
    Structure.from_dict(out.structure)


def test_static_slab_takes_the_relaxation_s_last_scf(tmp_path, monkeypatch):
    engine = make_engine("gpaw", **COARSE)
    slab = mg_0001()
    for outermost, shift in ((0, -0.2), (4, 0.2)):
        slab.translate_sites(outermost, [0, 0, shift], frac_coords=False)
    mesh = engine.kpoints(slab, slab=True)
    folders = [tmp_path / name for name in ("relax", "static", "fresh")]
    for folder in folders:
        folder.mkdir()
    free = [True, True, False, True, True]
    relaxed = engine.relax_slab(slab, free, mesh, folders[0])
    assert relaxed.status is CalculationStatus.OK, relaxed.reason
    assert relaxed.max_force <= engine.settings.force_tolerance
    assert relaxed.potential is None
    done = re.findall(r"^Converged in (\d+) steps", (folders[0] / "gpaw.txt").read_text(), re.MULTILINE)
    assert (relaxed.ionic_steps, relaxed.scf_steps) == (len(done), sum(map(int, done)))
    final = Structure.from_dict(json.loads(json.dumps(relaxed.structure)))
    moved = final.cart_coords - slab.cart_coords
    assert np.abs(moved[2]).max() < 1e-12  # rounding of fractional coordinates
    np.testing.assert_allclose(moved[:, 2], -moved[::-1, 2], atol=1e-6)
    fresh = engine.static_slab(final, mesh, folders[2])
    monkeypatch.setattr(gpaw_process.subprocess, "Popen", None)  # nothing may be started from here on
    reused = engine.static_slab(final, mesh, folders[1], prev_dir=folders[0])
    assert reused.energy == pytest.approx(fresh.energy, abs=2e-3)
    # The density of a moved slab converges last; one from scratch by 1e-4 and less before the wave functions.
    assert relaxed.ionic_steps > 2
    level = [out.potential.potential[0] - out.fermi_energy for out in (reused, fresh)]
    assert level[0] == pytest.approx(level[1], abs=5e-4)


def test_scf_that_does_not_converge_is_retried_once_then_unconverged(tmp_path):
    engine = make_engine("gpaw", maxiter=2, **COARSE)
    out = engine.static_bulk(mg_bulk(), (2, 2, 2), tmp_path)
    assert out.status is CalculationStatus.UNCONVERGED
    assert "SCF not converged in 2 steps, nor in 4 with gentler mixing" in out.reason
    assert out.retried
    assert out.energy is None


def test_the_gentler_settings_reach_the_same_energy(tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    (tmp_path / "gentle").mkdir()
    plain = make_engine("gpaw", **COARSE).static_bulk(mg_bulk(), (2, 2, 2), tmp_path / "plain")
    assert not plain.retried
    # Two steps for the first attempt, 200 for the second.
    monkeypatch.setattr(gpaw, "GENTLER_SCF", {**GENTLER_SCF, "maxiter_factor": 100})
    gentle = make_engine("gpaw", maxiter=2, **COARSE).static_bulk(mg_bulk(), (2, 2, 2), tmp_path / "gentle")
    assert gentle.status is CalculationStatus.OK, gentle.reason
    assert gentle.retried
    assert gentle.energy == pytest.approx(plain.energy, abs=1e-3)


def test_step_limit_is_unconverged_and_the_next_run_goes_on(tmp_path):
    engine = make_engine("gpaw", max_ionic_steps=1, force_tolerance=1e-3, **COARSE)
    slab = mg_0001(3, vacuum=10.0)
    first = engine.relax_slab(slab, [True, False, True], (2, 2, 1), tmp_path)
    assert first.status is CalculationStatus.UNCONVERGED
    assert "after 1 ionic steps (limit 0.001)" in first.reason
    second = engine.relax_slab(slab, [True, False, True], (2, 2, 1), tmp_path)
    assert second.max_force < first.max_force


def test_atoms_on_top_of_each_other_fail_in_one_line(tmp_path):
    crystal = Structure(Lattice.cubic(3.3), ["Mg", "Mg"], [[0, 0, 0], [0, 0, 0.01]])
    out = make_engine("gpaw", **COARSE).static_bulk(crystal, (2, 2, 2), tmp_path)
    assert out.status is CalculationStatus.FAILED
    assert "\n" not in out.reason
    assert "Error" in out.reason


def test_a_tilted_cell_runs_and_has_the_energy_of_the_crystal(tmp_path):
    # Two atoms of B2 MgAg with a along [110]: some of its operations have entries of 2, which GPAW overlooks.
    a = 3.34
    tilted = Structure(
        [[a * 2**0.5, 0, 0], [0, a, 0], [a / 2**0.5, 0, a / 2**0.5]],
        ["Mg", "Ag"],
        [[0, 0, 0], [a / 2**0.5, a / 2, 0]],
        coords_are_cartesian=True,
    )
    cubic = Structure(Lattice.cubic(a), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    energies = []
    for name, cell, mesh in (("tilted", tilted, (4, 6, 8)), ("cubic", cubic, (6, 6, 6))):
        (tmp_path / name).mkdir()
        out = make_engine("gpaw", cutoff=200.0, ranks=1).static_bulk(cell, mesh, tmp_path / name)
        assert out.status is CalculationStatus.OK, out.reason
        energies.append(out.energy)
    assert energies[0] == pytest.approx(energies[1], abs=0.06)  # unlike, coarse k meshes


def test_kill_9_during_a_relaxation_leaves_no_worker_and_loses_no_geometry(tmp_path):
    options = {**COARSE, "force_tolerance": 0.002, "ranks": 2}
    slab, free, mesh = mg_0001(3, vacuum=8.0), [True, False, True], (2, 2, 1)
    script = (
        "import sys; from pathlib import Path\n"
        "sys.path.insert(0, str(Path(sys.argv[1]).parent))\n"
        "from test_gpaw_runs import mg_0001; from workflows.engines.registry import make_engine\n"
        f"make_engine('gpaw', **{options!r}).relax_slab("
        f"mg_0001(3, vacuum=8.0), {free!r}, {mesh!r}, Path({str(tmp_path)!r}))\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", script, __file__], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for(lambda: len(journal(tmp_path)) >= 2 or parent.poll() is not None)
    assert parent.poll() is None, parent.stderr.read()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not processes_in(tmp_path), seconds=20)
    before = journal(tmp_path)
    out = make_engine("gpaw", **options).relax_slab(slab, free, mesh, tmp_path)
    assert out.status is CalculationStatus.OK, out.reason
    after = journal(tmp_path)
    assert after[: len(before)] == before
    keys = [entry["key"] for entry in after]
    assert len(keys) == len(set(keys))


def journal(folder):
    path = folder / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def processes_in(folder):
    """Return the ids of processes whose working directory is `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve() and "Z" not in (
                process / "stat"
            ).read_text().rsplit(")", 1)[1].split()[0]:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
