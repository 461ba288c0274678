"""Speed of the SQLite stores, as ratios against maggma's MemoryStore in the same run.

    python -m benchmarks.stores            # a minute or two
    python -m benchmarks.stores --smoke    # seconds, numbers mean nothing

MemoryStore looks at every document for every upsert and every query, so that filling it with 5,000 documents
takes most of a minute: it is given fewer, and the ratio compares the time for each document.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from stores.backends.collection import LAYOUTS
from stores.backends.sqlite import DocumentTable
from stores.backends.values import loads, timestamp
from stores.connections import open_store
from workflows.cli.filters import SurfaceFilter

PARTNERS = [
    "Ag",
    "Al",
    "Au",
    "Ba",
    "Ca",
    "Ce",
    "Co",
    "Cu",
    "Dy",
    "Er",
    "Ga",
    "Gd",
    "Ge",
    "Ho",
    "In",
    "La",
    "Li",
]
PARTNERS += [
    "Lu",
    "Nd",
    "Ni",
    "Pb",
    "Pd",
    "Pr",
    "Pt",
    "Rh",
    "Ru",
    "Sb",
    "Sc",
    "Si",
    "Sm",
    "Sn",
    "Y",
    "Yb",
    "Zn",
]
FACETS = [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 1), (0, 1, 1), (1, -1, 0)]
FACETS += [(2, 1, 0), (2, 1, 1), (2, 2, 1), (3, 2, 1)]
START = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def planes(facet: tuple[int, int, int]) -> list[list[int]]:
    """Return all planes equal to one in a cubic crystal, up to 48."""
    signs = list(itertools.product((1, -1), repeat=3))
    found = {
        tuple(s * h for s, h in zip(sign, order, strict=True))
        for order in itertools.permutations(facet)
        for sign in signs
    }
    return [list(plane) for plane in sorted(found, reverse=True)]


METHOD = {
    "engine": "gpaw", "preset": "demo", "functional": "PBE", "cutoff": 300.0, "k_density": 4.0,
    "smearing": "fermi-dirac", "smearing_width": 0.1, "force_tolerance": 0.05, "setups": {"Mg": "2"},
    "extra": {},
}  # fmt: skip


def surface(number: int, draw: random.Random, *, atoms: int) -> dict[str, Any]:
    """Make a record such as mgsurf writes: 2 kB without structures, 20 kB with slabs of 40 atoms."""
    partner = draw.choice(PARTNERS)
    status = draw.choices(["accepted", "reconstructed", "unconverged"], [0.8, 0.15, 0.05])[0]
    slab = {
        "lattice": {"matrix": [[draw.random() for _ in range(3)] for _ in range(3)]},
        "sites": [
            {"species": [{"element": "Mg", "occu": 1}], "abc": [draw.random() for _ in range(3)]}
            for _ in range(atoms)
        ],
    }
    facet = draw.choice(FACETS)
    potential = [draw.random() for _ in range(8 * atoms)]
    return {
        "id": f"{number:024x}",
        "schema_version": 1,
        "created_at": timestamp(START + timedelta(minutes=number)),
        "formula": f"Mg{draw.choice(['', '2', '3'])}{partner}",
        "chemsys": "-".join(sorted(["Mg", partner])),
        "method": METHOD,
        "method_fingerprint": "gpaw-demo-0123456789abcdef",
        "bulk_id": f"{number // 20:024x}",
        "provenance": {"source": "prototype", "identifiers": ["B2"], "lattice_is_guess": True},
        "spacegroup_number": 221,
        "miller_index": list(facet),
        "equivalent_planes": planes(facet),
        "termination": number % 4,
        "termination_label": partner,
        "termination_key": partner,
        "cut": 0.0,
        "period": 3.3,
        "n_layers": 7,
        "n_atoms": 40,
        "vacuum": 15.0,
        "campaign": "benchmark",
        "composition": {"Mg": 20, partner: 20},
        "thickness": draw.uniform(10, 14),
        "area": draw.uniform(10, 40),
        "slab": slab,
        "relaxed_slab": slab,
        "surface_energy": draw.gauss(0.05, 0.015),
        "surface_energy_x_rich": draw.gauss(0.06, 0.015),
        "work_function": draw.gauss(3.9, 0.35),
        "work_function_sides": [draw.gauss(3.9, 0.35) for _ in range(2)],
        "vacuum_slopes": [draw.gauss(0, 0.001) for _ in range(2)],
        "chemical_potentials": {"Mg": -1.5, partner: -2.7},
        "potential": {"z": potential, "potential": potential},
        "reconstruction": {
            "displacement": draw.random(),
            "bonds_changed": draw.random(),
            "layers_swapped": False,
        },
        "verdicts": {
            "surface_energy": {"status": status, "reason": ""},
            "work_function": {"status": status, "reason": ""},
        },
        "calculation_ids": dict.fromkeys(("bulk", "relax", "static"), f"{number:024x}"),
    }


def seconds(work: Callable[[], Any], repeat: int = 1) -> tuple[float, float]:
    """Return wall and processor time of the fastest of several runs."""
    times = []
    for _ in range(repeat):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(times)


def line(what: str, ours: tuple[float, float], theirs: float | None = None, note: str = "") -> None:
    """Print wall and processor time; `theirs` is MemoryStore's processor time."""
    ratio = f"{theirs / ours[1]:8,.0f} x" if theirs is not None else " " * 10
    print(f"{what:<62}{1000 * ours[0]:10.2f}{1000 * ours[1]:10.2f}{ratio}  {note}".rstrip(), flush=True)


def header(title: str) -> None:
    print(f"\n{title:<62}{'wall ms':>10}{'CPU ms':>10}{'MemoryStore/ours (CPU)':>25}")


QUESTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chemsys, work function > 4, accepted; first 50": (
        {"chemsys": "Ag-Mg", "work_function": {"$gt": 4}, "verdicts.work_function.status": "accepted"},
        {
            "properties": ["id", "formula", "miller_index", "surface_energy", "work_function", "verdicts"],
            "limit": 50,
        },
    ),
    "the same, all rows, indexed fields only": (
        {"chemsys": "Ag-Mg", "work_function": {"$gt": 4}, "verdicts.work_function.status": "accepted"},
        {"properties": ["id", "formula", "miller_index", "surface_energy", "work_function"]},
    ),
    "the same, sorted, with verdicts (reads documents)": (
        {"chemsys": "Ag-Mg", "work_function": {"$gt": 4}, "verdicts.work_function.status": "accepted"},
        {
            "properties": [
                "id",
                "formula",
                "surface_energy",
                "surface_energy_x_rich",
                "work_function",
                "verdicts",
            ],
            "sort": {"surface_energy": 1},
        },
    ),
    "facet and formula, all rows": (
        {"miller_index": [1, 1, 0], "formula": "MgPd"},
        {"properties": ["id", "surface_energy", "work_function"]},
    ),
    "work function 4.5 to 4.6, accepted; 50 lowest gamma": (
        {"work_function": {"$gt": 4.5, "$lt": 4.6}, "verdicts.surface_energy.status": "accepted"},
        {"properties": ["id", "surface_energy", "work_function"], "sort": {"surface_energy": 1}, "limit": 50},
    ),
    "the 20 lowest surface energies of all": (
        {"verdicts.surface_energy.status": "accepted"},
        {"properties": ["id", "surface_energy"], "sort": {"surface_energy": 1}, "limit": 20},
    ),
    "no index: more than 13.99 A thick (reads every record)": (
        {"thickness": {"$gt": 13.99}},
        {"properties": ["id"]},
    ),
}

# as `mgsurf query --miller 210` and `mgsurf query --min-work-function 5 --sort surface_energy --limit 20` ask
QUESTIONS["mgsurf query: plane 210 by any equivalent name"] = (
    SurfaceFilter(miller="2 1 0").criteria(),
    {"properties": ["id", "formula", "miller_index", "surface_energy", "work_function"]},
)
QUESTIONS["mgsurf query: plane 021 of one chemical system"] = (
    SurfaceFilter(miller="0 2 1", chemsys="Mg-Ag").criteria(),
    {"properties": ["id", "formula", "miller_index", "surface_energy", "work_function"]},
)
QUESTIONS["mgsurf query: work function from 5; 20 lowest gamma"] = (
    SurfaceFilter(min_work_function=5.0).criteria(),
    {"properties": ["id", "surface_energy"], "sort": {"surface_energy": 1}, "limit": 20},
)
QUESTIONS["mgsurf query: work function from 5; all by gamma"] = (
    SurfaceFilter(min_work_function=5.0).criteria(),
    {"properties": ["id", "surface_energy"], "sort": {"surface_energy": 1}},
)


def memory_store(documents: list[dict[str, Any]]) -> Any:
    from maggma.stores import MemoryStore

    store = MemoryStore(key="id")
    store.connect()
    store._collection.insert_many([dict(document) for document in documents])
    return store


def new_table(path: Path) -> DocumentTable:
    layout = LAYOUTS["surfaces"]
    return DocumentTable(path, "surfaces", layout.key, layout.indexed, layout.heavy)


def insertion(folder: Path, count: int, memory_count: int) -> None:
    from maggma.stores import MemoryStore

    header(f"Writing (MemoryStore: time of {memory_count:,} records, for each record)")
    draw = random.Random(1)
    small = [surface(n, draw, atoms=0) for n in range(count)]
    memory = MemoryStore(key="id")
    memory.connect()
    each = seconds(lambda: memory.update([dict(doc) for doc in small[:memory_count]]))[1] / memory_count
    tables = [new_table(folder / f"insert-{n}.sqlite") for n in range(3)]
    empty = iter(tables)
    ours = seconds(lambda: next(empty).upsert(small), len(tables))
    line(f"insert {count:,} records of 2 kB", ours, each * count)
    line("write them again, unchanged", seconds(lambda: tables[0].upsert(small, keep=["created_at"])))
    large = [surface(n, draw, atoms=40) for n in range(count)]
    line(
        f"insert {count:,} records of 20 kB",
        seconds(lambda: new_table(folder / "large.sqlite").upsert(large)),
    )
    one = surface(count + 1, draw, atoms=40)
    line("write one, safe against a power cut", seconds(lambda: tables[0].upsert(one), 5))


def queries(folder: Path, count: int, memory_count: int, repeat: int) -> None:
    draw = random.Random(2)
    with open_store(f"sqlite:///{folder}/queries.sqlite") as store:
        for first in range(0, count, 5000):
            store.surfaces_collection.upsert(
                [surface(n, draw, atoms=40) for n in range(first, min(first + 5000, count))]
            )
        memory = memory_store([surface(n, random.Random(n), atoms=0) for n in range(memory_count)])
        scale = count / memory_count
        header(f"Reading {count:,} records of 20 kB (MemoryStore: {memory_count:,}, x {scale:.0f})")
        keys = [f"{draw.randrange(min(count, memory_count)):024x}" for _ in range(100)]
        wall, processor = seconds(lambda: [next(store.query({"id": key})) for key in keys], repeat)
        theirs = seconds(lambda: [memory.query_one({"id": key}) for key in keys[:5]])[1] / 5
        line("a record by its key", (wall / 100, processor / 100), theirs * scale)
        wall, processor = seconds(lambda: [list(store.query({"id": key}, ["id"])) for key in keys], repeat)
        line("whether a key is there", (wall / 100, processor / 100))
        for name, (criteria, options) in QUESTIONS.items():
            found = list(store.query(criteria, **options))
            ours = seconds(lambda c=criteria, o=options: list(store.query(c, **o)), repeat)
            theirs = seconds(lambda c=criteria, o=options: list(memory.query(c, **o)), 3)[1]
            line(name, ours, theirs * scale, f"[{len(found)} rows]")
        criteria = QUESTIONS["facet and formula, all rows"][0]
        line("count of a facet and formula", seconds(lambda: store.count(criteria), repeat))


def checksums(folder: Path, count: int, pairs: int) -> None:
    """Compare writing and reading with and without checksums, in turn."""
    from stores.backends import sqlite, sqlite_table

    seal, unseal = sqlite_table.seal, sqlite.unseal
    large = [surface(n, random.Random(n), atoms=40) for n in range(count)]
    taken: dict[tuple[str, bool], list[float]] = {}
    for number in range(2 * pairs):
        on = number % 2 == 0
        # type: lambdas in the place of functions
        sqlite_table.seal = seal if on else lambda text, heavy=None: text  # type: ignore[assignment]
        sqlite.unseal = unseal if on else lambda text: (loads(text), None)  # type: ignore[assignment]
        table = new_table(folder / f"checksums-{number}.sqlite")
        table.database.durable = False
        taken.setdefault(("write", on), []).append(seconds(lambda t=table: t.upsert(large))[1])
        taken.setdefault(("read", on), []).append(seconds(lambda t=table: list(t.query()), 2)[1])
        table.close()
    sqlite_table.seal, sqlite.unseal = seal, unseal
    print(f"\nchecksums: CPU of {count:,} records of 20 kB, medians of {pairs} pairs (aim: 1.05)")
    for what in ("write", "read"):
        ours, plain = (statistics.median(taken[what, on]) for on in (True, False))
        ratios = [a / b for a, b in zip(taken[what, True], taken[what, False], strict=True)]
        print(f"  {what}: {ours:.3f} s / {plain:.3f} s, ratio {statistics.median(ratios):.3f}")


def jobs(folder: Path, count: int) -> None:
    from jobflow import Flow, JobStore, job, run_locally
    from maggma.stores import MemoryStore

    from stores.connections import open_job_store

    @job
    def add(a: float, b: float) -> float:
        return a + b

    def run(store: Any, number: int) -> float:
        first = add(0, 1)
        chain = [first]
        for _ in range(number - 1):
            chain.append(add(chain[-1].output, 1))
        flow = Flow(chain, output=chain[-1].output)
        taken = seconds(lambda: run_locally(flow, store=store, log=False, ensure_success=True))
        return taken[1] / number

    globals()["add"] = add
    logging.disable(logging.INFO)
    print(f"\njobflow's overhead for each job, chains of {count} trivial jobs, the two stores in turn")
    memory, sqlite = JobStore(MemoryStore()), open_job_store(f"sqlite:///{folder}/jobs.sqlite")
    run(memory, 3), run(sqlite, 3)
    ours, theirs = [], []
    for _ in range(3):
        theirs.append(run(memory, count))
        ours.append(run(sqlite, count))
    one, other = 1000 * min(ours), 1000 * min(theirs)
    print(
        f"  CPU: SQLiteStore {one:.2f} ms, MemoryStore {other:.2f} ms, ratio {one / other:.2f} (target: <= 1)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--smoke", action="store_true", help="small numbers, to see that it runs")
    smoke = parser.parse_args().smoke
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        insertion(folder, *((200, 50) if smoke else (5000, 500)))
        queries(folder, *((500, 100, 3) if smoke else (100_000, 2000, 9)))
        checksums(folder, *((50, 1) if smoke else (1000, 15)))
        jobs(folder, 5 if smoke else 100)


if __name__ == "__main__":
    main()
