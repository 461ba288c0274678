"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError
from workflows.structures.tolerances import MAX_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from model.data.composition_table import CompositionColumns

FILTERS = "Filters"
OUTPUT = "Output"
STABILITY = "Stability"
COMPOSITIONS = "Compositions"
_output_option = functools.partial(typer.Option, rich_help_panel=OUTPUT)
_compositions_option = functools.partial(typer.Option, rich_help_panel=COMPOSITIONS)

FIGURES = (".png", ".pdf", ".svg")  # endings of figures

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="sqlite:///PATH, mongodb://..., memory:// or a file name. "
        "Else the campaign's, else MGSURF_STORE, else ./mgsurf.sqlite.",
    ),
]
CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")]
CampaignArgument = Annotated[
    Path | None, typer.Argument(metavar="[CAMPAIGN.yaml]", help="Only this campaign, and its store.")
]
RefreshArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CAMPAIGN.yaml]", help="Campaign file; its section refresh and its store are used."
    ),
]
StructureArgument = Annotated[Path | None, typer.Argument(metavar="[STRUCTURE]", help="CIF or POSCAR file.")]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        metavar="NAME",
        help="Project of jobflow-remote, as mgsurf init-hpc makes it. Else JFREMOTE_PROJECT.",
    ),
]
WorkerOption = Annotated[
    str | None, typer.Option("--worker", metavar="NAME", help="Worker of the project; the first by default.")
]
JsonOption = Annotated[bool, _output_option("--json", help="Print JSON instead of a table.")]
CsvOption = Annotated[bool, _output_option("--csv", help="Print CSV instead of a table.")]
OutputOption = Annotated[Path | None, _output_option("--output", "-o", metavar="PATH", help="Output path.")]
OverwriteOption = Annotated[bool, _output_option("--overwrite", help="Replace files that exist.")]

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
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Only labels of this method or source (its fingerprint or its beginning).",
    ),
]


def short_number(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse a plane or formula with a number of over six digits, which is a typo and overflows later."""
    for text in [value] if isinstance(value, str) else value or []:
        if re.search(r"(?<![\d.])\d{7}", text):
            shown = text if len(text) <= 30 else text[:27] + "..."
            raise typer.BadParameter(f"{shown!r} holds a number of over six digits")
    return value


@dataclass(frozen=True)
class TableFormat:
    """Print a table, JSON or CSV."""

    as_json: JsonOption = False
    as_csv: CsvOption = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise InputError("--json and --csv exclude each other; choose one")


@dataclass(frozen=True)
class OutputFile:
    """File or folder that a command writes."""

    output: OutputOption = None
    overwrite: OverwriteOption = False

    def checked(self, default: str = "", suffixes: tuple[str, ...] = ()) -> Path:
        """Return the path, or `default`, if it can be written; see `writable_path`."""
        path = self.output or Path(default)
        return writable_path(path, "--output", overwrite=self.overwrite, suffixes=suffixes)


def writable_path(path: Path, option: str, *, overwrite: bool, suffixes: tuple[str, ...] = ()) -> Path:
    """Return the path given for an option if it can be written.

    Raises
    ------
    InputError
        If the path exists and may not be replaced, lacks a folder, or has none of the `suffixes`; before the
        work that would be lost. It names the option.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(
            f"{option} {path}: the ending decides the format; choose one of {', '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: no folder {path.parent}; make it first or choose another path")
    if path.exists() and not overwrite:
        raise InputError(f"{option} {path}: exists already; choose another path or add --overwrite")
    return path


@dataclass(frozen=True)
class CompositionChoice:
    """Columns of a CSV file that give compositions."""

    composition_column: Annotated[
        str | None,
        _compositions_option(
            metavar="NAMES", help="Column of formulas of a CSV file, or its columns of elements: C,Si,Mn."
        ),
    ] = None
    composition_unit: Annotated[
        str | None,
        _compositions_option(
            metavar="UNIT", help="Of the amounts: at% or wt%; formulas are of atoms without it."
        ),
    ] = None
    balance: Annotated[
        str | None,
        _compositions_option(metavar="ELEMENT", help="Makes up the rest to 100 % of columns of elements."),
    ] = None

    def check_unused(self, why: str) -> None:
        """Raise an InputError that names the option if one was given although there are no compositions."""
        for one in fields(self):
            if getattr(self, one.name) is not None:
                raise InputError(
                    f"--{one.name.replace('_', '-')} is of compositions, and {why}; leave it out"
                )

    def columns(self) -> CompositionColumns:
        """Return them as readers of tables take them; InputError on an unknown unit."""
        from model.data.composition_table import UNITS, CompositionColumns

        text = (self.composition_unit or "").lower()
        unit = next((unit for unit in UNITS if text in (unit, unit[:2])), None)
        if text and unit is None:
            raise InputError(f"--composition-unit {self.composition_unit}: choose at% or wt%")
        names = tuple(name.strip() for name in (self.composition_column or "").split(",") if name.strip())
        return CompositionColumns(names, unit, self.balance)


@dataclass(frozen=True)
class CrystalChoice:
    """A crystal named by prototype and formula, or read from a file."""

    prototype: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Strukturbericht symbol, with --formula: B2, C14.")
    ] = None
    formula: Annotated[
        str | None,
        typer.Option(callback=short_number, help="With --prototype; or an element alone: MgAg, Mg."),
    ] = None
    symprec: SymprecOption = None

    def structure(self, path: Path | None) -> Structure:
        """Return the crystal of the file `path` (CIF or POSCAR), or the one named.

        Raises
        ------
        InputError
            If both or neither are given, or the crystal cannot be read or built.
        """
        if path is not None:
            if self.prototype or self.formula:
                raise InputError("give either a structure file or --formula (with --prototype), not both")
            from stores.structures.reading import read_structure
            from workflows.structures.crystal import with_symmetry

            return with_symmetry(read_structure(path), path.name, self.symprec)
        if self.symprec is not None:
            raise InputError(
                "--symprec goes with a structure file; what is built from a formula is symmetric"
            )
        if self.formula is None:
            raise InputError("no structure: give a CIF or POSCAR file, or --formula MgAg --prototype B2")
        if self.prototype is not None:
            from workflows.structures.prototypes import structure_for

            return structure_for(self.formula, self.prototype)
        from workflows.structures.elements import ground_state

        if not re.fullmatch(r"[A-Z][a-z]?", self.formula):
            raise InputError(f"--formula {self.formula} is no element: add --prototype, e.g. --prototype B2")
        return ground_state(self.formula)


@dataclass(frozen=True)
class PhaseChoice:
    """Competing phases: those of the store, or those in a lock file of `mgsurf enumerate`."""

    phases: Annotated[
        Path | None,
        typer.Option(
            "--phases",
            metavar="LOCK.json",
            help="Against the phases in a file that mgsurf enumerate wrote, by a database's energies.",
            rich_help_panel=STABILITY,
        ),
    ] = None
    phases_method: Annotated[
        str | None,
        typer.Option(
            "--phases-method",
            metavar="NAME",
            help="Database whose energies count, such as oqmd; needed if there are several.",
            rich_help_panel=STABILITY,
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.phases is None and self.phases_method is not None:
            raise InputError(
                "--phases-method chooses among the energies in a lock file; name that by --phases"
            )
