"""Trees and a Gaussian process on descriptors, and their blend with the networks of an ensemble.

Descriptors are of a whole slab or bulk crystal, networks see its atoms. The three err differently, so that
their mean errs less; their blend weights are fitted on the validation set. Slabs with elements that the
training set lacks have weights and a process of their own (`model.baselines.unseen_elements`). A data set of
both kinds has trees and processes for each (`model.baselines.kinds`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.baselines.bulk_descriptors import bulk_descriptor_names, describe_crystals
from model.baselines.composition_descriptors import composition_descriptor_names, describe_compositions
from model.baselines.compounds import CompoundTable
from model.baselines.descriptors import describe_slabs, descriptor_names
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import NO_COMPOUND, GaussianProcess
from model.baselines.unseen_elements import Folds, Sample, UnseenElements, fit_unseen
from model.evaluation.joint_errors import correlation_left
from model.evaluation.metrics import labels
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.graphs.graph import SlabGraph

    Array = NDArray[np.float64]

STEPS = 12
"""The share of networks, trees and process that is not `LEAST` is given out in so many equal parts."""

LEAST = 1 / 6
"""Share that each of the three has, whatever their errors on the validation set: a few chemical systems do
not represent others."""

FEWEST_LABELS = 60
"""Validation labels below which nothing is chosen by their errors: that would be chance, and intervals that
are calibrated on them too narrow. The three share evenly then, and the process is that of `UNCHOSEN`."""

UNCHOSEN = 2  # place among `model.baselines.gaussian_process.STAGES`


WITHOUT_OFFSET = ("work_function",)
"""Targets whose process has no offset of compounds: no energy of the bulk enters them, nor does it help."""


@dataclass(frozen=True)
class Description:
    """Descriptors of inputs of one kind."""

    names: Callable[[int], tuple[str, ...]]  # of the descriptors, of which a model has so many
    of: Callable[[Sequence[Any]], NDArray[np.float32]]  # [n, D] of n graphs, or compositions


DESCRIPTIONS = {
    "slab": Description(lambda _: descriptor_names(), describe_slabs),
    "bulk": Description(lambda _: bulk_descriptor_names(), describe_crystals),
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
class DescriptorModels:
    """Trees and a Gaussian process, on structures of one kind, for those targets that have enough labels."""

    # forests, processes: by target, the same in both
    forests: dict[str, Forest]
    processes: dict[str, GaussianProcess]
    # by target: of networks, trees and process, in this order; they sum to 1
    shares: dict[str, tuple[float, float, float]]
    # of the training slabs, and for slabs with other elements than theirs by target; None and empty in files
    # of older versions, with few chemical systems and for bulk crystals
    compounds: CompoundTable | None = None
    unseen: dict[str, UnseenElements] = field(default_factory=dict)
    kind: str = "slab"  # a key of `DESCRIPTIONS`

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
        describe = DESCRIPTIONS[kind].of
        training, validation = describe([entry.graph for entry in train_part]), describe(graphs)
        numbers = np.unique([entry.compound for entry in train_part], return_inverse=True)[1].astype(np.int64)
        table, by_system = None, None
        recognised, strange = np.full(len(graphs), NO_COMPOUND), np.zeros(len(graphs), dtype=bool)
        if kind == "slab":
            table, by_system = CompoundTable.of([e.graph for e in train_part], numbers), Folds.of(train_part)
            recognised, strange = table.recognise(graphs), table.unseen_elements(graphs)
        forests, processes, shares, held_out, unseen = {}, {}, {}, {}, {}
        for name, network in networks.items():
            forest = Forest.fit(training, labels(train_part, name), trees, seed)
            alone = kind != "slab" or name.partition("@")[0] in WITHOUT_OFFSET
            offsets = None if alone else numbers
            stages = GaussianProcess.fit(training, labels(train_part, name), seed, offsets)
            if forest is None or not stages:
                continue
            forests[name] = forest
            mean, deviation = forest.predict(validation)
            each = [process.predict(validation, recognised) for process in stages]
            true, rows = labels(val_part, name), []
            for fold in range(int(folds.max(initial=0)) + 1):
                chosen, (a, b, c) = fit_blend_weights(network, mean, each, true, folds != fold)
                rows.append(a * network + b * mean + c * each[chosen])
            held_out[name] = np.stack(rows)
            chosen, shares[name] = fit_blend_weights(network, mean, each, true)
            a, b, c = shares[name]
            processes[name] = stages[chosen]
            if by_system is None:
                continue
            found = fit_unseen(
                stages[:1] if chosen == 0 else (stages[0], stages[chosen]),
                Sample(training, labels(train_part, name), [e.compound for e in train_part], numbers),
                by_system,
                Sample(
                    validation[strange],
                    true[strange],
                    [entry.compound for entry, out in zip(val_part, strange, strict=True) if out],
                    recognised[strange],
                ),
                (mean[strange], deviation[strange]),
                (shares[name], (a * network + b * mean + c * each[chosen])[strange]),
                seed,
            )
            if found is not None:
                unseen[name] = found
        return cls(forests, processes, shares, table, unseen, kind), held_out

    def predict(self, networks: dict[str, Array], graphs: Sequence[SlabGraph]) -> Blended:
        """Blend the networks' predictions [n] by target for graphs [n] with trees and process."""
        descriptors = DESCRIPTIONS[self.kind].of(graphs)
        mean, deviation = dict(networks), {}
        recognised = None if self.compounds is None else self.compounds.recognise(graphs)
        strange = None if self.compounds is None else self.compounds.unseen_elements(graphs)
        sigma, correlation = {}, {}
        for name, forest in self.forests.items():
            trees, deviation[name] = forest.predict(descriptors)
            process = self.processes[name].predict(descriptors, recognised)
            a, b, c = self.shares[name]
            mean[name] = a * networks[name] + b * trees + c * process
            special = self.unseen.get(name)
            if special is None or strange is None or recognised is None:
                continue
            sigma[name] = np.full(len(graphs), np.nan)
            correlation[name] = correlation_left(special.correlation, self._training_slabs(recognised))
            if strange.any():
                a, b, c = special.shares
                process = special.process.predict(descriptors[strange])
                mean[name][strange] = a * networks[name][strange] + b * trees[strange] + c * process
                sigma[name][strange] = special.calibration.sigma(0.0, 0.0, deviation[name][strange])
        trained = None if recognised is None else recognised != NO_COMPOUND
        return Blended(mean, deviation, sigma, correlation, trained)

    def _training_slabs(self, recognised: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many training slabs each slab's compound has: [n]."""
        assert self.compounds is not None  # it recognised them
        count = Counter(number for numbers in self.compounds.numbers.values() for number in numbers.tolist())
        return np.array([count[number] for number in recognised.tolist()], dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        width = max((forest.width for forest in self.forests.values()), default=0)
        return {
            "descriptors": list(DESCRIPTIONS[self.kind].names(width)),
            **({} if self.compounds is None else {"compounds": self.compounds.state()}),
            "unseen": {name: special.state() for name, special in self.unseen.items()},
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
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its trees and process are damaged ({error})") from error
        if not known:
            raise InputError("its trees and process were made with other descriptors than this version's")
        for name, values in shares.items():
            if len(values) != 3 or min(values) < 0 or not abs(sum(values) - 1) < 1e-6:
                raise InputError(f"the shares of its networks, trees and process in {name} do not sum to 1")
        forests = {name: Forest.from_state(forest) for name, (forest, _) in parts.items()}
        processes = {name: GaussianProcess.from_state(process, width) for name, (_, process) in parts.items()}
        if any(forest.width != width for forest in forests.values()):
            raise InputError("its trees do not fit its descriptors")
        table = CompoundTable.from_state(state["compounds"]) if "compounds" in state else None
        special = {name: UnseenElements.from_state(values, width) for name, values in unseen.items()}
        if not set(special) <= set(forests) or (special and table is None):
            raise InputError("its numbers for unseen elements are of other targets")
        return cls(forests, processes, shares, table, special, kind)  # type: ignore[arg-type]  # three each, see above


def fit_blend_weights(
    network: Array, trees: Array, stages: list[Array], true: Array, used: NDArray[np.bool_] | None = None
) -> tuple[int, tuple[float, float, float]]:
    """Return the stage of the process and the blend weights with the least MAE on the validation set.

    Parameters
    ----------
    network, trees
        Their predictions, [n], in the target's unit.
    stages
        Predictions of the process at each stage, [n] each.
    true
        [n], NaN where there is no label.
    used
        [n], slabs whose errors count; None: all. Whether anything is fitted depends on all labels.

    Returns
    -------
    stage, weights
        Place among `stages`; weights of network, trees and process.
    """
    known = np.isfinite(true)
    if known.sum() < FEWEST_LABELS:
        return UNCHOSEN, (1 / 3, 1 / 3, 1 / 3)
    if used is not None and (known & used).any():
        known &= used
    parts = np.array([(i, j, STEPS - i - j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)])
    shares = LEAST + (1 - 3 * LEAST) * parts / STEPS  # [choices, 3]
    errors = [
        np.abs(shares @ np.stack([network, trees, process])[:, known] - true[known]).mean(axis=1)
        for process in stages
    ]
    stage, choice = np.unravel_index(np.argmin(errors), (len(stages), len(shares)))
    a, b, c = (float(share) for share in shares[choice])
    return int(stage), (a, b, c)
