"""Structures for the three-dimensional view, and as drawings for browsers without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PATCH = 9.0
"""Repeats of a slab show at least this much of its surface along both edges (A)."""

MOST_ATOMS = 600
"""In a view; slabs of more atoms than that are shown once, without repeats."""

RADIUS = 1.25
"""Of a drawn atom (A), about that of a metal atom."""

ELEMENT_COLOURS = (2, 3, 5, 6, 1, 4, 7, 0)
"""Numbers of the palette that elements take, Mg first; as in the figures of potentials."""


def element_colours(symbols: Sequence[str]) -> dict[str, int]:
    """Return the number of each element's colour in the palette."""
    elements = sorted(set(symbols), key=lambda symbol: (symbol != "Mg", symbol))
    return {e: ELEMENT_COLOURS[place % len(ELEMENT_COLOURS)] for place, e in enumerate(elements)}


def view_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored structure for a view: symbols, positions (A) with repeats in the plane, and its cell.

    The c axis of a stored slab is its normal, which the view keeps upright.

    Raises
    ------
    StoreError
        If the document is no structure.
    """
    try:
        cell = np.asarray(document["lattice"]["matrix"], dtype=float).reshape(3, 3)
        fractional = np.array([site["abc"] for site in document["sites"]], dtype=float).reshape(-1, 3)
        symbols = [str(site["species"][0]["element"]) for site in document["sites"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(f"The structure of this record is damaged ({error!r}); compute it again") from None
    edges = np.linalg.norm(cell[:2], axis=1)
    repeats = [int(min(np.ceil(PATCH / max(edge, 0.1)), 9)) for edge in edges]
    if len(symbols) * repeats[0] * repeats[1] > MOST_ATOMS:
        repeats = [1, 1]
    shifts = [(i, j, 0) for i in range(repeats[0]) for j in range(repeats[1])]
    positions = np.concatenate([(fractional + shift) @ cell for shift in shifts])
    return {
        "symbols": symbols * len(shifts),
        "positions": positions.round(4).tolist(),
        "cell": cell.round(6).tolist(),
        "repeats": repeats,
    }


def side_and_top(view: Mapping[str, Any], title: str) -> Markup:
    """Draw a slab from the side and from above, near atoms over far ones."""
    positions, symbols = np.asarray(view["positions"], dtype=float), view["symbols"]
    colours = element_colours(symbols)
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
    positions = positions - middle
    half = np.abs(positions).max(axis=0) + RADIUS + 0.3
    gap = 2.0
    width, height = 4 * half[0] + gap, 2 * max(half[2], half[1])
    side = _circles(positions[:, [0, 2]], -positions[:, 1], symbols, colours, half[0], height / 2)
    top = _circles(positions[:, [0, 1]], positions[:, 2], symbols, colours, 3 * half[0] + gap, height / 2)
    return Markup(  # every text was escaped where it came in
        f'<svg class="atoms" viewBox="0 0 {width:.2f} {height:.2f}" role="img" '
        f'aria-label="{escape(title)}">{side}{top}</svg>'
    )


def _circles(
    flat: Floats, nearness: Floats, symbols: Sequence[str], colours: Mapping[str, int], x: float, y: float
) -> str:
    drawn = []
    for i in np.argsort(nearness, kind="stable"):
        drawn.append(
            f'<circle class="atom f{colours[symbols[i]]}" '
            f'cx="{x + flat[i, 0]:.2f}" cy="{y - flat[i, 1]:.2f}" r="{RADIUS}">'
            f"<title>{escape(symbols[i])}</title></circle>"
        )
    return "".join(drawn)
