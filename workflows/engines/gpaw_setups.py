"""The PAW setups GPAW will find, looked up without importing it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.method import OLD_NAME
from stores.paths import home_folder
from workflows.engines.gpaw_presets import ELEMENTS_WITHOUT_SETUP, LAST_ATOMIC_NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping


def setup_labels(setups: Mapping[Any, Any]) -> dict[str, str]:
    """Return a table of setups as text, as a YAML file may not give it: ``Mg: 2`` is an integer there.

    Raises
    ------
    InputError
        If a label is neither text nor a whole number, or no such setup is installed.
    """
    table = {}
    for element, label in setups.items():
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise InputError(f"engine 'gpaw': the setup of {element} must be a name, got {label!r}")
        table[str(element)] = str(label)
        _require_setup(str(element), str(label))
    return table


def _require_setup(element: str, label: str) -> None:
    # What follows a colon is a Hubbard correction, not part of the file's name.
    wanted = label.split(":")[0] or "paw"
    installed = installed_labels(element)
    if installed is not None and wanted not in installed:
        known = f"there are {', '.join(installed)}" if installed else f"there is none of {element}"
        raise InputError(f"engine 'gpaw': no PBE setup '{wanted}' of {element} is installed: {known}")


def installed_labels(element: str) -> list[str] | None:
    """Return the labels of an element's installed PBE setups, the default one as ``paw``.

    None if they cannot be known: no folder is found, or GPAW's start-up file may add one.
    """
    folders = setup_folders()
    if not folders or _has_start_file():
        return None
    labels = set()
    for folder in folders:
        for path in folder.glob(f"{element}.*PBE*"):
            name = path.name.removesuffix(".gz").split(".")
            if name[-1] == "PBE" and len(name) <= 3:
                labels.add("paw" if len(name) == 2 else name[1])
    return sorted(labels)


def _has_start_file() -> bool:
    home = home_folder()
    return home is not None and (home / ".gpaw" / "rc.py").is_file()


def setups_source() -> str | dict[str, str]:
    """Return what tells one source of PAW setups from another.

    Returns
    -------
    str or dict
        Name and version of the package, ``unknown`` if it is not installed. Where GPAW_SETUP_PATH, which goes
        before the package, holds setups, a table by element: ``default`` is the package, elements with files
        of their own have a digest of names and sizes of these; ``all`` is that of all, by which records were
        named before fingerprints were cut to elements.
    """
    own = _own_folders(os.environ.get("GPAW_SETUP_PATH", ""))
    files = sorted({(path.name, path.stat().st_size) for folder in own for path in folder.glob("*.PBE*")})
    try:
        package = f"gpaw-data {version('gpaw-data')}"
    except PackageNotFoundError:
        package = "unknown"
    if not files:
        return package
    elements = sorted({name.partition(".")[0] for name, _ in files})
    by_element = {e: [file for file in files if file[0].partition(".")[0] == e] for e in elements}
    return {
        "default": package,
        OLD_NAME: f"GPAW_SETUP_PATH {_digest(files)}",
        **{element: f"GPAW_SETUP_PATH {_digest(of)}" for element, of in by_element.items()},
    }


def _digest(files: list[tuple[str, int]]) -> str:
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]


def _own_folders(path: str) -> tuple[Path, ...]:
    return tuple(folder for part in path.split(os.pathsep) if part and (folder := Path(part)).is_dir())


def setup_folders() -> tuple[Path, ...]:
    """Return the folders GPAW reads setups from."""
    return _own_folders(os.environ.get("GPAW_SETUP_PATH", "")) + _package_folders()


@cache
def _package_folders() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("gpaw_data")
    places = (spec.submodule_search_locations if spec is not None else None) or ()
    return tuple(folder for place in places if (folder := Path(place) / "setups").is_dir())


def has_setup(element: str) -> bool:
    """Tell whether there is a default PBE setup of an element.

    The installed files are asked; without any, the list of gpaw-data 1.2.1.
    """
    folders = setup_folders()
    if not folders:
        from ase.data import atomic_numbers

        return element not in ELEMENTS_WITHOUT_SETUP and atomic_numbers[element] <= LAST_ATOMIC_NUMBER
    names = (f"{element}.PBE", f"{element}.PBE.gz")
    return any((folder / name).exists() for folder in folders for name in names)
