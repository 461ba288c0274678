"""What a study found: errors, changes against scratch with their intervals, best sources."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.metrics import Interval, mean_and_spread
from model.studies.study import SCRATCH, TOGETHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model.studies.data import StudyData
    from model.studies.runs import TaskResult

COLUMNS = (
    "data_set",
    "target",
    "source",
    "strategy",
    "labels",
    "n_train",
    "n_val",
    "n_test",
    "seed",
    "val_mae",
    "test_mae",
    "test_r2",
    "seconds",
)

FEWEST_PAIRS = 3  # seeds below which no change is called significant


def flat_rows(data: StudyData, results: Sequence[TaskResult]) -> list[dict[str, Any]]:
    """List the errors of each training for each data set that it learned from, for pandas.

    Keys are `COLUMNS`: ``source`` is ``scratch``, a data set (with its number of labels, where these are not
    all), or ``mpt`` and the balancing of its losses; ``strategy`` is ``mpt`` in the rows of
    such a pre-training itself; ``labels`` 0 stands for all. Errors are in the target's unit.
    """
    rows = []
    for result in results:
        task, run = result.task, result.run
        for name in task.sets:
            head = data.heads[name]
            found = run["metrics"][head]
            values = (
                name,
                head,
                task.origin,
                TOGETHER if task.balance else task.strategy,
                task.size,
                found["train"]["n"],
                found["val"]["n"],
                found["test"]["n"],
                task.seed,
                found["val"]["mae"],
                found["test"]["mae"],
                found["test"]["r2"],
                run["seconds_in_all"],
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


@dataclass(frozen=True)
class Cell:
    """A data set, fine-tuned from a source with so many labels, against training from scratch."""

    data_set: str
    source: str  # see `flat_rows`
    labels: int  # 0: all
    strategy: str  # the one that is best on validation
    n_train: int  # mean over seeds
    pairs: int  # seeds that both were trained with
    val_mae: float  # by which strategies and sources are chosen
    test_mae: float
    scratch_mae: float  # of the test set
    change: Interval  # of the test error: ratio to scratch minus one
    significant: bool  # the interval leaves zero out, of three seeds or more


def cells(rows: Iterable[dict[str, Any]]) -> list[Cell]:
    """Compare each source with scratch at each number of labels, paired by seed.

    Of several strategies the one with the lowest mean validation error counts.
    """
    by_key: dict[tuple[str, int], dict[tuple[str, str], dict[int, dict[str, Any]]]] = defaultdict(dict)
    for row in rows:
        runs = by_key[row["data_set"], row["labels"]]
        runs.setdefault((row["source"], row["strategy"]), {})[row["seed"]] = row
    found: list[Cell] = []
    for (name, labels), runs in by_key.items():
        scratch = runs.get((SCRATCH, SCRATCH), {})
        best: dict[str, Cell] = {}
        for (source, strategy), tuned in runs.items():
            seeds = sorted(tuned.keys() & scratch.keys())
            if strategy in (SCRATCH, TOGETHER) or not seeds:
                continue
            ours = [tuned[seed] for seed in seeds]
            theirs = [scratch[seed] for seed in seeds]
            change = paired_change([r["test_mae"] for r in ours], [r["test_mae"] for r in theirs])
            cell = Cell(
                data_set=name,
                source=source,
                labels=labels,
                strategy=strategy,
                n_train=round(float(np.mean([r["n_train"] for r in ours]))),
                pairs=len(seeds),
                val_mae=float(np.mean([r["val_mae"] for r in ours])),
                test_mae=float(np.mean([r["test_mae"] for r in ours])),
                scratch_mae=float(np.mean([r["test_mae"] for r in theirs])),
                change=change,
                significant=len(seeds) >= FEWEST_PAIRS and not change.low <= 0 <= change.high,
            )
            if source not in best or cell.val_mae < best[source].val_mae:
                best[source] = cell
        found += best.values()
    return found


def best_sources(found: Sequence[Cell]) -> list[Cell]:
    """Return for each data set and number of labels the source with the lowest validation error."""
    best: dict[tuple[str, int], Cell] = {}
    for cell in found:
        key = cell.data_set, cell.labels
        if key not in best or cell.val_mae < best[key].val_mae:
            best[key] = cell
    return list(best.values())


def paired_change(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the geometric mean of the ratios minus one, with its 95 % interval by Student's t of their logs.

    One pair has no interval: both ends are its change.
    """
    from scipy.stats import t

    logs = np.log(np.asarray(ours, dtype=float) / np.asarray(theirs, dtype=float))
    n, mean = len(logs), float(logs.mean())
    half = float(t.ppf(0.975, n - 1) * logs.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    return Interval(math.expm1(mean), math.expm1(mean - half), math.expm1(mean + half))


def curves(
    rows: Sequence[dict[str, Any]], found: Sequence[Cell], name: str
) -> dict[str, list[dict[str, Any]]]:
    """Return test MAE against training labels for a data set: by source, ``n``, ``mae`` and ``spread``.

    Each source with the strategy that is best on validation at that number of labels.
    """
    chosen = {(cell.source, cell.labels): cell.strategy for cell in found if cell.data_set == name}
    groups: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["data_set"] == name and (
            (row["source"], row["strategy"]) == (SCRATCH, SCRATCH)
            or chosen.get((row["source"], row["labels"])) == row["strategy"]
        ):
            groups[row["source"]][row["labels"]].append(row)
    lines = {}
    for source, by_labels in groups.items():
        points: list[tuple[int, dict[str, float | None]]] = []
        for members in by_labels.values():
            mae = mean_and_spread([row["test_mae"] for row in members])
            n = round(float(np.mean([row["n_train"] for row in members])))
            points.append((n, mae))
        lines[source] = [
            {"n": n, "mae": mae["mean"], "spread": mae["spread"]}
            for n, mae in sorted(points, key=lambda point: point[0])
        ]
    return lines


def plain(cell: Cell) -> dict[str, Any]:
    """Return a cell as plain values, ``change`` flattened for a table."""
    values = asdict(cell)
    change = values.pop("change")
    return values | {"change": change["mean"], "change_low": change["low"], "change_high": change["high"]}
