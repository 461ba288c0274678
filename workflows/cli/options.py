"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stores.errors import InputError
from workflows.cli.filters import SurfaceFilter
from workflows.structures.tolerances import MAX_SYMPREC, SYMPREC

FILTERS = "Filters"
OUTPUT = "Output"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="sqlite:///PATH, mongodb://..., memory:// or a file name. "
        "Else the campaign's, else MGSURF_STORE, else ./mgsurf.sqlite.",
    ),
]
CampaignArgument = Annotated[
    Path | None, typer.Argument(metavar="[CAMPAIGN.yaml]", help="Only this campaign, and its store.")
]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        metavar="NAME",
        help="Project of jobflow-remote, as mgsurf init-hpc makes it. Else JFREMOTE_PROJECT.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=OUTPUT)
]
CsvOption = Annotated[
    bool, typer.Option("--csv", help="Print CSV instead of a table.", rich_help_panel=OUTPUT)
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PATH", help="Output path.", rich_help_panel=OUTPUT),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUT)
]

SymprecOption = Annotated[
    float | None,
    typer.Option(
        "--symprec",
        min=SYMPREC,
        max=MAX_SYMPREC,
        metavar="A",
        help="Move atoms and cell of the file to the symmetry found within this distance (A) first.",
    ),
]


class TwinsRule(StrEnum):
    """What is done about identical slabs in two parts of a split."""

    DROP = "drop"
    MOVE = "move"


QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
PresetOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="stl-surface-energy, stl-work-function, mtl, gradnorm, surface, sem-cgcnn (the paper) or best.",
    ),
]
SplitOption = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="random, compound, chemsys, element (one left out), element:Ag, or a CSV file (record_id,part).",
    ),
]
TwinsOption = Annotated[
    TwinsRule | None,
    typer.Option(
        "--twins",
        help="What to do about identical slabs that a --split file has in two sets: leave out the copies in "
        "the earlier set, or move all into the later; without it such a file is refused.",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="Of split and training.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Instead of the preset's.")]
MembersOption = Annotated[int, typer.Option(min=1, metavar="N", help="Networks of an ensemble.")]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Only labels of this method or source (its fingerprint or its beginning).",
    ),
]


class EnergyUnit(StrEnum):
    """Unit of surface energies on the command line."""

    EV_PER_A2 = "eV/A2"
    J_PER_M2 = "J/m2"


class ScanKind(StrEnum):
    """What `mgsurf converge` can vary."""

    THICKNESS = "thickness"
    K_DENSITY = "k_density"
    CUTOFF = "cutoff"
    VACUUM = "vacuum"


class PlotKind(StrEnum):
    """What `mgsurf plot` can draw."""

    POTENTIAL = "potential"
    PHASE = "phase"
    SCATTER = "scatter"
    WULFF = "wulff"
    SUMMARY = "summary"


class AuditCheck(StrEnum):
    """What `mgsurf audit` looks for, see `model.audit.checks.CHECKS`."""

    RANGE = "range"
    BULK_ENERGY = "bulk-energy"
    OUTLIER = "outlier"
    DUPLICATES = "duplicates"
    ORDER = "order"


class ExportFormat(StrEnum):
    """What `mgsurf export` can write."""

    CSV = "csv"
    JSONL = "jsonl"
    EXTXYZ = "extxyz"
    ASE = "ase"
    CGCNN = "cgcnn"


class ImportFormat(StrEnum):
    """What `mgsurf import` can read."""

    AUTO = "auto"
    SHARED = "shared"
    CGCNN = "cgcnn"
    STORE = "store"


LARGEST_LIMIT = 10**9


def figure_kind(value: str) -> str:
    """Refuse a figure that `mgsurf plot` does not know.

    The argument is a text rather than a `PlotKind`, whose long list of choices would be cut in the help text.

    Raises
    ------
    typer.BadParameter
        Lists the choices.
    """
    if value not in set(PlotKind):
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(PlotKind)}")
    return value


def _databases_can_count(value: int | None) -> int | None:
    """Refuse a limit that a database cannot take; as a range of the option it would fill the help text."""
    if value is not None and value > LARGEST_LIMIT:
        raise typer.BadParameter(f"{value} is above the largest limit, {LARGEST_LIMIT}")
    return value


def short_number(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse a plane or formula with a number of over six digits, which is a slip and overflows later.

    Parameters
    ----------
    value
        What was typed; a list if the option may be repeated.

    Raises
    ------
    typer.BadParameter
        Names the option.
    """
    for text in [value] if isinstance(value, str) else value or []:
        if re.search(r"\d{7}", text):
            shown = text if len(text) <= 30 else text[:27] + "..."
            raise typer.BadParameter(f"{shown!r} holds a number of over six digits")
    return value


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


def _filter_options(
    chemsys: Annotated[
        str | None,
        typer.Option(help="Chemical system, elements in any order: Mg-Ag.", rich_help_panel=FILTERS),
    ] = None,
    formula: Annotated[
        str | None,
        typer.Option(callback=short_number, help="Formula: MgAg, Mg2Ni.", rich_help_panel=FILTERS),
    ] = None,
    element: Annotated[
        list[str] | None,
        typer.Option(help="Holds this element (may be repeated).", rich_help_panel=FILTERS),
    ] = None,
    miller: Annotated[
        str | None,
        typer.Option(
            metavar="HKL",
            callback=short_number,
            help="Plane: 110, 10-1, '1 0 -1', '(10-10)'.",
            rich_help_panel=FILTERS,
        ),
    ] = None,
    termination: Annotated[
        str | None,
        typer.Option(help="Number or label of the termination: 0, Ag.", rich_help_panel=FILTERS),
    ] = None,
    min_surface_energy: Annotated[
        float | None, typer.Option(metavar="X", help="In --unit.", rich_help_panel=FILTERS)
    ] = None,
    max_surface_energy: Annotated[
        float | None, typer.Option(metavar="X", help="In --unit.", rich_help_panel=FILTERS)
    ] = None,
    unit: Annotated[
        EnergyUnit, typer.Option(help="Unit of the two options above.", rich_help_panel=FILTERS)
    ] = EnergyUnit.EV_PER_A2,
    min_work_function: Annotated[
        float | None, typer.Option(metavar="EV", help="In eV.", rich_help_panel=FILTERS)
    ] = None,
    max_work_function: Annotated[
        float | None, typer.Option(metavar="EV", help="In eV.", rich_help_panel=FILTERS)
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TARGET=]STATUS",
            help="accepted (both targets), or surface_energy=accepted, work_function=vacuum_not_flat, ... "
            "(may be repeated).",
            rich_help_panel=FILTERS,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Method fingerprint or its beginning: gpaw-demo.", rich_help_panel=FILTERS),
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the campaign.", rich_help_panel=FILTERS)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Written since: 2026-01-31, 12h, 7d.", rich_help_panel=FILTERS),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="surface_energy, work_function, formula, ... ; -FIELD for descending. Records without the "
            "field come last.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=_databases_can_count,
            metavar="N",
            help="At most N records.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help="Raw Mongo filter, joined to the others by AND.",
            rich_help_panel=FILTERS,
        ),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Also slabs brought in by mgsurf import.", rich_help_panel=FILTERS),
    ] = False,
) -> SurfaceFilter:
    return SurfaceFilter(
        chemsys=chemsys,
        formula=formula,
        elements=tuple(element or ()),
        miller=miller,
        termination=termination,
        min_surface_energy=min_surface_energy,
        max_surface_energy=max_surface_energy,
        unit=unit.value,
        min_work_function=min_work_function,
        max_work_function=max_work_function,
        verdicts=tuple(verdict or ()),
        method=method,
        campaign=campaign,
        since=since,
        sort=sort,
        limit=limit,
        raw=raw,
        labels=labels,
    )


def with_filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that takes a `SurfaceFilter` named ``filters`` the filter options instead.

    Parameters
    ----------
    command
        Function with a parameter ``filters``; its other parameters stay.

    Returns
    -------
    Callable
        The same command with one option per filter, which typer reads from its signature.
    """
    own = inspect.signature(command, eval_str=True).parameters
    options = inspect.signature(_filter_options, eval_str=True).parameters
    kept = [parameter for name, parameter in own.items() if name != "filters"]

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        chosen = {name: values.pop(name) for name in options}
        return command(**values, filters=_filter_options(**chosen))

    positional = [p for p in kept if p.default is inspect.Parameter.empty]
    optional = [p for p in kept if p.default is not inspect.Parameter.empty]
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*positional, *options.values(), *optional)
    ]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
