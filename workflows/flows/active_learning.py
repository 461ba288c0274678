"""Unattended rounds: train, choose, compute, train again, until a stopping criterion is met."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from jobflow import Flow, JobConfig, Maker, OnMissing, Response, job

from model.data.provenance import seen_by
from model.data.splits import HOLDOUT
from stores.connections import open_store
from stores.errors import InputError, pluralize
from stores.learning.candidates import candidates_by_id
from stores.learning.history import ChosenSlab, Round, begin_round, finish_round, rounds_of
from stores.learning.registry import ModelRegistry
from stores.records import Provenance
from workflows.flows.campaign.file import CampaignStructure
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.chosen_slabs import ChosenSlabsMaker
from workflows.flows.learning.candidates import update_candidates_of
from workflows.flows.refresh import RefreshMaker, update_predictions
from workflows.jobs.progress import Stage, announce
from workflows.structures.crystal import bulk_key
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from stores.learning.model_card import ModelCard
    from stores.surfaces import SurfaceStore
    from workflows.flows.chosen_slabs import ChosenSlabs
    from workflows.flows.learning.suggestion import Suggestion
    from workflows.flows.surface import SurfaceMaker

LABEL = "active learning"


@dataclass
class StoppingRule:
    """Stopping criteria; whichever is met first."""

    rounds: int = 5  # largest number of batches
    # stop when the champion's mean absolute error on the hold-out is at most this, by target, in its unit;
    # for all targets that are named
    errors: dict[str, float] = field(default_factory=dict)
    # stop when no candidate's standard deviation is above this, by target, in its unit
    sigmas: dict[str, float] = field(default_factory=dict)
    slabs: int | None = None  # largest number of slabs of all rounds together
    core_hours: float | None = None  # largest estimated cost of all rounds together


@dataclass
class ActiveLearningMaker(Maker):
    """Rounds of refresh, suggestion and computation.

    1. Refresh the model (`RefreshMaker`).
    2. Stop if a criterion is met; else choose a batch and store it.
    3. Compute it (`ChosenSlabsMaker`), and start again with step 1.

    Without a model, as long as there are too few records, the batch is chosen at random; so it is where the
    strategy cannot choose (a single network that is equally sure of all). Made again after an interruption,
    the flow finishes the batch that was chosen, and counts the rounds that were made before.

    Parameters
    ----------
    surface_maker
        Engine, store and slab settings; rounds are counted by the campaign's name.
    refresh
        Of the same store.
    batch
        Slabs of a round.
    strategy
        One of `model.selection.acquisition.STRATEGIES`.
    maximise, minimise
        Of the strategy ``improvement``.
    per_cost
        Divide the score by the cost.
    stop
        Stopping criteria.
    """

    surface_maker: SurfaceMaker
    refresh: RefreshMaker
    batch: int = 20
    strategy: str = "diverse"
    maximise: tuple[str, ...] = ()
    minimise: tuple[str, ...] = ()
    per_cost: bool = False
    stop: StoppingRule = field(default_factory=StoppingRule)
    name: str = "active learning"

    def make(
        self,
        structures: Sequence[Structure],
        provenances: Sequence[dict[str, Any]],
        miller_indices: Sequence[list[tuple[int, int, int]] | None] | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        structures
            Bulk crystals whose slabs are candidates.
        provenances
            One for each.
        miller_indices
            For each the requested facets, or None for all.

        Returns
        -------
        Flow
            Its output is ``{"rounds", "reason"}``: the number of rounds in all, and why it stopped.

        Raises
        ------
        InputError
            If there is no such strategy, or the targets do not go with it.
        """
        from workflows.flows.learning.suggestion import AcquisitionSettings

        AcquisitionSettings(self.batch, self.strategy, self.maximise, self.minimise)  # checks them
        world = [
            [structure, dict(provenance), facets]
            for structure, provenance, facets in zip(
                structures, provenances, miller_indices or [None] * len(structures), strict=True
            )
        ]
        learn = self.refresh.make()
        step = _after_all(next_round(self, world, learn.output))
        return Flow([learn, step], output=step.output, name=self.name)


@job(name="next round")
def next_round(maker: ActiveLearningMaker, world: list[list[Any]], learned: Any, finished: int = 0) -> Any:
    """Stop, or replace this job by the calculations of a batch, a refresh and the next round.

    `learned` only orders the jobs; `finished` is the round that was computed.
    """
    entries = [
        CampaignStructure(formula, structure, Provenance(**provenance), facets, formula)
        for structure, provenance, facets in world
        for formula in [mg_first_formula(structure.composition)]
    ]
    now: Round | None
    with open_store(maker.surface_maker.context.store) as store:
        before = rounds_of(store, maker.surface_maker.context.campaign)
        open_round = before[-1] if before and not before[-1].done else None
        if open_round is not None and open_round.number == finished:
            finish_round(store, open_round)
            open_round = None
        if open_round is not None and not _still_there(open_round, world):
            _report(
                f"round {open_round.number} was interrupted, and none of its crystals is in the campaign any "
                "more; it is closed"
            )
            finish_round(store, open_round)
            open_round = None
        if open_round is not None:
            now, reason = open_round, ""
            _report(f"resuming round {now.number}, which was interrupted")
            left = _still_there(now, world)
            if lost := len(now.slabs) - len(left):
                _report(
                    f"{lost} of its {len(now.slabs)} slabs are left out: their crystals are not in the "
                    "campaign any more"
                )
        else:
            now, reason = _choose(maker, entries, store, before)
    if now is None:
        _report(f"stopped after {pluralize(len(before), 'round')}: {reason}")
        return Response(output={"rounds": len(before), "reason": reason})
    return Response(replace=_round(maker, world, now))


def _still_there(now: Round, world: list[list[Any]]) -> list[ChosenSlab]:
    """Return the slabs of a round whose crystals the campaign has."""
    there = {bulk_key(structure) for structure, _, _ in world}
    return [slab for slab in now.slabs if slab.bulk_key in there]


def _round(maker: ActiveLearningMaker, world: list[list[Any]], now: Round) -> Flow:
    chosen: ChosenSlabs = {}
    for slab in _still_there(now, world):
        chosen.setdefault(slab.bulk_key, []).append((slab.miller_index, slab.termination_key))
    mine: dict[str, tuple[Structure, dict[str, Any]]] = {}
    for structure, provenance, _ in world:
        mine.setdefault(bulk_key(structure), (structure, provenance))
    structures, provenances = zip(*(mine[key] for key in chosen), strict=True)
    values = {one.name: getattr(maker.surface_maker, one.name) for one in fields(maker.surface_maker)}
    name = f"round {now.number}"
    compute = CampaignMaker(ChosenSlabsMaker(**values, chosen=chosen), name=name).make(
        list(structures), list(provenances)
    )
    learn = maker.refresh.make([job.output for job in compute.jobs])
    step = _after_all(next_round(maker, world, learn.output, now.number))
    return Flow([compute, learn, step], output=step.output, name=name)


def _choose(
    maker: ActiveLearningMaker, entries: list[CampaignStructure], store: SurfaceStore, before: list[Round]
) -> tuple[Round | None, str]:
    """Choose a batch and store it; None with the reason if a stopping criterion is met."""
    from workflows.flows.enumeration.cost import calibrated
    from workflows.flows.learning.suggestion import (
        AcquisitionSettings,
        ModelMetadata,
        metadata_of,
        suggest_slabs,
        worth_learning,
    )

    stop = maker.stop
    if len(before) >= stop.rounds:
        return None, f"{stop.rounds} rounds were requested"
    found = update_candidates_of(store, maker.surface_maker, entries)
    if not found.ids:
        return None, "every slab of the campaign is computed"
    update_predictions(store)
    documents = list(candidates_by_id(store, found.ids))
    card = ModelRegistry(store).champion()
    split = str(card.config.get("split", "")) if card else ""
    if reason := _good_enough(
        stop, card, worth_learning(documents, AcquisitionSettings(1, maker.strategy), split)
    ):
        return None, reason
    n, budget, reason = _allowance(maker, before)
    if reason:
        return None, reason

    method = maker.surface_maker.context.make_engine().method()
    targets, metadata, strategy = [], ModelMetadata(), "random"
    if card is not None:
        strategy = maker.strategy
        targets = list(next((d["predictions"] for d in documents if d["predictions"]), ()))
        metadata = metadata_of(card.name, store, targets, method.fingerprint)
    aims = (maker.maximise, maker.minimise) if strategy == "improvement" else ((), ())
    acquisition = AcquisitionSettings(n, strategy, *aims, maker.per_cost, budget, seed=len(before))
    cost = calibrated(method, store)
    try:
        suggestion = suggest_slabs(store, documents, targets, acquisition, cost, metadata)
    except InputError as error:  # nobody is there to choose another
        _report(f"drawn at random, because {error}")
        strategy = "random"
        acquisition = AcquisitionSettings(
            n, strategy, per_cost=maker.per_cost, budget=budget, seed=len(before)
        )
        suggestion = suggest_slabs(store, documents, targets, acquisition, cost, metadata)
    if not suggestion.chosen:
        return None, _why_none(suggestion)
    number = len(before) + 1
    campaign = maker.surface_maker.context.campaign
    now = Round(
        id=f"{campaign}-{number}",
        campaign=campaign,
        number=number,
        strategy=strategy,
        model=card.name if card else "",
        slabs=[
            ChosenSlab(
                bulk_key=one.candidate["bulk_key"],
                miller_index=one.candidate["miller_index"],
                termination_key=one.candidate["termination_key"],
                reason=one.reason,
            )
            for one in suggestion.chosen
        ],
        core_hours=sum(one.core_hours for one in suggestion.chosen),
    )
    if not begin_round(store, now):
        return None, f"another process began round {number} of {campaign}"
    by = f"by {card.name}, {strategy}" if card else "at random, for want of a model"
    _report(f"round {number}: {len(now.slabs)} of {pluralize(suggestion.n_pool, 'slab')} chosen {by}")
    if suggestion.n_never_train:
        _report(f"{suggestion.n_never_train} others are of compounds that validate or are held out")
    return now, ""


def _why_none(suggestion: Suggestion) -> str:
    if suggestion.n_hopeless:
        return f"none of the {suggestion.n_hopeless} slabs left has a chance to beat the best known values"
    if suggestion.n_pool:
        return "no slab fits into what is left of the budget"
    if suggestion.n_unpredicted:
        others = ", and the others are of compounds that never train" if suggestion.n_never_train else ""
        return f"the model cannot take {suggestion.n_unpredicted} of the slabs that are left{others}"
    return "the compounds of all slabs that are left validate or are held out and never train"


def _good_enough(stop: StoppingRule, card: ModelCard | None, documents: list[dict[str, Any]]) -> str:
    """Return why no further slab is needed; empty if some are."""
    if card is None:
        return ""
    clean = not stop.errors or seen_by(card) == frozenset()  # else the error is smaller than it should be
    held = card.metrics.get(HOLDOUT, {}) if clean else {}
    errors = {name: held[name]["test"]["mae"] for name in stop.errors if name in held}
    if stop.errors and all(name in errors and errors[name] <= most for name, most in stop.errors.items()):
        words = ", ".join(f"{name} {value:.4g}" for name, value in errors.items())
        return f"the error of {card.name} on the hold-out is small enough ({words})"
    sigmas = {
        name: max(_sigma(d["predictions"][name]) for d in documents if name in d["predictions"])
        for name in stop.sigmas
        if any(name in d["predictions"] for d in documents)
    }
    if stop.sigmas and all(name in sigmas and sigmas[name] <= most for name, most in stop.sigmas.items()):
        words = ", ".join(f"{name} {value:.4g}" for name, value in sigmas.items())
        return f"the largest uncertainty of a candidate is small enough ({words})"
    return ""


def _sigma(predicted: dict[str, Any]) -> float:
    """Return a standard deviation; infinite for a model without one."""
    return float("inf") if predicted["sigma"] is None else float(predicted["sigma"])


def _allowance(maker: ActiveLearningMaker, before: list[Round]) -> tuple[int, float | None, str]:
    """Return the slabs and core-hours left for the next round, or why there is none."""
    stop, n, budget = maker.stop, maker.batch, None
    if stop.slabs is not None:
        n = min(n, stop.slabs - sum(len(one.slabs) for one in before))
        if n <= 0:
            return 0, None, f"the budget of {stop.slabs} slabs is used up"
    if stop.core_hours is not None:
        budget = stop.core_hours - sum(one.core_hours for one in before)
        if budget <= 0:
            return 0, None, f"the budget of {stop.core_hours:g} core-hours is used up"
    return n, budget, ""


def _after_all(step: Any) -> Any:
    step.config = JobConfig(on_missing_references=OnMissing.NONE)
    return step


def _report(text: str) -> None:
    announce(Stage.NOTE, LABEL, text=text)
