"""One process at a time, on whatever host: leases in a store, without trusting any clock.

A lease is a numbered document; taking it means inserting the next number, which only one process can do. Its
owner counts a beat up every few seconds. Whoever else wants it looks whether the owner is alive: on the same
machine by the owner's process, from another by watching whether the beat changes, timed by the watcher's own
clock alone. A dead owner's lease is taken over by inserting the next number.

An owner that was only held up (a laptop asleep, a stalled disk) finds out by `Lease.check`: what must not be
done twice comes after it, and decisions on models are safe by themselves (`stores.learning.registry`).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stores.errors import StoreError
from stores.files import process_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stores.backends.collection import Collection

LOG = logging.getLogger(__name__)

COLLECTION = "leases"
BEAT = 5.0  # seconds from one beat to the next
EXPIRY = 30.0
"""An owner on another machine that did not beat for so long, by the watcher's clock, is dead (s)."""
_KEPT = 100  # numbers of past leases, so that a slow process cannot take an old number again


class LeaseStore(Protocol):
    """Where processes that exclude each other meet: a `SurfaceStore`, or another holder of leases."""

    uri: str

    def collection(self, kind: str) -> Collection:
        """Return the collection of this name."""
        ...


class HeldError(StoreError):
    """Another process has the lease."""


class LeaseLostError(StoreError):
    """The process was held up for so long that another took the lease over."""


@dataclass
class Lease:
    """A lease that this process has; `taken_over_from` names a dead owner, empty if it was free."""

    store: LeaseStore
    name: str
    number: int
    taken_over_from: str = ""
    _document: dict[str, Any] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """Raise a `LeaseLostError` if another process took the lease over."""
        last = _last(self.store, self.name)
        if last is None or last["number"] != self.number:
            raise LeaseLostError(
                f"{_owner(last or {})} took over the {self.name} of {self.store.uri} while this process was "
                "held up; nothing more is done here."
            )

    def beat(self) -> None:
        """Tell others that this process is alive."""
        self._document["beat"] += 1
        self.store.collection(COLLECTION).upsert(self._document)

    def release(self) -> None:
        """Let the next process have it at once."""
        self._document["released"] = True
        with suppress(StoreError, OSError):  # on a full disk it is found to be dead instead
            self.store.collection(COLLECTION).upsert(self._document)


@contextmanager
def take_lease(
    store: LeaseStore,
    name: str,
    *,
    beat: float = BEAT,
    expiry: float = EXPIRY,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Lease]:
    """Hold a lease.

    Parameters
    ----------
    store
        Where the processes that exclude each other meet.
    name
        Of the work that only one may do.
    beat, expiry
        See `BEAT` and `EXPIRY` (s); equal for all who take part.
    waiting
        Called with the owner, in words, before a beat is waited for.

    Raises
    ------
    HeldError
        If another process has it: at once where that process is seen, after `expiry` at the latest.
    """
    last = _last(store, name)
    dead = ""
    if last is not None and not last["released"]:
        alive = _is_running(last)
        if alive is None:
            if waiting is not None:
                waiting(_owner(last))
            alive = _beats(store, last, expiry)
        if alive:
            raise HeldError(f"{_owner(last)} is already running it; nothing was done here.")
        dead = _owner(last)
    number = last["number"] + 1 if last else 1
    document = {"id": f"{name}-{number}", "name": name, "number": number, "beat": 0, "released": False}
    document |= _this_process()
    if not store.collection(COLLECTION).insert(document):
        raise HeldError(f"Another process started the {name} of {store.uri} first; nothing was done here.")
    lease = Lease(store, name, number, dead, document)
    lease.check()
    store.collection(COLLECTION).remove({"name": name, "number": {"$lt": number - _KEPT}})
    done = threading.Event()
    heart = threading.Thread(target=_keep_beating, args=(lease, done, beat), daemon=True)
    heart.start()
    try:
        yield lease
    finally:
        done.set()
        heart.join()
        lease.release()


def _keep_beating(lease: Lease, done: threading.Event, beat: float) -> None:
    while not done.wait(beat):
        try:
            lease.beat()
        except (StoreError, OSError) as error:  # whoever cannot beat may lose the lease, nothing else
            LOG.info("no beat of the lease %s: %s", lease.name, error)


def _last(store: LeaseStore, name: str) -> dict[str, Any] | None:
    found = store.collection(COLLECTION).query({"name": name}, sort={"number": -1}, limit=1)
    return next(iter(found), None)


def _beats(store: LeaseStore, seen: dict[str, Any], expiry: float) -> bool:
    """Watch a lease until it beats, is let go or changes hands, at most for `expiry` seconds."""
    # whatever holds this process up, it looks once more after that time before the owner counts as dead
    began = looked = time.monotonic()
    while looked - began < expiry:
        time.sleep(min(0.5, expiry / 10))
        looked = time.monotonic()
        now = _last(store, seen["name"])
        if now is None or now["number"] != seen["number"]:
            return True  # another took it over; the insertion would tell, too
        if now["released"]:
            return False
        if now["beat"] != seen["beat"]:
            return True
    return False


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": pid,
        "started": process_start(pid),
        "token": uuid.uuid4().hex,  # two documents that try for one number are never equal
    }


def _is_running(lease: dict[str, Any]) -> bool | None:
    """Return whether the owner runs on this machine; None if it is on another, or cannot be seen."""
    if not lease["machine"] or lease["machine"] != _machine():
        return None
    return bool(process_start(lease["pid"]) == lease["started"])


def _machine() -> str:
    """Return what is equal for processes that see each other's numbers; empty where Linux does not tell."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _owner(lease: dict[str, Any]) -> str:
    return f"Process {lease.get('pid', '?')} on {lease.get('host', '?')}"
