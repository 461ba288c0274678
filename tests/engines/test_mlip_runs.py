"""Real runs of the engine mlip: hcp Mg and one slab with SevenNet-0, and what happens where it fails."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.data.dataset import Dataset
from stores.connections import open_store
from stores.errors import EngineError, InputError
from stores.records import CalculationKind, CalculationStatus
from tests.model.crystals import slabs_of
from tests.model.test_dataset import surface
from workflows.engines.mlip import potentials
from workflows.engines.mlip.engine import NO_WORK_FUNCTION
from workflows.engines.mlip.process import worker_of
from workflows.engines.registry import make_engine
from workflows.flows.campaign.settings import EngineSettings

sevennet = pytest.mark.skipif(
    importlib.util.find_spec("sevenn") is None, reason="sevenn is not installed: extra foundation"
)
A, C = 3.25, 5.30  # larger than the relaxed cell


def mg_bulk():
    return Structure(Lattice.hexagonal(A, C), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


def mg_0001(a, c, n_layers=5, vacuum=12.0):
    height = (n_layers - 1) * c / 2 + vacuum
    z = (np.arange(n_layers) - (n_layers - 1) / 2) * c / 2 + height / 2
    inplane = [[1 / 3, 2 / 3], [2 / 3, 1 / 3]]
    places = [[*inplane[i % 2], z[i] / height] for i in range(n_layers)]
    return Structure(Lattice.hexagonal(a, height), ["Mg"] * n_layers, places)


@pytest.fixture(scope="module")
def engine():
    return make_engine("mlip", "sevennet-0")


def folder(path):
    path.mkdir()
    return path


@sevennet
def test_magnesium_from_bulk_to_surface_energy(engine, tmp_path):
    bulk = engine.relax_bulk(mg_bulk(), folder(tmp_path / "bulk"))
    assert bulk.status is CalculationStatus.OK and bulk.max_force < 0.02
    cell = Structure.from_dict(bulk.structure).lattice
    # PBE: a = 3.19 A, c/a = 1.62
    assert cell.a == pytest.approx(3.19, abs=0.03) and cell.c / cell.a == pytest.approx(1.62, abs=0.02)
    assert cell.gamma == pytest.approx(120)
    slab = mg_0001(cell.a, cell.c)
    slab.translate_sites([0], [0, 0, -0.1], frac_coords=False)
    slab.translate_sites([4], [0, 0, 0.1], frac_coords=False)
    mesh = engine.kpoints(slab, slab=True)
    relaxed = engine.relax_slab(slab, [True, False, False, False, True], mesh, folder(tmp_path / "relax"))
    assert relaxed.status is CalculationStatus.OK
    final = Structure.from_dict(relaxed.structure)
    moved = np.linalg.norm(final.cart_coords - slab.cart_coords, axis=1)
    assert moved[1:4].max() < 1e-8
    assert moved[0] == pytest.approx(0.1, abs=0.05) and moved[4] == pytest.approx(moved[0], abs=1e-5)
    static = engine.static_slab(final, mesh, folder(tmp_path / "static"), tmp_path / "relax")
    assert static.energy == pytest.approx(relaxed.energy) and static.details["reused_from"]
    assert static.potential is None and static.details["no_work_function"] == NO_WORK_FUNCTION
    gamma = (static.energy - 5 / 2 * bulk.energy) / (2 * slab.lattice.a**2 * np.sqrt(3) / 2)
    assert 0.02 < gamma < 0.04
    # the finished calculation is read, not repeated
    before = (tmp_path / "bulk" / "output.json").stat().st_mtime_ns
    assert engine.relax_bulk(mg_bulk(), tmp_path / "bulk").energy == bulk.energy
    assert (tmp_path / "bulk" / "output.json").stat().st_mtime_ns == before


@sevennet
def test_a_worker_that_is_killed_is_a_failure_with_a_reason_and_the_next_task_runs(engine, tmp_path):
    mesh = (1, 1, 1)
    assert engine.static_bulk(mg_bulk(), mesh, folder(tmp_path / "one")).status is CalculationStatus.OK
    worker = worker_of("sevennet-0")
    os.kill(worker._process.pid, 9)
    worker._process.wait()
    again = engine.static_bulk(mg_bulk(), mesh, folder(tmp_path / "two"))
    assert again.status is CalculationStatus.OK and again.energy == pytest.approx(2 * -1.6, abs=0.05)
    # one that cannot read its task leaves a reason
    (tmp_path / "three").mkdir()
    bad = engine._task(CalculationKind.BULK_STATIC, mg_bulk()) | {"symbols": ["Mg", "Xx"], "task_hash": "x"}  # type: ignore[operator]
    answer = worker.run(tmp_path / "three", bad)
    assert answer["status"] == "failed" and "mlip: " in answer["reason"] and "\n" not in answer["reason"]


def test_no_worker_outlives_the_process_that_started_it(tmp_path):
    # not the real worker, which takes seconds to load its potential: what counts is its end
    (tmp_path / "worker.py").write_text("import sys\nfor line in sys.stdin:\n    print('done', flush=True)\n")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from workflows.engines.mlip import process\n"
        "process.WORKER = Path(sys.argv[1])\n"
        "worker = process.worker_of('sevennet-0')\n"
        "worker._ask(Path('anywhere')); print(worker._process.pid, flush=True); os._exit(1)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "worker.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    status = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(300):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.1)
    pytest.fail(f"the worker of {status} still runs")


@sevennet
def test_its_method_says_that_it_is_no_dft_and_meets_no_other(engine):
    method = engine.method()
    assert method.extra["dft"] is False and "no DFT" in method.functional
    assert method.fingerprint.startswith("mlip-sevennet-0-")
    assert make_engine("mlip", "demo").method() == method
    others = {make_engine("mlip", "chgnet").method().fingerprint, make_engine("gpaw").method().fingerprint}
    assert method.fingerprint not in others and len(others) == 2


@sevennet
def test_its_surfaces_are_never_trained_on_beside_those_of_dft(engine, tmp_path):
    uri = f"sqlite:///{tmp_path}/both.sqlite"
    with open_store(uri) as store:
        for i, cut in enumerate(slabs_of("MgAg")[:2]):
            one = surface(cut, "MgAg")
            own = {"method": engine.method(), "method_fingerprint": engine.method().fingerprint}
            store.add(one if i else one.model_copy(update=own))
    data = Dataset.from_store(uri)
    assert len(data) == len(Dataset.from_store(uri, methods=["gpaw"])) == 1
    assert f"--method {engine.method().fingerprint} takes them" in data.left_out


@sevennet
def test_what_it_refuses_is_named_in_one_line(engine, monkeypatch):
    with pytest.raises(EngineError, match="does not know Cm, Po"):
        engine.check_elements(["Mg", "Cm", "Po"])
    with pytest.raises(InputError, match="chgnet, sevennet-0"):
        make_engine("mlip", "production")
    with pytest.raises(InputError, match="force_tolerance"):
        make_engine("mlip", force_tolerance=-1)
    monkeypatch.setattr(potentials.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"sevenn.*pip install.*mgsurf\[foundation\]"):
        make_engine("mlip").method()


def test_a_campaign_file_takes_it_by_its_name():
    assert EngineSettings.model_validate("mlip").name == "mlip"
    assert EngineSettings.model_validate({"name": "mlip", "preset": "chgnet"}).preset == "chgnet"
    with pytest.raises(ValueError, match="sevennet-0"):
        EngineSettings.model_validate({"name": "mlip", "preset": "production"})
