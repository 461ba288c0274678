"""The learning side of a refresh: train a challenger, compare it with the champion, decide.

What a training writes is named by what it was made of, so that every step can be repeated: a finished one is
read, an unfinished one is resumed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.provenance import unlike, what_was_seen
from model.data.splits import HOLDOUT
from model.promotion.comparison import compare_with_champion
from model.promotion.registration import facts_of_run, weight_files
from model.training.runs import Transfer, run_training
from stores.errors import InputError
from stores.learning.registry import ConflictError, DamagedWeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from model.data.dataset import SnapshotData
    from model.training.runs import RunSettings
    from model.training.train import Progress
    from stores.learning.model_card import ModelCard
    from stores.learning.registry import Action, ModelRegistry

    Tell = Callable[[str], None]

_TRIES = 3  # decisions that others may make first


def train_challenger(
    registry: ModelRegistry,
    data: SnapshotData,
    settings: RunSettings,
    folder: Path,
    *,
    tell: Tell,
    progress: Callable[[int, Progress], None] | None = None,
    before_keeping: Callable[[], None] = lambda: None,
) -> ModelCard:
    """Train from scratch and from the champion, and register whichever is better on validation.

    Parameters
    ----------
    registry
        Of the champion; gets the challenger as a candidate.
    settings
        Preset, members, epochs and seed; the split is the hold-out's, the targets are those of `data`.
    folder
        Keeps both trainings; the same call resumes them.
    tell
        Called with one line before each step.
    progress
        Called with the number of the member after each of its epochs.
    before_keeping
        Called before the model is registered; may raise, so that it is not.

    Returns
    -------
    ModelCard
        Of the challenger; an old one if the very same weights were registered before.

    Raises
    ------
    InputError
        If the preset is unknown, or a set has too few labels.
    StoreError
        If the disk is full, or the store cannot be written.
    """
    settings = replace(settings, split=HOLDOUT, targets=data.heads)
    tell("training from scratch")
    best = folder / "scratch"
    scratch = run_training(data, settings, best, progress=progress)
    warm_from, note = _champion_to_begin_with(registry, settings.preset, folder)
    if warm_from is not None:
        name, start = warm_from
        tell(f"training from {name}")
        try:
            warm = run_training(
                data, replace(settings, transfer=start), folder / f"from-{name}", progress=progress
            )
        except InputError as error:  # the champion's network is another
            note = f"not tried from {name}: {error}"
        else:
            ratio = _validation_ratio(warm, scratch)
            if ratio < 1:
                best = folder / f"from-{name}"
            better, worse = (name, "scratch") if ratio < 1 else ("scratch", name)
            note = (
                f"trained from {better}, which was better on validation than from {worse} "
                f"(error from {name} over that from scratch: {ratio:.3f})"
            )
    facts = facts_of_run(best)
    # nobody looks at a card and thinks of the champion of that time
    champion = registry.champion()
    differences = [] if champion is None else unlike(registry.store, champion, data.heads, data.snapshot)
    facts.note = "; ".join([note, *differences])
    before_keeping()
    tell("keeping its weights")
    card, _ = registry.add(facts, weight_files(best))
    return card


def decide(registry: ModelRegistry, card: ModelCard, data: SnapshotData, *, tell: Tell) -> tuple[Action, str]:
    """Promote a challenger if it is better than the champion by more than chance, else reject it.

    A first model has to be better than predicting the mean of the training labels. The action and reason may
    be of another process that decided first.

    Raises
    ------
    ConflictError
        If others decide all the time.
    DamagedWeightsError
        If the challenger's weights are not whole.
    """
    for attempt in range(_TRIES):
        status = registry.decision_log().status(card.version)
        if status.state != "candidate":
            if status.state == "retired":  # the very weights were in use before, and somebody went back
                return "reject", f"{card.name} is these weights already, and was retired: {status.reason}"
            return ("reject" if status.state == "rejected" else "promote"), status.reason
        champion = registry.champion_version()
        judgement, notes = compare_with_champion(registry, card, data, tell=tell)
        reason = "; ".join([judgement.reason, *notes])
        try:
            if judgement.better:
                registry.promote(card.version, reason, replacing=champion)
                return "promote", reason
            registry.reject(card.version, reason)
            return "reject", reason
        except ConflictError:
            if attempt == _TRIES - 1:
                raise
            tell("another process decided on the models meanwhile; comparing again")
    raise AssertionError("unreachable")


def clear(folder: Path) -> None:
    """Remove the trainings of a refresh that is over; the weights are in the store."""
    shutil.rmtree(folder, ignore_errors=True)


def _champion_to_begin_with(
    registry: ModelRegistry, preset: str, folder: Path
) -> tuple[tuple[str, Transfer] | None, str]:
    """Return the champion as the start of a training, or why it is none."""
    if registry.champion_version() is None:
        return None, "trained from scratch: there was no champion"
    place = folder / "champion"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        card, _ = registry.extract_champion(place)
    except DamagedWeightsError as error:
        return None, f"trained from scratch: {error}"
    if saw := what_was_seen(card):
        return None, f"trained from scratch: {saw}"
    if card.config.get("preset") != preset:
        return None, f"trained from scratch: {card.name} has another preset ({card.config.get('preset')})"
    return (card.name, Transfer.of(place)), ""


def _validation_ratio(warm: Mapping[str, Any], scratch: Mapping[str, Any]) -> float:
    """Return the error of one run over that of another on validation, mean over targets."""
    ratios = [
        warm["metrics"][target]["val"]["mae"] / max(metrics["val"]["mae"], 1e-12)
        for target, metrics in scratch["metrics"].items()
    ]
    return float(np.mean(ratios))
