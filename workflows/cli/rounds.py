"""`mgsurf rounds`: learn, choose, compute, learn again, until a stopping criterion is met."""

from __future__ import annotations

from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from workflows.cli.access import existing_store, results_store
from workflows.cli.console import print_table, print_text
from workflows.cli.options import QuietOption, StoreOption
from workflows.cli.suggest import Acquisition
from workflows.cli.typer_app import LOOP, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.history import Round


@app.command(rich_help_panel=LOOP)
def rounds(
    *,
    campaign: Annotated[
        Path, typer.Argument(metavar="CAMPAIGN.yaml", help="Campaign file; its slabs are the candidates.")
    ],
    n_rounds: Annotated[
        int, typer.Option("--rounds", min=1, metavar="N", help="Rounds in all, those made before included.")
    ] = 5,
    batch: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Slabs of each round.")] = 20,
    acquisition: Acquisition,
    error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=X",
            help="Stop when the champion's mean absolute error on the hold-out is at most X.",
        ),
    ] = None,
    sigma: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=X", help="Stop when no candidate is more uncertain than X."),
    ] = None,
    slabs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most slabs of all rounds together.")
    ] = None,
    core_hours: Annotated[
        float | None, typer.Option(metavar="X", help="Most core-hours of all rounds, as estimated.")
    ] = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> int:
    """Learn, choose slabs, compute them here, learn again, until a stopping criterion is met.

    The same command resumes if interrupted. Exit status 1 if a calculation failed or did not converge.

    Examples: [cyan]mgsurf rounds campaign.yaml --rounds 5 -n 20[/cyan],
    [cyan]mgsurf rounds campaign.yaml --error work_function=0.1 --core-hours 500[/cyan]
    """
    from stores.learning.history import rounds_of
    from workflows.cli.run import CampaignRun
    from workflows.flows.active_learning import ActiveLearningMaker, StoppingRule
    from workflows.flows.refresh import RefreshMaker, require_torch

    stop = StoppingRule(n_rounds, _limits(error, "--error"), _limits(sigma, "--sigma"), slabs, core_hours)
    require_torch()
    read = CampaignRun.of(campaign, store)
    context = read.maker.context
    learning = RefreshMaker(context.store, context.work_dir, read.settings.refresh)
    flow = ActiveLearningMaker(read.maker, learning, batch, stop=stop, **acquisition.settings()).make(
        [entry.structure for entry in read.structures],
        [entry.provenance.model_dump(mode="json") for entry in read.structures],
        [entry.facets for entry in read.structures],
    )
    results_store(context.store).close()
    status = read.compute(lambda: flow, quiet)
    with existing_store(context.store) as opened:
        found = rounds_of(opened, read.settings.name)
    print_table(round_table(found), read.console)
    if len(found) >= n_rounds:
        made = pluralize(len(found), "round")
        print_text(f"{made} in all; --rounds with a larger number continues", read.console)
    return status


def _limits(given: list[str] | None, option: str) -> dict[str, float]:
    """Read limits such as work_function=0.1."""
    found = {}
    for text in given or ():
        name, _, number = text.partition("=")
        try:
            limit = found[name.strip()] = float(number)
        except ValueError:
            limit = nan
        if not isfinite(limit) or not name.strip():
            raise InputError(f"{option} {text}: write it as TARGET=NUMBER, such as work_function=0.1")
    return found


def round_table(rounds: Sequence[Round]) -> Table:
    """Table of the rounds of a campaign."""
    headings = ("round", "slabs", "core-hours")
    table = Table([*(Column(name, right=True) for name in headings), Column("chosen by", wrap=True)])
    for one in rounds:
        table.add_row(
            str(one.number),
            str(len(one.slabs)),
            f"{one.core_hours:.2g}",
            f"{one.model or 'no model'}, {one.strategy}{'' if one.done else ' (not finished)'}",
        )
    return table
