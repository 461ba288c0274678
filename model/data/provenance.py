"""Provenance of a model: what its own training saw, and the trainings of the weights that it began with.

Fine-tuning carries over what the starting weights were fitted to. A model that began with one that saw
compounds of the hold-out has seen them too, however its own data were divided; and what it was trained on may
be validated or tested on by the next training. Needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.data.splits import HOLDOUT, part_of
from stores.errors import InputError
from stores.learning.model_card import PastTraining
from stores.learning.snapshots import find_snapshot
from stores.method_names import quantity_of
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from model.data.dataset import Dataset, Entry
    from model.data.splits import Split
    from stores.learning.model_card import ModelCard, ModelFacts
    from stores.surfaces import SurfaceStore

NOTE = "trainings"
"""Key under which a trained network keeps its trainings, see
`model.training.checkpoint.TrainedModel.training`."""

LEARNED = "learned"
"""The same for hashes of the labels that it and its source were trained on, see `learned_labels`."""

CHOSEN = "chosen"
"""The same for hashes of the labels that it and its source were validated on: they chose the weights."""


def this_training(entries: Iterable[Entry], split: str, snapshot: str | None) -> PastTraining:
    """Note the slabs that train or validate (the latter choose the weights), the split, the snapshot."""
    crystals = {entry.crystal for entry in entries}
    held = tuple(sorted(name for name in crystals if part_of(name) == "test"))
    return PastTraining(
        split=split,
        snapshot=snapshot,
        compounds=len(crystals),
        held_out=None if "" in crystals else held,  # a data set that names no crystals
    )


def trainings_of(models: Iterable[Mapping[str, Any]]) -> list[PastTraining]:
    """Return the trainings behind networks, each once, the latest first, from their `training`."""
    found = [
        one
        for training in models
        for one in (
            [PastTraining.model_validate(past) for past in training[NOTE]]
            if NOTE in training
            else _not_noted(training.get("split"), fine_tuned="start" in training)
        )
    ]
    return list({one.model_dump_json(): one for one in found}.values())


def learned_labels(
    dataset: Dataset, split: Split, targets: Collection[str], earlier: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return what a network keeps to tell later what it has seen; nothing if a source kept nothing.

    earlier: `TrainedModel.training` of the models that it began with.
    """
    sources = list(earlier)
    if any(LEARNED not in one for one in sources):
        return {}
    kept = {}
    for note, part in ((LEARNED, split.train), (CHOSEN, split.val)):
        own = {key for i in part for keys in _keys(dataset[i], targets).values() for key in keys if key}
        kept[note] = sorted(own.union(*(one.get(note, ()) for one in sources)))
    return kept


def seen_before(
    trainings: Iterable[Mapping[str, Any]], dataset: Dataset, split: Split
) -> dict[str, int] | None:
    """Count the entries of the validation and test set that models with these trainings have seen.

    One is seen if a model was trained on the same quantity of an identical structure, or of its compound,
    unless this training set has the compound, too. What a model was validated on counts in the test set: it
    chose the weights; in the validation set it chooses again, as in any training. None if it is not known;
    models of older versions did not note what they were validated on, and none of it counts.
    """
    seen: dict[str, set[str]] = {"val": set(), "test": set()}
    for one in trainings:
        if LEARNED not in one:
            return None
        seen["val"].update(one[LEARNED])
        seen["test"].update(one[LEARNED], one.get(CHOSEN, ()))
    own = {keys[1] for i in split.train for keys in _keys(dataset[i], dataset.targets).values()}

    def is_seen(entry: Entry, known: set[str]) -> bool:
        return any(
            structure in known or (compound in known and compound not in own)
            for structure, compound in _keys(entry, dataset.targets).values()
        )

    return {part: sum(is_seen(dataset[i], known) for i in split.part(part)) for part, known in seen.items()}


def _keys(entry: Entry, targets: Collection[str]) -> dict[str, tuple[str, str]]:
    """Hash structure and compound (empty if not known) with each quantity that is labelled, by target."""
    return {
        name: (
            content_hash([quantity_of(name), entry.graph.identity], 10),
            content_hash([quantity_of(name), entry.kind, entry.crystal], 10) if entry.crystal else "",
        )
        for name in targets
        if entry.targets.get(name) is not None
    }


def trainings_on(card: ModelFacts) -> Sequence[PastTraining]:
    """Return the trainings behind a registered model, the latest first."""
    if card.trainings:
        return card.trainings
    return _not_noted(card.config.get("split"), fine_tuned=bool(card.config.get("transfer")))


def seen_by(card: ModelFacts) -> frozenset[str] | None:
    """Return the compounds of the hold-out that a model has learned from; None if that is not known."""
    seen: set[str] = set()
    for one in trainings_on(card):
        if one.held_out is None:
            return None
        seen.update(one.held_out)
    return frozenset(seen)


def what_was_seen(card: ModelCard, held: Collection[str] | None = None) -> str:
    """Describe what a model has seen of the hold-out, and how; empty if it has seen nothing.

    held: compounds of the hold-out that it is judged on; None: any.
    """
    past, seen = trainings_on(card), seen_by(card)

    def of_these(names: Collection[str]) -> set[str]:
        return set(names) if held is None else set(names) & set(held)

    if seen is not None and not of_these(seen):
        return ""
    guilty = next(i for i, one in enumerate(past) if one.held_out is None or of_these(one.held_out))
    how = "was trained" if guilty == 0 else "began with weights that were trained"
    by = f"by split {past[guilty].split}" if past[guilty].split else "on data that are not known"
    if seen is None:
        what = "may have seen the hold-out"
    elif held is None:
        what = f"has seen {len(seen)} compounds of the hold-out"
    else:
        what = f"has seen {len(of_these(seen))} of the {len(set(held))} held-out compounds"
    return f"{card.name} {how} {by} and {what}"


def unlike(store: SurfaceStore, card: ModelCard, heads: Collection[str], snapshot: str) -> list[str]:
    """List how a model differs from the labels (`heads` of a snapshot) that judge it, one line each."""
    lines = []
    if missing := [head for head in heads if head not in card.targets]:
        lines.append(
            f"{card.name} does not predict {', '.join(missing)}: there the mean of the training labels "
            "stands in for it"
        )
    ours, theirs = methods_of(store, snapshot), methods_of(store, card.snapshot)
    shared = [head for head in heads if head in card.targets]
    if shared and ours and not theirs:
        lines.append(f"it is not known by which method the labels of {card.name} were made")
    others = sorted(
        {(theirs[h], ours[h]) for h in shared if h in theirs and h in ours and theirs[h] != ours[h]}
    )
    lines += [
        f"{card.name} learned from labels of {other} and is judged by labels of {own}: what the methods "
        "differ by counts as its error"
        for other, own in others
    ]
    return lines


def methods_of(store: SurfaceStore, snapshot: str | None) -> dict[str, str]:
    """Return the method of each head of a snapshot; empty if there is none, or it is not in the store."""
    if snapshot is None:
        return {}
    try:
        return {head.name: head.method for head in find_snapshot(store, snapshot).heads}
    except InputError:
        return {}


def _not_noted(split: object, *, fine_tuned: bool) -> list[PastTraining]:
    """Return what is known of a model whose trainings were not noted."""
    name = str(split or "")
    held = () if name.partition(",")[0] == HOLDOUT else None  # "holdout, bagged"
    own = PastTraining(split=name, held_out=held)
    return [own, PastTraining(split="", held_out=None)] if fine_tuned else [own]
