"""Equal facets of isostructural compounds, found from the slabs alone.

A slab is described by the density of Mg and of its partner over the depth below the surface, in units of the
cube root of the volume per atom: (111) of D0_3 Mg3La and of Mg3Ce, cut in the same way, have the same
profile, whatever their lattice parameters. Compounds of one formula type (Mg3X) that share most facets are
peers; the nearest are those whose partners have similar properties
(`model.graphs.element_features.chemical_features`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from model.graphs.element_features import chemical_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import SlabGraph

    Array = NDArray[np.float64]

MAGNESIUM = 12
DEPTHS = np.arange(-0.4, 3.6, 0.1)
"""Where the profile is sampled (cube roots of the volume per atom, about 2.9 A)."""
WIDTH = 0.15
"""Of the Gaussian that an atom is smeared with (the same unit)."""
SAME_FACET = 0.25
"""Profiles that differ by less, relative to their norm, are of one facet. Over the lanthanides the facets of
D0_3 Mg3X differ by 0.005 to 0.2, other facets by 0.4 and more."""
FEWEST_FACETS = 3
"""Facets that two compounds must share to be compared."""
FARTHEST = 0.8
"""Root mean square difference of the partners' standardised properties up to which they are similar: La and
Ce 0.1, La and Nd 0.7, Ag and Au 0.5, Ni and Cu 0.6, Al and Sc 1."""
MOST_PEERS = 6


@dataclass(frozen=True, eq=False)
class Facet:
    """A slab as it is compared with those of other compounds.

    Attributes
    ----------
    number
        Of the slab.
    profile
        [2 * len(DEPTHS)], of Mg and of the partners.
    """

    number: int
    profile: Array


@dataclass(frozen=True, eq=False)
class Compound:
    """The slabs of one compound.

    Attributes
    ----------
    key
        See `model.data.dataset.Entry.compound`.
    formula
        Reduced.
    kind
        Formula type: the amounts of Mg and of the partners, e.g. (3, 1).
    partners
        Their atomic numbers.
    facets
        One for each slab.
    """

    key: str
    formula: str
    kind: tuple[int, ...]
    partners: tuple[int, ...]
    facets: tuple[Facet, ...]


@dataclass(frozen=True, eq=False)
class Peer:
    """A compound to compare with.

    Attributes
    ----------
    compound
        Its key.
    distance
        Between the partners, see `FARTHEST`.
    pairs
        Numbers of the slabs of equal facets: ours and its.
    """

    compound: str
    distance: float
    pairs: tuple[tuple[int, int], ...]


def profile(graph: SlabGraph, volume: float) -> Array:
    """Return the profile of a slab.

    Parameters
    ----------
    graph
        Of the slab, folded or not.
    volume
        Of the crystal, per atom (A^3).
    """
    length = volume ** (1 / 3)
    depth = graph.depth.astype(np.float64) / length
    seen = np.exp(-(((depth[:, None] - DEPTHS) / WIDTH) ** 2)) * graph.multiplicity[:, None]
    seen *= length**2 / (2 * graph.area)
    magnesium = graph.numbers == MAGNESIUM
    return np.concatenate([seen[magnesium].sum(axis=0), seen[~magnesium].sum(axis=0)])


def formula_type(amounts: Mapping[int, int]) -> tuple[int, ...]:
    """Return the amounts of Mg (0 without) and of the partners in ascending order, without common divisor."""
    divisor = gcd(*amounts.values()) or 1
    partners = sorted(count // divisor for number, count in amounts.items() if number != MAGNESIUM)
    return (amounts.get(MAGNESIUM, 0) // divisor, *partners)


def find_peers(compounds: Sequence[Compound]) -> dict[str, list[Peer]]:
    """Return up to `MOST_PEERS` similar compounds of each compound, the most similar first."""
    by_kind: dict[tuple[int, ...], list[Compound]] = defaultdict(list)
    for compound in compounds:
        if len(compound.facets) >= FEWEST_FACETS and compound.partners:
            by_kind[compound.kind].append(compound)
    found: dict[str, list[Peer]] = {}
    for alike in by_kind.values():
        for one in alike:
            peers = []
            for other in alike:
                if one.partners == other.partners:
                    continue
                distance = partner_distance(one.partners, other.partners)
                if distance > FARTHEST:
                    continue
                pairs = _equal_facets(one, other)
                fewest = max(FEWEST_FACETS, min(len(one.facets), len(other.facets)) / 2)
                if len(pairs) >= fewest:
                    peers.append(Peer(other.key, distance, pairs))
            peers.sort(key=lambda peer: (peer.distance, peer.compound))
            found[one.key] = peers[:MOST_PEERS]
    return found


def partner_distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return how different the partners of two compounds are, see `FARTHEST`."""
    table = chemical_features().table.astype(np.float64)
    difference = (
        table[sorted(one)] - table[sorted(other)] if len(one) == len(other) else np.full((1, 1), np.inf)
    )
    return float(np.sqrt((difference**2).mean()))


def _equal_facets(one: Compound, other: Compound) -> tuple[tuple[int, int], ...]:
    """Return the pairs of slabs that are nearest to each other in both directions, and near enough."""
    ours = np.stack([facet.profile for facet in one.facets])
    theirs = np.stack([facet.profile for facet in other.facets])
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2) / np.linalg.norm(ours, axis=1)[:, None]
    nearest, back = apart.argmin(axis=1), apart.argmin(axis=0)
    return tuple(
        (one.facets[i].number, other.facets[j].number)
        for i, j in enumerate(nearest)
        if back[j] == i and apart[i, j] < SAME_FACET
    )
