"""The settings file; apart from the settings, so that looking into it costs no import of pydantic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stores.errors import InputError

DEFAULT = Path(".config") / "mgsurf.yaml"
DEFAULT_WORK_DIR = "mgsurf_runs"


def settings_file() -> Path | None:
    """Return the settings file: MGSURF_CONFIG, else ~/.config/mgsurf.yaml if there is one.

    Raises
    ------
    InputError
        If MGSURF_CONFIG names a file that is not there.
    """
    if named := os.environ.get("MGSURF_CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise InputError(
                f"The settings file {path} (MGSURF_CONFIG) does not exist; make it or unset MGSURF_CONFIG."
            )
        return path
    path = Path.home() / DEFAULT
    return path if path.is_file() else None


def read_settings_file() -> dict[str, Any]:
    """Return what the settings file says, unchecked; nothing if there is no file.

    Raises
    ------
    InputError
        If it is not YAML of the form ``name: value``.
    """
    path = settings_file()
    if path is None:
        return {}
    from ruamel.yaml import YAML, YAMLError

    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The settings file {path} cannot be read: {' '.join(str(error).split())}"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The settings file {path} must hold lines such as 'store: results.sqlite'.")
    return {str(name): value for name, value in values.items()}


def resolve_work_dir(explicit: str | Path | None = None, campaign: str | None = None) -> Path:
    """Return a command's folder of raw files, absolute, chosen as its store is.

    As told, else MGSURF_WORK_DIR, else the campaign's, else the settings file's, else ./mgsurf_runs.
    """
    chosen = explicit or os.environ.get("MGSURF_WORK_DIR") or campaign
    return Path(chosen or read_settings_file().get("work_dir") or DEFAULT_WORK_DIR).expanduser().absolute()
