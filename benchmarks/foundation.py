"""What the energies of a universal potential add to descriptors: trees and process alone, without a network.

    python -m benchmarks.foundation slabs.sqlite --seeds 3 --folds 5

For each random division (--seeds) and fold by chemical system (--folds), trees and process are fitted to the
training set with the descriptors of `best`, with the potential's surface energy beside them, and with all
that `best-foundation` has. Prints MAE on the validation set, which chooses nothing but the stage of the
process, and at the end the change with its 95 % bootstrap interval over the divisions; by_system is the mean
over chemical systems.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from model.baselines.candidates import FitSettings
from model.baselines.carried_rows import LabelledRows
from model.baselines.columns import DESCRIPTIONS
from model.baselines.descriptors import descriptor_names
from model.data.splits import grouped_split, k_fold
from model.evaluation.metrics import by_system, labels, macro_average, relative_change
from model.training.presets import TARGETS, find_preset
from workflows.cli.learning import labelled_slabs

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.data.splits import Split

D = len(descriptor_names())
COLUMNS = {"descriptors": D, "and surface energy": D + 1, "and all energies": None}
"""How many columns are looked at; the potential's surface energy is the first behind the descriptors."""


def main() -> None:
    """Measure all divisions, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--trees", type=int, default=40)
    given = parser.parse_args()
    dataset = labelled_slabs([f"sqlite:///{given.store}"], None)(
        find_preset("best-foundation").graph, TARGETS
    )
    divisions = [("random", grouped_split(dataset, "random", seed)) for seed in range(given.seeds)]
    if given.folds:
        divisions += [("chemsys", split) for split in k_fold(dataset, "chemsys", given.folds)]
    table = DESCRIPTIONS["slab"].of([entry.graph for entry in dataset])
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for kind, split in divisions:
        for target in TARGETS:
            for name, width in COLUMNS.items():
                begin = time.process_time()
                mae, systems = measure(dataset, table[:, :width], split, target, given.trees)
                found[kind, target, name].append((mae, systems))
                line = {"split": split.name, "seed": split.seed, "target": target, "columns": name}
                line |= {"train": len(split.train), "mae": round(mae, 5), "by_system": round(systems, 5)}
                print(json.dumps({**line, "seconds": round(time.process_time() - begin, 1)}), flush=True)
    for (kind, target, name), pairs in found.items():
        ours, theirs = np.array(pairs), np.array(found[kind, target, "descriptors"])
        line = {"split": kind, "target": target, "columns": name, "divisions": len(pairs)}
        for place, what in enumerate(("mae", "by_system")):
            change = relative_change(ours[:, place], theirs[:, place])
            interval = [round(100 * value, 1) for value in (change.mean, change.low, change.high)]
            line |= {what: round(float(ours[:, place].mean()), 5), f"{what}_change_percent": interval}
        print(json.dumps(line), flush=True)


def measure(
    dataset: Dataset, table: np.ndarray, split: Split, target: str, trees: int
) -> tuple[float, float]:
    """Fit to the training set; return MAE and mean over systems of the validation set."""
    true = labels(dataset, target)
    train, val = list(split.train), list(split.val)
    numbers = np.unique([dataset[i].compound for i in train], return_inverse=True)[1].astype(np.int64)
    rows = LabelledRows(table[train], numbers, {target: true[train]})
    fitted = FitSettings.of("slab", target, rows, trees, split.seed).fit(rows, true[train])
    assert fitted is not None
    tree = fitted.forests[0].predict(table[val])[0]
    blends = [(tree + stage.predict(table[val])) / 2 for stage in fitted.stages]
    best = min(blends, key=lambda blend: float(np.nanmean(np.abs(blend - true[val]))))
    systems = by_system([dataset[i].chemsys for i in val], true[val], best)
    return float(np.nanmean(np.abs(best - true[val]))), macro_average(systems)


if __name__ == "__main__":
    main()
