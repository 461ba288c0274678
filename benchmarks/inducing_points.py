"""A Gaussian process of many rows through inducing points against an exact one of some of them.

    python -m benchmarks.inducing_points slabs.sqlite:surface_energy --lengths 700 --inducing 585 --seeds 2
    python -m benchmarks.inducing_points formation.sqlite:formation_energy --exact 6000 --inducing 4000

A fifth of the rows (identical slabs together) is the test set, the others are known. Lengths are learned from
some of them, in ten steps; then exact processes of so many rows drawn at random, or of all where no number is
given, and processes of all rows with so many inducing points are fitted and compared on the test set. Prints
MAE, in the target's unit, seconds of the processor, and the peak of the memory so far.
"""

from __future__ import annotations

import argparse
import resource
import time
from unittest.mock import patch

import numpy as np

from model.baselines import gaussian_process
from model.baselines.candidates import WITHOUT_OFFSET
from model.baselines.columns import DESCRIPTIONS
from model.baselines.gaussian_process import GaussianProcess
from model.data.splits import grouped_split
from model.evaluation.metrics import labels
from model.training.presets import find_preset
from workflows.cli.learning import labelled_slabs

STEPS = 10  # of the lengths


def main() -> None:
    """Measure one seed after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", metavar="STORE:TARGET")
    parser.add_argument("--exact", type=int, action="append", default=[])
    parser.add_argument("--inducing", type=int, action="append", default=[])
    parser.add_argument("--lengths", type=int, default=gaussian_process.MOST_FOR_LENGTHS)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    store, target = given.store.rsplit(":", 1)
    dataset = labelled_slabs([f"sqlite:///{store}"], None)(find_preset("best").graph, (target,))
    kind = dataset[0].kind
    described, true = DESCRIPTIONS[kind].of([entry.graph for entry in dataset]), labels(dataset, target)
    numbers = np.unique([entry.compound for entry in dataset], return_inverse=True)[1].astype(np.int64)
    offsets = kind == "slab" and target not in WITHOUT_OFFSET
    for seed in range(given.seeds):
        split = grouped_split(dataset, "random", seed)
        known = np.random.default_rng(seed).permutation([*split.train, *split.val])
        test = np.array(split.test)
        few = known[: given.lengths]
        begun = GaussianProcess.fit(
            described[few], true[few], seed, numbers[few] if offsets else None, stages=(STEPS,)
        )[0]
        ways = [("exact", count) for count in given.exact or [len(known)]]
        for way, count in [*ways, *(("inducing", count) for count in given.inducing)]:
            rows = known[:count] if way == "exact" else known
            limits = {"MOST_POINTS": count} if way == "exact" else {"MOST_POINTS": 0, "INDUCING": count}
            began = time.process_time()
            with patch.multiple(gaussian_process, **limits):
                process = begun.refitted(described[rows], true[rows], numbers[rows])
            fitted = time.process_time() - began
            error = np.abs(process.predict(described[test], numbers[test]) - true[test]).mean()
            predicted = time.process_time() - began - fitted
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"seed {seed}, {len(known)} known: {way:8} {count:6}  MAE {error:.5f}, fit {fitted:.1f} s, "
                f"prediction {1000 * predicted / len(test):.3f} ms a row, peak {peak:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
