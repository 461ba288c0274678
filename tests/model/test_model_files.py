"""Damaged, foreign and hostile files in model folders; more damage: tests/reliability/models.py."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
import zipfile

import numpy as np
import pytest
import torch

from model.promotion.registration import load_version, weight_files
from model.training.checked_json import read_json, write_json
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.runs import FORMAT, read_rows, read_run
from model.training.tensor_files import read_tensors, write_tensors
from model.training.train import RunFolder
from stores.connections import open_store
from stores.errors import InputError, MgsurfError
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from tests.model.untrained import untrained, without_checksums
from tests.reliability.models import attack, make_folder

FILES = ("manifest.json", "map.pt", "member-0.pt", "member-1.pt", "trees.pt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, make_folder(folder)


@pytest.fixture
def run(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def flipped(path, share=0.5):
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


def folder_instead(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", [flipped, cut, emptied, removed, folder_instead])
def test_a_changed_file_is_named(run, file, change):
    change(run / "model" / file)
    with pytest.raises(InputError, match=r"[^\n]*") as caught:
        load_ensemble(run)
    # without a manifest there is no model
    assert file in str(caught.value) and "\n" not in str(caught.value)


def test_a_whole_file_of_another_model_is_noticed(run):
    shutil.copy(run / "model" / "member-0.pt", run / "model" / "member-1.pt")
    with pytest.raises(InputError, match=r"member-1\.pt: .*checksum.*copy"):
        load_ensemble(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["calibration"]["work_function"].update(scale=1.25),
        lambda m: m["calibration"].pop("work_function"),
        lambda m: m.update(elements=["Mg"]),
        lambda m: m.update(members=["member-0.pt"]),
        lambda m: m.update(trees=None),
        lambda m: m.update(checksum="0" * 64),
        lambda m: m.pop("checksum") and m.update(chacksum="x"),
        lambda m: m.pop("checksum") and m["sha256"].pop("map.pt"),
        lambda m: m.pop("checksum") and m.update(members=["../run/model/member-0.pt"]),
        lambda m: m.pop("checksum") and m.update(members="abc"),
        lambda m: m.pop("checksum") and m.update(members=[]),
        lambda m: m.pop("checksum") and m.update(sha256=3),
        lambda m: m.pop("checksum") and m["calibration"]["work_function"].update(scale="wide"),
        lambda m: m.pop("checksum") and m["calibration"]["work_function"].update(floor=10**400),
        lambda m: m.pop("checksum") and m["calibration"]["work_function"].update(colour=1),
        lambda m: m.pop("checksum") and m.update(calibration=[1]),
        lambda m: m.pop("checksum") and m.update(elements=None),
    ],
)
def test_a_changed_manifest_is_refused(run, change):
    path = run / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: [^\n]*$"):
        load_ensemble(run)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", "{", "\ufeff{}", "[" * 100_000, '{"a": "\\ud800"}', '{"checksum": [1]}']
)
@pytest.mark.parametrize("name", ["run.json", "model/manifest.json"])
def test_json_that_is_no_manifest_is_refused(run, text, name):
    (run / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(InputError, match=rf"{name}: [^\n]*$"):
        load_ensemble(run) if "manifest" in name else read_run(run)


def test_a_checksum_covers_the_values_not_their_layout(tmp_path):
    path = tmp_path / "x.json"
    content = {"b": [1.5, None, float("nan")], "a": {"é": (1, 2)}, "n": 10**30}
    write_json(path, content)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
    assert repr(read_json(path)) == repr({**content, "a": {"é": [1, 2]}})
    path.write_text(path.read_text().replace("1.5", "1.6"))
    with pytest.raises(InputError, match=r"x\.json: .*checksum"):
        read_json(path)
    path.write_text(json.dumps({"a": 1}))  # of an older version
    assert read_json(path) == {"a": 1}


def test_run_files_are_checked(run):
    path = run / "run.json"
    path.write_text(path.read_text().replace("0.0123", "0.0023"))
    with pytest.raises(InputError, match=r"run\.json: .*checksum"):
        read_run(run)
    (run / "predictions.csv").write_text("record_id,part,work_function\na,test,3.o\n")
    with pytest.raises(InputError, match=r"predictions\.csv: "):
        read_rows(run)


@pytest.mark.parametrize("row", ["a,test,1,0.5", "a,test,7,0.5,0.5"])
def test_predictions_that_do_not_go_with_a_run_are_refused(row, tmp_path):
    sets = {part: {"n": 1} for part in ("train", "val", "test")}
    classes = {"metal": {"classes": ["no", "yes"], **sets}}
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT, "metrics": {}, "classes": classes}))
    columns = ["record_id", "part", "metal", "metal_p_no", "metal_p_yes"][: row.count(",") + 1]
    (tmp_path / "predictions.csv").write_text(",".join(columns) + f"\n{row}\n")
    with pytest.raises(InputError, match=r"predictions\.csv: does not go with run\.json"):
        read_run(tmp_path)


def test_folders_of_older_versions_are_read_without_a_word(whole, run, caplog):
    folder, graphs = whole
    without_checksums(run / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old = load_ensemble(run)
    assert not caplog.records
    found, expected = old.predict(graphs), load_ensemble(folder).predict(graphs)
    for name in expected.mean:
        assert np.array_equal(found.mean[name], expected.mean[name])
        assert np.array_equal(found.sigma[name], expected.sigma[name])
    flipped(run / "model" / "member-0.pt", 0.7)  # the archive has a CRC of its own
    with pytest.raises(InputError, match=r"member-0\.pt"):
        load_ensemble(run)


def test_checksums_travel_through_the_registry(whole, run, tmp_path):
    facts = ModelFacts(label="x", targets=("surface_energy", "work_function"), config={})
    with open_store("memory://") as store:
        registry = ModelRegistry(store)
        card, _ = registry.add(facts, weight_files(run))
        assert load_version(registry, card.version).elements == ("Ag", "Mg")
        registry.extract(card.version, tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == sorted(FILES)
        flipped(tmp_path / "map.pt")
        with pytest.raises(InputError, match=r"map\.pt: .*checksum"):
            load_ensemble(tmp_path)


def test_the_state_of_a_training_is_checked(tmp_path):
    folder = RunFolder(tmp_path, {})
    write_tensors(tmp_path / "state.pt", {"settings": folder.settings, "weights": torch.zeros(5000)})
    assert folder.load(torch.device("cpu")) is not None
    flipped(tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt is not a whole"):
        folder.load(torch.device("cpu"))


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def _pickled(path):
    path.write_bytes(pickle.dumps({"weights": Bomb()}))


def _pickled_in_an_archive(path):
    torch.save({"weights": Bomb()}, path)


def _expanding(path):
    write_tensors(path, {"weights": torch.zeros(1_000_000)})
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _repeated_numbers(path):
    torch.save({"weights": torch.zeros(1).expand(10**12)}, path)


def _nested(path):
    content: list[object] = []
    for _ in range(5000):
        content = [content]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"](" * 5000 + b"e" * 5000 + b".")


@pytest.mark.parametrize("make", [_pickled, _pickled_in_an_archive, _expanding, _repeated_numbers, _nested])
def test_hostile_files_are_refused(tmp_path, make, capsys):
    make(tmp_path / "hostile.pt")
    with pytest.raises(InputError, match=r"hostile\.pt is not [^\n]*$"):
        read_tensors(tmp_path / "hostile.pt")
    assert "boom" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("network", {"hidden": 10**9}),
        ("network", {"hidden": "8"}),
        ("network", {"convolutions": -1}),
        ("network", {"pooling": "whirl"}),
        ("scaler", {"std": [0.0, 1.0]}),
        ("scaler", {"std": [1.0]}),
        ("scaler", {"mean": [float("nan"), 1.0]}),
        ("scaler", {"mean": ["a", 1.0]}),
        ("graph", {"colour": 1}),
        ("graph", {"max_neighbours": "12"}),
        ("graph", {"cutoff": -3.0}),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path, part, changes):
    save_ensemble(untrained(1), tmp_path)
    without_checksums(tmp_path)
    content = read_tensors(tmp_path / "member-0.pt")
    about = json.loads(content["about"])
    about[part].update(changes)
    write_tensors(tmp_path / "member-0.pt", {**content, "about": json.dumps(about)})
    with pytest.raises(InputError, match=r"member-0\.pt does not fit together [^\n]*$"):
        load_ensemble(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"points": torch.zeros(3)},
        {"points": torch.zeros(0, 8)},
        {"points": torch.zeros(40, 7)},
        {"points": [1, 2]},
        {"mean": torch.full((8,), torch.nan)},
        {"std": torch.ones(9)},
        {"unit": 0.0},
        {"unit": "a"},
        {"place_unit": float("nan")},
    ],
)
def test_maps_that_do_not_fit_the_network_are_refused(tmp_path, changes):
    save_ensemble(untrained(1), tmp_path)
    without_checksums(tmp_path)
    write_tensors(tmp_path / "map.pt", {**read_tensors(tmp_path / "map.pt"), **changes})
    with pytest.raises(InputError, match=r"map\.pt: is damaged [^\n]*$"):
        load_ensemble(tmp_path)


def test_random_damage_is_noticed_or_harmless(whole, tmp_path):
    folder, graphs = whole
    found = attack(folder, graphs, flips=20, seed=1, work=tmp_path / "work")
    assert found.problems == []
    assert sum(found.counts.values()) == 20 and found.seconds < 20


def test_no_module_reads_pickles():
    """Only `model.training.tensor_files` reads files of torch, and never runs code from them."""
    from pathlib import Path

    # hands arguments to processes that it starts, in a temporary folder of its own
    own = Path("model/training/processes.py")
    for package in ("model", "stores", "workflows"):
        for path in Path(package).rglob("*.py"):
            text = path.read_text()
            assert ("import pickle" not in text or path == own) and "joblib" not in text, path
            assert "torch.load(" not in text or path.name == "tensor_files.py", path


def test_errors_are_those_of_users(run):
    emptied(run / "model" / "manifest.json")
    with pytest.raises(MgsurfError):
        load_ensemble(run)
