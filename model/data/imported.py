"""Labelled slabs in the files of others, as they come out of a reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.graphs.slab_frame import PlainSlab

BATCH = 200
"""Records written at once: what is read so far survives an interruption."""
TARGET_NAME = re.compile(r"[A-Za-z]\w{0,63}")


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled slab as its file has it.

    Attributes
    ----------
    source_id
        Its name there.
    where
        File and line or number, for messages.
    slab
        The structure.
    targets
        Values by name; None where the cell is empty.
    miller_index
        hkl, where known.
    geometry
        "as_cut" or "relaxed" where the file says so, else "".
    """

    source_id: str
    where: str
    slab: PlainSlab
    targets: dict[str, float | None]
    miller_index: tuple[int, int, int] | None = None
    geometry: str = ""


@dataclass(frozen=True)
class Problem:
    """One line that could not be used, in words that begin with its place."""

    text: str


def checked_names(names: Sequence[str]) -> list[str]:
    """Return names of targets, if they can be such.

    Raises
    ------
    InputError
        If one is no plain word, or occurs twice.
    """
    for name in names:
        if not TARGET_NAME.fullmatch(name):
            raise InputError(
                f"The target name {name!r} is no plain word; use letters, digits and underscores."
            )
    if len(set(names)) != len(names):
        raise InputError(f"A target is named twice in {', '.join(names)}; name each column once.")
    return list(names)


@dataclass(frozen=True, eq=False)
class Rows:
    """The lines of a data set, to be read one by one.

    Attributes
    ----------
    count
        How many there are.
    rows
        The lines; values are as the source has them.
    columns
        All values of each target.
    units
        Of the targets, where the source states them.
    """

    count: int
    rows: Iterator[Labelled | Problem]
    columns: dict[str, list[float]]
    units: dict[str, str]


@dataclass
class Imported:
    """What an import did.

    Attributes
    ----------
    format
        What was read.
    source
        Name of the source.
    n_read
        Slabs that could be used.
    n_changed
        Records that were new or had changed in the store.
    n_labels
        Values by target.
    problems
        One line for each line of the source that could not be used.
    notes
        What was converted, and what may be wrong with what was read.
    """

    format: str
    source: str
    n_read: int = 0
    n_changed: int = 0
    n_labels: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
