"""Champion and challenger on one hold-out: what each has seen of it, and what their labels are."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pytest
import torch

from model.data.dataset import Dataset, Entry
from model.data.formula_key import formula_key
from model.data.splits import part_of
from model.promotion.challenger import decide
from model.promotion.comparison import compare_with_champion
from model.promotion.registration import weight_files
from model.training.ensemble_files import save_ensemble
from stores.connections import open_store
from stores.labelled import add_labels, source_fingerprint
from stores.learning.model_card import ModelFacts, PastTraining
from stores.learning.registry import ModelRegistry
from stores.learning.snapshots import create_snapshot
from tests.model.tiny import tiny_graph
from tests.model.untrained import untrained
from tests.stores.test_labels import record
from workflows.cli import models

TARGETS = ("surface_energy", "work_function")
NAMES = [formula_key(f"Mg{n}{e}", "", None) for n in (1, 2, 3) for e in ("Ag", "Al", "Ca", "La", "Pd", "Sn")]
MORE = [formula_key(f"Mg{n}Zn{n + 1}", "", None) for n in range(4, 40)]
ALL_HELD = sorted(name for name in {*NAMES, *MORE} if part_of(name) == "test")
CLEAN = PastTraining(split="holdout", held_out=())


@dataclass
class Slabs:
    """Slabs whose labels are what an ensemble predicts, so that this ensemble is better than any other."""

    snapshot: str
    right: object
    heads: tuple[str, ...] = TARGETS

    def __call__(self, settings, targets=()):
        made = [(name, tiny_graph(7 * i + k)) for i, name in enumerate([*NAMES, *MORE]) for k in range(3)]
        mean = self.right.predict([graph for _, graph in made]).mean
        return Dataset(
            tuple(
                Entry(str(i), graph, {t: float(mean[t][i]) for t in self.heads}, name, "", (), name, i, name)
                for i, (name, graph) in enumerate(made)
            ),
            self.heads,
        )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Two ensembles: the first is the one that the labels come from."""
    found = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("model")
        save_ensemble(untrained(1, seed), folder)
        found.append((untrained(1, seed), weight_files(folder)))
    return found


@pytest.fixture
def registry(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 's.sqlite'}") as store:
        for source in ("one", "two"):
            mine = record(source, surface_energy=0.1, work_function=4.0)
            add_labels(store, [mine.model_copy(update={"method_fingerprint": source_fingerprint(source)})])
        yield ModelRegistry(store)


def snapshot(registry, source, targets=TARGETS):
    return create_snapshot(registry.store, targets, methods=[source_fingerprint(source)]).id


def registered(registry, files, *trainings, champion=False, **facts):
    fields = {"label": "x", "targets": TARGETS, "config": {"split": "holdout"}, **facts}
    card, _ = registry.add(ModelFacts(**fields, trainings=trainings or (CLEAN,)), files)
    if champion:
        registry.promote(card.version)
    return card


def test_compounds_that_the_champion_began_with_do_not_count(registry, weights):
    """The champion is right on everything, for an ancestor has seen most of it; the rest decides."""
    (right, best), (_, worse) = weights
    seen = PastTraining(split="random", held_out=tuple(ALL_HELD[:3]))
    one = snapshot(registry, "one")
    registered(registry, worse, CLEAN, seen, champion=True, snapshot=one)
    card = registered(registry, best, snapshot=one)
    judgement, notes = compare_with_champion(registry, card, Slabs(one, right), tell=print)
    assert judgement.better
    assert judgement.compounds == len(ALL_HELD) - 3
    assert notes == [
        "v1 began with weights that were trained by split random and has seen 3 of the "
        f"{len(ALL_HELD)} held-out compounds, which do not count"
    ]


def test_a_champion_of_another_version_is_passed_over_and_told(registry, weights):
    (right, best), (_, worse) = weights
    one = snapshot(registry, "one")
    content = torch.load(io.BytesIO(worse["member-0.pt"]), weights_only=True)
    about = json.loads(content["about"])
    about["network"]["descriptors"] = "surface"
    changed = io.BytesIO()
    torch.save({**content, "about": json.dumps(about)}, changed)
    manifest = json.loads(worse["manifest.json"])
    del manifest["sha256"], manifest["checksum"]
    files = {**worse, "manifest.json": json.dumps(manifest).encode(), "member-0.pt": changed.getvalue()}
    registered(registry, files, champion=True, snapshot=one)
    card = registered(registry, best, snapshot=one)
    judgement, (note,) = compare_with_champion(registry, card, Slabs(one, right), tell=print)
    assert judgement.better
    assert "mean" in judgement.reason
    assert note.startswith(
        "the champion cannot be read by this version of mgsurf (v1: member-0.pt does not fit"
    )
    assert "takes descriptors" in note


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (PastTraining(split="random", held_out=tuple(ALL_HELD[:-2])), "by split random and has seen"),
        (PastTraining(split="", held_out=None), "on data that are not known and may have seen"),
    ],
)
def test_a_champion_that_has_seen_too_much_is_told(registry, weights, past, words):
    (right, best), (_, worse) = weights
    one = snapshot(registry, "one")
    registered(registry, best, past, champion=True, snapshot=one)
    card = registered(registry, worse, snapshot=one)
    judgement, (note,) = compare_with_champion(registry, card, Slabs(one, right), tell=print)
    assert not judgement.better
    assert judgement.compounds == len(ALL_HELD)
    assert note.startswith(f"v1 was trained {words}")
    assert note.endswith("so that it looks better than it is; mgsurf models promote overrules this")


def test_a_challenger_that_may_have_seen_the_hold_out_is_never_better(registry, weights):
    (right, best), (_, worse) = weights
    one = snapshot(registry, "one")
    registered(registry, worse, champion=True, snapshot=one)
    card = registered(registry, best, CLEAN, PastTraining(split="", held_out=None), snapshot=one)
    action, reason = decide(registry, card, Slabs(one, right), tell=print)
    assert action == "reject"
    assert reason.startswith("nobody can tell, for v2 may know the hold-out (better than v1")
    assert "v2 began with weights that were trained on data that are not known" in reason
    assert registry.champion_version() == 1


def test_labels_of_another_method_are_told(registry, weights):
    (right, best), (_, worse) = weights
    one, two = snapshot(registry, "one"), snapshot(registry, "two")
    registered(registry, worse, champion=True, snapshot=one)
    card = registered(registry, best, snapshot=two)
    _, reason = decide(registry, card, Slabs(two, right), tell=print)
    assert (
        f"v1 learned from labels of {source_fingerprint('one')} and is judged by labels of "
        f"{source_fingerprint('two')}: what the methods differ by counts as its error"
    ) in reason


def test_labels_of_an_unknown_method_are_told(registry, weights):
    (right, best), (_, worse) = weights
    two = snapshot(registry, "two")
    registered(registry, worse, champion=True)
    card = registered(registry, best, snapshot=two)
    _, notes = compare_with_champion(registry, card, Slabs(two, right), tell=print)
    assert notes == ["it is not known by which method the labels of v1 were made"]


def test_a_target_that_the_champion_lacks_is_told(registry, weights, tmp_path):
    (right, best), _ = weights
    one, less = snapshot(registry, "one"), snapshot(registry, "one", TARGETS[:1])
    save_ensemble(untrained(1, 0, TARGETS[:1]), tmp_path / "single")
    registered(registry, weight_files(tmp_path / "single"), champion=True, targets=TARGETS[:1], snapshot=less)
    card = registered(registry, best, snapshot=one)
    _, notes = compare_with_champion(registry, card, Slabs(one, right), tell=print)
    assert notes == [
        "v1 does not predict work_function: there the mean of the training labels stands in for it"
    ]


def test_cards_and_their_comparison_tell_the_same(registry, weights, capsys):
    (_, best), (_, worse) = weights
    past = PastTraining(split="random", compounds=9, held_out=tuple(ALL_HELD[:3]))
    held = {"holdout": {"work_function": {"test": {"mae": 0.1, "n": 9}}}}
    registered(registry, worse, CLEAN, past, snapshot=snapshot(registry, "one"), metrics=held)
    registered(registry, best, snapshot=snapshot(registry, "two"))
    models.show("v1", store=registry.store.uri, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "before that 9 compounds by split random (3 of the hold-out)" in shown
    models.compare("v1", "v2", store=registry.store.uri, as_json=False)
    remarks = capsys.readouterr().err
    assert "v1 may have learned from the hold-out and looks better there than it is" in remarks
    assert f"v1 learned from labels of {source_fingerprint('one')}, v2 from labels of" in remarks
