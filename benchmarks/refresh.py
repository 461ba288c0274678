"""Time of a refresh that finds too few new records: the whole command, on a store of many records.

python -m benchmarks.refresh --records 10000
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from stores.learning.snapshots import create_snapshot

LIMIT = 2.0
"""Seconds."""


def fill(uri: str, records: int) -> None:
    """Make a store of imported slabs, and a champion that was trained on all but ten of them."""
    lattice = Lattice.orthorhombic(3.3, 4.7, 30)
    slab = Structure(
        lattice, ["Mg", "Ag"] * 20, [[0.05 * (i % 7), 0.1 * (i % 5), 0.2 + 0.01 * i] for i in range(40)]
    ).as_dict(verbosity=0)
    with open_store(uri) as store:
        labels = [
            LabelRecord(
                id=f"label-{i}",
                source="benchmark",
                source_id=str(i),
                method_fingerprint=source_fingerprint("benchmark"),
                formula="MgAg",
                chemsys="Ag-Mg",
                composition={"Mg": 20, "Ag": 20},
                n_atoms=40,
                compound=f"Mg{i % 200 + 1}Ag 18.000",
                slab=slab,
                geometry="as_cut",
                targets={"surface_energy": 0.05 + 1e-6 * i, "work_function": 4.0},
            )
            for i in range(records)
        ]
        add_labels(store, labels[:-10])
        snapshot = create_snapshot(store)
        registry = ModelRegistry(store)
        facts = ModelFacts(label="benchmark", snapshot=snapshot.id, targets=("surface_energy",))
        card, _ = registry.add(facts, {"member-0.pt": b"none"})
        registry.promote(card.version)
        add_labels(store, labels[-10:])


def main() -> None:
    """Print wall and CPU time of `mgsurf refresh`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mgsurf.sqlite"
        fill(uri, records)
        print(f"{records} records, 10 of them new; limit {LIMIT} s")
        for _ in range(3):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "workflows.cli.app", "refresh", "--store", uri],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
                cwd=folder, capture_output=True, text=True, check=True,
            )  # fmt: skip
            wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"wall {wall:.2f} s, CPU {cpu:.2f} s")
        print(done.stdout.splitlines()[0])


if __name__ == "__main__":
    main()
