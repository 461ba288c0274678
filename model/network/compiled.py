"""Functions compiled by Numba, their machine code kept between processes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
from numba import njit

from stores.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}  # reorder sums, but keep infinities and NaN
_SETTINGS: dict[str, Any] = {"fastmath": FAST_MATH, "nogil": True, "error_model": "numpy"}


_EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

Function = TypeVar("Function", bound="Callable[..., Any]")


def exact(function: Function) -> Function:
    """Compile a part of a function that is `compiled` exactly, at its first call."""
    return cast("Function", njit(**_EXACT)(function))


@cache
def compiled(function: Callable[..., None], *, exact: bool = False) -> Callable[..., None]:
    """Compile a function, or read what an earlier process compiled on such a machine.

    `exact`: leave sums in their order, instead of `FAST_MATH`.

    Machine code is kept in ``NUMBA_CACHE_DIR``, else in mgsurf's cache folder; Numba alone would put it
    beside this file, into the installation.
    """
    config: Any = numba.config
    settings = _EXACT if exact else _SETTINGS
    before = config.CACHE_DIR
    folder = before or str(cache_folder() / "numba")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        config.CACHE_DIR = folder  # read by njit
        found = njit(cache=True, **settings)(function)
        kept = Path(folder) in Path(found.stats.cache_path).parents
    except (OSError, RuntimeError):  # no such folder, or no place that can be written
        kept = False
    finally:
        config.CACHE_DIR = before
    if not kept:
        found = njit(**settings)(function)
    return cast("Callable[..., None]", found)
