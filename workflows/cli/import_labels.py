"""`mgsurf import`: labelled slabs, bulk crystals and compositions of others become records."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_note
from workflows.cli.learning import target_names
from workflows.cli.options import COMPOSITIONS, CompositionChoice, JsonOption, StoreOption
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from model.data.importers import Imported

SHOWN_LINES = 40
"""Problems beyond this many are counted, not printed."""


class ImportFormat(StrEnum):
    """Format that `mgsurf import` reads."""

    AUTO = "auto"
    SHARED = "shared"
    CGCNN = "cgcnn"
    CRYSTALS = "crystals"
    STORE = "store"
    PUBLICATION = "publication"


@dataclass(frozen=True)
class CompositionLabels(CompositionChoice):
    """Columns of a CSV file of labelled compositions, besides their labels."""

    extra: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Numeric columns that a model learns from, too: temperatures, processing.",
            rich_help_panel=COMPOSITIONS,
        ),
    ] = None
    bins: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=LIMITS:CLASSES",
            help="Classes made of a quantity: Dmax=0,0.1:CRA,RMG,BMG adds Dmax_class.",
            rich_help_panel=COMPOSITIONS,
        ),
    ] = None


@app.command("import", rich_help_panel=LEARN)
def import_(
    *,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Folder, JSON file, CSV file of compositions, a store, or a data set of mgsurf publish.",
        ),
    ],
    format: Annotated[
        ImportFormat,
        typer.Option(
            metavar="FORMAT", help="Of the data: auto, shared, cgcnn, crystals, store, publication."
        ),
    ] = ImportFormat.AUTO,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            "--target",
            metavar="NAMES",
            help="Columns of id_prop.csv: surface_energy,work_function; of other files NAME or NAME=COLUMN.",
        ),
    ] = None,
    bulk: Annotated[
        bool,
        typer.Option("--bulk", help="Crystals without surface, with any properties; see docs/transfer.md."),
    ] = False,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Targets that are classes, not quantities: is_metal."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Stands for the method; else the folder's name.")
    ] = None,
    relaxed: Annotated[bool, typer.Option("--relaxed", help="The slabs are relaxed, not as cut.")] = False,
    compositions: CompositionLabels,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=UNIT",
            help="Unit of the values, converted to eV/A^2 and eV: surface_energy=J/m2, work_function=meV "
            "(may be repeated); of crystals and compositions kept as given.",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import external labelled slabs, bulk crystals or compositions for training; duplicates are skipped.

    Exit status 1 if a line of the source could not be used.

    Examples: [cyan]mgsurf import dataset/[/cyan],
    [cyan]mgsurf import cgcnn_folder/ --targets cleavage_energy --source smith2020[/cyan],
    [cyan]mgsurf import folder/ --targets surface_energy --unit surface_energy=J/m2[/cyan],
    [cyan]mgsurf import fe.json.gz --bulk --targets formation_energy --unit formation_energy=eV/atom[/cyan],
    [cyan]mgsurf import alloys.csv --composition-column alloy --targets hardness[/cyan]
    """
    from model.data.importers import import_slabs, is_table
    from model.data.label_units import units_from_options
    from stores.connections import resolve_store_uri
    from workflows.execution.kept import kept_in_words

    unchanged = "The source was only read: the same command imports all of it again."
    noun = "crystal" if bulk else "slab"
    with kept_in_words(lambda _: unchanged), ProgressBar() as bar:

        def tick(number: int, total: int, name: str) -> None:
            bar.show("importing", number, total or None, name)

        if _of_compositions(compositions) or is_table(path):
            noun = "composition"
            if bulk or relaxed or format is not ImportFormat.AUTO:
                raise InputError(
                    "--bulk, --relaxed and --format are of structures; leave them out, or the columns of "
                    "compositions"
                )
            from model.data.import_compositions import Bins, LabelColumns, import_compositions

            result = import_compositions(
                Path(path),
                resolve_store_uri(store),
                compositions.columns(),
                LabelColumns(
                    tuple(target_names(targets)),
                    tuple(target_names(classes)),
                    tuple(target_names(compositions.extra)),
                    tuple(Bins.parse(text) for text in compositions.bins or ()),
                    units_from_options(unit or [], bulk=True),
                ),
                source=source,
                tick=tick,
            )
        else:
            result = import_slabs(
                path,
                resolve_store_uri(store),
                format=format.value,
                targets=target_names(targets) or None,
                source=source,
                relaxed=relaxed,
                bulk=bulk,
                classes=target_names(classes),
                units=units_from_options(unit or [], bulk=bulk),
                tick=tick,
            )
    print(json.dumps(asdict(result), indent=2) if as_json else _summary(result, noun))
    for line in (*result.notes, *result.problems[:SHOWN_LINES]):
        print_note(line)
    if len(result.problems) > SHOWN_LINES:
        left = len(result.problems) - SHOWN_LINES
        print_note(f"and {left} more lines could not be used; --json shows all")
    return 1 if result.problems else 0


def _of_compositions(given: CompositionLabels) -> bool:
    return any(value is not None for value in asdict(given).values())


def _summary(result: Imported, noun: str) -> str:
    slabs = pluralize(result.n_read, noun)
    labels = ", ".join(f"{count} {target}" for target, count in result.n_labels.items() if count)
    changed = f"{pluralize(result.n_changed, 'record')} new or changed" if result.n_changed else "nothing new"
    return f"{slabs} read from {result.source} ({labels or 'no labels'}); {changed}"
