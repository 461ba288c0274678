"""Measure what the 90 % intervals of a preset cover when there are few labels, and the novelty remark.

For each number of labels and each seed, so many slabs are drawn at random, divided 60/20/20, and a model is
trained as `mgsurf train` does. All other slabs are its test set: thousands, so that the coverage of a single
model is known to 1 %, whereas the test set of its own split holds a dozen slabs. With the split by chemical
system only slabs of systems that are in neither training nor validation set count.

    mgsurf import ../shared/data/mg_intermetallic_slabs/ --store slabs.sqlite
    python -m benchmarks.coverage slabs.sqlite --labels 60 --labels 150 --seeds 10

With --left-out 9, nine chemical systems are left out, the rest is divided at random, and the share of slabs
with the remark "unlike the training slabs", error and coverage are printed for slabs of unseen elements and
of known ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import Dataset
from model.data.splits import Split, draw, grouped_split
from model.evaluation.metrics import coverage, labels
from model.graphs.cache import GraphCache
from model.training.ensemble import train_ensemble
from model.training.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.ensemble import Ensemble


def trained(dataset: Dataset, split: Split, arguments: argparse.Namespace) -> Ensemble:
    preset = PRESETS[arguments.preset]
    training = replace(preset.training, seed=split.seed, epochs=arguments.epochs or preset.training.epochs)
    return train_ensemble(dataset, split, replace(preset, training=training))


def divided(dataset: Dataset, chosen: Sequence[int], how: str, seed: int) -> Split:
    """Divide the chosen slabs; those that share nothing with them are the test set."""
    part = grouped_split(dataset.subset(chosen), how, seed)
    train, val = (tuple(chosen[i] for i in p) for p in (part.train, part.val))
    groups = {dataset[i].group for i in (*train, *val)}
    systems = {dataset[i].chemsys for i in (*train, *val)} if how == "chemsys" else set()
    test = (
        i for i, entry in enumerate(dataset) if entry.group not in groups and entry.chemsys not in systems
    )
    return Split(how, seed, train, val, tuple(test))


def measure_coverage(dataset: Dataset, count: int, how: str, arguments: argparse.Namespace) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(arguments.seeds):
        ranked = sorted(range(len(dataset)), key=lambda i: draw(seed, "subset", dataset[i].record_id))
        split = divided(dataset, sorted(ranked[:count]), how, seed)
        ensemble = trained(dataset, split, arguments)
        test = dataset.subset(split.test)
        predicted = ensemble.predict([entry.graph for entry in test])
        for name in predicted.mean:
            true = labels(test, name)
            covered = coverage(true, *predicted.interval(name))
            error = float(np.nanmean(np.abs(predicted.mean[name] - true)))
            width = float(np.mean(np.diff(predicted.interval(name), axis=0)))
            found.setdefault(name, []).append((covered, width, error))
    for name, runs in found.items():
        covered, width, error = np.array(runs).T
        spread = covered.std(ddof=1) if len(runs) > 1 else np.nan
        print(
            f"{count:6} labels  {how:8} {name:15} coverage {covered.mean():.3f} ± {spread:.3f} over "
            f"{len(runs)} runs ({covered.min():.2f} to {covered.max():.2f}), "
            f"width {width.mean():.4f}, MAE {error.mean():.4f}",
            flush=True,
        )


def measure_novelty(dataset: Dataset, arguments: argparse.Namespace) -> None:
    for seed in range(arguments.seeds):
        systems = sorted({entry.chemsys for entry in dataset}, key=lambda name: draw(seed, "mixed", name))
        out = set(systems[: arguments.left_out])
        kept = [i for i, entry in enumerate(dataset) if entry.chemsys not in out]
        part = grouped_split(dataset.subset(kept), "random", seed)
        train, val, test = (tuple(kept[i] for i in p) for p in (part.train, part.val, part.test))
        ensemble = trained(dataset, Split("left out", seed, train, val, test), arguments)
        others = [i for i, e in enumerate(dataset) if not set(e.elements) <= set(ensemble.elements)]
        for words, chosen in (("unseen elements", others), ("known elements", test)):
            slabs = dataset.subset(chosen)
            predicted = ensemble.predict([entry.graph for entry in slabs])
            strange = predicted.distance > 1
            errors = [np.abs(mean - labels(slabs, name)) for name, mean in predicted.mean.items()]
            ratio = np.mean([e[strange].mean() / e[~strange].mean() for e in errors])
            print(
                f"seed {seed}, {words}: {strange.sum()} of {len(strange)} slabs unlike the training slabs "
                f"({strange.mean():.0%}), their errors {ratio:.1f} times those of the rest",
                flush=True,
            )
            for name, mean in predicted.mean.items():
                true = labels(slabs, name)
                covered = coverage(true, *predicted.interval(name))
                print(f"    {name}: MAE {np.nanmean(np.abs(mean - true)):.5f}, coverage {covered:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--preset", default="best")
    parser.add_argument("--labels", type=int, action="append", default=[])
    parser.add_argument("--split", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--left-out", type=int, default=0, help="chemical systems")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    dataset = Dataset.from_store(
        arguments.store, preset.network.targets, settings=preset.graph, cache=GraphCache()
    )
    if arguments.left_out:
        measure_novelty(dataset, arguments)
        return
    for count in arguments.labels or [60, 150]:
        for how in arguments.split or ["random", "chemsys"]:
            measure_coverage(dataset, count, how, arguments)


if __name__ == "__main__":
    main()
