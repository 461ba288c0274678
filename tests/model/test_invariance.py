"""What must not change a prediction: tested with networks that have learned something."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model.data.splits import split_dataset
from model.graphs.graph import build_graph
from model.training.ensemble import train_ensemble
from model.training.presets import PRESETS
from tests.model.crystals import slab, slabs_of
from tests.model.small_dataset import small_dataset

TOLERANCE = {"surface_energy": 0.002, "work_function": 0.02}  # of the issue: eV/A^2, eV


@cache
def trained(name):
    preset = PRESETS[name]
    dataset = small_dataset(preset.graph, 6)
    config = replace(preset.training, epochs=6, batch_size=8)
    return train_ensemble(dataset, split_dataset(dataset, "random"), replace(preset, training=config))


def spread(model, structures):
    """Largest difference between the predictions for some structures, in units of the tolerance."""
    predicted = model.predict([build_graph(s, model.graph_settings) for s in structures]).mean
    return max(np.ptp(values) / TOLERANCE[name] for name, values in predicted.items())


@pytest.mark.parametrize("name", ["MgAg", "MgZn2"])
def test_best_gives_a_termination_the_same_numbers_at_any_thickness(name):
    model = trained("best")
    cuts = [
        {(s.miller_index, s.termination): s.structure for s in slabs_of(name, t)} for t in (10.0, 15.0, 25.0)
    ]
    common = [key for key in cuts[0] if all(key in cut for cut in cuts)]
    assert len(common) > 3
    for key in common[:8]:
        assert spread(model, [cut[key] for cut in cuts]) < 1, key


@pytest.mark.parametrize("preset", ["best", "sem-cgcnn"])
def test_motions_supercells_and_order_of_atoms_do_not_matter(preset):
    from pymatgen.core.operations import SymmOp

    original = slab("MgZn2", (1, 0, 0))
    turned = original.copy()
    turned.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 40.0))
    moved = original.copy()
    moved.translate_sites(range(len(moved)), [0.3, 0.2, 0.6])  # across the cell
    mixed = original.copy()
    mixed = mixed.from_sites([mixed[i] for i in np.random.default_rng(0).permutation(len(mixed))])
    wide = original.copy()
    wide.make_supercell([2, 1, 1])
    structures = [original, turned, moved, mixed, wide]
    # ties at the twelfth neighbour are broken in the paper's graphs, so they agree to less
    assert spread(trained(preset), structures) < (0.01 if preset == "best" else 0.5)
