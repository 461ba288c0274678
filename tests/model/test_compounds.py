"""Compounds of the training set are recognised by the bonds of a slab."""

from __future__ import annotations

import numpy as np
import pytest

from model.baselines.compounds import CompoundTable
from model.baselines.gaussian_process import NO_COMPOUND
from model.graphs.graph import build_graph
from model.training.presets import PRESETS
from stores.errors import InputError
from tests.model.crystals import slabs_of

GRAPH = PRESETS["best"].graph
KNOWN = ("MgAg", "MgZn2", "Mg3Sb2")


def graphs_of(name, thickness):
    return [build_graph(slab.structure, GRAPH) for slab in slabs_of(name, thickness)]


@pytest.fixture(scope="module")
def table():
    graphs, numbers = [], []
    for number, name in enumerate(KNOWN):
        found = graphs_of(name, 25.0)
        graphs += found
        numbers += [number] * len(found)
    return CompoundTable.of(graphs, np.array(numbers))


@pytest.mark.parametrize(
    ("name", "number"), [*((name, i) for i, name in enumerate(KNOWN)), ("Mg", NO_COMPOUND)]
)
def test_slabs_of_any_thickness_are_recognised(table, name, number):
    assert set(table.recognise(graphs_of(name, 10.0)).tolist()) == {number}


def test_another_lattice_is_another_compound(table):
    structures = [slab.structure.copy() for slab in slabs_of("MgAg", 20.0)]
    for structure in structures:
        structure.scale_lattice(1.02 * structure.volume)  # bonds 0.02 A longer
    found = table.recognise([build_graph(structure, GRAPH) for structure in structures])
    assert set(found.tolist()) == {NO_COMPOUND}


def test_elements_that_no_training_slab_has(table):
    seen, unseen = graphs_of("MgZn2", 10.0)[:2], graphs_of("Mg2Ni", 10.0)[:3]
    assert table.unseen_elements([*seen, *unseen]).tolist() == [False] * 2 + [True] * 3


def test_state_and_damage(table):
    again = CompoundTable.from_state(table.state())
    graphs = graphs_of("MgZn2", 10.0)
    assert np.array_equal(again.recognise(graphs), table.recognise(graphs))
    for damage in ({"bonds": table.state()["bonds"][:1]}, {"elements": "Mg"}, {"numbers": None}):
        with pytest.raises(InputError, match="table of compounds"):
            CompoundTable.from_state(table.state() | damage)
