"""What a study found: errors, changes against scratch with their intervals, best sources."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.criteria import CRITERIA, MAE, error_of
from model.evaluation.metrics import mean_and_spread
from model.studies.study import SCRATCH, TOGETHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model.evaluation.metrics import Interval
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
    "metric",
    "val_error",
    "test_error",
    "test_accuracy",
    "test_macro_f1",
)

FEWEST_PAIRS = 3  # seeds below which no change is called significant


def flat_rows(data: StudyData, results: Sequence[TaskResult]) -> list[dict[str, Any]]:
    """List the errors of each training for each data set that it learned from, for pandas.

    Keys are `COLUMNS`: ``source`` is ``scratch``, a data set (with its number of labels, where these are not
    all), or ``mpt`` and the balancing of its losses; ``strategy`` is ``mpt`` in the rows of
    such a pre-training itself; ``labels`` 0 stands for all. ``metric`` names what ``val_error`` and
    ``test_error`` are: the MAE of quantities in the target's unit, then ``val_mae`` and ``test_mae`` too; the
    log loss of classes, which have accuracy and mean F1 instead of R2.
    """
    rows = []
    for result in results:
        task, run = result.task, result.run
        for name in task.sets:
            head = data.heads[name]
            found = error_of(run, head)
            of_quantity = run["metrics"].get(head, {}).get("test", {})
            of_classes = run.get("classes", {}).get(head, {}).get("test", {})
            values = (
                name,
                head,
                task.origin,
                TOGETHER if task.balance else task.strategy,
                task.size,
                found.n["train"],
                found.n["val"],
                found.n["test"],
                task.seed,
                found.val if found.criterion == MAE else None,
                of_quantity.get("mae"),
                of_quantity.get("r2"),
                run["seconds_in_all"],
                found.criterion.name,
                found.val,
                found.test,
                of_classes.get("accuracy"),
                of_classes.get("macro_f1"),
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
    metric: str  # of the errors: a key of `model.evaluation.criteria.CRITERIA`
    val_error: float  # by which strategies and sources are chosen
    test_error: float
    scratch_error: float  # of the test set
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
            criterion = CRITERIA[ours[0]["metric"]]
            change = criterion.change([r["test_error"] for r in ours], [r["test_error"] for r in theirs])
            cell = Cell(
                data_set=name,
                source=source,
                labels=labels,
                strategy=strategy,
                n_train=round(float(np.mean([r["n_train"] for r in ours]))),
                pairs=len(seeds),
                metric=criterion.name,
                val_error=float(np.mean([r["val_error"] for r in ours])),
                test_error=float(np.mean([r["test_error"] for r in ours])),
                scratch_error=float(np.mean([r["test_error"] for r in theirs])),
                change=change,
                significant=len(seeds) >= FEWEST_PAIRS and not change.low <= 0 <= change.high,
            )
            if source not in best or cell.val_error < best[source].val_error:
                best[source] = cell
        found += best.values()
    return found


def best_sources(found: Sequence[Cell]) -> list[Cell]:
    """Return for each data set and number of labels the source with the lowest validation error."""
    best: dict[tuple[str, int], Cell] = {}
    for cell in found:
        key = cell.data_set, cell.labels
        if key not in best or cell.val_error < best[key].val_error:
            best[key] = cell
    return list(best.values())


def curves(
    rows: Sequence[dict[str, Any]], found: Sequence[Cell], name: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the test error against training labels for a data set: by source a point for each size.

    Points have ``n``, ``metric``, ``error`` (mean over seeds; ``mae`` too, where it is one) and ``spread``.
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
        points = []
        for members in by_labels.values():
            error = mean_and_spread([row["test_error"] for row in members])
            metric = members[0]["metric"]
            points.append(
                {
                    "n": round(float(np.mean([row["n_train"] for row in members]))),
                    "mae": error["mean"] if metric == MAE.name else None,
                    "spread": error["spread"],
                    "metric": metric,
                    "error": error["mean"],
                }
            )
        lines[source] = sorted(points, key=lambda point: point["n"])
    return lines


def plain(cell: Cell) -> dict[str, Any]:
    """Return a cell as plain values for a table: ``change`` flattened, ``val_mae`` etc. of quantities."""
    values = asdict(cell)
    change = values.pop("change")
    maes = {
        f"{part}_mae": values[f"{part}_error"] if cell.metric == MAE.name else None
        for part in ("val", "test", "scratch")
    }
    ends = {"change": change["mean"], "change_low": change["low"], "change_high": change["high"]}
    return values | maes | ends
