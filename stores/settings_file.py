"""Settings of this machine and user: variables of the environment go before the file, that before defaults.

Not by pydantic-settings, whose import costs more than a whole query.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from stores.errors import InputError
from stores.input_files import load_yaml, read_text
from stores.paths import expand_user, home_folder

DEFAULT = Path(".config") / "mgsurf.yaml"
KNOWN: dict[str, tuple[type, str]] = {
    "store": (str, "the URI or file name of a store"),
    "work_dir": (str, "the name of a folder"),
    "ranks": (int, "an integer of at least 1"),
}
"""The settings that a file may hold, with their types in words."""
DEFAULT_WORK_DIR = "mgsurf_runs"


def settings_file() -> Path | None:
    """Return the settings file: MGSURF_CONFIG, which must exist, else ~/.config/mgsurf.yaml or None."""
    if named := os.environ.get("MGSURF_CONFIG"):
        path = expand_user(named, "MGSURF_CONFIG")
        if not path.is_file():
            raise InputError(
                f"The settings file {path} (MGSURF_CONFIG) does not exist; make it or unset MGSURF_CONFIG."
            )
        return path
    home = home_folder()
    return home / DEFAULT if home is not None and (home / DEFAULT).is_file() else None


def read_settings_file() -> dict[str, Any]:
    """Return the settings of the file, none without one; `InputError` for a wrong line, name or value."""
    path = settings_file()
    if path is None:
        return {}
    from ruamel.yaml import YAML, YAMLError

    try:
        values = load_yaml(read_text(path), YAML(typ="safe"))
    except (YAMLError, OSError, ValueError, OverflowError) as error:
        # without the lines it quotes: they may hold a password
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"The settings file {path} cannot be read{place}: {problem}; correct it") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The settings file {path} must hold lines such as 'store: results.sqlite'.")
    for name, value in values.items():
        _check(path, name, value)
    return dict(values)


def _check(path: Path, name: Any, value: Any) -> None:
    if name not in KNOWN:
        near = difflib.get_close_matches(str(name), KNOWN, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"Setting {name}: is not known; {hint}known settings are {', '.join(KNOWN)} (from {path})."
        )
    kind, words = KNOWN[name]
    if name == "ranks" and value is None:
        return
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not right or (isinstance(value, int) and value < 1):
        raise InputError(f"Setting {name}: must be {words}, not {value!r} (from {path}).")


def resolve_work_dir(explicit: str | Path | None = None, campaign: str | None = None) -> Path:
    """Return a command's folder of raw files, absolute, chosen as its store is.

    As given, else MGSURF_WORK_DIR, else the campaign's, else the settings file's, else ./mgsurf_runs.
    """
    chosen = explicit or os.environ.get("MGSURF_WORK_DIR") or campaign
    return expand_user(
        chosen or read_settings_file().get("work_dir") or DEFAULT_WORK_DIR, "work_dir"
    ).absolute()


def resolve_ranks() -> int | None:
    """Return the MPI ranks of a calculation: MGSURF_RANKS, else the settings file's, else None (per core)."""
    given = os.environ.get("MGSURF_RANKS")
    if not given:
        return read_settings_file().get("ranks")
    try:
        ranks = int(given)
    except ValueError:  # also for more digits than Python reads
        ranks = 0
    if ranks < 1:
        raise InputError(
            f"Setting ranks: must be {KNOWN['ranks'][1]}, not {given[:40]!r} (from MGSURF_RANKS)."
        )
    return ranks
