"""Formulas, features and images of compositions: seconds for 85,014 on one core, beside other programs.

    python -m benchmarks.compositions
    python -m benchmarks.compositions --table energies.csv.gz --matminer OTHER/bin/python

Formulas are those of a CSV file with a column ``formula``, else random ones of up to five elements. Peers, on
the first 500: a plain loop over compositions, properties and statistics, with the same numbers; and the
``magpie`` preset of matminer (22 properties, 6 statistics: 132 features), if an interpreter that has it is
given. Rows per CPU second.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import subprocess
import time
from pathlib import Path

import numpy as np

from model.compositions.composition import PlainComposition
from model.compositions.element_properties import element_properties
from model.compositions.features import composition_features, shifts
from model.compositions.formulas import parse_composition, plain_composition
from model.compositions.image import composition_images, property_cells

NUMBER = 85_014
FEW = 500

MATMINER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from matminer.featurizers.composition import ElementProperty
from pymatgen.core import Composition
formulas = json.load(sys.stdin)
featurizer = ElementProperty.from_preset("magpie")
featurizer.featurize(Composition("MgCu2"))
start = time.process_time()
for formula in formulas:
    featurizer.featurize(Composition(formula))
print(len(featurizer.feature_labels()), time.process_time() - start)
"""


def formulas_of(table: Path | None) -> list[str]:
    if table is not None:
        content = table.read_bytes()
        text = (gzip.decompress(content) if table.suffix == ".gz" else content).decode()
        return [row["formula"] for row in csv.DictReader(io.StringIO(text))]
    choice = random.Random(0)
    symbols = element_properties().symbols[1:95]
    return [
        "".join(f"{s}{choice.randint(1, 12)}" for s in choice.sample(symbols, choice.randint(1, 5)))
        for _ in range(NUMBER)
    ]


def looped(composition: PlainComposition) -> list[float]:
    """Features of one composition by loops over properties and statistics."""
    features: dict[str, list[float]] = {}
    table, shift = element_properties().values, shifts()
    for i in range(table.shape[1]):
        f, x = composition.fractions, table[composition.numbers, i]
        mean = float(np.average(x, weights=f))
        for name, value in (
            ("mean", mean),
            ("variance", float(np.average((x - mean) ** 2, weights=f))),
            ("minimum", float(x.min())),
            ("maximum", float(x.max())),
            ("range", float(np.ptp(x))),
            ("geometric", float(np.exp(np.average(np.log(x + shift[i]), weights=f)) - shift[i])),
            ("harmonic", float(1 / np.average(1 / (x + shift[i]), weights=f) - shift[i])),
        ):
            features.setdefault(name, []).append(value)
    return [value for values in features.values() for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="CSV file, .gz too, with a column formula")
    parser.add_argument("--matminer", type=Path, help="interpreter that has matminer")
    options = parser.parse_args()
    formulas = formulas_of(options.table)
    element_properties()

    def measured(name: str, start: float) -> float:
        seconds = time.process_time() - start
        print(f"{name:38} {seconds:6.2f} s  {len(formulas) / seconds:10,.0f} rows/s")
        return seconds

    print(f"{len(formulas):,} formulas")
    start = time.process_time()
    compositions = [plain_composition(parse_composition(formula).amounts) for formula in formulas]
    parsing = measured("formulas to fractions", start)
    start = time.process_time()
    features = composition_features(compositions)
    computing = measured("fractions to 406 features", start)
    start = time.process_time()
    cells = property_cells(features)
    images = composition_images(features, cells, features.min(axis=0), features.max(axis=0))
    measured(f"template and {images.shape[1]} x 8 x 8 images", start)
    ours = (parsing + computing) / len(formulas)

    start = time.process_time()
    loops = np.array([looped(composition) for composition in compositions[:FEW]])
    seconds = (time.process_time() - start) / FEW
    error = np.abs(loops - features[:FEW]) / np.maximum(np.abs(loops), 1e-3)
    print(
        f"plain loop, the same features: {1 / seconds:,.0f} rows/s, "
        f"{seconds * len(formulas) / computing:.0f} times as long; largest difference {error.max():.0e}"
    )
    if options.matminer is not None:
        done = subprocess.run(
            [str(options.matminer), "-c", MATMINER],
            input=json.dumps(formulas[:FEW]), capture_output=True, text=True, check=True,
        )  # fmt: skip
        count, total = done.stdout.split()
        theirs = float(total) / FEW
        print(
            f"matminer, magpie, {count} features from formulas: {1 / theirs:,.0f} rows/s; ours with formulas "
            f"{1 / ours:,.0f} rows/s, {theirs / ours:.0f} times as fast"
        )


if __name__ == "__main__":
    main()
