"""A bulk crystal in numbers that a person would name: composition, charges, packing, coordination, bonds.

They are computed from a crystal's graph and the properties of its elements, and do not depend on the cell.
What stands beside the networks (`model.baselines.blend`) lives on them: trees and a Gaussian process.

Bonds have the weights of R. Hoppe's effective coordination numbers (Z. Kristallogr. 150, 23 (1979)): an
atom's nearest neighbours are bonded to it whatever their distance is. The composition has the
features of `model.compositions.features`, among others. Statistics of coordination and of differences between
neighbours follow L. Ward et al., Phys. Rev. B 96, 024104 (2017), with bonds in the place of faces of Voronoi
cells.
"""

from __future__ import annotations

from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from model.baselines.descriptors import SlabSums
from model.compositions.composition import PlainComposition
from model.compositions.features import composition_features, feature_names
from model.graphs.bond_angles import angle_names
from model.graphs.bulk_graph import BulkGraph
from model.graphs.element_features import chemical_features, element_property
from stores.cgcnn_elements import elements_of_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import SlabGraph

    Array = NDArray[np.float64]
    Columns = dict[str, Array]

SHELLS = (0.8, 0.95, 1.1, 1.3, 1.55, 1.85, 2.2)
"""Centres of the Gaussians through which neighbours are counted, in sums of covalent radii; each is as wide
as the way to the one before."""

DIFFERENCES = (
    "electronegativity",
    "covalent radius",
    "Mendeleev number",
    "valence p",
    "valence d",
    "log melting point",
)
"""Properties whose differences between bonded atoms are described."""

OF_IONS = (
    "Mendeleev number", "period", "electronegativity", "covalent radius", "ionisation energy",
    "electron affinity", "valence s", "valence p", "valence d", "log bulk modulus",
)  # fmt: skip
"""Properties of the most and of the least electronegative element."""

BOND_VALENCE_WIDTH = 0.14
"""Of the exponential of a bond valence, in sums of covalent radii: 0.37 A (I. D. Brown and D. Altermatt, Acta
Crystallogr. B 41, 244 (1985)) at a sum of 2.6 A."""

NEAR = 1.25  # neighbours nearer than this, in sums of covalent radii, count for the least reduced mass
HEAVY = 300.0  # reduced mass of a crystal without any (u)

MOST_STATES = 512  # combinations of oxidation states that are tried for one composition

_CRYSTALS_AT_ONCE = 500


def describe_crystals(graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
    """Describe bulk crystals.

    Parameters
    ----------
    graphs
        Of bulk crystals, folded or not.

    Returns
    -------
    ndarray
        [n, D] float32, in the order of `bulk_descriptor_names`; lengths in A, volumes in A^3 an atom, charges
        in e, energies in eV, coordination in bonds, properties of elements as in
        `model.compositions.element_properties`, or standardised as in `chemical_features`.
    """
    if not graphs:
        return np.zeros((0, len(bulk_descriptor_names())), dtype=np.float32)
    chunks = [graphs[i : i + _CRYSTALS_AT_ONCE] for i in range(0, len(graphs), _CRYSTALS_AT_ONCE)]
    return np.concatenate([np.stack(list(_describe(chunk).values()), axis=1) for chunk in chunks]).astype(
        np.float32
    )


def bulk_columns(graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
    """Describe crystals: [n, D] float32, or [n, D + A] where all graphs carry statistics of their angles."""
    described = describe_crystals(graphs)
    known = [graph.angles for graph in graphs if isinstance(graph, BulkGraph) and graph.angles is not None]
    return np.hstack([described, np.stack(known)]) if known and len(known) == len(graphs) else described


def bulk_column_names(width: int) -> tuple[str, ...]:
    """Return the names of so many columns: of the descriptors, or also of angles."""
    names = bulk_descriptor_names()
    return names if width <= len(names) else (*names, *angle_names())


@cache
def bulk_descriptor_names() -> tuple[str, ...]:
    """Return the names of the D descriptors."""
    return tuple(_describe([_ONE_ATOM]))


_ONE_ATOM = BulkGraph(
    numbers=np.array([12], dtype=np.int16),
    depth=np.zeros(1, dtype=np.float32),
    thickness=0.0,
    area=0.0,
    offsets=np.array([0, 1], dtype=np.int32),
    neighbours=np.zeros(1, dtype=np.int32),
    distances=np.array([3.2], dtype=np.float32),
    cosines=np.zeros(1, dtype=np.float32),
    multiplicity=np.ones(1, dtype=np.float32),
    edge_multiplicity=np.array([12.0], dtype=np.float32),
    identity="",
    signature=np.array([2.85], dtype=np.float32),
)


class CrystalSums(SlabSums):
    """N nodes and E edges of n crystals."""

    @cached_property
    def bond(self) -> Array:
        """Weights of edges as bonds: [E]; 1 at the mean length of an atom's bonds, 0.1 at 1.22 times that."""
        nearest = np.minimum.reduceat(self.distance, self.first_edges)

        def weights(unit: Array) -> Array:
            return np.asarray(
                np.exp(1 - np.minimum((self.distance / unit[self.centre]) ** 6, 50)) * self.edge_count
            )

        near = weights(nearest)
        return weights(self.over_edges(near * self.distance) / self.over_edges(near))

    @cached_property
    def first_edges(self) -> NDArray[np.intp]:
        """First edge of each node: [N]."""
        return np.searchsorted(self.centre, np.arange(len(self.numbers)))

    @cached_property
    def first_nodes(self) -> NDArray[np.intp]:
        """First node of each crystal: [n]."""
        return np.searchsorted(self.slab, np.arange(self.n))

    def of_atoms(self, name: str) -> Array:
        """Return a property of each node's element in its own unit: [N]."""
        return element_property(name)[self.numbers]

    def average(self, values: Array) -> Array:
        """Mean over the atoms of each crystal: [N] to [n]."""
        return self.mean(values, self.count)

    def bond_average(self, values: Array) -> Array:
        """Mean over the bonds of each atom: [E] to [N]."""
        return np.asarray(self.over_edges(self.bond * values) / self.over_edges(self.bond))


def _describe(graphs: Sequence[SlabGraph]) -> Columns:
    """Descriptors [n] by name."""
    crystals = CrystalSums.of(graphs)
    # the first number of a signature is the cube root of the volume per atom
    volume = np.array([graph.signature[0] for graph in graphs], dtype=np.float64) ** 3
    return (
        _composition(crystals)
        | _charges(graphs)
        | _packing(crystals, volume)
        | _shells(crystals)
        | _bonds(crystals, volume)
        | _neighbour_differences(crystals)
    )


def _statistics(crystals: CrystalSums, name: str, values: Array, *, low: bool = True) -> Columns:
    """Mean, deviation, largest and (`low`) least of values [N] over the atoms of each crystal."""
    mean = crystals.average(values)
    square = crystals.average((values - mean[crystals.slab]) ** 2)
    least, most = (edge.reduceat(values, crystals.first_nodes) for edge in (np.minimum, np.maximum))
    found = {
        f"{name}, mean": mean,
        f"{name}, deviation": np.sqrt(np.maximum(square, 0)),
        f"{name}, most": most,
    }
    return found | ({f"{name}, least": least, f"{name}, range": most - least} if low else {})


def _composition(crystals: CrystalSums) -> Columns:
    """Statistics of the elements' properties, and those of the extreme elements in electronegativity."""
    shares = _shares(crystals)
    present = [np.flatnonzero(row) for row in shares]
    compositions = [PlainComposition(z, row[z]) for z, row in zip(present, shares, strict=True)]
    features_of_all = composition_features(compositions).astype(np.float64)
    found = dict(zip(feature_names(), features_of_all.T, strict=True))
    features = chemical_features()
    table = features.table.astype(np.float64)
    scale = crystals.of_atoms("electronegativity") + 1e-6 * crystals.numbers
    order = np.lexsort((scale, crystals.slab))
    starts = crystals.first_nodes
    ends = np.append(starts[1:], len(order)) - 1
    places = {name: i for i, name in enumerate(features.names)}
    for kind, rows in (("anion", order[ends]), ("cation", order[starts])):
        for name in OF_IONS:
            found[f"{kind} {name}"] = table[crystals.numbers[rows], places[name]]
        same = crystals.numbers == crystals.numbers[rows][crystals.slab]
        found[f"{kind} share"] = crystals.average(same.astype(np.float64))
    found["elements"] = (shares > 0).sum(axis=1).astype(np.float64)
    found["largest share"] = shares.max(axis=1)
    logs = np.log(np.where(shares > 0, shares, 1))
    found["entropy"] = -(shares * logs).sum(axis=1)
    found["valence electrons"] = crystals.average(_electrons(crystals))
    return found


def _shares(crystals: CrystalSums) -> Array:
    """Share of each element in the atoms: [n, 101]."""
    counts = np.bincount(crystals.slab * 101 + crystals.numbers, crystals.count, crystals.n * 101).reshape(
        -1, 101
    )
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


@cache
def _states() -> tuple[tuple[int, ...], ...]:
    """Return the common oxidation states of the elements 1 to 100, with index by atomic number."""
    return ((0,), *(tuple(e.common_oxidation_states) or (0,) for e in elements_of_table()))


def _charges(graphs: Sequence[SlabGraph]) -> Columns:
    """How well common oxidation states balance, and the charges that balance best."""
    rows = np.array([_balance(*_amounts(graph)) for graph in graphs])
    return {"charge left over": rows[:, 0], "charge transferred": rows[:, 1], "largest charge": rows[:, 2]}


def _amounts(graph: SlabGraph) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the elements and their shares."""
    counts = np.bincount(graph.numbers, graph.multiplicity)
    elements = np.flatnonzero(counts)
    return tuple(elements.tolist()), tuple(np.round(counts[elements] / counts.sum(), 6).tolist())


def _electrons(crystals: CrystalSums) -> Array:
    """Valence electrons of each node's element: [N]."""
    return np.asarray(sum(crystals.of_atoms(f"valence {shell}") for shell in "spdf"))


@cache
def _masses() -> Array:
    """Atomic masses (u) with index by atomic number: [101]."""
    return np.array([0.0, *(float(element.atomic_mass) for element in elements_of_table())])


def _balance(elements: tuple[int, ...], shares: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the least charge per atom left over, and charge per atom moved and the largest charge there."""
    if len(elements) == 1:
        return 0.0, 0.0, 0.0
    scale = element_property("electronegativity")
    highest = max(elements, key=lambda z: scale[z])
    options = []
    for z in elements:
        states = _states()[z]
        # the most electronegative element is never positive, the others may be either
        kept = tuple(q for q in states if q < 0) if z == highest else states
        options.append(kept or states)
    best = (np.inf, 0.0, 0.0)
    for number, charges in enumerate(product(*options)):
        if number == MOST_STATES:
            break
        left = abs(sum(q * x for q, x in zip(charges, shares, strict=True)))
        moved = sum(abs(q) * x for q, x in zip(charges, shares, strict=True)) / 2
        if (left, -moved) < (best[0] - 1e-9, 0) or (abs(left - best[0]) < 1e-9 and moved < best[1]):
            best = (left, moved, float(max(charges)))
    return best


def _packing(crystals: CrystalSums, volume: Array) -> Columns:
    """Volume per atom (A^3), its share that atoms fill, densities of mass, electrons and energy."""
    mean, mass = crystals.average, _masses()[crystals.numbers]
    sphere = 4 / 3 * np.pi
    molar = crystals.of_atoms("molar volume ^1/3") ** 3 / 0.602214  # cm^3/mol to A^3
    return {
        "volume": volume,
        "length": np.cbrt(volume),
        "filled by covalent radii": mean(crystals.of_atoms("covalent radius") ** 3) * sphere / volume,
        "filled by atomic radii": mean(crystals.of_atoms("atomic radius") ** 3) * sphere / volume,
        "volume over the elements'": volume / mean(molar),
        "mass": mean(mass),
        "least mass": np.minimum.reduceat(mass, crystals.first_nodes),
        "mass density": mean(mass) / volume,
        "electrons per volume": mean(_electrons(crystals)) / volume,
        "cohesive energy per volume": mean(crystals.of_atoms("cohesive energy")) / volume,
    }


def _shells(crystals: CrystalSums) -> Columns:
    """Neighbours counted by their distance in sums of covalent radii: mean and deviation over the atoms."""
    found: Columns = {}
    for before, centre in zip((0.65, *SHELLS), SHELLS, strict=False):
        seen = np.exp(-(((crystals.scaled - centre) / (centre - before)) ** 2)) * crystals.edge_count
        found |= _statistics(crystals, f"neighbours at {centre:g}", crystals.over_edges(seen), low=False)
    return found


def _bonds(crystals: CrystalSums, volume: Array) -> Columns:
    """Coordination, lengths of bonds (A), and what they join."""
    low, high = (
        {name: edge.reduceat(values, crystals.first_edges) for name, values in lengths.items()}
        for edge in (np.minimum, np.maximum)
        for lengths in ({"distance": crystals.distance, "scaled distance": crystals.scaled},)
    )
    valence = np.exp((1 - crystals.scaled) / BOND_VALENCE_WIDTH) * crystals.edge_count
    found = (
        _statistics(crystals, "coordination", crystals.over_edges(crystals.bond))
        | _statistics(crystals, "nearest distance", low["distance"])
        | _statistics(crystals, "nearest scaled distance", low["scaled distance"])
        | _statistics(crystals, "farthest neighbour", high["distance"], low=False)
        | _statistics(crystals, "bond length", crystals.bond_average(crystals.distance), low=False)
        | _statistics(crystals, "scaled bond length", crystals.bond_average(crystals.scaled), low=False)
        | _statistics(crystals, "bond valence", np.minimum(crystals.over_edges(valence), 30), low=False)
    )
    z, other = crystals.numbers[crystals.centre], crystals.numbers[crystals.neighbour]
    weight = crystals.bond * crystals.count[crystals.centre]
    bonds, atoms = crystals.edge_total(weight), crystals.total(crystals.count)
    electronegativity, energy = element_property("electronegativity"), element_property("cohesive energy")
    modulus = np.exp(element_property("log bulk modulus"))
    apart = np.abs(electronegativity[z] - electronegativity[other])
    reduced = _masses()[z] * _masses()[other] / (_masses()[z] + _masses()[other])
    near = np.where(crystals.scaled < NEAR, reduced, HEAVY)
    per_crystal = np.searchsorted(crystals.slab[crystals.centre], np.arange(crystals.n))
    found["bonds between like atoms"] = crystals.edge_total(weight * (z == other)) / bonds
    # L. Pauling's ionic share of a bond
    found["ionic share of bonds"] = crystals.edge_total(weight * (1 - np.exp(-(apart**2) / 4))) / bonds
    found["bond energy"] = crystals.edge_total(weight * np.sqrt(energy[z] * energy[other])) / atoms
    found["bond energy per volume"] = found["bond energy"] / volume
    found["bond stiffness"] = crystals.edge_total(weight * np.sqrt(modulus[z] * modulus[other])) / atoms
    found["attraction of charges"] = crystals.edge_total(weight * apart**2 / crystals.distance) / atoms
    frequency = np.exp(-crystals.distance) / np.sqrt(reduced)
    found["highest bond frequency"] = np.maximum.reduceat(frequency, per_crystal)
    found["least reduced mass"] = np.minimum.reduceat(near, per_crystal)
    return found


def _neighbour_differences(crystals: CrystalSums) -> Columns:
    """Differences of properties between an atom and those it is bonded to: statistics over the atoms."""
    features = chemical_features()
    places = {name: i for i, name in enumerate(features.names)}
    z, other = crystals.numbers[crystals.centre], crystals.numbers[crystals.neighbour]
    found: Columns = {}
    for name in DIFFERENCES:
        values = features.table[:, places[name]].astype(np.float64)
        apart = crystals.bond_average(np.abs(values[z] - values[other]))
        found |= _statistics(crystals, f"{name}, difference", apart)
    return found
