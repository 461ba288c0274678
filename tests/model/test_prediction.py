from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Element, Lattice, Structure

from model import prediction
from model.ensemble import train_ensemble
from model.features import cgcnn_features
from model.graph import GraphSettings
from model.network import NetworkConfig
from model.prediction import THICK_ENOUGH, Candidate, predict_slabs, prediction_settings
from model.slab_frame import PlainSlab
from model.splits import grouped_split
from model.training import TrainingConfig
from tests.model.small_dataset import crystal, slabs, small_dataset
from workflows.structures.slabs import enumerate_slabs

TARGETS = ("surface_energy", "work_function")


@pytest.fixture(scope="module")
def ensemble():
    dataset = small_dataset()
    config = NetworkConfig(targets=TARGETS, embedding=12, convolutions=2, hidden=16, hidden_layers=1)
    return train_ensemble(
        dataset,
        grouped_split(dataset, "random", seed=1),
        config,
        TrainingConfig(epochs=15, batch_size=16, seed=1),
        torch.from_numpy(cgcnn_features().table),
        GraphSettings(),
        members=2,
    )


def candidate(structure, name="slab", **more):
    slab = PlainSlab.from_structure(structure)
    return Candidate(name, slab, structure.composition.reduced_formula, **more)


def test_numbers_come_with_an_interval_and_in_the_order_asked(ensemble):
    asked = [candidate(s, name=f"{p} {n}") for p in ("Ag", "Y") for n, s in enumerate(slabs(p, False))]
    done = []
    found, refused = predict_slabs(ensemble, asked, progress=done.append)
    assert refused == []
    assert [f.name for f in found] == [c.name for c in asked]
    assert done[-1] == len(asked)
    for one in found:
        low, high = one.interval("work_function")
        assert low < one.values["work_function"] < high
        assert one.sigmas["surface_energy"] > 0


def test_familiar_slabs_bring_no_warning_and_strange_ones_do(ensemble):
    familiar = [candidate(s) for s in slabs("Ag", False)]
    found, _ = predict_slabs(ensemble, familiar)
    assert sum(not one.warnings for one in found) >= len(found) - 1

    strange = slabs("Ag", False)[0].copy()
    strange.replace_species({"Ag": "Au"})
    (one,), _ = predict_slabs(ensemble, [candidate(strange, lattice_is_guess=True)])
    assert "Au not in the training set" in one.warnings
    assert "lattice is a guess" in one.warnings


def test_slabs_unlike_the_training_slabs_are_told_apart(ensemble):
    # silver stretched to a lattice no compound has
    loose = slabs("Ag", False)[0].copy()
    loose.scale_lattice(loose.volume * 2.2)
    (one,), _ = predict_slabs(ensemble, [candidate(loose)])
    assert any(warning.startswith("unlike the training slabs") for warning in one.warnings)


def test_a_mean_over_atoms_is_taken_over_a_thick_slab(ensemble):
    assert prediction_settings(ensemble).min_thickness == THICK_ENOUGH
    values = []
    for thickness in (10.0, 20.0):
        facets = enumerate_slabs(crystal("Ag", False), miller_indices=[(1, 1, 0)], min_thickness=thickness)
        (one,), _ = predict_slabs(ensemble, [candidate(facets[0].slabs[0].structure)])
        values.append(one.values)
    # the thinner slab is continued to at least 20 A, one layer more or less remains
    assert values[0]["work_function"] == pytest.approx(values[1]["work_function"], abs=0.03)
    member = ensemble.members[0]
    network = replace(member.network.config, pooling="surface-attention")
    member.network.config, kept = network, member.network.config
    try:
        assert prediction_settings(ensemble).min_thickness == 0
    finally:
        member.network.config = kept


def test_a_thin_slab_that_cannot_be_continued_is_predicted_with_a_warning(ensemble):
    pair = Structure(Lattice.orthorhombic(3.2, 3.3, 20), ["Mg", "Ag"], [[0, 0, 0.4], [0.5, 0.45, 0.52]])
    (one,), _ = predict_slabs(ensemble, [candidate(pair)])
    assert any("2 A thick" in warning for warning in one.warnings)


def test_what_is_no_slab_is_refused_and_the_others_are_predicted(ensemble):
    bulk = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    heavy = slabs("Ag", False)[0].copy()
    heavy.replace_species({"Ag": Element.from_Z(101).symbol})
    asked = [candidate(bulk, "bulk"), candidate(slabs("Ag", False)[0], "good"), candidate(heavy, "heavy")]
    found, refused = predict_slabs(ensemble, asked)
    assert [one.name for one in found] == ["good"]
    assert [one.name for one in refused] == ["bulk", "heavy"]
    assert "vacuum" in refused[0].reason
    assert "101" in refused[1].reason
    assert predict_slabs(ensemble, []) == ([], [])


def test_processes_give_the_same_numbers(ensemble, monkeypatch):
    monkeypatch.setattr(prediction, "POOL_FROM", 4)
    asked = [candidate(s) for p in ("Ag", "Y", "Zn") for s in slabs(p, True)] * 5
    assert len(asked) > 2 * prediction._CHUNK // 2
    here, _ = predict_slabs(ensemble, asked)
    threads = torch.get_num_threads()
    there, _ = predict_slabs(ensemble, asked, workers=2)
    assert torch.get_num_threads() == threads
    for a, b in zip(here, there, strict=True):
        assert a.values == b.values
    assert np.isfinite([one.distance for one in there]).all()
