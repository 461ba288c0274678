"""The inequivalent ways to end a crystal at one plane, named and ordered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core.periodic_table import get_el_sp

from workflows.structures.planes import TOLERANCE

if TYPE_CHECKING:
    from workflows.structures.planes import Cut, Plane

FINGERPRINT_RADIUS = 7.0
"""Neighbours within this distance (A) tell two terminations apart whose layers read the same."""


@dataclass(frozen=True)
class Termination:
    """One inequivalent termination.

    Attributes
    ----------
    number
        From 0; wide gaps come first.
    label
        Reduced formula of the outermost layer; a letter is appended if several share it ("Mg2Zn-b").
    key
        Layers from the surface inward over one period ("Mg|Ag"), with a rank if several share it ("C|C#1").
    cut
        Where the crystal ends; the material lies above.
    """

    number: int
    label: str
    key: str
    cut: Cut


def terminations_of(plane: Plane, cuts: list[Cut]) -> list[Termination]:
    """Return one cut per inequivalent termination of a plane.

    Cuts that differ by a normal-preserving operation are the same termination. The material is taken to lie
    above the cut; the termination seen from the other side of the same gap is another one, found at the
    mirrored cut.

    Parameters
    ----------
    plane
        A plane that is not polar.
    cuts
        All cuts of one plane spacing, sorted by position.
    """
    distinct = cuts[: len(cuts) // plane.n_shifts]
    described = []
    for index, cut in enumerate(distinct):
        layers = [_layer(plane, cuts, index + i) for i in range(len(distinct))]
        order = "|".join(layers)
        gaps = tuple(-round(cuts[(index + i) % len(cuts)].gap, 2) for i in range(len(distinct)))
        described.append((gaps[0], order, gaps, _fingerprint(plane, cut), index))
    described.sort()
    keys = Counter(order for _, order, *_ in described)
    labels = Counter(_simplest(order) for _, order, *_ in described)
    seen_keys: Counter[str] = Counter()
    seen_labels: Counter[str] = Counter()
    terminations = []
    for number, (_, order, _, _, index) in enumerate(described):
        label = _simplest(order)
        suffix = f"-{_letters(seen_labels[label])}" if labels[label] > 1 else ""
        rank = f"#{seen_keys[order]}" if keys[order] > 1 else ""
        seen_labels[label] += 1
        seen_keys[order] += 1
        terminations.append(Termination(number, label + suffix, order + rank, distinct[index]))
    return terminations


def _layer(plane: Plane, cuts: list[Cut], index: int) -> str:
    """Return the composition of the layer above a cut, per primitive in-plane cell, e.g. 'Mg2Zn1'."""
    lower = cuts[index % len(cuts)].position
    upper = cuts[(index + 1) % len(cuts)].position
    width = (upper - lower) % 1.0 or 1.0
    inside = (plane.coordinates[:, 2] - lower) % 1.0 < width
    counts = Counter(s for s, is_inside in zip(plane.species, inside, strict=True) if is_inside)
    ordered = sorted(counts, key=lambda s: (get_el_sp(s).X, s))
    return "".join(f"{symbol}{counts[symbol]}" for symbol in ordered)


def _simplest(order: str) -> str:
    """Return the outermost layer of a key as a reduced formula: 'Mg2Zn4|Zn1' -> 'MgZn2'."""
    parts: list[tuple[str, int]] = []
    for character in order.split("|")[0]:
        if character.isupper():
            parts.append((character, 0))
        elif character.isalpha():
            parts[-1] = (parts[-1][0] + character, 0)
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] * 10 + int(character))
    divisor = reduce(gcd, (n for _, n in parts))
    return "".join(f"{s}{n // divisor if n > divisor else ''}" for s, n in parts)


def _letters(number: int) -> str:
    """Return a, b, ..., z, aa, ab, ... for 0, 1, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _fingerprint(plane: Plane, cut: Cut) -> tuple[float, ...]:
    """Return the sorted distances from the outermost atoms to the material below them (A, to 0.05)."""
    basis = plane.cartesian_basis
    n_deep = int(np.ceil(FINGERPRINT_RADIUS / plane.spacing)) + 1
    inverse = np.linalg.inv(basis)
    n_wide = [int(np.ceil(FINGERPRINT_RADIUS * np.linalg.norm(inverse[:, i]))) + 1 for i in (0, 1)]
    relative = plane.coordinates.copy()
    relative[:, 2] = (relative[:, 2] - cut.position) % 1.0
    relative[:, 2] += TOLERANCE  # never exactly on the cut
    surface = relative[:, 2] <= relative[:, 2].min() + 2 * TOLERANCE
    grid = np.array(
        [
            (i, j, k)
            for i in range(-n_wide[0], n_wide[0] + 1)
            for j in range(-n_wide[1], n_wide[1] + 1)
            for k in range(n_deep + 1)
        ]
    )
    atoms = (relative[None, :, :] + grid[:, None, :]).reshape(-1, 3) @ basis
    origin = relative[surface] @ basis
    distances = np.linalg.norm(atoms[None, :, :] - origin[:, None, :], axis=2).ravel()
    near = distances[(distances > 0.1) & (distances < FINGERPRINT_RADIUS)]
    return tuple(np.round(np.sort(near) / 0.05).astype(int).tolist())
