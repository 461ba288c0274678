"""Training rows that a model keeps beside its trees and process, for models that are fine-tuned from it.

Weights carry what a network has learned. Trees and a Gaussian process have no weights to start from: they
carry the labelled slabs themselves. Added to the training rows of the new model, those of the same quantity
tell it what surfaces of elements look like that its own slabs lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from model.baselines.gaussian_process import NO_COMPOUND
from stores.errors import InputError, refusing
from stores.method_names import quantity_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MOST_ROWS = 2000
"""Rows that a model keeps, drawn at random, its own before those that it was given itself: 0.4 kB
each of slabs, 2.1 kB of crystals."""

MARGIN = 0.05
"""Rows are used unless the validation error with them is larger by more than this share: they are meant for
slabs unlike those of the validation set, too."""


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Descriptors and labels of n slabs."""

    descriptors: NDArray[np.float32]  # [n, D], see `model.baselines.descriptors`
    compounds: NDArray[np.int64]  # [n], equal for slabs of one compound, `NO_COMPOUND` for a slab alone
    labels: Mapping[str, Array]  # [n] by target, in its unit, NaN where there is none

    def of_quantity(self, target: str) -> Array:
        """Return the labels [n] of the same quantity as a target, whatever method stands after the @."""
        found = np.full(len(self.descriptors), np.nan)
        for name, values in self.labels.items():
            if quantity_of(name) == quantity_of(target):
                found = np.where(np.isfinite(found), found, values)
        return found

    def without(self, targets: Collection[str]) -> LabelledRows | None:
        """Return the rows that have labels of other targets than these, and only those; None without any."""
        if not set(targets) & self.labels.keys():
            return self
        labels = {name: values for name, values in self.labels.items() if name not in targets}
        rest = LabelledRows(self.descriptors, self.compounds, labels)
        if not labels:
            return None
        labelled = np.flatnonzero(np.isfinite(np.stack(list(labels.values()))).any(axis=0))
        return rest.some(labelled) if len(labelled) else None

    def kept(self, carried: LabelledRows | None, seed: int) -> LabelledRows:
        """Return these rows and those that they were carried beside, `MOST_ROWS` at most."""
        both = self if carried is None else self.joined(carried)
        if len(both.descriptors) <= MOST_ROWS:
            return both
        rng, own = np.random.default_rng(seed % 2**32), len(self.descriptors)
        order = np.concatenate([rng.permutation(own), own + rng.permutation(len(both.descriptors) - own)])
        return both.some(np.sort(order[:MOST_ROWS]))

    def some(self, chosen: NDArray[np.intp]) -> LabelledRows:
        """Return the rows with these numbers."""
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return LabelledRows(self.descriptors[chosen], self.compounds[chosen], labels)

    def joined(self, other: LabelledRows) -> LabelledRows:
        """Put other rows below these; their compounds get numbers of their own."""
        nan = {True: np.full(len(self.descriptors), np.nan), False: np.full(len(other.descriptors), np.nan)}
        labels = {
            name: np.concatenate([self.labels.get(name, nan[True]), other.labels.get(name, nan[False])])
            for name in dict.fromkeys((*self.labels, *other.labels))
        }
        first = int(self.compounds.max(initial=NO_COMPOUND)) + 1
        moved = np.where(other.compounds == NO_COMPOUND, NO_COMPOUND, other.compounds + first)
        return LabelledRows(
            np.concatenate([self.descriptors, other.descriptors]),
            np.concatenate([self.compounds, moved]),
            labels,
        )

    def state(self) -> dict[str, Any]:
        """Return tensors for a file."""
        return {
            "descriptors": torch.from_numpy(self.descriptors),
            "compounds": torch.from_numpy(self.compounds),
            "labels": {name: torch.from_numpy(values) for name, values in self.labels.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state` of D = `width` descriptors; raises InputError if its parts do not fit together."""
        with refusing("its training rows are damaged"):
            descriptors, compounds = state["descriptors"].float().numpy(), state["compounds"].long().numpy()
            labels = {name: values.double().numpy() for name, values in dict(state["labels"]).items()}
            n = len(compounds)
            whole = (
                descriptors.shape == (n, width)
                and bool(np.isfinite(descriptors).all())
                and all(values.shape == (n,) for values in labels.values())
            )
        if not whole:
            raise InputError("the parts of its training rows do not fit together")
        return cls(descriptors, compounds, labels)
