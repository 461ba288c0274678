"""The lock file of a campaign with sources: its compounds, frozen, so that databases may change meanwhile.

`mgsurf enumerate` writes it beside the campaign file; `run`, `submit` and `status` read it. It is JSON with
sorted entries, rounded numbers and one line per site, so that equal lists give equal bytes and a version
control system shows what changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stores.errors import InputError
from stores.files import NO_ROOM, write_file
from stores.input_files import read_json
from stores.method import content_hash
from stores.words import counted
from workflows.flows.lock_checks import (
    CHECKSUMS,
    SEALED_FROM,
    check_formula,
    check_planes,
    checked_structure,
    checksums,
    compare,
)
from workflows.flows.lock_model import (
    LOCK_VERSION,
    LockFile,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from workflows.flows.campaign_settings import Campaign

LENGTH_DIGITS = 6
"""Of lattice vectors (A)."""

POSITION_DIGITS = 8
"""Of fractional coordinates."""

ENERGY_DIGITS = 6
SHOWN_PLACES = 3
"""So many changes of a file are named in its one line."""

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
    """Tell whether the sections of a campaign are those that a lock file was made from."""
    return lock.made_from == content_hash(sections_of(campaign, lock.lock_version))


def dump_lock(lock: LockFile) -> str:
    """Return the text of a lock file, with its checksums."""
    plain = {"lock_version": lock.lock_version, **lock.model_dump(mode="json", exclude_defaults=True)}
    if lock.lock_version >= SEALED_FROM:
        plain[CHECKSUMS] = checksums(plain)
    return _json(plain)


def write_lock(text: str, path: Path) -> None:
    """Write what `dump_lock` gave in one go: a reader sees the old file or the new one, never a part.

    Raises
    ------
    InputError
        If it cannot be written.
    """
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

    Parameters
    ----------
    path
        The file.
    how
        The command that makes it, for messages.

    Raises
    ------
    InputError
        In one line, if it is missing, unreadable, damaged, was changed since it was written, or was written
        by a newer mgsurf; fields and compounds that changed are named.
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
    """Return the lock file of what its JSON holds, checked; parameters and errors as of `read_lock`."""
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
        places, lock._removed = compare(plain, lock.lock_version, stated)
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
        check_formula(compound, f"{path}: {compound.label}", remedy(how))
    return lock


def locked_structures(lock: LockFile, path: Path, how: str) -> tuple[list[Structure], list[str]]:
    """Return the crystals of a lock file, each compared with its entry, and lines for people.

    Parameters
    ----------
    lock
        From `read_lock`.
    path, how
        File and command that makes it, for messages.

    Raises
    ------
    InputError
        In one line that names the entry, as `workflows.flows.lock_checks.checked_structure`.
    """
    structures, lines = [], removed_line(lock, path)
    for compound in lock.compounds:
        where = f"{path}: {compound.label}"
        structures.append(checked_structure(compound, where, remedy(how)))
        if lock.lock_version < SEALED_FROM and (
            line := check_planes(compound, structures[-1], lock.slab_settings, where, remedy(how))
        ):
            lines.append(line)
    return structures, lines


def removed_line(lock: LockFile, path: Path) -> list[str]:
    """Return a line that names the compounds deleted from a lock file by hand; none if there are none."""
    if not lock.removed:
        return []
    named = ", ".join(lock.removed[:SHOWN_PLACES]) + (" ..." if len(lock.removed) > SHOWN_PLACES else "")
    return [f"{path}: {counted(len(lock.removed), 'compound')} deleted by hand: {named}"]


def campaign_lock(campaign: Campaign) -> LockFile:
    """Return the lock file of a campaign, made from its sections as they are now.

    Raises
    ------
    InputError
        As `read_lock`, or if the sections changed since.
    """
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
    """Return what to do about a lock file that cannot be used; `how` is the command that makes it."""
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
