"""What `calculate` keeps and repeats, whatever clocks and other processes do meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stores.connections import open_store
from stores.records import CalculationKind, CalculationOutput, CalculationRecord
from workflows.jobs import calculate as module
from workflows.jobs.calculate import CalculationRequest, calculate
from workflows.jobs.context import RunContext


@pytest.fixture
def mg_request(mg):
    return CalculationRequest(CalculationKind.BULK_STATIC, "Mg", mg, {"bulk": "x"})


@pytest.mark.parametrize("late", ["failed", "unconverged"])
@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_the_result_of_another_process_is_the_answer_of_one_that_failed(bench, mg_request, late, kind):
    """Where a file system has no locks two processes may compute the same."""
    context = replace(bench.context(), store=f"{kind}:///{bench.folder}/records.sqlite")

    def fail_late(engine, folder):
        inner = replace(context, work_dir=f"{context.work_dir}/other")
        calculate(inner, mg_request, lambda engine, folder: CalculationOutput(status="ok", energy=-1.0))
        return CalculationOutput(status=late, reason="disk full")

    record = calculate(context, mg_request, fail_late)
    assert record.output.status == "ok" and record.output.energy == -1.0
    with open_store(context.store) as store:
        assert store.get_calculation(record.id).output.status == "ok"


@pytest.mark.parametrize("year", [1999, 2199])
def test_unconverged_is_tried_again_once_in_a_run_whatever_clocks_show(bench, mg_request, monkeypatch, year):
    ran = []

    def unconverged(engine, folder):
        ran.append(folder)
        return CalculationOutput(status="unconverged", reason="steps")

    monkeypatch.setattr(
        module,
        "CalculationRecord",
        lambda **v: CalculationRecord(**v, created_at=datetime(year, 1, 1, tzinfo=UTC)),
    )
    calculate(bench.context(), mg_request, unconverged)
    calculate(bench.context(), mg_request, unconverged)
    assert len(ran) == 1
    for number in (2, 3):
        again = replace(bench.context(), retry_unconverged=True)
        for _ in range(2):
            calculate(RunContext.from_dict(again.as_dict()), mg_request, unconverged)
        assert len(ran) == number


def test_contexts_of_flows_submitted_before_are_read():
    plain = RunContext("memory://", "/tmp").as_dict()
    plain["begun"] = "2026-01-01T00:00:00+00:00"
    del plain["run"]
    assert RunContext.from_dict(plain).run == "2026-01-01T00:00:00+00:00"
