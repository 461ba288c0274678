from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stores.connections import open_store
from stores.learning import leases
from stores.learning.leases import HeldError, LeaseLostError, take_lease

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from stores.connections import open_store
from stores.learning.leases import take_lease
with open_store(sys.argv[1]) as store, take_lease(store, "refresh", beat=0.1):
    print("held", flush=True)
    time.sleep(60)
"""


def document(store):
    return next(iter(store.query({}, sort={"number": -1}, limit=1, collection="leases")))


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease of a store until it is killed."""
    uri = f"sqlite:///{tmp_path}/records.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, uri],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline().strip() == "held"
    yield uri, process
    process.kill()
    process.wait()


def test_a_lease_is_free_again_afterwards(store_uri):
    with open_store(store_uri) as store:
        for number in (1, 2, 3):
            with take_lease(store, "refresh") as lease:
                assert (lease.number, lease.taken_over_from) == (number, "")
                lease.check()
        with pytest.raises(ZeroDivisionError), take_lease(store, "refresh"):
            raise ZeroDivisionError
        with take_lease(store, "refresh"), take_lease(store, "something else"):
            pass


def test_of_many_at_once_one_wins_and_the_others_are_told_who(store_uri):
    won, lost = [], []
    start, end = threading.Barrier(5), threading.Event()

    def contend():
        with open_store(store_uri) as store:
            start.wait()
            try:
                with take_lease(store, "refresh", beat=0.1, expiry=1):
                    won.append(1)
                    end.wait(20)
            except HeldError as error:
                lost.append(str(error))
                if len(lost) == 4:
                    end.set()

    threads = [threading.Thread(target=contend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 4
    assert all(f"Process {os.getpid()} on " in line or "first" in line for line in lost)


def test_a_running_process_keeps_its_lease_and_a_killed_one_loses_it_at_once(holder):
    uri, process = holder
    with open_store(uri) as store:
        began = time.monotonic()
        with (
            pytest.raises(HeldError, match=f"^Process {process.pid} on .* is already running"),
            take_lease(store, "refresh"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with take_lease(store, "refresh") as lease:
            assert str(process.pid) in lease.taken_over_from
        assert time.monotonic() - began < 3


def test_on_another_machine_the_beat_tells_and_no_clock(holder, monkeypatch):
    uri, process = holder
    monkeypatch.setattr(leases, "_machine", lambda: "another")
    waited = []
    with open_store(uri) as store:
        with pytest.raises(HeldError), take_lease(store, "refresh", expiry=5, waiting=waited.append):
            pass
        assert waited[0].startswith(f"Process {process.pid} on ")
        process.kill()
        process.wait()
        began = time.monotonic()
        with take_lease(store, "refresh", expiry=1.0) as lease:
            assert lease.number == 2
        assert 0.9 < time.monotonic() - began < 4
    assert not any("time" in key or key.endswith("_at") for key in lease._document)


def test_a_recycled_process_number_is_not_the_owner(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/records.sqlite") as store, take_lease(store, "refresh") as lease:
        lease._document["started"] = "1"  # this process's number, started at another time
        lease.beat()
        with take_lease(store, "refresh") as other:
            assert other.number == 2
            with pytest.raises(LeaseLostError, match="held up"):
                lease.check()


def test_an_owner_that_was_held_up_does_not_disturb_the_next(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/records.sqlite") as store:
        with take_lease(store, "refresh", beat=0.05) as lease:
            lease._document["machine"] = "gone"
            lease.beat()
            lease._document["released"] = True  # what the next sees, while this one keeps beating
            lease.beat()
            with take_lease(store, "refresh") as second:
                time.sleep(0.2)
                second.check()
        with take_lease(store, "refresh") as third:
            assert third.number == 3


def test_old_numbers_go_but_cannot_be_taken_again(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_KEPT", 3)
    with open_store(f"sqlite:///{tmp_path}/records.sqlite") as store:
        for _ in range(10):
            with take_lease(store, "refresh"):
                pass
        assert store.count(collection="leases") <= 5
        assert document(store)["number"] == 10
