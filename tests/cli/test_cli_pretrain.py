"""`mgsurf pretrain`, and `--from` with models of a registry: crystals and slabs first, then slabs alone."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml
from pymatgen.core import Lattice, Structure

from model.training.ensemble_files import load_ensemble
from stores.connections import open_store
from stores.labelled import source_fingerprint
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from tests.cli.test_cli_import_bulk import entry
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS
from workflows.cli.access import pretrained_for

ENDINGS = ("Li", "Na", "K", "Ca", "Sc", "Ti", "Ni", "Cu", "Zn", "Al", "Pd", "Ag", "Cd", "In", "Sn", "Pt")
FILE = {
    "name": "tiny",
    "data": {
        "crystals": {
            "file": "fe.json.gz", "bulk": True, "target": "formation_energy", "unit": "eV/atom",
            "origin": "made by a test, CC0",
        },
        "slab-energy": {"target": "surface_energy", "method": source_fingerprint("elements")},
        "slab-work": {"target": "work_function", "method": source_fingerprint("elements")},
    },
    "validation": 0.2,
    "test": 0.2,
    "params": {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 1, "training.epochs": 2,
               "trees": 3},
}  # fmt: skip


def crystals() -> list[dict]:
    found = []
    for i, partner in enumerate(ENDINGS):
        for edge in (3.0, 3.3):
            structure = Structure(Lattice.cubic(edge), ["Mg", partner], [[0, 0, 0], [0.5] * 3])
            found.append(entry(len(found), structure, target=0.05 * i - edge))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Working folder with the store of public data, and the store of the slabs that are fine-tuned on."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGSURF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MGSURF_STORE", raising=False)
        patch.setenv("COLUMNS", "80")
        patch.chdir(folder)
        (folder / "fe.json.gz").write_bytes(gzip.compress(json.dumps(crystals()).encode()))
        (folder / "pretrained.yaml").write_text(yaml.safe_dump(FILE, sort_keys=False))
        for name, partners, source in (
            ("mgsurf", PARTNERS[:4], "elements"),
            ("slabs", PARTNERS[3:7], "ours"),
        ):
            with open_store(f"sqlite:///{folder}/{name}.sqlite") as store:
                add(store, partners, source=source)
        yield folder


@pytest.fixture(scope="module")
def built(folder):
    return command("pretrain", "pretrained.yaml")


def test_public_data_become_a_registered_model_with_its_card(folder, built):
    assert built.returncode == 0, built.stderr
    with open_store("mgsurf.sqlite") as store:
        registry = ModelRegistry(store)
        (card,) = registry.cards()
        ensemble = load_ensemble(registry.unpack(card, folder / "unpacked"))
    assert card.pretrained == "tiny" and set(card.targets) == set(ensemble.targets)
    assert ensemble.kinds == {
        "formation_energy": ("bulk",), "surface_energy": ("slab",), "work_function": ("slab",)
    }  # fmt: skip
    by_name = {one.name: one for one in card.label_sources}
    one = by_name["crystals"]
    assert (one.kind, one.unit, one.origin) == ("bulk", "eV/atom", "made by a test, CC0")
    assert sum(one.labels.values()) == 32 and {"Mg", "Pt"} & set(one.elements)
    assert sum(by_name["slab-work"].labels.values()) == 40
    (errors,) = card.metrics.values()
    assert errors["formation_energy"]["test"]["n"] == one.labels["test"]
    assert len(ensemble.descriptor_models["slab"].rows.descriptors) == by_name["slab-work"].labels["train"]
    assert "--from pretrained:tiny" in built.stdout
    shown = command("models", "show", "v1")
    assert "made by a test, CC0" in shown.stdout and "pretrained:tiny" in shown.stdout


def test_a_dry_run_counts_the_training_labels(built):
    with open_store("mgsurf.sqlite") as store:
        (card,) = ModelRegistry(store).cards()
    dry = command("pretrain", "pretrained.yaml", "--dry-run", "--quiet")
    assert dry.returncode == 0
    for one in card.label_sources:
        assert f"{one.labels['train']} of {one.name}" in dry.stderr


def test_the_same_command_reads_what_is_finished(built):
    again = command("pretrain", "pretrained.yaml", "--json")
    assert again.returncode == 0
    answer = json.loads(again.stdout)
    assert (answer["version"], answer["new"]) == (1, False)


def test_slabs_are_fine_tuned_from_a_model_of_crystals_and_slabs(folder, built, caplog):
    done = command(
        "train", "--from", "pretrained:tiny", "--store", "slabs.sqlite", "--epochs", 1, "-o", "tuned"
    )
    assert done.returncode == 0, done.stderr
    assert "has seen" in caplog.text  # some slabs of the one partner that both stores have
    assert "pretrained:tiny (v1 of" in done.stderr and "32 labels formation_energy" in done.stderr
    run = json.loads((folder / "tuned" / "run.json").read_text())
    assert run["settings"]["preset"] == "best" and run["targets"] == ["surface_energy", "work_function"]
    # the network is that of the pre-training, its number of epochs is not
    assert set(run["settings"]["params"]) == {k for k in FILE["params"] if k.startswith("network.")}
    tuned = load_ensemble(folder / "tuned")
    own = run["sizes"]["train"]
    before = json.loads(command("models", "show", "v1", "--json").stdout)["label_sources"][1]["labels"][
        "train"
    ]
    assert len(tuned.descriptor_models["slab"].rows.descriptors) == own + before
    by_version = command("train", "--from", "v1", "--epochs", 1, "-o", "by_version")
    assert by_version.returncode == 0, by_version.stderr


def test_best_starts_from_a_model_of_its_own_network_and_says_so(folder, built):
    tiny = command("train", "--preset", "best", "--epochs", 1, "--store", "slabs.sqlite", "-o", "scratch")
    assert tiny.returncode == 0 and "pretrained:" not in tiny.stderr  # its network is smaller than best's
    with open_store("mgsurf.sqlite") as store:
        registry = ModelRegistry(store)
        card = registry.card(1)
        facts = card.model_dump(include=set(ModelFacts.model_fields))
        whole = facts["config"] | {"params": {"training.epochs": 2}}
        other = ModelFacts.model_validate(facts | {"pretrained": "whole", "config": whole})
        registry.add(other, registry.weights(card))
    found = pretrained_for("best", ("work_function",), ["slabs.sqlite"])
    assert found is not None and found[1]["params"] == {} and found[1]["preset"] == "best"
    assert pretrained_for("best", ("cleavage_energy",), ["slabs.sqlite"]) is None
    assert pretrained_for("sem-cgcnn", ("work_function",), ["slabs.sqlite"]) is None
    refused = command("train", "--preset", "best", "--store", "slabs.sqlite", "-o", "wide")
    assert "best starts from pretrained:whole" in refused.stderr and "--from none" in refused.stderr
    none = command(
        "train",
        "--preset",
        "best",
        "--from",
        "none",
        "--epochs",
        1,
        "--store",
        "slabs.sqlite",
        "-o",
        "scratch",
    )
    assert none.returncode == 0 and "trained before" in none.stderr


def test_a_default_store_that_cannot_be_read_stops_no_training(folder, built, monkeypatch, capsys):
    monkeypatch.setenv("MGSURF_STORE", "mongodb://localhost:1/none")
    assert pretrained_for("best", ("work_function",), ["slabs.sqlite"]) is None
    assert "begins from scratch: No MongoDB server answers" in capsys.readouterr().err


def test_classes_are_pre_trained_beside_quantities(folder):
    found = [
        {
            **{k: v for k, v in one.items() if k != "target"},
            "formation_energy": one["target"],
            "late": i // 16,
        }
        for i, one in enumerate(crystals())
    ]
    (folder / "both.json").write_text(json.dumps(found))
    of_file = {"file": "both.json", "bulk": True}
    data = {
        "energy": {**of_file, "target": "formation_energy", "unit": "eV/atom"},
        "late": {**of_file, "target": "late", "classes": True},
    }
    (folder / "kinds.yaml").write_text(yaml.safe_dump({**FILE, "name": "kinds", "data": data}))
    done = command("pretrain", "kinds.yaml", "--store", "kinds.sqlite")
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and "MAE" in done.stdout
    with open_store("kinds.sqlite") as store:
        (card,) = ModelRegistry(store).cards()
    assert card.targets == ("formation_energy", "late")
    (classes,) = card.classes.values()
    assert classes["late"]["classes"] == ["0", "1"] and classes["late"]["test"]["log_loss"] > 0


def test_an_empty_name_is_no_training_from_scratch(folder, built):
    done = command("train", "--from", "", "--store", "slabs.sqlite", "-o", "none")
    assert done.returncode == 2 and "--from: is empty" in done.stderr


def test_a_trained_model_can_be_named_as_pretrained_and_is_not_the_latest(folder, built):
    trained = command(
        "train", "--preset", "sem-cgcnn", "--epochs", 1, "--store", "slabs.sqlite", "-o", "plain"
    )
    assert trained.returncode == 0, trained.stderr
    assert command("models", "add", "plain", "--store", "slabs.sqlite").returncode == 0
    named = command("models", "add", "plain", "--pretrained", "mine", "--store", "slabs.sqlite", "--json")
    assert json.loads(named.stdout)["version"] == 2
    with open_store("slabs.sqlite") as store:
        registry = ModelRegistry(store)
        assert registry.resolve("latest") == 1 and list(registry.pretrained()) == ["mine"]
    odd = command("models", "add", "plain", "--pretrained", "a b", "--store", "slabs.sqlite")
    assert odd.returncode == 2 and "letters, digits" in odd.stderr


def test_an_unknown_name_lists_what_there_is(built):
    done = command("train", "--from", "pretrained:other", "--store", "slabs.sqlite", "-o", "none")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "pretrained:other" in line]
    assert "tiny" in line and "mgsurf pretrain" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "letters, digits"),
        ({"data": {"one": {"target": "surface_energy"}}}, "data"),
        ({"balance": "luck"}, "balance"),
        ({"data": {**FILE["data"], "more": {"target": "x", "unit": "eV"}}}, "more: source, bulk"),
        ({"data": {**FILE["data"], "more": {"target": "x", "file": "none.json", "bulk": True}}}, "none.json"),
    ],
)
def test_wrong_files_are_refused_in_a_line(folder, change, words):
    (folder / "wrong.yaml").write_text(yaml.safe_dump({**FILE, **change}))
    done = command("pretrain", "wrong.yaml", "--store", "other.sqlite")
    assert done.returncode == 2 and words in done.stderr
