"""Campaigns with the engine vasp and the stand-in VASP, through `mgsurf run`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Structure

from stores.connections import open_store
from stores.records import CalculationRecord
from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.potcars import write_potcars
from tests.stand_in_vasp.potential import WORK_FUNCTION

STAND_IN = shlex.join([sys.executable, str(Path(__file__).parents[1] / "stand_in_vasp" / "vasp_std")])
SMALL = """\
name: vasp-test
compounds:
  - formula: Mg
    facets: ["(0001)"]
  - formula: MgAg
    prototype: B2
    facets: ["(100)"]
"""
ONE = """\
name: vasp-test
compounds:
  - formula: Mg
    facets: ["(0001)"]
"""
WHOLE = """\
name: vasp-test
compounds:
  - formula: Mg
  - formula: MgAg
    prototype: B2
"""
ENGINE = """\
slabs: {{min_thickness: {thickness}}}
engine:
  name: vasp
  preset: demo
  options: {{k_density: 2.5, bulk_k_density: 3, polling_time: 0.1, monitor_time: 0.5, hang_timeout: 60}}
store: sqlite:///results.sqlite
work_dir: runs
"""


@pytest.fixture
def potcars(environment, tmp_path):
    """An environment with a VASP command and synthetic POTCARs."""
    return {
        **environment,
        "PMG_VASP_PSP_DIR": str(write_potcars(tmp_path / "potcars")),
        "MGSURF_VASP_CMD": STAND_IN,
        "STAND_IN_VASP_STATE": str(tmp_path / "faults.json"),
    }


def write(folder, compounds=SMALL, thickness=5.0):
    """Write the campaign file."""
    path = folder / "campaign.yaml"
    path.write_text(compounds + ENGINE.format(thickness=thickness))
    return str(path)


def surfaces(folder):
    """The surfaces in the campaign's store."""
    with open_store(f"sqlite:///{folder / 'results.sqlite'}") as store:
        return list(store.surfaces())


def calculations(folder):
    """The calculation records of the campaign's store, as documents."""
    with open_store(f"sqlite:///{folder / 'results.sqlite'}") as store:
        return [record.model_dump(mode="json") for record in store.records(CalculationRecord)]


def side(record):
    """Closed form of the work function: the mean over a termination's outermost layer."""
    slab = Structure.from_dict(record.relaxed_slab)
    z = slab.cart_coords[:, 2]
    outermost = [site.specie.symbol for site, height in zip(slab, z, strict=True) if height > z.max() - 0.5]
    return sum(WORK_FUNCTION[symbol] for symbol in outermost) / len(outermost)


def check(record):
    """Every number of a record is the model's."""
    assert record.verdicts.work_function.status == "accepted", record.verdicts.work_function
    assert record.work_function == pytest.approx(side(record), abs=2e-3)
    assert record.work_function_sides[0] == pytest.approx(record.work_function_sides[1], abs=2e-3)
    slab = Structure.from_dict(record.relaxed_slab)
    assert record.energy == pytest.approx(expected_energy(slab), abs=1e-3)
    # gamma at the Mg-rich end from the energies of the record itself
    if record.formula == "Mg":
        excess = record.energy - record.n_atoms * record.bulk_energy
    else:
        n = record.composition
        mu = record.chemical_potentials["Mg"]
        excess = record.energy - n["Ag"] * record.bulk_energy - (n["Mg"] - n["Ag"]) * mu
    assert record.surface_energy == pytest.approx(excess / (2 * record.area), abs=1e-6)
    assert record.method.engine == "vasp" and record.method.setups["Mg"] == "Mg_pv"


def test_a_small_campaign(mgsurf, potcars, tmp_path):
    campaign = write(tmp_path)
    done = mgsurf("run", campaign, env=potcars)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    found = surfaces(tmp_path)
    terminations = sorted((record.formula, record.termination_label) for record in found)
    assert terminations == [("Mg", "Mg"), ("MgAg", "Ag"), ("MgAg", "Mg")]
    for record in found:
        check(record)
        assert len(json.dumps(record.model_dump(mode="json"))) < 60_000
    assert max(len(json.dumps(document)) for document in calculations(tmp_path)) < 60_000
    # nothing is left of the restart files, and the same command runs nothing
    assert not list((tmp_path / "runs").rglob("WAVECAR"))
    again = mgsurf("run", campaign, env={**potcars, "STAND_IN_VASP_FAULT": "edddav"})
    assert again.returncode == 0 and "0 calculations run" in again.stdout


@pytest.mark.slow
def test_the_whole_campaign_with_faults_now_and_then(potcars, tmp_path):
    """Mg and MgAg up to (111); each fault strikes once somewhere, the numbers are the same."""
    once = ("sigkill:1@slab_relax", "zbrent:1@slab_relax+Ag", "edddav:1@slab_static", "nelm:1@bulk_static")
    faults = ",".join((*once, "cutoff:1@bulk_relax"))
    done = subprocess.run(
        [sys.executable, "-m", "workflows.cli.app", "run", write(tmp_path, WHOLE)],
        cwd=tmp_path,
        env={**potcars, "STAND_IN_VASP_FAULT": faults},
        text=True,
        capture_output=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = surfaces(tmp_path)
    assert len([r for r in found if r.formula == "MgAg"]) == 5 and len(found) >= 9
    for record in found:
        check(record)
    assert len(json.loads((tmp_path / "faults.json").read_text())) == 5


@pytest.mark.slow
def test_a_fault_that_stays_is_a_verdict_and_the_rest_goes_on(mgsurf, potcars, tmp_path):
    campaign = write(tmp_path)
    done = mgsurf("run", campaign, env={**potcars, "STAND_IN_VASP_FAULT": "nelm@slab_relax+Ag"})
    assert done.returncode == 1
    assert "unconverged" in done.stdout and "custodian gave up" in done.stdout
    verdicts = {(r.formula, r.termination_label): r for r in surfaces(tmp_path)}
    check(verdicts["Mg", "Mg"])
    for termination in ("Ag", "Mg"):
        record = verdicts["MgAg", termination]
        assert record.verdicts.surface_energy.status == "unconverged"
        assert record.surface_energy is None and record.work_function is None


def test_a_full_disk_stops_the_run_and_stores_nothing_of_it(mgsurf, potcars, tmp_path):
    campaign = write(tmp_path, ONE)
    done = mgsurf("run", campaign, env={**potcars, "STAND_IN_VASP_FAULT": "disk@slab_relax"})
    assert done.returncode == 74
    assert done.stderr.count("\n") == 1 and "no space left on the disk; free some space" in done.stderr
    kinds = {document["kind"] for document in calculations(tmp_path)}
    assert kinds and "slab_relax" not in kinds
    assert mgsurf("run", campaign, env=potcars).returncode == 0
    (record,) = surfaces(tmp_path)
    check(record)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"MGSURF_VASP_CMD": "no_such_vasp"},
            "vasp: 'no_such_vasp' is no program here: set the engine's",
        ),
        (
            {"PMG_VASP_PSP_DIR": "/no/such"},
            "PMG_VASP_PSP_DIR names /no/such, which is no folder: set",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(change, said, mgsurf, potcars, tmp_path):
    done = mgsurf("run", write(tmp_path), env={**potcars, **change})
    assert done.returncode == 3
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_plan_needs_neither_vasp_nor_potcars(mgsurf, environment, tmp_path):
    bare = {**environment, "PMG_VASP_PSP_DIR": "", "MGSURF_VASP_CMD": "no_such_vasp"}
    done = mgsurf("run", write(tmp_path, ONE), "--dry-run", env=bare)
    assert done.returncode == 0 and "nothing was computed" in done.stdout


def test_a_preset_that_vasp_has_not_is_named(mgsurf, potcars, tmp_path):
    path = Path(write(tmp_path))
    path.write_text(path.read_text().replace("preset: demo", "preset: dmeo"))
    done = mgsurf("run", str(path), env=potcars)
    assert done.returncode == 2 and "'dmeo'" in done.stderr and "production" in done.stderr
