"""`mgsurf rounds`: learn, choose, compute, learn again, until a stopping criterion is met."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from stores.connections import open_job_store, open_store, parse_uri, resolve_store_uri
from stores.errors import InputError, pluralize
from stores.settings_file import resolve_work_dir
from workflows.cli.console import page, print_table, print_text
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from stores.learning.history import Round
    from workflows.flows.active_learning import StoppingRule


def run_rounds(
    campaign: Path,
    *,
    store: str | None,
    batch: int,
    strategy: str,
    maximise: list[str],
    minimise: list[str],
    per_cost: bool,
    rounds: int,
    errors: list[str],
    sigmas: list[str],
    slabs: int | None,
    core_hours: float | None,
    quiet: bool,
) -> int:
    """Run rounds of active learning on a campaign; typed again they go on where they were interrupted.

    Returns
    -------
    int
        Exit status: 0 if every calculation ended well, 1 if one failed or did not converge.
    """
    from workflows.cli.run import conclude, surface_maker
    from workflows.execution.kept import kept_of_run
    from workflows.execution.listener import RunListener
    from workflows.execution.local import run_local
    from workflows.flows.active_learning import ActiveLearningMaker, StoppingRule
    from workflows.flows.campaign.file import campaign_structures, load_campaign
    from workflows.flows.refresh import RefreshMaker, require_torch
    from workflows.jobs.calculate import make_directory

    start = monotonic()
    stop = StoppingRule(rounds, _limits(errors, "--error"), _limits(sigmas, "--sigma"), slabs, core_hours)
    require_torch()
    settings = load_campaign(campaign)
    structures = campaign_structures(settings)
    uri = resolve_store_uri(store, settings.store)
    work_dir = resolve_work_dir(campaign=settings.work_dir)
    maker = surface_maker(settings, uri, work_dir)
    flow = ActiveLearningMaker(
        maker,
        RefreshMaker(uri, str(work_dir), settings.refresh),
        batch,
        strategy,
        tuple(maximise),
        tuple(minimise),
        per_cost,
        stop,
    ).make(
        [entry.structure for entry in structures],
        [entry.provenance.model_dump(mode="json") for entry in structures],
        [entry.facets for entry in structures],
    )
    make_directory(work_dir)
    if parse_uri(uri).kind == "sqlite":
        make_directory(Path(parse_uri(uri).target).parent)
    console = page()
    job_store = open_job_store(uri)
    with RunListener(console, work_dir, quiet) as listener:
        kept = kept_of_run(listener.tally, work_dir, maker.context.make_engine())
        run_local(flow, job_store, work_dir, listener.tally, kept)
    status = conclude(console, settings, uri, work_dir, listener.tally, monotonic() - start)
    _print_rounds(console, uri, settings.name, stop)
    return status


def _limits(given: list[str], option: str) -> dict[str, float]:
    """Read limits such as work_function=0.1."""
    found = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
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


def _print_rounds(console: Console, uri: str, campaign: str, stop: StoppingRule) -> None:
    from stores.learning.history import rounds_of

    with open_store(uri, must_exist=True) as store:
        found = rounds_of(store, campaign)
    print_table(round_table(found), console)
    if len(found) >= stop.rounds:
        print_text(
            f"{pluralize(len(found), 'round')} in all; --rounds with a larger number continues", console
        )
