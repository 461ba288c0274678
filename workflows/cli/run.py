"""`mgsurf run`: everything from the campaign file to the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from stores.errors import pluralize
from stores.method_names import is_dft
from workflows.cli.console import page, print_facts, print_table, print_text
from workflows.cli.options import CampaignFile, QuietOption, StoreOption
from workflows.cli.typer_app import COMPUTE, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobflow import Flow
    from rich.console import Console

    from workflows.execution.listener import Tally
    from workflows.flows.campaign.file import Campaign, CampaignStructure
    from workflows.flows.refresh import RefreshMaker
    from workflows.flows.surface import SurfaceMaker
    from workflows.structures.slabs import SymmetricSlab

REHEARSAL = "none from a rehearsal without DFT"
"""What `mgsurf run` reports in the place of what is missing for the next model."""


@app.command(rich_help_panel=COMPUTE)
def run(
    campaign: CampaignFile,
    store: StoreOption = None,
    ranks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="MPI ranks of each calculation.")
    ] = None,
    quiet: QuietOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be computed and stop.")] = False,
    retry_unconverged: Annotated[
        bool,
        typer.Option("--retry-unconverged", help="Run again what did not converge before (larger maxiter)."),
    ] = False,
) -> int:
    """Compute every facet of a campaign; the same command resumes if interrupted.

    Example: [cyan]mgsurf run quickstart.yaml[/cyan]
    """
    from workflows.cli.access import results_store
    from workflows.flows.campaign.file import runnable_structures
    from workflows.jobs.calculate import make_directory

    read = CampaignRun.of(campaign, store, ranks, retry_unconverged)
    console, maker = read.console, read.maker
    engine = maker.context.make_engine()
    structures, left_out = runnable_structures(read.settings, read.structures, engine)
    for line in left_out:
        print_text(line, console)
    if dry_run:
        return _print_plan(console, read.settings, maker, structures)
    read.check_programs(structures)
    make_directory(Path(maker.context.work_dir))
    with results_store(maker.context.store) as results:
        before, place_shown = results.count(), results.uri
    if not quiet:
        what, already = pluralize(len(structures), "compound"), pluralize(before, "surface")
        console.print(f"{read.settings.name}: {what}, engine {engine.method().fingerprint}")
        files = f"files in {maker.context.work_dir}"
        console.print(f"store {place_shown} ({already} so far), {files}", soft_wrap=True)
    return read.compute(lambda: campaign_flow(read.settings, maker, structures), quiet)


@dataclass(frozen=True)
class CampaignRun:
    """A campaign read for a run on this machine."""

    settings: Campaign
    structures: list[CampaignStructure]
    maker: SurfaceMaker
    console: Console = field(default_factory=page)
    start: float = field(default_factory=monotonic)

    @classmethod
    def of(
        cls,
        campaign: Path,
        store: str | None = None,
        ranks: int | None = None,
        retry_unconverged: bool = False,
    ) -> Self:
        """Read a campaign file; `store` and `ranks` override its own."""
        from stores.connections import resolve_store_uri
        from stores.settings_file import resolve_work_dir
        from workflows.flows.campaign.file import campaign_structures, load_campaign

        settings = load_campaign(campaign)
        structures = campaign_structures(settings)
        uri = resolve_store_uri(store, settings.store)
        work_dir = resolve_work_dir(campaign=settings.work_dir)
        return cls(settings, structures, surface_maker(settings, uri, work_dir, ranks, retry_unconverged))

    def check_programs(self, structures: list[CampaignStructure]) -> None:
        """Check what a plan does without: the engine's programs and licensed files, the force field."""
        from workflows.jobs.pre_relaxation import check_installed

        engine = self.maker.context.make_engine()
        if hasattr(engine, "check_machine"):
            engine.check_machine(sorted({s.specie.symbol for entry in structures for s in entry.structure}))
        check_installed(self.maker.slabs.pre_relaxation)

    def compute(self, make_flow: Callable[[], Flow], quiet: bool) -> int:
        """Run a flow, print table, picture and problems, and return the exit status."""
        return self.conclude(self.execute(make_flow, quiet))

    def execute(self, make_flow: Callable[[], Flow], quiet: bool) -> Tally:
        """Run a flow to its end, its problems included."""
        from stores.connections import open_job_store
        from stores.settings_file import resolve_ranks
        from workflows.engines.gpaw.process import logical_cores
        from workflows.execution.kept import kept_of_run
        from workflows.execution.listener import RunListener
        from workflows.execution.local import run_local
        from workflows.execution.notifications import Notifier
        from workflows.jobs.calculate import make_directory

        context = self.maker.context
        work_dir = Path(context.work_dir)
        make_directory(work_dir)
        job_store = open_job_store(context.store)
        listener = RunListener(
            self.console, work_dir, quiet, campaign=self.settings.name, store=context.store,
            cores=int(context.options.get("ranks") or resolve_ranks() or logical_cores()),
        )  # fmt: skip
        with Notifier(self.settings.notify, self.settings.name) as notifier:
            with listener:
                kept = kept_of_run(listener.tally, work_dir, context.make_engine())
                run_local(make_flow(), job_store, work_dir, listener.tally, kept)
            notifier.run_ended(listener.tally)
        return listener.tally

    def conclude(self, tally: Tally) -> int:
        """Print table, picture and problems of a run, and return its exit status."""
        context, seconds = self.maker.context, monotonic() - self.start
        return _conclude(self.console, self.settings, context.store, Path(context.work_dir), tally, seconds)


def surface_maker(
    settings: Campaign, uri: str, work_dir: Path, ranks: int | None = None, retry_unconverged: bool = False
) -> SurfaceMaker:
    """Build the maker that a campaign file describes."""
    from workflows.flows.surface import SurfaceMaker
    from workflows.jobs.context import RunContext

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
    """Build the flow of a campaign; on this machine it ends with a refresh if the file sets one."""
    from workflows.flows.campaign.flow import CampaignMaker

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


def _print_plan(
    console: Console, settings: Campaign, maker: SurfaceMaker, structures: list[CampaignStructure]
) -> int:
    """Print what would be computed and its cost, from the structures as they are before relaxation."""
    from workflows.cli.enumerate import cost_model, hours_text
    from workflows.execution.listener import RunListener
    from workflows.flows.enumeration.cost import Meshes, work_of_crystal

    slabs = []
    with RunListener(console, Path.cwd()):  # prints why facets give nothing
        for entry in structures:
            slabs += [(entry.label, slab) for slab in maker.cut(entry.structure, entry.facets)]
    print_table(plan_table(slabs), console)
    engine = maker.context.make_engine()
    model, meshes = (
        cost_model(settings, engine, maker.context.store),
        Meshes.of(engine.method(), maker.slabs.vacuum),
    )
    hours = sum(
        model.core_hours(work_of_crystal(entry.structure, maker.slabs, meshes, entry.facets))
        for entry in structures
    )
    number, compounds = pluralize(len(slabs), "slab"), pluralize(len(structures), "compound")
    cost = f"about {hours_text(hours)} core-hours from scratch"
    print_text(f"{number} of {compounds} (before relaxation), {cost}; nothing was computed", console)
    print_text(f"  {model.words()}", console)
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


def _conclude(
    console: Console, settings: Campaign, uri: str, work_dir: Path, tally: Tally, seconds: float
) -> int:
    """Print table, picture and problems; return the exit status of a run."""
    from stores.connections import open_store
    from workflows.cli.refresh import refresh_line
    from workflows.report.tables import surface_table

    with open_store(uri) as results:
        shown = results.uri
        found = {document["id"]: document for document in results.query({"id": {"$in": tally.records}})}
    documents = [found[i] for i in dict.fromkeys(tally.records) if i in found]
    facts = [("store", shown)]
    if documents:
        print_table(surface_table(documents, title=settings.name), console)
        facts.insert(0, ("picture", _draw(documents, settings.name, work_dir, tally)))
    rehearsed = bool(documents) and not any(is_dft(one["method_fingerprint"]) for one in documents)
    facts += [
        (
            "done",
            f"{pluralize(len(documents), 'surface')}; {pluralize(len(tally.computed), 'calculation')} run, "
            f"{len(tally.reused)} found in the store, {seconds / 60:.1f} min",
        ),
        ("model", REHEARSAL if rehearsed else refresh_line(uri, settings.refresh)),
    ]
    print_facts(facts, console)
    if tally.problems:
        count = pluralize(len(tally.problems), "problem")
        console.print(f"[red]{count}[/red] (details in {work_dir / 'mgsurf.log'}):", soft_wrap=True)
        for label, reason in tally.problems:
            print_text(f"  {label}: {reason}", console)
        console.print("The same command runs failed calculations again and reuses the others.")
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
