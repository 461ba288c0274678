"""Damage to model folders: ``python -m tests.reliability.models --flips 1000``.

A folder with every file that a prediction depends on is damaged in one place at a time and loaded. The damage
must be refused in one line that names the file, or change no prediction.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.baselines.blend import DescriptorModels
from model.graphs.graph import SlabGraph
from model.training.checked_json import write_json
from model.training.ensemble import Ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.runs import FORMAT, read_run
from stores.errors import MgsurfError
from tests.model.small_dataset import small_dataset
from tests.model.untrained import untrained, without_checksums

LONGEST = 20.0
"""Seconds in which a damaged folder must be refused."""

KINDS = ("bit", "byte", "cut", "zeros", "longer")


@dataclass
class Outcome:
    """What happened to damaged folders.

    Attributes
    ----------
    counts
        Folders by kind of damage and result: refused, unchanged (it predicts the same), wrong, traceback.
    problems
        A line for each that was neither refused in one line nor harmless.
    seconds
        Longest time to load one.
    """

    counts: Counter[tuple[str, str]]
    problems: list[str]
    seconds: float = 0.0


def make_folder(folder: Path) -> list[SlabGraph]:
    """Write a run folder with two members, trees and a Gaussian process; return slabs to predict."""
    dataset = small_dataset()
    graphs = [entry.graph for entry in dataset]
    ensemble = untrained(2)
    training, validation = dataset.subset(range(30)), dataset.subset(range(30, 60))
    networks = ensemble.predict(graphs[30:60]).mean
    folds = np.arange(len(validation)) % 5
    descriptor_models, _ = DescriptorModels.fit(training, validation, networks, trees=5, seed=0, folds=folds)
    save_ensemble(replace(ensemble, descriptor_models={"slab": descriptor_models}), folder / "model")
    write_json(folder / "run.json", {"format": FORMAT, "metrics": {"surface_energy": {"mae": 0.0123}}})
    return graphs[::10]


def damage(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Damage a file in one place."""
    content = bytearray(path.read_bytes())
    at = int(rng.integers(len(content)))
    if kind == "bit":
        content[at] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        content[at] = (content[at] + int(rng.integers(1, 256))) % 256
    elif kind == "cut":
        del content[at:]
    elif kind == "zeros":
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    else:
        content += rng.bytes(100)
    path.write_bytes(content)


def attack(
    original: Path, graphs: list[SlabGraph], flips: int, seed: int, work: Path, only: str = "*"
) -> Outcome:
    """Damage copies of a folder, each in one place of one file, and load them."""
    rng = np.random.default_rng(seed)
    files = sorted(p.relative_to(original) for p in original.rglob(only) if p.is_file())
    expected, run = load_ensemble(original), read_run(original)
    assert run is not None
    before = _numbers(expected, graphs)
    outcome = Outcome(Counter(), [])
    for number in range(flips):
        kind, file = KINDS[number % len(KINDS)], files[int(rng.integers(len(files)))]
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(original, work)
        damage(work / file, kind, rng)
        result = "same bytes"
        if (work / file).read_bytes() != (original / file).read_bytes():
            began = time.monotonic()
            result = _load(work, file.name, before, run, graphs)
            outcome.seconds = max(outcome.seconds, time.monotonic() - began)
        outcome.counts[kind, result.partition(":")[0]] += 1
        if result.startswith(("wrong", "traceback")):
            outcome.problems.append(f"{number} ({kind} in {file}): {result}")
    return outcome


def _load(folder: Path, name: str, before: list[bytes], run: dict[str, Any], graphs: list[SlabGraph]) -> str:
    try:
        again, run_again = load_ensemble(folder), read_run(folder)
    except MgsurfError as error:
        text = str(error)
        return "refused" if name in text and "\n" not in text else f"wrong message: {text}"
    except Exception as error:  # noqa: BLE001  # that there is none is what is tested
        return f"traceback: {type(error).__name__} {error}"
    same_run = run_again is not None and {name: run_again.get(name) for name in run} == run
    same = same_run and _numbers(again, graphs) == before
    return "unchanged" if same else "wrong: it loads and is another model"


def _numbers(ensemble: Ensemble, graphs: list[SlabGraph]) -> list[bytes]:
    found = ensemble.predict(graphs)
    parts = [*found.mean.values(), *found.sigma.values(), found.distance]
    return [np.ascontiguousarray(part).tobytes() for part in parts] + [repr(ensemble.elements).encode()]


def main(arguments: list[str] | None = None) -> int:
    """Run the attack; exit status 1 if anything was neither refused in one line nor harmless."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    failed = False
    with tempfile.TemporaryDirectory() as place:
        graphs = make_folder(Path(place) / "model")
        old = Path(place) / "old"
        shutil.copytree(Path(place) / "model", old)
        without_checksums(old / "model")
        for title, folder, only in (
            ("with checksums", Path(place) / "model", "*"),
            ("of an older version, *.pt", old, "*.pt"),
        ):
            found = attack(folder, graphs, chosen.flips, chosen.seed, Path(place) / "work", only)
            results = Counter[str]()
            for (_, result), count in found.counts.items():
                results[result] += count
            print(f"{title}: {dict(results)}, longest {found.seconds:.2f} s")
            for problem in found.problems:
                print(f"  {problem}")
            failed |= bool(found.problems) or found.seconds > LONGEST
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
