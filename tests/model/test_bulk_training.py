"""Training on bulk crystals, alone and beside slabs; classes; what a model predicts and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from pymatgen.core import Element, Structure

from model.data.dataset import Dataset, Entry
from model.evaluation.class_metrics import class_errors, roc_auc
from model.evaluation.prediction import Candidate, check_predicts_slabs, plain_structure, predict_slabs
from model.graphs.bulk_graph import PlainBulk, build_bulk_graph
from model.graphs.slab_frame import PlainSlab
from model.network.network import NetworkConfig, SurfaceNetwork
from model.training.checkpoint import Scaler, load_model, save_model
from model.training.ensemble_files import load_ensemble
from model.training.presets import PRESETS, TrainingConfig
from model.training.runs import RunSettings, read_rows, run_training
from model.training.target_losses import masked_losses
from model.training.transfer import Start, load_pretrained_weights
from stores.errors import InputError
from tests.model.small_dataset import PARTNERS, crystal, slabs, small_dataset
from tests.model.tiny import tiny_elements
from workflows.report.training_report import write_report

CLASSES = ("insulator", "metal")


@cache
def crystals(settings) -> tuple[Entry, ...]:
    """Forty strained crystals with an energy, and whether their partner is a late metal."""
    entries = []
    for partner in PARTNERS:
        for mg_rich in (False, True):
            for strain in (0.0, 0.04):
                structure = crystal(partner, mg_rich)
                structure.apply_strain(strain)
                formula = structure.composition.reduced_formula
                entries.append(
                    Entry(
                        record_id=f"bulk-{formula}-{strain}",
                        graph=build_bulk_graph(structure, settings),
                        targets={
                            "formation_energy": -0.1 * Element(partner).X + strain,
                            "metal": float(Element(partner).group > 9),
                            "surface_energy": None,
                        },
                        formula=formula,
                        chemsys="-".join(sorted(("Mg", partner))),
                        elements=tuple(sorted(("Mg", partner))),
                        compound=f"{formula} {strain}",
                        crystal=formula,
                        group=1000 + len(entries),
                    )
                )
    return tuple(entries)


def data(settings, *, with_slabs: bool) -> Dataset:
    found = list(crystals(settings))
    if with_slabs:
        found += [
            replace(e, targets={"surface_energy": e.targets["surface_energy"], "formation_energy": None})
            for e in small_dataset(settings)
        ]
    targets = ("surface_energy", "formation_energy", "metal")
    return Dataset(tuple(found), targets, classes={"metal": CLASSES})


def run(tmp_path, targets, *, with_slabs, preset="best", epochs=2, name="run"):
    settings = RunSettings(preset, targets=targets, epochs=epochs, seed=1)
    folder = tmp_path / name
    result = run_training(lambda graphs, _: data(graphs, with_slabs=with_slabs), settings, folder)
    return result, load_ensemble(folder), folder


def slab(partner: str = "Ag") -> Structure:
    return slabs(partner, False)[0]


def test_a_model_of_crystals_predicts_crystals_and_refuses_slabs(tmp_path):
    result, ensemble, _ = run(tmp_path, ("formation_energy",), with_slabs=False)
    assert ensemble.kinds == {"formation_energy": ("bulk",)} and result["noun"] == "crystal"
    assert set(ensemble.descriptor_models["bulk"].targets) == {"formation_energy"}
    assert result["metrics"]["formation_energy"]["facet_order"]["compounds"] == 0
    bulk = plain_structure(crystal("Ag", False), ensemble)
    assert isinstance(bulk, PlainBulk)
    found, refused = predict_slabs(
        ensemble, [Candidate("b", bulk, "MgAg"), Candidate("s", PlainSlab.from_structure(slab()), "MgAg")]
    )
    assert [one.name for one in found] == ["b"] and np.isfinite(found[0].values["formation_energy"])
    assert [one.name for one in refused] == ["s"] and "trained on bulk crystals only" in refused[0].reason
    with pytest.raises(InputError, match=r"formation_energy.*bulk crystals only"):
        check_predicts_slabs(ensemble)


def test_slabs_and_crystals_in_one_model(tmp_path):
    targets = ("surface_energy", "formation_energy")
    result, ensemble, _ = run(tmp_path, targets, with_slabs=True)
    assert ensemble.kinds == {"surface_energy": ("slab",), "formation_energy": ("bulk",)}
    assert result["noun"] == "structure" and result["metrics"]["surface_energy"]["test"]["n"] > 0
    assert {kind: set(one.targets) for kind, one in ensemble.descriptor_models.items()} == {
        "slab": {"surface_energy"},
        "bulk": {"formation_energy"},
    }
    assert ensemble.calibration["formation_energy"].n < result["sizes"]["val"]
    candidates = [
        Candidate(name, plain_structure(structure, ensemble), "MgAg")
        for name, structure in (("slab", slab()), ("bulk", crystal("Ag", False)))
    ]
    assert [isinstance(c.slab, PlainBulk) for c in candidates] == [False, True]
    found, refused = predict_slabs(ensemble, candidates)
    assert not refused
    assert ["formation_energy was not trained on slabs" in " ".join(one.warnings) for one in found] == [
        True,
        False,
    ]
    assert ["surface_energy was not trained on crystals" in " ".join(one.warnings) for one in found] == [
        False,
        True,
    ]
    check_predicts_slabs(ensemble)
    alone, _ = predict_slabs(ensemble, candidates[:1])
    assert alone[0].values == pytest.approx(found[0].values, rel=1e-6)


def test_classes_beside_a_quantity(tmp_path):
    result, ensemble, folder = run(
        tmp_path, ("formation_energy", "metal"), with_slabs=False, preset="sem-cgcnn", epochs=5
    )
    assert ensemble.class_names == {"metal": CLASSES} and ensemble.quantities == ("formation_energy",)
    assert set(result["metrics"]) == set(ensemble.calibration) == {"formation_energy"}
    test = result["classes"]["metal"]["test"]
    assert {"accuracy", "macro_f1", "macro_recall", "roc_auc"} <= set(test)
    assert set(test["f1"]) == set(test["recall"]) == set(test["precision"]) == set(CLASSES)
    zinc = PlainBulk.from_structure(crystal("Zn", True))
    (one,), _ = predict_slabs(ensemble, [Candidate("b", zinc, "Mg3Zn")])
    shares = one.classes["metal"]
    assert sum(shares.values()) == pytest.approx(1) and list(shares.values()) == sorted(shares.values())[::-1]
    rows = [row for row in read_rows(folder) if row["part"] == "train"]
    right = [row["metal_predicted"] == row["metal"] for row in rows]
    assert np.mean(right) == pytest.approx(result["classes"]["metal"]["train"]["accuracy"])
    assert result["classes"]["metal"]["train"]["roc_auc"] > 0.9
    assert all(row["metal_p_metal"] + row["metal_p_insulator"] == pytest.approx(1) for row in rows)


def test_classes_alone_make_a_report(tmp_path):
    result, ensemble, folder = run(tmp_path, ("metal",), with_slabs=False)
    assert result["metrics"] == {} and ensemble.quantities == ()
    page = write_report(folder, result, read_rows(folder)).read_text()
    assert "F1 metal" in page and "Accuracy on the test set" in page and "parity" not in page


def test_loss_of_classes_is_the_cross_entropy():
    config = NetworkConfig(("a", "b"), classes=((), ("x", "y", "z")))
    assert config.columns() == {"a": slice(0, 1), "b": slice(1, 4)}
    output = torch.tensor([[1.0, 0.2, 0.5, -1.0], [0.0, 2.0, 0.0, 0.0], [0.0, 9.0, 9.0, 9.0]])
    target = torch.tensor([[3.0, 2.0], [torch.nan, 0.0], [1.0, torch.nan]])
    columns = [(place, name == "b") for name, place in config.columns().items()]
    losses, counts = masked_losses(output, target, (~target.isnan()).float(), TrainingConfig(), columns)
    logs = torch.log_softmax(output[:2, 1:], dim=1)
    assert counts == [2, 2] and float(losses[0]) == pytest.approx((4 + 1) / 2)
    assert float(losses[1]) == pytest.approx(float(-(logs[0, 2] + logs[1, 0]) / 2))


def test_measures_of_classes():
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.45, 0.55], [0.5, 0.5]])
    errors = class_errors(np.array([0, 1, 1, 0, np.nan]), shares, CLASSES)
    assert (errors["n"], errors["accuracy"]) == (4, 0.5)
    assert errors["f1"] == {"insulator": 0.5, "metal": 0.5} and errors["roc_auc"] == 0.75
    one_metal = class_errors(np.array([0, 1, 0, 0]), shares[[0, 2, 2, 3]], CLASSES)
    assert one_metal["precision"] == {"insulator": 1.0, "metal": pytest.approx(1 / 3)}
    assert one_metal["recall"] == {"insulator": pytest.approx(1 / 3), "metal": 1.0}
    assert one_metal["macro_recall"] == pytest.approx(2 / 3)
    assert class_errors(np.array([0.0]), shares[:1], CLASSES)["recall"] == {"insulator": 1.0, "metal": None}
    assert roc_auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    assert roc_auc(np.array([1, 1]), np.array([0.2, 0.5])) is None


def test_heads_of_other_classes_start_again_and_old_networks_have_none(tmp_path):
    def network(names):
        torch.manual_seed(sum(map(ord, "".join(names))))
        config = NetworkConfig(("e", "c"), element_features=7, classes=((), names) if names else ())
        return SurfaceNetwork(config, tiny_elements())

    preset = PRESETS["sem-cgcnn"]
    scaler = Scaler((0.0, 0.0), (1.0, 1.0))
    for names, kept in ((("x", "y"), True), (("x", "z"), False), (("x", "y", "z"), False)):
        source = _model(network(("x", "y")), scaler, preset)
        new = network(names)
        load_pretrained_weights(new, scaler, Start(source))
        same = torch.equal(new.heads["head_c"][0].weight[:2], source.network.heads["head_c"][0].weight)
        assert same == kept and torch.equal(new.embed.weight, source.network.embed.weight)
    save_model(source, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt").class_names == {"c": ("x", "y")}
    assert "classes" not in network(()).config.plain()


def _model(network, scaler, preset):
    from model.training.checkpoint import TrainedModel

    return TrainedModel(network, scaler, preset.graph, {}, "0", ("Mg",), ())
