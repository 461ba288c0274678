"""Comparison of a new model with the champion on the same slabs of the hold-out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.data.provenance import seen_by, unlike, what_was_seen
from model.data.splits import fixed_split
from model.evaluation.metrics import labels
from model.promotion.gate import FEWEST_COMPOUNDS, judge
from model.promotion.registration import load_champion, load_version
from stores.errors import InputError
from stores.learning.registry import DamagedWeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset, SnapshotData
    from model.promotion.gate import Judgement
    from model.training.ensemble import Ensemble
    from stores.learning.model_card import ModelCard
    from stores.learning.registry import ModelRegistry

    Values = Mapping[str, NDArray[np.float64]]


MEAN = "predicting the training mean"


def compare_with_champion(
    registry: ModelRegistry, card: ModelCard, data: SnapshotData, *, tell: Callable[[str], None]
) -> tuple[Judgement, list[str]]:
    """Judge a challenger on the hold-out of its snapshot against the champion, else against the mean.

    Compounds that either of them learned from do not count, as long as enough others are left. If too few
    are, a champion that has seen some keeps its advantage, which is noted, and a challenger that has seen
    some is not better. The second result has a line for each remark on the comparison.
    """
    ours = load_version(registry, card.version)
    rival, champion, notes = _rival(registry)
    name = champion.name if champion is not None else MEAN
    tell(f"comparing v{card.version} with {name} on the hold-out")
    dataset = data(ours.graph_settings)
    split = fixed_split(dataset)
    held, trained = dataset.subset(split.test), dataset.subset(split.train)
    means, scale = {}, {}
    for head in data.heads:
        known = labels(trained, head)
        means[head] = float(np.nanmean(known))
        # equal labels have no spread; any unit will do then
        scale[head] = float(np.nanstd(known)) or 1.0
    models = [card] if champion is None else [card, champion]
    held, seen, unfair = _without_seen(held, models)
    notes += seen
    if champion is not None:
        notes += unlike(registry.store, champion, data.heads, data.snapshot)
    other = held if rival is None else _same_slabs(held, data(rival.graph_settings))
    theirs = _predictions(rival, other, data.heads, means)
    if len(other) < len(held):  # slabs of which the champion's graphs cannot be made
        there = {entry.record_id for entry in other}
        held = held.subset([i for i, entry in enumerate(held) if entry.record_id in there])
    mine = _predictions(ours, held, data.heads, means)
    true = {head: labels(held, head) for head in data.heads}
    crystals = [entry.crystal for entry in held]
    judgement = judge(crystals, true, mine, theirs, scale, name)
    if judgement.better and card.name in unfair:
        words = f"nobody can tell, for {card.name} may know the hold-out ({judgement.reason})"
        judgement = replace(judgement, better=False, reason=words)
    return judgement, notes


def _rival(registry: ModelRegistry) -> tuple[Ensemble | None, ModelCard | None, list[str]]:
    """Load the champion; None without one or if it cannot be read."""
    if registry.champion_version() is None:
        return None, None, []
    try:
        return load_champion(registry)
    except DamagedWeightsError as error:
        return None, None, [str(error)]
    except InputError as error:  # whole, but of another version: without this it would never be replaced
        return None, None, [f"the champion cannot be read by this version of mgsurf ({error})"]


def _without_seen(held: Dataset, cards: Sequence[ModelCard]) -> tuple[Dataset, list[str], set[str]]:
    """Leave out the compounds that a model learned from, if all are known and enough others are left."""
    # returned: the slabs that count, a line for each model that has seen some, and the names of those models
    # that have seen some of what counts
    names = {entry.crystal for entry in held}
    remarks = {card.name: words for card in cards if (words := what_was_seen(card, names))}
    seen = [seen_by(card) for card in cards]
    known = [one for one in seen if one is not None]
    left = names.difference(*known)
    if remarks and len(known) == len(seen) and len(left) >= FEWEST_COMPOUNDS:
        held = held.subset([i for i, entry in enumerate(held) if entry.crystal in left])
        return held, [f"{words}, which do not count" for words in remarks.values()], set()
    notes = [
        f"{words}, so that it looks better than it is; mgsurf models promote overrules this"
        for words in remarks.values()
    ]
    return held, notes, set(remarks)


def _same_slabs(held: Dataset, dataset: Dataset) -> Dataset:
    """Return the slabs of another data set of the same snapshot, in the order of the first."""
    place = {entry.record_id: i for i, entry in enumerate(dataset)}
    return dataset.subset([place[entry.record_id] for entry in held if entry.record_id in place])


def _predictions(
    ensemble: Ensemble | None, dataset: Dataset, heads: tuple[str, ...], means: Mapping[str, float]
) -> Values:
    """Predict slabs; the training mean stands in for a target that a model does not have."""
    found: Values = {}
    if ensemble is not None:
        found = ensemble.predict([entry.graph for entry in dataset]).mean
    return {head: found.get(head, np.full(len(dataset), means[head])) for head in heads}
