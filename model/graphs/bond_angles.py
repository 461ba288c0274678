"""Angles between the bonds of bulk crystals: statistics of a crystal, and the angles of each bond.

Bonds have the weights of R. Hoppe's effective coordination numbers (Z. Kristallogr. 150, 23 (1979)). Of each
atom two things are kept: how its angles are distributed, as a sum of Gaussians of their cosine, and the
invariants of P. J. Steinhardt, D. R. Nelson and M. Ronchetti (Phys. Rev. B 28, 784 (1983)), up to a factor,

    q_l^2 = sum_jk w_j w_k P_l(cos theta_jk) / (sum_j w_j)^2,

with the weights w of its bonds j, k and the Legendre polynomials P_l: the addition theorem makes spherical
harmonics superfluous. The line graph of K. Choudhary and B. DeCost (npj Comput. Mater. 7, 185 (2021)) has the
bonds as nodes and the angles as edges; here it is restricted to bonds of at least `LEAST_IN_LINE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

COSINES = np.linspace(-1, 1, 8)
"""Centres of the Gaussians; each is `COSINE_WIDTH` wide."""

COSINE_WIDTH = 0.3

DEGREES = 8  # l from 1 to this one

WIDTH = 2 * (len(COSINES) + DEGREES)
"""Numbers of a crystal: means over its atoms, then deviations."""

LEAST_BOND = 1e-3  # weight below which two atoms are not bonded

LEAST_IN_LINE = 0.3
"""Weight below which bonds have no part in the line graph: 3 to 12 of an atom have."""

_COSINE_STEP = 500  # cosines that are equal when rounded to such a fraction are joined

_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class LineGraph:
    """Angles between the bonds of a crystal with E edges, which are bonds where they have a weight."""

    bond_weights: NDArray[np.float32]  # [E], zero below `LEAST_IN_LINE`
    offsets: NDArray[np.int32]  # [E + 1], where the angles of each edge begin
    others: NDArray[np.int32]  # [A], edge of the same node that each angle leads to
    cosines: NDArray[np.float32]  # [A]
    counts: NDArray[np.float32]  # [A], equal angles of an edge that each stands for


def angle_names() -> tuple[str, ...]:
    """Return the names of the `WIDTH` numbers of a crystal."""
    own = [f"angles at cosine {cosine:.2f}" for cosine in COSINES]
    own += [f"bond order {degree}" for degree in range(1, DEGREES + 1)]
    return tuple(f"{name}, {kind}" for kind in ("mean", "deviation") for name in own)


def bond_weights(distance: Floats, centre: Integers) -> Floats:
    """Weigh edges as bonds: 1 at the mean length of an atom's bonds, 0.1 at 1.22 times that; all [E].

    distance (A) and centre, the atom that an edge begins at, ascending; every atom has an edge.
    """
    n = int(centre[-1]) + 1
    unit = np.minimum.reduceat(distance, np.searchsorted(centre, np.arange(n)))
    near = np.exp(1 - np.minimum((distance / unit[centre]) ** 6, 50))
    mean = np.bincount(centre, near * distance, n) / np.bincount(centre, near, n)
    return np.asarray(np.exp(1 - np.minimum((distance / mean[centre]) ** 6, 50)))


def angle_statistics(centre: Integers, vector: Floats, distance: Floats, first: Integers) -> Floats:
    """Describe the angles of crystals side by side.

    Parameters
    ----------
    centre
        [E], atoms that edges begin at, ascending; every atom has an edge.
    vector, distance
        [E, 3] and [E], from there to the neighbour (A).
    first
        [crystals + 1], first atom of each crystal.

    Returns
    -------
    ndarray
        [crystals, `WIDTH`], in the order of `angle_names`; without angles, of atoms with one bond, zero.
    """
    weight = bond_weights(distance, centre)
    bonded = np.flatnonzero(weight > LEAST_BOND)
    unit = vector[bonded] / distance[bonded, None]
    of_atoms = _of_atoms(centre[bonded], unit, weight[bonded], int(first[-1]))
    sizes = np.diff(first)
    mean = np.add.reduceat(of_atoms, first[:-1]) / sizes[:, None]
    apart = (of_atoms - np.repeat(mean, sizes, axis=0)) ** 2
    return np.hstack([mean, np.sqrt(np.add.reduceat(apart, first[:-1]) / sizes[:, None])])


def _of_atoms(centre: Integers, unit: Floats, weight: Floats, n: int) -> Floats:
    """Distribution and invariants [n, WIDTH / 2] of n atoms; unit [B, 3], weight [B] of their bonds."""
    sums = np.zeros((n, 1 + len(COSINES) + DEGREES))
    for one, other, cosine in _pairs(centre, unit, n):
        both = weight[one] * weight[other]
        atoms, starts = np.unique(centre[one], return_index=True)
        # the first Legendre polynomial, of degree 0, is one: it counts the pairs
        legendre = np.polynomial.legendre.legvander(cosine, DEGREES)
        columns = np.hstack([legendre[:, :1], _gaussians(cosine), legendre[:, 1:]])
        sums[atoms] = np.add.reduceat(columns * both[:, None], starts)
    pairs, near, products = np.split(sums, [1, 1 + len(COSINES)], axis=1)
    total = np.bincount(centre, weight, n)[:, None]
    alone = np.bincount(centre, weight**2, n)[:, None]  # of j = k, where P_l is one
    orders = np.sqrt(np.maximum(alone + 2 * products, 0)) / total
    return np.hstack([near / np.where(pairs > 0, pairs, 1), orders])


def _pairs(centre: Integers, unit: Floats, n: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], Floats]]:
    """Yield pairs of bonds of one centre, each once, in its order, and their cosine; some atoms at a time."""
    count = np.bincount(centre, minlength=n)
    after = np.cumsum(count)[centre] - np.arange(len(centre)) - 1  # bonds of its atom behind each one
    begun = np.concatenate([[0], np.cumsum(np.bincount(centre, after, n).astype(np.int64))])
    ends = np.cumsum(count)
    atom = 0
    while atom < n:
        stop = max(int(np.searchsorted(begun, begun[atom] + _PAIRS_AT_ONCE, "right")) - 1, atom + 1)
        bonds = np.arange(ends[atom] - count[atom], ends[stop - 1])
        one = np.repeat(bonds, after[bonds])
        place = np.arange(len(one)) - np.repeat(np.cumsum(after[bonds]) - after[bonds], after[bonds])
        if len(one):
            other = one + 1 + place
            yield one, other, np.clip((unit[one] * unit[other]).sum(axis=1), -1, 1)
        atom = stop


def _gaussians(cosine: Floats) -> Floats:
    """Gaussians around `COSINES`: [P, 8]."""
    return np.asarray(np.exp(-(((cosine[:, None] - COSINES) / COSINE_WIDTH) ** 2)))


def environments(
    centre: Integers, neighbour: Integers, vector: Floats, distance: Floats, numbers: Integers
) -> Floats:
    """Return a number [E] for what a bond sees: equal where elements, lengths and angles around it are.

    Sums over the other bonds of its atom of smooth functions of each; smooth, so that noise changes little.
    neighbour [E], numbers [n]: atoms that edges end in, and their elements; others as `angle_statistics`.
    """
    weight = bond_weights(distance, centre)
    bonded = np.flatnonzero(weight > LEAST_BOND)
    unit, own = vector[bonded] / distance[bonded, None], weight[bonded]
    element = (1 + np.modf(numbers[neighbour[bonded]] * _GOLDEN)[0]) * own
    found: Floats = np.zeros(len(centre))
    for one, other, cosine in _pairs(centre[bonded], unit, len(numbers)):
        seen = _gaussians(cosine) @ _IRREGULAR
        for a, b in ((one, other), (other, one)):
            found += np.bincount(bonded[a], element[b] * seen, len(centre))
    return np.asarray(found / 5)


_GOLDEN = (5**0.5 - 1) / 2
_IRREGULAR = np.sqrt([2.0, 13.0, 5.0, 19.0, 3.0, 17.0, 7.0, 11.0])


def line_graphs(
    centre: Integers, vector: Floats, distance: Floats, edges: Integers, edge_of: Integers, starts: Integers
) -> list[LineGraph]:
    """Build the line graphs of crystals side by side.

    Parameters
    ----------
    centre, vector, distance
        See `angle_statistics`.
    edges
        [F], those edges that are left when graphs are folded, crystal by crystal.
    edge_of
        [E], place among `edges` of the edge that each is joined to; -1 for edges of atoms that are not left.
    starts
        [crystals + 1], where the edges of each crystal begin among `edges`.
    """
    weight = bond_weights(distance, centre)
    bonded = np.flatnonzero((weight > LEAST_IN_LINE) & (edge_of >= 0))
    unit = vector[bonded] / distance[bonded, None]
    left = np.zeros(len(centre), dtype=bool)
    left[edges] = True
    rows, cosines = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0)]
    for one, other, cosine in _pairs(centre[bonded], unit, int(centre[-1]) + 1):
        steps = np.round(cosine * _COSINE_STEP).astype(np.int64)
        for a, b in ((bonded[one], bonded[other]), (bonded[other], bonded[one])):
            kept = left[a]
            rows.append(np.stack([edge_of[a], edge_of[b], steps], axis=1)[kept])
            cosines.append(cosine[kept])
    kinds, first, counts = np.unique(np.concatenate(rows), axis=0, return_index=True, return_counts=True)
    cosine = np.concatenate(cosines)[first]
    offsets = np.searchsorted(kinds[:, 0], np.arange(len(edges) + 1))
    of_bonds = np.where(weight[edges] > LEAST_IN_LINE, weight[edges], 0.0)
    found = []
    for e, f in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        a, b = int(offsets[e]), int(offsets[f])
        found.append(
            LineGraph(
                bond_weights=of_bonds[e:f].astype(np.float32),
                offsets=(offsets[e : f + 1] - a).astype(np.int32),
                others=(kinds[a:b, 1] - e).astype(np.int32),
                cosines=cosine[a:b].astype(np.float32),
                counts=counts[a:b].astype(np.float32),
            )
        )
    return found
