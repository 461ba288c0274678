"""Predictions of a large number of slabs as `mgsurf predict --output` makes them: time and memory as it goes.

The slabs of a store are read from it again and again, each time strained by other 0.1 %, so that no two are
equal. A line for every 10,000 slabs: CPU milliseconds for each slab of these, and the most memory so far.
Interrupt it when you have seen enough, and start it again to see it resume.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.large_predictions slabs.sqlite model/ --slabs 1000000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.evaluation.prediction import Candidate
from model.training.ensemble_files import load_ensemble
from stores.connections import open_store
from workflows.cli.predict import _of_file, _of_store
from workflows.cli.predict_shards import Problems, Readers, ShardedOutput, predict_shard, where_slabs_are

EVERY = 10_000


class Strained:
    """Reads the slabs of a store, each with a strain of its own, and reports on the way."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()  # others after an interruption
        self.n = 0
        self.began = time.process_time()

    def __call__(self, uri: str, problems: Problems, ids: Sequence[str]) -> Iterator[Candidate]:
        """Yield the strained slabs of records."""
        for one in _of_store(uri, problems, ids):
            strain = np.eye(3) + self.rng.normal(scale=1e-3, size=(3, 3))
            slab = replace(one.slab, lattice=one.slab.lattice @ strain)  # type: ignore[union-attr]  # a slab
            yield replace(one, slab=slab)
            self.n += 1
            if self.n % EVERY == 0:
                now = time.process_time()
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                each = (now - self.began) * 1000 / EVERY
                print(f"{self.n:9,} slabs read: {each:.2f} ms a slab, at most {memory:.0f} MB", flush=True)
                self.began = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("model", type=Path)
    parser.add_argument("--slabs", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a folder; else a temporary one")
    options = parser.parse_args()
    with open_store(options.store, must_exist=True) as store:
        collection, structures = where_slabs_are(store)
        times = -(-options.slabs // sum(1 for _ in store.query(structures, ["id"], collection=collection)))
    with tempfile.TemporaryDirectory() as folder:
        output = ShardedOutput(output=options.output or Path(folder) / "predictions")
        readers = Readers(_of_file, Strained())
        predict_shard(
            [options.store] * times, output, load_ensemble(options.model), str(options.model),
            options.workers, readers, True, False,
        )  # fmt: skip


if __name__ == "__main__":
    main()
