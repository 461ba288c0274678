"""Numbers that follow from energies of atoms: on slabs cut here, with energies made up."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.baselines.blend import DescriptorModels
from model.baselines.columns import DESCRIPTIONS
from model.baselines.descriptors import descriptor_names
from model.foundation import potential as potentials
from model.foundation.energies import EnergyCache, energy_key, magnesium_energy, slab_energies
from model.foundation.features import describe_energies, feature_names
from model.graphs.cache import GraphCache, build_graphs, graph_key
from model.graphs.graph import GraphSettings, frame_for
from model.graphs.slab_frame import PlainSlab, slab_frame
from model.graphs.thickness import NoRepeatError, find_opening
from model.training.checkpoint import load_model, save_model
from model.training.presets import PRESETS
from stores.errors import InputError
from tests.model.crystals import slab, slabs_of
from tests.model.small_dataset import small_dataset
from tests.model.test_checkpoint import model as small_model

NAME = "surface_energy"
BULK = {12: -1.6, 47: -2.9}  # of an atom inside MgAg (eV)
HCP = -1.5


def features(frame, energies, magnesium=HCP):
    values = describe_energies(frame, np.asarray(energies, dtype=np.float32), magnesium)
    return dict(zip(feature_names(), values.tolist(), strict=True))


def energies_of(frame, lost=0.0):
    """Energies of the crystal inside, with `lost` (eV) more for atoms of the two outermost layers."""
    depth = np.minimum(frame.heights, frame.thickness - frame.heights)
    return np.array([BULK[int(z)] for z in frame.numbers]) + lost * (depth < 0.1)


def test_surface_energy_of_a_stoichiometric_slab_is_what_its_outer_atoms_lost():
    frame = slab_frame(slab("MgAg", (1, 1, 0), 0))
    outer = int((np.minimum(frame.heights, frame.thickness - frame.heights) < 0.1).sum())
    found = features(frame, energies_of(frame, 0.3))
    assert found["surface energy"] == pytest.approx(0.3 * outer / (2 * frame.area), rel=1e-5)
    assert found["excess near the surface"] == pytest.approx(found["surface energy"], rel=1e-5)
    assert found["extra Mg"] == pytest.approx(0, abs=1e-6)
    assert found["largest excess"] == pytest.approx(0.3, rel=1e-5)
    assert found["top excess of an atom"] == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize("termination", [0, 1])
def test_mg_beyond_the_crystal_costs_what_it_costs_in_hcp_mg(termination):
    frame = slab_frame(slab("MgAg", (1, 0, 0), termination))
    mg, ag = ((frame.numbers == z).sum() for z in (12, 47))
    assert abs(mg - ag) == 1
    # E - N_Ag (e_Mg + e_Ag) - (N_Mg - N_Ag) mu_Mg, over both surfaces
    expected = (energies_of(frame, 0.2).sum() - ag * sum(BULK.values()) - (mg - ag) * HCP) / (2 * frame.area)
    found = features(frame, energies_of(frame, 0.2))
    assert found["surface energy"] == pytest.approx(expected, rel=1e-4)
    assert found["extra Mg"] == pytest.approx((mg - ag) / (2 * frame.area), rel=1e-5)
    assert found["Mg in the crystal"] == pytest.approx(BULK[12] - HCP, rel=1e-5)


def test_a_slab_that_shows_no_repeat_has_numbers_from_its_innermost_atoms():
    frame = slab_frame(slab("MgAg", (1, 1, 0), 0))
    moved = replace(frame, heights=frame.heights + 0.3 * np.sin(7 * np.arange(len(frame.heights))))
    moved = replace(moved, heights=moved.heights - moved.heights.min())
    assert np.isfinite(list(features(moved, energies_of(moved, 0.1)).values())).all()


def test_without_a_repeat_the_crystal_has_the_composition_of_the_slab():
    # layers of Mg and Ag in turn: three innermost ones are no crystal
    frame = slab_frame(slab("MgAg", (1, 0, 0), 0))
    moved = replace(frame, heights=frame.heights * (1 + 0.01 * frame.heights))
    with pytest.raises(NoRepeatError):
        find_opening(moved)
    found = features(moved, energies_of(moved, 0.1))
    outer = int((np.minimum(moved.heights, moved.thickness - moved.heights) < 0.1).sum())
    assert found["extra Mg"] == 0
    assert found["surface energy"] == pytest.approx(0.1 * outer / (2 * moved.area), rel=1e-4)


def test_kept_energies_are_read_again_and_damaged_ones_are_not(tmp_path):
    cache = EnergyCache(tmp_path / "potentials.sqlite")
    cache.put({"a": np.array([-1.5, -2.25], dtype=np.float32)})
    assert cache.get(["a", "b"])["a"].tolist() == [-1.5, -2.25] and set(cache.get(["a", "b"])) == {"a"}
    (tmp_path / "potentials.sqlite").write_bytes(b"no database at all" * 100)
    assert cache.get(["a"]) == {}
    cache.put({"a": np.array([-1.0], dtype=np.float32)})
    assert cache.get(["a"])["a"].tolist() == [-1.0]


def test_settings_without_a_potential_are_stored_as_before(tmp_path):
    one = PlainSlab.from_structure(slab("MgAg", (1, 0, 0), 0))
    plain, foundation = PRESETS["best"].graph, PRESETS["best-foundation"].graph
    assert "potential" not in plain.plain() and foundation.plain()["potential"] == "sevennet-0"
    assert graph_key(one, plain) == graph_key(one, foundation)
    save_model(small_model(), tmp_path / "old.pt")
    about = json.loads(torch.load(tmp_path / "old.pt", weights_only=True)["about"])
    assert "potential" not in about["graph"]
    save_model(replace(small_model(), graph_settings=foundation), tmp_path / "new.pt")
    assert load_model(tmp_path / "new.pt").graph_settings == foundation
    about["graph"]["potential"] = "no-such-net"
    torch.save(
        {**torch.load(tmp_path / "old.pt", weights_only=True), "about": json.dumps(about)}, tmp_path / "x.pt"
    )
    with pytest.raises(InputError, match="no-such-net"):
        load_model(tmp_path / "x.pt")


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    potentials.weights_file.cache_clear()
    monkeypatch.setattr(potentials.importlib.util, "find_spec", lambda name: None)
    one = PlainSlab.from_structure(slab("MgAg", (1, 0, 0), 0))
    try:
        with pytest.raises(InputError, match=r"sevenn.*pip install.*mgsurf\[foundation\]") as caught:
            build_graphs([one], GraphSettings(potential="sevennet-0"))
    finally:
        potentials.weights_file.cache_clear()
    assert "\n" not in str(caught.value)


def with_potential(part, values):
    entries = [
        replace(e, graph=replace(e.graph, potential=np.full(len(feature_names()), v, dtype=np.float32)))
        for e, v in zip(part, values, strict=True)
    ]
    return replace(part, entries=tuple(entries))


def test_trees_and_process_look_at_the_potential_and_remember_it():
    from model.evaluation.metrics import labels

    dataset = small_dataset(n_partners=5)
    true = labels(dataset, NAME)
    known = with_potential(dataset, np.where(np.isfinite(true), 3 * true, 0.0))
    errors = {}
    for name, data in (("without", dataset), ("with", known)):
        train, val = data.subset(range(0, len(data), 2)), data.subset(range(1, len(data), 2))
        networks = {NAME: np.zeros(len(val))}
        models = DescriptorModels.fit(train, val, networks, 10, 0, np.arange(len(val)) % 5)[0]
        alone = replace(models.targets[NAME], shares=(0.0, 0.5, 0.5), unseen=None)
        one = replace(models, targets={NAME: alone})
        mean = one.predict(networks, [e.graph for e in val]).mean[NAME]
        errors[name] = float(np.nanmean(np.abs(mean - labels(val, NAME))))
        again = DescriptorModels.from_state(models.state())
        assert again.targets[NAME].forest.width == DESCRIPTIONS["slab"].of([e.graph for e in val]).shape[1]
    assert errors["with"] < 0.8 * errors["without"]
    n, names = len(descriptor_names()), DESCRIPTIONS["slab"].names
    assert len(names(n)) == n and len(names(n + 1)) == n + len(feature_names())


def test_models_with_too_few_labels_for_trees_are_read_again():
    known = with_potential(small_dataset().subset(range(12)), range(12))
    train, val = known.subset(range(8)), known.subset(range(8, 12))
    models = DescriptorModels.fit(train, val, {NAME: np.zeros(4)}, 10, 0, np.zeros(4, dtype=int))[0]
    assert not models.targets
    again = DescriptorModels.from_state(models.state())
    assert np.array_equal(again.rows.descriptors, models.rows.descriptors)


sevennet = pytest.mark.skipif(
    potentials.importlib.util.find_spec("sevenn") is None, reason="sevenn is not installed: extra foundation"
)


@sevennet
def test_surface_energy_of_magnesium_does_not_depend_on_thickness_vacuum_or_cell(tmp_path):
    settings = GraphSettings(min_thickness=20.0, potential="sevennet-0")
    cuts = (slabs_of("Mg", thickness) for thickness in (10.0, 25.0))
    thin, thick = (next(s.structure for s in own if s.miller_index == (0, 0, 1)) for own in cuts)
    shifted = thin.copy()
    shifted.translate_sites(range(len(thin)), [0.3, 0.1, 0.55])
    cache = GraphCache(tmp_path / "graphs.sqlite")
    slabs = [PlainSlab.from_structure(one) for one in (thin, thick, shifted)]
    ticks = []
    graphs = build_graphs(slabs, settings, cache=cache, tick=lambda done, total: ticks.append((done, total)))
    energies = [float(graph.potential[0]) for graph in graphs]
    # PBE has 0.034 eV/A^2 for Mg (0001): Tran et al., Sci. Data 3, 160080 (2016)
    assert 0.02 < energies[0] < 0.04
    assert energies == pytest.approx([energies[0]] * 3, abs=5e-4)
    assert ticks[-1] == (3, 3)
    # kept beside the graphs: nothing is computed again, and the potential is not needed for it
    responses = EnergyCache(tmp_path / "potentials.sqlite")
    frames = [frame_for(one, settings) for one in slabs]
    assert len(responses.get([energy_key(frame, "sevennet-0") for frame in frames])) == 3
    assert magnesium_energy("sevennet-0", responses) == pytest.approx(-1.604, abs=0.01)


@sevennet
def test_an_element_that_the_potential_does_not_know_is_refused_with_its_name():
    frame = slab_frame(slab("Mg", (0, 0, 1), 0))
    strange = replace(frame, numbers=np.full(len(frame.numbers), 84))
    (answer,) = slab_energies([strange], "sevennet-0")
    assert isinstance(answer, InputError) and "Po" in str(answer)
    with pytest.raises(InputError, match="choose sevennet-0"):
        slab_energies([frame], "no-such-net")
