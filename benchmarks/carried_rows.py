"""Measure what labelled slabs of another set add to trees and process, for elements never seen.

By chemical system, five folds: trees and a process of equal lengths are fitted to the training set of each
fold, alone and with the other set's slabs as further rows (`model.baselines.carried_rows`). Errors are of
their mean, without networks, on the validation and on the test set of each fold, so that each slab counts
once in either; intervals are bootstrapped over the chemical systems.

    mgsurf import ../shared/data/mg_intermetallic_slabs/ --store slabs.sqlite
    mgsurf import ../shared/data/elemental_metal_slabs/ --relaxed --store metals.sqlite
    python -m benchmarks.carried_rows slabs.sqlite metals.sqlite

With --labels 48 so many slabs are drawn at random instead, a fifth of all others are predicted, and the
process learns its lengths for ten steps; changes are paired by seed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.baselines.candidates import WITHOUT_OFFSET
from model.baselines.carried_rows import LabelledRows
from model.baselines.descriptors import describe_slabs
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import NO_COMPOUND, GaussianProcess
from model.data.dataset import Dataset
from model.data.splits import k_fold
from model.evaluation.criteria import MAE
from model.evaluation.metrics import labels, relative_change
from model.graphs.cache import GraphCache
from model.training.presets import PRESETS, TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.evaluation.metrics import Interval

    Array = NDArray[np.float64]

FOLDS = 5


def read(store: str) -> tuple[Dataset, LabelledRows]:
    dataset = Dataset.from_store([store], TARGETS, settings=PRESETS["best"].graph, cache=GraphCache())
    compounds = np.unique([entry.compound for entry in dataset], return_inverse=True)[1]
    rows = LabelledRows(
        describe_slabs([entry.graph for entry in dataset]),
        compounds.astype(np.int64),
        {name: labels(dataset, name) for name in TARGETS},
    )
    return dataset, rows


def predict(rows: LabelledRows, name: str, wanted: LabelledRows, trees: int, steps: int = 0) -> Array:
    """Predict with the mean of trees and a process whose lengths were learned for so many steps."""
    true = rows.of_quantity(name)
    forest = Forest.fit(rows.descriptors, true, trees, 0)
    process = GaussianProcess.fit(
        rows.descriptors, true, 0, None if name in WITHOUT_OFFSET else rows.compounds, stages=(steps,)
    )
    assert forest is not None
    known = np.where(np.isin(wanted.compounds, rows.compounds), wanted.compounds, NO_COMPOUND)
    each = process[0].predict(wanted.descriptors, known)
    return (forest.predict(wanted.descriptors)[0] + each) / 2


def few_labels(own: LabelledRows, other: LabelledRows, arguments: argparse.Namespace) -> None:
    n = len(own.descriptors)
    for name in TARGETS:
        for count in arguments.labels:
            errors = []
            for seed in range(arguments.seeds):
                order = np.random.default_rng(seed).permutation(n)
                train, wanted = own.some(order[:count]), own.some(order[-(n // 5) :])
                errors.append(
                    [
                        np.nanmean(
                            np.abs(predict(rows, name, wanted, arguments.trees, 10) - wanted.labels[name])
                        )
                        for rows in (train, train.joined(other))
                    ]
                )
            plain, more = np.array(errors).T
            change = MAE.change(more.tolist(), plain.tolist())
            print(
                f"{name}, {count} labels: MAE {plain.mean():.4g} alone, {more.mean():.4g} with "
                f"{len(other.descriptors)} other slabs, {percent(change)}",
                flush=True,
            )


def percent(change: Interval) -> str:
    return f"{100 * change.mean:+.1f} % ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", help="slabs that are learned and tested, by chemical system")
    parser.add_argument("other", help="labelled slabs that are added")
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--labels", type=int, action="append", metavar="N", help="may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    dataset, own = read(arguments.store)
    _, other = read(arguments.other)
    # no compound of the other slabs has the number of one of these
    other = replace(other, compounds=other.compounds + own.compounds.max() + 1)
    if arguments.labels:
        few_labels(own, other, arguments)
        return
    systems = np.array([entry.chemsys for entry in dataset])
    for name in TARGETS:
        errors = {part: np.full((2, len(dataset)), np.nan) for part in ("validation", "test")}
        for split in k_fold(dataset, "chemsys", FOLDS):
            train = own.some(np.array(split.train))
            for place, rows in enumerate((train, train.joined(other))):
                for part, chosen in (("validation", list(split.val)), ("test", list(split.test))):
                    found = predict(rows, name, own.some(np.array(chosen)), arguments.trees)
                    errors[part][place, chosen] = np.abs(found - own.labels[name][chosen])
        for part, (plain, more) in errors.items():
            each = np.array(
                [[np.nanmean(e[systems == one]) for one in np.unique(systems)] for e in (plain, more)]
            )
            change = relative_change(each[1], each[0])
            print(
                f"{name}, {part}: MAE {np.nanmean(plain):.4g} alone, {np.nanmean(more):.4g} with "
                f"{len(other.descriptors)} other slabs; {each.shape[1]} systems {each[0].mean():.4g}, "
                f"{each[1].mean():.4g}, {percent(change)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
