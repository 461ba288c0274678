"""Trees and Gaussian process on descriptors of bulk crystals, without a network: errors and seconds.

    python -m benchmarks.bulk_baselines fe.sqlite:formation_energy bg.sqlite:band_gap --labels 800 --draws 3

For each store and target, and each draw: 15 % of the formulas are the test set, 10 % the validation set, of
the rest so many crystals are trained on. Trees, process and their blend are chosen on the validation set.
Prints a line of JSON a draw: MAE on the test set, in the target's unit, and seconds of the processor.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from model.baselines.blend_weights import least_error
from model.baselines.bulk_descriptors import describe_crystals
from model.baselines.candidates import FitSettings
from model.baselines.carried_rows import LabelledRows
from model.data.splits import draw
from model.evaluation.metrics import labels
from model.training.presets import find_preset
from workflows.cli.learning import labelled_slabs

SHARES = np.linspace(0.2, 0.8, 7)  # of the trees


def main() -> None:
    """Measure all stores, one draw of each after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", metavar="STORE:TARGET")
    parser.add_argument("--labels", type=int, default=800)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--trees", type=int, default=find_preset("best").trees)
    given = parser.parse_args()
    for number in range(given.draws):
        for one in given.sets:
            store, target = one.rsplit(":", 1)
            print(json.dumps(measure(store, target, number, given.labels, given.trees)), flush=True)


def measure(store: str, target: str, number: int, most: int, trees: int) -> dict[str, float | int | str]:
    """Fit on one draw of a store's crystals and measure on its test set."""
    dataset = labelled_slabs([f"sqlite:///{store}"], None)(find_preset("best").graph, (target,))
    true = labels(dataset, target)
    place = np.array([draw(number, "bulk baselines", entry.crystal) for entry in dataset])
    test, val = np.flatnonzero(place < 0.15), np.flatnonzero((place >= 0.15) & (place < 0.25))
    train = np.random.default_rng(number).permutation(np.flatnonzero(place >= 0.25))[:most]
    begin = time.process_time()
    parts = [describe_crystals([dataset[i].graph for i in part]) for part in (train, val, test)]
    described = time.process_time() - begin
    rows = LabelledRows(parts[0], np.full(len(train), -1, dtype=np.int64), {target: true[train]})
    fitted = FitSettings.of("bulk", target, rows, trees, number).fit(rows, true[train])
    assert fitted is not None
    chosen = []
    for models in (fitted.forests, fitted.processes):
        each = [[_mean(model.predict(part)) for part in parts[1:]] for model in models]
        chosen.append(each[least_error([one[0] for one in each], true[val])])
    (tree_val, tree), (process_val, process) = chosen
    blends = [(s * tree_val + (1 - s) * process_val, s * tree + (1 - s) * process) for s in SHARES]
    blend = blends[least_error([one[0] for one in blends], true[val])][1]

    def mae(predicted: np.ndarray) -> float:
        return round(float(np.abs(predicted - true[test]).mean()), 5)

    return {
        "target": target,
        "draw": number,
        "train": len(train),
        "validation": len(val),
        "test": len(test),
        "median": mae(np.full(len(test), np.median(true[train]))),
        "trees": mae(tree),
        "process": mae(process),
        "blend": mae(blend),
        "crystals_per_second": round((len(train) + len(val) + len(test)) / described),
        "seconds": round(time.process_time() - begin, 1),
    }


def _mean(predicted: np.ndarray | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return predicted[0] if isinstance(predicted, tuple) else predicted


if __name__ == "__main__":
    main()
