"""Slabs that are pre-relaxed: the tests' engine after a Morse potential that stands in for CHGNet."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar

from stores.connections import open_store
from tests.engines import vasp_engine
from tests.jobs import morse_worker
from workflows.analysis.reconstruction import score_reconstruction
from workflows.execution.remote.submit import submission_keys
from workflows.flows.surface import SurfaceMaker
from workflows.jobs import pre_relaxation
from workflows.jobs.slab import oriented_request, relax_slab, slab_requests
from workflows.structures.layers import free_atoms
from workflows.structures.slabs import SlabSettings


@pytest.fixture(autouse=True)
def morse(monkeypatch):
    monkeypatch.setattr(pre_relaxation, "WORKER", Path(morse_worker.__file__))
    monkeypatch.setattr(pre_relaxation, "PACKAGES", ())
    monkeypatch.delenv("MORSE_WORKER_FAULT", raising=False)


def run(bench, structure, pre_relaxation="chgnet", **options):
    maker = SurfaceMaker(bench.context(**options), slabs=SlabSettings(pre_relaxation=pre_relaxation))
    return bench.run(maker.make(structure, miller_indices=[(1, 0, 0)]))


def surfaces(bench):
    with open_store(bench.store) as store:
        return list(store.query({}))


def relaxations(bench):
    with open_store(bench.store) as store:
        ids = [record["calculation_ids"]["relax"] for record in store.query({})]
        return [store.get_calculation(i) for i in ids]


def answers(bench):
    return {path: path.stat().st_mtime_ns for path in bench.folder.glob("runs/*/pre_relaxation/output.json")}


def test_dft_starts_from_the_pre_relaxed_slab_and_is_judged_by_the_as_cut_one(bench, mgag):
    assert run(bench, mgag).problems == []
    found = surfaces(bench)
    assert len(found) == 2
    for record in found:
        as_cut, relaxed = Structure.from_dict(record["slab"]), Structure.from_dict(record["relaxed_slab"])
        free = free_atoms(as_cut)
        moved = relaxed.cart_coords - as_cut.cart_coords
        assert np.abs(moved[~np.array(free)]).max() < 1e-12
        scores = score_reconstruction(as_cut, relaxed, free)
        assert scores.displacement > 0.003
        assert record["reconstruction"]["displacement"] == pytest.approx(scores.displacement)
        assert record["verdicts"]["surface_energy"]["status"] == "accepted"
    for relaxation in relaxations(bench):
        outcome = relaxation.output.details["pre_relaxation"]
        assert outcome["used"]
        assert relaxation.identity["pre_relaxation"] == "chgnet 0.3.0"
        assert relaxation.output.ionic_steps < 5  # its own potential has done the work


def test_values_are_those_of_a_relaxation_from_the_as_cut_slab(bench, mgag):
    run(bench, mgag)
    run(bench, mgag, "none")
    by_label = {}
    for record in surfaces(bench):
        by_label.setdefault(record["termination_label"], []).append(record)
    assert {label: len(records) for label, records in by_label.items()} == {"Mg": 2, "Ag": 2}
    for one, other in by_label.values():
        assert one["id"] != other["id"]
        assert one["method_fingerprint"] == other["method_fingerprint"]
        assert one["surface_energy"] == pytest.approx(other["surface_energy"], abs=1e-4)
        assert one["calculation_ids"]["relax"] != other["calculation_ids"]["relax"]
        assert one["calculation_ids"]["static"] != other["calculation_ids"]["static"]
        shared = ("bulk", "oriented_bulk", "reference_Mg", "reference_Ag")
        assert [one["calculation_ids"][k] for k in shared] == [other["calculation_ids"][k] for k in shared]


def test_second_run_asks_neither_engine_nor_potential(bench, mgag):
    run(bench, mgag)
    executed, requested = bench.executed(), answers(bench)
    assert len(requested) == 2
    tally = run(bench, mgag)
    assert tally.computed == []
    assert bench.executed() == executed
    assert answers(bench) == requested


def test_a_relaxation_that_crashed_starts_again_from_the_same_place(bench, mgag):
    assert len(run(bench, mgag, crash_on="slab_relax").problems) == 2
    requested = answers(bench)
    assert len(requested) == 2
    assert run(bench, mgag).problems == []
    assert answers(bench) == requested
    assert all(r.output.details["pre_relaxation"]["used"] for r in relaxations(bench))


def test_a_pre_relaxation_that_goes_wrong_costs_no_slab(bench, mgag, monkeypatch):
    monkeypatch.setenv("MORSE_WORKER_FAULT", "kill")
    assert run(bench, mgag).problems == []
    run(bench, mgag, "none")
    for relaxation in relaxations(bench):
        outcome = relaxation.output.details.get("pre_relaxation", {"used": False, "reason": "off"})
        assert not outcome["used"]
        assert outcome["reason"]
    records = surfaces(bench)
    for label in ("Mg", "Ag"):
        one, other = (r for r in records if r["termination_label"] == label)
        assert one["verdicts"]["surface_energy"]["status"] == "accepted"
        assert one["surface_energy"] == pytest.approx(other["surface_energy"], abs=1e-12)


def test_a_missing_package_fails_the_slab_until_it_is_installed(bench, mgag, monkeypatch):
    monkeypatch.setattr(pre_relaxation, "PACKAGES", ("no_such_potential",))
    problems = run(bench, mgag).problems
    assert {reason.partition(", not")[0] for _, reason in problems} == {
        "failed: slabs.pre_relaxation: chgnet needs no_such_potential"
    }
    monkeypatch.setattr(pre_relaxation, "PACKAGES", ())
    assert run(bench, mgag).problems == []
    assert all(r["verdicts"]["surface_energy"]["status"] == "accepted" for r in surfaces(bench))


def test_vasp_gets_the_pre_relaxed_slab_and_leaves_its_folder_alone(bench, mgag, monkeypatch, tmp_path):
    vasp_engine.set_up(monkeypatch, tmp_path)
    (bench.folder / "runs").mkdir()
    context = replace(bench.context(), engine="vasp", preset="demo", options=vasp_engine.QUICK)
    slab = SurfaceMaker(context).cut(mgag, [(1, 1, 0)])[0]
    record = relax_slab.original(context, slab, "bulk", vasp_engine.MESH, 3.0, 0.1, "chgnet")
    assert record["output"]["status"] == "ok", record["output"]["reason"]
    assert record["output"]["details"]["pre_relaxation"]["used"]
    folder = Path(record["output"]["directory"])
    (answer,) = (json.loads(path.read_text()) for path in answers(bench))
    poscar = Poscar.from_str(gzip.decompress((folder / "POSCAR.gz").read_bytes()).decode()).structure
    heights = np.array(answer["positions"])[:, 2]
    np.testing.assert_allclose(np.sort(poscar.cart_coords[:, 2]), np.sort(heights), atol=1e-6)


def test_ids_change_only_when_it_is_on(bench, mgag):
    slab = SurfaceMaker(bench.context()).cut(mgag, [(1, 1, 0)])[0]
    method = bench.context().make_engine().method()
    choices = (SlabSettings(), SlabSettings(pre_relaxation="none"), SlabSettings(pre_relaxation="chgnet"))
    requested = [slab_requests(slab, "bulk", (3, 3, 1), settings) for settings in choices]
    for default, off, on in zip(*requested, strict=True):
        assert "pre_relaxation" not in default.identity
        assert default.id(method) == off.id(method) != on.id(method)
    assert "pre_relaxation" not in oriented_request(slab, "bulk", (3, 3, 3)).identity
    keys = [
        submission_keys(SurfaceMaker(bench.context(), slabs=SlabSettings(pre_relaxation=start)), mgag, None)
        for start in ("none", "chgnet")
    ]
    assert keys[0] != keys[1]
