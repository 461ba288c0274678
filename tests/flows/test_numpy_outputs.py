"""An engine may return NumPy scalars and arrays anywhere; its records are stored once and reused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stores.connections import open_store
from workflows.flows.surface import SurfaceMaker

ENGINE = "tests.engines.variant_engines:NumpyEngine"


def test_records_of_an_engine_that_returns_numpy_are_stored_and_reused(bench, mg):
    context = replace(bench.context(), engine=ENGINE)
    for _ in range(2):
        tally = bench.run(SurfaceMaker(context).make(mg, miller_indices=[(0, 0, 1)]))
        assert tally.problems == []
    assert set(bench.executed().values()) == {1}
    with open_store(bench.store) as store:
        records = list(store.query({}, collection="calculations"))
        (surface,) = store.surfaces()
    assert surface.verdicts.surface_energy.status == "accepted"
    assert surface.method.extra == {"mixing": 0.5, "spin": False}
    for record in records:
        details = record["output"]["details"]
        assert details["ok_flag"] is True
        assert details["charges"] == [[0.0, 0.0], [0.0, 0.0]]
        assert details["log"] == "a/b"
        assert details["late"] == {"1": None, "set": [2]}
        assert record["output"]["site_magnetizations"] == [1.0] * len(record["output"]["structure"]["sites"])


@pytest.mark.parametrize("energy", ["nan"])
def test_an_energy_that_is_no_number_is_a_failure_with_a_reason(bench, mg, energy):
    context = replace(bench.context(nan_on="Mg"), engine=ENGINE)
    tally = bench.run(SurfaceMaker(context).make(mg, miller_indices=[(0, 0, 1)]))
    assert any(f"its energy is {energy}" in str(problem) for problem in tally.problems)
