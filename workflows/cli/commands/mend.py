"""Commands that set mgsurf up and report what is wrong.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from workflows.cli.options import (
    JsonOption,
    StoreOption,
)
from workflows.cli.typer_app import SETUP, app


@app.command("init-hpc", rich_help_panel=SETUP)
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
        typer.Option("--light-worker", help="Also a worker beside the queue, for lightweight jobs."),
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
    """Write the jobflow-remote project of a cluster; options that are missing are prompted for.

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


@app.command(rich_help_panel=SETUP)
def doctor(
    store: StoreOption = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Engine to look at; vasp also where it is set up.")
    ] = "gpaw",
    as_json: JsonOption = False,
) -> int:
    """Check engine, MPI, PAW setups, store and disk, and report how to fix each.

    Example: [cyan]mgsurf doctor[/cyan]
    """
    from workflows.cli.doctor import examine

    return examine(store, as_json, engine)
