"""The folders of a tree that hold finished VASP runs, and a line for each that cannot be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from stores.errors import InputError
from workflows.engines.vasp.files import latest

VASPRUN = "vasprun.xml"

OUTPUT_FILES = ("OUTCAR", "OSZICAR", "LOCPOT", "XDATCAR", "EIGENVAL", "DOSCAR", "vaspout.h5")
"""A folder with one of these, but without vasprun.xml, holds a run that cannot be read."""

_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".7z")

_LIKE_OUTPUT = ("vasprun", "outcar", "oszicar")
"""How names begin that somebody gave to a file of a run."""


@dataclass
class RunFolders:
    """What a search for runs found.

    Attributes
    ----------
    folders
        Each folder with a vasprun.xml, once; where links lead to it as well, by its own path.
    problems
        One line for each folder, link or file that cannot be read.
    notes
        One line for each link that leads to a folder that is read without it, and for each folder that holds
        an input or an archive only.
    """

    folders: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_runs(*roots: Path) -> RunFolders:
    """Search folders and everything below them; links to folders are followed, each folder is read once.

    Raises
    ------
    InputError
        If a root is no folder.
    """
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder that holds the VASP calculations")
    found = RunFolders()
    search = _Search(found, [root.resolve() for root in roots])
    for root in roots:
        search.walk(root)
    search.follow_links()
    return found


class _Search:
    def __init__(self, found: RunFolders, roots: list[Path]) -> None:
        self._found, self._roots = found, roots
        self._seen: dict[tuple[int, int], Path] = {}
        self._links: list[Path] = []

    def walk(self, root: Path) -> None:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in self._seen:
                    continue
                self._seen[status.st_dev, status.st_ino] = folder
                with os.scandir(folder) as entries:
                    inside = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._report(f"{folder}: cannot be read: {error.strerror}; correct its permissions")
                continue
            waiting += reversed(self._look(folder, inside))

    def follow_links(self) -> None:
        """Walk what links lead to, after everything that lies in the tree itself."""
        for link in self._links:  # grows: there may be links behind links
            target = link.resolve()
            status = target.stat()
            if any(root.is_relative_to(target) for root in self._roots):
                self._found.notes.append(f"{link}: a link to {target}, a folder above; not followed")
            elif known := self._seen.get((status.st_dev, status.st_ino)):
                self._found.notes.append(f"{link}: a link to {known}, which is read once")
            else:
                self.walk(link)

    def _look(self, folder: Path, inside: list[os.DirEntry[str]]) -> list[Path]:
        """Sort what a folder holds; return the folders in it."""
        folders: list[Path] = []
        files: list[str] = []
        for entry in inside:
            path = folder / entry.name
            try:
                if entry.is_dir():
                    (self._links if entry.is_symlink() else folders).append(path)
                elif entry.is_file():
                    files.append(entry.name)
                elif not _is_not_read(entry.name):
                    what = (
                        f"a link to {path.readlink()}, which does not exist"
                        if entry.is_symlink()
                        else "no file"
                    )
                    self._report(f"{path}: {what}; put it there, or remove this")
            except OSError as error:
                self._report(f"{path}: cannot be read: {error.strerror}; correct it, or remove this")
        if latest(files, VASPRUN) is not None:
            self._found.folders.append(folder)
        elif left := [name for name in files if _is_output(name)]:
            self._report(
                f"{folder}: no vasprun.xml (there is {', '.join(left)}); copy it there, under that name, or "
                "run the calculation again"
            )
        elif left := [name for name in files if latest([name], "INCAR") or name.lower().endswith(_ARCHIVES)]:
            self._found.notes.append(f"{folder}: no output of VASP (there is {', '.join(left)}); not read")
        return folders

    def _report(self, line: str) -> None:
        self._found.problems.append(line)


def _is_output(name: str) -> bool:
    return name.lower().startswith(_LIKE_OUTPUT) or any(latest([name], output) for output in OUTPUT_FILES)


def _is_not_read(name: str) -> bool:
    """Tell whether a name is that of a file of VASP that is not read here, such as WAVECAR."""
    plain = name.split(".")[0]
    return plain.isupper() and plain.isalpha() and not _is_output(name)
