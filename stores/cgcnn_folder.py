"""Folders as CGCNN and cgcnn2 read them: a CIF for each structure, a table for each target."""

from __future__ import annotations

import csv
import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from stores.cgcnn_elements import atom_init
from stores.errors import InputError
from stores.structures.reading import ATOM_INIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

ALL_TARGETS = "id_prop_all.csv"
"""File of a CGCNN folder with all slabs and targets; `mgsurf import` reads it."""

COLUMNS_FILE = "id_prop_columns.txt"
"""File of a CGCNN folder that explains the others."""

HEADING = (
    "Slabs as CGCNN (txie-93/cgcnn) and cgcnn2 (PyPI) read them: two columns, id and target, no header line."
)
"""First line of `COLUMNS_FILE`, of every version."""

WORDS = {
    "surface_energy": "surface energy, Mg-rich (eV/A^2); without Mg rich in the electropositive element",
    "work_function": "work function (eV)",
}
"""What the values of a target are."""


def table_names(targets: Sequence[str]) -> dict[str, str]:
    """Return the file of each target, with those that have it alone; the first is what CGCNN trains on."""
    return {name: f"id_prop_{name}.csv" if number else "id_prop.csv" for number, name in enumerate(targets)}


def explanation(targets: Sequence[str]) -> str:
    """Return the text of `COLUMNS_FILE`."""
    lines = [HEADING]
    for number, (target, file) in enumerate(table_names(targets).items()):
        swap = "; to train on it, put it in the place of id_prop.csv" if number else ""
        lines.append(f"{file:<26} {WORDS.get(target, target)}{swap}")
    return "\n".join(
        [
            *lines,
            "atom_init.json             92 element features (Xie and Grossman, PRL 120, 145301 (2018), "
            "supplement)",
            "<id>.cif                   structure of a slab",
            f"{ALL_TARGETS}            all slabs with {'both' if len(targets) == 2 else 'all'} targets, for "
            "mgsurf import; an empty cell: not computed,",
            "                           or not accepted by its verdict\n",
        ]
    )


class CgcnnFolder:
    """Writes such a folder, one structure at a time; use it as a context manager.

    Parameters
    ----------
    path
        Folder to make.
    targets
        Names of the values.

    Raises
    ------
    InputError
        By `add`, if an id cannot name a file.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, targets: Sequence[str]) -> None:
        path.mkdir()
        self.path = path
        self.targets = tuple(targets)
        self._files = ExitStack()
        self._everything = self._table(ALL_TARGETS)
        self._everything.writerow(["id", *self.targets])
        self._single = {target: self._table(name) for target, name in table_names(self.targets).items()}

    def _table(self, name: str) -> Any:
        file = self._files.enter_context((self.path / name).open("w", newline="", encoding="utf-8"))
        return csv.writer(file, lineterminator="\n")

    def add(self, id: str, cif: str, values: Mapping[str, float | None]) -> Path:
        """Add a structure with its values; those that are None are left out. Returns its file."""
        if not re.fullmatch(r"[\w.-]+", id) or id.startswith("."):
            raise InputError(f"The id {id!r} cannot name a file; remove this record.")
        file = self.path / f"{id}.cif"
        file.write_text(cif, encoding="utf-8")
        self._everything.writerow([id, *(values.get(target) for target in self.targets)])
        for target, rows in self._single.items():
            if (value := values.get(target)) is not None:  # neither reader takes an empty cell
                rows.writerow([id, value])
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._files.close()
        if kind is None:
            (self.path / ATOM_INIT).write_text(json.dumps(atom_init()), encoding="utf-8")
            (self.path / COLUMNS_FILE).write_text(explanation(self.targets), encoding="utf-8")
