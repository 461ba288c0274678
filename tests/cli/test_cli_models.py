from __future__ import annotations

import json
import shutil

import pytest
from pymatgen.io.vasp import Poscar

from stores.connections import open_store
from stores.learning.registry import ModelRegistry
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS, slabs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("models")  # they tell one story, in order

TINY = ("--epochs", 2, "--params", "tiny.json")


def fill(path, partners=PARTNERS[:4], shift=0.0):
    with open_store(f"sqlite:///{path}") as store:
        add(store, partners, shift=shift)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store, its snapshot, and three models that were trained on it. Shared by all tests."""
    folder = tmp_path_factory.mktemp("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MGSURF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "160")
        patch.setenv("MGSURF_STORE", str(folder / "store.sqlite"))
        patch.delenv("MGSURF_MODEL", raising=False)
        # its figures take longer than these trainings, and have tests of their own
        patch.setattr("workflows.report.training_report.write_report", lambda *_: folder / "report.html")
        tiny = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}
        (folder / "tiny.json").write_text(json.dumps({"params": tiny}))
        fill(folder / "store.sqlite")
        made = command("snapshot", "create", "--json")
        assert made.returncode == 0, made.stderr
        (folder / "id").write_text(json.loads(made.stdout)["id"])
        trained = command("train", *TINY, "--snapshot", json.loads(made.stdout)["id"][:8], "-o", "one")
        assert trained.returncode == 0, trained.stderr
        for name, more in (("by_system", ("--split", "chemsys")), ("two", ("--members", 2))):
            done = command("train", *TINY, "--snapshot", json.loads(made.stdout)["id"], "-o", name, *more)
            assert done.returncode == 0, done.stderr
        yield folder


def weights_of(folder):
    return torch.load(folder / "model" / "member-0.pt", weights_only=True)["weights"]


def test_a_model_is_trained_again_from_its_snapshot_to_the_same_weights(folder):
    name = (folder / "id").read_text()
    direct = command("train", *TINY, "-o", "direct")
    assert direct.returncode == 0, direct.stderr
    shutil.copy(folder / "store.sqlite", folder / "other.sqlite")
    added = command("models", "add", "direct", "--store", "other.sqlite")
    assert added.stdout.startswith("v1 (candidate)")
    assert "trained without a snapshot" in added.stderr

    fill(folder / "store.sqlite", PARTNERS[4:6])  # the store grows,
    fill(folder / "store.sqlite", PARTNERS[:1], shift=0.5)  # some records change,
    with open_store(str(folder / "store.sqlite")) as store:
        store.remove({"id": "tests-MgAl-0"}, collection="labels")  # and one goes
    again = command("train", *TINY, "--snapshot", name[:7], "-o", "again", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["snapshot"] == name
    assert "no longer in the store: 1 record of the snapshot" in again.stderr
    assert "tests-MgAl-0" in again.stderr
    first = weights_of(folder / "one")
    for other in ("direct", "again"):
        found = weights_of(folder / other)
        assert first.keys() == found.keys()
        assert all(torch.equal(first[key], found[key]) for key in first), other

    shown = command("snapshot", "show", name[:7])
    assert "since then: 20 new records, 10 changed, 1 gone" in shown.stdout, shown.stdout
    assert "kept in the snapshot for training: tests-MgAl-0" in shown.stdout
    changed = json.loads(command("snapshot", "diff", name[:7], "--json").stdout)
    assert [len(changed[kind]) for kind in ("added", "removed", "changed")] == [20, 1, 10]
    assert changed["new"] == "now"


def test_the_life_of_models(folder):
    added = command("models", "add", "one", "--judged-by", "by_system", "--note", "the first")
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("v1 (candidate) in ")
    assert added.stderr == ""
    again = command("models", "add", "one")
    assert "which had it already" in again.stdout
    two = json.loads(command("models", "add", "two", "--json").stdout)
    assert (two["version"], two["state"], two["members"], two["new"]) == (2, "candidate", 2, True)
    assert two["snapshot"] == (folder / "id").read_text()
    assert two["libraries"]["torch"] and "+" in two["code_version"]
    assert two["metrics"]["random"]["work_function"]["by_element"]

    assert command("models", "promote", "v1", "--reason", "nothing else").stdout == "v1 is the champion\n"
    assert command("models", "promote", "latest").stdout == "v2 is the champion; v1 is retired\n"
    assert "v2 is the champion already" in command("models", "promote", "v2").stderr
    listed = command("models", "list").stdout
    assert [line.split()[:2] for line in listed.splitlines() if line[:1] == "v"] == [
        ["v1", "retired"], ["v2", "champion"]
    ]  # fmt: skip
    back = command("models", "rollback", "--reason", "wrong for Mg-La")
    assert back.stdout == "v1 is the champion again; v2 is retired\n"
    assert "no champion before v1" in command("models", "rollback").stderr

    card = command("models", "show").stdout
    for words in ("the first", "split random", "split chemsys", "element", "rollback v2", "sha256", "Mg"):
        assert words in card, card
    compared = command("models", "compare", "v1", "v2")
    assert "work function (eV)" in compared.stdout
    assert "split chemsys are on one of the cards only" in compared.stderr
    rows = json.loads(command("models", "compare", "v1", "v2", "--json").stdout)["rows"]
    for row in rows:
        if row["difference"] is not None:
            assert row["difference"] == pytest.approx(row["b"] - row["a"])
    mae = next(row for row in rows if row["metric"] == "test MAE")
    assert mae["better"] is (mae["b"] < mae["a"])
    assert (folder / "id").read_text()[:12] in command("snapshot", "list").stdout
    assert "v1, v2" in command("snapshot", "list").stdout
    registered_models_predict_as_their_folders_do(folder)


def register_both():
    """Register the two models, unless a test before this one has."""
    for name in ("one", "two"):
        done = command("models", "add", name)
        assert done.returncode == 0, done.stderr


def registered_models_predict_as_their_folders_do(folder):
    """Continue the life of the two models."""
    Poscar(slabs("Ag", False)[0], sort_structure=True).write_file(folder / "slab.vasp")

    def predicted(model):
        done = command("predict", "slab.vasp", "--model", model, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    assert predicted("v1") == predicted("one")
    assert predicted("v2") == predicted("two")
    command("models", "promote", "v2")
    assert predicted("champion") == predicted("two")

    with open_store(str(folder / "store.sqlite")) as store:
        (file,) = (f for f in ModelRegistry(store).card(2).weights.files if f.name == "member-1.pt")
        (chunk,) = store.query({"blob": file.sha256}, collection="blobs")
        store.collection("blobs").upsert({**chunk, "data": chunk["data"][:-8]})
    found, notes = predicted("champion")
    assert found == predicted("one")[0]
    assert notes.splitlines() == [
        f"mgsurf: member-1.pt of v2 is damaged in the store sqlite:///{folder}/store.sqlite; register the "
        "model again with mgsurf models add, or use another.",
        "mgsurf: The champion before it, v1, is used instead.",
    ]
    refused = command("predict", "slab.vasp", "--model", "v2")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (4, 1)
    command("models", "promote", "v1")
    assert "of v2 is damaged" in command("models", "promote", "v2").stderr
    assert command("models", "add", "two").returncode == 0  # repairs it
    assert command("models", "promote", "v2").returncode == 0


def test_what_cannot_be_registered_is_one_line(folder, tmp_path):
    register_both()

    def refused(*arguments, code=2):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        (line,) = done.stderr.splitlines()
        return line

    assert "holds no finished training" in refused("models", "add", tmp_path)
    assert "other settings or data" in refused("models", "add", "one", "--judged-by", "two")
    assert "is named already" in refused("models", "add", "one", "--judged-by", "one")
    assert "There is no store" in refused("models", "add", "one", "--store", "absent.sqlite")
    assert not (folder / "absent.sqlite").exists()
    assert "has no model v9" in refused("models", "show", "v9")
    assert "'best' names no model" in refused("models", "compare", "v1", "best")
    assert "exclude each other" in refused("train", "--snapshot", "a", "--method", "b")
    assert "is not there; mgsurf snapshot list" in refused("train", "--snapshot", "nothing")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text((folder / "one" / "run.json").read_text())
    assert "holds no trained model" in refused("models", "add", broken)
