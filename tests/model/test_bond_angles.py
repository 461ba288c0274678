"""Angles between bonds: numbers that a textbook has, and a network, trees and process that see them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from model.baselines.bulk_descriptors import bulk_descriptor_names
from model.baselines.columns import DESCRIPTIONS
from model.graphs import bond_angles
from model.graphs.batch import PackedGraphs, collate
from model.graphs.bond_angles import COSINE_WIDTH, COSINES, LEAST_BOND, angle_names
from model.graphs.bulk_graph import PlainBulk, build_bulk_graph
from model.graphs.cache import GraphCache, build_graphs, graph_key, pack
from model.graphs.element_features import FEATURES
from model.graphs.slab_frame import PlainSlab
from model.network.network import SurfaceNetwork
from model.training.ensemble_files import load_ensemble
from model.training.presets import PRESETS
from model.training.runs import RunSettings, Transfer, run_training
from stores.errors import InputError
from tests.model.small_dataset import slabs
from tests.model.test_bulk_training import data, run

SETTINGS = PRESETS["best-angles"].graph
POLONIUM = Structure(Lattice.cubic(3.35), ["Po"], [[0, 0, 0]])
SILVER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.09), ["Ag"], [[0, 0, 0]])
DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
LOW = Structure(
    Lattice.from_parameters(4.1, 5.3, 6.2, 82, 97, 108),
    ["Mg", "Zn", "O", "Mg", "Ag"],
    np.random.default_rng(3).random((5, 3)),
)
NITROGEN = Structure(Lattice.cubic(6.0), ["N", "N"], [[0, 0, 0], [0, 0, 0.18]])


def angles(structure: Structure) -> dict[str, float]:
    found = build_bulk_graph(structure, SETTINGS).angles
    assert found is not None
    return dict(zip(angle_names(), found.tolist(), strict=True))


# Steinhardt et al. 1983, table I, and for four tetrahedral bonds sqrt(5) / 3
@pytest.mark.parametrize(
    ("structure", "degree", "order"),
    [
        (POLONIUM, 4, 0.7638),
        (POLONIUM, 6, 0.3536),
        (SILVER, 4, 0.1909),
        (SILVER, 6, 0.5745),
        (DIAMOND, 3, 0.7454),
    ],
)
def test_bond_order_is_that_of_the_textbook(structure, degree, order):
    assert angles(structure)[f"bond order {degree}, mean"] == pytest.approx(order, abs=2e-4)
    assert angles(structure)[f"bond order {degree}, deviation"] == pytest.approx(0, abs=1e-6)
    assert angles(structure)["bond order 1, mean"] == pytest.approx(0, abs=1e-6)


def test_an_octahedron_has_three_straight_and_twelve_right_angles():
    found = angles(POLONIUM)
    for cosine in COSINES:
        near = [np.exp(-(((x - cosine) / COSINE_WIDTH) ** 2)) for x in (-1, 0)]
        name = f"angles at cosine {cosine:.2f}, mean"
        assert found[name] == pytest.approx((3 * near[0] + 12 * near[1]) / 15, abs=1e-6)


def test_statistics_are_those_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr(bond_angles, "_PAIRS_AT_ONCE", 7)
    rows = []
    for site in LOW:
        near = sorted(LOW.get_neighbors(site, 9.0), key=lambda n: n.nn_distance)
        near = [n for n in near if n.nn_distance <= near[11].nn_distance + SETTINGS.shell_tolerance]
        length = np.array([n.nn_distance for n in near])
        first = np.exp(1 - np.minimum((length / length.min()) ** 6, 50))
        weight = np.exp(1 - np.minimum((length / ((first * length).sum() / first.sum())) ** 6, 50))
        bonds = [(n.coords - site.coords, d, w) for n, d, w in zip(near, length, weight, strict=True)]
        bonds = [one for one in bonds if one[2] > LEAST_BOND]
        pairs = total = 0.0
        shares, order = np.zeros(8), np.zeros(8)
        for i, (a, d, w) in enumerate(bonds):
            total += w
            for j, (b, e, v) in enumerate(bonds):
                cosine = float(a @ b / (d * e))
                order += w * v * np.array([np.polynomial.Legendre.basis(k)(cosine) for k in range(1, 9)])
                if i != j:
                    pairs += w * v
                    shares += w * v * np.exp(-(((cosine - COSINES) / COSINE_WIDTH) ** 2))
        rows.append(np.concatenate([shares / pairs, np.sqrt(order) / total]))
    expected = np.concatenate([np.mean(rows, axis=0), np.std(rows, axis=0)])
    assert list(angles(LOW).values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_atoms_with_one_bond_have_no_angles_but_an_order():
    found = angles(NITROGEN)
    assert all(found[f"angles at cosine {cosine:.2f}, mean"] == 0 for cosine in COSINES)
    assert found["bond order 4, mean"] == pytest.approx(1, abs=1e-6)


def test_bonds_of_a_simple_cube_have_one_straight_and_four_right_angles():
    line = build_bulk_graph(POLONIUM, SETTINGS).line
    assert line is not None
    (bond,) = np.flatnonzero(line.bond_weights)  # the six nearest neighbours as one edge, the next are none
    angles_of_it = slice(line.offsets[bond], line.offsets[bond + 1])
    found = dict(zip(line.cosines[angles_of_it].tolist(), line.counts[angles_of_it].tolist(), strict=True))
    assert {round(cosine, 4): count for cosine, count in found.items()} == {-1.0: 1, 0.0: 4}
    assert set(line.others.tolist()) == {bond} and line.offsets[-1] == 2


def network(**changes) -> SurfaceNetwork:
    torch.manual_seed(1)
    settings = PRESETS["best-angles"]
    config = replace(settings.network, targets=("energy",), **changes)
    return SurfaceNetwork(config, torch.from_numpy(FEATURES[settings.features]().table)).eval()


@pytest.mark.parametrize("structure", [POLONIUM, SILVER, DIAMOND, LOW, NITROGEN])
def test_cell_and_folding_do_not_change_predictions(structure):
    other = structure.copy()
    other.translate_sites(range(len(other)), [0.31, 0.17, 0.83])
    other.make_supercell([[1, 0, 0], [2, 1, 0], [0, -1, 2]])
    graphs = [build_bulk_graph(one, SETTINGS) for one in (structure, other)]
    assert graphs[0].n_nodes == graphs[1].n_nodes and len(graphs[0].line.others) == len(graphs[1].line.others)
    graphs += [build_bulk_graph(one, replace(SETTINGS, fold=False)) for one in (structure, other)]
    with torch.inference_mode():
        predicted = network()(collate(graphs))
        chosen = network()(PackedGraphs.of(graphs).select(torch.tensor([3, 0])))
    torch.testing.assert_close(predicted, predicted[:1].expand_as(predicted), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(chosen, predicted[[3, 0]], rtol=1e-4, atol=1e-5)


def test_the_network_tells_apart_what_distances_do_not():
    # eight neighbours each at 3 A: the corners of a cube, and those of a square antiprism
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 3 / 3**0.5
    turn = np.array([[1, -1], [1, 1]]) / 2**0.5
    antiprism = cube.copy()
    antiprism[cube[:, 2] > 0, :2] @= turn
    graphs = []
    for shape in (cube, antiprism):
        sites = np.vstack([[0, 0, 0], shape]) + 15
        crystal = Structure(Lattice.cubic(30), ["Zr"] + ["O"] * 8, sites, coords_are_cartesian=True)
        settings = replace(SETTINGS, max_neighbours=8, cutoff=3.3)
        graphs.append(build_bulk_graph(crystal, settings))
    weights = [graph.line.bond_weights[: graph.offsets[1]] for graph in graphs]
    assert weights[0].tolist() == pytest.approx(weights[1].tolist(), abs=1e-5)
    orders = [graph.angles[list(angle_names()).index("bond order 4, mean")] for graph in graphs]
    assert abs(orders[0] - orders[1]) > 0.01
    with torch.inference_mode():
        first, second = network()(collate(graphs))
    assert abs(float(first - second)) > 1e-4


@pytest.mark.parametrize("embedding", [64, 1])  # of bonds half as wide, but not without any channel
def test_a_batch_without_any_angle_leaves_a_network_whole(embedding):
    learning = network(embedding=embedding).train()
    dimers = [NITROGEN.copy().apply_strain(strain) for strain in (0.0, 0.02)]
    learning(collate([build_bulk_graph(one, SETTINGS) for one in dimers])).sum().backward()
    found = [*learning.state_dict().values(), *(p.grad for p in learning.parameters() if p.grad is not None)]
    assert all(values.isfinite().all() for values in found)


def test_a_cache_keeps_angles(tmp_path):
    crystals = [PlainBulk.from_structure(one) for one in (LOW, POLONIUM)]
    cache = GraphCache(tmp_path / "graphs.sqlite")
    built = build_graphs(crystals, SETTINGS, cache=cache)
    again = build_graphs(crystals, SETTINGS, cache=cache)
    assert [pack(graph) for graph in built] == [pack(graph) for graph in again]
    assert again[0].angles.tolist() == built[0].angles.tolist()
    assert again[0].line.cosines.tolist() == built[0].line.cosines.tolist()


def test_other_presets_have_no_angles_and_their_settings_and_keys_no_word_of_them():
    usual = PRESETS["best"].graph
    graph = build_bulk_graph(LOW, usual)
    assert graph.angles is None and graph.line is None and b"line" not in pack(graph)
    assert "angles" not in usual.plain() and SETTINGS.plain()["angles"] is True
    assert DESCRIPTIONS["bulk"].of([graph]).shape[1] == len(bulk_descriptor_names())
    slab = PlainSlab.from_structure(slabs("Ag", False)[0])
    assert graph_key(slab, usual) == graph_key(slab, SETTINGS)
    crystal = PlainBulk.from_structure(LOW)
    assert graph_key(crystal, usual) != graph_key(crystal, SETTINGS)


def test_a_model_of_angles_is_trained_kept_and_fine_tuned(tmp_path):
    target = "formation_energy"
    _, ensemble, folder = run(tmp_path, (target,), with_slabs=False, preset="best-angles")
    own = ensemble.descriptor_models["bulk"]
    assert own.targets[target].forest.width == len(bulk_descriptor_names()) + len(angle_names())
    assert tuple(own.state()["descriptors"]) == DESCRIPTIONS["bulk"].names(own.targets[target].forest.width)
    graphs = [entry.graph for entry in data(SETTINGS, with_slabs=False)]
    kept = load_ensemble(folder)
    assert (kept.predict(graphs).mean[target] == ensemble.predict(graphs).mean[target]).all()
    settings = RunSettings(
        "best-angles", targets=(target,), epochs=1, transfer=Transfer.of(folder / "model", "body")
    )
    run_training(lambda found, _: data(found, with_slabs=False), settings, tmp_path / "tuned")
    tuned = load_ensemble(tmp_path / "tuned").members[0].network.state_dict()
    before = ensemble.members[0].network.state_dict()
    assert torch.equal(tuned["bonds.edge.weight"], before["bonds.edge.weight"])


def test_slabs_and_graphs_without_angles_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"are of slabs.*--preset best"):
        run(tmp_path, ("surface_energy",), with_slabs=True, preset="best-angles")
    settings = RunSettings("best", targets=("formation_energy",), params={"network.edges": "angles"})
    with pytest.raises(InputError, match=r"graph\.angles true"):
        run_training(lambda found, _: data(found, with_slabs=False), settings, tmp_path / "without")
