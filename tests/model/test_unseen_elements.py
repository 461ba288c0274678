"""Slabs with elements that the training set lacks have weights, process and intervals of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.baselines.blend import DescriptorModels
from model.baselines.unseen_elements import FOLDS, NETWORK_SHARE, Folds
from model.graphs.graph import GraphSettings
from stores.errors import InputError
from tests.model.small_dataset import small_dataset

NAME = "surface_energy"


@pytest.fixture(scope="module")
def parts():
    """Training and validation set of seven systems, and slabs of three others."""
    dataset = small_dataset(GraphSettings(min_thickness=20.0, fold=True))
    systems = sorted({entry.chemsys for entry in dataset})
    inside = [i for i, entry in enumerate(dataset) if entry.chemsys in systems[:7]]
    outside = [i for i, entry in enumerate(dataset) if entry.chemsys not in systems[:7]]
    train, val = [i for k, i in enumerate(inside) if k % 4], inside[::4]
    return dataset.subset(train), dataset.subset(val), dataset.subset(outside)


@pytest.fixture(scope="module")
def models(parts):
    train, val, _ = parts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.baselines.unseen_elements.FEWEST_LABELS", 20)
        networks = {NAME: np.zeros(len(val))}
        return DescriptorModels.fit(train, val, networks, 20, 0, np.arange(len(val)) % 5)[0]


def test_folds_hold_whole_systems_and_elements_that_no_other_has(parts):
    train, _, _ = parts
    folds = Folds.of(train)
    labelled = np.ones(len(train), dtype=bool)
    assert folds.unseen(labelled).all() and set(folds.fold.tolist()) == set(range(FOLDS))
    for number in range(FOLDS):
        inside, others = (
            {train[i].chemsys for i in np.flatnonzero(where)}
            for where in (folds.fold == number, folds.fold != number)
        )
        assert inside and not inside & others


def test_few_systems_have_no_folds(parts):
    train, _, _ = parts
    few = sorted({entry.chemsys for entry in train})[: FOLDS - 1]
    assert Folds.of(train.subset([i for i, e in enumerate(train) if e.chemsys in few])) is None


def with_unseen(models, **changes):
    """Models of one target with other numbers for unseen elements."""
    one = models.targets[NAME]
    return replace(models, targets={NAME: replace(one, unseen=replace(one.unseen, **changes))})


def test_unseen_elements_are_blended_with_their_own_shares(parts, models):
    _, val, outside = parts
    special = models.targets[NAME].unseen
    assert special.shares[0] == pytest.approx(NETWORK_SHARE) and sum(special.shares) == pytest.approx(1)
    slabs = [entry.graph for entry in (*val, *outside)]
    networks = {NAME: np.linspace(0.02, 0.06, len(slabs))}
    blended = models.predict(networks, slabs)
    plain = models.without_unseen().predict(networks, slabs)
    n = len(val)
    assert np.array_equal(blended.mean[NAME][:n], plain.mean[NAME][:n])
    assert np.isnan(blended.sigma[NAME][:n]).all() and (blended.sigma[NAME][n:] > 0).all()
    higher = models.predict({NAME: networks[NAME] + 0.6}, slabs).mean[NAME]
    assert higher[n:] - blended.mean[NAME][n:] == pytest.approx(0.6 * NETWORK_SHARE)
    assert plain.sigma == plain.correlation == {}


def test_elements_count_for_a_target_by_its_own_labels(parts, models):
    """A target without labels of one chemical system: its slabs are known to the other target alone."""
    train, val, _ = parts
    alone = sorted({entry.chemsys for entry in train})[0]

    def without(dataset):
        entries = [
            replace(e, targets={NAME: (value := e.targets[NAME]),
                                "partial": None if e.chemsys == alone else value})
            for e in dataset
        ]  # fmt: skip
        return replace(dataset, entries=tuple(entries), targets=(NAME, "partial"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.baselines.unseen_elements.FEWEST_LABELS", 20)
        networks = dict.fromkeys((NAME, "partial"), np.zeros(len(val)))
        fitted, _ = DescriptorModels.fit(
            without(train), without(val), networks, 20, 0, np.arange(len(val)) % 5
        )
    assert fitted.targets[NAME].unseen.elements > fitted.targets["partial"].unseen.elements
    slabs = [entry.graph for entry in val]
    sigma = DescriptorModels.from_state(fitted.state()).predict(networks, slabs).sigma
    assert np.isnan(sigma[NAME]).all()
    assert np.isfinite(sigma["partial"]).tolist() == [entry.chemsys == alone for entry in val]
    # where all slabs have a label nothing changes, in files of earlier versions neither
    old = with_unseen(models, elements=None)
    for again in (models, DescriptorModels.from_state(old.state()), fitted):
        found = again.predict(networks, slabs)
        assert np.array_equal(found.mean[NAME], models.predict(networks, slabs).mean[NAME])


def test_known_compounds_share_less_of_their_errors(parts, models):
    _, val, outside = parts
    models = with_unseen(models, correlation=0.6)
    slabs = [entry.graph for entry in (*val, *outside)]
    correlation = models.predict({NAME: np.zeros(len(slabs))}, slabs).correlation[NAME]
    assert correlation[len(val) :] == pytest.approx(0.6)
    assert correlation[: len(val)].max() < 0.4


def test_state_and_damage(parts, models):
    _, _, outside = parts
    slabs = [entry.graph for entry in outside]
    networks = {NAME: np.zeros(len(slabs))}
    again = DescriptorModels.from_state(models.state())
    assert np.array_equal(
        again.predict(networks, slabs).mean[NAME], models.predict(networks, slabs).mean[NAME]
    )
    state = models.state()
    special = state["unseen"][NAME]
    for damage in ({"shares": [1.0, 1.0, 0.0]}, {"correlation": 1.0}, {"calibration": {}}, {"process": {}}):
        with pytest.raises(InputError):
            DescriptorModels.from_state(state | {"unseen": {NAME: special | damage}})
    with pytest.raises(InputError, match="other targets"):
        DescriptorModels.from_state(state | {"unseen": {"band_gap": special}})


def test_energies_have_offsets_of_compounds_and_work_functions_have_none(parts):
    train, val, _ = parts
    networks = {name: np.zeros(len(val)) for name in (NAME, "work_function")}
    folds = np.zeros(len(val), dtype=np.intp)
    models = DescriptorModels.fit(train, val, networks, 3, 0, folds)[0].targets
    assert models[NAME].process.offset > 0 and models["work_function"].process.offset is None


def test_files_of_versions_without_them_predict_as_they_did(parts, models):
    _, _, outside = parts
    slabs = [entry.graph for entry in outside]
    networks = {NAME: np.full(len(slabs), 0.03)}
    state = models.state()
    del state["unseen"], state["compounds"]
    for values in state["targets"].values():
        del values["process"]["compounds"], values["process"]["offset"]
    blended = DescriptorModels.from_state(state).predict(networks, slabs)
    assert blended.sigma == blended.correlation == {}
    (a, b, c), trees = models.targets[NAME].shares, models.targets[NAME].forest
    process = replace(models.targets[NAME].process, compounds=None, offset=None)
    from model.baselines.descriptors import describe_slabs

    x = describe_slabs(slabs)
    expected = a * 0.03 + b * trees.predict(x)[0] + c * process.predict(x)
    assert np.array_equal(blended.mean[NAME], expected)
