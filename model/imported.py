"""Labelled slabs in the files of others, as they come out of a reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.slab_frame import PlainSlab

UNITS = {"surface_energy": "eV/A^2", "work_function": "eV"}
"""Of the targets whose unit is agreed."""
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
    units
        Of the targets, where known.
    miller_index
        hkl, where known.
    geometry
        "as_cut" or "relaxed" where the file says so, else "".
    """

    source_id: str
    where: str
    slab: PlainSlab
    targets: dict[str, float | None]
    units: dict[str, str] = field(default_factory=dict)
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
    """The lines of a data set, counted, to be read one by one."""

    count: int
    rows: Iterator[Labelled | Problem]
