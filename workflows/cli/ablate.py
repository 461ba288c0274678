"""`mgsurf ablate`: the paper's Table 1 over several seeds, beside the paper's numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from stores.paths import expand_user
from workflows.cli.advise import AdviceOptions, advise
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import (
    DEFAULT_PRESET,
    MembersOption,
    PretrainedModel,
    StudyOptions,
    TargetsOption,
    TrainingOptions,
    TrainingProgress,
    each_line_once,
    mean_and_spread,
    require_network,
    run_folder,
    target_names,
    writing,
)
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.training.ablation import Plan
    from workflows.analysis.wulff_comparison import ShapeComparison


@app.command(rich_help_panel=LEARN)
def ablate(
    *,
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this preset (may be repeated); all by default."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Seeds 0 to N - 1.")] = 5,
    training: TrainingOptions,
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Cross-validation by --split with N folds; 0: none.")
    ] = 0,
    members: MembersOption = 1,
    train_fraction: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="Share of the training set (repeat it for a learning curve)."),
    ] = None,
    wulff: Annotated[
        bool,
        typer.Option(
            "--wulff",
            help="Compare DFT and predicted Wulff shapes of what --split element:Pt or compound:MgCo2 leaves "
            "out.",
        ),
    ] = False,
    zero_shot: Annotated[
        bool,
        typer.Option(
            "--zero-shot",
            help="Rows of SevenNet-0's own surface energies, as they are and after a line.",
        ),
    ] = False,
    targets: TargetsOption = None,
    pretrained: PretrainedModel,
    advice: AdviceOptions,
    study: StudyOptions,
) -> int:
    """Train all presets with several seeds: the paper's Table 1 beside ours. Finished runs are kept.

    With --from each run is done twice, from scratch and fine-tuned: learning curves of transfer.
    With --advise each target is learned alone and with others: which is better.
    Exit status 1 if a run failed or is running in another process, or a material could not be compared.

    Examples: [cyan]mgsurf ablate --seeds 5[/cyan],
    [cyan]mgsurf ablate --preset sem-cgcnn --preset best --split chemsys --folds 5 --seeds 1[/cyan],
    [cyan]mgsurf ablate --from model/ --train-fraction 0.2 --train-fraction 1 --store metals.sqlite[/cyan],
    [cyan]mgsurf ablate --preset best --seeds 1 --split compound:MgCo2 --wulff[/cyan],
    [cyan]mgsurf ablate --advise --preset best --targets surface_energy,work_function[/cyan]
    """
    if advice.advise:
        fine_tuned = pretrained.start is not None or pretrained.freeze or pretrained.reset_heads
        if wulff or fine_tuned or members > 1 or len(preset or ()) > 1:
            raise InputError(
                "--advise trains single networks of one --preset from scratch: leave out --wulff, --from, "
                "--members and further presets"
            )
        if len(set(train_fraction or ())) > 1:
            raise InputError("--advise takes one --train-fraction; leave the others out")
        shared = {
            "folds": folds,
            "targets": tuple(dict.fromkeys(target_names(targets))),
            "train_fraction": (train_fraction or [1.0])[0],
            **training.settings(),
        }
        return advise((preset or [DEFAULT_PRESET])[0], seeds, shared, advice, study)
    advice.check_unused()
    if wulff and (folds or not training.split.startswith(("element:", "compound:"))):
        raise InputError(
            "--wulff compares materials that were left out: it goes with --split element:Pt or "
            "--split compound:MgCo2, without --folds"
        )
    require_network()
    before = _rows_before(pretrained) if wulff else []
    from model.training import ablation
    from model.training.ablation_rows import COLUMNS, flat_rows
    from model.training.presets import find_preset
    from model.training.runs import RunSettings
    from workflows.report.wulff_comparison import comparison_table

    folder = run_folder(study.output, Path("mgsurf_ablation"))
    presets = tuple(dict.fromkeys(preset or ()))
    for name in presets:
        find_preset(name)
    transfer, theirs = pretrained.load([study.store])
    if transfer is not None and not presets:
        presets = (theirs.get("preset", DEFAULT_PRESET),)
    plan = ablation.Plan(
        presets=presets or ablation.Plan.presets,
        seeds=tuple(range(seeds)),
        fractions=tuple(sorted(set(train_fraction or ()))) or (1.0,),
        transfers=(None,) if transfer is None else (None, transfer),
        settings=RunSettings(
            DEFAULT_PRESET,
            members=members,
            folds=folds,
            params=theirs.get("params", {}),
            targets=tuple(dict.fromkeys(target_names(targets))),
            **training.settings(),
        ),
    )
    with each_line_once(), ProgressBar(study.quiet) as bar:
        potential = []
        if zero_shot:
            from model.training.zero_shot import zero_shot_runs

            potential = zero_shot_runs(study.slabs(), plan.runs())  # what it lacks is reported before hours
        results, problems = ablation.ablate(study.slabs(), plan, folder, TrainingProgress(bar).step)
        results += potential
    compared, gains = ablation.comparisons(results), ablation.transfer_gains(results)
    shapes: list[ShapeComparison] = []
    if wulff:
        shapes, unlike = _left_out(plan, folder, study, before)
        problems += unlike
    rows = ablation.table(results)
    caption, table = summarise(rows, plan.settings.split, folds, beside_paper=transfer is None)
    remarks = [
        _comparison(*pair, target, change)
        for pair in ablation.COMPARED
        for target, change in ablation.comparisons(results, *pair).items()
    ]
    remarks += map(_gain, gains)
    found: dict[str, Any] = {
        "rows": rows, "best_against_sem_cgcnn": compared, "transfer": gains, "problems": problems
    }  # fmt: skip
    if foundation := ablation.comparisons(results, *ablation.COMPARED[1]):
        found["best_foundation_against_best"] = foundation
    if wulff:
        with ProgressBar(study.quiet) as bar:
            found["wulff"] = draw_shapes(shapes, folder / "wulff", bar)
    text = json.dumps(found, indent=2)
    with writing(folder):
        (folder / "ablation.md").write_text(_markdown(caption, table, remarks), encoding="utf-8")
        (folder / "ablation.json").write_text(text + "\n", encoding="utf-8")
        with (folder / "ablation.csv").open("w", encoding="utf-8", newline="") as file:
            print_csv(flat_rows(results), COLUMNS, file)
        if len(plan.fractions) > 1:
            drawn = {target for row in rows for target in row["targets"]}
            _draw_curves(folder, {target: ablation.learning_curve(results, target) for target in drawn})
    if study.as_json:
        print(text)
    else:
        print_text(caption)
        print_table(table)
        for line in remarks:
            print_text(line)
        for shape in shapes:
            print_table(comparison_table(shape))
        print_text(f"table in {folder / 'ablation.md'}, {pluralize(len(results), 'run')} in {folder}")
        if shapes:
            print_text(f"Wulff shapes in {folder / 'wulff'}")
    for problem in problems:
        print_note(problem)
    return 1 if problems else 0


def _rows_before(pretrained: PretrainedModel) -> list[dict[str, Any]]:
    """Return what the model of --from was trained and tested on, from the folder of its training."""
    from model.training.runs import read_rows

    if pretrained.start is None:
        return []
    start = expand_user(pretrained.start, "--from")
    for folder in (start, start.parent):
        if (folder / "predictions.csv").is_file():
            return read_rows(folder)
    raise InputError(
        f"{pretrained.start}: has no predictions.csv, from which --wulff reads the training set; "
        "give --from a folder that mgsurf train wrote"
    )


def _left_out(
    plan: Plan, folder: Path, study: StudyOptions, before: Sequence[Mapping[str, Any]]
) -> tuple[list[ShapeComparison], list[str]]:
    """Compare the predictions of finished runs with DFT, those of one model over its seeds together."""
    from model.training import ablation
    from model.training.runs import read_rows, read_run
    from workflows.cli.access import existing_store
    from workflows.flows.learning.left_out import compare_left_out

    runs: dict[str, list[list[dict[str, Any]]]] = {}
    for settings in plan.runs():
        path = folder / ablation.folder_name(settings)
        if (run := read_run(path)) is not None:
            part = (
                "" if settings.train_fraction == 1 else f", {settings.train_fraction:g} of the training set"
            )
            runs.setdefault(ablation.name_of(run) + part, []).append(read_rows(path))
    shapes, problems = [], []
    with existing_store(study.store) as store:
        for name, rows in runs.items():
            try:
                found, lines = compare_left_out(store, rows, name, before if "fine-tuned" in name else ())
            except InputError as error:
                problems.append(str(error))
                continue
            shapes += found
            problems += lines
    return shapes, problems


def draw_shapes(shapes: Sequence[ShapeComparison], folder: Path, bar: ProgressBar) -> list[dict[str, Any]]:
    """Write figures (PNG, SVG), ``facets.csv`` and ``comparison.json``; return the content of the latter."""
    from workflows.report.style import save
    from workflows.report.wulff_comparison import FIELDS, comparison_document, comparison_figure, facet_rows

    documents = [comparison_document(shape) for shape in shapes]
    names: Counter[str] = Counter()  # crystals of two sources may have one
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, shape in enumerate(shapes):
            bar.show("Wulff shapes", number, len(shapes), shape.name)
            if shape.dft.surface_energy is None or shape.predicted.surface_energy is None:
                continue  # its reason is among the problems
            figure = comparison_figure([shape])
            name = f"{shape.formula}_{shape.crystal.spacegroup_number}_{shape.model}"
            name = re.sub(r"[^A-Za-z0-9.-]+", "_", name)
            names[name] += 1
            again = "" if names[name] == 1 else f"_{names[name]}"
            for ending in ("png", "svg"):
                save(figure, folder / f"{name}{again}.{ending}")
        with (folder / "facets.csv").open("w", encoding="utf-8", newline="") as file:
            print_csv([row for shape in shapes for row in facet_rows(shape)], FIELDS, file)
        text = json.dumps(documents, indent=2, ensure_ascii=False)
        (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    return documents


def summarise(
    rows: Sequence[Mapping[str, Any]], split: str, folds: int, *, beside_paper: bool = True
) -> tuple[str, Table]:
    """Return a caption and a table of mean ± standard deviation over runs, the paper's values in brackets.

    The paper's values go with whole training sets only, and not with fine-tuning, which is judged on slabs of
    another kind.
    """
    from workflows.report.training_figures import add_unit, target_name

    rows = [row if beside_paper and row["train_fraction"] == 1 else _without_paper(row) for row in rows]
    bracketed = any(row["paper_loss"] for row in rows)
    known = {target: found for row in reversed(rows) for target, found in row["targets"].items()}
    targets = list(dict.fromkeys(target for row in rows for target in row["targets"]))
    several = len({row["train_fraction"] for row in rows}) > 1
    systems = folds > 0 or split != "random"
    heads = [*(["of train"] if several else []), "runs"]
    columns = {target: _columns(known[target], systems) for target in targets}
    for target, (error, *others) in columns.items():
        heads += [add_unit(f"{target_name(target)} {error}", target, known[target].get("unit")), *others]
    losses = not targets or any("mae" in found for found in known.values())  # which classes do not add to
    heads += ["total loss"] if losses else []
    table = Table([Column("preset"), *(Column(head, right=True) for head in heads)])
    for row in rows:
        cells = [row["preset"], *([f"{row['train_fraction']:g}"] if several else []), str(row["runs"])]
        for target, headings in columns.items():
            own = row["targets"].get(target)
            cells += [""] * len(headings) if own is None else _cells(own, systems)
        table.add_row(*cells, *([_loss(row)] if losses else []))
    caption = (
        f"Test set, split by {split}{f', {folds}-fold' if folds else ''}; mean ± standard deviation over "
        f"runs{', in brackets Table 1 of Shi et al. (one split of 3,526 slabs)' if bracketed else ''}."
    )
    return caption, table


def _without_paper(row: Mapping[str, Any]) -> dict[str, Any]:
    targets = {target: {**found, "paper": None} for target, found in row["targets"].items()}
    return {**row, "targets": targets, "paper_loss": None}


def _columns(found: Mapping[str, Any], systems: bool) -> list[str]:
    """Headings of the cells of a target, its error first."""
    if "mae" not in found:
        return [found["metric"], "accuracy", "mean F1"]
    return ["MAE", "R²", "τ of facets", *(["MAE over systems"] if systems else [])]


def _cells(found: Mapping[str, Any], systems: bool) -> list[str]:
    """Cells of a target, see `_columns`."""
    if "mae" not in found:
        scores = [mean_and_spread(found[name], 3) for name in ("accuracy", "macro_f1")]
        return [_error(found["error"]), *scores]
    paper = found["paper"] or {}
    return [
        _error(found["mae"]) + (f" [{paper['mae']:g}]" if paper else ""),
        mean_and_spread(found["r2"], 3) + (f" [{paper['r2']:g}]" if paper else ""),
        mean_and_spread(found["kendall_tau"], 2),
        *([_error(found["macro_mae"])] if systems else []),
    ]


def _loss(row: Mapping[str, Any]) -> str:
    paper_loss = f" [{row['paper_loss']:g}]" if row["paper_loss"] else ""
    return mean_and_spread(row["total_loss"], 3) + paper_loss


def _error(value: Mapping[str, float | None]) -> str:
    """Write 0.00532 ± 0.00012: three digits of the mean, and as many decimals of the spread."""
    from workflows.report.training_figures import significant

    return mean_and_spread(value, len(significant(value["mean"] or 0).partition(".")[2]))


def _comparison(ours: str, theirs: str, target: str, found: Mapping[str, Any]) -> str:
    from workflows.report.training_figures import target_name

    change = _change(found["error_relative"], found["pairs"])
    line = f"{ours} against {theirs}, {target_name(target)}: {found['metric']} {change}"
    if (systems := found.get("systems_relative")) is not None:
        line += (
            f"; mean over {found['systems']} systems {_percent(systems['mean'])} "
            f"(95 %: {_percent(systems['low'])} to {_percent(systems['high'])})"
        )
    return f"{line}."


def _gain(found: Mapping[str, Any]) -> str:
    from workflows.report.training_figures import target_name, with_unit

    target, change = found["target"], _change(found["relative"], found["pairs"])
    ours, theirs = (with_unit(found[way], target) for way in ("transfer", "scratch"))
    return (
        f"{found['name']} against scratch, {target_name(target)}, {found['n']} training slabs: "
        f"{found['metric']} {ours} instead of {theirs}, {change}."
    )


def _change(relative: Mapping[str, float], pairs: int) -> str:
    """Write a relative change with its 95 % interval over pairs of runs."""
    if pairs == 1:
        return f"{_percent(relative['mean'])} (one pair: no interval)"
    interval = f"{_percent(relative['low'])} to {_percent(relative['high'])}"
    return f"{_percent(relative['mean'])} (95 %: {interval}, {pairs} pairs)"


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _markdown(caption: str, table: Table, remarks: Sequence[str]) -> str:
    """Return the text of a Markdown file."""
    return "\n".join([caption, "", *table.markdown(), "", *remarks]).rstrip() + "\n"


def _draw_curves(folder: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    from workflows.report.style import save
    from workflows.report.training_figures import learning_curve_figure

    for target, points in curves.items():
        save(learning_curve_figure(points, target), folder / f"learning_curve_{target}.png")
