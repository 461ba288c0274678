"""Commands that close the loop: snapshots of the records, models that were trained on them, what comes next.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
Panel: `workflows.cli.typer_app.LOOP`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.cli.options import (
    CsvOption,
    JsonOption,
    MembersOption,
    MethodOption,
    OutputOption,
    ProjectOption,
    QuietOption,
    StoreOption,
)
from workflows.cli.typer_app import LOOP, App, app

snapshot = App(no_args_is_help=True, rich_markup_mode="rich")
models = App(no_args_is_help=True, rich_markup_mode="rich")

app.add_typer(
    snapshot,
    name="snapshot",
    rich_help_panel=LOOP,
    help="Freeze training sets: the accepted values that models are trained on.\n\n"
    "Example: [cyan]mgsurf snapshot create[/cyan], then [cyan]mgsurf train --snapshot ID[/cyan]",
)
app.add_typer(
    models,
    name="models",
    rich_help_panel=LOOP,
    help="Register trained models, compare them, and choose the one in use.\n\n"
    "Example: [cyan]mgsurf models add mgsurf_model/[/cyan], then [cyan]mgsurf models promote v1[/cyan]",
)


SnapshotArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Of the snapshot; a beginning that fits one alone will do.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="v1, v2, ..., champion or latest.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the decision log.")]


@snapshot.command("create")
def snapshot_create(
    target: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this target (may be repeated).")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only labels of this method or source (may be repeated)."),
    ] = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="Targets that several methods computed: one of each.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Freeze a training set: accepted values and slabs of a store; equal content, equal id.

    Example: [cyan]mgsurf snapshot create --method vasp-production[/cyan]
    """
    from workflows.cli.snapshot import create

    return create(store=store, targets=target or [], methods=method or [], separate=separate, as_json=as_json)


@snapshot.command("list")
def snapshot_list(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the snapshots of a store and the models that were trained on them.

    Example: [cyan]mgsurf snapshot list[/cyan]
    """
    from workflows.cli.snapshot import list_all

    return list_all(store=store, as_json=as_json)


@snapshot.command("show")
def snapshot_show(name: SnapshotArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Show what a snapshot holds and what was added, removed or changed in the store since.

    Example: [cyan]mgsurf snapshot show 3fa9[/cyan]
    """
    from workflows.cli.snapshot import show

    return show(name, store=store, as_json=as_json)


@snapshot.command("diff")
def snapshot_diff(
    old: Annotated[str, typer.Argument(metavar="A", help="A snapshot, or the beginning of its id.")],
    new: Annotated[
        str, typer.Argument(metavar="[B]", help="Another; or now, the store as it is.", show_default=True)
    ] = "now",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare two snapshots: records added, removed and changed, with old and new values.

    Examples: [cyan]mgsurf snapshot diff 3fa9 b01c[/cyan], [cyan]mgsurf snapshot diff 3fa9 now[/cyan]
    """
    from workflows.cli.snapshot import diff

    return diff(old, new, store=store, as_json=as_json)


@models.command("add")
def models_add(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="As mgsurf train wrote it.", show_default=True)
    ] = Path("mgsurf_model"),
    judged_by: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Same settings and data, another split: its errors too (may be repeated)."
        ),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion at once.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="For its card.")] = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Register a trained model as a candidate: its card and its weights, in the store.

    Example: [cyan]mgsurf models add mgsurf_model/ --judged-by by_system/[/cyan]
    """
    from workflows.cli.models import add

    return add(folder, judged_by=judged_by or [], promote_it=promote, note=note, store=store, as_json=as_json)


@models.command("list")
def models_list(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the models of a store: state, snapshot, errors.

    Example: [cyan]mgsurf models list[/cyan]
    """
    from workflows.cli.models import list_all

    return list_all(store=store, as_json=as_json)


@models.command("show")
def models_show(
    name: ModelArgument = "champion", store: StoreOption = None, as_json: JsonOption = False
) -> int:
    """Show a model's card: data, settings, errors by split and element, weights, history.

    Example: [cyan]mgsurf models show v3[/cyan]
    """
    from workflows.cli.models import show

    return show(name, store=store, as_json=as_json)


@models.command("promote")
def models_promote(name: ModelArgument, reason: ReasonOption = "", store: StoreOption = None) -> int:
    """Make a model the champion, once its weights are known to be whole.

    Example: [cyan]mgsurf models promote v3 --reason "better on the hold-out"[/cyan]
    """
    from workflows.cli.models import promote

    return promote(name, reason=reason, store=store)


@models.command("rollback")
def models_rollback(reason: ReasonOption = "", store: StoreOption = None) -> int:
    """Go back to the champion before the present one.

    Example: [cyan]mgsurf models rollback --reason "wrong for Mg-La"[/cyan]
    """
    from workflows.cli.models import rollback

    return rollback(reason=reason, store=store)


@models.command("compare")
def models_compare(
    one: Annotated[str, typer.Argument(metavar="A", help="v1, v2, ..., champion or latest.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the errors of two models side by side, with their differences.

    Example: [cyan]mgsurf models compare champion latest[/cyan]
    """
    from workflows.cli.models import compare

    return compare(one, other, store=store, as_json=as_json)


@app.command(rich_help_panel=LOOP)
def simulate(
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
        typer.Option("--warm/--scratch", help="Begin each training with the weights of the round before."),
    ] = True,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Replay acquisition on slabs whose labels are known: error against slabs revealed, by strategy.

    The same command resumes if interrupted.

    Example: [cyan]mgsurf simulate --strategy random --strategy diverse --seeds 3 --until 0.5[/cyan]
    """
    from workflows.cli.simulate import run_simulation

    return run_simulation(
        strategies=strategy or [],
        seeds=seeds,
        start=start,
        batch=batch,
        rounds=rounds,
        until=until,
        preset=preset,
        epochs=epochs,
        members=members,
        warm=warm,
        store=store,
        method=method,
        output=output,
        quiet=quiet,
        as_json=as_json,
    )


@app.command(rich_help_panel=LOOP)
def suggest(
    campaign: Annotated[
        Path | None,
        typer.Argument(metavar="[CAMPAIGN.yaml]", help="Whose slabs; else all candidates of the store."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, metavar="N", help="How many slabs.")] = 20,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="random, uncertain, diverse (uncertain and far from all known) or improvement (of the best "
            "known).",
        ),
    ] = "diverse",
    maximise: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Of improvement; work_function unless either is given."),
    ] = None,
    minimise: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Of improvement; surface_energy unless either is given."),
    ] = None,
    per_cost: Annotated[bool, typer.Option("--per-cost", help="Rank by score per core-hour.")] = False,
    budget: Annotated[
        float | None, typer.Option(metavar="CORE_HOURS", help="Largest cost of all together.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Folder, champion, latest or v3; else MGSURF_MODEL, the champion, ./mgsurf_model.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of random.")] = 0,
    any_part: Annotated[
        bool,
        typer.Option("--any-part", help="Of uncertain and diverse: compounds that never train, too."),
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="Compute them here; resumes if interrupted.")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Hand them to a queue.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --run: leave an interrupted batch and choose a new one.")
    ] = False,
    project: ProjectOption = None,
    worker: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --submit: where; else the project's first.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that build graphs; all cores by default."),
    ] = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> int:
    """Choose the slabs that are worth computing next, by what the model expects of them; compute them.

    Examples: [cyan]mgsurf suggest campaign.yaml -n 20 --strategy improvement[/cyan],
    [cyan]mgsurf suggest campaign.yaml --per-cost --budget 200 --submit --project cluster[/cyan]
    """
    from workflows.cli.suggest import suggest as suggest_slabs

    return suggest_slabs(
        campaign,
        n=n,
        strategy=strategy,
        maximise=maximise or [],
        minimise=minimise or [],
        per_cost=per_cost,
        budget=budget,
        seed=seed,
        any_part=any_part,
        model=model,
        store_uri=store,
        workers=workers,
        quiet=quiet,
        as_json=as_json,
        as_csv=as_csv,
        run=run,
        submit=submit,
        fresh=fresh,
        project=project,
        worker=worker,
    )
