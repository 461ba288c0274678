"""A trained model beside the data: its weights, unchanged, and its card for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from workflows.publication.markdown import number, table, word
from workflows.publication.private import public_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stores.learning.model_card import ModelFacts
    from stores.surfaces import SurfaceStore

CARD = "model_card.md"
FACTS = "model_card.json"

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_NOT_PUBLISHED = {"version", "schema_version", "created_at", "made_by", "champion_before", "weights"}
"""Fields of a card that concern its registry."""


@dataclass(frozen=True)
class PublishedModel:
    """A model to publish: its name, the facts of its card and its files."""

    name: str
    facts: ModelFacts
    files: Mapping[str, bytes]


def registered_model(store: SurfaceStore, name: str) -> PublishedModel:
    """Return a model of the store's registry: champion, latest or v3.

    An `InputError` if there is none, a `DamagedWeightsError` if its weights are not whole.
    """
    from stores.learning.registry import ModelRegistry

    registry = ModelRegistry(store)
    card = registry.card(registry.resolve(name))
    return PublishedModel(card.name, card, registry.weights(card))


def model_in_folder(folder: Path) -> PublishedModel:
    """Return a model as `mgsurf train` wrote it; an `InputError` if there is none or it is damaged."""
    from model.promotion.registration import facts_of_run, weight_files

    facts = facts_of_run(folder)
    return PublishedModel(facts.label, facts, weight_files(folder))


def write_model(model: PublishedModel, folder: Path, snapshot: str) -> None:
    """Write weights and card; `snapshot` is the published one."""
    folder.mkdir()
    for name, content in sorted(model.files.items()):
        (folder / PurePath(name).name).write_bytes(content)
    plain = model.facts.model_dump(mode="json", exclude=_NOT_PUBLISHED)
    text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / FACTS).write_text(public_text(text) + "\n", encoding="utf-8", newline="\n")
    (folder / CARD).write_text(model_card(model, snapshot), encoding="utf-8", newline="\n")


def trained_on(facts: ModelFacts, snapshot: str) -> str:
    """State whether a model was trained on the published data."""
    if facts.snapshot == snapshot:
        return f"the snapshot {snapshot}, which is this data set"
    if facts.snapshot:
        return f"the snapshot {facts.snapshot}, which is not the published one ({snapshot})"
    return "labels without a snapshot: whether they are those of this data set is not known"


def model_card(model: PublishedModel, snapshot: str) -> str:
    """Return the card in Markdown (sections after Mitchell et al., doi:10.1145/3287560.3287596)."""
    facts = model.facts
    settings = public_text(json.dumps(facts.config, sort_keys=True))
    sizes = ", ".join(f"{count} {_PARTS.get(part, part)}" for part, count in facts.sizes.items())
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(facts.libraries.items()))
    lines = [
        f"# Model card: {facts.label}\n",
        "## Model\n",
        f"An ensemble of {facts.members} for {', '.join(map(word, facts.targets))}, made with mgsurf "
        f"({facts.code_version or 'version not noted'}; {libraries or 'libraries not noted'}). "
        "`mgsurf predict --model FOLDER` reads the folder of this card.\n",
        f"Settings: `{settings}`\n",
        "## Training data\n",
        f"Trained on {trained_on(facts, snapshot)}"
        + (f" ({sizes} {facts.noun}s)" if sizes else "")
        + f", with {len(facts.elements)} elements: {', '.join(facts.elements)}.\n",
        "## Errors\n",
        _errors(facts.metrics) or "No errors were noted.\n",
        "## Limits\n",
        "Predictions for other elements, other kinds of surface or other DFT settings than those of "
        "the training "
        "data are not tested. Each prediction has a 90 % interval; one that is unlike the training "
        "data is marked.\n",
    ]
    if facts.note:
        lines += ["## Note\n", f"{facts.note}\n"]
    return "\n".join(lines)


def _errors(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (split, word(target), _PARTS[part], found[part]["n"], *_of(found[part]))
        for split, targets in metrics.items()
        for target, found in targets.items()
        for part in _PARTS
        if part in found
    ]
    return table(("split", "target", "set", "number", "MAE", "RMSE", "R²"), rows)


def _of(found: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple("" if found.get(key) is None else number(found[key]) for key in ("mae", "rmse", "r2"))
