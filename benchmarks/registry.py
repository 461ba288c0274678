"""Speed of snapshots and of the model registry in an SQLite store.

    python -m benchmarks.registry            # half a minute
    python -m benchmarks.registry --smoke    # seconds, numbers mean nothing

Targets: champion and card under 5 ms; what is new since a snapshot well under the 2 s that a refresh without
enough new records may take.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.stores import PARTNERS, surface
from stores.connections import open_store
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from stores.learning.snapshot_changes import diff_snapshots, news_since
from stores.learning.snapshots import create_snapshot, draft_snapshot, find_snapshot, snapshot_slabs


def line(what: str, run: Callable[[], Any], repeat: int = 1) -> None:
    """Print the median CPU and wall time of a call."""
    wall, processor = [], []
    for _ in range(repeat):
        began, used = time.perf_counter(), time.process_time()
        run()
        processor.append(1000 * (time.process_time() - used))
        wall.append(1000 * (time.perf_counter() - began))
    print(f"  {what:<58} {statistics.median(processor):9.2f} {statistics.median(wall):9.2f}")


def record(number: int, draw: random.Random) -> dict[str, Any]:
    """Make a surface with all that a snapshot reads."""
    accepted = {"status": "accepted"}
    return surface(number, draw, atoms=40) | {
        "surface_energy": draw.uniform(0.02, 0.2),
        "work_function": draw.uniform(2.5, 5.5),
        "verdicts": {"surface_energy": accepted, "work_function": accepted},
        "termination_key": f"{number}",
    }


def facts(label: str) -> ModelFacts:
    """Make a card as large as that of a model of the Mg set: 35 elements, 34 systems, 2 splits."""
    errors = {"n": 100, "mae": 0.1, "rmse": 0.2, "r2": 0.9, "mape": 3.0}
    of_target = dict.fromkeys(("train", "val", "test"), errors) | {
        "by_element": dict.fromkeys([*PARTNERS, "Mg"], errors),
        "by_system": dict.fromkeys([f"Mg-{partner}" for partner in PARTNERS], errors),
    }
    metrics = {split: dict.fromkeys(("surface_energy", "work_function"), of_target) for split in ("a", "b")}
    return ModelFacts(label=label, targets=("surface_energy", "work_function"), metrics=metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--smoke", action="store_true", help="small numbers, to see that it runs")
    smoke = parser.parse_args().smoke
    count, versions, repeat = (100, 5, 3) if smoke else (5000, 200, 100)
    size = 10**5 if smoke else 2 * 10**7
    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/store.sqlite") as store:
        draw = random.Random(1)
        store.surfaces_collection.upsert([record(n, draw) for n in range(count)])
        print(f"{'':60} {'CPU (ms)':>9} {'wall':>9}")
        print(f"Snapshots of {count:,} records with slabs of 40 atoms")
        line("make the first", lambda: create_snapshot(store))
        first = create_snapshot(store)
        line("make it again", lambda: create_snapshot(store))
        line("read it for training, every hash checked", lambda: list(snapshot_slabs(store, first)))
        store.surfaces_collection.upsert([record(n, draw) for n in range(count - 50, count + 50)])
        line("what is new since (50 new records, 50 changed)", lambda: news_since(store, first), 5)
        second = create_snapshot(store)
        line("difference of two snapshots", lambda: diff_snapshots(store, first, second), 5)
        line("difference to the store as it is", lambda: diff_snapshots(store, first, draft_snapshot(store)))
        line("find one by the beginning of its id", lambda: find_snapshot(store, first.id[:8]), 5)

        models = ModelRegistry(store)
        weights = {f"member-{k}.pt": os.urandom(size // 5) for k in range(5)}
        print(f"Models: {versions} versions, half of them once champion; weights of {size / 1e6:g} MB")
        line("register one: weights, card", lambda: models.add(facts("large"), weights))
        line("promote it, weights checked", lambda: models.promote(1))
        for n in range(2, versions + 1):
            models.add(facts(f"model {n}"), {"member-0.pt": str(n).encode()})
            if n % 2:
                models.promote(n, "better")
        line("champion and its card (target: < 5)", models.champion, repeat)
        line("version of the champion", models.champion_version, repeat)
        line("all cards", models.cards, 5)
        line("all states", models.decision_log, 5)
        line("read the weights, every hash checked", lambda: models.weights(models.card(1)), 5)


if __name__ == "__main__":
    main()
