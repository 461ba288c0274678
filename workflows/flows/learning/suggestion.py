"""Suggestion of the candidates to compute next, and metadata of a model that need no loading of it."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.formula_key import formula_key
from model.data.splits import HOLDOUT, part_of
from model.selection.acquisition import ALIKE, LEAST_CHANCE, check_strategy, choose
from model.selection.improvement import Objective
from model.selection.pool import Known, pool_of
from model.training.checked_json import read_json
from stores.errors import InputError
from stores.labelled import labelled_slabs
from stores.learning.model_card import is_version, or_the_folder
from stores.learning.registry import ModelRegistry
from stores.learning.snapshots import find_snapshot, list_snapshots
from stores.method_names import is_dft, quantity_of
from workflows.flows.learning.candidates import slab_core_hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from stores.labelled import LabelledSlab
    from stores.records import Method
    from stores.surfaces import SurfaceStore
    from workflows.flows.enumeration.cost import CostModel

    Document = dict[str, Any]


DEFAULT_OBJECTIVE = (("work_function",), ("surface_energy",))
"""Targets maximised and minimised by default: electrons leave, yet the facet is stable."""

AFTER_UNCERTAINTY = ("uncertain", "diverse")  # strategies that choose where the model is most uncertain


@dataclass(frozen=True)
class AcquisitionSettings:
    """Settings of the choice of a batch.

    Raises
    ------
    InputError
        For settings that make no sense whatever the candidates are.
    """

    n: int  # slabs
    strategy: str  # one of `model.selection.acquisition.STRATEGIES`
    # maximise, minimise: targets of the strategy ``improvement``; `DEFAULT_OBJECTIVE` if neither is given
    maximise: tuple[str, ...] = ()
    minimise: tuple[str, ...] = ()
    per_cost: bool = False  # divide the score by the cost
    budget: float | None = None  # largest sum of core-hours
    seed: int = 0  # of the strategy ``random``
    # choose for their uncertainty also slabs of compounds that the model would never train on
    any_part: bool = False

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        if (self.maximise or self.minimise) and self.strategy != "improvement":
            raise InputError(
                f"--maximise and --minimise go with --strategy improvement, not {self.strategy}; "
                "leave them out or change the strategy"
            )
        if self.budget is not None and not 0 < self.budget < np.inf:
            raise InputError(f"--budget: {self.budget:g} core-hours buy nothing; give a number above 0")


@dataclass(frozen=True)
class Suggested:
    """A candidate that was chosen: the document, what it costs (core-hours), its score and why."""

    candidate: Document
    core_hours: float
    score: float
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """A batch."""

    chosen: list[Suggested]  # the best first
    n_pool: int  # candidates that could be chosen
    n_unpredicted: int  # candidates without predictions, which only ``random`` chooses from
    cheapest: float  # core-hours of the cheapest candidate; NaN without any
    n_never_train: int = 0  # candidates that were left out, see `worth_learning`
    # affordable candidates that were left out for want of a chance to improve, see
    # `model.selection.acquisition.LEAST_CHANCE`
    n_hopeless: int = 0


@dataclass(frozen=True)
class ModelMetadata:
    """Training data of a model."""

    # fingerprint of the method of each target, where it is known
    methods: Mapping[str, str] = field(default_factory=dict)
    # [m, D] of training slabs in the embedding; empty where they are not loaded
    places: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    split: str = ""  # of the training; empty where it is not known


def suggest_slabs(
    store: SurfaceStore,
    documents: Sequence[Document],
    targets: Sequence[str],
    acquisition: AcquisitionSettings,
    cost: CostModel,
    metadata: ModelMetadata,
) -> Suggestion:
    """Choose among candidates.

    Parameters
    ----------
    store
        Its accepted values are what an improvement must beat.
    documents
        The candidates, predicted unless the strategy is ``random``.
    targets
        Of the model.
    acquisition
        Its settings.
    cost
        Estimates core-hours.
    metadata
        Of the model; `store`'s values of methods other than its own are not compared with.

    Raises
    ------
    InputError
        If the strategy lacks what it needs, or the objective is no target.
    """
    before = len(documents)
    documents = worth_learning(documents, acquisition, metadata.split)
    hours = [slab_core_hours(cost, document) for document in documents]
    usable = [i for i, d in enumerate(documents) if set(targets) <= set(d["predictions"])]
    options: dict[str, Any] = {}
    if acquisition.strategy == "random":  # whether predicted or not
        blind = [{**d, "place": [], "predictions": {}} for d in documents]
        chosen_from, pool = list(range(len(documents))), pool_of(blind, (), hours)
    else:
        chosen_from = usable
        pool = pool_of([documents[i] for i in usable], targets, [hours[i] for i in usable])
        values = known_values(store, targets, metadata.methods)
        fits = metadata.places.shape[1] == pool.features.shape[1]
        places = metadata.places if fits else np.zeros((0, pool.features.shape[1]))
        options = {
            "known": Known(values, places),
            "scale": _spreads(values),
            "length": ALIKE,
            "least_chance": LEAST_CHANCE,
        }
    if acquisition.strategy == "improvement":
        options["objective"] = _objective(acquisition, targets, cost.method)
    choices = choose(
        pool,
        acquisition.n,
        acquisition.strategy,
        seed=acquisition.seed,
        per_cost=acquisition.per_cost,
        budget=acquisition.budget,
        **options,
    )
    found = [
        Suggested(documents[i], hours[i], choice.score, choice.reason)
        for choice in choices
        for i in [chosen_from[choice.index]]
    ]
    return Suggestion(
        found,
        len(chosen_from),
        len(documents) - len(usable),
        min((hours[i] for i in chosen_from), default=float("nan")),
        before - len(documents),
        _hopeless(pool.cost, [choice.index for choice in choices], acquisition),
    )


def _hopeless(cost: NDArray[np.float64], taken: Sequence[int], acquisition: AcquisitionSettings) -> int:
    """Count the affordable candidates that ``improvement`` left although more were wanted."""
    if acquisition.strategy != "improvement" or len(taken) >= acquisition.n:
        return 0
    left = np.inf if acquisition.budget is None else acquisition.budget - cost[list(taken)].sum()
    return int(np.count_nonzero(np.delete(cost, taken) <= left))


def worth_learning(
    documents: Sequence[Document], acquisition: AcquisitionSettings, split: str
) -> list[Document]:
    """Return the candidates that can reduce the uncertainty of a model, if a strategy is for that.

    A model trained by the fixed `split` (`model.data.splits`) never trains on compounds that validate or are
    held out: computing them would not make it surer.
    """
    if acquisition.any_part or acquisition.strategy not in AFTER_UNCERTAINTY or split != HOLDOUT:
        return list(documents)
    return [d for d in documents if part_of(formula_key(d["formula"], d["chemsys"], None)) == "train"]


def known_values(
    store: SurfaceStore, targets: Sequence[str], methods: Mapping[str, str]
) -> NDArray[np.float64]:
    """Return the accepted values [m, T] of targets, each by its method; NaN where a slab has none."""
    rows = [_row(slab, targets, methods) for slab in labelled_slabs(store, with_slabs=False)]
    values = np.array(rows, dtype=float).reshape(len(rows), len(targets))
    return np.asarray(values[np.isfinite(values).any(axis=1)])


def methods_of_labels(slabs: Iterable[LabelledSlab], targets: Sequence[str]) -> dict[str, str]:
    """Return the method that most of these labels have, by target."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in targets}
    for slab in slabs:
        for name in targets:
            if quantity_of(name) in slab.targets:
                counts[name][slab.method] += 1
    return {name: count.most_common(1)[0][0] for name, count in counts.items() if count}


def _row(slab: LabelledSlab, targets: Sequence[str], methods: Mapping[str, str]) -> list[float]:
    return [
        slab.targets.get(quantity_of(name), np.nan) if methods.get(name) == slab.method else np.nan
        for name in targets
    ]


def _spreads(values: NDArray[np.float64]) -> list[float] | None:
    """Return the standard deviation of each target over known slabs; None with fewer than two."""
    if not len(values) or (np.isfinite(values).sum(axis=0) < 2).any():
        return None
    return [float(x) for x in np.nanstd(values, axis=0)]


def _objective(acquisition: AcquisitionSettings, targets: Sequence[str], method: Method) -> Objective:
    maximise, minimise = acquisition.maximise, acquisition.minimise
    if not maximise and not minimise:
        there = {quantity_of(name) for name in targets}
        maximise, minimise = (tuple(n for n in names if n in there) for names in DEFAULT_OBJECTIVE)
    own = (method.family, method.fingerprint, method.whole_fingerprint)
    heads = [[_head(name, targets, own) for name in names] for names in (maximise, minimise)]
    return Objective.of(targets, *heads)


def _head(name: str, targets: Sequence[str], methods: Sequence[str]) -> str:
    """Return the model's head for a target: its own name, else that of the campaign's method."""
    heads = (name, *(f"{name}@{method}" for method in methods))
    return next((head for head in heads if head in targets), name)


def version_of(model: str, store: SurfaceStore) -> str:
    """Return the name that is kept with predictions: v3, or for a folder a hash of its files.

    `model` is ``champion``, ``latest``, ``v3``, or a folder with a trained model (``./v3`` if it has such a
    name). Raises `InputError` if there is no such version.
    """
    folder = Path(model)
    if is_version(model) or not folder.is_dir():
        with or_the_folder(model):
            return f"v{ModelRegistry(store).resolve(model)}"
    return folder_version(folder)


def folder_version(folder: Path) -> str:
    """Return the name of the model in a folder: a hash of its files."""
    place = folder if (folder / "manifest.json").is_file() else folder / "model"
    digest = hashlib.sha256()
    for file in sorted(place.glob("*")):
        if file.suffix in (".json", ".pt"):
            digest.update(file.name.encode() + file.read_bytes())
    return f"folder-{digest.hexdigest()[:12]}"


def metadata_of(model: str, store: SurfaceStore, targets: Sequence[str], default: str) -> ModelMetadata:
    """Return the split of a model's training and the methods of its labels, without loading the model.

    The methods are those of its snapshot; else of the records that its training lists, as they are in the
    store; else `default`.

    Parameters
    ----------
    model
        See `version_of`.
    store
        Of snapshot and records.
    targets
        Of the model.
    default
        Fingerprint for targets of unknown method.
    """
    folder = Path(model)
    if folder.is_dir() and not is_version(model):
        snapshot, split, records = _of_folder(folder)
    else:
        registry = ModelRegistry(store)
        card = registry.card(registry.resolve(model))
        snapshot, split, records = card.snapshot, str(card.config.get("split", "")), set()
    found = {name: name.partition("@")[2] for name in targets if "@" in name}
    if snapshot is not None and any(one.id == snapshot for one in list_snapshots(store)):
        heads = {head.name: head.method for head in find_snapshot(store, snapshot).heads}
        found |= {name: heads[name] for name in targets if name in heads}
    if any(name not in found for name in targets):
        slabs = [
            slab
            for slab in labelled_slabs(store, with_slabs=False)
            if (slab.record_id in records if records else is_dft(slab.method))
        ]
        found = methods_of_labels(slabs, [name for name in targets if quantity_of(name) == name]) | found
    return ModelMetadata({name: found.get(name, default) for name in targets}, split=split)


def _of_folder(folder: Path) -> tuple[str | None, str, set[str]]:
    """Return snapshot and split of a training, as far as known, and the ids of its records."""
    path, table = folder / "run.json", folder / "predictions.csv"
    try:
        run = read_json(path) if path.is_file() else {}
        settings = run.get("settings")
        split = str(settings.get("split", "")) if isinstance(settings, dict) else ""
        records = set()
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                records = {row["record_id"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"{folder}: what was trained there cannot be read ({error}); train again") from error
    return run.get("snapshot"), split, records
