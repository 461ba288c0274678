from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.graphs.graph import GraphSettings, SlabGraph, build_graph
from stores.errors import InputError
from tests.model.crystals import described, slab, slabs_of

PAPER = GraphSettings()
WHOLE = GraphSettings(whole_shells=True)
ALL = [s.structure for name in ("MgAg", "MgZn2", "Mg3Sb2", "Mg") for s in slabs_of(name)]
SOME = [slab("MgAg", (1, 1, 1)), slab("MgZn2", (1, 0, 1)), slab("Mg3Sb2", (1, 1, 0)), slab("Mg", (1, 0, 1))]


def same(one: SlabGraph, other: SlabGraph, *, settings: GraphSettings) -> None:
    """Compare two graphs to the tolerance that tie-breaking leaves."""
    first, second = described(one), described(other)
    assert one.thickness == pytest.approx(other.thickness, abs=1e-4)
    columns = slice(None) if settings.whole_shells else slice(0, -1)  # without the cosines
    np.testing.assert_allclose(first[:, columns], second[:, columns], atol=2e-3)
    assert one.identity == other.identity
    np.testing.assert_allclose(one.signature, other.signature, atol=2e-3)


@pytest.fixture(params=[PAPER, WHOLE], ids=["paper", "whole shells"])
def settings(request: pytest.FixtureRequest) -> GraphSettings:
    return request.param


@pytest.mark.parametrize("cut", ALL, ids=lambda s: s.formula)
def test_distances_are_those_of_pymatgen(cut: Structure) -> None:
    graph = build_graph(cut, GraphSettings(shell_tolerance=1e-6))
    expected = [sorted(site.nn_distance for site in near)[:12] for near in cut.get_all_neighbors(12.0)]
    np.testing.assert_allclose(np.sort(graph.distances.reshape(-1, 12), axis=1), expected, atol=2e-6)


def test_edges_lead_to_the_atoms_they_name() -> None:
    cut = slab("MgZn2", (1, 0, 0))
    graph = build_graph(cut, PAPER)
    z = cut.cart_coords[:, 2]
    for i in range(graph.n_nodes):
        for edge in range(graph.offsets[i], graph.offsets[i + 1]):
            j = graph.neighbours[edge]
            outward = np.clip(z[i] - (z.max() + z.min()) / 2, -1, 1)
            assert graph.cosines[edge] == pytest.approx(
                outward * (z[j] - z[i]) / graph.distances[edge], abs=1e-4
            )
            images = [
                cut.get_distance(i, j, jimage=[a, b, 0])
                for a in (-3, -2, -1, 0, 1, 2, 3)
                for b in range(-3, 4)
            ]
            assert np.abs(np.array(images) - graph.distances[edge]).min() < 1e-4


@pytest.mark.parametrize("cut", ALL, ids=lambda s: s.formula)
def test_whole_shells_leave_no_neighbour_out_that_is_as_near(cut: Structure) -> None:
    graph = build_graph(cut, WHOLE)
    near = cut.get_all_neighbors(9.0)
    for i in range(graph.n_nodes):
        distances = np.sort([site.nn_distance for site in near[i]])
        expected = distances[distances <= distances[11] + WHOLE.shell_tolerance]
        assert graph.offsets[i + 1] - graph.offsets[i] == len(expected) >= 12


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
def test_rotation_changes_nothing(cut: Structure, settings: GraphSettings) -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]  # may reflect, too
    turned = Structure(Lattice(cut.lattice.matrix @ rotation), cut.species, cut.frac_coords)
    same(build_graph(cut, settings), build_graph(turned, settings), settings=settings)


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
@pytest.mark.parametrize("shift", [(0.31, 0.77, 0.02), (0.0, 0.0, 0.5), (-2.4, 3.3, 0.44)])
def test_translation_and_wrapping_change_nothing(
    cut: Structure, shift: tuple[float, ...], settings: GraphSettings
) -> None:
    whole = build_graph(cut, settings)
    moved = cut.frac_coords + shift
    for fractional in (moved, moved % 1.0):
        same(whole, build_graph(Structure(cut.lattice, cut.species, fractional), settings), settings=settings)


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
def test_order_of_atoms_changes_nothing(cut: Structure, settings: GraphSettings) -> None:
    order = np.random.default_rng(2).permutation(len(cut))
    mixed = Structure.from_sites([cut[i] for i in order])
    same(build_graph(cut, settings), build_graph(mixed, settings), settings=settings)


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
@pytest.mark.parametrize("supercell", [[[2, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [-1, 2, 0], [0, 0, 1]]])
def test_in_plane_supercell_only_repeats_the_atoms(
    cut: Structure, supercell: list[list[int]], settings: GraphSettings
) -> None:
    larger = cut.make_supercell(supercell, in_place=False)
    repeats = len(larger) // len(cut)
    one, other = build_graph(cut, settings), build_graph(larger, settings)
    assert other.n_nodes == repeats * one.n_nodes
    columns = slice(None) if settings.whole_shells else slice(0, -1)
    np.testing.assert_allclose(
        described(one)[:, columns].repeat(repeats, axis=0), described(other)[:, columns], atol=2e-3
    )
    np.testing.assert_allclose(one.signature, other.signature, atol=2e-3)


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
@pytest.mark.parametrize("vacuum", [6.0, 40.0, 200.0])
def test_vacuum_changes_nothing(cut: Structure, vacuum: float, settings: GraphSettings) -> None:
    cartesian = cut.cart_coords
    z = cartesian[:, 2]
    matrix = cut.lattice.matrix.copy()
    matrix[2] = [0, 0, z.max() - z.min() + vacuum]
    other = Structure(Lattice(matrix), cut.species, cartesian, coords_are_cartesian=True)
    same(build_graph(cut, settings), build_graph(other, settings), settings=settings)


@pytest.mark.parametrize("cut", SOME, ids=lambda s: s.formula)
def test_tilted_c_and_a_split_slab_change_nothing(cut: Structure, settings: GraphSettings) -> None:
    matrix = cut.lattice.matrix.copy()
    matrix[2] += 0.7 * matrix[0] - 1.3 * matrix[1]
    tilted = Structure(Lattice(matrix), cut.species, cut.cart_coords, coords_are_cartesian=True)
    split = Structure(tilted.lattice, tilted.species, (tilted.frac_coords + np.array([0.1, 0.2, 0.55])) % 1.0)
    assert np.ptp(split.frac_coords[:, 2]) > 0.9
    whole = build_graph(cut, settings)
    same(whole, build_graph(tilted, settings), settings=settings)
    same(whole, build_graph(split, settings), settings=settings)


def test_depth_is_measured_from_the_nearer_surface() -> None:
    graph = build_graph(slab("MgAg", (1, 0, 0)), PAPER)
    heights = np.arange(graph.n_nodes) * 3.314 / 2
    expected = np.minimum(heights, heights[-1] - heights)
    np.testing.assert_allclose(np.sort(graph.depth), np.sort(expected), atol=1e-4)
    assert graph.thickness == pytest.approx(heights[-1], abs=1e-4)


def test_atoms_with_few_neighbours_have_few_edges() -> None:
    # a square net 4 A wide: 4 + 4 neighbours within 6 A
    sheet = Structure(Lattice.tetragonal(4.0, 30.0), ["Mg"], [[0, 0, 0.5]])
    graph = build_graph(sheet, GraphSettings(cutoff=6.0))
    np.testing.assert_allclose(graph.distances, [4.0] * 4 + [32**0.5] * 4, atol=1e-5)


def test_ties_go_to_the_lighter_element_then_to_the_shallower_atom() -> None:
    # simple cubic: 6 neighbours at a, then 12 at a sqrt 2 of which 8 - 6 = 2 places are left
    cubic = Structure(
        Lattice.tetragonal(3.0, 40.0), ["Mg", "Ag", "Mg", "Ag", "Mg"], [[0, 0, z * 3 / 40] for z in range(5)]
    )
    graph = build_graph(cubic, GraphSettings(max_neighbours=8))
    middle = slice(graph.offsets[2], graph.offsets[3])
    second = graph.neighbours[middle][graph.distances[middle] > 3.1]
    assert list(graph.numbers[second]) == [12, 12]  # own layer, not the Ag layers


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Structure(Lattice.cubic(3.2), ["Mg"], [[0, 0, 0]]), "No vacuum"),
        (Structure(Lattice.tetragonal(4, 20), ["Mg", "Ag"], [[0, 0, 0], [0, 0, 0.01]]), "0.20 A apart"),
        (Structure(Lattice.cubic(20), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]]), "shared"),
    ],
)
def test_what_is_no_slab_is_refused_in_words(structure: Structure, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_graph(structure, PAPER)


def test_different_terminations_have_different_identities() -> None:
    graphs = [build_graph(s, PAPER) for s in ALL]
    assert len({g.identity for g in graphs}) == len(graphs)


def test_a_minimum_thickness_is_applied_where_the_slab_allows_it() -> None:
    thick = GraphSettings(min_thickness=30.0)
    assert build_graph(slab("MgAg", (1, 0, 0)), thick).thickness >= 30.0
    sheet = Structure(Lattice.tetragonal(4.0, 30.0), ["Mg"], [[0, 0, 0.5]])
    assert build_graph(sheet, thick).thickness == 0.0
