"""Crystals and slabs that the tests of graphs cut themselves."""

from __future__ import annotations

from functools import cache

import numpy as np
from pymatgen.core import Lattice, Structure

from model.graphs.graph import SlabGraph
from model.graphs.slab_frame import slab_frame
from model.graphs.thickness import thicken_frame
from workflows.structures.slabs import SlabSettings, SymmetricSlab, enumerate_slabs

CRYSTALS = {
    "MgAg": Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.314), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3]),
    "MgZn2": Structure.from_spacegroup(
        "P6_3/mmc",
        Lattice.hexagonal(5.22, 8.57),
        ["Mg", "Zn", "Zn"],
        [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]],
    ),
    "Mg2Ni": Structure.from_spacegroup(
        "P6_222",
        Lattice.hexagonal(5.216, 13.20),
        ["Mg", "Mg", "Ni", "Ni"],
        [[0.5, 0, 0.1187], [0.1635, 0.327, 0], [0, 0, 0.5], [0.5, 0, 0.5]],
    ),
    "Mg3Sb2": Structure.from_spacegroup(
        "P-3m1",
        Lattice.hexagonal(4.568, 7.229),
        ["Mg", "Mg", "Sb"],
        [[0, 0, 0], [1 / 3, 2 / 3, 0.634], [1 / 3, 2 / 3, 0.2287]],
    ),
    "Mg": Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]]
    ),
    "Ag": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.086), ["Ag"], [[0, 0, 0]]),
}


@cache
def slabs_of(name: str, thickness: float = 10.0, vacuum: float = 15.0) -> tuple[SymmetricSlab, ...]:
    """Return all symmetric slabs of a crystal up to Miller index 1."""
    facets = enumerate_slabs(CRYSTALS[name], SlabSettings(min_thickness=thickness, vacuum=vacuum))
    return tuple(slab for facet in facets for slab in facet.slabs)


def slab(name: str, miller: tuple[int, int, int], termination: int = 0) -> Structure:
    """Return one slab of at least 10 A."""
    return next(
        s.structure for s in slabs_of(name) if s.miller_index == miller and s.termination == termination
    )


def thicken(structure: Structure, min_thickness: float) -> Structure:
    """Return a slab made thicker, as graphs are made of it: c along z, centred, with the same vacuum."""
    frame = slab_frame(structure)
    thick = thicken_frame(frame, min_thickness)
    if thick is frame:
        return structure
    height = thick.thickness + thick.vacuum
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = thick.cell, height
    fractional = np.column_stack([thick.plane, (thick.heights + thick.vacuum / 2) / height])
    return Structure(lattice, [int(number) for number in thick.numbers], fractional)


def described(graph: SlabGraph, max_depth: float = np.inf) -> np.ndarray:
    """Return what a graph says of each atom, in an order that does not depend on the graph's.

    Rows of number, depth, then the sorted distances (padded with 99), sums over the edges of the neighbours'
    numbers and of the cosines; per atom of the slab over all atoms, so that supercells agree.
    """
    width = int(np.diff(graph.offsets).max())
    rows = []
    for i in range(graph.n_nodes):
        edges = slice(graph.offsets[i], graph.offsets[i + 1])
        distances = np.full(width, 99.0)
        distances[: len(graph.distances[edges])] = np.sort(graph.distances[edges])
        near = np.exp(-graph.distances[edges])
        sums = [near @ graph.numbers[graph.neighbours[edges]], near @ graph.cosines[edges]]
        rows.append([float(graph.numbers[i]), float(graph.depth[i]), *distances, *sums])
    table = np.array(rows)[graph.depth <= max_depth]
    return table[np.lexsort(np.round(table, 2).T[::-1])]
