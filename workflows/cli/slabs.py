"""`mgsurf slabs`: what would be cut from a crystal, without any DFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from workflows.cli.console import print_table, print_text
from workflows.cli.options import CrystalChoice, JsonOption, OverwriteOption, StructureArgument, short_number
from workflows.cli.typer_app import COMPUTE, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from workflows.structures.crystal import Crystal
    from workflows.structures.slabs import FacetSlabs, SymmetricSlab


@app.command(rich_help_panel=COMPUTE)
def slabs(
    structure: StructureArgument = None,
    *,
    choice: CrystalChoice,
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
    from stores.structures.reading import show_notes
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import axes_note
    from workflows.structures.naming import mg_first_formula, parse_miller
    from workflows.structures.slabs import SlabSettings, enumerate_slabs

    planes = [parse_miller(text) for text in miller or []]
    bulk = choice.structure(structure)
    crystal = crystal_of(bulk)
    facets = enumerate_slabs(
        crystal,
        SlabSettings(
            max_miller_index=max_miller or max_index,
            min_thickness=min_thickness,
            vacuum=vacuum,
            layer_tolerance=layer_tolerance,
            max_terminations=max_terminations,
            max_atoms=max_atoms,
        ),
        miller_indices=planes or None,
    )
    name = mg_first_formula(bulk.composition)
    written = _write(facets, name, write, overwrite) if write is not None else {}
    if as_json:
        print(json.dumps(_plain(facets, crystal, name, written), indent=2))
        return 0
    if structure is not None:
        show_notes(axes_note(crystal, [facet.miller_index for facet in facets], structure.name))
    number = crystal.spacegroup_number
    print_text(
        f"{name}, {crystal.spacegroup_symbol} (no. {number}): "
        f"{pluralize(sum(len(facet.slabs) for facet in facets), 'symmetric slab')} "
        f"of {pluralize(len(facets), 'plane')}"
    )
    print_table(slab_table(facets, number))
    if write is not None:
        print_text(f"{pluralize(len(written), 'file')} written to {write}")
    return 0


def _file_name(formula: str, slab: SymmetricSlab) -> str:
    """Name a slab's file, e.g. ``MgAg_110_0_Mg.vasp`` or ``Mg3Sb2_1-10_0_Mg.vasp``."""
    separator = "_" if any(abs(index) > 9 for index in slab.miller_index) else ""
    plane = separator.join(str(index) for index in slab.miller_index)
    return f"{formula}_{plane}_{slab.termination}_{slab.termination_label}.vasp"


def _write(
    facets: list[FacetSlabs], name: str, folder: Path, overwrite: bool
) -> dict[tuple[tuple[int, int, int], int], str]:
    from pymatgen.io.vasp import Poscar

    chosen = {
        (slab.miller_index, slab.termination): (folder / _file_name(name, slab), slab)
        for facet in facets
        for slab in facet.slabs
    }
    # before anything is written: either all files or none
    present = [path for path, _ in chosen.values() if path.exists()]
    if present and not overwrite:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise InputError(
            f"{present[0]}{more}: exists already; choose another folder or add --overwrite to replace"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --write takes a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, slab in chosen.values():
        # a POSCAR lists one element after the other; sorting is stable, so layers keep their order
        poscar = Poscar(slab.structure, comment=path.stem, sort_structure=True)
        path.write_text(poscar.get_str(significant_figures=10), encoding="utf-8")
    return {key: str(path) for key, (path, _) in chosen.items()}


def _plain(
    facets: list[FacetSlabs],
    crystal: Crystal,
    name: str,
    written: dict[tuple[tuple[int, int, int], int], str],
) -> list[dict[str, Any]]:
    from workflows.structures.facets import given_plane

    return [
        {
            "formula": name,
            "spacegroup_number": crystal.spacegroup_number,
            "spacegroup_symbol": crystal.spacegroup_symbol,
            "miller_index": list(facet.miller_index),
            "miller_index_file": list(given_plane(crystal, facet.miller_index)),
            "reason": facet.reason,
            "notes": facet.notes,
            "slabs": [
                {
                    "termination": slab.termination,
                    "termination_label": slab.termination_label,
                    "termination_key": slab.termination_key,
                    "n_layers": slab.n_layers,
                    "n_atoms": len(slab.structure),
                    "formula": slab.structure.composition.formula.replace(" ", ""),
                    "thickness": round(slab.thickness, 6),
                    "vacuum": round(slab.vacuum, 6),
                    "area": round(slab.area, 6),
                    "gap": round(slab.gap, 6),
                    "cut": round(slab.cut, 6),
                    "period": round(slab.period, 6),
                    **(
                        {"file": path} if (path := written.get((slab.miller_index, slab.termination))) else {}
                    ),
                }
                for slab in facet.slabs
            ],
        }
        for facet in facets
    ]


def slab_table(facets: list[FacetSlabs], spacegroup_number: int) -> Table:
    """Table of the slabs of a crystal; planes without one, and remarks, below."""
    from rich.text import Text

    from workflows.structures.naming import format_plane

    columns = [Column("facet", once=True), Column("no.", right=True), Column("termination", short="term.")]
    headings = ("layers", "atoms", "thickness\nÅ", "vacuum\nÅ", "area\nÅ²", "gap\nÅ")
    table = Table([*columns, *(Column(heading, right=True) for heading in headings)])
    for facet in facets:
        plane = format_plane(facet.miller_index, spacegroup_number)
        for slab in facet.slabs:
            lengths = (slab.thickness, slab.vacuum, slab.area, slab.gap)
            table.add_row(
                plane,
                str(slab.termination),
                slab.termination_label,
                str(slab.n_layers),
                str(len(slab.structure)),
                *(f"{length:.2f}" for length in lengths),
            )
        if facet.reason:
            table.add_row(plane, "", Text("none", style="yellow"), *[""] * len(headings))
            table.notes.append(f"{plane}: {facet.reason}")
        else:
            table.notes += [f"{plane}: {note}" for note in facet.notes]
    return table
