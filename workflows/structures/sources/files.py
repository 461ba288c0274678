"""Bulk structures from a file or a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.records import Provenance
from stores.structures.reading import read_all, show_notes, structure_files
from stores.structures.vacuum import check_bulk
from workflows.structures.sources.protocol import Candidate
from workflows.structures.symmetrize import with_symmetry

if TYPE_CHECKING:
    from collections.abc import Iterator


class FileSource:
    """Structures in a file (CIF, POSCAR, extended XYZ, JSON), or in all such files of a folder.

    Parameters
    ----------
    path
        File or folder; subfolders are searched, hidden ones are not.
    symprec
        Tolerance within which the crystals are symmetrised (A); they stay as they are if None. Either way a
        line is logged about each crystal that this changes or would change.
    """

    name = "file"

    def __init__(self, path: str | Path, symprec: float | None = None) -> None:
        self.path = Path(path)
        self.symprec = symprec
        self.problems: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Yield every structure; each file that cannot be used adds one line to `problems`.

        Raises
        ------
        InputError
            If the path does not exist, or the folder holds no structure file.
        """
        self.problems = []
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: check the path")
        for path in structure_files(self.path) if self.path.is_dir() else [self.path]:
            try:
                found = read_all(path)
            except InputError as error:
                self.problems.append(str(error))
                continue
            for number, structure in enumerate(found, start=1):
                suffix = f"#{number}" if len(found) > 1 else ""
                label = f"{path.name}{suffix}"
                try:
                    show_notes(check_bulk(structure, f"{path}{suffix}"))
                    crystal = with_symmetry(structure, label, self.symprec)
                except InputError as error:
                    self.problems.append(str(error))
                    continue
                yield Candidate(
                    structure=crystal,
                    provenance=Provenance(source=self.name, identifiers=[f"{path}{suffix}"]),
                    label=label,
                )
