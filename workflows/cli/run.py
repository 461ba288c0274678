"""``mgsurf run CAMPAIGN.yaml``: everything from the campaign file to the table."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from stores.connections import open_job_store, open_store, parse_uri, resolve_store_uri
from stores.errors import pluralize
from stores.settings_file import resolve_work_dir
from workflows.cli.console import page, print_table, print_text
from workflows.cli.refresh import refresh_line
from workflows.execution.kept import kept_of_run
from workflows.execution.listener import RunListener, Tally
from workflows.execution.local import run_local
from workflows.flows.campaign.file import Campaign, campaign_structures, load_campaign, runnable_structures
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.surface import SurfaceMaker
from workflows.jobs.calculate import make_directory
from workflows.jobs.context import RunContext
from workflows.jobs.pre_relaxation import check_installed
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import Flow
    from rich.console import Console

    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.refresh import RefreshMaker
    from workflows.structures.slabs import SymmetricSlab


def run_campaign(
    campaign: Path,
    store: str | None = None,
    ranks: int | None = None,
    quiet: bool = False,
    dry_run: bool = False,
    retry_unconverged: bool = False,
) -> int:
    """Run a campaign on this machine; typed again it goes on where it was interrupted.

    Parameters
    ----------
    campaign
        The campaign file.
    store
        URI that overrides the campaign's.
    ranks
        MPI ranks that override the campaign's.
    quiet
        Print nothing but the final table and problems.
    dry_run
        List what would be computed and stop.
    retry_unconverged
        Run calculations again that did not converge before.

    Returns
    -------
    int
        Exit status: 0 if every calculation ended well, 1 if one failed or did not converge.

    Raises
    ------
    MgsurfError
        If campaign, structures, engine or store cannot be used.
    """
    start = monotonic()
    console = page()
    settings = load_campaign(campaign)
    structures = campaign_structures(settings)
    uri = resolve_store_uri(store, settings.store)
    work_dir = resolve_work_dir(campaign=settings.work_dir)
    maker = surface_maker(settings, uri, work_dir, ranks, retry_unconverged)
    engine = maker.context.make_engine()
    structures, left_out = runnable_structures(settings, structures, engine)
    for line in left_out:
        print_text(line, console)
    if dry_run:
        return _list(console, maker, structures)
    if hasattr(engine, "check_machine"):  # what a plan does without: programs and licensed files
        engine.check_machine(sorted({s.specie.symbol for entry in structures for s in entry.structure}))
    check_installed(maker.slabs.pre_relaxation)
    make_directory(work_dir)
    place = parse_uri(uri)
    if place.kind == "sqlite":
        make_directory(Path(place.target).parent)
    with open_store(uri) as results:
        before, place_shown = results.count(), results.uri
    if not quiet:
        what, already = pluralize(len(structures), "compound"), pluralize(before, "surface")
        console.print(f"{settings.name}: {what}, engine {engine.method().fingerprint}")
        console.print(f"store {place_shown} ({already} so far), files in {work_dir}", soft_wrap=True)
    job_store = open_job_store(uri)
    with RunListener(console, work_dir, quiet) as listener:
        flow = campaign_flow(settings, maker, structures)
        kept = kept_of_run(listener.tally, work_dir, engine)
        run_local(flow, job_store, work_dir, listener.tally, kept)
    return conclude(console, settings, uri, work_dir, listener.tally, monotonic() - start)


def surface_maker(
    settings: Campaign, uri: str, work_dir: Path, ranks: int | None = None, retry_unconverged: bool = False
) -> SurfaceMaker:
    """Build the maker that a campaign file describes."""
    options = dict(settings.engine.options)
    if ranks is not None:
        options["ranks"] = ranks
    return SurfaceMaker(
        context=RunContext(
            store=uri,
            work_dir=str(work_dir),
            engine=settings.engine.name,
            preset=settings.engine.preset,
            options=options,
            campaign=settings.name,
            retry_unconverged=retry_unconverged,
        ),
        thresholds=settings.verdicts,
        slabs=settings.slabs.settings(),
    )


def campaign_flow(settings: Campaign, maker: SurfaceMaker, structures: list[CampaignStructure]) -> Flow:
    """Build the flow of a campaign; on this machine it ends with a refresh if the campaign says so."""
    return CampaignMaker(maker, name=settings.name, refresh=_refresh_after(settings, maker)).make(
        [entry.structure for entry in structures],
        [entry.provenance.model_dump(mode="json") for entry in structures],
        [entry.facets for entry in structures],
    )


def _refresh_after(settings: Campaign, maker: SurfaceMaker) -> RefreshMaker | None:
    if not settings.refresh.after_campaign or maker.queue is not None:
        return None  # records of a queue come with mgsurf pull
    from workflows.flows.refresh import RefreshMaker, require_torch

    require_torch()
    return RefreshMaker(maker.context.store, maker.context.work_dir, settings.refresh)


def _list(console: Console, maker: SurfaceMaker, structures: list[CampaignStructure]) -> int:
    """Print what would be computed, from the structures as they are before relaxation."""
    slabs = []
    with RunListener(console, Path.cwd()):  # prints why facets give nothing
        for entry in structures:
            slabs += [(entry.label, slab) for slab in maker.cut(entry.structure, entry.facets)]
    print_table(plan_table(slabs), console)
    number, compounds = pluralize(len(slabs), "slab"), pluralize(len(structures), "compound")
    print_text(f"{number} of {compounds} (before relaxation); nothing was computed", console)
    return 0


def plan_table(slabs: Sequence[tuple[str, SymmetricSlab]]) -> Table:
    """Table of slabs that would be computed, with the compound of each."""
    from workflows.structures.naming import format_plane

    columns = [Column("compound", once=True), Column("facet"), Column("termination", short="term.")]
    table = Table([*columns, *(Column(name, right=True) for name in ("layers", "atoms", "thickness\nÅ"))])
    for label, slab in slabs:
        table.add_row(
            label,
            format_plane(slab.miller_index, slab.spacegroup_number),
            slab.termination_label,
            str(slab.n_layers),
            str(len(slab.structure)),
            f"{slab.thickness:.2f}",
        )
    return table


def conclude(
    console: Console, settings: Campaign, uri: str, work_dir: Path, tally: Tally, seconds: float
) -> int:
    """Print table, picture and problems."""
    from workflows.report.tables import surface_table

    with open_store(uri) as results:
        shown = results.uri
        found = {document["id"]: document for document in results.query({"id": {"$in": tally.records}})}
    documents = [found[i] for i in dict.fromkeys(tally.records) if i in found]
    if documents:
        print_table(surface_table(documents, title=settings.name), console)
        print_text(f"picture  {_draw(documents, settings.name, work_dir, tally)}", console)
    print_text(f"store    {shown}", console)
    print_text(
        f"{pluralize(len(documents), 'surface')}; {pluralize(len(tally.computed), 'calculation')} run, "
        f"{len(tally.reused)} found in the store, {seconds / 60:.1f} min",
        console,
    )
    print_text(f"model    {refresh_line(uri, settings.refresh)}", console)
    if tally.problems:
        count = f"{len(tally.problems)} problem{'s' if len(tally.problems) > 1 else ''}"
        console.print(f"[red]{count}[/red] (details in {work_dir / 'mgsurf.log'}):", soft_wrap=True)
        for label, reason in tally.problems:
            print_text(f"  {label}: {reason}", console)
        console.print("The same command tries failed calculations again and leaves the others alone.")
    return 1 if tally.problems else 0


def _draw(documents: list[dict[str, Any]], name: str, work_dir: Path, tally: Tally) -> str:
    """Draw the summary; a picture that cannot be made is a problem, and hides no other."""
    from workflows.report.style import save
    from workflows.report.summary_figure import summary_figure

    picture = work_dir / f"{name}.png"
    try:
        save(summary_figure(documents, title=name), picture)
    except Exception as error:  # noqa: BLE001 -- the results are stored; only their picture is missing
        tally.add_problem("picture", " ".join(f"{type(error).__name__}: {error}".split()))
        return "none"
    return str(picture)
