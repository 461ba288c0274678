"""Extremely randomised trees on the descriptors of slabs.

Trees and networks err differently, so that their mean errs less, and trees that disagree show where both are
unsure. P. Geurts, D. Ernst and L. Wehenkel, Mach. Learn. 63, 3 (2006); fitted by scikit-learn, kept as plain
arrays, so that a file of them holds no code and predictions need numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from stores.errors import InputError, install_command, refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_LABELS = 10  # labels below which no tree is grown for a target

MOST_TRIED = 176
"""Descriptors that a branch is chosen from, drawn for each: more than slabs have; a third of those of
crystals, which errs no more and takes a third of the time."""

TRIMMED = 0.2
"""Share of the trees at each end, highest and lowest, that the mean leaves out: most of their leaves hold one
training slab, and an odd one would pull the whole mean."""

_LEAF = -1
_ROWS_AT_ONCE = 256  # slabs that walk through all trees together: what a processor's cache holds


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees with M nodes in all, for one target."""

    roots: NDArray[np.int32]  # [T] int32, first node of each tree
    feature: NDArray[np.int16]  # [M] int16, descriptor that a node looks at; -1 at a leaf
    threshold: NDArray[np.float32]  # [M] float32; up to it the way leads to the next node
    right: NDArray[np.int32]  # [M] int32, node where it leads beyond the threshold
    value: NDArray[np.float32]  # [M] float32, mean label, in the target's unit
    width: int  # D, number of descriptors

    @classmethod
    def fit(
        cls,
        descriptors: NDArray[np.float32],
        labels: Array,
        trees: int,
        seed: int,
        columns: NDArray[np.intp] | None = None,
    ) -> Self | None:
        """Fit trees to descriptors [n, D] and labels [n] (NaN: none); None with too few labels.

        columns: descriptors that the trees see; None: all.
        """
        width = descriptors.shape[1] if columns is None else len(columns)
        tried = min(1.0, MOST_TRIED / width)
        grown = grow("ExtraTreesRegressor", descriptors, labels, trees, seed, columns, tried)
        return None if grown is None else cls.of_trees(grown.estimators_, descriptors.shape[1], columns)[0]

    @classmethod
    def of_trees(
        cls, grown: Sequence[Any], width: int, columns: NDArray[np.intp] | None = None
    ) -> tuple[Self, Array]:
        """Take over scikit-learn's trees; also what their nodes hold, [M, K].

        They were grown on `columns` of D = `width` descriptors; None: on all.
        """
        parts = [tree.tree_ for tree in grown]
        roots = np.cumsum([0, *(part.node_count for part in parts)])[:-1]
        feature = np.concatenate([part.feature for part in parts])
        leaf = feature < 0
        if columns is not None:
            feature = np.where(leaf, _LEAF, columns[feature])
        left = np.concatenate([part.children_left + root for part, root in zip(parts, roots, strict=True)])
        right = np.concatenate([part.children_right + root for part, root in zip(parts, roots, strict=True)])
        nodes = np.arange(len(feature))
        assert (leaf | (left == nodes + 1)).all()  # grown depth first
        held = np.concatenate([part.value[:, 0, :] for part in parts])
        forest = cls(
            roots=roots.astype(np.int32),
            feature=np.where(leaf, _LEAF, feature).astype(np.int16),
            threshold=_rounded_down(np.concatenate([part.threshold for part in parts])),
            right=np.where(leaf, nodes, right).astype(np.int32),
            value=held[:, 0].astype(np.float32),
            width=width,
        )
        return forest, held

    def predict(self, descriptors: NDArray[np.float32]) -> tuple[Array, Array]:
        """Trimmed mean over the trees (see `TRIMMED`) and their standard deviation, [n], for [n, D]."""
        mean, spread = np.empty(len(descriptors)), np.empty(len(descriptors))
        trees = len(self.roots)
        cut = int(TRIMMED * trees)
        for begin in range(0, len(descriptors), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            each = self.value[self.leaves(descriptors[rows])].astype(np.float64)  # [rows, T]
            spread[rows] = each.std(axis=1)
            each.sort(axis=1)
            mean[rows] = each[:, cut : trees - cut].mean(axis=1)
        return mean, spread

    def mean_of(self, held: NDArray[np.float32], descriptors: NDArray[np.float32]) -> Array:
        """Return the mean over the trees [n, K] of what their leaves hold [M, K], for descriptors [n, D]."""
        sums = np.zeros((len(descriptors), held.shape[1]))
        add = compiled_search("add_held")
        for begin in range(0, len(descriptors), _ROWS_AT_ONCE):
            rows = descriptors[begin : begin + _ROWS_AT_ONCE]
            own = sums[begin : begin + _ROWS_AT_ONCE]
            if add is not None:
                add(rows, self.roots, self.feature, self.threshold, self.right, held, own)
            else:
                own += held[self.leaves(rows)].sum(axis=1, dtype=np.float64)
        return np.asarray(sums / len(self.roots))

    def leaves(self, descriptors: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the leaf of each tree where each row of descriptors [n, D] ends: [n, T]."""
        trees = len(self.roots)
        if (find := compiled_search("find_leaves")) is not None:
            found = np.empty((len(descriptors), trees), dtype=np.int32)
            find(descriptors, self.roots, self.feature, self.threshold, self.right, found)
            return found
        at = np.tile(self.roots, len(descriptors))
        row = np.repeat(np.arange(len(descriptors)), trees)
        going = np.flatnonzero(self.feature[at] != _LEAF)
        while len(going):
            node = at[going]
            beyond = descriptors[row[going], self.feature[node]] > self.threshold[node]
            node = np.where(beyond, self.right[node], node + 1)
            at[going] = node
            going = going[self.feature[node] != _LEAF]
        return at.reshape(-1, trees)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {**{name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}, "width": self.width}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        with refusing("its trees are damaged"):
            forest = cls(**{name: state[name].numpy() for name in _ARRAYS}, width=int(state["width"]))
            whole = forest._is_whole()
        if not whole:
            raise InputError("its trees do not fit together")
        return forest

    def _is_whole(self) -> bool:
        """Whether every way through the trees ends at a leaf."""
        n = len(self.feature)
        if (
            not n
            or not len(self.roots)
            or not (self.threshold.shape == self.value.shape == self.right.shape == (n,))
        ):
            return False
        inside = np.flatnonzero(self.feature != _LEAF)
        return bool(
            (self.right[inside] > inside + 1).all()  # onward, so that there is no loop
            and self.feature[-1] == _LEAF
            and self.roots.min() >= 0
            and max(self.roots.max(), self.right.max()) < n
            and self.feature.min() >= _LEAF
            and self.feature.max() < self.width
        )


_ARRAYS = ("roots", "feature", "threshold", "right", "value")


def grow(
    kind: str,
    descriptors: NDArray[np.float32],
    labels: Array,
    trees: int,
    seed: int,
    columns: NDArray[np.intp] | None,
    tried: float,
) -> Any:
    """Return scikit-learn's forest of a kind (a class of ``sklearn.ensemble``); None with too few labels.

    labels: [n], NaN where there is none; tried: share of the columns that are tried at a node. Others: see
    `Forest.fit`.
    """
    check_can_fit()
    from sklearn import ensemble

    known = np.isfinite(labels)
    if known.sum() < FEWEST_LABELS:
        return None
    seen = descriptors if columns is None else descriptors[:, columns]
    forest = getattr(ensemble, kind)(trees, max_features=tried, random_state=seed % 2**32, n_jobs=1)
    return forest.fit(seen[known], labels[known])


@cache
def compiled_search(name: str) -> Callable[..., None] | None:
    """Return a function of `model.baselines.forest_search`, compiled; None without Numba."""
    try:
        from model.baselines import forest_search
        from model.network.compiled import compiled
    except ImportError:
        return None
    return compiled(getattr(forest_search, name))


def check_can_fit() -> None:
    """Raise InputError if scikit-learn is missing or broken: before hours of training."""
    try:
        import_module("sklearn.ensemble")
    except ImportError as error:
        raise InputError(
            f"the trees of this preset need scikit-learn ({error}): {install_command('model')}"
        ) from error


def _rounded_down(thresholds: Array) -> NDArray[np.float32]:
    """Round to float32 so that no float32 number changes sides: [M]."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
