"""Predictions for slabs, crystals and compositions with their uncertainty and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from model.compositions.composition import PlainComposition
from model.evaluation.calibration import NORMAL_QUANTILE
from model.evaluation.chunks import in_chunks
from model.graphs.bulk_graph import PlainBulk
from model.graphs.cache import GraphCache
from model.graphs.graph import THICK_ENOUGH, SlabGraph
from model.graphs.slab_frame import PlainSlab
from stores.errors import InputError
from stores.structures.vacuum import vacuum_directions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from model.data.model_input import ModelInput
    from model.training.ensemble import Ensemble

    Document = dict[str, Any]


ESTIMATED_LATTICE = "estimated lattice"
"""Warning of a slab whose crystal has a lattice that was neither computed nor measured."""

_ROUNDING = 0.01  # of a thickness that is compared (A)
_MANY = 4096  # the same of compositions, which need no graphs

PLURALS = {"slab": "slabs", "bulk": "crystals", "composition": "compositions"}
"""What a model is trained on, by kind."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A slab, crystal or composition that is to be predicted."""

    name: str  # for people: a file name, a facet, a record id
    slab: PlainSlab | PlainComposition  # a slab as cut from the crystal, not relaxed
    formula: str  # of the compound; of the slab where the compound is not known
    # plane, termination: Miller index and outermost layer, as people write them; empty where unknown
    plane: str = ""
    termination: str = ""
    lattice_is_guess: bool = False  # true if the crystal's lattice was estimated, not computed or measured


@dataclass(frozen=True)
class SlabPrediction:
    """What is predicted for a candidate."""

    # name, formula, plane, termination, lattice_is_guess: of the candidate
    name: str
    formula: str
    plane: str
    termination: str
    lattice_is_guess: bool
    n_atoms: int  # of its cell; 0 of a composition
    # values, sigmas: by target, in its unit: mean and standard deviation. The 90 % interval is `interval`
    values: dict[str, float]
    sigmas: dict[str, float]
    # from the training slabs; above one the slab is unlike them, see `model.evaluation.metrics.Predictions`
    distance: float
    warnings: tuple[str, ...]  # each a reason to trust the numbers less, in words
    place: tuple[float, ...] = ()  # in the embedding, see `model.evaluation.familiarity.TrainingMap.place`
    # by target that is no quantity: the probability of each class by its name, the likeliest first
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    # by target, standard deviation of the part of the error that all slabs of the compound share, see
    # `model.evaluation.joint_errors`; empty where the model does not know it
    shared: Mapping[str, float] = field(default_factory=dict)
    trained: bool = False  # whether the model knows that its training set has slabs of the compound

    def interval(self, target: str) -> tuple[float, float]:
        """Return both ends of the 90 % interval."""
        half = NORMAL_QUANTILE * self.sigmas[target]
        return self.values[target] - half, self.values[target] + half


@dataclass(frozen=True)
class Refusal:
    """A candidate that is no slab, and why."""

    name: str
    reason: str


def predict_slabs(
    ensemble: Ensemble,
    candidates: Iterable[Candidate],
    *,
    workers: int = 1,
    cache: GraphCache | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[SlabPrediction], list[Refusal]]:
    """Predict slabs.

    Parameters
    ----------
    candidates
        Read one after the other, so that a long folder need not be held at once.
    workers
        Threads, where there are enough slabs for it to pay, see `model.evaluation.chunks`.
    cache
        Where graphs are searched and kept; None builds all.
    progress
        Called with the number of slabs done.

    Returns
    -------
    predictions, refusals
        In the order of the candidates. Refused is what is of a kind, slab or crystal, that the model was not
        trained on.
    """
    found: list[SlabPrediction] = []
    refused: list[Refusal] = []
    for some, others in predict_in_chunks(ensemble, candidates, workers=workers, cache=cache):
        found += some
        refused += others
        if progress is not None:
            progress(len(found) + len(refused))
    return found, refused


def predict_in_chunks(
    ensemble: Ensemble,
    candidates: Iterable[Candidate],
    *,
    workers: int = 1,
    cache: GraphCache | None = None,
) -> Iterator[tuple[list[SlabPrediction], list[Refusal]]]:
    """Predict slabs as `predict_slabs` does, and yield what is done so that none of it is held."""
    trained = ensemble.trained_kinds

    def finish(
        chunk: Sequence[Candidate], graphs: Sequence[SlabGraph | str]
    ) -> tuple[list[SlabPrediction], list[Refusal]]:
        reasons = [_untrained(c, trained) or g for c, g in zip(chunk, graphs, strict=True)]
        good = [(c, g) for c, g in zip(chunk, reasons, strict=True) if not isinstance(g, str)]
        refused = [Refusal(c.name, g) for c, g in zip(chunk, reasons, strict=True) if isinstance(g, str)]
        return _predicted(ensemble, good), refused

    return in_chunks(
        candidates, lambda one: cast("PlainSlab", one.slab), finish, ensemble.graph_settings, workers, cache
    )


def predict_compositions(
    ensemble: Ensemble, candidates: Iterable[Candidate], *, progress: Callable[[int], None] | None = None
) -> list[SlabPrediction]:
    """Predict compositions, in their order; arguments as of `predict_slabs`.

    Raises InputError if the model was not trained on compositions.
    """
    found: list[SlabPrediction] = []
    rest = iter(candidates)
    trained = ensemble.trained_kinds
    while chunk := list(islice(rest, _MANY)):
        if (reason := _untrained(chunk[0], trained)) is not None:
            raise InputError(reason)
        found += _predicted(ensemble, [(one, cast("PlainComposition", one.slab)) for one in chunk])
        if progress is not None:
            progress(len(found))
    return found


def _untrained(candidate: Candidate, trained: Collection[str]) -> str | None:
    """Return why a model trained on these kinds does not predict a candidate; None if it does."""
    if (kind := kind_of_plain(candidate.slab)) in trained:
        return None
    given, taken = {**PLURALS, "bulk": "bulk crystals"}, " and ".join(PLURALS[one] for one in sorted(trained))
    learned = "bulk crystals" if taken == "crystals" else taken
    return f"the model was trained on {learned} only, not on {given[kind]}; give {taken}, or another --model"


def check_predicts_slabs(ensemble: Ensemble) -> None:
    """Refuse a model that predicts no quantity of slabs; `InputError` names what it was trained on."""
    if "slab" not in ensemble.trained_kinds:
        learned = "compositions" if "composition" in ensemble.trained_kinds else "bulk crystals"
        raise InputError(
            f"the model ({', '.join(ensemble.targets)}) was trained on {learned} only and predicts no "
            "slabs; name a model of slabs"
        )


def kind_of_plain(structure: PlainSlab | PlainComposition) -> str:
    """Return whether a structure is given as ``slab`` or as ``bulk``, or is a ``composition``."""
    if isinstance(structure, PlainComposition):
        return "composition"
    return "bulk" if isinstance(structure, PlainBulk) else "slab"


def plain_structure(structure: Structure, ensemble: Ensemble) -> PlainSlab:
    """Return a structure of a file as what a model may predict: a slab, or a bulk crystal.

    A model of crystals alone takes everything as a crystal, a model of slabs alone as a slab; one of both
    takes what has no vacuum as a crystal.
    """
    trained = ensemble.trained_kinds
    slab = PlainSlab.from_structure(structure)
    if trained == {"slab"} or (
        "slab" in trained and vacuum_directions(slab.lattice, slab.fractional - np.floor(slab.fractional))
    ):
        return slab
    return PlainBulk(slab.numbers, slab.lattice, slab.fractional)


def _predicted(ensemble: Ensemble, good: Sequence[tuple[Candidate, ModelInput]]) -> list[SlabPrediction]:
    numbers, places = ensemble.predict_placed([graph for _, graph in good])
    return [
        SlabPrediction(
            name=candidate.name,
            formula=candidate.formula,
            plane=candidate.plane,
            termination=candidate.termination,
            lattice_is_guess=candidate.lattice_is_guess,
            n_atoms=0 if isinstance(candidate.slab, PlainComposition) else len(candidate.slab.numbers),
            values={name: float(values[i]) for name, values in numbers.mean.items()},
            sigmas={name: float(values[i]) for name, values in numbers.sigma.items()},
            distance=float(numbers.distance[i]),
            warnings=_warnings(ensemble, candidate, graph, float(numbers.distance[i])),
            place=tuple(places[i].tolist()),
            classes={
                name: dict(
                    sorted(
                        zip(ensemble.class_names[name], shares[i].tolist(), strict=True),
                        key=lambda pair: -pair[1],
                    )
                )
                for name, shares in numbers.probabilities.items()
            },
            shared={name: float(values[i]) for name, values in numbers.shared.items()},
            trained=numbers.trained is not None and bool(numbers.trained[i]),
        )
        for i, (candidate, graph) in enumerate(good)
    ]


def _warnings(
    ensemble: Ensemble, candidate: Candidate, graph: ModelInput, distance: float
) -> tuple[str, ...]:
    """Reasons to trust a prediction less."""
    from ase.data import chemical_symbols

    symbols = {chemical_symbols[z] for z in graph.numbers.tolist()}
    unseen = sorted(symbols - set(ensemble.elements))
    found = []
    if unseen:
        found.append(f"{', '.join(unseen)} not in the training set")
    kind = kind_of_plain(candidate.slab)
    if distance > 1:
        found.append(f"unlike the training {PLURALS[kind]} (distance {distance:.1f})")
    if foreign := [name for name, kinds in ensemble.kinds.items() if kind not in kinds]:
        found.append(f"{', '.join(foreign)} was not trained on {PLURALS[kind]}")
    if candidate.lattice_is_guess:
        found.append(ESTIMATED_LATTICE)
    if kind == "slab" and isinstance(graph, SlabGraph) and (thin := _thin(ensemble, graph)) is not None:
        found.append(thin)
    return tuple(found)


def _thin(ensemble: Ensemble, graph: SlabGraph) -> str | None:
    """Return why the thickness of a slab is a reason to trust its prediction less."""
    least = ensemble.graph_settings.min_thickness
    if graph.thickness < least - _ROUNDING:
        return (
            f"only {graph.thickness:.1f} A thick: it does not show how its crystal continues to {least:g} A"
        )
    mean_over_all = getattr(ensemble.members[0].network.config, "pooling", "") == "mean"
    if mean_over_all and not least and graph.thickness < THICK_ENOUGH - _ROUNDING:
        return (
            f"only {graph.thickness:.1f} A thick, and this model averages over all atoms of slabs as they "
            f"are: train it again to have them thickened to {THICK_ENOUGH:g} A"
        )
    return None
