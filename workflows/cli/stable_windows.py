"""Where the compounds of stored surfaces are stable: by the store's bulks, or by a database's energies."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, pluralize
from stores.method_names import meeting_names
from workflows.analysis.stability_window import (
    BULK_FIELDS,
    REFERENCE_FIELDS,
    KnownPhases,
    StableWindow,
    stored_phases,
)
from workflows.cli.console import print_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.surfaces import SurfaceStore
    from workflows.cli.options import PhaseChoice
    from workflows.flows.enumeration.lock_model import LockedCompound, LockFile

SURFACE_FIELDS = (
    "bulk_id", "formula", "chemsys", "method_fingerprint", "spacegroup_number", "surface_energy",
    "surface_energy_slope", "chemical_potential_window",
)  # fmt: skip
"""Fields that are read of a stored SurfaceRecord."""


def windows_of(
    store: SurfaceStore, surfaces: Sequence[Mapping[str, Any]], choice: PhaseChoice
) -> list[StableWindow]:
    """Return the stability window of each surface's compound, in their order.

    `surfaces` are documents with `SURFACE_FIELDS`; bulks and references come from `store`.

    Raises
    ------
    InputError
        If the lock file of `choice` cannot be read or holds no energies by the method.
    """
    if choice.phases is not None:
        return _by_database(store, surfaces, choice.phases, choice.phases_method)
    systems = sorted({surface["chemsys"] for surface in surfaces if not _is_element(surface)})
    elements = sorted({element for system in systems for element in system.split("-")})
    bulks = store.query({"chemsys": {"$in": systems}}, BULK_FIELDS, collection="bulks")
    references = store.query({"element": {"$in": elements}}, REFERENCE_FIELDS, collection="references")
    find = cache(stored_phases(bulks, references, meeting_names(store, "bulks", "references")).window_of)
    return [_without_window(s) or find(s.get("bulk_id") or "") for s in surfaces]


def _by_database(
    store: SurfaceStore, surfaces: Sequence[Mapping[str, Any]], path: Path, chosen: str | None
) -> list[StableWindow]:
    from workflows.flows.enumeration.lock_file import read_lock, remedy
    from workflows.structures.sources.merge import same_crystal

    how = "mgsurf enumerate CAMPAIGN.yaml"
    lock = read_lock(path, how)

    def crystal_of(compound: LockedCompound) -> Structure:
        return compound.checked_structure(f"{path}: {compound.label}", remedy(how))

    method, phases = locked_phases(lock, path, chosen)
    where = f"{path} by {method}"

    @cache
    def find(formula: str, spacegroup_number: int, bulk_id: str) -> StableWindow:
        same = [c for c in lock.compounds if (c.formula, c.spacegroup_number) == (formula, spacegroup_number)]
        named = f"{formula} (space group {spacegroup_number or 'not known'})"
        if not same:
            return StableWindow(None, reason=f"{named} has no energy in {where}")
        if len(same) == 1:
            return phases.window_of(same[0].label)
        bulk = _crystal(store, bulk_id)
        fitting = [] if bulk is None else [c for c in same if same_crystal(bulk, crystal_of(c))]
        if len(fitting) == 1:
            return phases.window_of(fitting[0].label)
        labels = ", ".join(c.label for c in same)
        why = "its bulk is not in the store" if bulk is None else f"its structure is that of {len(fitting)}"
        return StableWindow(None, reason=f"{named} may be each of {labels} in {where}: {why}")

    for remark in _missing(lock):
        print_note(f"{path}: {remark}")
    return [
        _without_window(s) or find(s["formula"], s.get("spacegroup_number") or 0, s.get("bulk_id") or "")
        for s in surfaces
    ]


def _crystal(store: SurfaceStore, bulk_id: str) -> Structure | None:
    from stores.structures.document import structure_from_document

    found = store.query({"id": bulk_id}, ["structure"], collection="bulks")
    return next((structure_from_document(bulk["structure"], f"bulk {bulk_id}") for bulk in found), None)


def _missing(lock: LockFile) -> Iterator[str]:
    """List the phases that a lock file lacks; nothing if it holds all that its sources have."""
    if lock.lock_version < 2:
        yield (
            "written before refused phases were kept, so that windows may be too wide; "
            "mgsurf enumerate CAMPAIGN.yaml --update adds them"
        )
    elif limit := _max_atoms(lock):
        yield f"not all phases of more than {limit} atoms were requested; windows may be too wide"
    if lock.removed:
        deleted = pluralize(len(lock.removed), "compound")
        yield f"{deleted} deleted by hand ({lock.removed[0]}, ...); windows may be too wide"
    if lock.left_out:
        more = f"; {len(lock.left_out) - 1} more in left_out there" if len(lock.left_out) > 1 else ""
        yield (f"its sources did not deliver everything ({lock.left_out[0]}{more}); windows may be too wide")


def _max_atoms(lock: LockFile) -> Any:
    filters = lock.sections.get("filters")
    return filters.get("max_atoms") if isinstance(filters, dict) else None


def _is_element(surface: Mapping[str, Any]) -> bool:
    return "-" not in surface["chemsys"]


def _without_window(surface: Mapping[str, Any]) -> StableWindow | None:
    """Return why a surface can have no window; None if it may have one."""
    if _is_element(surface):
        return StableWindow(None, reason=f"{surface['formula']} is an element: it has no window")
    if surface.get("source"):
        reason = f"{surface['formula']} was imported from {surface['source']} without the energy of its bulk"
        return StableWindow(None, reason=reason)
    return None


def locked_phases(lock: LockFile, path: Path, method: str | None) -> tuple[str, KnownPhases]:
    """Return the method's name and the phases of a lock file, with its formation energies.

    Compounds have their labels as ids; refused phases only compete. It is an InputError if the file holds no
    formation energy by that method, or by several methods and none is chosen.
    """
    from workflows.analysis.hull import HullEntry

    known: Counter[str] = Counter(
        values.method
        for compound in lock.compounds
        for values in compound.values
        if values.formation_energy is not None
    )
    if not known:
        raise InputError(f"{path}: no formation energy in it; its sources give none")
    listed = ", ".join(
        f"{name!r} ({pluralize(number, 'compound')})" for name, number in sorted(known.items())
    )
    if method is None and len(known) > 1:
        raise InputError(
            f"{path}: formation energies by {listed} cannot meet in one hull; choose one by --phases-method"
        )
    chosen = method if method is not None else next(iter(known))
    if chosen not in known:
        raise InputError(f"--phases-method {chosen!r}: {path} has formation energies by {listed}")
    phases: dict[str, HullEntry] = {}
    problems: dict[str, str] = {}
    for compound in lock.compounds:
        energies = [
            v.formation_energy
            for v in compound.values
            if v.method == chosen and v.formation_energy is not None
        ]
        if energies:
            phases[compound.label] = HullEntry(compound.formula, min(energies), chosen, compound.label)
        else:
            problems[compound.label] = f"{compound.label} has no energy in {path} by {chosen}"
    for formula, energy, by, name in lock.competing:
        if by == chosen:
            label = f"{formula} {name}".strip()
            phases[f"refused {label}"] = HullEntry(formula, energy, chosen, label)
    return chosen, KnownPhases(phases, problems)
