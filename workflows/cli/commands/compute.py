"""Commands that cut slabs and compute them on this machine, or take computed ones over.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stores.errors import InputError
from workflows.cli.options import (
    OUTPUT,
    CsvOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    QuietOption,
    StoreOption,
    SymprecOption,
    short_number,
)
from workflows.cli.typer_app import COMPUTE, app


class ScanKind(StrEnum):
    """What `mgsurf converge` can vary."""

    THICKNESS = "thickness"
    K_DENSITY = "k_density"
    CUTOFF = "cutoff"
    VACUUM = "vacuum"


def engine_options(texts: list[str]) -> dict[str, Any]:
    """Read settings of an engine.

    Parameters
    ----------
    texts
        Each ``KEY=VALUE``, the value read as YAML reads it: ``cutoff=340``, ``spin=true``, ``xc=PBE``.

    Returns
    -------
    dict
        Numbers, truth values, texts or None by their keys.

    Raises
    ------
    InputError
        If one has another form, is there twice, or its value is no single one.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(f"--option: {text[:60]!r} cannot be read; write KEY=VALUE, such as cutoff=340")
        if key in options:
            raise InputError(f"--option: {key} is there twice; keep one of them")
        options[key] = _yaml_scalar(key, value)
    return options


def _yaml_scalar(key: str, text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, OverflowError):
        value = {}
    if not isinstance(value, (str, bool, int, float, type(None))):
        raise InputError(
            f"--option: the value of {key} is no single number, truth value or text: {text[:60]!r}; "
            "settings of another form go into a campaign file"
        )
    return value


@app.command(rich_help_panel=COMPUTE)
def run(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")],
    store: StoreOption = None,
    ranks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="MPI ranks of each calculation.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be computed and stop.")] = False,
    retry_unconverged: Annotated[
        bool,
        typer.Option("--retry-unconverged", help="Run again what did not converge before (larger maxiter)."),
    ] = False,
) -> int:
    """Compute every facet of a campaign; the same command resumes if interrupted.

    Example: [cyan]mgsurf run quickstart.yaml[/cyan]
    """
    from workflows.cli.run import run_campaign

    return run_campaign(campaign, store, ranks, quiet, dry_run, retry_unconverged)


@app.command("enumerate", rich_help_panel=COMPUTE)
def enumerate_(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="A campaign file with sources.")],
    store: StoreOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Query the databases again, whatever the cache holds.")
    ] = False,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Oldest answer of a database to take from the cache: 12h, 7d."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Replace a lock file whose compounds have changed.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that count slabs; one per core.")
    ] = None,
    quiet: QuietOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="LOCK",
            help="Lock file to write instead of CAMPAIGN.lock.json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> int:
    """List the compounds of a campaign's sources with their estimated cost, and freeze them in a lock file.

    Exit status 1 if a source could not deliver everything.

    Examples: [cyan]mgsurf enumerate binaries.yaml[/cyan],
    [cyan]mgsurf enumerate binaries.yaml --refresh --update[/cyan]
    """
    from workflows.cli.enumerate import enumerate_compounds

    return enumerate_compounds(
        campaign,
        store=store,
        refresh=refresh,
        max_age=max_age,
        update=update,
        output=output,
        workers=workers,
        quiet=quiet,
        as_json=as_json,
        as_csv=as_csv,
    )


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
    max_index: Annotated[int, typer.Option(min=1, max=5, help="Largest Miller index.")] = 1,
    max_miller: Annotated[
        int | None, typer.Option(min=1, max=5, hidden=True, help="Former name of --max-index.")
    ] = None,
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
    symprec: SymprecOption = None,
    as_json: JsonOption = False,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each slab as POSCAR file into this folder.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> int:
    """List the symmetric slabs of a crystal, without any DFT.

    Examples: [cyan]mgsurf slabs Mg2Ni.cif --max-index 2[/cyan],
    [cyan]mgsurf slabs --prototype B2 --formula MgAg --write slabs/[/cyan]
    """
    from workflows.cli.slabs import list_slabs

    return list_slabs(
        structure,
        prototype=prototype,
        formula=formula,
        max_index=max_miller or max_index,
        miller=miller or [],
        min_thickness=min_thickness,
        vacuum=vacuum,
        layer_tolerance=layer_tolerance,
        max_terminations=max_terminations,
        max_atoms=max_atoms,
        symprec=symprec,
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
    symprec: SymprecOption = None,
    scan: Annotated[
        list[ScanKind] | None,
        typer.Option(
            metavar="NAME", help=f"What to vary: {', '.join(ScanKind)} (may be repeated); all by default."
        ),
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
        symprec=symprec,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be paired and stop.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Make records of finished VASP calculations; duplicates are skipped.

    Examples: [cyan]mgsurf ingest old_runs --dry-run[/cyan],
    [cyan]mgsurf ingest --pairs pairs.csv[/cyan]
    """
    from workflows.cli.ingest import ingest_folder

    return ingest_folder(directory, pairs, store, dry_run, as_json)
