"""OPTIMADE structures made of records: bulks and slabs, with this project's own properties and their units.

Standard properties follow the OPTIMADE specification 1.2 (https://specification.optimade.org). A slab is
periodic along its first two lattice vectors. Units are written in UCUM (https://ucum.org): ``Ao`` is Å.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.backends.values import MISSING, value_at
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

PREFIX = "mgsurf"
"""Of this project's own properties."""


@dataclass(frozen=True)
class Property:
    """An own property: its OPTIMADE type and UCUM unit, and the record's field for bulks and for slabs.

    Attributes
    ----------
    bulk, slab
        Dotted field of a `BulkRecord` and of a `SurfaceRecord`; empty where the kind has no such property, or
        where `attributes` or `site_attributes` computes it.
    """

    name: str
    type: str
    description: str
    unit: str | None = None
    bulk: str = ""
    slab: str = ""

    @property
    def key(self) -> str:
        """Name with the prefix, e.g. ``_mgsurf_work_function``."""
        return f"_{PREFIX}_{self.name}"


def _both(name: str, kind: str, field: str, description: str, unit: str | None = None) -> Property:
    return Property(name, kind, description, unit, bulk=field, slab=field)


def _slab(name: str, kind: str, description: str, unit: str | None = None, field: str = "") -> Property:
    return Property(name, kind, description, unit, slab=field or name)


_VERDICTS = (
    "accepted, or why the value is rejected: unconverged, negative, reconstructed, vacuum_not_flat, "
    "asymmetric, inconsistent_settings, faulty, failed. Rejected values are served; leave them out of fits"
)

PROPERTIES: tuple[Property, ...] = (
    Property("kind", "string", "bulk (a relaxed crystal in its conventional standard cell) or slab"),
    _both("formula", "string", "formula", "Reduced formula of the compound, Mg first, e.g. Mg17Al12"),
    _both(
        "method",
        "string",
        "method_fingerprint",
        "Engine, preset and hash of all settings that decide the numbers; compare values of one method only",
    ),
    _both("functional", "string", "method.functional", "Exchange-correlation functional, e.g. PBE"),
    _both("cutoff", "float", "method.cutoff", "Plane-wave cut-off", "eV"),
    _both("source", "string", "provenance.source", "Where the bulk crystal came from"),
    _both("source_ids", "list", "provenance.identifiers", "Identifiers of the bulk crystal in that source"),
    _both("spacegroup_number", "integer", "spacegroup_number", "Space group of the relaxed bulk crystal"),
    _both(
        "formation_energy",
        "float",
        "formation_energy",
        "Formation energy of the bulk crystal relative to the elements' ground states, per reduced formula",
        "eV",
    ),
    Property("energy_per_atom", "float", "Total energy per atom", "eV", bulk="energy_per_atom"),
    _slab("bulk", "string", "Id of the bulk crystal that the slab was cut from", field="bulk_id"),
    _slab(
        "miller_index",
        "list",
        "Miller index hkl of the facet in the conventional standard cell of the relaxed bulk (rhombohedral: "
        "hexagonal axes); null for a slab whose plane is not known",
    ),
    _slab("termination", "string", "Outermost atomic layer, e.g. Mg", field="termination_label"),
    _slab(
        "termination_number",
        "integer",
        "Number of the termination of this facet, from 0",
        field="termination",
    ),
    _slab(
        "surface_energy",
        "float",
        "Surface energy of one side at the end of the chemical-potential window that is rich in "
        "_mgsurf_rich_element (in eV/Å²; 1 eV/Å² = 16.02177 J/m²); of an element its only value",
        "eV/Ao2",
    ),
    _slab(
        "surface_energy_x_rich",
        "float",
        "Surface energy at the other end of the window (in eV/Å²); null if the reference of the other "
        "element is missing or the compound is not stable against the elements",
        "eV/Ao2",
    ),
    _slab(
        "surface_energy_slope",
        "float",
        "Derivative of the surface energy with respect to the chemical potential of _mgsurf_rich_element "
        "(in 1/Å²)",
        "1/Ao2",
    ),
    _slab(
        "chemical_potential_window",
        "list",
        "Chemical potential of _mgsurf_rich_element relative to its ground state at both ends, the end poor "
        "in it first",
        "eV",
    ),
    Property(
        "rich_element", "string", "Element in which _mgsurf_surface_energy is rich: Mg where there is Mg"
    ),
    _slab("surface_energy_verdict", "string", _VERDICTS, field="verdicts.surface_energy.status"),
    _slab("surface_energy_reason", "string", "Reason of the verdict", field="verdicts.surface_energy.reason"),
    _slab("work_function", "float", "Work function, mean of both sides", "eV"),
    _slab("work_function_sides", "list", "Work function of the bottom and the top side", "eV"),
    _slab("work_function_verdict", "string", _VERDICTS, field="verdicts.work_function.status"),
    _slab("work_function_reason", "string", "Reason of the verdict", field="verdicts.work_function.reason"),
    _slab("energy", "float", "Total energy of the relaxed slab", "eV"),
    _slab("thickness", "float", "From the lowest to the highest atom (in Å), as cut", "Ao"),
    _slab("vacuum", "float", "From the highest atom to the next image's lowest (in Å), as cut", "Ao"),
    _slab("area", "float", "Area of one side (in Å²)", "Ao2"),
    _slab("n_layers", "integer", "Atomic layers in the slab"),
    _slab("campaign", "string", "Name of the first campaign that computed the slab"),
    Property("geometry", "string", "Of the positions: relaxed, or as cut where no relaxed slab is stored"),
    Property(
        "as_cut_positions",
        "list",
        "Positions of the sites, in their order, as cut from the relaxed bulk (in Å); the slab that models "
        "take; null where the positions themselves are as cut",
        "Ao",
    ),
)

_SPACE_GROUP, _RICH_ELEMENT, _MILLER_INDEX, _GEOMETRY, _AS_CUT, _KIND = (
    f"_{PREFIX}_{name}"
    for name in (
        *("spacegroup_number", "rich_element", "miller_index"),
        *("geometry", "as_cut_positions", "kind"),
    )
)
_SITES = ("lattice_vectors", "cartesian_site_positions", "species_at_sites", "species")
FORMULAS = (
    *("elements_ratios", "chemical_formula_reduced", "chemical_formula_anonymous"),
    "chemical_formula_descriptive",
)
"""Standard properties that are known from the composition."""
SYSTEMS = ("elements", "nelements")
"""Standard properties that are known from the chemical system."""


@dataclass(frozen=True)
class Kind:
    """Bulks or slabs, and how their properties are found.

    Attributes
    ----------
    columns
        Stored field by property, of the indexed fields that hold one value.
    constants
        Properties that are the same for all of the kind, among them those that it lacks.
    heavy
        Properties that only the stored structure gives.
    varying
        All others, and those of `columns` and `heavy`.
    fields
        Path into a record by own property.
    """

    name: str
    collection: str
    columns: Mapping[str, str]
    constants: Mapping[str, Any]
    heavy: frozenset[str]
    varying: frozenset[str]
    fields: Mapping[str, tuple[str, ...]]


def _kind(
    name: str,
    collection: str,
    columns: dict[str, str],
    constants: dict[str, Any],
    light: set[str],
    heavy: set[str],
) -> Kind:
    own = {p.key for p in PROPERTIES if getattr(p, name)} | {key for key in light | heavy if key[0] == "_"}
    return Kind(
        name=name,
        collection=collection,
        columns={"id": "id", "last_modified": "created_at"}
        | {f"_{PREFIX}_{key}": field for key, field in columns.items()},
        constants={
            "type": "structures",
            "immutable_id": None,
            "structure_features": [],
            **constants,
            **{p.key: None for p in PROPERTIES if p.key not in own},
            _KIND: name,
        },
        heavy=frozenset({*_SITES, *heavy}),
        varying=frozenset({"id", "last_modified", *SYSTEMS, *FORMULAS, *own, *light, *heavy, *_SITES}),
        fields={p.key: tuple(field.split(".")) for p in PROPERTIES if (field := getattr(p, name))},
    )


_OF_BOTH = {"formula": "formula", "method": "method_fingerprint"}
BULK = _kind(
    "bulk",
    "bulks",
    _OF_BOTH,
    {"dimension_types": [1, 1, 1], "nperiodic_dimensions": 3},
    {"space_group_it_number"},
    {"nsites"},
)
_INDEXED_OF_SLABS = (
    *("surface_energy", "surface_energy_x_rich", "work_function", "formation_energy"),
    *("thickness", "area", "n_layers", "campaign"),
)
SLAB = _kind(
    "slab",
    "surfaces",
    _OF_BOTH
    | {
        "bulk": "bulk_id",
        **{name: name for name in _INDEXED_OF_SLABS},
        "surface_energy_verdict": "verdicts.surface_energy.status",
        "work_function_verdict": "verdicts.work_function.status",
    },
    {"dimension_types": [1, 1, 0], "nperiodic_dimensions": 2, "space_group_it_number": None},
    {"nsites", "relationships", _RICH_ELEMENT},
    {_GEOMETRY, _AS_CUT},
)
KINDS = (BULK, SLAB)
SERVED = frozenset[str]().union(*(kind.varying | kind.constants.keys() for kind in KINDS))
"""Properties that are known of bulks or slabs."""
SORTABLE = tuple(dict.fromkeys([*BULK.columns, *SLAB.columns]))
"""Properties that structures can be sorted by."""


def system_attributes(chemsys: str) -> dict[str, Any]:
    """Return `SYSTEMS` of a chemical system, e.g. Ag-Mg."""
    elements = sorted(filter(None, chemsys.split("-")))
    return {"elements": elements, "nelements": len(elements)}


@lru_cache(maxsize=4096)
def formula_attributes(amounts: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    """Return `FORMULAS` of whole numbers of atoms by element, in the order of the descriptive formula."""
    if not amounts or min(number for _, number in amounts) < 1:
        return dict.fromkeys(FORMULAS)
    total, divisor = sum(number for _, number in amounts), gcd(*(number for _, number in amounts))
    reduced = sorted((element, number // divisor) for element, number in amounts)
    anonymous = zip(ascii_uppercase, sorted((n for _, n in reduced), reverse=True), strict=False)
    return {
        "elements_ratios": [number * divisor / total for _, number in reduced],
        "chemical_formula_reduced": _written(reduced),
        "chemical_formula_anonymous": _written(anonymous),
        "chemical_formula_descriptive": _written(amounts),
    }


def _written(amounts: Any) -> str:
    return "".join(f"{symbol}{number if number > 1 else ''}" for symbol, number in amounts)


def formula_amounts(formula: str) -> tuple[tuple[str, int], ...]:
    """Return the atoms by element of a stored formula such as Mg17Al12; nothing if it is none."""
    if not re.fullmatch(r"([A-Z][a-z]?([1-9][0-9]{0,4})?)+", formula):
        return ()
    found = re.findall(r"([A-Z][a-z]?)([0-9]*)", formula)
    return tuple((element, int(number or 1)) for element, number in found)


def _amounts(kind: Kind, document: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    if kind is BULK:
        return formula_amounts(document["formula"])
    return mg_first(document["composition"])


def mg_first(composition: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the number of atoms by element, Mg first, for `formula_attributes`."""
    return tuple(sorted(composition.items(), key=lambda item: (item[0] != "Mg", item[0])))


def attributes(
    kind: Kind, document: Mapping[str, Any], wanted: Container[str] | None = None
) -> dict[str, Any]:
    """Return what a record without its large fields tells: ``id``, ``relationships`` and attributes.

    Own properties and those of formulas may be left out unless they are `wanted`; None: all are.
    """
    system = system_attributes(document["chemsys"])
    found = {"id": document["id"], "last_modified": document["created_at"], **kind.constants, **system}
    if wanted is None or any(name in wanted for name in FORMULAS):
        amounts = _amounts(kind, document)
        if sorted(element for element, _ in amounts) != system["elements"]:
            amounts = ()  # a record that contradicts itself
        found |= formula_attributes(amounts)
    for key, path in kind.fields.items():
        if wanted is None or key in wanted:
            value = value_at(document, path)
            found[key] = None if value is MISSING else value
    number = document.get("spacegroup_number") or None  # 0 where no bulk is known
    found[_SPACE_GROUP] = number
    if kind is BULK:
        found["space_group_it_number"] = number
        return found
    found["nsites"] = document["n_atoms"]
    is_mg = "Mg" in system["elements"] and system["nelements"] == 2
    found[_RICH_ELEMENT] = "Mg" if is_mg else document.get("reference_element")
    if not any(document["miller_index"]):
        found[_MILLER_INDEX] = None
    if bulk := document.get("bulk_id"):
        found["relationships"] = {"structures": {"data": [{"type": "structures", "id": bulk}]}}
    return found


def site_attributes(kind: Kind, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the structure of a whole record tells: cell and sites; null if it is damaged."""
    from ase.data import chemical_symbols

    from stores.structures.document import read_document

    found: dict[str, Any] = dict.fromkeys(kind.heavy)
    relaxed = None if kind is BULK else document.get("relaxed_slab")
    where = f"The structure of {document['id']}"
    try:
        structure = read_document(
            document["structure"] if kind is BULK else relaxed or document["slab"], where
        )
        cut = read_document(document["slab"], where) if relaxed else None
    except InputError:
        return found
    symbols = [chemical_symbols[number] for number in structure.numbers]
    found |= sites(symbols, structure.lattice, structure.fractional)
    if kind is SLAB:
        found[_GEOMETRY] = "relaxed" if relaxed else "as cut"
        found[_AS_CUT] = _cartesian(cut.lattice, cut.fractional) if cut else None
    return found


def sites(symbols: Sequence[str], lattice: Any, fractional: Any) -> dict[str, Any]:
    """Return the standard properties of a cell [3, 3] (A) with atoms at fractional coordinates [N, 3]."""
    return {
        "nsites": len(symbols),
        "lattice_vectors": np.asarray(lattice, dtype=float).tolist(),
        "cartesian_site_positions": _cartesian(lattice, fractional),
        "species_at_sites": list(symbols),
        "species": [
            {"name": symbol, "chemical_symbols": [symbol], "concentration": [1.0]}
            for symbol in dict.fromkeys(symbols)
        ],
    }


def _cartesian(lattice: Any, fractional: Any) -> Any:
    """Return positions (A), rounded so that they are equal on all machines."""
    places = np.asarray(fractional, dtype=float).reshape(-1, 3) @ np.asarray(lattice, dtype=float)
    return (np.round(places, 8) + 0.0).tolist()  # no negative zeros
