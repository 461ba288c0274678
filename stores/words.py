"""How numbers of things and times are written for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number of things: 1 slab, 3 slabs.

    Parameters
    ----------
    number
        How many.
    noun
        In the singular; its plural must end in a mere s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a time for people: 40 s, 6 min, 2.5 h.

    Parameters
    ----------
    seconds
        Wall or processor time (s).
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
