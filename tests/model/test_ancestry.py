from __future__ import annotations

from dataclasses import replace

import pytest

from model.data.dataset import Dataset
from model.data.provenance import seen_by, this_training, trainings_of, trainings_on, what_was_seen
from model.data.splits import Split, part_of
from model.training.presets import TrainingConfig
from model.training.train import train
from model.training.transfer import Start
from stores.learning.model_card import ModelCard, PastTraining, Weights
from tests.model.tiny import tiny_dataset, tiny_preset

TRAINS, VALIDATES, HELD, HELD_TOO = "Al1Mg1", "Mg1Zn1", "La1Mg1", "Ca1Mg3"


def card(**facts):
    return ModelCard(
        **{"label": "x", "targets": ("work_function",), "version": 1, "made_by": "", **facts},
        created_at="2026-01-01T00:00:00Z",
        weights=Weights(sha256="", files=()),
    )


def learned(crystals, split, start=None):
    """Train a tiny network for one epoch on slabs of these compounds."""
    dataset = tiny_dataset(12)
    entries = tuple(replace(e, crystal=crystals[i % len(crystals)]) for i, e in enumerate(dataset))
    return train(
        Dataset(entries, dataset.targets, snapshot="abc"),
        Split(split, 0, tuple(range(8)), tuple(range(8, 12)), ()),
        tiny_preset(TrainingConfig(epochs=1, batch_size=8)),
        start=start,
    )


def test_the_names_have_their_parts():
    assert [part_of(name) for name in (TRAINS, VALIDATES, HELD, HELD_TOO)] == ["train", "val", "test", "test"]


def test_a_training_notes_what_it_saw_of_the_hold_out_and_so_does_what_begins_with_it():
    first = learned([TRAINS, HELD, VALIDATES], "random")
    tuned = learned([TRAINS, VALIDATES], "holdout", Start(first))
    again = learned([TRAINS], "holdout", Start(tuned))
    assert trainings_of([again.training]) == [
        PastTraining(split="holdout", snapshot="abc", compounds=1, held_out=()),
        PastTraining(split="holdout", snapshot="abc", compounds=2, held_out=()),
        PastTraining(split="random", snapshot="abc", compounds=3, held_out=(HELD,)),
    ]
    # members of one ensemble share most of it
    assert len(trainings_of([again.training, tuned.training])) == 3
    facts = card(trainings=trainings_of([again.training]), config={"split": "holdout"})
    assert seen_by(facts) == {HELD}
    assert what_was_seen(facts, [HELD, HELD_TOO]) == (
        "v1 began with weights that were trained by split random and has seen 1 of the 2 held-out compounds"
    )
    assert what_was_seen(facts, [HELD_TOO]) == ""


def test_slabs_without_a_known_crystal_may_be_held_out():
    assert this_training(tiny_dataset(3), "random", None).held_out is None


@pytest.mark.parametrize(
    ("config", "seen", "words"),
    [
        ({"split": "holdout"}, frozenset(), ""),
        ({"split": "random"}, None, "v1 was trained by split random and may have seen the hold-out"),
        ({}, None, "v1 was trained on data that are not known and may have seen the hold-out"),
        (
            {"split": "holdout", "transfer": {"model": "123"}},
            None,
            "v1 began with weights that were trained on data that are not known and may have seen the "
            "hold-out",
        ),
    ],
)
def test_models_of_before_trainings_were_noted(config, seen, words):
    old = card(config=config)
    assert seen_by(old) == seen
    assert what_was_seen(old, [HELD]) == words
    kept = {key: value for key, value in config.items() if key == "split"}
    if "transfer" in config:
        kept["start"] = config["transfer"]
    assert trainings_of([kept]) == list(trainings_on(old))
