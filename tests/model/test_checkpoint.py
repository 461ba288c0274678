from __future__ import annotations

import json
import pickle
from importlib.metadata import version

import numpy as np
import pytest
import torch

from model.graphs.graph import GraphSettings
from model.training.checkpoint import Scaler, TrainedModel, load_model, save_model
from model.training.train import read_tensors
from stores.errors import InputError, StoreError
from tests.model.tiny import tiny_config, tiny_elements, tiny_graph


def model(**changes):
    from model.network.network import SurfaceNetwork

    torch.manual_seed(2)
    return TrainedModel(
        network=SurfaceNetwork(tiny_config(**changes), tiny_elements()).eval(),
        scaler=Scaler((0.06, 3.7), (0.03, 0.5)),
        graph_settings=GraphSettings(whole_shells=True, min_thickness=20.0),
        training={"config": {"epochs": 3}, "split": "random", "split_seed": 1},
        training_hash="ab" * 16,
        training_elements=("Ag", "Mg"),
        history=({"epoch": 1, "score": 0.5},),
    )


@pytest.fixture
def path(tmp_path):
    save_model(model(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("changes", [{}, {"depth": "profile", "pooling": "surface"}])
def test_loaded_model_predicts_the_same(tmp_path, changes):
    original, graphs = model(**changes), [tiny_graph(i) for i in range(5)]
    save_model(original, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt")
    for name, values in original.predict(graphs).items():
        assert np.array_equal(loaded.predict(graphs)[name], values)
    for name in ("scaler", "graph_settings", "training", "training_hash", "training_elements", "history"):
        assert getattr(loaded, name) == getattr(original, name), name
    assert loaded.network.config == original.network.config


def test_networks_from_before_descriptors_left_them(path):
    content = torch.load(path, weights_only=True)
    about = json.loads(content["about"])
    about["network"]["descriptors"] = "none"
    torch.save({**content, "about": json.dumps(about)}, path)
    assert load_model(path).network.config == model().network.config
    about["network"]["descriptors"] = "surface"
    torch.save({**content, "about": json.dumps(about)}, path)
    with pytest.raises(InputError, match=r"model\.pt.*takes descriptors.*train it again"):
        load_model(path)


def test_file_names_the_libraries(path):
    about = json.loads(read_tensors(path)["about"])
    assert about["versions"]["torch"] == version("torch")


@pytest.mark.parametrize("keep", [0, 10, 1000, -200])
def test_cut_off_file(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a whole mgsurf checkpoint"):
        load_model(path)


def test_foreign_files(tmp_path, path):
    (tmp_path / "text.pt").write_text("hello")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    for name in ("text.pt", "tensor.pt", "other.pt"):
        with pytest.raises(InputError, match=rf"{name} is not"):
            load_model(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "none.pt")


def test_code_in_a_file_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    with (tmp_path / "bomb.pt").open("wb") as file:
        pickle.dump({"format": "mgsurf model 1", "weights": Bomb()}, file)
    torch.save({"format": "mgsurf model 1", "weights": Bomb()}, tmp_path / "bomb2.pt")
    for name in ("bomb.pt", "bomb2.pt"):
        with pytest.raises(InputError, match="not a whole"):
            load_model(tmp_path / name)


def test_parts_that_do_not_fit_together(path):
    content = torch.load(path, weights_only=True)
    del content["weights"]["embed.weight"]
    torch.save(content, path)
    with pytest.raises(InputError, match="does not fit together"):
        load_model(path)


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        save_model(model(), tmp_path / "file" / "model.pt")


def test_no_slabs_no_predictions():
    assert [len(v) for v in model().predict([]).values()] == [0, 0]
