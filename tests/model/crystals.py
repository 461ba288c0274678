"""Slabs that the tests of graphs cut themselves."""

from __future__ import annotations

from functools import cache

import numpy as np
from pymatgen.core import Structure

from model.graphs.graph import SlabGraph
from model.graphs.slab_frame import slab_frame
from model.graphs.thickness import thicken_frame
from tests.crystals import CRYSTALS
from workflows.structures.slabs import SlabSettings, SymmetricSlab, enumerate_slabs


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
    """Return what a graph holds of each atom, in an order that does not depend on the graph's.

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
