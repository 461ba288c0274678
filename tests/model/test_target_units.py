"""Units of targets other than surface energy and work function: in snapshots, models, tables and figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.data.composition_table import CompositionColumns
from model.data.dataset import Dataset
from model.data.import_compositions import LabelColumns, import_compositions
from model.graphs.graph import GraphSettings
from model.studies.data import StudyData
from model.studies.study import Study, StudySet, Task
from model.training.ensemble_files import load_ensemble
from model.training.runs import RunSettings, read_rows, run_training
from stores.connections import open_store
from stores.learning.snapshots import create_snapshot, find_snapshot
from tests.model.small_dataset import small_dataset
from tests.model.test_old_run import FOLDER
from workflows.cli.learning import errors_table
from workflows.cli.predict import prediction_table
from workflows.cli.transfer import matrix_table
from workflows.report.training_figures import parity_figure, with_unit

HEAT = "heat_capacity"
GRAPHS = GraphSettings()


@pytest.fixture
def uri(tmp_path):
    """Forty alloys whose file states a unit of one of two columns."""
    lines = [
        f"Mg{100 - i}{symbol}{i},{20 + i / 3 + len(symbol)},{i % 7}"
        for i in range(1, 21)
        for symbol in ("Al", "Y")
    ]
    path = tmp_path / "alloys.csv"
    path.write_text("\n".join([f"formula,{HEAT} (J/mol/K),hardness", *lines]))
    store = f"sqlite:///{tmp_path / 'alloys.sqlite'}"
    import_compositions(path, store, CompositionColumns(("formula",)), LabelColumns((HEAT, "hardness")))
    return store


def test_a_model_keeps_the_units_of_its_labels_and_shows_them(uri, tmp_path):
    dataset = Dataset.from_store(uri)
    assert dataset.units == {HEAT: "J/mol/K", "hardness": "scaled"} == dataset.subset([0]).units
    params = {"training.epochs": 1, "trees": 0}
    run = run_training(lambda *_: dataset, RunSettings("mcvn", params=params), tmp_path / "run")
    ensemble = load_ensemble(tmp_path / "run")
    assert ensemble.units == dataset.units
    metrics = run["metrics"]
    assert metrics[HEAT]["unit"] == "J/mol/K"
    names = {cells[0].plain for cells, _ in errors_table(metrics, "target").rows}
    assert names == {"heat capacity (J/mol/K)", "hardness (scaled)"}
    labels = {axes.get_xlabel() for axes in parity_figure(read_rows(tmp_path / "run"), metrics).axes}
    assert "heat capacity (J/mol/K), DFT" in labels
    heads = [column.heading for column in prediction_table([], (HEAT,), units=ensemble.units).columns]
    assert "heat capacity\nJ/mol/K" in heads


def test_a_snapshot_keeps_units_outside_its_id(uri):
    with open_store(uri) as store:
        snapshot = create_snapshot(store)
        units = {head.name: head.unit for head in find_snapshot(store, snapshot.id).heads}
        assert units == {HEAT: "J/mol/K", "hardness": "scaled"}
        document = next(store.query({"id": snapshot.id}, collection="snapshots"))
        for head in document["heads"]:  # as older versions wrote it
            del head["unit"]
        store.collection("snapshots").upsert(document)
    assert Dataset.from_snapshot(uri, snapshot.id).units == {}
    with open_store(uri) as store:
        assert create_snapshot(store).id == snapshot.id
    assert Dataset.from_snapshot(uri, snapshot.id, [HEAT]).units == {HEAT: "J/mol/K"}


def test_a_study_keeps_the_units_of_its_data_sets():
    whole = replace(small_dataset(), units={"work_function": "scaled"})
    sets = {name: StudySet(lambda *_: whole, "work_function") for name in ("one", "two")}
    data = StudyData.read(Study({**sets, "three": StudySet(lambda *_: whole, "surface_energy")}), GRAPHS)
    assert data.union.units == {"work_function@one": "scaled", "work_function@two": "scaled"}
    dataset, _ = data.of_task(Task(("one", "three"), 0, 0))
    assert dataset.units["work_function@one"] == "scaled"
    cell = {
        "data_set": "one", "n_train": 5, "source": "two", "strategy": "ALL-UF", "test_error": 0.1,
        "scratch_error": 0.2, "metric": "MAE", "change": -0.5, "change_low": -0.6, "change_high": -0.4,
        "significant": True, "pairs": 2,
    }  # fmt: skip
    ((cells, _),) = matrix_table([cell], data.heads, data.union.units).rows
    assert cells[0].plain == "one (scaled)"


def test_labels_in_two_units_are_no_secret(uri):
    with open_store(uri) as store:
        labels = store.collection("labels")
        document = next(labels.query({}, sort={"id": 1}))
        labels.upsert({**document, "units": {**document["units"], HEAT: "meV/K"}})
    assert Dataset.from_store(uri).units[HEAT] == "J/mol/K or meV/K"


def test_models_of_older_versions_state_none():
    ensemble = load_ensemble(FOLDER)
    assert ensemble.units == {}
    assert replace(ensemble.members[0], training={}).units == {}
    assert with_unit(0.0123, "work_function") == "0.0123 eV" == with_unit(0.0123, "work_function", None)
    assert with_unit(0.5, "cleavage_energy", "J/m2") == "0.500 J/m2"
