"""Which slabs are identical, and which compound each was cut from."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from model.graphs.graph import SlabGraph

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


SIGNATURE_TOLERANCE = 0.01  # two slabs are identical if no entry of their signatures differs by more

VOLUME_TOLERANCE = 0.01
"""Crystals of one formula whose volumes per atom differ by a smaller share are one compound."""

NEAR_COMPOSITION = 0.1
"""A slab that does not show its crystal belongs to the compound of its system that is as near."""


def group_identical(graphs: Sequence[SlabGraph], same: Sequence[Hashable] = ()) -> list[int]:
    """Return a number for each slab (from 0, in the order of first appearance), the same for identical ones.

    Parameters
    ----------
    graphs
        Built with equal settings.
    same
        For each slab a key, or None; slabs of an equal key are taken as identical, too (one termination cut
        at two thicknesses).
    """
    joined: list[tuple[int, int]] = []
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, graph in enumerate(graphs):
        alike[(*np.unique(graph.numbers).tolist(), -len(graph.signature))].append(i)
    for members in alike.values():
        tree = cKDTree(np.array([graphs[i].signature for i in members], dtype=np.float64))
        joined += [(members[a], members[b]) for a, b in tree.query_pairs(SIGNATURE_TOLERANCE, p=np.inf)]
    first: dict[Hashable, int] = {}
    joined += [(first.setdefault(key, i), i) for i, key in enumerate(same) if key is not None]
    ends = np.array(joined, dtype=np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(joined)), ends), shape=(len(graphs), len(graphs)))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(set_, len(numbers)) for set_ in connected_components(links)[1].tolist()]


def compound_keys(
    compounds: Sequence[str], chemsystems: Sequence[str], compositions: Sequence[dict[str, int]]
) -> list[tuple[str, str]]:
    """Return for each slab the formula of its compound and a key that slabs of one compound share.

    Parameters
    ----------
    compounds
        Formula of the crystal and its volume per atom (A^3), or a formula alone where the slab does not show
        its crystal; see `stores.labelled.LabelRecord.compound`.
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
