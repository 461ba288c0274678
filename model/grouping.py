"""What must stay together: identical slabs, and slabs that were cut from one crystal."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from model.disjoint_sets import DisjointSets

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from model.graph import SlabGraph


SIGNATURE_TOLERANCE = 0.01
"""Two slabs are identical if no entry of their signatures differs by more."""
VOLUME_TOLERANCE = 0.01
"""Crystals of one formula whose volumes per atom differ by a smaller share are one compound."""
NEAR_COMPOSITION = 0.1
"""A slab that does not show its crystal belongs to the compound of its system that is as near."""


def group_identical(graphs: Sequence[SlabGraph], same: Sequence[Hashable] = ()) -> list[int]:
    """Return a number for each slab, the same for identical ones.

    Parameters
    ----------
    graphs
        Built with equal settings.
    same
        For each slab a key, or None; slabs of an equal key are taken as identical, too (one termination cut
        at two thicknesses).

    Returns
    -------
    list of int
        Numbers from 0 in the order of first appearance.
    """
    sets: DisjointSets[int] = DisjointSets()
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, graph in enumerate(graphs):
        alike[(*np.unique(graph.numbers).tolist(), -len(graph.signature))].append(i)
    for members in alike.values():
        tree = cKDTree(np.array([graphs[i].signature for i in members], dtype=np.float64))
        for a, b in sorted(tree.query_pairs(SIGNATURE_TOLERANCE, p=np.inf)):
            sets.join(members[a], members[b])
    first: dict[Hashable, int] = {}
    for i, key in enumerate(same):
        if key is not None:
            sets.join(first.setdefault(key, i), i)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(sets.find(i), len(numbers)) for i in range(len(graphs))]


def compound_keys(
    compounds: Sequence[str], chemsystems: Sequence[str], compositions: Sequence[dict[str, int]]
) -> list[tuple[str, str]]:
    """Return for each slab the formula of its compound and a key that slabs of one compound share.

    Parameters
    ----------
    compounds
        Formula of the crystal and its volume per atom (A^3), or a formula alone where the slab does not show
        its crystal; see `stores.labels.LabelRecord.compound`.
    chemsystems
        Such as Ag-Mg.
    compositions
        Of the slabs.
    """
    volumes: dict[str, list[float]] = defaultdict(list)
    for text in compounds:
        formula, _, volume = text.partition(" ")
        if volume:
            volumes[formula].append(float(volume))
    begins: dict[str, list[float]] = {}
    for formula, found in volumes.items():
        ascending = sorted(found)
        starts = [ascending[0]]
        for before, after in pairwise(ascending):
            if after > before * (1 + VOLUME_TOLERANCE):
                starts.append(after)
        begins[formula] = starts

    keys: list[tuple[str, str]] = []
    known: dict[str, list[tuple[dict[str, float], tuple[str, str]]]] = defaultdict(list)
    for text, system in zip(compounds, chemsystems, strict=True):
        formula, _, volume = text.partition(" ")
        if not volume:
            keys.append(("", ""))
            continue
        start = max(v for v in begins[formula] if v <= float(volume))
        key = (formula, f"{formula} {start:.1f}")
        keys.append(key)
        known[system].append((_shares(formula), key))
    for i, (text, system, composition) in enumerate(zip(compounds, chemsystems, compositions, strict=True)):
        if keys[i] == ("", ""):
            total = sum(composition.values())
            own = {element: count / total for element, count in composition.items()}
            nearest = min(
                ((_difference(own, shares), key) for shares, key in known[system]), default=(2.0, ("", ""))
            )
            keys[i] = nearest[1] if nearest[0] <= NEAR_COMPOSITION else (text, text)
    return keys


def _shares(formula: str) -> dict[str, float]:
    from pymatgen.core import Composition

    return {
        str(element): float(share) for element, share in Composition(formula).fractional_composition.items()
    }


def _difference(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(abs(one.get(e, 0.0) - other.get(e, 0.0)) for e in one.keys() | other.keys()) / 2
