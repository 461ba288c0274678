"""A surface in numbers that a person would name: densities, coordination, broken bonds, bond lengths.

They are computed from a slab's graph and the properties of its elements. What stands beside the networks
(`model.baselines.blend`) lives on them: trees and a Gaussian process. None looks deeper than 9.7 A, so that
slabs of one crystal have the same numbers from 20 A on, whatever their thickness.

Words: *partner* is every element but Mg. Two atoms are bonded with a weight that goes from 1 to 0 about 1.35
times the sum of their covalent radii; an atom's coordination is the sum of its bonds. Bonds are edges of the
graph, so only the twelve nearest neighbours and those as far as the twelfth count: an atom with 16 neighbours
(Laves phases) may lack its farthest ones, and one that lost near neighbours sees farther ones instead. The
bulk is what lies about 7.5 A deep; an atom lacks bonds in comparison with the mean over the partners, or the
Mg, of the bulk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from model.graphs.element_features import chemical_features, element_property
from model.graphs.graph import SlabGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Columns = dict[str, Array]


MAGNESIUM = 12
BULK_DEPTH, BULK_WIDTH = 7.5, 2.2
"""The bulk is seen through cos^2 from 5.3 to 9.7 A (A): atoms that a slab of 20 A has, too."""
DEEPEST = BULK_DEPTH + BULK_WIDTH
SURFACE_FADES = (5.0, 7.0)  # between these depths atoms stop counting as the surface (A)
BOND_REACH = 1.35  # in sums of covalent radii
LEAST = 1e-6  # weights that add up to no more are of atoms that are not there
MISSING = -1.0  # stands for a mean over atoms that are not there

LAYERS = {
    "top": (0.0, 0.4),
    "second": (0.9, 0.6),
    "third": (1.8, 0.8),
    "fourth": (3.0, 1.0),
    "upper": (0.0, 2.0),
}
"""Centres and widths of the Gaussians through which layers are seen (A)."""

_AVERAGED = ("electronegativity", "electron density", "ionisation energy")
"""Properties of elements that are averaged over the top and the upper layers."""

_SLABS_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class SlabSums:
    """Sums and means over the N nodes and E edges of n slabs, with the multiplicities of folded graphs."""

    n: int  # number of slabs
    # numbers, depth, count, slab: [N], atomic numbers, depths (A), atoms that a node stands for, and slab of
    # each node
    numbers: NDArray[np.int64]
    depth: Array
    count: Array
    slab: NDArray[np.int64]
    both_areas: Array  # [n], of the two surfaces together (A^2)
    # centre, neighbour, distance, cosine, edge_count: [E], as in `SlabGraph`; nodes are numbered across slabs
    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    distance: Array
    cosine: Array
    edge_count: Array

    @classmethod
    def of(cls, graphs: Sequence[SlabGraph]) -> Self:
        """Put graphs (at least one) side by side."""
        nodes = np.array([graph.n_nodes for graph in graphs])
        edges = np.array([graph.n_edges for graph in graphs])
        degrees = np.concatenate([np.diff(graph.offsets) for graph in graphs])

        def joined(name: str) -> Array:
            return np.concatenate([getattr(graph, name) for graph in graphs]).astype(np.float64)

        return cls(
            n=len(graphs),
            numbers=joined("numbers").astype(np.int64),
            depth=joined("depth"),
            count=joined("multiplicity"),
            slab=np.repeat(np.arange(len(graphs)), nodes),
            both_areas=np.array([2 * graph.area for graph in graphs]),
            centre=np.repeat(np.arange(len(degrees)), degrees),
            neighbour=joined("neighbours").astype(np.int64) + np.repeat(np.cumsum(nodes) - nodes, edges),
            distance=joined("distances"),
            cosine=joined("cosines"),
            edge_count=joined("edge_multiplicity"),
        )

    def total(self, values: Array) -> Array:
        """Sum over the nodes of each slab: [N] to [n]."""
        return np.asarray(np.bincount(self.slab, values, self.n), dtype=np.float64)

    def mean(self, values: Array, weights: Array) -> Array:
        """Weighted mean over the nodes of each slab: [N] to [n]; `MISSING` where there are none."""
        return ratio(self.total(values * weights), self.total(weights))

    def over_edges(self, values: Array) -> Array:
        """Sum over the edges of each node: [E] to [N]."""
        return np.asarray(np.bincount(self.centre, values, len(self.numbers)), dtype=np.float64)

    def edge_total(self, values: Array) -> Array:
        """Sum over the edges of each slab: [E] to [n]."""
        return np.asarray(np.bincount(self.slab[self.centre], values, self.n), dtype=np.float64)

    def window(self, centre: float, width: float) -> Array:
        """Weights of nodes seen through a Gaussian of their depth (A): [N]."""
        seen: Array = self.count * np.exp(-(((self.depth - centre) / width) ** 2))
        return seen

    @cached_property
    def partner(self) -> Array:
        """One for every node but Mg: [N]."""
        return np.asarray(self.numbers != MAGNESIUM, dtype=np.float64)

    @cached_property
    def scaled(self) -> Array:
        """Lengths of edges in sums of covalent radii: [E]."""
        radius = element_property("covalent radius")[self.numbers]
        return np.asarray(self.distance / (radius[self.centre] + radius[self.neighbour]))

    @cached_property
    def bond(self) -> Array:
        """Weights of edges as bonds: [E]; 1 for short ones, 1/e at `BOND_REACH`."""
        weight: Array = np.exp(-((self.scaled / BOND_REACH) ** 8)) * self.edge_count
        return weight

    @cached_property
    def bulk(self) -> Array:
        """Weights of nodes as bulk: [N]."""
        x = np.clip((self.depth - BULK_DEPTH) / BULK_WIDTH, -1, 1)
        return np.cos(np.pi / 2 * x) ** 2 * self.count

    @cached_property
    def bulk_or_any(self) -> Array:
        """The same and a little of all nodes above, which stand in for elements it misses: [N]."""
        return self.bulk + 1e-3 * np.clip(DEEPEST - self.depth, 0, 1) * self.count

    @cached_property
    def surface(self) -> Array:
        """Weights of nodes as surface, per area (1/A^2): [N]."""
        low, high = SURFACE_FADES
        return np.clip((high - self.depth) / (high - low), 0, 1) * self.count / self.both_areas[self.slab]


def ratio(above: Array, below: Array, least: float | Array = LEAST) -> Array:
    """Divide where the divisor is more than `least`, else give `MISSING`; [n]."""
    enough = below > least
    return np.where(enough, above / np.where(enough, below, 1.0), MISSING)


def describe_slabs(graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
    """Describe slabs.

    Parameters
    ----------
    graphs
        Of slabs at least 20 A thick where possible, folded or not.

    Returns
    -------
    ndarray
        [n, D] float32, in the order of `descriptor_names`; densities per A^2 or A^3, lengths in A, energies
        in eV, coordination in bonds, properties of the partners standardised as in `chemical_features`; -1
        for a mean over atoms that are not there.
    """
    if not graphs:
        return np.zeros((0, len(descriptor_names())), dtype=np.float32)
    chunks = [graphs[i : i + _SLABS_AT_ONCE] for i in range(0, len(graphs), _SLABS_AT_ONCE)]
    rows = [np.stack(list(_describe(SlabSums.of(chunk)).values()), axis=1) for chunk in chunks]
    return np.concatenate(rows).astype(np.float32)


@cache
def descriptor_names() -> tuple[str, ...]:
    """Return the names of the D descriptors."""
    return tuple(_describe(SlabSums.of([_LONE_ATOM])))


_EMPTY = np.zeros(0, dtype=np.float32)
_LONE_ATOM = SlabGraph(
    numbers=np.array([MAGNESIUM], dtype=np.int16),
    depth=np.zeros(1, dtype=np.float32),
    thickness=0.0,
    area=1.0,
    offsets=np.zeros(2, dtype=np.int32),
    neighbours=np.zeros(0, dtype=np.int32),
    distances=_EMPTY,
    cosines=_EMPTY,
    multiplicity=np.ones(1, dtype=np.float32),
    edge_multiplicity=_EMPTY,
    identity="",
    signature=_EMPTY,
)


def _describe(slabs: SlabSums) -> Columns:
    """Descriptors [n] by name."""
    kinds = {"partner": slabs.partner, "Mg": 1 - slabs.partner}
    bonds_to = {name: slabs.over_edges(slabs.bond * kind[slabs.neighbour]) for name, kind in kinds.items()}
    found = _elements(slabs) | _bulk(slabs, kinds, bonds_to)
    return (
        found
        | _layers(slabs, kinds, bonds_to)
        | _broken_bonds(slabs, kinds, bonds_to, found)
        | _bond_lengths(slabs, kinds)
        | _relief(slabs)
        | _enrichment(slabs, found["bulk share"])
    )


def _elements(slabs: SlabSums) -> Columns:
    """Properties of the partner elements, averaged over those above 9.7 A; of Mg if there is none."""
    features = chemical_features()
    weights = slabs.bulk_or_any * slabs.partner
    none = slabs.total(weights) <= LEAST
    values = features.table.astype(np.float64)
    return {
        f"partner {name}": np.where(none, values[MAGNESIUM, i], slabs.mean(values[slabs.numbers, i], weights))
        for i, name in enumerate(features.names)
    }


def _bulk(slabs: SlabSums, kinds: Columns, bonds_to: Columns) -> Columns:
    """Composition, density (atoms/A^3) and coordination of the bulk."""
    found = {
        "bulk share": slabs.mean(slabs.partner, slabs.bulk_or_any),
        "bulk density": slabs.total(slabs.bulk) / (slabs.both_areas * BULK_WIDTH),
        "bulk scaled bond": _mean_scaled_bond(slabs, slabs.bulk_or_any),
    }
    for name, kind in kinds.items():
        for other, bonds in bonds_to.items():
            found[f"bulk {name} to {other}"] = slabs.mean(bonds, slabs.bulk_or_any * kind)
    return found


def _layers(slabs: SlabSums, kinds: Columns, bonds_to: Columns) -> Columns:
    """Of each layer: atoms/A^2, share of partners, coordination, and how far bonds point outward."""
    outward = slabs.over_edges(slabs.bond * np.maximum(slabs.cosine, 0) ** 2)
    seen = {**{f"to {name}": bonds for name, bonds in bonds_to.items()}, "outward": outward}
    found: Columns = {}
    for layer, (centre, width) in LAYERS.items():
        weights = slabs.window(centre, width)
        whole = slabs.total(weights)
        density = {name: slabs.total(weights * kind) / slabs.both_areas for name, kind in kinds.items()}
        for name, kind in kinds.items():
            found[f"{layer} {name}"] = density[name]
            own = weights * kind
            for what, values in seen.items():
                found[f"{layer} {name} {what}"] = ratio(
                    slabs.total(values * own), slabs.total(own), 1e-3 * whole + 1e-9
                )
        found[f"{layer} share"] = ratio(density["partner"], density["partner"] + density["Mg"])
        if layer in ("top", "upper"):
            for name in _AVERAGED:
                found[f"{layer} {name}"] = slabs.mean(element_property(name)[slabs.numbers], weights)
    return found


def _broken_bonds(slabs: SlabSums, kinds: Columns, bonds_to: Columns, bulk: Columns) -> Columns:
    """Count what the surface lacks in bonds, as shares of an atom's, and roughly in energy; per A^2."""
    # in second-moment approximation the energy of an atom is E_coh (z / z_bulk)^1/2 with its coordination z:
    # F. Ducastelle, J. Physique 31, 1055 (1970); with pair bonds it is proportional to z.
    is_partner = slabs.partner > 0

    def in_bulk(partner: Array, magnesium: Array) -> Array:
        return np.where(is_partner, partner[slabs.slab], magnesium[slabs.slab])  # [N]

    coordination = bonds_to["partner"] + bonds_to["Mg"]
    full = in_bulk(
        bulk["bulk partner to partner"] + bulk["bulk partner to Mg"],
        bulk["bulk Mg to partner"] + bulk["bulk Mg to Mg"],
    )
    left = coordination / np.maximum(full, 1e-6)
    energy = element_property("cohesive energy")[slabs.numbers]
    second_moment, pairs = np.maximum(0, 1 - np.sqrt(left)), np.maximum(0, 1 - left)
    surface = slabs.surface
    top = slabs.window(*LAYERS["top"])
    found = {
        "broken bonds, second moment": slabs.total(surface * energy * second_moment),
        "broken bonds of partners": slabs.total(surface * slabs.partner * second_moment),
        "broken bonds of Mg": slabs.total(surface * (1 - slabs.partner) * second_moment),
        "broken bonds": slabs.total(surface * pairs),
        "broken bonds, energy": slabs.total(surface * energy * pairs),
        "broken bonds of the top": slabs.mean(pairs, top),
        "most broken bonds": np.zeros(slabs.n),
    }
    np.maximum.at(found["most broken bonds"], slabs.slab, np.where(slabs.surface > 0, pairs, 0))
    for name, kind in kinds.items():
        for other, bonds in bonds_to.items():
            lost = bulk[f"bulk {name} to {other}"][slabs.slab] - bonds
            found[f"lost {name} to {other}"] = slabs.total(surface * kind * lost)
    pair = np.sqrt(energy[slabs.centre] * energy[slabs.neighbour])  # of a bond, geometric mean
    bound = slabs.over_edges(slabs.bond * pair / 12)
    deep = {name: slabs.mean(bound, slabs.bulk_or_any * kind) for name, kind in kinds.items()}
    found["lost pair energy"] = slabs.total(surface * (in_bulk(deep["partner"], deep["Mg"]) - bound))
    return found


def _bond_lengths(slabs: SlabSums, kinds: Columns) -> Columns:
    """Lengths (A) of bonds in the upper layers, by what they join, and how many of them are short."""
    upper = slabs.window(*LAYERS["upper"])
    found = {"upper scaled bond": _mean_scaled_bond(slabs, upper)}
    short = np.exp(-((slabs.scaled / 1.1) ** 16)) * slabs.edge_count
    for a, b in (("partner", "partner"), ("partner", "Mg"), ("Mg", "Mg")):
        joins = kinds[a][slabs.centre] * kinds[b][slabs.neighbour]
        if a != b:
            joins = joins + kinds[b][slabs.centre] * kinds[a][slabs.neighbour]
        weights = joins * upper[slabs.centre]
        number = slabs.edge_total(weights * slabs.bond)
        length = slabs.edge_total(weights * slabs.bond * slabs.distance)
        found[f"length {a}-{b}"] = ratio(length / slabs.both_areas, number / slabs.both_areas, 1e-2 * LEAST)
        found[f"short {a}-{b}"] = slabs.edge_total(weights * short) / (number + 1e-6)
    return found


def _relief(slabs: SlabSums) -> Columns:
    """How the outermost atoms lie: atoms/A^2 and mean depth (A), weighted by exp(-depth / length)."""
    found: Columns = {}
    for length in (1.0, 0.3):
        weights = np.exp(-slabs.depth / length) * slabs.count
        found[f"relief within {length:g}"] = slabs.total(weights) / slabs.both_areas
        found[f"depth within {length:g}"] = slabs.mean(slabs.depth, weights)
    return found


def _enrichment(slabs: SlabSums, share: Array) -> Columns:
    """Partner atoms at the surface beyond their share in the bulk, per A^2, and what they carry with them."""
    excess = slabs.surface * (slabs.partner - share[slabs.slab])

    def difference(name: str) -> Array:
        values = element_property(name)
        return np.asarray(values[slabs.numbers] - values[MAGNESIUM])

    outer = np.exp(-slabs.depth / 2)
    return {
        "enrichment": slabs.total(excess),
        "enrichment of the top": slabs.total(excess * outer),
        "enrichment in electronegativity": slabs.total(excess * outer * difference("electronegativity")),
        "enrichment in size": slabs.total(excess * difference("molar volume ^1/3")),
    }


def _mean_scaled_bond(slabs: SlabSums, weights: Array) -> Array:
    lengths = slabs.over_edges(slabs.bond * slabs.scaled)
    bonds = slabs.over_edges(slabs.bond)
    return slabs.mean(lengths / np.maximum(bonds, 1e-9), weights)
