from __future__ import annotations

import json
import logging

import pytest
import torch

from model.training.ensemble_files import load_ensemble
from stores.connections import open_store
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS
from workflows.cli.learning import each_line_once

TINY = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Paths of a store with both targets and of others with one each, of different compounds."""
    folder = tmp_path_factory.mktemp("stores")
    for name, partners, targets in (
        ("both", PARTNERS[:3], ("surface_energy", "work_function")),
        ("energies", PARTNERS[3:6], ("surface_energy",)),
        ("work", PARTNERS[5:8], ("work_function",)),
    ):
        with open_store(f"sqlite:///{folder}/{name}.sqlite") as store:
            add(store, partners, source=name, targets=targets)
    return folder


@pytest.fixture(scope="module")
def pretrained(stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "best.json").write_text(json.dumps({"params": TINY}))
    done = command(
        "train", "--preset", "surface", "--epochs", 1, "--store", stores / "both.sqlite",
        "--params", folder / "best.json", "--json", "-o", folder / "model",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "model"


@pytest.fixture
def mgsurf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return command


def test_fine_tuning_takes_preset_and_settings_of_the_model_and_holds_what_is_frozen(
    pretrained, stores, mgsurf, tmp_path, caplog
):
    arguments = ["train", "--from", pretrained, "--freeze", "convolutions", "--epochs", 1, "--json",
                 "--targets", "surface_energy", "--store", stores / "energies.sqlite",
                 "-o", "tuned"]  # fmt: skip
    done = mgsurf(*arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["preset"] == "surface"
    assert "fine-tuned, convolutions frozen" in answer["label"]
    assert list(answer["targets"]) == ["surface_energy"]
    assert "never seen Cu, Ni, Pd" in caplog.text
    before = load_ensemble(pretrained).members[0].network.state_dict()
    after = load_ensemble(tmp_path / "tuned").members[0].network.state_dict()
    held = [name for name in after if name.startswith(("embed.", "convolutions."))]
    assert held
    assert all(torch.equal(before[name], after[name]) for name in held)
    again = mgsurf(*arguments)
    assert "trained before" in again.stderr
    other = mgsurf(*[a if a != "convolutions" else "embedding" for a in arguments])
    assert other.returncode == 2
    assert "--overwrite" in other.stderr


def test_several_stores_with_different_targets_are_trained_at_once(stores, pretrained, mgsurf, tmp_path):
    params = pretrained.parent / "best.json"
    arguments = ["train", "--preset", "sem-cgcnn", "--params", params, "--epochs", 2, "--json",
                 "--store", stores / "energies.sqlite", "--store", stores / "work.sqlite"]  # fmt: skip
    done = mgsurf(*arguments, "-o", "one")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert sum(answer["sizes"].values()) == 60
    # slabs of the partner that both stores have are twins and share a part
    for target in ("surface_energy", "work_function"):
        assert sum(answer["targets"][target][part]["n"] for part in ("train", "val", "test")) == 30
    # two sources of one target are refused, unless each gets a head
    three = [*arguments, "--store", stores / "both.sqlite", "-o", "three"]
    refused = mgsurf(*three)
    assert refused.returncode == 2
    assert "several methods" in refused.stderr
    done = mgsurf(*three, "--separate")
    assert done.returncode == 0, done.stderr
    heads = list(json.loads(done.stdout)["targets"])
    assert len(heads) == 4
    assert all("@imported-" in head for head in heads)
    assert "surface energy (imported-both)" in (tmp_path / "three" / "report.html").read_text()
    # pre-trained on all of it, fine-tuned on one: new heads
    tuned = mgsurf(
        "train", "--from", "three", "--epochs", 1, "--store", stores / "both.sqlite", "-o", "tuned"
    )
    assert tuned.returncode == 0, tuned.stderr
    assert "work function" in tuned.stdout


def test_learning_curves_of_transfer_stand_beside_scratch(pretrained, stores, mgsurf, tmp_path):
    done = mgsurf(
        "ablate", "--from", pretrained, "--freeze", "embedding", "--seeds", 2, "--epochs", 1,
        "--train-fraction", 0.5, "--train-fraction", 1, "--store", stores / "both.sqlite",
        "-o", "curve", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {(row["preset"], row["train_fraction"], row["runs"]) for row in answer["rows"]} == {
        (name, fraction, 2)
        for name in ("surface", "surface fine-tuned, embedding frozen")
        for fraction in (0.5, 1)
    }
    gains = [gain for gain in answer["transfer"] if gain["target"] == "work_function"]
    assert [gain["pairs"] for gain in gains] == [2, 2]
    assert gains[0]["n"] < gains[1]["n"]
    for gain in gains:
        low, change, high = (gain["relative"][name] for name in ("low", "mean", "high"))
        assert low <= change <= high
    table = (tmp_path / "curve" / "ablation.md").read_text()
    assert "fine-tuned, embedding frozen against scratch" in table
    assert "Table 1" not in table and "[" not in table  # of Mg slabs, these are others
    for target in ("surface_energy", "work_function"):
        assert (tmp_path / "curve" / f"learning_curve_{target}.png").stat().st_size > 0


def test_runs_do_not_repeat_what_one_said(caplog):
    log = logging.getLogger("model.training.runs")
    with each_line_once():
        for element in ("Ca", "Ca", "Er"):
            log.warning("the pre-trained model has never seen %s", element)
    log.warning("the pre-trained model has never seen Ca")
    assert [line[-2:] for line in caplog.messages] == ["Ca", "Er", "Ca"]


def test_mistakes_are_one_line(refused_here, pretrained, stores, tmp_path):
    store = stores / "both.sqlite"
    assert "need a model to start from" in refused_here("train", "--freeze", "none", "--store", store)
    assert "need a model to start from" in refused_here("ablate", "--reset-heads", "--store", store)
    assert "no trained model" in refused_here("train", "--from", "absent", "--store", store)
    words = refused_here("train", "--from", pretrained, "--freeze", "heads", "--store", store)
    assert "choose none, embedding, convolutions" in words
    words = refused_here("train", "--from", pretrained, "--preset", "best", "--store", store, "-o", "new")
    assert "train with the preset" in words
    assert "--targets: names nothing" in refused_here("train", "--targets", ",", "--store", store)
    line = refused_here("train", "--targets", "melting_point", "--store", store, "-o", "melting")
    assert "no labels melting_point" in line
    line = refused_here("train", "--from", pretrained, "--overwrite", "--store", store, "-o", pretrained)
    assert "another folder" in line
    assert load_ensemble(pretrained).members
