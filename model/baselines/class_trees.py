"""Extremely randomised trees for classes, and their blend with the class probabilities of networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from model.baselines.columns import DESCRIPTIONS
from model.baselines.extra_trees import Forest, grow
from model.baselines.tree_columns import TREES, better_columns, columns_of
from model.data.model_input import kind_of
from model.evaluation.class_calibration import fit_share
from model.evaluation.metrics import labels
from stores.errors import InputError, refusing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.data.model_input import ModelInput

    Array = NDArray[np.float64]

FEATURE_SHARE = 0.2  # of the descriptors that are tried at a node


@dataclass(frozen=True, eq=False)
class ClassForest:
    """T trees with M nodes in all, for one target of K classes."""

    trees: Forest
    probabilities: NDArray[np.float32]  # [M, K], share of each class in a node

    @classmethod
    def fit(
        cls,
        descriptors: NDArray[np.float32],
        places: Array,
        classes: int,
        trees: int,
        seed: int,
        columns: NDArray[np.intp] | None = None,
    ) -> Self | None:
        """Fit trees to descriptors [n, D] and classes [n] (NaN: none); None with too few labels.

        columns: descriptors that the trees see; None: all.
        """
        grown = grow("ExtraTreesClassifier", descriptors, places, trees, seed, columns, FEATURE_SHARE)
        if grown is None:
            return None
        forest, held = Forest.of_trees(grown.estimators_, descriptors.shape[1], columns)
        probabilities = np.zeros((len(held), classes), dtype=np.float32)
        probabilities[:, grown.classes_.astype(int)] = held / held.sum(axis=1, keepdims=True)
        return cls(forest, probabilities)

    def predict(self, descriptors: NDArray[np.float32]) -> Array:
        """Return the mean of the classes' shares over the trees [n, K] for descriptors [n, D]."""
        return self.trees.mean_of(self.probabilities, descriptors)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {**self.trees.state(), "probabilities": torch.from_numpy(self.probabilities)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        trees = Forest.from_state(state)
        with refusing("its trees of classes are damaged"):
            probabilities = np.asarray(state["probabilities"].float().numpy())
            sums = probabilities.sum(axis=1)
            whole = len(probabilities) == len(trees.feature) and probabilities.min() >= 0
        if not whole or not np.allclose(sums, 1, atol=1e-3):
            raise InputError("the probabilities of its trees of classes do not fit together")
        return cls(trees, probabilities)


@dataclass(frozen=True, eq=False)
class ClassModels:
    """Trees for those targets of classes that have enough labels, on inputs of one kind."""

    kind: str  # a key of `DESCRIPTIONS`
    forests: dict[str, ClassForest]  # by target
    shares: dict[str, float]  # by target: of the networks in the blend, from 0 to 1

    @classmethod
    def fit(
        cls,
        train_part: Dataset,
        val_part: Dataset,
        networks: dict[str, Array],
        trees: int,
        seed: int,
        folds: NDArray[np.intp],
    ) -> tuple[Self | None, dict[str, Array]]:
        """Fit trees to the training set, and the share of the networks to the validation set.

        Parameters
        ----------
        networks
            Probabilities of the networks for the validation set, [n, K] by target.
        trees, seed
            Trees for each target, and what their branches are drawn by.
        folds
            [n] of the validation set, see `model.evaluation.calibration.fold_numbers`.

        Returns
        -------
        class_models, held_out
            And by target [n, K]: probabilities of the validation set, blended with the share that follows
            without the labels of each fold. None and no target where the inputs are not of one kind.

        Raises
        ------
        InputError
            If scikit-learn is missing.
        """
        kinds = {entry.kind for part in (train_part, val_part) for entry in part}
        if len(kinds) != 1 or not networks or (kind := kinds.pop()) not in DESCRIPTIONS:
            return None, {}
        describe = DESCRIPTIONS[kind].of
        training, validation = (describe([e.graph for e in part]) for part in (train_part, val_part))
        forests, shares, held_out = {}, {}, {}
        for name, network in networks.items():
            places, true = labels(train_part, name), labels(val_part, name)
            columns = None
            if kind == "composition":
                columns = _better_columns(train_part, training, places, network.shape[1], seed)
            forest = ClassForest.fit(training, places, network.shape[1], trees, seed, columns)
            if forest is None:
                continue
            forests[name], own = forest, forest.predict(validation)
            shares[name] = fit_share(network, own, true)
            held_out[name] = np.empty_like(network)
            for fold in np.unique(folds):
                a = fit_share(network, own, true, folds != fold)
                rows = folds == fold
                held_out[name][rows] = a * network[rows] + (1 - a) * own[rows]
        return cls(kind, forests, shares), held_out

    def predict(self, networks: dict[str, Array], graphs: Sequence[ModelInput]) -> dict[str, Array]:
        """Blend the networks' probabilities [n, K] by target with those of the trees."""
        if not graphs or any(kind_of(graph) != self.kind for graph in graphs):
            return networks
        descriptors, found = DESCRIPTIONS[self.kind].of(graphs), dict(networks)
        for name, forest in self.forests.items():
            a = self.shares[name]
            found[name] = a * networks[name] + (1 - a) * forest.predict(descriptors)
        return found

    def refitted(self, part: Dataset, seed: int) -> Self:
        """Return the same with trees fitted to a set [n]; the shares stay. seed: of the trees' branches."""
        described, forests = DESCRIPTIONS[self.kind].of([entry.graph for entry in part]), {}
        for name, old in self.forests.items():
            classes, trees = old.probabilities.shape[1], len(old.trees.roots)
            columns = columns_of(old.trees) if self.kind == "composition" else None
            fitted = ClassForest.fit(described, labels(part, name), classes, trees, seed, columns)
            forests[name] = fitted or old
        return replace(self, forests=forests)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        width = max((forest.trees.width for forest in self.forests.values()), default=0)
        return {
            "kind": self.kind,
            "descriptors": list(DESCRIPTIONS[self.kind].names(width)),
            "targets": {
                name: {"forest": forest.state(), "share": self.shares[name]}
                for name, forest in self.forests.items()
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        with refusing("its trees of classes are damaged"):
            kind, targets = str(state["kind"]), dict(state["targets"])
            width = len(state["descriptors"])
            known = tuple(state["descriptors"]) == DESCRIPTIONS[kind].names(width)
            shares = {name: float(values["share"]) for name, values in targets.items()}
            parts = {name: values["forest"] for name, values in targets.items()}
        if not known:
            raise InputError("its trees of classes were made with other descriptors than this version's")
        forests = {name: ClassForest.from_state(values) for name, values in parts.items()}
        if any(forest.trees.width != width for forest in forests.values()):
            raise InputError("its trees of classes do not fit its descriptors")
        if not all(0 <= share <= 1 for share in shares.values()):
            raise InputError("the shares of its networks and trees of classes are not between 0 and 1")
        return cls(kind, forests, shares)


def _better_columns(
    part: Dataset, descriptors: NDArray[np.float32], places: Array, classes: int, seed: int
) -> NDArray[np.intp] | None:
    """Return the columns that trees for a target see, see `model.baselines.tree_columns`."""

    def grow(columns: NDArray[np.intp] | None, rows: NDArray[np.intp], others: NDArray[np.intp]) -> Array:
        forest = ClassForest.fit(descriptors[rows], places[rows], classes, TREES, seed, columns)
        return (
            np.full((len(others), classes), 1 / classes)
            if forest is None
            else forest.predict(descriptors[others])
        )

    groups = np.array([entry.group for entry in part], dtype=np.int64)
    return better_columns(grow, descriptors.shape[1], places, groups, seed, of_class=True)
