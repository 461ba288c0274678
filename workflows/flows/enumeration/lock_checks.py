"""Whether a lock file is what was written, and whether its compounds are what they are called.

A file is compared with its checksums, one for each field and each compound, whenever it is read. Each
compound is compared with its own sites: its formula at every reading, its symmetry where crystals are made.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.records import content_hash
from workflows.structures.naming import format_plane, mg_first_formula
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from workflows.flows.enumeration.lock_model import LockedCompound

SEALED_FROM = 3
"""First lock version with checksums; before it `made_from` covered `sections` alone."""

CHECKSUMS = "checksums"

_TOLERANCES = (SYMPREC, LOOSE_SYMPREC, SYMPREC / 10)
"""Of the symmetry search (A). Lists of files and of databases are made with the first and the second; the
third stands for files of older versions, whose search was narrower in angles."""


def checksums(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the checksums of a lock file: one for each field, and for each compound one with its label.

    Parameters
    ----------
    plain
        The file as plain values, its own checksums apart.

    Raises
    ------
    TypeError
        If a value is none that JSON in UTF-8 can hold.
    """
    compounds = [[compound["label"], content_hash(compound)] for compound in plain["compounds"]]
    fields = {name: content_hash(value) for name, value in plain.items() if name != "compounds"}
    return {**fields, "compounds": compounds}


def compare(plain: dict[str, Any], version: int, stated: Any) -> tuple[list[str], list[str]]:
    """Compare a lock file with its checksums.

    Parameters
    ----------
    plain
        The file as plain values, its own checksums apart; its layout has been checked.
    version
        Its lock version.
    stated
        Its checksums; None if it has none.

    Returns
    -------
    changed
        Fields and compounds that are not those that were written, such as ``sections changed`` or
        ``compound 3 (MgAg Pm-3m) changed``.
    removed
        Labels of compounds that were taken out, the others staying as they were.
    """
    if version < SEALED_FROM:
        if stated is not None:
            return [f"lock_version is {version}, which has no checksums, but there are some"], []
        same = plain["made_from"] == content_hash(plain["sections"])
        return [] if same else ["made_from is not the hash of sections; one of them changed"], []
    if not isinstance(stated, dict) or not _is_pairs(stated.get("compounds")):
        return ["checksums are missing or damaged"], []
    found = checksums(plain)
    changed = []
    for name in sorted({*stated, *found} - {"compounds"}):
        if stated.get(name) != found.get(name):
            word = "removed" if name not in found else "added" if name not in stated else "changed"
            changed.append(f"{name} {word}")
    was, now = stated["compounds"], found["compounds"]
    if len(now) < len(was):
        kept = [entry for entry in was if entry in now]
        if kept == now:
            return changed, [label for label, digest in was if [label, digest] not in now]
    return changed + _changed_compounds(was, now), []


def _is_pairs(value: Any) -> bool:
    """Return whether a value is a list of pairs of texts, as checksums of compounds are."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )


def _changed_compounds(was: list[Any], now: list[list[str]]) -> list[str]:
    """Name the compounds that were changed, added or moved."""
    if was == now:
        return []
    if len(was) == len(now):
        pairs = enumerate(zip(was, now, strict=True), start=1)
        return [f"compound {number} ({entry[0]}) changed" for number, (old, entry) in pairs if old != entry]
    numbers = [(number, entry) for number, entry in enumerate(now, start=1) if entry not in was]
    return [f"compound {number} ({entry[0]}) added or changed" for number, entry in numbers] or [
        "compounds repeated or moved"
    ]


def check_formula(compound: LockedCompound, where: str, remedy: str) -> None:
    """Compare the stated formula of a compound with its sites, without pymatgen unless there is no Mg.

    Raises
    ------
    InputError
        In one line with both formulas.
    """
    counts = Counter(site[0] for site in compound.sites)
    if "Mg" not in counts and "Mg" not in compound.formula:
        return  # an element or a compound without Mg, which is not computed: compared with its crystal
    formula = mg_first_formula(counts) if "Mg" in counts else "without Mg"
    if formula != compound.formula:
        raise InputError(f"{where}: its sites are {formula}, its formula is {compound.formula}; {remedy}")


def checked_structure(compound: LockedCompound, where: str, remedy: str) -> Structure:
    """Return the crystal of a compound that is what its entry says.

    Parameters
    ----------
    compound
        From a lock file.
    where
        File and label, for messages.
    remedy
        What to do, for messages.

    Raises
    ------
    InputError
        In one line with both sides, if its sites are no bulk crystal, or contradict the stated formula,
        space group or number of atoms.
    """
    from stores.structures.reading import check_structure
    from stores.structures.vacuum import check_bulk
    from workflows.structures.space_group import search

    try:
        structure = compound.structure()
    except ValueError as error:  # no such element
        raise InputError(f"{where}: {error}; {remedy}") from None
    check_structure(structure, where)
    check_bulk(structure, where)
    formula = mg_first_formula(structure.composition)
    if formula != compound.formula or compound.label.split(" ")[0] != formula:
        raise InputError(
            f"{where}: its sites are {formula}, its formula is {compound.formula}, its label "
            f"{compound.label}; {remedy}"
        )
    stated = (compound.spacegroup_number, compound.spacegroup_symbol, compound.n_atoms, len(compound.sites))
    found: list[tuple[int, str, int, int]] = []
    for tolerance in _TOLERANCES:
        dataset = search(structure, tolerance)
        if dataset is None:
            continue
        n_primitive = len(set(dataset.mapping_to_primitive.tolist()))
        found.append((int(dataset.number), str(dataset.international), n_primitive, len(dataset.std_types)))
        if found[-1] == stated:
            return structure
    sides = f"its sites make {_words(found[0])}" if found else "its sites have no symmetry that can be found"
    raise InputError(f"{where}: {sides}, its entry states {_words(stated)}; {remedy}")


def _words(group: tuple[int, str, int, int]) -> str:
    number, symbol, n_primitive, n_sites = group
    return (
        f"space group {symbol} ({number}) with {n_primitive} atoms in the primitive cell, {n_sites} in the "
        "conventional one"
    )


def check_planes(
    compound: LockedCompound, structure: Structure, settings: dict[str, Any], where: str, remedy: str
) -> str:
    """Count the slabs of a compound with the `slab_settings` of its lock file, and compare the counts.

    Only files without checksums need it. Counts decide nothing that is computed, and another version may
    count otherwise, so that other counts are no error; planes that were chosen for a compound are computed.

    Returns
    -------
    str
        A line for people with both counts; empty if they agree.

    Raises
    ------
    InputError
        If planes were chosen, and others are listed, or nothing can be counted with `slab_settings`.
    """
    from workflows.structures.crystal import crystal_of
    from workflows.structures.slabs import SlabSettings, count_slabs

    crystal = crystal_of(structure)
    try:
        facets = count_slabs(crystal, SlabSettings(**settings), miller_indices=compound.facets)
    except (InputError, TypeError) as error:  # an argument by no such name is a TypeError
        raise InputError(
            f"{where}: its slabs cannot be counted with slab_settings ({error}); {remedy}"
        ) from None
    counts = {format_plane(f.miller_index, crystal.spacegroup_number): len(f.slabs) for f in facets}
    if counts == compound.slabs:
        return ""
    sides = f"its slabs are listed as {_counts(compound.slabs)}, its crystal has {_counts(counts)}"
    if compound.facets is not None and set(counts) != set(compound.slabs):
        raise InputError(f"{where}: {sides}; {remedy}")
    return f"{where}: {sides}; the crystal is what is computed"


def _counts(slabs: dict[str, int]) -> str:
    return " ".join(f"{plane}:{number}" for plane, number in slabs.items()) or "none"
