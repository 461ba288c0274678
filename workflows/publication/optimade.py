"""Entries and property definitions of OPTIMADE 1.2, as JSON lines that optimade-python-tools serves.

First line a header, second the definitions of all properties (``/info/structures``), then an entry a line.
Own properties have the prefix ``_mgsurf_``. A slab is periodic in two directions: its third lattice vector
is that of the cell with the vacuum.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from stores.learning.snapshot_rows import Column
from workflows.web.optimade.entries import PREFIX, formula_attributes, mg_first, sites, system_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

API_VERSION = "1.2.0"
_LEFT_OUT = {
    "record_id", "composition", "species", "lattice", "fractional", "fractions", "extras", "chemsys", "h",
    "k", "l", "n_atoms", "classes", "work_function_bottom", "work_function_top", "chemical_potential_min",
    "chemical_potential_max",
}  # fmt: skip
"""Columns that other properties have already."""

LISTS = {
    Column(
        "miller_index", "integer", "Miller index hkl in the conventional standard cell of the relaxed bulk"
    ): ("h", "k", "l"),
    Column("work_function_sides", "number", "Work function of the bottom and the top side", "eV"): (
        "work_function_bottom",
        "work_function_top",
    ),
    Column(
        "chemical_potential_window",
        "number",
        "Chemical potential of _mgsurf_rich_element relative to its bulk at both ends, the lower first",
        "eV",
    ): ("chemical_potential_min", "chemical_potential_max"),
}
"""Own properties that are lists of the values in several columns."""

_NAMES = {
    "structure_kind": "kind", "kind": "record_kind", "method": "training_method", "method_fingerprint":
    "method", "bulk_id": "bulk", "termination_label": "termination", "reference_element": "rich_element",
}  # fmt: skip
"""Properties with other names than their columns: those of the OPTIMADE server of `mgsurf serve`."""

_STANDARD = {
    "elements": ("list", "Elements in alphabetical order", "inapplicable"),
    "nelements": ("integer", "Number of elements", "dimensionless"),
    "elements_ratios": ("list", "Share of the atoms by element, in the order of elements", "dimensionless"),
    "chemical_formula_descriptive": ("string", "Formula of the atoms in the cell, Mg first", "inapplicable"),
    "chemical_formula_reduced": ("string", "Reduced formula of the atoms in the cell", "inapplicable"),
    "chemical_formula_anonymous": ("string", "Reduced formula with letters for elements", "inapplicable"),
    "dimension_types": ("list", "Whether the structure repeats along each lattice vector", "dimensionless"),
    "nperiodic_dimensions": ("integer", "Number of directions in which it repeats", "dimensionless"),
    "lattice_vectors": ("list", "Lattice vectors, one a row", "angstrom"),
    "cartesian_site_positions": ("list", "Cartesian position of each atom", "angstrom"),
    "nsites": ("integer", "Number of atoms in the cell", "dimensionless"),
    "species": ("list", "Definition of each name in species_at_sites", "inapplicable"),
    "species_at_sites": ("list", "Name of the species of each atom", "inapplicable"),
    "structure_features": ("list", "Always empty: every site holds one whole atom", "inapplicable"),
    "last_modified": ("timestamp", "When the snapshot was made", "inapplicable"),
}  # fmt: skip
_JSON_TYPES = {
    "list": "array", "integer": "integer", "string": "string", "timestamp": "string", "float": "number",
}  # fmt: skip
_OF_KIND = {"text": "string", "json": "string", "integer": "integer", "number": "float"}
_EXPRESSIONS = {
    "eV/A^2": "eV/angstrom^2", "1/A^2": "angstrom^-2", "A^2": "angstrom^2", "A": "angstrom", "J/m^2": "J/m^2",
}  # fmt: skip


def property_name(column: str) -> str:
    """Return the name of the property of a column."""
    return f"_{PREFIX}_" + re.sub(r"[^a-z0-9_]", "_", _NAMES.get(column, column).lower())


_RICH = property_name("reference_element")


def own_columns(columns: Iterable[Column]) -> list[Column]:
    """Return the columns that become own properties."""
    return [column for column in columns if column.name not in _LEFT_OUT]


def definitions(columns: Iterable[Column], url: str) -> dict[str, Any]:
    """Return the definition of every property of an entry by name; ids of own ones begin with `url`."""
    found = {name: _standard(name, *values) for name, values in _STANDARD.items()}
    for column in own_columns(columns):
        found[property_name(column.name)] = own_definition(column, url)
    for column in LISTS:
        one = own_definition(column, url)
        item = {key: one[key] for key in ("x-optimade-type", "x-optimade-unit")}
        item["type"] = [_JSON_TYPES[one["x-optimade-type"]]]
        found[property_name(column.name)] = {
            **one,
            "x-optimade-type": "list",
            "type": ["array", "null"],
            "items": item,
        }
    return found


def _standard(name: str, kind: str, description: str, unit: str) -> dict[str, Any]:
    where = "core" if name == "last_modified" else "optimade/structures"
    return {
        "$id": f"https://schemas.optimade.org/defs/v1.2/properties/{where}/{name}",
        "title": name.replace("_", " "),
        "description": description,
        "x-optimade-type": kind,
        "type": [_JSON_TYPES[kind], "null"],
        "x-optimade-unit": unit,
    }


def own_definition(column: Column, url: str) -> dict[str, Any]:
    """Return the property definition (OPTIMADE 1.2) of a column of text or numbers."""
    kind = _OF_KIND[column.kind]
    unit = _EXPRESSIONS.get(
        column.unit, column.unit or ("inapplicable" if kind == "string" else "dimensionless")
    )
    name = property_name(column.name)
    found: dict[str, Any] = {
        "$id": f"{url}#{name}",
        "title": column.name.replace("_", " "),
        "description": column.description,
        "x-optimade-definition": {"kind": "property", "version": "1.0.0", "format": "1.2", "name": name},
        "x-optimade-type": kind,
        "type": [_JSON_TYPES[kind], "null"],
        "x-optimade-unit": unit,
    }
    symbols = [symbol for symbol in ("eV", "angstrom") if symbol in unit]
    if symbols:
        found["x-optimade-unit-definitions"] = [
            {
                "symbol": symbol,
                "title": "electronvolt" if symbol == "eV" else "ångström",
                "standard": {"name": "gnu units", "version": "3.15", "symbol": symbol},
            }
            for symbol in symbols
        ]
    return found


def entry_of(
    row: Mapping[str, Any], slab: Mapping[str, Any], own: Sequence[tuple[str, str]], made: str
) -> dict[str, Any]:
    """Return the entry of a row with a structure.

    Parameters
    ----------
    row
        Of the published table.
    slab
        Its structure, see `stores.learning.snapshot_items.compact_slab`.
    own
        Column and property name of each own property.
    made
        When the snapshot was made, ISO 8601.
    """
    is_slab = row["structure_kind"] == "slab"
    atoms = Counter(slab["species"])
    found = {
        **system_attributes("-".join(atoms)),
        **formula_attributes(mg_first(atoms)),
        **sites(slab["species"], slab["lattice"], slab["fractional"]),
        "dimension_types": [1, 1, 0] if is_slab else [1, 1, 1],
        "nperiodic_dimensions": 2 if is_slab else 3,
        "structure_features": [],
    }
    found["last_modified"] = f"{made[:19]}Z"
    found |= {name: row.get(column) for column, name in own}
    if (
        found[_RICH] is None
        and row.get("h") is not None
        and len(found["elements"]) == 2
        and "Mg" in found["elements"]
    ):
        found[_RICH] = "Mg"
    for column, names in LISTS.items():
        values = [row.get(name) for name in names]
        found[property_name(column.name)] = None if values[0] is None else values
    return {"id": row["record_id"], "type": "structures", "attributes": found}
