"""Splits in files: read, written, and freed of identical slabs that are in two parts.

A published split may hold one slab under two names, one in the training set, one in the test set; the error
on such a test slab is no measure of that on unseen slabs. ``drop`` leaves out the copies in the earlier part
(training before validation before test), ``move`` puts all copies into the later one.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.input_files import read_text
from stores.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.dataset import Dataset
    from model.splits import Split

PARTS = ("train", "val", "test")
TWINS = ("drop", "move")


@dataclass(frozen=True)
class Twins:
    """Identical slabs that a split has in two parts.

    Attributes
    ----------
    rule
        What was done about them, one of `TWINS`.
    groups
        Of each group of identical slabs the pairs of a record's id and the part that the split had it in.
    slabs
        Slabs that were dropped or moved.
    leaked
        Test slabs of the split as it was that have a copy in the training or validation set.
    """

    rule: str
    groups: tuple[tuple[tuple[str, str], ...], ...]
    slabs: int
    leaked: int

    def plain(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps."""
        groups = [[{"record_id": name, "part": part} for name, part in group] for group in self.groups]
        return {"rule": self.rule, "slabs": self.slabs, "leaked_test_slabs": self.leaked, "groups": groups}


def split_from_file(dataset: Dataset, path: Path, seed: int = 0, twins: str = "") -> Split:
    """Read a split; slabs that the file does not name are left out.

    Parameters
    ----------
    dataset
        What is divided.
    path
        CSV with the columns ``record_id`` and ``part`` (train, val or test), as `write_split` writes it; an
        imported slab may also be named by its id in the source, as published splits do.
    seed
        Noted, not used.
    twins
        What to do about identical slabs in two parts, one of `TWINS`; empty: refuse the split.

    Raises
    ------
    InputError
        If the file cannot be read, a part is unknown or empty, or identical slabs are in two parts.
    """
    from model.splits import Split

    given = _read(path)
    parts = [given.get(entry.record_id) or given.get(entry.source_id) for entry in dataset]
    groups: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(dataset):
        if parts[i] is not None:
            groups[entry.group].append(i)
    straddling = [group for group in groups.values() if len({parts[i] for i in group}) > 1]
    found = None
    if straddling:
        named = tuple(tuple((dataset[i].record_id, str(parts[i])) for i in group) for group in straddling)
        if not twins:
            raise InputError(_refusal(path, named))
        leaked = sum(parts[i] == "test" for group in straddling for i in group)
        changed = 0
        for group in straddling:
            later = max((str(parts[i]) for i in group), key=PARTS.index)
            for i in group:
                if parts[i] != later:
                    parts[i] = later if twins == "move" else None
                    changed += 1
        found = Twins(twins, named, changed, leaked)
    indices = [tuple(i for i, part in enumerate(parts) if part == name) for name in PARTS]
    for name, members in zip(PARTS, indices, strict=True):
        if not members:
            raise InputError(f"{path}: no slab of the data set is in part {name}")
    done = {"drop": ", twins dropped", "move": ", twins moved"}[twins] if found else ""
    return Split(f"file {path.name}{done}", seed, *indices, twins=found)


def write_split(dataset: Dataset, split: Split, path: Path) -> None:
    """Write a split so that `split_from_file` reads it again."""
    lines = ["record_id,part"]
    lines += [f"{dataset[i].record_id},{name}" for name in PARTS for i in split.part(name)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, str]:
    """Return the part of each record that a file names."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a split ({error}); give a CSV file") from error
    if not rows or not {"record_id", "part"} <= set(rows[0]):
        raise InputError(f"{path}: needs the columns record_id and part")
    given: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if row["part"] not in PARTS:
            raise InputError(f"{path}, line {number}: part {row['part']!r} is none of {', '.join(PARTS)}")
        if given.setdefault(row["record_id"], row["part"]) != row["part"]:
            raise InputError(f"{path}, line {number}: {row['record_id']} is in two parts")
    return given


def _refusal(path: Path, groups: Sequence[Sequence[tuple[str, str]]]) -> str:
    listed = "; ".join(" = ".join(f"{name} ({part})" for name, part in group) for group in groups)
    return (
        f"{path}: {counted(len(groups), 'slab')} under several names in different parts; put each into one "
        "part, or add --twins drop (leave out the copies in the earlier part) or --twins move (all into the "
        f"later part): {listed}"
    )
