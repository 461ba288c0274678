"""Numbers given as options of an engine."""

from __future__ import annotations

import math

from stores.errors import InputError


def checked_number(
    engine: str, option: str, value: object, *, whole: bool = False, zero: bool = False
) -> float:
    """Return an option's value in the one type it is hashed in: 6 and 6.0 are the same setting.

    Parameters
    ----------
    engine, option
        Names for the message.
    value
        As given.
    whole
        Whether it must be a whole number; then an int is returned, else a float.
    zero
        Whether 0 is allowed too.

    Raises
    ------
    InputError
        If it is no positive number, or not whole where it must be.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not (value >= 0 if zero else value > 0)
    ):
        raise InputError(f"engine '{engine}': {option} must be a positive number, got {value!r}")
    if not whole:
        return float(value)
    if value != int(value):
        raise InputError(f"engine '{engine}': {option} must be a whole number, got {value!r}")
    return int(value)
