"""`mgsurf simulate`: replay acquisition on slabs whose labels are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import duration, pluralize
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import (
    MembersOption,
    StudyOptions,
    TrainingProgress,
    mean_and_spread,
    require_network,
    run_folder,
    writing,
)
from workflows.cli.typer_app import LOOP, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@app.command(rich_help_panel=LOOP)
def simulate(
    *,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="random, uncertain, diverse or improvement (may be repeated); all by default.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Seeds 0 to N - 1.")] = 3,
    start: Annotated[int, typer.Option(min=4, metavar="N", help="Slabs revealed at first.")] = 100,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Slabs revealed after each training.")] = 100,
    rounds: Annotated[int | None, typer.Option(min=0, metavar="N", help="Batches; else --until.")] = None,
    until: Annotated[
        float, typer.Option(metavar="X", help="Share of the pool that is revealed in the end.")
    ] = 0.5,
    preset: Annotated[str, typer.Option(metavar="NAME", help="As of mgsurf train.")] = "best",
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Of each training.")] = 20,
    members: MembersOption = 1,
    warm: Annotated[
        bool,
        typer.Option("--warm/--scratch", help="Start each training from the weights of the round before."),
    ] = True,
    study: StudyOptions,
) -> int:
    """Replay acquisition on slabs whose labels are known: error against slabs revealed, by strategy.

    The same command resumes if interrupted. Exit status 1 if a replay is running in another process.

    Example: [cyan]mgsurf simulate --strategy random --strategy diverse --seeds 3 --until 0.5[/cyan]
    """
    require_network()
    from model.selection import simulation
    from model.selection.simulation_plan import SimulationPlan
    from model.training.presets import find_preset
    from workflows.report.style import save
    from workflows.report.training_figures import simulation_figure

    folder = run_folder(study.output, Path("mgsurf_simulation"))
    find_preset(preset)
    plan = SimulationPlan(
        strategies=tuple(dict.fromkeys(strategy or ())) or SimulationPlan.strategies,
        seeds=tuple(range(seeds)),
        start=start,
        batch=batch,
        rounds=rounds,
        until=until,
        preset=preset,
        epochs=epochs,
        members=members,
        warm=warm,
    )
    with ProgressBar(study.quiet) as bar:
        lines, sizes, problems = simulation.simulate(study.slabs(), plan, folder, TrainingProgress(bar).step)
    reference = until * sizes["pool"]
    if rounds is not None and lines:
        reference = min(reference, max(line["slabs"] for line in lines))
    curves = {name: curve for name in plan.strategies if (curve := simulation.curve(lines, name))}
    saved = simulation.savings(lines, reference)
    result = {
        **sizes,
        "reference_slabs": reference,
        "seeds": seeds,
        "curves": curves,
        "savings": saved,
        "cpu_seconds": round(sum(line["cpu_seconds"] for line in lines), 1),
        "problems": problems,
    }
    text = json.dumps(result, indent=2)
    errors = [f"{target}_mae" for target in (lines[0]["mae"] if lines else ())]
    rows = [{**line, **{f"{target}_mae": mae for target, mae in line["mae"].items()}} for line in lines]
    header = ["strategy", "seed", "round", "slabs", "share", *errors, "score", "front", "cpu_seconds"]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "simulation.json").write_text(text + "\n", encoding="utf-8")
        with (folder / "simulation.csv").open("w", encoding="utf-8", newline="") as file:
            print_csv(rows, header, file)
        if curves:
            save(simulation_figure(curves, saved, reference), folder / "simulation.png")
    if study.as_json:
        print(text)
    else:
        _print(curves, saved, result)
        print(f"curves in {folder / 'simulation.png'}, {folder / 'simulation.csv'} and simulation.json")
    for problem in problems:
        print_note(problem)
    return 1 if problems else 0


def strategy_table(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], saved: Sequence[Mapping[str, Any]]
) -> Table:
    """Table of the errors of each strategy after its last round and of the slabs it saves."""
    from workflows.report.style import SYMBOLS
    from workflows.report.training_figures import significant, target_name, unit_of

    targets = [name for name in next(iter(curves.values()))[-1]["errors"] if name != "score"]
    errors = [
        f"MAE {SYMBOLS.get(t, target_name(t))}\n" + (f"({unit_of(t)})" if unit_of(t) else "") for t in targets
    ]
    headings = ("slabs", *errors, "error (σ)", "front\nfound", "slabs\nneeded", "ratio")
    table = Table(
        [
            Column("strategy"),
            *(Column(heading, right=True) for heading in headings),
            Column("of each seed", right=True, wrap=True),
        ]
    )
    for strategy, points in curves.items():
        last = points[-1]
        own = next((s for s in saved if (s["strategy"], s["error"]) == (strategy, "score")), None)
        front = last["front"]["mean"]
        table.add_row(
            strategy,
            str(last["slabs"]),
            *(significant(last["errors"][t]["mean"]) for t in targets),
            mean_and_spread(last["errors"]["score"], 3),
            "-" if front is None else f"{100 * front:.0f} %",
            *_saving(own),
        )
    return table


def _print(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    saved: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
) -> None:
    if not curves:
        return
    print_text(
        f"{result['pool']} slabs in the pool, {result['holdout']} of other compounds held out; "
        f"{pluralize(result['seeds'], 'seed')}; "
        f"{duration(result['cpu_seconds'])} of processor time"
    )
    print_table(strategy_table(curves, saved))
    if saved:
        mark = next(s["mark"] for s in saved if s["error"] == "score")
        print_text(
            f"random's error with {result['reference_slabs']:.0f} slabs: {mark:.3f} standard deviations of "
            "the hold-out's labels; ratio: slabs needed for it after the start set, over those of random"
        )
    else:
        print_text("no ratios: random has not been replayed that far, or no further than the start set")


def _saving(saving: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if saving is None:
        return "", "", ""
    each = ", ".join("never" if ratio is None else f"{ratio:.2f}" for ratio in saving["ratios"])
    if saving["slabs"] is None:
        return "never", "-", each
    return f"{saving['slabs']:.0f}", f"{saving['ratio']:.2f}", each
