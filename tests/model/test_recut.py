from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure

from model.graphs.graph import GraphSettings, build_graph
from model.graphs.slab_frame import slab_frame
from model.graphs.thickness import NoRepeatError, bulk_cell, crystal_inside
from tests.crystals import CRYSTALS
from tests.model.crystals import slab, slabs_of, thicken

NAMES = ["MgAg", "MgZn2", "Mg2Ni", "Mg3Sb2", "Mg"]
WHOLE = GraphSettings(whole_shells=True)


def needed_thickness(pooled: float, steps: int, reach: float, depth_limit: float) -> float:
    """How thick a slab must be so that no feature depends on the other surface (A), see docs/model.md."""
    by_depth = pooled + steps * reach + depth_limit
    by_direction = 2 * (pooled + (steps - 1) * reach + 1.0)
    return max(by_depth, by_direction)


def surface_features(structure: Structure, depth: float) -> np.ndarray:
    """What three steps of message passing know of the atoms near the surface, per area, sorted."""
    graph = build_graph(structure, WHOLE)
    centre = np.repeat(np.arange(graph.n_nodes), np.diff(graph.offsets))
    features = np.column_stack([graph.numbers / 10, np.minimum(graph.depth, 5.0)])
    for step in range(3):
        messages = np.sin(
            features[graph.neighbours] + graph.distances[:, None] + graph.cosines[:, None] * step
        )
        features = features.copy()
        for column in range(2):
            features[:, column] += np.bincount(centre, messages[:, column], graph.n_nodes)
    near = graph.depth <= depth
    frame = slab_frame(structure)
    per_area = np.array([np.exp(np.sin(features[near])).sum() / frame.area, near.sum() / frame.area])
    return np.concatenate([per_area, np.sort(features[near], axis=0)[[0, -1]].ravel()])


@pytest.mark.parametrize("name", NAMES)
def test_a_termination_cut_thin_and_thick_has_the_same_surface(name: str) -> None:
    thin, middle, thick = (slabs_of(name, thickness) for thickness in (10.0, 15.0, 25.0))
    assert len(thin) == len(middle) == len(thick) > 2
    for three in zip(thin, middle, thick, strict=True):
        assert len({(s.miller_index, s.termination_key) for s in three}) == 1
        reach = max(float(build_graph(s.structure, WHOLE).distances.max()) for s in three)
        thickness = needed_thickness(pooled=5.0, steps=3, reach=reach, depth_limit=5.0)
        views = [surface_features(thicken(s.structure, thickness), 5.0) for s in three]
        np.testing.assert_allclose(views[1], views[0], atol=2e-4)
        np.testing.assert_allclose(views[2], views[0], atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_thickened_slab_is_the_slab_cut_thick(name: str) -> None:
    for thin, thick in zip(slabs_of(name), slabs_of(name, 25.0), strict=True):
        made = thicken(thin.structure, 20.0)
        assert slab_frame(made).thickness >= 20.0
        made = thicken(thin.structure, thick.thickness - 0.01)
        if slab_frame(made).thickness == pytest.approx(thick.thickness, abs=0.01):
            # same number of repeats: the very same slab
            signatures = [build_graph(s, WHOLE).signature for s in (made, thick.structure)]
            np.testing.assert_allclose(*signatures, atol=1e-3)


def test_vacuum_and_composition_of_the_repeat_are_kept() -> None:
    cut = slab("MgAg", (1, 0, 0))
    made = thicken(cut, 30.0)
    before, after = slab_frame(cut), slab_frame(made)
    assert after.vacuum == pytest.approx(before.vacuum, abs=1e-4)
    # B2 (100): one plane of Mg and one of Ag for each repeat
    added = made.composition - cut.composition
    assert added["Mg"] == added["Ag"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_slab_tells_the_crystal_it_was_cut_from(name: str) -> None:
    crystal = CRYSTALS[name]
    for cut in slabs_of(name):
        amounts, volume = crystal_inside(slab_frame(cut.structure))
        inside = Composition({Element.from_Z(number): count for number, count in amounts.items()})
        assert inside.reduced_formula == crystal.composition.reduced_formula
        assert volume == pytest.approx(crystal.volume / len(crystal), rel=1e-3)


def test_a_slab_that_is_thick_enough_stays_as_it_is() -> None:
    cut = slab("MgAg", (1, 1, 0))
    assert thicken(cut, 5.0) is cut


def test_relaxed_surfaces_are_kept_and_only_the_middle_repeats() -> None:
    thick = next(s for s in slabs_of("MgAg", 25.0) if s.miller_index == (1, 1, 0)).structure.copy()
    z = thick.cart_coords[:, 2]
    moved = np.where(z > z.max() - 0.1, 0.2, np.where(z < z.min() + 0.1, -0.2, 0.0))
    relaxed = Structure(
        thick.lattice,
        thick.species,
        thick.cart_coords + moved[:, None] * [0, 0, 1],
        coords_are_cartesian=True,
    )
    made = thicken(relaxed, 40.0)
    graph, original = build_graph(made, WHOLE), build_graph(relaxed, WHOLE)
    assert graph.thickness >= 40.0
    # two atoms on each side are 0.2 A farther out
    for g in (graph, original):
        assert np.sort(np.unique(np.round(g.depth, 2)))[1] == pytest.approx(0.2 + 3.314 / 2**0.5, abs=0.01)


def test_a_slab_that_does_not_repeat_is_refused_with_a_reason() -> None:
    with pytest.raises(NoRepeatError, match=r"does not show how its crystal continues"):
        thicken(
            Structure(
                Lattice.orthorhombic(3, 3, 25),
                ["Mg", "Ag", "Zn", "Al"],
                [[0, 0, z] for z in (0.4, 0.5, 0.6, 0.7)],
            ),
            20.0,
        )


def test_one_layer_cannot_be_thickened() -> None:
    with pytest.raises(NoRepeatError):
        thicken(Structure(Lattice.tetragonal(4, 20), ["Mg"], [[0, 0, 0.5]]), 10.0)


@pytest.mark.parametrize("name", NAMES)
def test_crystal_and_plane_are_found_in_the_slab(name: str) -> None:
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import canonical_facet, standard_plane

    bulk = crystal_of(CRYSTALS[name])
    for cut in slabs_of(name):
        found = crystal_of(bulk_cell(slab_frame(cut.structure)))
        assert found.spacegroup_number == bulk.spacegroup_number
        assert len(found.species) == len(bulk.species)
        np.testing.assert_allclose(found.lattice, bulk.lattice, atol=1e-3)
        assert standard_plane(found, (0, 0, 1)) == canonical_facet(bulk, cut.miller_index)
