"""Numbers about a surface: what they mean on slabs cut here, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.baselines.descriptors import describe_slabs, descriptor_names
from model.graphs.element_features import element_property
from model.graphs.graph import build_graph, fold
from model.training.presets import PRESETS
from tests.crystals import CRYSTALS
from tests.model.crystals import slab, slabs_of
from tests.model.tiny import tiny_graph

SETTINGS = PRESETS["best"].graph


def described(structure, **changes):
    graph = build_graph(structure, replace(SETTINGS, **changes))
    return dict(zip(descriptor_names(), describe_slabs([graph])[0].tolist(), strict=True))


def test_densities_and_shares_of_mgag_100():
    found = described(slab("MgAg", (1, 0, 0), 0))
    other = described(slab("MgAg", (1, 0, 0), 1))
    a = 3.314
    assert {round(found["top share"]), round(other["top share"])} == {0, 1}
    silver, magnesium = (found, other) if found["top share"] > 0.5 else (other, found)
    # one atom in a x a on each surface; the next layer, a / 2 below, is hardly seen
    assert silver["top partner"] == pytest.approx(1 / a**2, rel=1e-3)
    assert silver["top Mg"] == pytest.approx(0, abs=1e-6)
    assert magnesium["top Mg"] == pytest.approx(1 / a**2, rel=1e-3)
    assert silver["bulk share"] == pytest.approx(0.5, abs=0.03)
    assert silver["bulk density"] == pytest.approx(2 / a**3, rel=0.06)
    assert silver["top electronegativity"] == pytest.approx(1.93)
    assert silver["enrichment"] > 0 > magnesium["enrichment"]


def test_a_bcc_like_atom_at_the_surface_loses_half_of_its_nearest_neighbours():
    found = described(slab("MgAg", (1, 0, 0), 0))
    top = "partner" if found["top share"] > 0.5 else "Mg"
    other = "Mg" if top == "partner" else "partner"
    ratio = found[f"top {top} to {other}"] / found[f"bulk {top} to {other}"]
    assert ratio == pytest.approx(0.5, abs=0.01)
    assert 0 < found["broken bonds of the top"] < 1
    assert found["broken bonds, energy"] > found["broken bonds, second moment"] > 0


def test_the_denser_face_of_a_metal_breaks_fewer_bonds():
    faces = {s.miller_index: described(s.structure) for s in slabs_of("Ag")}
    dense, open_ = faces[(1, 1, 1)], faces[(1, 1, 0)]
    for name in ("broken bonds", "broken bonds, second moment", "lost pair energy"):
        assert 0 < dense[name] < open_[name]
    # 3 of 12 bonds are lost at (111), with one atom in 7.23 A^2; farther atoms make up for a little of it
    energy = element_property("cohesive energy")[47]
    assert energy == 2.95
    area = 4.086**2 * 3**0.5 / 4
    assert 0.7 < dense["broken bonds, energy"] / (0.25 * energy / area) < 1


def test_a_metal_without_partner_is_described_by_magnesium():
    found = described(slab("Mg", (0, 0, 1)))
    alloy = described(slab("MgAg", (1, 0, 0)))
    assert found["partner electronegativity"] != pytest.approx(alloy["partner electronegativity"])
    assert found["top partner"] == 0
    assert found["top partner outward"] == -1  # a mean over no atoms
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_thickness_does_not_matter(name):
    cuts = [
        {(s.miller_index, s.termination): s.structure for s in slabs_of(name, t)} for t in (10.0, 25.0, 34.0)
    ]
    common = [key for key in cuts[0] if all(key in cut for cut in cuts)]
    assert common
    for key in common:
        thin, middle, thick = (described(cut[key]) for cut in cuts)
        for values in (thin, middle):
            assert values == pytest.approx(thick, rel=2e-3, abs=1e-3), key


def test_folding_and_supercells_change_nothing():
    whole = build_graph(slab("MgZn2", (1, 0, 0)), replace(SETTINGS, fold=False))
    wide = slab("MgZn2", (1, 0, 0)).copy()
    wide.make_supercell([2, 1, 1])
    rows = describe_slabs([whole, fold(whole), build_graph(wide, SETTINGS)])
    assert rows[1] == pytest.approx(rows[0], rel=1e-3, abs=1e-3)
    assert rows[2] == pytest.approx(rows[0], rel=1e-3, abs=1e-3)


def test_a_slab_is_described_alike_alone_and_among_others():
    graphs = [tiny_graph(seed, multiple=True) for seed in range(600)]
    together = describe_slabs(graphs)
    assert together.shape == (600, len(descriptor_names()))
    assert np.isfinite(together).all()
    for i in (0, 499, 500, 599):
        assert describe_slabs([graphs[i]])[0] == pytest.approx(together[i], rel=1e-5, abs=1e-6)
    assert describe_slabs([]).shape == (0, len(descriptor_names()))
