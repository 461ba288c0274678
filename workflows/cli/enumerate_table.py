"""The compounds of `mgsurf enumerate` as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.flows.enumeration.lock_model import LockedCompound

TABLE_ROWS = 100
"""A table stops here: nobody reads more, and laying out 1,000 rows takes 2 s."""

SHOWN_NAMES = 3


def row(compound: LockedCompound, core_hours: float | None, left_out: str) -> dict[str, Any]:
    """Return what is shown of a compound.

    Parameters
    ----------
    compound
        From the lock file.
    core_hours
        Estimate; None if it is not computed.
    left_out
        Why it is not computed; empty if it is.
    """
    return {
        "formula": compound.formula,
        "label": compound.label,
        "spacegroup_number": compound.spacegroup_number,
        "spacegroup_symbol": compound.spacegroup_symbol,
        "n_atoms": compound.n_atoms,
        "identifiers": compound.provenance.identifiers,
        "geometry_from": compound.provenance.source,
        "lattice_is_guess": compound.provenance.lattice_is_guess,
        "energy_above_hull": compound.hull.energy if compound.hull else None,
        "hull_method": compound.hull.method if compound.hull else None,
        "slabs": compound.slabs,
        "n_slabs": compound.n_slabs,
        "core_hours": None if core_hours is None else round(core_hours, 3),
        "left_out": left_out,
    }


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as CSV, lists and mappings as text."""
    header = list(rows[0]) if rows else ["formula"]
    writer = csv.DictWriter(sys.stdout, header, lineterminator="\n")
    writer.writeheader()
    for plain in rows:
        slabs = " ".join(f"{plane}:{number}" for plane, number in plain["slabs"].items())
        writer.writerow({**plain, "identifiers": " ".join(plain["identifiers"]), "slabs": slabs})


def compound_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Lay out the first `TABLE_ROWS` compounds."""
    from rich.text import Text

    table = Table(
        [
            Column("compound"),
            Column("space group", wrap=True),
            Column("atoms", right=True),
            Column("above hull eV/atom", right=True),
            Column("geometry", wrap=True),
            Column("identifiers", wrap=True),
            Column("slabs", right=True),
            Column("core-h", right=True),
        ]
    )
    for plain in rows[:TABLE_ROWS]:
        hull, hours, names = plain["energy_above_hull"], plain["core_hours"], plain["identifiers"]
        more = f" +{len(names) - SHOWN_NAMES}" if len(names) > SHOWN_NAMES else ""
        table.add_row(
            plain["formula"],
            f"{plain['spacegroup_symbol']} ({plain['spacegroup_number']})",
            str(plain["n_atoms"]),
            "–" if hull is None else f"{hull:.3f}",
            plain["geometry_from"] + (" (guess)" if plain["lattice_is_guess"] else ""),
            ", ".join(names[:SHOWN_NAMES]) + more,
            str(plain["n_slabs"]),
            Text("not run", style="yellow") if hours is None else hours_text(hours),
        )
    return table


def hours_text(hours: float) -> str:
    """Write core-hours with two significant digits, which is more than an estimate is worth."""
    if hours >= 100:
        return f"{float(f'{hours:.2g}'):,.0f}"
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}"
