"""Graphs of bulk crystals: their neighbours, what does not change them, and the network beside slabs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from model.data.identical_slabs import group_identical
from model.graphs.batch import PackedGraphs, collate
from model.graphs.bulk_graph import BulkGraph, PlainBulk, build_bulk_graph, bulk_graphs, is_bulk
from model.graphs.cache import GraphCache, build_graphs, graph_key, pack, unpack
from model.graphs.element_features import FEATURES
from model.graphs.graph import GraphSettings, SlabGraph, build_graph
from model.graphs.slab_frame import PlainSlab
from model.network.network import SurfaceNetwork
from model.training.presets import PRESETS
from tests.model.crystals import slabs_of

CUBIC = Lattice.cubic(4.2)
FCC = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
ROCK_SALT = Structure.from_spacegroup("Fm-3m", CUBIC, ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
ALUMINIUM = Structure(Lattice.cubic(4.05), ["Al"] * 4, FCC)
LOW = Structure(
    Lattice.from_parameters(4.1, 5.3, 6.2, 82, 97, 108),
    ["Mg", "Zn", "O", "Mg", "Ag"],
    np.random.default_rng(3).random((5, 3)),
)
PAPER, WHOLE = GraphSettings(), GraphSettings(whole_shells=True)


def plain(*structures: Structure) -> list[PlainBulk]:
    return [PlainBulk.from_structure(structure) for structure in structures]


def network(preset: str) -> SurfaceNetwork:
    torch.manual_seed(1)
    settings = PRESETS[preset]
    return SurfaceNetwork(settings.network, torch.from_numpy(FEATURES[settings.features]().table)).eval()


def predict(preset: str, graphs: list[SlabGraph]) -> torch.Tensor:
    with torch.inference_mode():
        return network(preset)(collate(graphs))


@pytest.mark.parametrize("structure", [ROCK_SALT, ALUMINIUM, LOW], ids=["rock salt", "fcc", "triclinic"])
def test_neighbours_are_those_of_pymatgen(structure: Structure) -> None:
    graph = build_bulk_graph(structure, WHOLE)
    for i in range(len(structure)):
        edges = slice(graph.offsets[i], graph.offsets[i + 1])
        ours = sorted(zip(graph.distances[edges].tolist(), graph.numbers[graph.neighbours[edges]].tolist(),
                          strict=True))  # fmt: skip
        near = sorted((n.nn_distance, n.specie.Z) for n in structure.get_neighbors(structure[i], 12.0))
        theirs = [pair for pair in near if pair[0] <= near[11][0] + WHOLE.shell_tolerance]
        assert len(ours) == len(theirs) >= 12
        assert np.allclose([d for d, _ in ours], [d for d, _ in theirs], atol=1e-5)
        assert sorted(z for _, z in ours) == sorted(z for _, z in theirs)


def test_a_cut_shell_keeps_the_lightest_neighbours() -> None:
    # Mg in MgO: 6 O, then 12 Mg, of which 6 are kept
    graph = build_bulk_graph(ROCK_SALT, PAPER)
    assert (np.diff(graph.offsets) == 12).all()
    mixed = Structure(Lattice.cubic(8.1), ["Al"] * 32, (ALUMINIUM * (2, 2, 2)).frac_coords)
    mixed.replace(5, "Mg")
    small = GraphSettings(max_neighbours=4)
    centres = build_bulk_graph(mixed, small)
    for near in mixed.get_neighbors(mixed[5], 3.0):
        edges = slice(centres.offsets[near.index], centres.offsets[near.index + 1])
        assert 5 in centres.neighbours[edges]


def test_one_atom_and_three_hundred() -> None:
    one = build_bulk_graph(Structure(Lattice.cubic(3.0), ["Po"], [[0, 0, 0]]), PAPER)
    assert (one.n_nodes, one.n_edges) == (1, 12) and one.distances.min() == pytest.approx(3.0)
    many = build_bulk_graph(LOW * (4, 4, 4), GraphSettings(fold=True, whole_shells=True))
    assert many.multiplicity.sum() == 320 and many.n_nodes == 5 and set(many.multiplicity) == {64}


def test_an_isolated_atom_overlap_and_flat_cell_are_one_line_each() -> None:
    bad = [
        Structure(Lattice.cubic(15.0), ["Mg"], [[0, 0, 0]]),
        Structure(CUBIC, ["Mg", "O"], [[0, 0, 0], [0.02, 0, 0]]),
        Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 1e-4]]), ["Mg"], [[0, 0, 0]]),
    ]
    found = bulk_graphs(plain(bad[0], ROCK_SALT, *bad[1:]), PAPER)
    assert isinstance(found[1], BulkGraph)
    reasons = [str(found[i]) for i in (0, 2, 3)]
    for reason, words in zip(reasons, ("within 12 A", "0.08 A apart", "flat"), strict=True):
        assert words in reason and "\n" not in reason


@pytest.mark.parametrize("preset", ["sem-cgcnn", "best"])
def test_cell_order_and_folding_do_not_change_predictions(preset: str) -> None:
    settings = PRESETS[preset].graph
    unfolded = GraphSettings(whole_shells=settings.whole_shells)
    for structure in (ROCK_SALT, LOW):
        shuffled = structure.copy()
        shuffled.translate_sites(range(len(shuffled)), [0.31, 0.17, 0.83])
        other = Structure.from_sites(
            [shuffled[i] for i in np.random.default_rng(0).permutation(len(shuffled))]
        )
        sheared = other.copy()
        sheared.make_supercell([[1, 0, 0], [2, 1, 0], [0, -1, 1]])
        forms = [structure, other, sheared, structure * (2, 1, 1)]
        folded = [build_bulk_graph(one, settings) for one in forms]
        assert len({graph.n_nodes for graph in folded}) == 1
        assert group_identical(folded) == [0] * 4 and len({graph.identity for graph in folded}) == 1
        whole = [build_bulk_graph(one, unfolded) for one in forms]
        predicted = predict(preset, [*folded, *whole])
        torch.testing.assert_close(predicted, predicted[:1].expand_as(predicted), rtol=1e-4, atol=1e-5)


def test_a_graph_does_not_depend_on_those_built_beside_it() -> None:
    structures = [ROCK_SALT, LOW, ALUMINIUM * (2, 1, 1)]
    settings = PRESETS["sem-cgcnn"].graph
    together = bulk_graphs(plain(*structures), settings)
    alone = [build_bulk_graph(one, settings) for one in structures]
    assert [pack(graph) for graph in together] == [pack(graph) for graph in alone]


def test_slabs_beside_crystals_keep_their_graphs_keys_and_bits(tmp_path) -> None:
    slabs = [PlainSlab.from_structure(s.structure) for s in slabs_of("MgAg")][:3]
    crystals = plain(ROCK_SALT, LOW)
    settings = PRESETS["best"].graph
    cache = GraphCache(tmp_path / "graphs.sqlite")
    mixed = [slabs[0], crystals[0], slabs[1], crystals[1], slabs[2]]
    first = build_graphs(mixed, settings, cache=cache)
    again = build_graphs(mixed, settings, cache=cache)
    assert [is_bulk(graph) for graph in again] == [False, True, False, True, False]
    assert [pack(graph) for graph in first] == [pack(graph) for graph in again]
    as_slab = PlainSlab(crystals[0].numbers, crystals[0].lattice, crystals[0].fractional)
    assert graph_key(as_slab, settings) != graph_key(crystals[0], settings)
    assert b"bulk" not in pack(first[0]) and type(unpack(pack(first[1]))) is BulkGraph
    for preset in ("sem-cgcnn", "best"):
        alone = predict(preset, first[::2])
        torch.testing.assert_close(predict(preset, [*first[::2], *first[1::2]])[:3], alone)
        slabs_alone = collate(first[::2])
        assert slabs_alone.has_surface is None
        masked = replace(slabs_alone, has_surface=torch.ones(len(slabs_alone.numbers)))
        with torch.inference_mode():
            assert torch.equal(network(preset)(masked), alone)
        packed = PackedGraphs.of(first)
        chosen = packed.select(torch.tensor([3, 0]))
        n = first[3].n_nodes
        assert (chosen.has_surface[:n] == 0).all() and (chosen.has_surface[n:] == 1).all()


def test_depth_of_a_crystal_counts_for_nothing() -> None:
    crystal = build_bulk_graph(LOW, WHOLE)
    deep = BulkGraph(**{**crystal.__dict__, "depth": np.full(5, 3.3, dtype=np.float32)})
    for preset in ("sem-cgcnn", "best"):
        assert torch.equal(predict(preset, [crystal]), predict(preset, [deep]))
    slab = build_graph(slabs_of("MgAg")[0].structure, WHOLE)
    moved = SlabGraph(**{**slab.__dict__, "depth": slab.depth + np.float32(3.3)})
    assert not torch.equal(predict("best", [slab]), predict("best", [moved]))
