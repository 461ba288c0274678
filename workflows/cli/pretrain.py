"""`mgsurf pretrain`: a model from public data, which `mgsurf train --from pretrained:NAME` starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import duration, pluralize
from workflows.cli.console import print_note, print_table, print_text
from workflows.cli.learning import (
    TrainingProgress,
    classes_table,
    errors_table,
    labelled_slabs,
    require_network,
    run_folder,
)
from workflows.cli.options import JsonOption, OutputOption, QuietOption, StoreOption
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.model_card import ModelCard


@app.command(rich_help_panel=LEARN)
def pretrain(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yaml", help="Name, data sets, settings: examples/pretrained.yaml.")
    ],
    store: StoreOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Import, count the labels and estimate the time only.")
    ] = False,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train one network on several properties of public data, and register it to start others from.

    Imports the files that FILE.yaml names into the store, trains a head for each target, and registers the
    model there with its card. The same command resumes if interrupted.

    Examples: [cyan]mgsurf pretrain examples/pretrained.yaml[/cyan], then
    [cyan]mgsurf train --preset best --from pretrained:metals-and-crystals[/cyan]
    """
    require_network()
    from model.promotion.registration import facts_of_run, weight_files
    from stores.connections import open_store, resolve_store_uri
    from stores.learning.registry import ModelRegistry
    from workflows.flows.learning import pretraining

    settings = pretraining.load_pretraining(file)
    folder = run_folder(output, Path("mgsurf_pretrained") / settings.name)
    uri = resolve_store_uri(store)
    with ProgressBar(quiet) as bar:
        methods, imported = pretraining.import_data(
            settings, uri, lambda number, total, name: bar.show("importing", number, total or None, name)
        )
        for one in imported:
            for line in one.notes:
                print_note(f"{one.source}: {line}")
            if one.problems:
                left_out = pluralize(len(one.problems), "line")
                print_note(f"{one.source}: {left_out} left out; the first: {one.problems[0]}")
        progress = TrainingProgress(bar)
        data = pretraining.read_labels(settings, methods, lambda method: labelled_slabs([uri], method))
        seconds = pretraining.seconds_of(settings, data)
        labels = [len(data.training_labels(name, settings.seed)) for name in settings.data]
        counts = ", ".join(
            f"{min(n, settings.labels or n)} of {name}" for n, name in zip(labels, settings.data, strict=True)
        )
        print_note(
            f"pre-training {settings.name}: training labels {counts}; about {duration(seconds)} of one core"
        )
        if dry_run:
            return 0
        run, result = pretraining.pretrain(settings, data, folder, progress.member(1))
    facts = pretraining.with_sources(facts_of_run(run), settings, data, methods)
    with open_store(uri) as opened:
        card, new = ModelRegistry(opened).add(facts, weight_files(run))
    if as_json:
        print(json.dumps({**card.model_dump(mode="json"), "new": new, "output": str(run)}, indent=2))
        return 0
    print_table(sources_table(card))
    if result["metrics"]:
        print_table(errors_table(result["metrics"], "target", result.get("noun", "slab")))
    if result.get("classes"):
        print_table(classes_table(result["classes"], result.get("noun", "slab")))
    known = "" if new else ", which had it already"
    print_text(
        f"{card.name} in {uri}{known}: start from it with mgsurf train --from pretrained:{settings.name}"
    )
    return 0


def sources_table(card: ModelCard) -> Table:
    """Table of the labels that a pre-trained model learned from."""
    table = Table(
        [
            Column("data set"),
            Column("target", wrap=True),
            Column("kind"),
            *(Column(name, right=True) for name in ("training", "validation", "test", "elements")),
            Column("origin", wrap=True),
        ]
    )
    for one in card.label_sources:
        counts: Sequence[Any] = [one.labels.get(part, 0) for part in ("train", "val", "test")]
        table.add_row(
            one.name, one.target, one.kind, *(str(n) for n in (*counts, len(one.elements))), one.origin or "-"
        )
    return table
