"""The lock file of a campaign with sources: its compounds, frozen, so that databases may change meanwhile.

`mgsurf enumerate` writes it beside the campaign file; `run`, `submit` and `status` read it. It is JSON with
sorted entries, rounded numbers and one line per site, so that equal lists give equal bytes and a version
control system shows what changed. A file is compared with its checksums, one for each field and each
compound, whenever it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stores.errors import InputError, pluralize
from stores.files import NO_ROOM, write_file
from stores.input_files import read_json
from stores.records import content_hash
from workflows.flows.enumeration.lock_model import LOCK_VERSION, LockFile

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.enumeration.lock_model import LockedCompound


SEALED_FROM = 3  # first lock version with checksums; before it `made_from` covered `sections` alone

CHECKSUMS = "checksums"
_PAIRS = TypeAdapter(list[tuple[str, str]])  # label and checksum of each compound
SHOWN_PLACES = 3  # number of changes of a file that its one line names

SECTIONS = ("compounds", "sources", "filters")
"""Sections of the campaign file that decide the list. Slab settings only decide the counts."""


def lock_path(campaign: Campaign) -> Path:
    """Return where a campaign's lock file is: ``mg.yaml`` has ``mg.lock.json`` beside it."""
    return campaign.path.with_name(f"{campaign.path.stem}.lock.json")


def sections_of(campaign: Campaign, lock_version: int = LOCK_VERSION) -> dict[str, Any]:
    """Return the sections that decide the list, as they stand in a lock file of some version."""
    patience = {"sources": {"__all__": {"timeout"}}} if campaign.sources else None
    plain = campaign.model_dump(
        mode="json",
        include=set(SECTIONS),
        exclude=patience,
        exclude_none=True,
        exclude_defaults=lock_version < 2,
    )
    return {name: plain[name] for name in SECTIONS if plain.get(name)}


def is_made_from(lock: LockFile, campaign: Campaign) -> bool:
    """Return whether the sections of a campaign are those that a lock file was made from."""
    return lock.made_from == content_hash(sections_of(campaign, lock.lock_version))


def dump_lock(lock: LockFile) -> str:
    """Return the text of a lock file, with its checksums."""
    plain = {"lock_version": lock.lock_version, **lock.model_dump(mode="json", exclude_defaults=True)}
    if lock.lock_version >= SEALED_FROM:
        plain[CHECKSUMS] = checksums(plain)
    return _json(plain)


def write_lock(text: str, path: Path) -> None:
    """Write the text of `dump_lock` atomically; `InputError` if it cannot be written."""
    try:
        write_file(path, text)
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; choose a file name with --output") from None
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise InputError(
            f"{path}: cannot be written: {error.strerror}; choose another place with --output"
        ) from None


def read_lock(path: Path, how: str) -> LockFile:
    """Read a lock file, and check that it is what was written and that its compounds have their formulas.

    `how` is the command that makes it, for messages. Raises `InputError` in one line, if the file is missing,
    unreadable, damaged, was changed since it was written (fields and compounds that changed are named), or
    was written by a newer mgsurf.
    """
    try:
        plain = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such lock file; run {how} first") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check path and permissions") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else str(path)
        raise InputError(f"{place}: the lock file is damaged ({_damage(error)}); {remedy(how)}") from None
    return checked_lock(plain, path, how)


def checked_lock(plain: Any, path: Path, how: str) -> LockFile:
    """Return the lock file in the content of its JSON, checked; parameters and errors as of `read_lock`."""
    version = plain.get("lock_version") if isinstance(plain, dict) else None
    if isinstance(version, int) and version > LOCK_VERSION:
        raise InputError(
            f"{path}: written by a newer mgsurf (schema version {version}, "
            f"supported: {LOCK_VERSION}); upgrade mgsurf"
        )
    stated = None
    if isinstance(plain, dict):
        stated = plain.get(CHECKSUMS)
        plain = {name: value for name, value in plain.items() if name != CHECKSUMS}
    try:
        lock = LockFile.model_validate(plain)
        places, lock._removed = _compare(plain, lock.lock_version, stated)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step + 1) if isinstance(step, int) else step for step in first["loc"])
        what = f"{field}: {first['msg']}" if field else first["msg"]
        raise InputError(f"{path}: the lock file is damaged ({what}); {remedy(how)}") from None
    except TypeError as error:  # text that is no UTF-8, an integer of more than 64 bits
        raise InputError(f"{path}: the lock file is damaged ({error}); {remedy(how)}") from None
    if places:
        more = f" and {len(places) - SHOWN_PLACES} more" if len(places) > SHOWN_PLACES else ""
        named = ", ".join(places[:SHOWN_PLACES]) + more
        raise InputError(f"{path}: the lock file was changed since it was written ({named}); {remedy(how)}")
    for compound in lock.compounds:
        compound.check_formula(f"{path}: {compound.label}", remedy(how))
    return lock


def checksums(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the checksums of a lock file: one for each field, and for each compound one with its label.

    `plain` is the file as plain values without its own checksums. Raises `TypeError` for a value that JSON in
    UTF-8 cannot hold.
    """
    compounds = [[compound["label"], content_hash(compound)] for compound in plain["compounds"]]
    fields = {name: content_hash(value) for name, value in plain.items() if name != "compounds"}
    return {**fields, "compounds": compounds}


def _compare(plain: dict[str, Any], version: int, stated: Any) -> tuple[list[str], list[str]]:
    """Compare a lock file with its checksums.

    `plain` is the file as plain values without its checksums, which are `stated`, or None if it has none.

    Returns
    -------
    changed
        Fields and compounds that differ from what was written, such as ``sections changed`` or
        ``compound 3 (MgAg Pm-3m) changed``.
    removed
        Labels of compounds that were deleted while the others stayed.
    """
    if version < SEALED_FROM:
        if stated is not None:
            return [f"lock_version is {version}, which has no checksums, but there are some"], []
        same = plain["made_from"] == content_hash(plain["sections"])
        return [] if same else ["made_from is not the hash of sections; one of them changed"], []
    try:
        was = [list(pair) for pair in _PAIRS.validate_python(stated["compounds"])]
    except (TypeError, KeyError, ValidationError):
        return ["checksums are missing or damaged"], []
    found = checksums(plain)
    changed = []
    for name in sorted({*stated, *found} - {"compounds"}):
        if stated.get(name) != found.get(name):
            word = "removed" if name not in found else "added" if name not in stated else "changed"
            changed.append(f"{name} {word}")
    now = found["compounds"]
    if len(now) < len(was):
        kept = [entry for entry in was if entry in now]
        if kept == now:
            return changed, [label for label, digest in was if [label, digest] not in now]
    return changed + _changed_compounds(was, now), []


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


def locked_structures(lock: LockFile, path: Path, how: str) -> tuple[list[Structure], list[str]]:
    """Return the crystals of a lock file, each compared with its entry, and lines for people.

    `path` and `how`, the command that makes the file, are for messages; errors as of
    `LockedCompound.checked_structure`.
    """
    structures, lines = [], []
    if lock.removed:
        named = ", ".join(lock.removed[:SHOWN_PLACES]) + (" ..." if len(lock.removed) > SHOWN_PLACES else "")
        lines.append(f"{path}: {pluralize(len(lock.removed), 'compound')} deleted by hand: {named}")
    for compound in lock.compounds:
        where = f"{path}: {compound.label}"
        structures.append(compound.checked_structure(where, remedy(how)))
        if lock.lock_version < SEALED_FROM:
            line = compound.check_planes(structures[-1], lock.slab_settings, where, remedy(how))
            lines += [line] if line else []
    return structures, lines


def campaign_lock(campaign: Campaign) -> LockFile:
    """Return the lock file of a campaign; `InputError` as `read_lock`, or if the sections changed since."""
    path, how = lock_path(campaign), f"mgsurf enumerate {campaign.path}"
    if not path.exists():
        raise InputError(f"{campaign.path}: there is no {path.name} with its compounds; run {how} first")
    lock = read_lock(path, how)
    if not is_made_from(lock, campaign):
        now = sections_of(campaign, lock.lock_version)
        raise InputError(
            f"{path}: made from other settings ({_first_difference(lock.sections, now)}); run {how} again"
        )
    return lock


def _first_difference(old: Any, new: Any, place: str = "") -> str:
    """Name the first place where two nested values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return _first_difference(old.get(key), new.get(key), f"{place}.{key}" if place else str(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True), start=1):
            if before != after:
                return _first_difference(before, after, f"{place}[{number}]")
    if isinstance(old, (dict, list)) or isinstance(new, (dict, list)):
        return f"{place} changed since" if place else "its sections were edited"
    return f"{place} was {_shown(old)}, is {_shown(new)}"


def _shown(value: Any) -> str:
    return "left out" if value is None else json.dumps(value, ensure_ascii=False)


def _damage(error: Exception) -> str:
    return str(getattr(error, "msg", "") or error).split(":")[0]


def remedy(how: str) -> str:
    """Return the remedy for a lock file that cannot be used; `how` is the command that makes it."""
    return f"restore it, or replace it with {how} --update"


def _json(value: Any, indent: str = "") -> str:
    """Write JSON with one line for each list of plain values."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_json(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" + ("" if indent else "\n")
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(f"{inner}{_json(item, inner)}" for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


NAMED = 10  # number of compounds of a kind that are named one by one


@dataclass
class Changes:
    """Compounds added, removed or changed."""

    # added, removed: labels with their first identifier
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    geometry: list[str] = field(default_factory=list)  # compounds with another cell or other atoms
    # labels of those whose identifiers, energies or slab counts changed, the geometry staying
    other: list[str] = field(default_factory=list)
    refused: str = ""  # change of the phases that are not listed but compete in hulls; empty if there is none

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return self.of_crystals or bool(self.other or self.refused)

    @property
    def of_crystals(self) -> bool:
        """Whether other crystals are listed, not only other values of the same ones."""
        return bool(self.added or self.removed or self.geometry)

    def lines(self) -> list[str]:
        """Return one line per compound, up to `NAMED` of a kind."""
        found = []
        for word, labels in (("added", self.added), ("removed", self.removed), ("geometry", self.geometry)):
            found += [f"{word:<9} {label}" for label in labels[:NAMED]]
            if len(labels) > NAMED:
                found.append(f"{word:<9} {len(labels) - NAMED} more")
        if self.other:
            n = len(self.other)
            few = ", ".join(self.other[:3]) + (" ..." if n > 3 else "")
            found.append(
                f"values    {n} compound{'s' * (n > 1)} with other identifiers, energies or counts: {few}"
            )
        if self.refused:
            found.append(f"competing {self.refused}")
        return found


def changes(old: LockFile, new: LockFile) -> Changes:
    """Compare two lists of compounds; entries that share an identifier and a formula are one compound."""
    found = Changes()
    by_name = {
        (compound.formula, name): number
        for number, compound in enumerate(old.compounds)
        for name in compound.provenance.identifiers
    }
    left = set(range(len(old.compounds)))
    for compound in new.compounds:
        names = ((compound.formula, name) for name in compound.provenance.identifiers)
        number = next((by_name[name] for name in names if by_name.get(name) in left), None)
        if number is None:
            found.added.append(_named(compound))
            continue
        left.discard(number)
        before = old.compounds[number]
        if (before.lattice, before.sites) != (compound.lattice, compound.sites):
            found.geometry.append(f"{compound.label}: {_difference(before, compound)}")
        elif before != compound:
            found.other.append(compound.label)
    found.removed = [_named(old.compounds[number]) for number in sorted(left)]
    if old.competing != new.competing:
        n, new_ones = len(new.competing), len({*new.competing} - {*old.competing})
        found.refused = (
            f"{pluralize(n, 'refused phase')}, were {len(old.competing)}; {new_ones} new or changed"
        )
    return found


def _named(compound: LockedCompound) -> str:
    name = compound.provenance.identifiers[0] if compound.provenance.identifiers else ""
    return compound.label if not name or name in compound.label else f"{compound.label} ({name})"


def _difference(before: LockedCompound, after: LockedCompound) -> str:
    """Return how two geometries of a compound differ."""
    words = []
    if before.provenance.source != after.provenance.source:
        words.append(f"taken from {after.provenance.source}, was {before.provenance.source}")
    if before.spacegroup_number != after.spacegroup_number:
        words.append(f"space group {after.spacegroup_symbol}, was {before.spacegroup_symbol}")
    edges = [np.linalg.norm(np.array(compound.lattice), axis=1) for compound in (before, after)]
    change = float(np.abs(edges[1] / edges[0] - 1).max())
    words.append(f"cell edges change by up to {100 * change:.2f} %" if change > 5e-6 else "atoms moved")
    return ", ".join(words)
