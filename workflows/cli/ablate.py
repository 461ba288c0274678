"""`mgsurf ablate`: the paper's Table 1 over several seeds, beside the paper's numbers."""

from __future__ import annotations

import csv
import json
import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, StoreError, pluralize
from workflows.cli.console import print_table, print_text
from workflows.cli.learning import TrainingProgress, labelled_slabs, require_network
from workflows.cli.train import DEFAULT_PRESET, pretrained
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_FOLDER = Path("mgsurf_ablation")


def run_ablation(
    *,
    presets: list[str],
    seeds: int,
    split: str,
    twins: str,
    folds: int,
    epochs: int | None,
    members: int,
    fractions: list[float],
    start: Path | None,
    freeze: str | None,
    reset_heads: bool,
    store: str | None,
    method: str | None,
    output: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run what is missing, print the table, and write it as Markdown, JSON and CSV (one row a run).

    Returns
    -------
    int
        Exit status: 1 if a run failed or is in work elsewhere.
    """
    require_network()
    from model.training.ablation import (
        COLUMNS,
        Plan,
        ablate,
        comparisons,
        flat_rows,
        learning_curve,
        table,
        transfer_gains,
    )
    from model.training.presets import find_preset
    from model.training.runs import RunSettings

    folder = output or DEFAULT_FOLDER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --output takes a folder")
    for name in presets:
        find_preset(name)
    transfer, theirs = pretrained(start, freeze, reset_heads)
    if transfer is not None and not presets:
        presets = [theirs.get("preset", DEFAULT_PRESET)]
    plan = Plan(
        presets=tuple(dict.fromkeys(presets)) or Plan.presets,
        seeds=tuple(range(seeds)),
        fractions=tuple(sorted(set(fractions))) or (1.0,),
        transfers=(None,) if transfer is None else (None, transfer),
        settings=RunSettings(
            DEFAULT_PRESET,
            split,
            epochs=epochs,
            members=members,
            folds=folds,
            params=theirs.get("params", {}),
            twins=twins,
        ),
    )
    with each_line_once(), ProgressBar(quiet) as bar:
        results, problems = ablate(labelled_slabs(store, method), plan, folder, TrainingProgress(bar).step)
    rows, compared, gains = table(results), comparisons(results), transfer_gains(results)
    summary = summarise(rows, compared, split, folds, beside_paper=transfer is None)
    summary.remarks.extend(map(_gain, gains))
    try:
        (folder / "ablation.md").write_text("\n".join(summary.markdown()) + "\n", encoding="utf-8")
        told = {"rows": rows, "best_against_sem_cgcnn": compared, "transfer": gains, "problems": problems}
        text = json.dumps(told, indent=2)
        (folder / "ablation.json").write_text(text + "\n", encoding="utf-8")
        with (folder / "ablation.csv").open("w", encoding="utf-8", newline="") as file:
            sheet = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            sheet.writeheader()
            sheet.writerows(flat_rows(results))
        if len(plan.fractions) > 1:
            _draw_curves(folder, {t: learning_curve(results, t) for r in rows for t in r["targets"]})
    except OSError as error:
        raise StoreError(f"{folder}: the table cannot be written ({error}); free space and repeat") from error
    if as_json:
        print(text)
    else:
        print_text(summary.caption)
        print_table(summary.table())
        for line in summary.remarks:
            print_text(line)
        print_text(f"table in {folder / 'ablation.md'}, {pluralize(len(results), 'run')} in {folder}")
    for problem in problems:
        print(f"mgsurf: {problem}", file=sys.stderr)
    return 1 if problems else 0


@dataclass(frozen=True)
class Summary:
    """The table of an ablation as texts.

    Attributes
    ----------
    caption
        What was averaged over what.
    headings, body
        Of the table.
    remarks
        Comparisons, one a line.
    """

    caption: str
    headings: list[str]
    body: list[list[str]]
    remarks: list[str]

    def markdown(self) -> list[str]:
        """Return the lines of a Markdown file."""
        table = [self.headings, *self.body]
        widths = [max(len(line[i]) for line in table) for i in range(len(self.headings))]
        return [
            self.caption,
            "",
            _line(self.headings, widths),
            _line(["-" * width for width in widths], widths),
            *(_line(cells, widths) for cells in self.body),
            *(["", *self.remarks] if self.remarks else []),
        ]

    def table(self) -> Table:
        """Return the table for a terminal."""
        table = Table([Column(heading, right=place > 0) for place, heading in enumerate(self.headings)])
        for cells in self.body:
            table.add_row(*cells)
        return table


def summarise(
    rows: Sequence[Mapping[str, Any]],
    compared: Mapping[str, Any],
    split: str,
    folds: int,
    *,
    beside_paper: bool = True,
) -> Summary:
    """Return mean ± standard deviation over runs, with the paper's in brackets.

    The paper's numbers stand beside whole training sets alone, and not where fine-tuning is judged, which is
    done on slabs of another kind.
    """
    from workflows.report.training_figures import target_name, unit_of

    rows = [row if beside_paper and row["train_fraction"] == 1 else _without_paper(row) for row in rows]
    bracketed = any(row["paper_loss"] for row in rows)
    targets = list(dict.fromkeys(target for row in rows for target in row["targets"]))
    several = len({row["train_fraction"] for row in rows}) > 1
    heads = ["preset", *(["of train"] if several else []), "runs"]
    for target in targets:
        unit = f" ({unit_of(target)})" if unit_of(target) else ""
        heads += [f"{target_name(target)} MAE{unit}", "R²", "τ of facets"]
        heads += ["MAE over systems"] if folds or split != "random" else []
    heads.append("total loss")
    body = [_cells(row, targets, several, folds > 0 or split != "random") for row in rows]
    caption = (
        f"Test set, split by {split}{f', {folds}-fold' if folds else ''}; mean ± standard deviation over "
        f"runs{', in brackets Table 1 of Shi et al. (one split of 3,526 slabs)' if bracketed else ''}."
    )
    return Summary(caption, heads, body, [_comparison(target, c) for target, c in compared.items()])


def _without_paper(row: Mapping[str, Any]) -> dict[str, Any]:
    targets = {target: {**found, "paper": None} for target, found in row["targets"].items()}
    return {**row, "targets": targets, "paper_loss": None}


@contextmanager
def each_line_once() -> Iterator[None]:
    """Keep runs from repeating what one of them said already."""
    said: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text in said
        said.add(text)
        return not known

    log = logging.getLogger("model.training.runs")
    log.addFilter(new)
    try:
        yield
    finally:
        log.removeFilter(new)


def _cells(row: Mapping[str, Any], targets: Sequence[str], several: bool, systems: bool) -> list[str]:
    cells = [row["preset"], *([f"{row['train_fraction']:g}"] if several else []), str(row["runs"])]
    for target in targets:
        found = row["targets"].get(target)
        if found is None:
            cells += [""] * (4 if systems else 3)
            continue
        paper = found["paper"] or {}
        cells.append(_spread(found["mae"], 3) + (f" [{paper['mae']:g}]" if paper else ""))
        cells.append(_decimals(found["r2"], 3) + (f" [{paper['r2']:g}]" if paper else ""))
        cells.append(_decimals(found["kendall_tau"], 2))
        cells += [_spread(found["macro_mae"], 3)] if systems else []
    paper_loss = f" [{row['paper_loss']:g}]" if row["paper_loss"] else ""
    cells.append(_decimals(row["total_loss"], 3) + paper_loss)
    return cells


def _spread(value: Mapping[str, float | None], digits: int) -> str:
    """Write 0.00532 ± 0.00012: the spread with as many decimals as the mean."""
    from workflows.report.training_figures import significant

    if value["mean"] is None:
        return "-"
    mean = significant(value["mean"], digits)
    decimals = len(mean.partition(".")[2])
    return mean if value["spread"] is None else f"{mean} ± {value['spread']:.{decimals}f}"


def _decimals(value: Mapping[str, float | None], decimals: int) -> str:
    if value["mean"] is None:
        return "-"
    mean = f"{value['mean']:.{decimals}f}"
    return mean if value["spread"] is None else f"{mean} ± {value['spread']:.{decimals}f}"


def _comparison(target: str, found: Mapping[str, Any]) -> str:
    from workflows.report.training_figures import target_name

    change, systems = found["mae_relative"], found["systems_relative"]
    text = f"best against sem-cgcnn, {target_name(target)}: MAE {_percent(change['mean'])}"
    if found["pairs"] > 1:
        text += f" (95 %: {_percent(change['low'])} to {_percent(change['high'])}, {found['pairs']} pairs)"
    else:
        text += " (one pair: no interval)"
    return text + (
        f"; mean over {found['systems']} systems {_percent(systems['mean'])} "
        f"(95 %: {_percent(systems['low'])} to {_percent(systems['high'])})."
    )


def _gain(found: Mapping[str, Any]) -> str:
    from workflows.report.training_figures import target_name, with_unit

    target, change = found["target"], found["relative"]
    text = (
        f"{found['name']} against scratch, {target_name(target)}, {found['n']} training slabs: MAE "
        f"{with_unit(found['transfer'], target)} instead of {with_unit(found['scratch'], target)}, "
        f"{_percent(change['mean'])}"
    )
    if found["pairs"] > 1:
        return (
            f"{text} (95 %: {_percent(change['low'])} to {_percent(change['high'])}, {found['pairs']} pairs)."
        )
    return f"{text} (one pair: no interval)."


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join(padded) + " |"


def _draw_curves(folder: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    from workflows.report.style import save
    from workflows.report.training_figures import learning_curve_figure

    for target, points in curves.items():
        save(learning_curve_figure(points, target), folder / f"learning_curve_{target}.png")
