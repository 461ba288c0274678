"""Measure a preset of compositions, and trees on the same features, on public data sets.

    python -m benchmarks.composition_yardsticks ../shared/data/compositions
    python -m benchmarks.composition_yardsticks ../shared/data/compositions --sets steels --repeats 5

Glass and steels have the folds of Matbench (A. Dunn et al., npj Comput. Mater. 6, 138 (2020)): five, shuffled
with seed 18012019, stratified for classes; the sets of NIMS five random ones. Every fold is predicted by
models that have not seen it. A model of the preset takes a part of its training rows for validation; with
--repeats R the mean of R models counts, each with another part. Trees (scikit-learn) have all training rows,
the 406 features, the fractions of the elements and the numeric columns, with missing values replaced by the
median.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.compositions.features import composition_features, element_fractions
from model.data.composition_entries import canonical_formula
from model.data.composition_table import CompositionColumns, CompositionRow, CompositionTable
from model.data.dataset import Dataset
from model.data.import_compositions import LabelColumns, import_compositions
from model.data.splits import Split
from model.evaluation.class_metrics import roc_auc
from model.evaluation.metrics import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Model = Callable[[Dataset, Sequence[int], Sequence[int], int], dict[str, Array]]

MATBENCH_SEED = 18012019
TREES = 200

_ELEMENTS = ("C", "Si", "Mn", "P", "S", "Ni", "Cr", "Cu", "Mo")
_STEELS = CompositionColumns(_ELEMENTS, "wt%", "Fe")


@dataclass(frozen=True)
class Yardstick:
    """A data set, its folds and what others reached."""

    file: str
    columns: CompositionColumns
    labels: LabelColumns
    metric: str  # auc, mae or r2, of each target
    aim: float
    published: str
    official: bool = False  # folds over the rows of the file


YARDSTICKS = {
    "glass": Yardstick(
        "matbench_glass_crabnet.csv",
        CompositionColumns(("formula",)),
        LabelColumns(("glass=target",), ("glass",)),
        "auc",
        0.96,
        "random forest 0.859, MODNet 0.960",
        official=True,
    ),
    "steels": Yardstick(
        "matbench_steels_crabnet.csv",
        CompositionColumns(("formula",)),
        LabelColumns(("yield_strength=target",), units={"yield_strength": "MPa"}),
        "mae",
        80.0,
        "random forest 103.5, MODNet 87.8, best 79.9 MPa",
        official=True,
    ),
    "fatigue": Yardstick(
        "nims_fatigue_437.csv",
        _STEELS,
        LabelColumns(
            ("Fatigue",),
            extras=("NT", "THT", "THt", "THQCr", "CT", "Ct", "DT", "Dt", "QmT", "TT", "Tt", "TCr", "RedRatio",
                    "dA", "dB", "dC"),
            units={"Fatigue": "MPa"},
        ),
        "r2",
        0.97,
        "-",
    ),
    "four": Yardstick(
        "nims_steel_xiong_360.csv",
        _STEELS,
        LabelColumns(
            (
                "fatigue=Fatigue Strength (10E7 Cycles)",
                "tensile=Tensile Strength",
                "fracture=Fracture Strength",
                "hardness=Hardness",
            ),
            extras=(
                "normalising=Normalized Temperature",
                "quenching=Quenching Temperature",
                "tempering=Temperaing Temperature",
                "RR",
                "dA",
                "dB",
                "dC",
            ),
        ),
        "r2",
        0.92,
        "-",
    ),
}  # fmt: skip


def read(yardstick: Yardstick, folder: Path, name: str) -> tuple[Dataset, list[int]]:
    """Import a data set into memory; return it and its entries in the order of the file's rows."""
    uri = f"memory://yardstick-{name}"
    found = import_compositions(folder / yardstick.file, uri, yardstick.columns, yardstick.labels)
    for problem in found.problems:
        print(problem)
    dataset = Dataset.from_store(uri)
    order = list(range(len(dataset)))
    if yardstick.official:
        table = CompositionTable(folder / yardstick.file, yardstick.columns)
        rows = [row for row in table.rows() if isinstance(row, CompositionRow)]
        place = {entry.source_id: i for i, entry in enumerate(dataset)}
        order = list(dict.fromkeys(place[canonical_formula(row.fractions)] for row in rows))
    return dataset, order


def folds_of(dataset: Dataset, order: Sequence[int], target: str) -> list[tuple[list[int], list[int]]]:
    """Return training and test entries of each fold."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind: Any = StratifiedKFold if dataset.classes else KFold
    true = labels(dataset, target)[list(order)]
    folds = kind(5, shuffle=True, random_state=MATBENCH_SEED).split(true, true)
    return [([order[i] for i in train], [order[i] for i in test]) for train, test in folds]


def inputs(dataset: Dataset) -> Array:
    """Features, fractions and numeric columns of all entries, constant ones left out: [n, D]."""
    compositions: Any = [entry.graph for entry in dataset]
    columns = [composition_features(compositions), element_fractions(compositions)]
    if dataset.extras:
        extras = np.stack([one.extras for one in compositions])
        columns.append(np.where(np.isnan(extras), np.nanmedian(extras, axis=0), extras))
    found = np.concatenate(columns, axis=1).astype(np.float64)
    return found[:, found.std(axis=0) > 0]


def trees(kind: str) -> Model:
    """Trees of scikit-learn as a model: random forest (``rf``) or extremely randomised trees (``et``)."""

    def predict(dataset: Dataset, train: Sequence[int], test: Sequence[int], seed: int) -> dict[str, Array]:
        from sklearn import ensemble

        described, found = inputs(dataset), {}
        for target in dataset.targets:
            true, of_class = labels(dataset, target)[list(train)], target in dataset.classes
            name = {"rf": "RandomForest", "et": "ExtraTrees"}[kind] + (
                "Classifier" if of_class else "Regressor"
            )
            model = getattr(ensemble, name)(TREES, random_state=seed, n_jobs=1)
            model.fit(described[list(train)], true)
            rows = described[list(test)]
            found[target] = model.predict_proba(rows)[:, 1] if of_class else model.predict(rows)
        return found

    return predict


def preset_model(name: str, repeats: int, members: int, share: float) -> Model:
    """Return a preset as a model: the mean of `repeats` trainings with other validation rows."""

    def predict(dataset: Dataset, train: Sequence[int], test: Sequence[int], seed: int) -> dict[str, Array]:
        from model.training.ensemble import train_ensemble
        from model.training.presets import find_preset
        from model.training.runs import labelled_data
        from model.training.validation_labels import with_validation_labels

        preset, whole = labelled_data(lambda *_: dataset, find_preset(name))
        place = {entry.record_id: i for i, entry in enumerate(whole)}
        rows = [place[dataset[i].record_id] for i in train]
        tested: Any = [dataset[i].graph for i in test]
        found: dict[str, list[Array]] = {}
        order = np.random.default_rng(seed).permutation(len(rows))
        size = max(10, round(share * len(rows)))
        for repeat in range(repeats):
            chosen = set(np.roll(order, repeat * size)[:size].tolist())
            split = Split(
                "yardstick",
                seed + repeat,
                tuple(row for k, row in enumerate(rows) if k not in chosen),
                tuple(row for k, row in enumerate(rows) if k in chosen),
                (),
            )
            training = replace(preset.training, seed=seed + repeat)
            ensemble = train_ensemble(whole, split, replace(preset, training=training), members=members)
            ensemble = with_validation_labels(ensemble, whole, split, training.seed)
            numbers = ensemble.predict(tested)
            for target in whole.targets:
                probabilities = numbers.probabilities.get(target)
                values = numbers.mean[target] if probabilities is None else probabilities[:, 1]
                found.setdefault(target, []).append(values)
        return {target: np.mean(values, axis=0) for target, values in found.items()}

    return predict


def score(metric: str, true: Array, predicted: Array) -> float:
    if metric == "mae":
        return float(np.abs(true - predicted).mean())
    if metric == "r2":
        return 1 - float(((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    return roc_auc(true.astype(int), predicted) or float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the CSV files")
    parser.add_argument("--sets", nargs="+", choices=YARDSTICKS, default=list(YARDSTICKS))
    parser.add_argument("--models", nargs="+", default=["rf", "et", "mcvn"], help="rf, et, or a preset")
    parser.add_argument("--repeats", type=int, default=1, help="trainings of a preset in each fold")
    parser.add_argument("--members", type=int, default=1, help="networks of each training")
    parser.add_argument("--validation", type=float, default=0.2, help="share of the training rows")
    parser.add_argument("--folds", type=int, default=5, help="so many of the five, for a quick look")
    arguments = parser.parse_args()
    for name in arguments.sets:
        yardstick = YARDSTICKS[name]
        dataset, order = read(yardstick, arguments.folder, name)
        print(f"\n{name}: {len(dataset)} compositions, {yardstick.metric}, aim {yardstick.aim:g}; published: "
              f"{yardstick.published}", flush=True)  # fmt: skip
        for kind in arguments.models:
            model = trees(kind) if kind in ("rf", "et") else preset_model(
                kind, arguments.repeats, arguments.members, arguments.validation
            )  # fmt: skip
            began, scores = time.process_time(), []
            for train, test in folds_of(dataset, order, dataset.targets[0])[: arguments.folds]:
                predicted = model(dataset, train, test, 0)
                scores.append(
                    [score(yardstick.metric, labels(dataset, t)[test], predicted[t]) for t in dataset.targets]
                )
            found = np.array(scores)
            each = ", ".join(f"{t} {m:.4g}" for t, m in zip(dataset.targets, found.mean(axis=0), strict=True))
            print(
                f"  {kind:>5}: {found.mean():.4g} ± {found.mean(axis=1).std():.2g} over folds ({each}); "
                f"{time.process_time() - began:.0f} s of CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
