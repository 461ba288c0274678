from __future__ import annotations

import math

import pytest

from stores.connections import open_store
from stores.records import CalculationKind, CalculationOutput, CalculationRecord, Method
from workflows.engines.kpoints import gamma_mesh
from workflows.flows.enumeration.cost import STEPS, CostModel, Meshes, Rate, Work, calibrated, work_of
from workflows.jobs.progress import relative_cost
from workflows.structures.crystal import crystal_of
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import count_slabs, enumerate_slabs

METHOD = Method(
    engine="test", preset="demo", functional="PBE", cutoff=300.0, k_density=4.0, smearing="none",
    smearing_width=0.0, force_tolerance=0.02, extra={"bulk_k_density": 6.0},
)  # fmt: skip
MESHES = Meshes.of(METHOD, 15.0)
CRYSTAL = crystal_of(structure_for("MgZn2", "C14"))


def record(number, structure, seconds, kind=CalculationKind.SLAB_RELAX, method=METHOD, **output):
    mesh = gamma_mesh(structure, method.k_density, slab=True)
    return CalculationRecord(
        id=f"{method.preset}-{kind}-{number}",
        formula="MgZn2",
        chemsys="Mg-Zn",
        method=method,
        method_fingerprint=method.fingerprint,
        kind=kind,
        label="a slab",
        identity={},
        output=CalculationOutput(
            **{"status": "ok", "structure": structure, "kpoints": mesh, "wall_time": seconds} | output
        ),
    )


def slabs():
    return [slab.structure for facet in enumerate_slabs(CRYSTAL) for slab in facet.slabs]


def work_of_slab(structure, kind=CalculationKind.SLAB_RELAX):
    mesh = gamma_mesh(structure, METHOD.k_density, slab=True)
    return relative_cost(len(structure), structure.volume, mesh, STEPS[kind])


def test_work_without_building_slabs_is_that_of_the_slabs():
    n_atoms, n_primitive = len(CRYSTAL.species), len(CRYSTAL.primitive_species)
    work = work_of(CRYSTAL.lattice, n_atoms, n_primitive, count_slabs(CRYSTAL), MESHES)
    expected = [work_of_slab(s) / STEPS[CalculationKind.SLAB_RELAX] for s in slabs()]
    assert sorted(work.slabs) == pytest.approx(sorted(expected))
    oriented = [
        relative_cost(
            len(cell), cell.volume, (*gamma_mesh(f.slabs[0].structure, 4.0)[:2], gamma_mesh(cell, 4.0)[2]), 1
        )
        for f in enumerate_slabs(CRYSTAL)
        for cell in [f.slabs[0].oriented_bulk]
    ]
    assert work.oriented == pytest.approx(oriented)
    mesh = gamma_mesh(CRYSTAL.structure, 6.0)
    assert work.bulk == pytest.approx(relative_cost(n_atoms, CRYSTAL.structure.volume, mesh, 1))


def test_calibrated_on_records_of_the_same_method():
    other = METHOD.model_copy(update={"preset": "production"})
    with open_store("memory://cost-linear") as store:
        store.add([record(i, s, 0.03 * work_of_slab(s) / 2, details={"ranks": 2})
                   for i, s in enumerate(slabs())])  # fmt: skip
        store.add([record(i, s, 1e6, method=other) for i, s in enumerate(slabs()[:4])])
        store.add(record(99, slabs()[0], 1e6, status="failed", reason="a crash"))
        store.add(record(98, slabs()[0], 0.0, CalculationKind.SLAB_STATIC, wall_time=0.0))
        model = calibrated(METHOD, store)
    rate = model.rates[CalculationKind.SLAB_RELAX]
    assert rate.n_records == len(slabs())
    assert rate.exponent == pytest.approx(1.0)
    assert rate.seconds == pytest.approx(0.03)
    assert rate.spread == pytest.approx(1.0)
    assert "calibrated on 23 calculations of test-demo" in model.words()
    hours = model.core_hours(Work(slabs=(100.0,)))
    steps = STEPS[CalculationKind.SLAB_RELAX] + STEPS[CalculationKind.SLAB_STATIC]
    assert hours == pytest.approx(0.03 * 100.0 * steps / 3600)


def test_a_power_law_is_recognised():
    with open_store("memory://cost-power") as store:
        small = [s.structure for f in enumerate_slabs(structure_for("MgAg", "B2")) for s in f.slabs]
        store.add([record(i, s, 0.01 * work_of_slab(s) ** 1.4) for i, s in enumerate(slabs() + small)])
        rate = calibrated(METHOD, store).rates[CalculationKind.SLAB_RELAX]
    assert rate.exponent == pytest.approx(1.4)


def test_cpu_time_counts_rather_than_waiting_on_a_busy_machine():
    slab = slabs()[0]
    with open_store("memory://cost-busy") as store:
        store.add(record(0, slab, 1e5, details={"ranks": 2, "cpu_time": 50.0}))
        rate = calibrated(METHOD, store).rates[CalculationKind.SLAB_RELAX]
    assert rate.seconds * work_of_slab(slab) == pytest.approx(100.0)


def test_without_records_it_is_an_order_of_magnitude_and_says_so():
    model = calibrated(METHOD, None)
    assert "an order of magnitude" in model.words()
    assert METHOD.fingerprint in model.words()
    # the quickstart's MgAg and Mg took 0.3 core-hours with all references (README)
    crystal = crystal_of(structure_for("MgAg", "B2"))
    work = work_of(crystal.lattice, 2, 2, count_slabs(crystal), MESHES)
    assert 0.05 < model.core_hours(work) < 0.3
    dense = calibrated(METHOD.model_copy(update={"cutoff": 600.0}), None)
    assert dense.core_hours(work) == pytest.approx(model.core_hours(work) * 2**1.5)


def test_a_kind_without_records_takes_the_rate_of_slabs():
    rates = {CalculationKind.SLAB_RELAX: Rate(7.0), CalculationKind.BULK_RELAX: Rate(1.0)}
    model = CostModel(METHOD, rates)
    assert model.rate(CalculationKind.SLAB_STATIC).seconds == 7.0
    assert model.rate(CalculationKind.BULK_RELAX).seconds == 1.0
    assert math.isfinite(model.core_hours(Work()))
