from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS

STUDY = """\
data:
  energy: {{store: {folder}/one.sqlite, target: surface_energy}}
  work: {{store: {folder}/one.sqlite, target: work_function}}
  other: {{store: {folder}/two.sqlite, target: surface_energy, only_target: true}}
params: {{network.embedding: 8, network.hidden: 8, network.convolutions: 2, training.epochs: 2}}
pretraining: {{sizes: [30]}}
fine_tuning: {{sizes: [6, 15], strategies: [ALL-UF, NPH]}}
multi_property: {{balance: [equal], temperature: 2}}
seeds: [0, 1]
"""

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name, partners in (("one", PARTNERS[:6]), ("two", PARTNERS[3:8])):
        with open_store(f"sqlite:///{folder}/{name}.sqlite") as store:
            add(store, partners, source=name)
    return folder


@pytest.fixture
def study(stores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(folder=stores))
    return path


def test_cost_first_then_matrix_curves_and_best_sources(study, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    dry = command("transfer", study, "--dry-run", "-o", "found", "--quiet")
    assert dry.returncode == 0, dry.stderr
    assert "of 3 data sets" in dry.stderr
    assert "core-hours" in dry.stderr
    assert not (tmp_path / "found").exists()
    done = command("transfer", study, "-o", "found", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    with (tmp_path / "found" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert f"{answer['trainings']} trainings" in dry.stderr
    pairs = {(cell["data_set"], cell["source"]) for cell in answer["cells"]}
    assert pairs == {
        ("energy", "work-30"), ("work", "energy-30"), ("other", "energy-30"), ("other", "work-30"),
        ("other", "mpt-equal"),
    }  # fmt: skip
    cell = next(c for c in answer["cells"] if (c["data_set"], c["labels"]) == ("other", 15))
    mine = [
        r for r in rows
        if (r["data_set"], r["source"], r["strategy"], r["labels"])
        == ("other", cell["source"], cell["strategy"], "15")
    ]  # fmt: skip
    assert cell["test_mae"] == pytest.approx(sum(float(r["test_mae"]) for r in mine) / 2)
    assert not cell["significant"]  # two seeds
    tests = {(r["data_set"], r["seed"], r["n_test"]) for r in rows}
    assert len(tests) == 3 * 2  # one test set for each data set and seed
    assert {c["data_set"] for c in answer["best_sources"]} == {"energy", "work", "other"}
    for name in ("matrix.png", "curves.png", "matrix.csv", "transfer.json"):
        assert (tmp_path / "found" / name).stat().st_size > 0
    shown = command("transfer", study, "-o", "found", "--quiet")
    assert "finished" in shown.stderr
    lines = shown.stdout.splitlines()
    table = [line for line in lines if "best by validation" not in line][:-1]
    assert len(lines) - len(table) == len(answer["best_sources"]) + 1
    assert max(map(len, table)) <= 80
    assert any("mpt-equal" in line for line in table)


def test_killed_with_its_processes_it_resumes_and_repeats_nothing(study, tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "workflows.cli.app",
        "transfer",
        str(study),
        "-o",
        "found",
        "--processes",
        "2",
    ]
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and started.poll() is None:
        if len(list(tmp_path.rglob("run.json"))) >= 3:
            break
        time.sleep(0.1)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    time.sleep(2)  # its processes end with it
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    assert len(kept) >= 3
    done = command("transfer", study, "-o", "found", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert json.loads(done.stdout)["trainings"] > len(kept)


def test_classes_are_compared_by_their_log_loss(stores, tmp_path, monkeypatch):
    """Work functions as two classes beside surface energies: table, CSV and figures name what errors are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    with (
        open_store(f"sqlite:///{stores}/one.sqlite", must_exist=True) as old,
        open_store("sqlite:///classes.sqlite") as new,
    ):
        records = [LabelRecord.model_validate(document) for document in old.collection("labels").query({})]
        for record in records:
            work = record.targets.pop("work_function")
            record.targets, record.classes = {"noble": float(work > 3.9)}, {"noble": ["no", "yes"]}
        add_labels(new, records)
    text = STUDY.format(folder=stores).replace("[0, 1]", "[0]").replace("[6, 15]", "[15]")
    text = text.replace(f"{stores}/one.sqlite, target: work_function", "classes.sqlite, target: noble")
    (tmp_path / "study.yaml").write_text(text)
    done = command("transfer", "study.yaml", "-o", "found", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "work (log loss)" in done.stdout and "energy (MAE, eV/Å²)" in done.stdout
    assert "test log loss" in done.stdout
    with (tmp_path / "found" / "matrix.csv").open() as file:
        cells = {(row["data_set"], row["source"]): row for row in csv.DictReader(file)}
    assert cells["work", "energy-30"]["metric"] == "log loss" and cells["work", "energy-30"]["test_mae"] == ""
    assert cells["energy", "work-30"]["test_mae"] == cells["energy", "work-30"]["test_error"]
    assert (tmp_path / "found" / "curves.png").stat().st_size > 5000
    # the same labels in an ablation and in a search for settings
    tiny = ["--targets", "noble", "--epochs", 1, "--store", "classes.sqlite", "--quiet"]
    table = command("ablate", "--preset", "sem-cgcnn", "--seeds", 1, *tiny, "-o", "table", "--json")
    row = json.loads(table.stdout)["rows"][0]["targets"]["noble"]
    assert row["metric"] == "log loss" and row["error"]["mean"] > 0 and 0 <= row["accuracy"]["mean"] <= 1
    text = (tmp_path / "table" / "ablation.md").read_text()
    assert "noble log loss" in text and "total loss" not in text and "MAE" not in text
    pytest.importorskip("optuna")
    search = command("tune", "--preset", "surface", "--trials", 1, *tiny, "-o", "search")
    assert search.returncode == 0, search.stderr
    assert "missed probability of the true class" in search.stdout and "--targets noble" in search.stdout
    best = json.loads((tmp_path / "search" / "best.json").read_text())
    assert best["metrics"] == {"noble": "missed probability of the true class"} and 0 < best["score"] < 1
    other = command("tune", "--preset", "surface", "--trials", 1, "--epochs", 1, "--store",
                    "classes.sqlite", "-o", "search", "--targets", "noble,other")  # fmt: skip
    assert other.returncode == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[ALL-UF, NPH]", "[ALL]", ["unknown strategy 'ALL'", "LAST-LAY"]),
        ("[6, 15]", "[6, 4000]", ["data set energy: 4000 labels", "lower sizes"]),
        ("two.sqlite", "absent.sqlite", ["data set other", "absent.sqlite"]),
        ("target: work_function", "target: hardness", ["data set work", "hardness"]),
        ("seeds: [0, 1]", "seed: 3", ["study.yaml:9", "did you mean 'seeds'"]),
        ("target: work_function", "target: work_function, colour: red", ["data.work.colour", "only_target"]),
        ("seeds: [0, 1]", "seeds: [-1]", ["study.yaml:9", "at least 0"]),
        ("[6, 15]", "[0]", ["study.yaml:7"]),
        ("equal", "fixed", ["unknown loss balancing 'fixed'"]),
        ("  energy:", "  scratch:", ["cannot name a data set"]),
        ("training.epochs: 2", "training.epoch: 2", ["training.epoch"]),
    ],
)
def test_mistakes_are_one_line(study, refused_here, old, new, words):
    study.write_text(study.read_text().replace(old, new))
    line = refused_here("transfer", study, "-o", "found")
    for word in words:
        assert word in line
    assert not (study.parent / "found").exists()


def test_a_missing_file_and_a_folder_are_named(refused_here, tmp_path):
    assert "no such study file" in refused_here("transfer", tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert "data" in refused_here("transfer", tmp_path / "empty.yaml")


def test_a_disk_that_is_full_is_one_line(study, refused_here, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.training.checked_json.write_file", full)
    line = refused_here("transfer", study, "-o", "found", code=74)
    assert "no space left" in line
