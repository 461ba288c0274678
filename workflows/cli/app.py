"""The command `mgsurf`: subcommands, and one clear line for everything that goes wrong.

Each command imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflows.cli.filters import SurfaceFilter
from workflows.cli.options import (
    OUTPUT,
    CampaignArgument,
    CsvOption,
    EpochsOption,
    ExportFormat,
    ImportFormat,
    JsonOption,
    MembersOption,
    MethodOption,
    OutputOption,
    OverwriteOption,
    PlotKind,
    PresetOption,
    ProjectOption,
    QuietOption,
    ScanKind,
    SeedOption,
    SplitOption,
    StoreOption,
    engine_options,
    short_number,
    with_filters,
)

if TYPE_CHECKING:
    from types import FrameType

COMPUTE = "Compute"
QUEUE = "Compute on a queue"
LOOK = "Look at results"
LEARN = "Learn and predict"
MEND = "Set up and mend"

app = typer.Typer(
    name="mgsurf",
    help="Surface energies and work functions of Mg intermetallics: from a chemical system to records.",
    epilog="Start with `mgsurf doctor`, then `mgsurf run CAMPAIGN.yaml`.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mgsurf {version('mgsurf')}")
        except PackageNotFoundError:
            print("mgsurf (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=COMPUTE)
def run(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")],
    store: StoreOption = None,
    ranks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="MPI ranks of each calculation.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed and stop.")] = False,
    retry_unconverged: Annotated[
        bool,
        typer.Option("--retry-unconverged", help="Run again what did not converge before (larger maxiter)."),
    ] = False,
) -> int:
    """Compute every facet of a campaign; the same command goes on after any interruption.

    Example: [cyan]mgsurf run quickstart.yaml[/cyan]
    """
    from workflows.cli.run import run_campaign

    return run_campaign(campaign, store, ranks, quiet, dry_run, retry_unconverged)


@app.command(rich_help_panel=COMPUTE)
def slabs(
    structure: Annotated[
        Path | None, typer.Argument(metavar="[STRUCTURE]", help="CIF or POSCAR file.")
    ] = None,
    prototype: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Strukturbericht symbol, with --formula: B2, C14.")
    ] = None,
    formula: Annotated[
        str | None,
        typer.Option(callback=short_number, help="With --prototype; or an element alone: MgAg, Mg."),
    ] = None,
    max_miller: Annotated[int, typer.Option(min=1, max=5, help="Largest Miller index.")] = 1,
    miller: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HKL",
            callback=short_number,
            help="Only this plane (may be repeated): 110, 10-1, '(10-10)'.",
        ),
    ] = None,
    min_thickness: Annotated[float, typer.Option(metavar="A", help="Least slab thickness (A).")] = 10.0,
    vacuum: Annotated[float, typer.Option(metavar="A", help="Between slab and image (A).")] = 15.0,
    layer_tolerance: Annotated[
        float, typer.Option(metavar="A", help="Planes closer than this are one layer (A).")
    ] = 0.1,
    max_terminations: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Per plane, the widest gaps first.")
    ] = None,
    max_atoms: Annotated[int, typer.Option(min=1, metavar="N", help="Refuse slabs with more atoms.")] = 200,
    as_json: JsonOption = False,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each slab as POSCAR file into this folder.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> int:
    """List the symmetric slabs of a crystal, without any DFT.

    Examples: [cyan]mgsurf slabs Mg2Ni.cif --max-miller 2[/cyan],
    [cyan]mgsurf slabs --prototype B2 --formula MgAg --write slabs/[/cyan]
    """
    from workflows.cli.slabs import list_slabs

    return list_slabs(
        structure,
        prototype=prototype,
        formula=formula,
        max_miller=max_miller,
        miller=miller or [],
        min_thickness=min_thickness,
        vacuum=vacuum,
        layer_tolerance=layer_tolerance,
        max_terminations=max_terminations,
        max_atoms=max_atoms,
        as_json=as_json,
        write=write,
        overwrite=overwrite,
    )


@app.command(rich_help_panel=COMPUTE)
def converge(
    structure: Annotated[
        Path | None, typer.Argument(metavar="[STRUCTURE]", help="CIF or POSCAR file.")
    ] = None,
    prototype: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Strukturbericht symbol, with --formula: B2, C14.")
    ] = None,
    formula: Annotated[
        str | None, typer.Option(callback=short_number, help="With --prototype; or an element alone.")
    ] = None,
    miller: Annotated[str, typer.Option(metavar="HKL", callback=short_number, help="The plane.")] = "001",
    termination: Annotated[int, typer.Option(min=0, help="Number of the termination.")] = 0,
    scan: Annotated[
        list[ScanKind] | None, typer.Option(help="What to vary (may be repeated); all by default.")
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="Engine.")] = "gpaw",
    preset: Annotated[str, typer.Option(metavar="NAME", help="Its preset: demo, production.")] = "demo",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Setting of the engine (may be repeated): cutoff=340, ranks=2."
        ),
    ] = None,
    store: StoreOption = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Raw files of the engine; else MGSURF_WORK_DIR, else ./mgsurf_runs."
        ),
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> int:
    """Vary slab thickness, k density, cut-off and vacuum of one facet: table and plot.

    Example: [cyan]mgsurf converge --formula Mg --miller 0001 --scan thickness[/cyan]
    """
    from workflows.cli.converge import converge as run_scans

    return run_scans(
        structure,
        prototype=prototype,
        formula=formula,
        miller=miller,
        termination=termination,
        scan=[kind.value for kind in scan or list(ScanKind)],
        engine=engine,
        preset=preset,
        options=engine_options(option or []),
        store=store,
        work_dir=work_dir,
        output=output,
        as_json=as_json,
    )


@app.command(rich_help_panel=COMPUTE)
def ingest(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIRECTORY]", help="Folder of finished VASP calculations.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV file with the columns bulk,slab and perhaps reference."),
    ] = None,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be paired and stop.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Make records of VASP calculations that were run by hand; reading them twice adds nothing.

    Examples: [cyan]mgsurf ingest old_runs --dry-run[/cyan],
    [cyan]mgsurf ingest --pairs pairs.csv[/cyan]
    """
    from workflows.cli.ingest import ingest_folder

    return ingest_folder(directory, pairs, store, dry_run, as_json)


@app.command("import", rich_help_panel=LEARN)
def import_(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder, slabs.json.gz, or a store.")],
    format: Annotated[ImportFormat, typer.Option(help="How it is laid out.")] = ImportFormat.AUTO,
    targets: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Columns of id_prop.csv: surface_energy,work_function."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Stands for the method; else the folder's name.")
    ] = None,
    relaxed: Annotated[bool, typer.Option("--relaxed", help="The slabs are relaxed, not as cut.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take over labelled slabs of others for training; reading them twice adds nothing.

    Examples: [cyan]mgsurf import dataset/[/cyan],
    [cyan]mgsurf import cgcnn_folder/ --targets cleavage_energy --source smith2020[/cyan]
    """
    from workflows.cli.import_slabs import import_labels

    return import_labels(
        path,
        format=format.value,
        targets=targets,
        source=source,
        relaxed=relaxed,
        store_uri=store,
        as_json=as_json,
    )


@app.command(rich_help_panel=QUEUE)
def submit(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")],
    project: ProjectOption = None,
    worker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Worker of the project; the first by default.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Submit once more what was submitted before.")
    ] = False,
    retry_unconverged: Annotated[
        bool,
        typer.Option("--retry-unconverged", help="The same, and run again what did not converge."),
    ] = False,
) -> int:
    """Hand a campaign to Slurm, PBS or SGE through jobflow-remote.

    Example: [cyan]mgsurf submit campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.submit import submit_campaign

    return submit_campaign(campaign, project, worker, again, retry_unconverged)


@app.command(rich_help_panel=QUEUE)
def pull(campaign: CampaignArgument = None, project: ProjectOption = None, store: StoreOption = None) -> int:
    """Bring finished records from the queue into the results store, as often as you like.

    Example: [cyan]mgsurf pull campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.remote import pull_records

    return pull_records(campaign, project, store)


@app.command(rich_help_panel=QUEUE)
def retry(
    campaign: CampaignArgument = None,
    project: ProjectOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Jobs that failed, or were rejected.")] = False,
) -> int:
    """Run failed jobs again; with a campaign file, asking for the resources it says now.

    Example: [cyan]mgsurf retry --failed --project cluster[/cyan]
    """
    from workflows.cli.remote import retry as retry_jobs

    if not failed:
        raise typer.BadParameter("say which jobs: --failed", param_hint="'--failed'")
    return retry_jobs(campaign, project)


@app.command(rich_help_panel=QUEUE)
def cancel(campaign: CampaignArgument = None, project: ProjectOption = None) -> int:
    """Cancel the jobs of a campaign that are not finished; results stay.

    Example: [cyan]mgsurf cancel campaign.yaml --project cluster[/cyan]
    """
    from workflows.cli.remote import cancel_campaign

    return cancel_campaign(campaign, project)


@app.command(rich_help_panel=LOOK)
def status(
    campaign: Annotated[
        Path | None, typer.Argument(metavar="[CAMPAIGN.yaml]", help="Only this campaign, and its store.")
    ] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> int:
    """Count what is done, running, failed and unconverged; with --project, of a campaign on a queue.

    Examples: [cyan]mgsurf status quickstart.yaml[/cyan],
    [cyan]mgsurf status campaign.yaml --project cluster[/cyan]
    """
    if project is not None:
        from workflows.cli.remote import show_remote_status

        return show_remote_status(campaign, project, as_json)
    from workflows.cli.status import show_status

    return show_status(campaign, store, as_json)


@app.command(rich_help_panel=LOOK)
@with_filters
def query(
    filters: SurfaceFilter,
    store: StoreOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> int:
    """Find facets and show their surface energies, work functions and verdicts.

    Examples: [cyan]mgsurf query --chemsys Mg-Ag --sort surface_energy[/cyan],
    [cyan]mgsurf query --miller 110 --min-work-function 4 --verdict accepted[/cyan],
    [cyan]mgsurf query --filter '{"n_atoms": {"$lt": 10}}' --json[/cyan]
    """
    from workflows.cli.query import show_surfaces

    return show_surfaces(filters, store, as_json, as_csv)


@app.command(rich_help_panel=LOOK)
@with_filters
def plot(
    kind: Annotated[PlotKind, typer.Argument(help="What to draw.")],
    filters: SurfaceFilter,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    store: StoreOption = None,
) -> int:
    """Draw planar potentials, surface energies, work functions or Wulff shapes (PNG, PDF or SVG).

    Examples: [cyan]mgsurf plot phase --formula MgAg -o phase.png[/cyan],
    [cyan]mgsurf plot potential --formula MgAg --miller 110[/cyan]
    """
    from workflows.cli.plot import draw

    return draw(kind.value, filters, output, overwrite, store)


@app.command(rich_help_panel=LOOK)
@with_filters
def export(
    format: Annotated[ExportFormat, typer.Argument(help="Format of the file or folder.")],
    filters: SurfaceFilter,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    relaxed: Annotated[
        bool,
        typer.Option("--relaxed", help="The relaxed slabs, not those as cut.", rich_help_panel=OUTPUT),
    ] = False,
    include_rejected: Annotated[
        bool,
        typer.Option(
            "--include-rejected", help="Also values whose verdict is not accepted.", rich_help_panel=OUTPUT
        ),
    ] = False,
    store: StoreOption = None,
) -> int:
    """Write surfaces for other programs: CSV, JSON lines, extended XYZ, ASE database, CGCNN folder.

    Examples: [cyan]mgsurf export csv -o surfaces.csv[/cyan],
    [cyan]mgsurf export cgcnn --verdict accepted -o dataset/[/cyan]
    """
    from workflows.cli.export import write_export

    return write_export(
        format.value,
        filters,
        output,
        overwrite=overwrite,
        relaxed=relaxed,
        include_rejected=include_rejected,
        store_uri=store,
    )


@app.command(rich_help_panel=LEARN)
def train(
    preset: PresetOption = "sem-cgcnn",
    split: SplitOption = "random",
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    members: MembersOption = 1,
    bagging: Annotated[
        bool, typer.Option("--bagging", help="Each member on slabs drawn with replacement.")
    ] = False,
    train_fraction: Annotated[
        float, typer.Option(metavar="X", help="Share of the training part that is used.")
    ] = 1.0,
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings that mgsurf tune found (best.json).")
    ] = None,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again where the folder holds a training.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train the network on the labelled slabs of a store; the same command goes on after an interruption.

    Examples: [cyan]mgsurf train --preset sem-cgcnn --split chemsys --seed 1[/cyan],
    [cyan]mgsurf train --preset best --members 5 --output model/[/cyan]
    """
    from workflows.cli.train import train_model

    return train_model(
        preset=preset,
        split=split,
        seed=seed,
        epochs=epochs,
        members=members,
        bagging=bagging,
        train_fraction=train_fraction,
        params=params,
        store=store,
        method=method,
        output=output,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )


@app.command(rich_help_panel=LEARN)
def ablate(
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this preset (may be repeated); all by default."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Seeds 0 to N - 1.")] = 5,
    split: SplitOption = "random",
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Cross-validation by --split with N folds; 0: none.")
    ] = 0,
    epochs: EpochsOption = None,
    members: MembersOption = 1,
    train_fraction: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="Share of the training part (repeat it for a learning curve)."),
    ] = None,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train all presets with several seeds: the paper's Table 1 beside ours. Finished runs are kept.

    Examples: [cyan]mgsurf ablate --seeds 5[/cyan],
    [cyan]mgsurf ablate --preset sem-cgcnn --preset best --split chemsys --folds 5 --seeds 1[/cyan]
    """
    from workflows.cli.ablate import run_ablation

    return run_ablation(
        presets=preset or [],
        seeds=seeds,
        split=split,
        folds=folds,
        epochs=epochs,
        members=members,
        fractions=train_fraction or [],
        store=store,
        method=method,
        output=output,
        quiet=quiet,
        as_json=as_json,
    )


@app.command(rich_help_panel=LEARN)
def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SLABS]...", help="Slab files, folders of them, or a store."),
    ] = None,
    bulk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A crystal; all its symmetric slabs are cut first.")
    ] = None,
    prototype: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Instead of --bulk, with --formula: B2, C14.")
    ] = None,
    formula: Annotated[
        str | None,
        typer.Option(callback=short_number, help="With --prototype; or an element alone: MgAg, Mg."),
    ] = None,
    max_index: Annotated[int, typer.Option(min=1, max=5, help="Largest Miller index of the cut.")] = 1,
    min_thickness: Annotated[
        float, typer.Option(metavar="A", help="Least thickness of slabs that are cut (A).")
    ] = 10.0,
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="As mgsurf train wrote it; else MGSURF_MODEL, else ./mgsurf_model."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes, for many slabs; all cores by default.")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> int:
    """Predict surface energies and work functions of slabs, with their uncertainty and warnings.

    Examples: [cyan]mgsurf predict slabs/ --csv[/cyan],
    [cyan]mgsurf predict --bulk MgZn2.cif --max-index 1[/cyan]
    """
    from workflows.cli.predict import predict as predict_slabs

    return predict_slabs(
        inputs or [],
        bulk=bulk,
        prototype=prototype,
        formula=formula,
        max_index=max_index,
        min_thickness=min_thickness,
        model=model,
        workers=workers,
        quiet=quiet,
        as_json=as_json,
        as_csv=as_csv,
    )


@app.command(rich_help_panel=LEARN)
def tune(
    preset: PresetOption = "sem-cgcnn",
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="Those of earlier calls count.")] = 200,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1,
    split: SplitOption = "random",
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Search for better settings of a preset on validation data; the same command goes on after a kill.

    Example: [cyan]mgsurf tune --preset best --trials 200 --workers 2 --epochs 60[/cyan]
    """
    from workflows.cli.tune import tune_preset

    return tune_preset(
        preset=preset,
        trials=trials,
        workers=workers,
        split=split,
        seed=seed,
        epochs=epochs,
        store=store,
        method=method,
        output=output,
        quiet=quiet,
        as_json=as_json,
    )


@app.command("init-hpc", rich_help_panel=MEND)
def init_hpc(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the project.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="NAME", help="slurm, pbs or sge.")] = None,
    work_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="For jobs; on a file system that the nodes share.")
    ] = None,
    mongodb: Annotated[str | None, typer.Option(metavar="URI", help="Database of the jobs.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Where the queue is reached by ssh; this machine by default.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Name on that host.")] = None,
    worker: Annotated[str, typer.Option(metavar="NAME", help="Name of the worker.")] = "queue",
    light_worker: Annotated[
        bool,
        typer.Option("--light-worker", help="Also a worker beside the queue, for jobs that compute nothing."),
    ] = False,
    prepare: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="Before each job (may be repeated); makes mgsurf available."),
    ] = None,
    poll: Annotated[
        float, typer.Option(min=1, max=3600, help="How often the queue is looked at (s).")
    ] = 30.0,
    partition: Annotated[str | None, typer.Option(help="Partition or queue of jobs.")] = None,
    account: Annotated[str | None, typer.Option(help="Charged account.")] = None,
    qos: Annotated[str | None, typer.Option(help="Quality of service (Slurm).")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes of a job.")] = None,
    tasks_per_node: Annotated[int | None, typer.Option(min=1, help="MPI ranks on each node.")] = None,
    cpus_per_task: Annotated[int | None, typer.Option(min=1, help="Cores of each rank.")] = None,
    walltime: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of a job: 12h, 30min, 1-12:00:00.")
    ] = None,
    parallel_environment: Annotated[str | None, typer.Option(metavar="NAME", help="SGE only.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a project of this name.")] = False,
) -> int:
    """Write the jobflow-remote project of a cluster; what no option says is asked for.

    Example: [cyan]mgsurf init-hpc cluster --scheduler slurm --work-dir /scratch/me/mgsurf
    --mongodb mongodb://localhost/cluster --partition standard --tasks-per-node 32 --walltime 12h[/cyan]
    """
    from workflows.cli.init_hpc import init_hpc as write

    return write(
        name,
        scheduler=scheduler,
        work_dir=work_dir,
        mongodb=mongodb,
        host=host,
        user=user,
        worker=worker,
        light=light_worker,
        prepare=prepare or [],
        poll=poll,
        force=force,
        resources={
            "partition": partition,
            "account": account,
            "qos": qos,
            "nodes": nodes,
            "tasks_per_node": tasks_per_node,
            "cpus_per_task": cpus_per_task,
            "walltime": walltime,
            "parallel_environment": parallel_environment,
        },
    )


@app.command(rich_help_panel=MEND)
def doctor(
    store: StoreOption = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Engine to look at; vasp also where it is set up.")
    ] = "gpaw",
    as_json: JsonOption = False,
) -> int:
    """Check engine, MPI, PAW setups, store and disk, and say how to mend each.

    Example: [cyan]mgsurf doctor[/cyan]
    """
    from workflows.cli.doctor import examine

    return examine(store, as_json, engine)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    arguments
        Instead of those of the process.
    """
    # Imported before anything can go wrong: an error must not need an import to be told.
    from workflows.cli.errors import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, report

    for stream in (sys.stdout, sys.stderr):
        # a locale without γ or Å loses these letters, not the whole table
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if os.environ.get("MGSURF_DEBUG") != "1":
        _hush()
    interrupted: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        # noted, because a compiled module that is being loaded turns the exception into an ImportError
        interrupted.append(signum)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    code = 0
    try:
        result = app(args=arguments, prog_name="mgsurf", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        if code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this status without a word
            report(KeyboardInterrupt())
        sys.stdout.flush()
    except SystemExit as error:
        # typer leaves so when the reader of a pipe is gone
        closed = isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE
        code = EXIT_BROKEN_PIPE if closed else error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 -- no traceback ever reaches the user
        code = report(KeyboardInterrupt() if interrupted else error)
    _leave(code)


def _hush() -> None:
    """Show our own warnings as lines; those of other libraries are about their own affairs."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    ours = logging.StreamHandler()
    ours.setLevel(logging.WARNING)
    ours.setFormatter(logging.Formatter("mgsurf: %(message)s"))
    for package in ("stores", "model", "workflows"):
        logging.getLogger(package).addHandler(ours)


def _leave(code: int) -> None:
    # a second Ctrl-C while Python tidies up would print a traceback
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # the reader is gone or the disk is full, which has been said; Python would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code == 130:
        # Python would end itself by the signal, without our status, if code that a compiled module ran
        # was what the signal hit
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
