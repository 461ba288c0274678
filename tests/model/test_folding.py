from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from model.graphs.graph import GraphSettings, SlabGraph, build_graph, fold
from tests.model.crystals import slabs_of

SLABS = [s.structure for name in ("MgAg", "MgZn2", "Mg3Sb2", "Mg2Ni") for s in slabs_of(name)]


def message_passing(graph: SlabGraph, steps: int) -> np.ndarray:
    """Return sums over all atoms after each of some steps that see element, depth, distance and direction."""
    centre = np.repeat(np.arange(graph.n_nodes), np.diff(graph.offsets))
    feature = np.sin(graph.numbers.astype(float)) + np.cos(graph.depth)
    sums = []
    for _ in range(steps):
        message = np.tanh(feature[graph.neighbours] * graph.distances + graph.cosines + feature[centre])
        feature = feature + np.bincount(centre, message * graph.edge_multiplicity, graph.n_nodes)
        sums.append(graph.multiplicity @ np.sin(feature))
    return np.array(sums)


@pytest.mark.parametrize("structure", SLABS, ids=lambda s: s.formula)
@pytest.mark.parametrize("whole_shells", [False, True])
def test_a_network_cannot_tell_a_folded_graph_from_the_whole(
    structure: Structure, whole_shells: bool
) -> None:
    graph = build_graph(structure, GraphSettings(whole_shells=whole_shells))
    folded = fold(graph)
    assert folded.multiplicity.sum() == graph.n_nodes
    degree = np.add.reduceat(folded.edge_multiplicity, folded.offsets[:-1])
    assert degree @ folded.multiplicity == graph.n_edges
    np.testing.assert_allclose(
        message_passing(folded, 4) / graph.n_nodes, message_passing(graph, 4) / graph.n_nodes, atol=1e-3
    )


def test_the_two_surfaces_and_equal_atoms_of_a_layer_become_one() -> None:
    for structure in SLABS:
        folded = build_graph(structure, GraphSettings(whole_shells=True, fold=True))
        assert folded.n_nodes <= len(structure) // 2 + 1
        assert folded.identity == build_graph(structure, GraphSettings(whole_shells=True)).identity


def test_an_in_plane_supercell_folds_to_the_same_graph() -> None:
    settings = GraphSettings(whole_shells=True, fold=True)
    for structure in SLABS[:6]:
        one, four = (build_graph(s, settings) for s in (structure, structure * (2, 2, 1)))
        assert four.n_nodes == one.n_nodes
        np.testing.assert_array_equal(np.sort(four.multiplicity), 4 * np.sort(one.multiplicity))


def test_slabs_without_edges_fold_too() -> None:
    graph = build_graph(SLABS[0], GraphSettings(cutoff=1.0))
    assert graph.n_edges == 0
    assert fold(graph).multiplicity.sum() == graph.n_nodes
