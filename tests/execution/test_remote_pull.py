"""A result that is there is never given up for a failure, in whatever order they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from stores.connections import open_store
from stores.records import CalculationStatus, SurfaceRecord, VerdictStatus
from tests.stores.conftest import make_calculation, make_surface
from workflows.execution.remote.pull import add_unless_better

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/results.sqlite") as opened:
        yield opened


def calculation(day, status):
    record = make_calculation(1).model_copy(deep=True, update={"created_at": START + timedelta(day)})
    record.output.status = status
    return record


def surface(day, status, **fields):
    made = make_surface(1, **fields)
    record = made.model_copy(deep=True, update={"created_at": START + timedelta(day)})
    record.verdicts.surface_energy.status = status
    return record


@pytest.mark.parametrize("order", permutations(range(3)))
def test_the_best_calculation_stays(store, order):
    """Clocks of nodes differ, and a campaign may be pulled after a later one."""
    records = [
        calculation(1, CalculationStatus.OK),
        calculation(2, CalculationStatus.UNCONVERGED),
        calculation(3, CalculationStatus.FAILED),
    ]
    for n in order:
        add_unless_better(store, records[n])
    assert store.get_calculation("calculation-1").output.status is CalculationStatus.OK
    assert not any(add_unless_better(store, record) for record in records)


@pytest.mark.parametrize("order", permutations(range(2)))
def test_a_surface_is_not_replaced_by_a_later_failure(store, order):
    records = [surface(1, VerdictStatus.ACCEPTED), surface(2, VerdictStatus.FAILED)]
    for n in order:
        add_unless_better(store, records[n])
    kept = store.get(SurfaceRecord, "surface-1")
    assert kept.verdicts.surface_energy.status is VerdictStatus.ACCEPTED


def test_a_later_judgement_replaces_an_earlier_one(store):
    assert add_unless_better(store, surface(1, VerdictStatus.ACCEPTED))
    assert add_unless_better(store, surface(2, VerdictStatus.RECONSTRUCTED))
    assert not add_unless_better(store, surface(1, VerdictStatus.ACCEPTED))
