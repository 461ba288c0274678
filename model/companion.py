"""The forest beside the networks of an ensemble: one for each target, and how much each has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.descriptors import describe_slabs, descriptor_names
from model.evaluation import labels
from model.forest import Forest
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.dataset import Dataset

    Array = NDArray[np.float64]

STEPS = 20
"""The weight of the trees is chosen among so many equal steps from 0 to 1."""

FEWEST_LABELS = 20
"""Validation labels below which the weight is not chosen by their errors, which would be chance."""

UNWEIGHED = 0.5
"""Weight of trees that were not weighed."""


@dataclass(frozen=True, eq=False)
class Companion:
    """Trees for those targets that have enough labels.

    Attributes
    ----------
    forests
        By target.
    weights
        By target, from 0 (networks alone) to 1 (trees alone).
    """

    forests: dict[str, Forest]
    weights: dict[str, float]

    @classmethod
    def grow(cls, train_part: Dataset, targets: Sequence[str], trees: int, seed: int) -> Self:
        """Grow trees on the training part; their weights are `UNWEIGHED` until `weigh`."""
        descriptors = describe_slabs([entry.graph for entry in train_part])
        forests = {}
        for name in targets:
            forest = Forest.grow(descriptors, labels(train_part, name), trees, seed)
            if forest is not None:
                forests[name] = forest
        return cls(forests, dict.fromkeys(forests, UNWEIGHED))

    def predict(self, descriptors: NDArray[np.float32]) -> dict[str, tuple[Array, Array]]:
        """Return trimmed mean and standard deviation over the trees, [n] each, by target.

        Parameters
        ----------
        descriptors
            [n, D], see `describe_slabs`.
        """
        return {name: forest.predict(descriptors) for name, forest in self.forests.items()}

    def mix(self, networks: dict[str, Array], trees: dict[str, tuple[Array, Array]]) -> dict[str, Array]:
        """Return the predictions of both together, [n] by target."""
        mixed = dict(networks)
        for name, (mean, _) in trees.items():
            mixed[name] = (1 - self.weights[name]) * networks[name] + self.weights[name] * mean
        return mixed

    def weigh(
        self, networks: dict[str, Array], trees: dict[str, tuple[Array, Array]], true: dict[str, Array]
    ) -> Self:
        """Return the companion with the weights that err least (MAE) on validation slabs.

        Parameters
        ----------
        networks, trees, true
            Predictions of the networks, of the trees, and labels (NaN: none), [n] by target. Where there
            are fewer labels than `FEWEST_LABELS`, the weight stays.
        """
        weights = dict(self.weights)
        for name, (mean, _) in trees.items():
            known = np.isfinite(true[name])
            if known.sum() >= FEWEST_LABELS:
                steps = np.arange(STEPS + 1)[:, None] / STEPS
                mixed = (1 - steps) * networks[name][known] + steps * mean[known]  # [steps, n]
                weights[name] = float(np.abs(mixed - true[name][known]).mean(axis=1).argmin()) / STEPS
        return type(self)(self.forests, weights)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {
            "descriptors": list(descriptor_names()),
            "forests": {
                name: {**forest.state(), "weight": self.weights[name]}
                for name, forest in self.forests.items()
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`.

        Raises
        ------
        InputError
            If its parts do not fit together.
        """
        try:
            forests = dict(state["forests"])
            weights = {name: float(values["weight"]) for name, values in forests.items()}
            known = tuple(state["descriptors"]) == descriptor_names()
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its trees are damaged ({error})") from error
        if not known:
            raise InputError("its trees were grown on other descriptors than this version's")
        if not all(0 <= weight <= 1 for weight in weights.values()):
            raise InputError("the weights of its trees are not between 0 and 1")
        return cls({name: Forest.from_state(values) for name, values in forests.items()}, weights)
