"""A late failure never replaces a result: one rule in every kind of store."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from stores.backends import collection, folder
from stores.connections import open_store
from stores.records import CalculationOutput, CalculationStatus, SurfaceRecord, Verdict, Verdicts
from tests.stores.conftest import START, make_calculation, make_surface

STATUSES = ("ok", "unconverged", "failed")


def calculation(status, day=0):
    return make_calculation(
        1, output=CalculationOutput(status=status, reason=str(day)), created_at=START + timedelta(day)
    )


@pytest.mark.parametrize("order", permutations(STATUSES))
def test_the_best_stands_in_every_order(store_uri, order):
    with open_store(store_uri) as store:
        for day, status in enumerate(order):
            store.add_unless_better(calculation(status, -day))
        assert store.get_calculation("calculation-1").output.status == "ok"
        assert [d["output"]["status"] for d in store.query({}, collection="calculations")] == ["ok"]
        assert store.count({"output.status": "failed"}, collection="calculations") == 0
        assert not store.add_unless_better(calculation("failed", 9))
        assert store.add_unless_better(calculation("ok", 9))
        assert store.get_calculation("calculation-1").output.reason == "9"
        assert store.remove({"id": "calculation-1"}, collection="calculations") == 1
        assert store.get_calculation("calculation-1") is None


@pytest.mark.parametrize(("first", "second"), [("failed", "failed"), ("unconverged", "unconverged")])
def test_of_equals_the_later_written_stands(store_uri, first, second):
    with open_store(store_uri) as store:
        store.add(calculation(first, 1))
        assert store.add_unless_better(calculation(second, 0))
        assert store.get_calculation("calculation-1").output.reason == "0"
        store.add(calculation("failed", 7))  # what is written without the condition always stands
        assert store.get_calculation("calculation-1").output.reason == "7"


def test_surfaces_count_both_verdicts(store_uri):
    good, bad, half = (
        make_surface(1, verdicts=Verdicts(surface_energy=Verdict(status=a), work_function=Verdict(status=b)))
        for a, b in (("accepted", "negative"), ("failed", "failed"), ("accepted", "failed"))
    )
    with open_store(store_uri) as store:
        for record in (half, good, bad, half):
            store.add_unless_better(record)
        assert store.get(SurfaceRecord, "surface-1").verdicts == good.verdicts
        assert len(list(store.surfaces())) == 1


@pytest.mark.parametrize("there", [None, "failed", "unconverged"])
@pytest.mark.parametrize("late", ["failed", "unconverged"])
def test_a_result_that_arrives_between_looking_and_writing_stays(store_uri, monkeypatch, there, late):
    """The late writer has looked; before it writes, another process stores the result."""
    with open_store(store_uri) as store, open_store(store_uri) as other:
        if there is not None:
            store.add(calculation(there, 1))
        waiting = [calculation("ok", 2)]

        def intervene():
            if waiting:
                assert other.add_unless_better(waiting.pop())

        write, rank_of = folder._write, collection.rank_of
        monkeypatch.setattr(folder, "_write", lambda *args: (intervene(), write(*args))[1])
        monkeypatch.setattr(collection, "rank_of", lambda document: (intervene(), rank_of(document))[1])
        if store_uri.startswith("sqlite"):
            intervene()  # its transactions exclude each other
        store.add_unless_better(calculation(late, 3))
        intervene()  # where nothing was compared or written the result simply comes later
        assert store.get_calculation("calculation-1").output.status is CalculationStatus.OK
