"""What `mgsurf suggest` answers: candidates found, predicted, and chosen from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.learning.model_card import is_version
from stores.method_names import names_of_family
from workflows.cli.access import MODEL_FOLDER, chosen_ensemble
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Callable

    from stores.records import Method
    from stores.surfaces import SurfaceStore
    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.learning.suggestion import Learned, Suggestion, Wish
    from workflows.flows.surface import SurfaceMaker

    Document = dict[str, Any]
    Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Field:
    """What can be chosen from.

    Attributes
    ----------
    documents
        The candidates.
    method
        With which they would be computed.
    notes
        Lines for people.
    """

    documents: list[Document]
    method: Method
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What `suggest` prints.

    Attributes
    ----------
    suggestion
        The batch.
    wish
        What was asked for.
    targets
        Of the model, in its order.
    model
        Name of the model; empty if none was needed.
    cost
        One line about the core-hours.
    notes
        Lines for people, on stderr.
    """

    suggestion: Suggestion
    wish: Wish
    targets: list[str]
    model: str
    cost: str
    notes: list[str]


def answered(
    store: SurfaceStore,
    uri: str,
    maker: SurfaceMaker | None,
    structures: list[CampaignStructure],
    wish: Wish,
    model: str | None,
    workers: int,
    quiet: bool,
) -> Answer:
    """Find the candidates, predict those that the model has not seen, and choose.

    Raises
    ------
    InputError
        If there are no candidates, no model, or the strategy lacks what it needs.
    """
    from workflows.flows.enumeration.cost import calibrated
    from workflows.flows.learning.suggestion import Learned, suggest_slabs

    with ProgressBar(quiet) as bar:
        found = _of_campaign(store, maker, structures, bar.show) if maker else _of_store(store)
        if not found.documents:
            raise InputError(_nothing_left(found, maker))
        name, learned = "", Learned()
        targets: list[str] = []
        if wish.strategy != "random" or _model_there(model, store):
            name, targets, learned = _predict(store, uri, found, wish, model, workers, bar.show)
    cost = calibrated(found.method, store)
    suggestion = suggest_slabs(store, found.documents, targets, wish, cost, learned)
    names = names_of_family(store, found.method, "surfaces")
    notes = [*found.notes, *_remarks(suggestion, wish, learned, found.method.fingerprint, names)]
    return Answer(suggestion, wish, targets, name, cost.words(), notes)


def _of_campaign(
    store: SurfaceStore, maker: SurfaceMaker, structures: list[CampaignStructure], tell: Tell
) -> Field:
    from stores.learning.candidates import candidates_by_id
    from workflows.flows.learning.candidates import update_candidates_of

    found = update_candidates_of(store, maker, structures, progress=lambda i, n: tell("cutting slabs", i, n))
    notes = [f"left out: {line}" for line in found.left_out]
    if found.n_computed:
        failed = (
            f", of which {found.n_failed} gave nothing (mgsurf run tries them again)"
            if found.n_failed
            else ""
        )
        notes.append(f"{found.n_computed} slabs of the campaign were computed before{failed}")
    documents = list(candidates_by_id(store, found.ids))
    return Field(documents, maker.context.make_engine().method(), notes)


def _of_store(store: SurfaceStore) -> Field:
    """Return all candidates of a store that are not computed."""
    from stores.learning.candidates import candidate_documents, computed_slabs, method_of_candidates, slab_key

    method = method_of_candidates(store)
    computed = computed_slabs(store, method)
    documents = [d for d in candidate_documents(store) if slab_key(d) not in computed]
    return Field(documents, method)


def _nothing_left(found: Field, maker: SurfaceMaker | None) -> str:
    if found.notes and maker is not None:
        return f"no candidates left: {'; '.join(found.notes)}; add compounds or facets to the campaign"
    return "no candidates left: everything is computed; add compounds to a campaign and name it"


def _model_there(model: str | None, store: SurfaceStore) -> bool:
    """Say whether there is a model that can be shown beside a random choice."""
    if model or os.environ.get("MGSURF_MODEL"):
        return True
    name = model_name(None, store)
    return name == "champion" or Path(name).exists()


def model_name(model: str | None, store: SurfaceStore) -> str:
    """Return the model that is meant: as told, else MGSURF_MODEL, the champion, ./mgsurf_model."""
    told = model or os.environ.get("MGSURF_MODEL")
    if told:
        return told
    from stores.learning.registry import ModelRegistry

    there = ModelRegistry(store).champion_version() is not None
    return "champion" if there else str(MODEL_FOLDER)


def _predict(
    store: SurfaceStore,
    uri: str,
    found: Field,
    wish: Wish,
    model: str | None,
    workers: int,
    tell: Tell,
) -> tuple[str, list[str], Learned]:
    """Bring the predictions of all candidates up to date, without torch where they are."""
    from workflows.cli.learning import require_network
    from workflows.flows.learning.suggestion import Learned, learned_from, split_of, version_of

    name = model_name(model, store)
    if name == str(MODEL_FOLDER) and not Path(name).exists():
        raise InputError(
            f"there is no model: the store {store.uri} has no champion and ./{name} is not there; train one "
            "with mgsurf train, name one with --model, or take --strategy random"
        )
    version = version_of(name, store) if is_version(name) or Path(name).is_dir() else ""
    old = [d["id"] for d in found.documents if d["model"] != version]
    ensemble = None
    if old or wish.strategy == "diverse" or not version:
        require_network()
        ensemble, loaded = chosen_ensemble(name, uri)
        version = version_of(loaded, store)
        old = [d["id"] for d in found.documents if d["model"] != version]
    if old and ensemble is not None:
        from model.evaluation.prediction import predict_candidates
        from stores.learning.candidates import candidates_by_id

        progress = lambda i, n: tell("predicting", i, n)  # noqa: E731 -- names the stage of the bar
        predict_candidates(store, ensemble, version, old, workers=workers, progress=progress)
        found.documents[:] = candidates_by_id(store, [d["id"] for d in found.documents])
    none: dict[str, Any] = {}
    predicted = next((d["predictions"] for d in found.documents if d["predictions"]), none)
    targets = list(ensemble.targets) if ensemble else list(predicted)
    methods = learned_from(name, store, targets, found.method.fingerprint)
    learned = Learned(methods, split=split_of(name, store))
    if ensemble is not None:
        learned = replace(learned, places=ensemble.training_map.places)
    return version, targets, learned


def _remarks(suggestion: Suggestion, wish: Wish, learned: Learned, method: str, names: set[str]) -> list[str]:
    """Return what a person should know beside the table; `names` are other names of the method."""
    from model.selection.acquisition import LEAST_CHANCE

    lines = []
    others = sorted(set(learned.methods.values()) - names)
    if others:
        lines.append(f"the model learned from {', '.join(others)}; the campaign computes with {method}")
    if suggestion.n_unpredicted and wish.strategy != "random":
        lines.append(f"{suggestion.n_unpredicted} candidates are left out: the model cannot take them")
    if suggestion.n_never_train:
        lines.append(
            f"{suggestion.n_never_train} candidates are left out: their compounds validate or are held out, "
            "and computing them would not teach the model; --any-part takes them, too"
        )
    chosen = [one.candidate for one in suggestion.chosen]
    strange = [w for d in chosen for w in d["warnings"] if w.endswith("not in the training set")]
    if strange:
        elements = sorted(
            {e for w in strange for e in w.removesuffix(" not in the training set").split(", ")}
        )
        lines.append(
            f"{len(strange)} of {len(chosen)} hold elements that the model never saw: {', '.join(elements)}"
        )
    guesses = sum(d["lattice_is_guess"] for d in chosen)
    if guesses:
        lines.append(f"{guesses} of {len(chosen)} are cut from an estimated lattice")
    if wish.budget is not None and suggestion.n_pool and not chosen and not suggestion.n_hopeless:
        lines.append(
            f"no candidate fits into {wish.budget:g} core-hours; the cheapest takes {suggestion.cheapest:.2g}"
        )
    elif len(chosen) < wish.n:
        if suggestion.n_hopeless:
            why = (
                f"the chance of the remaining {suggestion.n_hopeless} to beat the best known values is below "
                f"{100 * LEAST_CHANCE:.1g} %; --strategy uncertain or diverse takes them, too"
            )
        elif wish.budget is not None and suggestion.n_pool:
            why = "the budget buys no more"
        else:
            why = "there are no more candidates"
        lines.append(f"{len(chosen)} instead of {wish.n} slabs: {why}")
    return lines
