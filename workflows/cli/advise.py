"""`mgsurf ablate --advise`: which targets to learn together, and with which balancing of the losses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import (
    TrainingProgress,
    each_line_once,
    require_network,
    run_folder,
    writing,
)
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.cli.learning import StudyOptions

ADVICE = "Learn together or alone"


@dataclass(frozen=True)
class AdviceOptions:
    """Whether targets are learned together or alone, and how."""

    advise: Annotated[
        bool,
        typer.Option(
            "--advise",
            help="Compare learning each target alone with learning it together with others.",
            rich_help_panel=ADVICE,
        ),
    ] = False
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this balancing of the losses (may be repeated): equal, gradnorm, uncertainty, pcgrad, "
            "smoothing, gradnorm+smoothing, uncertainty+smoothing, pcgrad+smoothing; all by default.",
            rich_help_panel=ADVICE,
        ),
    ] = None

    def check_unused(self) -> None:
        """Refuse its options without --advise."""
        if self.strategy:
            raise InputError("--strategy belongs to --advise; add it, or leave --strategy out")


def advise(
    preset: str, seeds: int, shared: Mapping[str, Any], advice: AdviceOptions, study: StudyOptions
) -> int:
    """Train the targets of a preset alone and together; print tables and a verdict on each.

    `shared` are arguments of `RunSettings`. Returns 1 if a run failed or is running in another process.
    """
    require_network()
    from model.training.advice import STRATEGIES, AdviceData, AdvicePlan, angles, run_advice, unfinished
    from model.training.runs import RunSettings
    from model.training.verdicts import COLUMNS, flat_rows, options, reference_of, verdicts
    from workflows.report.advice import markdown, options_table, reason, shown_rows, verdict_table

    folder = run_folder(study.output, Path("mgsurf_advice"))
    plan = AdvicePlan(
        RunSettings(preset, **shared),
        tuple(range(seeds)),
        tuple(dict.fromkeys(advice.strategy or ())) or tuple(STRATEGIES),
    )
    with each_line_once(), ProgressBar(study.quiet) as bar:
        progress = TrainingProgress(bar)
        data = AdviceData.read(study.slabs(), plan.settings)
        trainings = plan.trainings(data)
        left = len(unfinished(trainings, folder))
        labels = ", ".join(f"{name} {data.labels(name):,}" for name in data.targets)
        finished = f" ({len(trainings) - left} finished)" if left < len(trainings) else ""
        if not study.quiet:
            print_note(f"{pluralize(len(trainings), 'training')}{finished}; labels: {labels}")
        results, problems = run_advice(data, plan, folder, progress.step)
    found, measured = options(results), angles(results)
    rows = [
        option.plain(reference)
        for option in found
        if (reference := reference_of(option, found)) is not None and option.val.keys() & reference.val.keys()
    ]
    judged = [verdict.plain() for verdict in verdicts(found, measured)]
    summary = {
        "preset": preset,
        "labels": {name: data.labels(name) for name in data.targets},
        "split": plan.settings.split,
        "options": rows,
        "verdicts": judged,
        "angles": [one.plain() for one in measured],
        "seconds": round(sum(run["seconds_in_all"] for _, run in results), 1),
        "problems": problems,
    }
    text = json.dumps(summary, indent=2)
    reasons = [reason(one) for one in judged]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "advice.json").write_text(text + "\n", encoding="utf-8")
        (folder / "advice.md").write_text(markdown(summary, reasons), encoding="utf-8")
        with (folder / "advice.csv").open("w", encoding="utf-8", newline="") as file:
            print_csv(flat_rows(results), COLUMNS, file)
        if rows:
            _draw(folder, summary)
    if study.as_json:
        print(text)
    else:
        print_table(options_table(shown_rows(rows)))
        print_text("")
        print_table(verdict_table(judged))
        for line in reasons:
            print_text(line)
        print_text(f"advice.md, advice.csv, advice.json and advice.png in {folder}")
    for problem in problems:
        print_note(problem)
    return 1 if problems else 0


def _draw(folder: Path, summary: Mapping[str, Any]) -> None:
    from workflows.report.advice_figure import advice_figure
    from workflows.report.style import save

    save(advice_figure(summary["options"], summary["verdicts"], summary["angles"]), folder / "advice.png")
