"""A run folder written before the packages of `model` existed: two networks, trees and a Gaussian process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.evaluation.prediction import Candidate, predict_slabs
from model.graphs.slab_frame import PlainSlab
from model.training.ensemble_files import load_ensemble
from model.training.runs import read_run
from tests.model.small_dataset import slabs

FOLDER = Path(__file__).parent / "data" / "old_run"


def candidate(record_id):
    formula, number = record_id.rsplit("-", 1)
    mg_rich = formula.startswith("Mg3")
    structure = slabs(formula.removeprefix("Mg3" if mg_rich else "Mg"), mg_rich)[int(number)]
    return Candidate(record_id, PlainSlab.from_structure(structure), formula)


def test_an_old_model_folder_predicts_its_stored_numbers():
    expected = json.loads((FOLDER / "expected.json").read_text())
    ensemble = load_ensemble(FOLDER)
    assert set(ensemble.descriptor_models) == {"slab"} and len(ensemble.members) == 2
    found, refused = predict_slabs(ensemble, map(candidate, expected["record_ids"]))
    assert refused == []
    for target in ("surface_energy", "work_function"):
        assert [one.values[target] for one in found] == pytest.approx(expected["mean"][target], rel=1e-5)
        assert [one.sigmas[target] for one in found] == pytest.approx(expected["sigma"][target], rel=1e-4)
    assert [one.distance for one in found] == pytest.approx(expected["distance"], rel=1e-4)


def test_an_old_run_file_is_read():
    run = read_run(FOLDER)
    assert run["settings"]["preset"] == "best"
    assert run["elements"] == list(load_ensemble(FOLDER).elements)
