"""DFT records of some facets of a compound correct the model's predictions for its other facets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.records import BulkRecord, SurfaceRecord
from tests.cli.records import METHOD
from workflows.flows.screening.compounds import ScreenedCompound, with_formation_energies
from workflows.flows.screening.facets import computed_facets
from workflows.flows.screening.screening import ScreeningSettings, screen
from workflows.structures.crystal import bulk_key

MGAG = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model of nine systems, not Ag-Mg, with a blend and shared errors for unseen elements."""
    from model.data.splits import grouped_split
    from model.training.ensemble import train_ensemble
    from model.training.ensemble_files import save_ensemble
    from model.training.presets import PRESETS
    from tests.model.small_dataset import small_dataset

    best = PRESETS["best"]
    preset = replace(best, training=replace(best.training, epochs=1), trees=10)
    data = small_dataset(best.graph)
    data = data.subset([i for i, entry in enumerate(data) if "Ag" not in entry.elements])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.baselines.unseen_elements.FEWEST_LABELS", 20)
        ensemble = train_ensemble(data, grouped_split(data, "random"), preset)
    models = ensemble.descriptor_models["slab"]
    targets = {
        name: replace(one, unseen=one.unseen and replace(one.unseen, correlation=0.7))
        for name, one in models.targets.items()
    }
    folder = tmp_path_factory.mktemp("model")
    save_ensemble(replace(ensemble, descriptor_models={"slab": replace(models, targets=targets)}), folder)
    return folder


@pytest.fixture
def dft(tmp_path, records):
    """A store with the facets of MgAg, and its URI."""
    uri = f"sqlite:///{tmp_path / 'dft.sqlite'}"
    with open_store(uri) as store:
        bulk = records.bulk()
        store.add(bulk.model_copy(update={"bulk_key": bulk_key(MGAG)}))
        surfaces = [s for s in records.quickstart_surfaces() if s.formula == "MgAg"]
        store.add([s.model_copy(update={"bulk_id": bulk.id}) for s in surfaces])
    return uri


def test_screening_corrects_the_facets_that_are_not_computed(model_folder, dft, tmp_path):
    from model.training.ensemble_files import load_ensemble

    ensemble = load_ensemble(model_folder)
    compound = ScreenedCompound("MgAg", MGAG)
    settings = ScreeningSettings(max_index=2, draws=20)
    with open_store(dft) as store, open_store(f"sqlite:///{tmp_path / 'empty.sqlite'}") as empty:
        (corrected,) = screen([compound], store, ensemble, "v1", settings)
        (alone,) = screen([compound], empty, ensemble, "v1", settings)
    before = {(facet.miller_index, facet.termination): facet for facet in alone.facets}
    compared = [
        (facet, before[facet.miller_index, facet.termination])
        for facet in corrected.facets
        if facet.source == "model" and (facet.miller_index, facet.termination) in before
    ]
    assert compared
    for after, old in compared:
        assert after.surface_energy != old.surface_energy
        assert 0 < after.surface_energy_sigma < old.surface_energy_sigma
    dft = {facet.miller_index for facet in corrected.facets if facet.source == "dft"}
    assert dft and any("corrected by" in note and "DFT record" in note for note in corrected.notes)
    assert not any("corrected" in note for note in alone.notes)


def test_surfaces_of_a_rehearsal_are_no_dft_values(dft):
    compound = ScreenedCompound("MgAg", MGAG)
    settings = ScreeningSettings(max_index=2)
    with open_store(dft) as store:
        (own,) = with_formation_energies([compound], store, {}, "")
        known = computed_facets(store, {compound.bulk_key: 0.0}, settings.max_index)
        (bulk,) = store.query({}, collection="bulks")
        mlip = METHOD.model_copy(update={"engine": "mlip"})
        changes = {"method": mlip.model_dump(mode="json"), "method_fingerprint": mlip.fingerprint}
        rehearsal = BulkRecord.model_validate(
            {**bulk, **changes, "id": "rehearsal", "formation_energy": -9.0}
        )
        store.add(rehearsal)
        surfaces = [SurfaceRecord.model_validate(one) for one in store.query({})]
        for i in range(2):  # more of them than of DFT
            store.add(
                [
                    one.model_copy(
                        update={**changes, "method": mlip, "id": f"{i}-{one.id}", "bulk_id": "rehearsal"}
                    )
                    for one in surfaces
                ]
            )
        (now,) = with_formation_energies([compound], store, {}, "")
        assert now.formation_energy == own.formation_energy != -9.0
        again = computed_facets(store, {compound.bulk_key: 0.0}, settings.max_index)
        assert repr(again) == repr(known) and known


def test_predict_corrects_by_the_records_of_a_store(model_folder, dft, tmp_path, mgsurf_here):
    file = tmp_path / "MgAg.cif"
    MGAG.to(str(file))
    plain = ["predict", "--bulk", str(file), "--model", str(model_folder), "--json"]

    def run(*options):
        result = mgsurf_here(*plain, *options)
        assert result.returncode == 0, result.stderr
        return {one["name"]: one["surface_energy"] for one in json.loads(result.stdout)}, result.stderr

    alone, _ = run()
    corrected, notes = run("--store", dft)
    assert "corrected by" in notes and "MgAg" in notes and METHOD.fingerprint in notes
    for name, after in corrected.items():
        assert after["sigma"] < alone[name]["sigma"] and after["value"] != alone[name]["value"]
        assert 0 < after["shared"] < alone[name]["shared"] < alone[name]["sigma"]


def test_computed_facets_that_the_model_cannot_take_are_no_problem(model_folder, dft, monkeypatch):
    """They are predicted for the sake of the others alone."""
    from model.evaluation.prediction import Refusal
    from model.training.ensemble_files import load_ensemble

    def refuse_all(ensemble, candidates, **_):
        return [], [Refusal(candidate.name, "too large") for candidate in candidates]

    monkeypatch.setattr("workflows.flows.screening.facets.predict_slabs", refuse_all)
    with open_store(dft) as store:
        found = screen(
            [ScreenedCompound("MgAg", MGAG)], store, load_ensemble(model_folder), "v1",
            ScreeningSettings(max_index=2, draws=0),
        )  # fmt: skip
    computed = {facet.miller_index for facet in found[0].facets}
    refused = [reason for reason in found[0].reasons if "too large" in reason]
    assert computed and refused
    assert not any(reason.startswith(str(plane)) for reason in refused for plane in computed)
