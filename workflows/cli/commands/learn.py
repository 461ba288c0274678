"""Commands that train the network and predict with it.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.cli.options import (
    CsvOption,
    EpochsOption,
    ImportFormat,
    JsonOption,
    MembersOption,
    MethodOption,
    OutputOption,
    PresetOption,
    QuietOption,
    SeedOption,
    SplitOption,
    StoreOption,
    SymprecOption,
    TwinsOption,
    short_number,
)
from workflows.cli.typer_app import LEARN, app

TRANSFER = "Transfer"


@app.command("import", rich_help_panel=LEARN)
def import_(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder, slabs.json.gz, or a store.")],
    format: Annotated[ImportFormat, typer.Option(help="Format of the data.")] = ImportFormat.AUTO,
    targets: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Columns of id_prop.csv: surface_energy,work_function."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Stands for the method; else the folder's name.")
    ] = None,
    relaxed: Annotated[bool, typer.Option("--relaxed", help="The slabs are relaxed, not as cut.")] = False,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="TARGET=UNIT",
            help="Unit of the values, converted to eV/A^2 and eV: surface_energy=J/m2, work_function=meV "
            "(may be repeated).",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import external labelled slabs for training; duplicates are skipped.

    Examples: [cyan]mgsurf import dataset/[/cyan],
    [cyan]mgsurf import cgcnn_folder/ --targets cleavage_energy --source smith2020[/cyan],
    [cyan]mgsurf import folder/ --targets surface_energy --unit surface_energy=J/m2[/cyan]
    """
    from workflows.cli.import_slabs import import_labels

    return import_labels(
        path,
        format=format.value,
        targets=targets,
        source=source,
        relaxed=relaxed,
        units=unit or [],
        store_uri=store,
        as_json=as_json,
    )


FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="MODEL", help="Begin with this trained model (folder).", rich_help_panel=TRANSFER
    ),
]
FreezeOption = Annotated[
    str | None,
    typer.Option(
        metavar="PART",
        help="Keep as it is: embedding, convolutions (with the embedding) or none.",
        rich_help_panel=TRANSFER,
    ),
]
ResetHeadsOption = Annotated[
    bool,
    typer.Option("--reset-heads", help="Reinitialise all output heads.", rich_help_panel=TRANSFER),
]


@app.command(rich_help_panel=LEARN)
def train(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="stl-surface-energy, stl-work-function, mtl, gradnorm, surface, sem-cgcnn (the paper) or "
            "best; else that of --from, else sem-cgcnn.",
        ),
    ] = None,
    split: SplitOption = "random",
    twins: TwinsOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    members: MembersOption = 1,
    bagging: Annotated[
        bool, typer.Option("--bagging", help="Each member on slabs drawn with replacement.")
    ] = False,
    train_fraction: Annotated[
        float, typer.Option(metavar="X", help="Share of the training set that is used.")
    ] = 1.0,
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings that mgsurf tune found (best.json).")
    ] = None,
    start: FromOption = None,
    freeze: FreezeOption = None,
    reset_heads: ResetHeadsOption = False,
    targets: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Instead of the preset's: surface_energy,cleavage_energy."),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            metavar="URI",
            help="As everywhere; repeat it to train on several stores, with different targets, at once.",
        ),
    ] = None,
    method: MethodOption = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="A head for each method that a target was computed by.")
    ] = False,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="On this snapshot instead of the store as it is; its first digits do."
        ),
    ] = None,
    output: OutputOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again where the folder holds a training.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train the network on the labelled slabs of a store; the same command resumes if interrupted.

    Examples: [cyan]mgsurf train --preset sem-cgcnn --split chemsys --seed 1[/cyan],
    [cyan]mgsurf train --preset best --members 5 --output model/[/cyan],
    [cyan]mgsurf train --from model/ --freeze embedding --store metals.sqlite --output tuned/[/cyan]
    """
    from workflows.cli.train import train_model

    return train_model(
        preset=preset,
        split=split,
        twins=twins.value if twins is not None else "",
        seed=seed,
        epochs=epochs,
        members=members,
        bagging=bagging,
        train_fraction=train_fraction,
        params=params,
        start=start,
        freeze=freeze,
        reset_heads=reset_heads,
        targets=targets,
        store=store or [],
        method=method,
        separate=separate,
        snapshot=snapshot,
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
    twins: TwinsOption = None,
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Cross-validation by --split with N folds; 0: none.")
    ] = 0,
    epochs: EpochsOption = None,
    members: MembersOption = 1,
    train_fraction: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="Share of the training set (repeat it for a learning curve)."),
    ] = None,
    start: FromOption = None,
    freeze: FreezeOption = None,
    reset_heads: ResetHeadsOption = False,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train all presets with several seeds: the paper's Table 1 beside ours. Finished runs are kept.

    With --from each run is done twice, from scratch and fine-tuned: learning curves of transfer.

    Examples: [cyan]mgsurf ablate --seeds 5[/cyan],
    [cyan]mgsurf ablate --preset sem-cgcnn --preset best --split chemsys --folds 5 --seeds 1[/cyan],
    [cyan]mgsurf ablate --from model/ --train-fraction 0.2 --train-fraction 1 --store metals.sqlite[/cyan]
    """
    from workflows.cli.ablate import run_ablation

    return run_ablation(
        presets=preset or [],
        seeds=seeds,
        split=split,
        twins=twins.value if twins is not None else "",
        folds=folds,
        epochs=epochs,
        members=members,
        fractions=train_fraction or [],
        start=start,
        freeze=freeze,
        reset_heads=reset_heads,
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
    symprec: SymprecOption = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="As mgsurf train wrote it; or champion, v3, ... of --store. "
            "Else MGSURF_MODEL, else ./mgsurf_model.",
        ),
    ] = None,
    store: StoreOption = None,
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
        symprec=symprec,
        model=model,
        store=store,
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
    twins: TwinsOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    store: StoreOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Search for better settings of a preset on validation data; the same command resumes if interrupted.

    Example: [cyan]mgsurf tune --preset best --trials 200 --workers 2 --epochs 60[/cyan]
    """
    from workflows.cli.tune import tune_preset

    return tune_preset(
        preset=preset,
        trials=trials,
        workers=workers,
        split=split,
        twins=twins.value if twins is not None else "",
        seed=seed,
        epochs=epochs,
        store=store,
        method=method,
        output=output,
        quiet=quiet,
        as_json=as_json,
    )
