from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Element, Lattice, Structure

from model.data.splits import grouped_split
from model.evaluation import chunks
from model.evaluation.prediction import Candidate, predict_slabs
from model.graphs.compiled_graphs import can_compile
from model.graphs.graph import THICK_ENOUGH, GraphSettings, build_graph
from model.graphs.slab_frame import PlainSlab
from model.network.network import NetworkConfig
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.presets import PRESETS, TrainingConfig
from tests.model.small_dataset import crystal, slabs, small_dataset
from tests.model.untrained import untrained, without_checksums
from workflows.structures.slabs import SlabSettings, enumerate_slabs

TARGETS = ("surface_energy", "work_function")


@pytest.fixture(scope="module")
def ensemble():
    settings = PRESETS["sem-cgcnn"].graph
    dataset = small_dataset(settings)
    config = NetworkConfig(targets=TARGETS, embedding=12, convolutions=2, hidden=16, hidden_layers=1)
    return train_ensemble(
        dataset,
        grouped_split(dataset, "random", seed=1),
        replace(
            PRESETS["sem-cgcnn"], network=config, training=TrainingConfig(epochs=15, batch_size=16, seed=1)
        ),
        members=2,
    )


def candidate(structure, name="slab", **more):
    slab = PlainSlab.from_structure(structure)
    return Candidate(name, slab, structure.composition.reduced_formula, **more)


def test_numbers_come_with_an_interval_and_in_the_order_asked(ensemble):
    requested = [candidate(s, name=f"{p} {n}") for p in ("Ag", "Y") for n, s in enumerate(slabs(p, False))]
    done = []
    found, refused = predict_slabs(ensemble, requested, progress=done.append)
    assert refused == []
    assert [f.name for f in found] == [c.name for c in requested]
    assert done[-1] == len(requested)
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
    assert "estimated lattice" in one.warnings


def test_slabs_unlike_the_training_slabs_are_told_apart(ensemble):
    # silver stretched to a lattice no compound has
    loose = slabs("Ag", False)[0].copy()
    loose.scale_lattice(loose.volume * 2.2)
    (one,), _ = predict_slabs(ensemble, [candidate(loose)])
    assert any(warning.startswith("unlike the training slabs") for warning in one.warnings)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_trained_on_slabs_as_thick_as_it_predicts(preset):
    assert PRESETS[preset].graph.min_thickness == THICK_ENOUGH


def with_settings(folder, model, **settings):
    """Return a model as an older version left it: its checkpoints name these graph settings alone."""
    save_ensemble(model, folder)
    without_checksums(folder)
    for path in folder.glob("member-*.pt"):
        content = torch.load(path, weights_only=True)
        about = json.loads(content["about"])
        about["graph"] = settings
        torch.save({**content, "about": json.dumps(about)}, path)
    return load_ensemble(folder)


def thin_slabs():
    """Return an orthorhombic pair of atoms 2.4 A thick that shows no crystal, and MgAg (110) from 10 A on."""
    pair = Structure(Lattice.orthorhombic(3.2, 3.3, 20), ["Mg", "Ag"], [[0, 0, 0.4], [0.5, 0.45, 0.52]])
    (facet,) = enumerate_slabs(
        crystal("Ag", False), SlabSettings(min_thickness=10.0), miller_indices=[(1, 1, 0)]
    )
    return pair, facet.slabs[0].structure


@pytest.mark.parametrize(
    ("settings", "pooling", "thickness", "remarks"),
    [
        ({"min_thickness": 20.0}, "mean", 20.0, ("does not show how its crystal continues to 20 A", "")),
        ({"min_thickness": 15.0}, "mean", 15.0, ("does not show how its crystal continues to 15 A", "")),
        ({"min_thickness": 20.0}, "surface", 20.0, ("does not show how its crystal continues", "")),
        # trained before presets named a thickness: graphs, errors and intervals are of slabs as they are
        ({"min_thickness": 0.0, "fold": True}, "mean", 10.0, ("train it again", "train it again")),
        ({"max_neighbours": 12, "cutoff": 12.0}, "mean", 10.0, ("train it again", "train it again")),
        ({}, "surface", 10.0, ("", "")),
    ],
)
def test_a_prediction_takes_its_graphs_from_the_checkpoint(tmp_path, settings, pooling, thickness, remarks):
    model = with_settings(tmp_path, untrained(members=1, pooling=pooling), **settings)
    kept = GraphSettings(**settings)
    assert model.graph_settings == kept
    structures = thin_slabs()
    graphs = [build_graph(structure, kept) for structure in structures]
    assert graphs[1].thickness == pytest.approx(thickness, abs=2.6)  # whole layers
    expected = model.predict(graphs)
    found, _ = predict_slabs(model, [candidate(structure) for structure in structures])
    for i, (one, remark) in enumerate(zip(found, remarks, strict=True)):
        for name in model.targets:
            assert one.values[name] == pytest.approx(expected.mean[name][i], rel=1e-6)
            assert one.sigmas[name] == pytest.approx(expected.sigma[name][i], rel=1e-5)
        thin = [warning for warning in one.warnings if warning.startswith("only ")]
        assert len(thin) == bool(remark)
        assert all(remark in warning and f"only {graphs[i].thickness:.1f} A" in warning for warning in thin)


def test_what_is_no_slab_is_refused_and_the_others_are_predicted(ensemble):
    bulk = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    heavy = slabs("Ag", False)[0].copy()
    heavy.replace_species({"Ag": Element.from_Z(101).symbol})
    requested = [candidate(bulk, "bulk"), candidate(slabs("Ag", False)[0], "good"), candidate(heavy, "heavy")]
    found, refused = predict_slabs(ensemble, requested)
    assert [one.name for one in found] == ["good"]
    assert [one.name for one in refused] == ["bulk", "heavy"]
    assert "vacuum" in refused[0].reason
    assert "101" in refused[1].reason
    assert predict_slabs(ensemble, []) == ([], [])


@pytest.mark.parametrize("compiled", [True, False], ids=["threads", "processes"])
def test_several_cores_give_the_same_numbers(ensemble, monkeypatch, compiled):
    small = replace(ensemble.members[0], graph_settings=PRESETS["best"].graph)
    model = replace(ensemble, members=(small,)) if compiled else ensemble
    requested = [candidate(s) for p in ("Ag", "Y", "Zn") for s in slabs(p, True)] * 5
    assert len(requested) > 64  # more than one chunk
    alone, _ = predict_slabs(model, requested)
    monkeypatch.setattr(chunks, "MANY", 4)
    assert can_compile(model.graph_settings) == compiled
    threads = torch.get_num_threads()
    for workers in (1, 2):
        found, _ = predict_slabs(model, requested, workers=workers)
        assert torch.get_num_threads() == threads
        for a, b in zip(alone, found, strict=True):
            assert a.values == b.values
            assert (a.name, a.sigmas, a.warnings) == (b.name, b.sigmas, b.warnings)
        assert np.isfinite([one.distance for one in found]).all()


def test_a_potential_keeps_its_processes(monkeypatch):
    class StartedError(Exception):
        pass

    def started(*_, **__):
        raise StartedError

    monkeypatch.setattr(chunks, "MANY", 4)
    monkeypatch.setattr(chunks, "ProcessPoolExecutor", started)
    settings = replace(PRESETS["best"].graph, potential="sevennet-0")
    requested = [PlainSlab.from_structure(one) for one in slabs("Ag", False)]
    with pytest.raises(StartedError):
        list(chunks.in_chunks(requested, lambda one: one, lambda *_: None, settings, 2, None))
