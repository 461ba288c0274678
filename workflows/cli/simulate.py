"""`mgsurf simulate`: replay acquisition on slabs whose labels are known."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, StoreError, duration
from workflows.cli.console import print_table, print_text
from workflows.cli.learning import TrainingProgress, labelled_slabs, require_network
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_FOLDER = Path("mgsurf_simulation")


def run_simulation(
    *,
    strategies: list[str],
    seeds: int,
    start: int,
    batch: int,
    rounds: int | None,
    until: float,
    preset: str,
    epochs: int,
    members: int,
    warm: bool,
    store: str | None,
    method: str | None,
    output: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Replay what is missing, print the table, and write it as CSV, JSON and a figure.

    Returns
    -------
    int
        Exit status: 1 if a replay is in work elsewhere.
    """
    require_network()
    from model.selection.simulation import curve, savings, simulate
    from model.selection.simulation_plan import SimulationPlan
    from model.training.presets import find_preset

    folder = output or DEFAULT_FOLDER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --output takes a folder")
    find_preset(preset)
    plan = SimulationPlan(
        strategies=tuple(dict.fromkeys(strategies)) or SimulationPlan.strategies,
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
    with ProgressBar(quiet) as bar:
        lines, sizes, problems = simulate(
            labelled_slabs(store, method), plan, folder, TrainingProgress(bar).step
        )
    reference = until * sizes["pool"]
    if rounds is not None and lines:
        reference = min(reference, max(line["slabs"] for line in lines))
    curves = {name: curve(lines, name) for name in plan.strategies if curve(lines, name)}
    saved = savings(lines, reference)
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
    _write(folder, text, lines, curves, saved, reference)
    if as_json:
        print(text)
    else:
        _print(curves, saved, result)
        print(f"curves in {folder / 'simulation.png'}, {folder / 'simulation.csv'} and simulation.json")
    for problem in problems:
        print(f"mgsurf: {problem}", file=sys.stderr)
    return 1 if problems else 0


def as_csv(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per strategy, seed and round."""
    targets = list(rounds[0]["mae"]) if rounds else []
    heads = ["strategy", "seed", "round", "slabs", "share", *(f"{t}_mae" for t in targets)]
    heads += ["score", "front", "cpu_seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for line in rounds:
        values = [line[name] for name in ("strategy", "seed", "round", "slabs", "share")]
        values += [line["mae"][target] for target in targets]
        writer.writerow([*values, line["score"], line["front"], line["cpu_seconds"]])
    return text.getvalue()


def _write(
    folder: Path,
    text: str,
    rounds: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    saved: Sequence[Mapping[str, Any]],
    reference: float,
) -> None:
    from workflows.report.style import save
    from workflows.report.training_figures import simulation_figure

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "simulation.json").write_text(text + "\n", encoding="utf-8")
        (folder / "simulation.csv").write_text(as_csv(rounds), encoding="utf-8")
        if curves:
            save(simulation_figure(curves, saved, reference), folder / "simulation.png")
    except OSError as error:
        raise StoreError(
            f"{folder}: the curves cannot be written ({error}); free space and repeat"
        ) from error


def strategy_table(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], saved: Sequence[Mapping[str, Any]]
) -> Table:
    """Table of the errors of each strategy after its last round and of the slabs it saves."""
    from workflows.report.training_figures import significant, target_name, unit_of

    targets = [name for name in next(iter(curves.values()))[-1]["errors"] if name != "score"]
    symbols = {"surface_energy": "γ", "work_function": "Φ"}
    errors = [
        f"MAE {symbols.get(t, target_name(t))}\n" + (f"({unit_of(t)})" if unit_of(t) else "") for t in targets
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
            _spread(last["errors"]["score"]),
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
        f"{result['seeds']} seed{'s' if result['seeds'] > 1 else ''}; "
        f"{duration(result['cpu_seconds'])} of processor time"
    )
    print_table(strategy_table(curves, saved))
    if saved:
        mark = next(s["mark"] for s in saved if s["error"] == "score")
        print_text(
            f"random's error with {result['reference_slabs']:.0f} slabs: {mark:.3f} standard deviations of "
            "the hold-out's labels; ratio: slabs needed for it after the start set, over those of random",
        )
    else:
        print_text("no ratios: random has not been replayed that far, or no further than the start set")


def _spread(value: Mapping[str, float | None]) -> str:
    mean = f"{value['mean']:.3f}"
    return mean if value["spread"] is None else f"{mean} ± {value['spread']:.3f}"


def _saving(saving: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if saving is None:
        return "", "", ""
    each = ", ".join("never" if ratio is None else f"{ratio:.2f}" for ratio in saving["ratios"])
    if saving["slabs"] is None:
        return "never", "-", each
    return f"{saving['slabs']:.0f}", f"{saving['ratio']:.2f}", each
