"""Trees and a Gaussian process on descriptors, and their blend with the networks of an ensemble.

Descriptors are of a whole slab or bulk crystal, networks see its atoms. The three err differently, so that
their mean errs less; their blend weights are fitted on the validation set. Slabs with elements that the
training set lacks have weights and a process of their own (`model.baselines.unseen_elements`). A data set of
both kinds has trees and processes for each (`model.baselines.kinds`).
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.baselines.blend_weights import RULES, USUAL, fit_blend_weights, least_error
from model.baselines.bulk_descriptors import bulk_column_names, bulk_columns
from model.baselines.candidates import FitSettings
from model.baselines.carried_rows import MARGIN, LabelledRows
from model.baselines.composition_descriptors import composition_descriptor_names, describe_compositions
from model.baselines.compounds import CompoundTable, with_other_elements
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import NO_COMPOUND, GaussianProcess
from model.baselines.label_ranks import RankedProcess
from model.baselines.slab_columns import slab_column_names, slab_columns
from model.baselines.tree_columns import columns_of
from model.baselines.unseen_elements import Folds, Sample, UnseenElements, fit_unseen
from model.data.model_input import graphs_among
from model.evaluation.joint_errors import correlation_left
from model.evaluation.metrics import labels
from model.network.convolution import edge_threads
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.data.model_input import ModelInput

    Array = NDArray[np.float64]

LEAST_GAIN = 0.01
"""Predictions of a source are descriptors only where the validation error falls by more than this share: the
model must keep the source's network then, and what it has seen in training it predicts too well."""


@dataclass(frozen=True)
class Description:
    """Descriptors of inputs of one kind."""

    names: Callable[[int], tuple[str, ...]]  # of the descriptors, of which a model has so many
    of: Callable[[Sequence[Any]], NDArray[np.float32]]  # [n, D] of n graphs, or compositions


DESCRIPTIONS = {
    "slab": Description(slab_column_names, slab_columns),
    "bulk": Description(bulk_column_names, bulk_columns),
    "composition": Description(composition_descriptor_names, describe_compositions),
}
"""By kind of input, see `model.data.dataset.kind_of`."""


@dataclass(frozen=True, eq=False)
class Blended:
    """Predictions of networks, trees and process together for n slabs: [n] by target."""

    mean: dict[str, Array]  # in the target's unit
    deviation: dict[str, Array]  # standard deviation over the trees; targets with trees only
    # sigma: calibrated standard deviation where a slab has unseen elements, else NaN; correlation: between
    # the errors of two slabs of its compound. Targets only that the model knows them of
    sigma: dict[str, Array] = field(default_factory=dict)
    correlation: dict[str, Array] = field(default_factory=dict)
    # [n], whether the training set has slabs of the compound; None where the model cannot tell
    trained: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class _FittedTarget:
    """What is fitted for one target, see `DescriptorModels`; held_out: [folds, n] of the validation set."""

    forest: Forest
    process: GaussianProcess | RankedProcess
    shares: tuple[float, float, float]
    held_out: Array
    unseen: UnseenElements | None = None


@dataclass(frozen=True, eq=False)
class DescriptorModels:
    """Trees and a Gaussian process, on structures of one kind, for those targets that have enough labels."""

    # forests, processes: by target, the same in both
    forests: dict[str, Forest]
    processes: dict[str, GaussianProcess | RankedProcess]
    # by target: of networks, trees and process, in this order; they sum to 1
    shares: dict[str, tuple[float, float, float]]
    # of the training slabs, and for slabs with other elements than theirs by target; None and empty in files
    # of older versions, with few chemical systems and for bulk crystals
    compounds: CompoundTable | None = None
    unseen: dict[str, UnseenElements] = field(default_factory=dict)
    kind: str = "slab"  # a key of `DESCRIPTIONS`
    rows: LabelledRows | None = None  # for models fine-tuned from this one; None in files of older versions
    sources: int = 0  # S, columns of a source's predictions behind the descriptors; see `fit`

    @classmethod
    def fit(
        cls,
        train_part: Dataset,
        val_part: Dataset,
        networks: dict[str, Array],
        trees: int,
        seed: int,
        folds: NDArray[np.intp],
        kind: str = "slab",
        carried: LabelledRows | None = None,
        sources: tuple[Array, Array] | None = None,
    ) -> tuple[Self, dict[str, Array]]:
        """Fit both to the training set, and the blend weights to the validation set.

        Parameters
        ----------
        networks
            Predictions of the networks for the validation set, [n] by target, in its unit.
        trees
            Trees for each target.
        seed
            Of the trees' branches, and of the slabs that a process is given where there are too many.
        folds
            [n] of the validation set, see `model.evaluation.calibration.fold_numbers`.
        kind
            Of all structures of both sets, a key of `DESCRIPTIONS`.
        carried
            Labelled slabs of the model that the networks begin with: those of the same quantity are added to
            the training set, unless the validation set clearly speaks against it.
        sources
            [n, S] of the training, [m, S] of the validation set: what the model that the networks begin with
            predicts for them. They are descriptors, too, of those targets that err less with them on the
            validation set.

        Returns
        -------
        descriptor_models, held_out
            And by target [folds, n]: predictions for the validation set with the weights, and the stage of
            the process, that follow without the labels of each fold.

        Raises
        ------
        InputError
            If scikit-learn is missing.
        """
        graphs = [entry.graph for entry in val_part]
        describe, rule = DESCRIPTIONS[kind].of, RULES.get(kind, USUAL)
        own, validation = training_rows(train_part, tuple(networks), kind), describe(graphs)
        training, numbers = own.descriptors, own.compounds
        table, by_system = None, None
        recognised = np.full(len(graphs), NO_COMPOUND)
        slabs = graphs_among(graphs) if kind == "slab" else []
        if kind == "slab":
            table = CompoundTable.of(graphs_among(e.graph for e in train_part), numbers)
            by_system = Folds.of(train_part)
            recognised = table.recognise(slabs)
        wide, wide_validation = None, validation
        if sources is not None:
            wide = replace(own, descriptors=beside(training, sources[0]))
            wide_validation = beside(validation, sources[1])

        def fit_target(name: str) -> _FittedTarget | None:
            network = networks[name]
            true = labels(val_part, name)
            settings = FitSettings.of(kind, name, own, trees, seed)
            fitted = settings.fit(own, own.labels[name])
            if carried is not None and np.isfinite(others := carried.of_quantity(name)).any():
                both = np.concatenate([own.labels[name], others])
                more = settings.fit(own.joined(carried), both)
                if more is not None and (
                    fitted is None
                    or more.error(validation, recognised, true)
                    <= (1 + MARGIN) * fitted.error(validation, recognised, true)
                ):
                    fitted = more
            if fitted is None:
                return None
            described = validation
            if wide is not None:
                more = replace(settings, columns=None).fit(wide, own.labels[name])
                error = fitted.error(validation, recognised, true)
                if more and more.error(wide_validation, recognised, true) < (1 - LEAST_GAIN) * error:
                    fitted, described = more, wide_validation
            stages = fitted.stages
            by_trees = [forest.predict(described) for forest in fitted.forests]
            means = [mean for mean, _ in by_trees]
            each = [process.predict(described, recognised) for process in fitted.processes]
            rows = []
            for fold in range(int(folds.max(initial=0)) + 1):
                mean = means[least_error(means, true, folds != fold)]
                chosen, (a, b, c) = fit_blend_weights(network, mean, each, true, folds != fold, rule=rule)
                rows.append(a * network + b * mean + c * each[chosen])
            place = least_error(means, true)
            mean, deviation = by_trees[place]
            chosen, weights = fit_blend_weights(network, mean, each, true, rule=rule)
            a, b, c = weights
            done = _FittedTarget(fitted.forests[place], fitted.processes[chosen], weights, np.stack(rows))
            if by_system is None:
                return done
            known = by_system.known_elements(np.isfinite(labels(train_part, name)))
            foreign = with_other_elements(slabs, known)
            found = fit_unseen(
                stages[:1] if chosen == 0 else (stages[0], stages[chosen]),
                fitted.sample([entry.compound for entry in train_part]),
                by_system.beside(len(fitted.rows.descriptors)),
                Sample(
                    described[foreign],
                    true[foreign],
                    [entry.compound for entry, out in zip(val_part, foreign, strict=True) if out],
                    recognised[foreign],
                ),
                (mean[foreign], deviation[foreign]),
                (weights, (a * network + b * mean + c * each[chosen])[foreign]),
                seed,
            )
            return replace(done, unseen=found)

        # each target is fitted by one thread: the same numbers with any number of them
        with ThreadPoolExecutor(max(1, min(edge_threads(), len(networks)))) as threads:
            by_target = dict(zip(networks, threads.map(fit_target, networks), strict=True))
        fits = {name: one for name, one in by_target.items() if one is not None}
        forests = {name: one.forest for name, one in fits.items()}
        processes = {name: one.process for name, one in fits.items()}
        shares = {name: one.shares for name, one in fits.items()}
        held_out = {name: one.held_out for name, one in fits.items()}
        unseen = {name: one.unseen for name, one in fits.items() if one.unseen is not None}
        # rows of a rehearsal would count as DFT's in the trainings that they are handed on to
        by_dft = own.without(train_part.rehearsed)
        rest = carried if by_dft is None else by_dft.kept(carried, seed)
        used = any(forest.width > training.shape[1] for forest in forests.values())
        width = sources[0].shape[1] if sources is not None and used else 0
        return cls(forests, processes, shares, table, unseen, kind, rest, width), held_out

    def predict(
        self, networks: dict[str, Array], graphs: Sequence[ModelInput], sources: Array | None = None
    ) -> Blended:
        """Blend the networks' predictions [n] by target for graphs [n] with trees and process.

        sources: [n, S], predictions of the source, see `fit`; needed where the models have such columns.
        """
        narrow = DESCRIPTIONS[self.kind].of(graphs)
        wide = narrow if sources is None else beside(narrow, sources)
        mean, deviation = dict(networks), {}
        slabs = [] if self.compounds is None else graphs_among(graphs)
        recognised = None if self.compounds is None else self.compounds.recognise(slabs)
        strange = None if self.compounds is None else self.compounds.unseen_elements(slabs)
        sigma, correlation = {}, {}
        for name, forest in self.forests.items():
            descriptors = narrow if forest.width == narrow.shape[1] else wide
            trees, deviation[name] = forest.predict(descriptors)
            process = self.processes[name].predict(descriptors, recognised)
            a, b, c = self.shares[name]
            mean[name] = a * networks[name] + b * trees + c * process
            special = self.unseen.get(name)
            if special is None or strange is None or recognised is None:
                continue
            sigma[name] = np.full(len(graphs), np.nan)
            correlation[name] = correlation_left(special.correlation, self._training_slabs(recognised))
            known = special.elements
            own = strange if known is None else with_other_elements(slabs, known)
            if own.any():
                a, b, c = special.shares
                process = special.process.predict(descriptors[own])
                mean[name][own] = a * networks[name][own] + b * trees[own] + c * process
                sigma[name][own] = special.calibration.sigma(0.0, 0.0, deviation[name][own])
        trained = None if recognised is None else recognised != NO_COMPOUND
        return Blended(mean, deviation, sigma, correlation, trained)

    def refitted(self, part: Dataset, seed: int) -> Self:
        """Return the same with trees and process fitted to a set [n], for kinds without compounds.

        Blend weights, and the lengths and noise of the process, stay. seed: of the trees' branches, and of
        the points of the process where there are too many.
        """
        described = DESCRIPTIONS[self.kind].of([entry.graph for entry in part])
        forests, processes = dict(self.forests), dict(self.processes)
        for name, process in self.processes.items():
            true = labels(part, name)
            old = self.forests[name]
            grown = Forest.fit(described, true, len(old.roots), seed, columns_of(old))
            if grown is None or not isinstance(process, GaussianProcess):
                continue
            known = np.flatnonzero(np.isfinite(true))
            points = np.random.default_rng(seed % 2**32).permutation(known)
            forests[name] = grown
            processes[name] = process.refitted(described[points], true[points])
        return replace(self, forests=forests, processes=processes)

    def _training_slabs(self, recognised: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many training slabs each slab's compound has: [n]."""
        assert self.compounds is not None  # it recognised them
        count = Counter(number for numbers in self.compounds.numbers.values() for number in numbers.tolist())
        return np.array([count[number] for number in recognised.tolist()], dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        widths = [forest.width - self.sources for forest in self.forests.values()]
        width = max(widths, default=0) if self.rows is None else self.rows.descriptors.shape[1]
        return {
            "descriptors": list(DESCRIPTIONS[self.kind].names(width)),
            **({} if self.compounds is None else {"compounds": self.compounds.state()}),
            "unseen": {name: special.state() for name, special in self.unseen.items()},
            **({} if self.rows is None else {"rows": self.rows.state()}),
            **({"sources": self.sources} if self.sources else {}),
            "targets": {
                name: {
                    "forest": self.forests[name].state(),
                    "process": self.processes[name].state(),
                    "shares": list(self.shares[name]),
                }
                for name in self.forests
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], kind: str = "slab") -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        try:
            targets = dict(state["targets"])
            shares = {name: tuple(float(v) for v in values["shares"]) for name, values in targets.items()}
            width = len(state["descriptors"])
            known = tuple(state["descriptors"]) == DESCRIPTIONS[kind].names(width)
            parts = {name: (values["forest"], values["process"]) for name, values in targets.items()}
            unseen = {name: dict(values) for name, values in dict(state.get("unseen", {})).items()}
            sources = int(state.get("sources", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its trees and process are damaged ({error})") from error
        if not known:
            raise InputError("its trees and process were made with other descriptors than this version's")
        for name, values in shares.items():
            if len(values) != 3 or min(values) < 0 or not abs(sum(values) - 1) < 1e-6:
                raise InputError(f"the shares of its networks, trees and process in {name} do not sum to 1")
        forests = {name: Forest.from_state(forest) for name, (forest, _) in parts.items()}
        widths = {name: forest.width for name, forest in forests.items()}
        if not set(widths.values()) <= {width, width + sources}:
            raise InputError("its trees do not fit its descriptors")
        processes = {
            name: (RankedProcess if "ranks" in process else GaussianProcess).from_state(process, widths[name])
            for name, (_, process) in parts.items()
        }
        table = CompoundTable.from_state(state["compounds"]) if "compounds" in state else None
        if not set(unseen) <= set(forests) or (unseen and table is None):
            raise InputError("its numbers for unseen elements are of other targets")
        special = {name: UnseenElements.from_state(values, widths[name]) for name, values in unseen.items()}
        rows = LabelledRows.from_state(state["rows"], width) if "rows" in state else None
        return cls(forests, processes, shares, table, special, kind, rows, sources)  # type: ignore[arg-type]  # three each, see above


def training_rows(train_part: Dataset, names: Sequence[str], kind: str) -> LabelledRows:
    """Describe a training set, all of one kind, with its labels of some targets."""
    return LabelledRows(
        DESCRIPTIONS[kind].of([entry.graph for entry in train_part]),
        np.unique([entry.compound for entry in train_part], return_inverse=True)[1].astype(np.int64),
        {name: labels(train_part, name) for name in names},
    )


def beside(descriptors: NDArray[np.float32], sources: Array) -> NDArray[np.float32]:
    """Put the predictions of a source [n, S] behind descriptors [n, D]."""
    return np.hstack([descriptors, sources.astype(np.float32)])
