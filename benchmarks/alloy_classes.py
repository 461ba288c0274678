"""Classes of alloys from their compositions: preset ``mcvn`` against its peers on the same splits.

The Dmax set of Xiong et al. has the critical diameter of cast rods: 0 for crystalline alloys (CRA), 0.1 mm
for ribbons (RMG), more for bulk metallic glasses (BMG). Each seed divides it 67/33; ``mcvn`` takes its
validation set, 7 %, out of the training set, its peers train on all of it. Printed are F1 of the classes,
their mean, precision and recall of CRA and its largest recall at a precision of 0.8, as means over the seeds,
and the difference of the mean F1 from that of ``mcvn`` with its standard error, paired by seed.

    python -m benchmarks.alloy_classes gfa_dmax.csv --seeds 5
    python -m benchmarks.alloy_classes gfa_dmax.csv --seeds 5 --by chemsys
    python -m benchmarks.alloy_classes gfa_dmax.csv --set network.image=none --set network.attention=false
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.compositions.features import composition_features, element_fractions
from model.compositions.formulas import parse_composition, plain_composition
from model.data.composition_entries import group_equal
from model.data.dataset import Dataset, Entry
from model.data.splits import Split, draw
from model.evaluation.class_metrics import class_errors
from model.training.ensemble import train_ensemble
from model.training.presets import find_preset, with_params
from model.training.validation_labels import with_validation_labels

CLASSES = ("CRA", "RMG", "BMG")
TEST, VALIDATION = 0.33, 0.07  # of all alloys; of the training set


def read_alloys(path: Path) -> Dataset:
    """Read formulas and diameters (mm) as a data set of classes."""
    with path.open(encoding="latin-1", newline="") as file:
        rows = [(row[0], float(row[1])) for row in list(csv.reader(file))[1:]]
    amounts = [parse_composition(formula).amounts for formula, _ in rows]
    found = [plain_composition(own) for own in amounts]
    groups = group_equal(found)
    entries = []
    for i, ((formula, diameter), own) in enumerate(zip(rows, amounts, strict=True)):
        symbols = tuple(sorted(own))
        place = 0 if diameter == 0 else 1 if diameter <= 0.1 else 2
        entries.append(
            Entry(
                # type: the field is declared as the graph of a slab
                f"{i:05d}", found[i], {"glass": float(place)}, formula, "-".join(symbols), symbols,  # type: ignore[arg-type]
                str(groups[i]), groups[i], str(groups[i]),
            )
        )  # fmt: skip
    return Dataset(tuple(entries), ("glass",), classes={"glass": CLASSES})


def divide(dataset: Dataset, by: str, seed: int) -> Split:
    """Draw test and validation sets by composition (``random``) or by chemical system (``chemsys``)."""
    keys = [entry.chemsys if by == "chemsys" else str(entry.group) for entry in dataset]
    ranked = sorted(set(keys), key=lambda key: draw(seed, "alloys", key))
    size = defaultdict(int)
    for key in keys:
        size[key] += 1
    done, part = 0, {}
    for key in ranked:
        share = done / len(dataset)
        part[key] = 2 if share < TEST else 1 if share < TEST + VALIDATION * (1 - TEST) else 0
        done += size[key]
    parts = [tuple(i for i, key in enumerate(keys) if part[key] == p) for p in range(3)]
    return Split(by, seed, *parts)


def peers(names: list[str], seed: int) -> dict[str, tuple[str, Any]]:
    """Return the peers: what they see and the classifier."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    found: dict[str, tuple[str, Any]] = {
        "extra trees, fractions": ("fractions", ExtraTreesClassifier(300, random_state=seed)),
        "random forest, balanced": (
            "fractions",
            RandomForestClassifier(300, class_weight="balanced", random_state=seed),
        ),
        "random forest, features": ("features", RandomForestClassifier(300, random_state=seed)),
    }
    try:
        from xgboost import XGBClassifier
    except ImportError:
        pass
    else:
        found["XGBoost, fractions"] = ("fractions", XGBClassifier(n_jobs=1, random_state=seed))
        found["XGBoost, features"] = ("features", XGBClassifier(n_jobs=1, random_state=seed))
    return {name: peer for name, peer in found.items() if not names or any(n in name for n in names)}


def judge(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return F1 of the classes, their mean, precision and recall of the first."""
    errors = class_errors(true, probabilities, CLASSES)
    return {
        **{name: errors["f1"][name] for name in CLASSES},
        "macro": errors["macro_f1"],
        "P CRA": errors["precision"]["CRA"] or 0.0,
        "R CRA": errors["recall"]["CRA"],
        "R at P": recall_at_precision(true == 0, probabilities[:, 0]),
    }


def recall_at_precision(true: np.ndarray, share: np.ndarray, precision: float = 0.8) -> float:
    """Return the largest recall of a class at which its precision is not below the given one."""
    return best_threshold(true, share, precision)[0]


def best_threshold(true: np.ndarray, share: np.ndarray, precision: float = 0.8) -> tuple[float, float]:
    """Return that recall, and the least probability that counts as the class then."""
    order = np.argsort(-share, kind="stable")
    hits = np.cumsum(true[order])
    precise = hits / np.arange(1, len(hits) + 1) >= precision
    if not precise.any():
        return 0.0, float("inf")
    last = int(np.flatnonzero(precise)[-1])
    return float(hits[last] / true.sum()), float(share[order[last]])


def at_threshold(true: np.ndarray, share: np.ndarray, threshold: float) -> tuple[float, float]:
    """Return recall and precision of a class that is taken where its probability reaches a threshold."""
    taken = share >= threshold
    both = float((taken & true).sum())
    return both / true.sum(), both / max(1, taken.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--by", choices=("random", "chemsys"), default="random")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--peers", nargs="*", default=None, help="words of their names; none without any")
    parser.add_argument("--set", action="append", default=[], help="setting of the preset, name=JSON value")
    parser.add_argument("--keep", type=Path, help="write the numbers of each seed as JSON")
    arguments = parser.parse_args()
    dataset = read_alloys(arguments.csv)
    compositions: Any = [entry.graph for entry in dataset]  # a field declared as the graph of a slab
    seen = {
        "fractions": element_fractions(compositions),
        "features": composition_features(compositions),
    }
    true = np.array([entry.targets["glass"] for entry in dataset])
    params: dict[str, Any] = {}
    for setting in arguments.set:
        name, _, value = setting.partition("=")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    preset = with_params(find_preset("mcvn"), params)
    network = replace(preset.network, targets=("glass",), classes=(CLASSES,))
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    chosen: list[tuple[float, float]] = []  # recall and precision of CRA
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        split = divide(dataset, arguments.by, seed)
        test, training = list(split.test), sorted((*split.train, *split.val))
        began = time.process_time()
        own = replace(preset, network=network, training=replace(preset.training, seed=seed))
        ensemble = train_ensemble(dataset, split, own, members=arguments.members)
        val = list(split.val)
        held_out = ensemble.predict([dataset[i].graph for i in val]).probabilities["glass"]
        threshold = best_threshold(true[val] == 0, held_out[:, 0])[1]
        ensemble = with_validation_labels(ensemble, dataset, split, seed)
        trained = time.process_time() - began
        found = ensemble.predict([dataset[i].graph for i in test]).probabilities["glass"]
        chosen.append(at_threshold(true[test] == 0, found[:, 0], threshold))
        rows["mcvn"].append(judge(true[test], found) | {"s": trained})
        if ensemble.class_models is not None:
            alone = replace(ensemble, class_models=None)
            shares = alone.predict([dataset[i].graph for i in test]).probabilities["glass"]
            rows["  its networks alone"].append(judge(true[test], shares))
            trees = replace(ensemble.class_models, shares={"glass": 0.0})
            shares = replace(ensemble, class_models=trees).predict([dataset[i].graph for i in test])
            rows["  its trees alone"].append(judge(true[test], shares.probabilities["glass"]))
        for name, (what, peer) in peers(arguments.peers or [], seed).items() if arguments.peers != [] else ():
            began = time.process_time()
            peer.fit(seen[what][training], true[training].astype(int))
            seconds = time.process_time() - began
            rows[name].append(judge(true[test], peer.predict_proba(seen[what][test])) | {"s": seconds})
        print(f"seed {seed}: " + ", ".join(f"{n} {r[-1]['macro']:.4f}" for n, r in rows.items()), flush=True)
    columns = (*CLASSES, "macro", "P CRA", "R CRA", "R at P")
    print(f"{'':26s}" + "".join(f"{name:>8s}" for name in columns) + "   macro - mcvn   CPU s")
    ours = np.array([row["macro"] for row in rows["mcvn"]])
    for name, found in rows.items():
        difference = np.array([row["macro"] for row in found]) - ours
        error = difference.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else float("nan")
        means = "".join(f"{np.mean([row[c] for row in found]):8.3f}" for c in columns)
        seconds = np.mean([row["s"] for row in found]) if "s" in found[0] else float("nan")
        print(f"{name:26s}{means}  {difference.mean():+.4f}({error:.4f})  {seconds:6.1f}")
    recall, precision = np.mean(chosen, axis=0)
    error = np.std(chosen, axis=0, ddof=1) / len(chosen) ** 0.5 if len(chosen) > 1 else (np.nan, np.nan)
    print(
        "mcvn, threshold for a precision of CRA of 0.8 from the validation set: "
        f"recall {recall:.3f}({error[0]:.3f}), precision {precision:.3f}({error[1]:.3f})"
    )
    if arguments.keep:
        arguments.keep.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
