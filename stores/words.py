"""How numbers of things are written for people."""

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
