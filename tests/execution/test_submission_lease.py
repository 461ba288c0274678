"""Only one submission at a time: the lock is renewed while it works, and no clock but the waiter's counts."""

from __future__ import annotations

import uuid

import pytest

from stores.backends.mongo import memory_database
from stores.errors import StoreError
from stores.learning import leases
from stores.learning.leases import LeaseLostError
from workflows.execution.remote.submit import alone_submitting


@pytest.fixture
def database():
    return memory_database(uuid.uuid4().hex)


@pytest.fixture
def from_elsewhere(monkeypatch):
    """Make every later process one of another machine, which sees beats and no process numbers."""
    return lambda: monkeypatch.setattr(leases, "_machine", lambda: "another")


def test_a_long_submission_keeps_its_lock(database, from_elsewhere):
    with alone_submitting(database, beat=0.01) as lease:
        from_elsewhere()
        for _ in range(3):  # each watches for as long as a dead owner is given
            with (
                pytest.raises(StoreError, match=r"another mgsurf submit .*Process \d+ on"),
                alone_submitting(database, wait=0, expiry=0.3),
            ):
                pass
        lease.check()


def test_a_dead_submission_gives_way_after_the_waiters_own_time(database, from_elsewhere):
    with alone_submitting(database, beat=1e9) as held_up:
        from_elsewhere()
        with alone_submitting(database, wait=0, expiry=0.05) as lease:
            assert lease.number == held_up.number + 1
            document = database["mgsurf_leases"].find_one({"number": lease.number})
            assert not {"since", "time", "expires"} & set(document)
            with pytest.raises(LeaseLostError, match="took over the submission"):
                held_up.check()


def test_a_waiter_that_was_held_up_itself_looks_again(database, from_elsewhere, monkeypatch):
    """Its clock jumps past the limit between two looks, while the owner went on beating."""
    with alone_submitting(database, beat=1e9) as owner:
        from_elsewhere()
        clock = [0.0]

        def stall(seconds):
            clock[0] += 1000.0
            owner.beat()

        monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(leases.time, "sleep", stall)
        with (
            pytest.raises(StoreError, match="another mgsurf submit"),
            alone_submitting(database, wait=-1, expiry=30),
        ):
            pass
