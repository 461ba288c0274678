"""The inequivalent ways to end a crystal at one plane, named and ordered."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, cmp_to_key
from itertools import pairwise, product
from math import gcd, isnan
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core.periodic_table import Element

from workflows.structures.planes import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from workflows.structures.planes import Cut, Plane

SURFACE_RADIUS = 7.0  # neighbours within this distance (A) distinguish two terminations with the same layers
SAME_LENGTH = 1e-3  # lengths closer than this (A) do not decide which termination comes first


@dataclass(frozen=True)
class Termination:
    """One inequivalent termination."""

    number: int  # from 0; wide gaps come first
    label: str  # reduced formula of the outermost layer; a letter is appended if several share it ("Mg2Zn-b")
    # layers from the surface inward over one period ("Mg|Ag"), with a rank if several share it ("C|C#1")
    key: str
    cut: Cut  # where the crystal ends; the material lies above


def terminations_of(plane: Plane, cuts: list[Cut]) -> list[Termination]:
    """Return one cut per inequivalent termination of a plane.

    Cuts that differ by a normal-preserving operation are the same termination. The material is taken to lie
    above the cut; the termination seen from the other side of the same gap is another one, found at the
    mirrored cut. `cuts` are all cuts of one plane spacing, sorted by position; the plane is not polar.
    """
    distinct = cuts[: len(cuts) // plane.n_shifts]
    layers = _layers(plane, cuts)
    ranks = _ranks([cut.gap for cut in distinct])
    candidates = sorted(
        (_Candidate(plane, cuts, layers, index, ranks) for index in range(len(distinct))),
        key=cmp_to_key(_compare),
    )
    keys = Counter(candidate.order for candidate in candidates)
    labels = Counter(_simplest(candidate.order) for candidate in candidates)
    seen_keys: Counter[str] = Counter()
    seen_labels: Counter[str] = Counter()
    terminations = []
    for number, candidate in enumerate(candidates):
        order = candidate.order
        label = _simplest(order)
        suffix = f"-{_letters(seen_labels[label])}" if labels[label] > 1 else ""
        rank = f"#{seen_keys[order]}" if keys[order] > 1 else ""
        seen_labels[label] += 1
        seen_keys[order] += 1
        terminations.append(Termination(number, label + suffix, order + rank, candidate.cut))
    return terminations


class _Candidate:
    """A cut with what it is sorted by."""

    def __init__(
        self, plane: Plane, cuts: list[Cut], layers: list[str], index: int, ranks: list[int]
    ) -> None:
        following = [(index + i) % len(cuts) for i in range(len(ranks))]
        self.rank = ranks[index]
        self.cut = cuts[index]
        self.order = "|".join(layers[i] for i in following)
        self.gaps = [cuts[i].gap for i in following]
        self._plane = plane

    @cached_property
    def _half_crystal(self) -> _HalfCrystal:
        return _HalfCrystal(self._plane, self.cut)

    def lengths(self) -> Iterator[NDArray[np.float64]]:
        """Yield sorted lengths (A) by which terminations differ that have the same layers at equal gaps.

        First the distances from the outermost atoms to the material below them, for each element. These may
        agree where atoms further in do not: those from every plane of one period follow, and where pairs
        agree all the way down, triangles. Two different terminations are never congruent: a motion that
        carries one half-crystal to the other would be a symmetry of the crystal.
        """
        half = self._half_crystal
        for depth in range(half.n_planes):
            yield from half.distances(depth)
        for depth in range(half.n_planes):
            yield from half.perimeters(depth)


def _ranks(gaps: list[float]) -> list[int]:
    """Rank gaps from the widest; gaps joined by differences within `SAME_LENGTH` share a rank."""
    order = sorted(range(len(gaps)), key=lambda i: -gaps[i])
    ranks = [0] * len(gaps)
    for before, i in pairwise(order):
        ranks[i] = ranks[before] + (gaps[before] - gaps[i] > SAME_LENGTH)
    return ranks


def _compare(one: _Candidate, other: _Candidate) -> int:
    """Wide gap first, then order of the layers, gaps further in, and distances of the outermost atoms."""
    # Lengths count as equal within `SAME_LENGTH`, never by rounding: noise in a coordinate then cannot change
    # the order by falling on the other side of a rounding border
    if one.rank != other.rank:
        return one.rank - other.rank
    if one.order != other.order:
        return -1 if one.order < other.order else 1
    if difference := _first_difference(np.array(other.gaps), np.array(one.gaps)):
        return difference
    differences = (_first_difference(*pair) for pair in zip(one.lengths(), other.lengths(), strict=False))
    return next((difference for difference in differences if difference), 0)


def _first_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    n = min(len(one), len(other))
    different = np.flatnonzero(np.abs(one[:n] - other[:n]) > SAME_LENGTH)
    if len(different) == 0:
        return 0
    return -1 if one[different[0]] < other[different[0]] else 1


def _layers(plane: Plane, cuts: list[Cut]) -> list[str]:
    """Return the composition of the layer above each cut, per primitive in-plane cell, e.g. 'Mg2Zn1'."""
    positions = np.array([cut.position for cut in cuts])
    heights = plane.coordinates[:, 2] % 1.0
    layer_of = (np.searchsorted(positions, heights) - 1) % len(cuts)
    counts: list[Counter[str]] = [Counter() for _ in cuts]
    for layer, symbol in zip(layer_of.tolist(), plane.species, strict=True):
        counts[layer][symbol] += 1
    elements = sorted(set(plane.species), key=electropositive_first)
    return ["".join(f"{s}{count[s]}" for s in elements if count[s]) for count in counts]


def electropositive_first(symbol: str) -> tuple[float, str]:
    """Sort key: Pauling electronegativity, elements without one (noble gases) last."""
    electronegativity = Element(symbol).X
    return (float("inf") if isnan(electronegativity) else electronegativity, symbol)


def layer_formula(amounts: Mapping[str, int]) -> str:
    """Return the reduced formula of a layer with these atoms by element, as it names a termination."""
    elements = sorted(amounts, key=electropositive_first)
    return _simplest("".join(f"{symbol}{amounts[symbol]}" for symbol in elements))


def _simplest(order: str) -> str:
    """Return the outermost layer of a key as a reduced formula: 'Mg2Zn4|Zn1' -> 'MgZn2'."""
    parts = [(s, int(n)) for s, n in re.findall(r"([A-Z][a-z]?)(\d+)", order.split("|")[0])]
    divisor = gcd(*(n for _, n in parts))
    return "".join(f"{s}{n // divisor if n > divisor else ''}" for s, n in parts)


def _letters(number: int) -> str:
    """Return a, b, ..., z, aa, ab, ... for 0, 1, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


class _HalfCrystal:
    """The material above a cut, down to where it repeats itself, with its surroundings within reach."""

    def __init__(self, plane: Plane, cut: Cut) -> None:
        basis = plane.cartesian_basis
        relative = plane.coordinates.copy()
        relative[:, 2] = (relative[:, 2] - cut.position) % 1.0  # the cut lies inside a gap, never on an atom
        n_deep = int(np.ceil(SURFACE_RADIUS / plane.spacing)) + 1
        inverse = np.linalg.inv(basis)
        n_wide = [int(np.ceil(SURFACE_RADIUS * np.linalg.norm(inverse[:, i]))) + 1 for i in (0, 1)]
        spans = (range(-n_wide[0], n_wide[0] + 1), range(-n_wide[1], n_wide[1] + 1), range(n_deep + 1))
        grid = np.array(list(product(*spans)))
        self._atoms = ((relative[None, :, :] + grid[:, None, :]) @ basis).reshape(-1, 3)
        self._species = np.tile(np.array(plane.species), len(grid))
        self._elements = sorted(set(plane.species))
        order = np.argsort(relative[:, 2], kind="stable")
        steps = np.diff(relative[order, 2]) > TOLERANCE
        self._planes = [relative[atoms] @ basis for atoms in np.split(order, np.flatnonzero(steps) + 1)]

    @property
    def n_planes(self) -> int:
        """Number of atomic planes in one lattice plane's spacing."""
        return len(self._planes)

    def _neighbours(self, depth: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.str_]]]:
        """Yield vectors (A) from each atom of a plane to the atoms within reach, and their elements."""
        for origin in self._planes[depth]:
            vectors = self._atoms - origin
            lengths = np.linalg.norm(vectors, axis=1)
            near = (lengths > 0.1) & (lengths < SURFACE_RADIUS)
            yield vectors[near], self._species[near]

    def distances(self, depth: int) -> list[NDArray[np.float64]]:
        """Sorted distances from the atoms of a plane, counted from the surface, to each element."""
        around = [(np.linalg.norm(v, axis=1), species) for v, species in self._neighbours(depth)]
        return [
            np.sort(np.concatenate([lengths[species == symbol] for lengths, species in around]))
            for symbol in self._elements
        ]

    def perimeters(self, depth: int) -> list[NDArray[np.float64]]:
        """Sorted perimeters of triangles of an atom of a plane and two others, by the elements of these.

        Up to twice the reach: of these no corner is out of reach, however a distance is rounded.
        """
        found: list[list[NDArray[np.float64]]] = [[] for _ in self._elements for _ in self._elements]
        for vectors, species in self._neighbours(depth):
            lengths = np.linalg.norm(vectors, axis=1)
            sides = np.linalg.norm(vectors[:, None, :] - vectors[None, :, :], axis=2)
            sums = lengths[:, None] + lengths[None, :] + sides
            pairs = product(self._elements, repeat=2)
            for perimeters, (one, other) in zip(found, pairs, strict=True):
                of_pair = sums[np.ix_(species == one, species == other)]
                perimeters.append(of_pair[of_pair < 2 * SURFACE_RADIUS])
        return [np.sort(np.concatenate(sums)) for sums in found]
