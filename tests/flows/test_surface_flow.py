from __future__ import annotations

import errno
import fcntl
import json
from dataclasses import replace

import numpy as np
import pytest
from jobflow import Flow
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Structure

from stores.connections import open_store
from stores.records import BulkRecord, ReferenceRecord, VerdictStatus
from tests.engines.pair_engine import FERMI_ENERGY, VACUUM_LEVEL, pair_energy
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.surface import SurfaceMaker
from workflows.structures.elements import ground_state
from workflows.structures.slabs import SlabSettings


def surfaces(uri):
    with open_store(uri) as store:
        return {(r["formula"], tuple(r["miller_index"]), r["termination_label"]): r for r in store.query({})}


def of_100(uri):
    return [record for (_, plane, _), record in surfaces(uri).items() if plane == (1, 0, 0)]


def test_campaign_gives_a_record_for_every_facet(bench, mgag, mg):
    flow = CampaignMaker(SurfaceMaker(bench.context())).make([mg, mgag], miller_indices=[[(0, 0, 1)], None])
    tally = bench.run(flow)

    assert tally.problems == []
    found = surfaces(bench.store)
    assert set(found) == {
        ("Mg", (0, 0, 1), "Mg"),
        ("MgAg", (1, 0, 0), "Mg"),
        ("MgAg", (1, 0, 0), "Ag"),
        ("MgAg", (1, 1, 0), "MgAg"),
        ("MgAg", (1, 1, 1), "Mg"),
        ("MgAg", (1, 1, 1), "Ag"),
    }
    assert sorted(tally.records) == sorted(r["id"] for r in found.values())
    assert all(r["verdicts"]["surface_energy"]["status"] == "accepted" for r in found.values()), [
        r["verdicts"] for r in found.values()
    ]
    with open_store(bench.store) as store:
        assert store.count() == 6
        assert {b.formula for b in store.records(BulkRecord)} == {"Mg", "MgAg"}
        assert {r.element for r in store.records(ReferenceRecord)} == {"Mg", "Ag"}
    # nothing was requested of the engine twice, though hcp Mg is bulk and reference at once
    assert set(bench.executed().values()) == {1}


def test_surface_energy_is_that_of_the_potential(computed):
    with open_store(computed.store) as store:
        bulk = next(iter(store.records(BulkRecord)))
        mu0 = {r.element: r.energy_per_atom for r in store.records(ReferenceRecord)}
    e_bulk = pair_energy(Structure.from_dict(bulk.structure))[0]
    for record in of_100(computed.store):
        n_mg, n_ag = record["composition"]["Mg"], record["composition"]["Ag"]
        e_slab = pair_energy(Structure.from_dict(record["relaxed_slab"]))[0]
        a = bulk.structure["lattice"]["matrix"][0][0]
        by_hand = (e_slab - n_ag * e_bulk - (n_mg - n_ag) * mu0["Mg"]) / (2 * a**2)
        assert record["surface_energy"] == pytest.approx(by_hand, abs=1e-9)
        formation = e_bulk - mu0["Mg"] - mu0["Ag"]
        assert record["formation_energy"] == pytest.approx(formation, abs=1e-9)
        x_rich = by_hand - (n_mg - n_ag) * formation / (2 * a**2)
        assert record["surface_energy_x_rich"] == pytest.approx(x_rich, abs=1e-9)
        assert record["bulk_energy"] == pytest.approx(e_bulk, abs=1e-9)


def test_work_function_is_that_of_the_potential(computed):
    for (_, _, label), record in surfaces(computed.store).items():
        n_ag = {"Mg": 0, "Ag": 1, "MgAg": 1}[label]
        assert record["work_function"] == pytest.approx(VACUUM_LEVEL + 0.1 * n_ag - FERMI_ENERGY, abs=1e-3)


def test_relaxation_keeps_the_core_and_the_symmetry(computed):
    for record in of_100(computed.store):
        before, after = Structure.from_dict(record["slab"]), Structure.from_dict(record["relaxed_slab"])
        shift = after.cart_coords[:, 2] - before.cart_coords[:, 2]
        depth = np.minimum(
            before.cart_coords[:, 2] - before.cart_coords[:, 2].min(),
            before.cart_coords[:, 2].max() - before.cart_coords[:, 2],
        )
        assert np.abs(shift[depth > 3.05]).max() == 0.0
        assert np.abs(shift[depth < 3.05]).max() > 1e-3
        assert record["reconstruction"]["displacement"] < 0.5


def test_second_run_asks_the_engine_nothing_and_changes_nothing(continued, mgag):
    bench = continued
    before, executed = surfaces(bench.store), bench.executed()
    tally = bench.run(SurfaceMaker(bench.context()).make(mgag))
    assert bench.executed() == executed
    assert tally.computed == []
    assert surfaces(bench.store) == before


def test_other_setting_of_the_same_crystal_asks_the_engine_nothing(continued, mgag):
    bench = continued
    executed = bench.executed()
    moved = mgag.copy()
    moved.translate_sites([0, 1], [0.13, 0.27, 0.4])
    moved.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    bench.run(SurfaceMaker(bench.context()).make(moved))
    assert bench.executed() == executed
    assert len(surfaces(bench.store)) == 5


def test_a_failing_slab_stops_no_other(bench, mgag):
    # 12 atoms: the (110) slab
    planes = [(1, 0, 0), (1, 1, 0)]
    maker = SurfaceMaker(bench.context(fail_on="slab_relax MgAg 12"))
    tally = bench.run(maker.make(mgag, miller_indices=planes))
    assert [label for label, _ in tally.problems] == ["MgAg (110) MgAg: relax"]
    found = surfaces(bench.store)
    assert len(found) == 3
    bad = found.pop(("MgAg", (1, 1, 0), "MgAg"))
    for target in ("surface_energy", "work_function"):
        assert bad["verdicts"][target]["status"] == VerdictStatus.FAILED
        assert "failure requested" in bad["verdicts"][target]["reason"]
        assert bad[target] is None
    assert all(r["verdicts"]["surface_energy"]["status"] == "accepted" for r in found.values())

    executed = bench.executed()
    tally = bench.run(SurfaceMaker(bench.context()).make(mgag, miller_indices=planes))
    assert tally.problems == []
    assert sorted(tally.computed) == ["MgAg (110) MgAg: relax", "MgAg (110) MgAg: static"]
    assert sum((bench.executed() - executed).values()) == 2
    assert (
        surfaces(bench.store)[("MgAg", (1, 1, 0), "MgAg")]["verdicts"]["surface_energy"]["status"]
        == "accepted"
    )


def test_a_crash_is_a_verdict_with_its_reason(bench, mgag):
    maker = SurfaceMaker(bench.context(crash_on="slab_static MgAg 12"))
    tally = bench.run(maker.make(mgag, miller_indices=[(1, 1, 0)]))
    assert len(tally.problems) == 1
    bad = surfaces(bench.store)[("MgAg", (1, 1, 0), "MgAg")]
    assert bad["verdicts"]["work_function"]["status"] == "failed"
    assert "RuntimeError: crash requested" in bad["verdicts"]["work_function"]["reason"]
    assert "\n" not in bad["verdicts"]["work_function"]["reason"]


def test_unconverged_is_a_verdict_and_is_not_tried_again(bench, mgag):
    maker = SurfaceMaker(bench.context(unconverged_on="slab_relax MgAg 12"))
    bench.run(maker.make(mgag, miller_indices=[(1, 1, 0)]))
    executed = bench.executed()
    bad = surfaces(bench.store)[("MgAg", (1, 1, 0), "MgAg")]
    assert bad["verdicts"]["surface_energy"]["status"] == "unconverged"
    assert bad["surface_energy"] is None
    tally = bench.run(maker.make(mgag, miller_indices=[(1, 1, 0)]))
    assert bench.executed() == executed
    assert [label for label, _ in tally.problems] == ["MgAg (110) MgAg: relax"]
    tally = bench.run(SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)]))
    assert bench.executed() == executed, "the method is the same, and so is the answer"


def test_unconverged_is_tried_again_on_request(bench, mgag):
    maker = SurfaceMaker(bench.context(unconverged_on="slab_relax MgAg 12"))
    bench.run(maker.make(mgag, miller_indices=[(1, 1, 0)]))
    again = SurfaceMaker(replace(bench.context(), retry_unconverged=True))
    tally = bench.run(again.make(mgag, miller_indices=[(1, 1, 0)]))
    assert tally.problems == []
    bad = surfaces(bench.store)[("MgAg", (1, 1, 0), "MgAg")]
    assert bad["verdicts"]["surface_energy"]["status"] == "accepted"


def test_a_second_attempt_that_does_not_converge_either_is_not_tried_a_third_time(bench, mgag, mg):
    # The reference of Mg and the slabs of Mg ask for the same crystal.
    stubborn = bench.context(unconverged_on="bulk_relax Mg 2")
    bench.run(CampaignMaker(SurfaceMaker(stubborn)).make([mg], miller_indices=[[(0, 0, 1)]]))
    again = replace(bench.context(unconverged_on="bulk_relax Mg 2"), retry_unconverged=True)
    tally = bench.run(CampaignMaker(SurfaceMaker(again)).make([mg], miller_indices=[[(0, 0, 1)]]))
    assert tally.computed == ["Mg bulk: relax"]


def test_a_failed_bulk_is_a_problem_and_the_other_compounds_go_on(bench, mgag, mg):
    flow = CampaignMaker(SurfaceMaker(bench.context(fail_on="bulk_relax MgAg"))).make(
        [mgag, mg], miller_indices=[None, [(0, 0, 1)]]
    )
    tally = bench.run(flow)
    assert ("MgAg bulk: relax", "failed: failure requested") in tally.problems
    assert set(surfaces(bench.store)) == {("Mg", (0, 0, 1), "Mg")}


def test_without_the_partners_reference_the_mg_rich_value_stands(bench, mgag):
    tally = bench.run(
        SurfaceMaker(bench.context(fail_on="bulk_relax Ag")).make(mgag, miller_indices=[(1, 0, 0)])
    )
    assert len(tally.problems) == 1
    for record in surfaces(bench.store).values():
        assert record["surface_energy"] is not None
        assert record["surface_energy_x_rich"] is None
        assert record["verdicts"]["surface_energy"]["status"] == "accepted"


def test_flow_survives_serialisation(bench, mgag):
    flow = SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)])
    text = json.dumps(flow.as_dict(), cls=MontyEncoder)
    again = MontyDecoder().process_decoded(json.loads(text))
    assert isinstance(again, Flow)
    assert bench.run(again).problems == []
    assert len(surfaces(bench.store)) == 1


def test_makers_of_flows_submitted_earlier_are_read(bench):
    maker = SurfaceMaker(bench.context(), slabs=SlabSettings(min_thickness=6.0, max_terminations=2))
    plain = json.loads(json.dumps(maker.as_dict(), cls=MontyEncoder))
    assert MontyDecoder().process_decoded(plain) == maker
    settings = {name: value for name, value in plain.pop("slabs").items() if not name.startswith("@")}
    assert MontyDecoder().process_decoded(plain | settings) == maker


def test_records_of_two_methods_live_side_by_side(continued, mgag):
    bench = continued
    bench.run(SurfaceMaker(bench.context(cutoff=400.0)).make(mgag, miller_indices=[(1, 1, 0)]))
    with open_store(bench.store) as store:
        records = list(store.query({}))
    assert len(records) == 6
    assert len({r["method_fingerprint"] for r in records}) == 2


def test_polar_facets_are_reported(bench):
    from workflows.jobs.progress import PROGRESS, Stage
    from workflows.structures.prototypes import structure_for

    notes = []
    import logging

    class Notes(logging.Handler):
        def emit(self, record):
            if record.mgsurf_event.stage is Stage.NOTE:
                notes.append((record.mgsurf_event.label, record.mgsurf_event.text))

    handler = Notes()
    PROGRESS.addHandler(handler)
    PROGRESS.setLevel(logging.INFO)
    try:
        slabs = SurfaceMaker(bench.context()).cut(structure_for("Mg17Al12", "A12"), [(1, 1, 1)])
    finally:
        PROGRESS.removeHandler(handler)
    assert slabs == []
    assert notes == [("Mg17Al12 (111)", "polar direction: no symmetric slab exists")]


def test_references_agree_with_the_ground_state(bench):
    from workflows.jobs.bulk import reference_of

    (bench.folder / "runs").mkdir()
    answer = reference_of(bench.context(), "Mg")
    relaxed = Structure.from_dict(answer["reference"]["structure"])
    assert answer["reference"]["energy_per_atom"] == pytest.approx(pair_energy(relaxed)[0] / len(relaxed))
    assert answer["reference"]["prototype"] == "A3"
    assert relaxed.volume < 1.3 * ground_state("Mg").volume


def test_an_unconverged_reference_of_mg_is_the_verdict(bench, mgag):
    bench.run(
        SurfaceMaker(bench.context(unconverged_on="bulk_static Mg ")).make(mgag, miller_indices=[(1, 0, 0)])
    )
    for record in surfaces(bench.store).values():
        assert record["surface_energy"] is None
        assert record["verdicts"]["surface_energy"]["status"] == "unconverged"
        assert "Mg reference" in record["verdicts"]["surface_energy"]["reason"]
        assert record["verdicts"]["work_function"]["status"] == "accepted"


def test_whole_numbers_and_floats_make_the_same_request(continued, mgag):
    maker = SurfaceMaker(continued.context(), slabs=SlabSettings(vacuum=15, free_depth=3))
    assert continued.run(maker.make(mgag, miller_indices=[(1, 1, 0)])).computed == []
    assert len(surfaces(continued.store)) == 5


def test_file_systems_without_locks(bench, mg, monkeypatch):
    """Lustre mounted without flock refuses every lock; nothing else can stage it."""

    def refuse(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    bench.run(SurfaceMaker(bench.context()).make(mg, miller_indices=[(0, 0, 1)]))
    assert len(surfaces(bench.store)) == 1


def test_jobs_say_what_they_ask_of_a_queue(bench, mgag):
    """That those made while a flow runs do too is in tests/execution/test_slurm_campaign.py."""
    plan = {
        "light": {"resources": {"nodes": 1}, "worker": "a"},
        "bulk": {"resources": {"nodes": 2}, "worker": "b"},
        "slabs": [[10, {"resources": {"nodes": 3}}], [None, {"resources": {"nodes": 4}}]],
    }
    maker = SurfaceMaker(bench.context(), queue=plan)
    flow = maker.make(mgag, miller_indices=[(1, 1, 0)])
    assert {job.name: job.config.manager_config.get("worker") for job in flow.jobs} == {
        "Ag reference": "b", "Mg reference": "b", "MgAg relax bulk": "b", "MgAg surfaces": "a"
    }  # fmt: skip
    bench.run(flow)
    assert len(surfaces(bench.store)) == 1


def test_the_bulk_keeps_the_formation_energy_of_its_surfaces(bench, mgag):
    bench.run(SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)]))
    with open_store(bench.store) as store:
        (bulk,) = store.records(BulkRecord)
        (surface,) = store.surfaces()
        assert bulk.formation_energy is not None
        assert bulk.formation_energy == surface.formation_energy
        mu0 = sum(r.energy_per_atom for r in store.records(ReferenceRecord))
        assert bulk.formation_energy == pytest.approx(bulk.energy_per_formula_unit - mu0, abs=1e-12)
        # as stores of earlier versions hold it: the next run adds it without any calculation
        before = bench.executed()
        store.add(bulk.model_copy(update={"formation_energy": None}))
    bench.run(SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)]))
    assert bench.executed() == before
    with open_store(bench.store) as store:
        again = store.get(BulkRecord, bulk.id)
        assert again.formation_energy == bulk.formation_energy
    bench.run(SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)]))
    with open_store(bench.store) as store:
        assert store.get(BulkRecord, bulk.id) == again  # and the one after that writes nothing


def test_pull_finds_the_formation_energy_in_the_outputs(computed):
    from stores.connections import open_job_store
    from workflows.execution.remote.pull import records_in

    jobs = open_job_store(computed.store)
    jobs.connect()
    outputs = [d["output"] for d in jobs.query({}, ["output", "completed_at"], load=True)]
    found = [r for output in outputs for r in records_in(output) if isinstance(r, BulkRecord)]
    latest = max(found, key=lambda record: record.created_at)
    assert len(found) >= 2
    assert latest.formation_energy is not None


def test_without_a_reference_the_bulk_has_no_formation_energy(bench, mgag, mg):
    flow = SurfaceMaker(bench.context()).make(mgag, miller_indices=[(1, 1, 0)], references=[])
    bench.run(flow)
    bench.run(SurfaceMaker(bench.context()).make(mg, miller_indices=[(0, 0, 1)]))
    with open_store(bench.store) as store:
        assert {b.formula: b.formation_energy for b in store.records(BulkRecord)} == {
            "MgAg": None,
            "Mg": None,
        }


def test_what_an_engine_corrected_is_computed_again_and_nothing_else(continued, mgag):
    before = continued.executed()
    maker = SurfaceMaker(continued.context(corrected="Ag"))
    assert continued.run(maker.make(mgag)).problems == []
    again = continued.executed() - before
    assert again and all("Ag" in line and "Mg" not in line for line in again)
    assert continued.run(maker.make(mgag)).problems == []
    assert continued.executed() - before == again
