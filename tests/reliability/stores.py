"""Kill processes that write to stores, restore backups in between, and flip bytes: what is promised holds.

    python -m tests.reliability.stores --kills 10000 --flips 200

Every writer is a forked child that acknowledges each document through a pipe after it was stored, and is
killed with SIGKILL after a random time. After each kill the store must hold every acknowledged document, at
most the one that was being written beside them, none twice, and none from before a restore. Numbers:
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stores.backends.backup import backup, restore
from stores.backends.sqlite import DocumentTable
from stores.connections import open_store
from stores.errors import MgsurfError
from stores.records import PlanarPotential
from tests.stores.conftest import make_surface
from tests.stores.opening import open_collection

COPIES: tuple[Callable[[Path, Path], object], ...] = (
    shutil.copyfile,
    shutil.copy2,
    lambda source, target: shutil.copy2(source, target.with_name(".partial")).replace(target),
)
"""What people restore a file with: cp, cp -p, rsync or mv."""


class Trial:
    """One store under kills, and what it must hold: {id: number of the last acknowledged version}."""

    def __init__(self, uri: str, place: Path, draw: random.Random) -> None:
        self.uri, self.place, self.draw = uri, place, draw
        self.expected: dict[str, int] = {}
        self.saved: dict[str, int] = {}
        self.copy = place.with_name(place.name + ".backup")
        self.version = 0

    def kill_once(self) -> None:
        """Let a child write until it is killed, then compare."""
        here, there = os.pipe()
        first, longest = self.version + 1, self.draw.choice([0.0, 0.001, 0.003, 0.01])
        child = os.fork()
        if child == 0:
            os.close(here)
            try:
                self._write(there, first)
            finally:
                os._exit(1)
        os.close(there)
        with os.fdopen(here, "rb") as pipe:
            written = pipe.read(8)  # it has started
            time.sleep(longest * self.draw.random())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            written += pipe.read()
        acknowledged = [int(written[at : at + 8]) for at in range(0, len(written) - len(written) % 8, 8)]
        last = acknowledged[-1] if acknowledged else first - 1
        for version in range(first, last + 1):
            self.expected[f"id-{version % 7}"] = version
        self.version = last + 1
        self.compare(being_written=self.version)

    def _write(self, pipe: int, version: int) -> None:
        collection = open_collection(self.uri, "things")
        if isinstance(collection, DocumentTable):
            # so that kills hit checkpoints too; what a power cut does is not tested here
            collection.database.durable = False
            checkpoint = version % 3 == 0
        else:
            checkpoint = False
        while True:
            text = "x" * (version % 5 * 900)
            collection.upsert({"id": f"id-{version % 7}", "version": version, "text": text})
            os.write(pipe, b"%8d" % version)
            if checkpoint and version % 4 == 0:
                collection.close()
            version += 1

    def compare(self, being_written: int = -1) -> None:
        collection = open_collection(self.uri, "things")
        documents = list(collection.query())
        assert len(documents) == len({doc["id"] for doc in documents}) == collection.count(), "doubled"
        found = {doc["id"]: doc["version"] for doc in documents}
        for name, version in found.items():
            if version != self.expected.get(name):
                assert version == being_written and name == f"id-{version % 7}", (
                    "resurrected",
                    name,
                    version,
                )
                self.expected[name] = version
        assert found == self.expected, ("lost", self.expected.keys() - found.keys())
        for doc in documents:
            assert len(doc["text"]) == doc["version"] % 5 * 900, "changed"
        collection.close()

    def save(self) -> None:
        backup(self.uri, self.copy, replace=True)
        self.saved = dict(self.expected)

    def restore(self) -> None:
        """Put the backup back by one of the ways there are, beside the log of a killed process."""
        way = self.draw.randrange(4)
        if self.place.is_dir() or way == 3:
            _, old = restore(self.copy, self.uri)
            for path in self.place.parent.glob(f"{old.name}*" if old else "-"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            COPIES[way](self.copy, self.place)
        self.expected = dict(self.saved)
        self.compare()
        for path in self.place.parent.glob(f"{self.place.name}-wal-2*"):
            path.unlink()


def kill_many(folder: Path, kills: int, seed: int = 1, longest: float = 600.0) -> dict[str, int]:
    """Kill that many writers, half of them on an SQLite file, half on a folder; return what was done.

    Ends early after `longest` (s).
    """
    draw = random.Random(seed)
    trials = [
        Trial(f"sqlite:///{folder}/store.sqlite", folder / "store.sqlite", draw),
        Trial(f"folder://{folder}/records", folder / "records", draw),
    ]
    done = restores = 0
    deadline = time.monotonic() + longest
    for number in range(kills):
        if time.monotonic() > deadline:
            break
        done += 1
        trial = trials[number % 2]
        trial.kill_once()
        if number % 10 < 2:
            trial.save()
        elif draw.random() < 0.1 and trial.saved:
            trial.kill_once()
            trial.restore()
            restores += 1
    return {"kills": done + restores, "restores": restores, "documents": sum(t.version for t in trials)}


def filled_store(uri: str) -> None:
    """Make a small store of records like those of a campaign."""
    potential = PlanarPotential(z=[0.1 * k for k in range(60)], potential=[0.0] * 60)
    with open_store(uri) as store:
        store.add(
            make_surface(
                n,
                formula=["MgAg", "MgPd", "Mg2Ni"][n % 3],
                chemsys=["Ag-Mg", "Mg-Pd", "Mg-Ni"][n % 3],
                miller_index=(1, n % 2, 0),
                work_function=3.5 + 0.01 * n,
                potential=potential,
            )
            for n in range(40)
        )
    models = open_collection(uri, "models")
    models.upsert([{"version": n, "metrics": {"mae": 0.1 * n}} for n in range(5)])
    models.close()


QUESTIONS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("surfaces", {}, {}),
    ("surfaces", {"chemsys": "Ag-Mg"}, {"sort": {"work_function": -1}}),
    ("surfaces", {"work_function": {"$gt": 3.6}}, {"properties": ["id", "work_function"]}),
    ("surfaces", {"id": "surface-7"}, {}),
    ("models", {}, {"sort": {"version": 1}}),
)


def answers(uri: str) -> list[Any]:
    """Return what a store answers to a few questions, counts included."""
    with open_store(uri, must_exist=True) as store:
        found: list[Any] = [
            list(store.query(criteria, collection=name, **options)) for name, criteria, options in QUESTIONS
        ]
        return [*found, store.count(), store.count({"formula": "MgPd"}), store.distinct("formula")]


def _uri(path: Path, kind: str) -> str:
    return f"folder://{path}" if kind == "folder" else f"sqlite:///{path}"


class Listener(logging.Handler):
    """Counts warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def flip_many(folder: Path, flips: int, seed: int = 1) -> dict[str, int]:
    """Flip that many bytes, each in a fresh copy of a store; each changes no answer or is reported."""
    draw, listener = random.Random(seed), Listener()
    logger = logging.getLogger("stores")
    logger.addHandler(listener)
    expected: dict[str, list[Any]] = {}
    done = {"flips": 0, "without effect": 0, "reported": 0}
    try:
        for number in range(flips):
            kind = "folder" if number % 4 == 3 else "sqlite"
            whole, flipped = folder / f"whole-{kind}", folder / f"damaged-{kind}"
            if not whole.exists():
                filled_store(_uri(whole, kind))
                listener.lines.clear()
                expected[kind] = answers(_uri(whole, kind))
                assert len(expected[kind][0]) == 40 and not listener.lines
            before, uri = expected[kind], _uri(flipped, kind)
            for path in folder.glob("damaged-*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(whole, flipped) if kind == "folder" else shutil.copy(whole, flipped)
            files = [p for p in sorted(flipped.rglob("*")) if p.is_file()] if kind == "folder" else [flipped]
            target = draw.choice(files)
            data = bytearray(target.read_bytes())
            place = draw.randrange(len(data))
            old, data[place] = data[place], data[place] ^ draw.randrange(1, 256)
            target.write_bytes(data)
            done["flips"] += 1
            listener.lines.clear()
            try:
                after = answers(uri)
            except MgsurfError as error:
                assert "\n" not in str(error), error
                done["reported"] += 1
                continue
            if listener.lines:
                assert not any("\n" in line for line in listener.lines)
                done["reported"] += 1
            else:
                assert after == before, (f"byte {place} of {target}: {old} -> {data[place]}", before, after)
                done["without effect"] += 1
    finally:
        logger.removeHandler(listener)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    logging.getLogger("stores").addHandler(logging.NullHandler())
    for name, work, number in (("kills", kill_many, wanted.kills), ("flips", flip_many, wanted.flips)):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            done = work(Path(folder), number, wanted.seed) if number else {}
        counts = ", ".join(f"{count} {what}" for what, count in done.items())
        print(f"{name}: {counts}; {time.perf_counter() - start:.0f} s; nothing lost, nothing wrong unnoticed")


if __name__ == "__main__":
    sys.exit(main())
