"""Extremely randomised trees on the descriptors of slabs: what stands beside the networks of an ensemble.

Trees and networks err differently, so that their mean errs less, and trees that disagree tell where both are
unsure. P. Geurts, D. Ernst and L. Wehenkel, Mach. Learn. 63, 3 (2006); grown by scikit-learn, kept as plain
arrays, so that a file of them holds no code and predictions need numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_LABELS = 10
"""Labels below which no tree is grown for a target."""

_LEAF = -1


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees with M nodes in all, for one target.

    Attributes
    ----------
    roots
        [T] int32, first node of each tree.
    feature
        [M] int16, descriptor that a node looks at; -1 at a leaf.
    threshold
        [M] float64; up to it the way leads left.
    children
        [M, 2] int32, nodes to the left and to the right.
    value
        [M] float64, mean label, in the target's unit.
    width
        D, number of descriptors.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: Array
    children: NDArray[np.int32]
    value: Array
    width: int

    @classmethod
    def grow(cls, descriptors: NDArray[np.float32], labels: Array, trees: int, seed: int) -> Self | None:
        """Grow trees; None with too few labels.

        Parameters
        ----------
        descriptors
            [n, D].
        labels
            [n], NaN where there is none.
        trees
            T.
        seed
            Of the splits.
        """
        from sklearn.ensemble import ExtraTreesRegressor

        known = np.isfinite(labels)
        if known.sum() < FEWEST_LABELS:
            return None
        grown = ExtraTreesRegressor(trees, max_features=1.0, random_state=seed, n_jobs=1)
        grown.fit(descriptors[known], labels[known])
        parts = [tree.tree_ for tree in grown.estimators_]
        roots = np.cumsum([0, *(part.node_count for part in parts)])[:-1]
        feature = np.concatenate([part.feature for part in parts])
        leaf = feature < 0
        children = np.concatenate(
            [
                np.stack([part.children_left, part.children_right], axis=1) + root
                for part, root in zip(parts, roots, strict=True)
            ]
        )
        return cls(
            roots=roots.astype(np.int32),
            feature=np.where(leaf, _LEAF, feature).astype(np.int16),
            threshold=np.concatenate([part.threshold for part in parts]),
            children=np.where(leaf[:, None], 0, children).astype(np.int32),
            value=np.concatenate([part.value[:, 0, 0] for part in parts]),
            width=descriptors.shape[1],
        )

    def predict(self, descriptors: NDArray[np.float32]) -> tuple[Array, Array]:
        """Return the mean over the trees and their standard deviation, both [n].

        Parameters
        ----------
        descriptors
            [n, D].
        """
        rows = np.arange(len(descriptors))
        each = np.empty((len(self.roots), len(descriptors)))
        for tree, root in enumerate(self.roots):
            at = np.full(len(rows), root, dtype=np.int64)
            going = rows
            while len(going):
                node = at[going]
                feature = self.feature[node]
                inside = feature != _LEAF
                going, node, feature = going[inside], node[inside], feature[inside]
                right = descriptors[going, feature] > self.threshold[node]
                at[going] = self.children[node, right.astype(np.int64)]
            each[tree] = self.value[at]
        return each.mean(axis=0), each.std(axis=0)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        arrays = {
            name: torch.from_numpy(getattr(self, name))
            for name in ("roots", "feature", "threshold", "children", "value")
        }
        return {**arrays, "width": self.width}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`.

        Raises
        ------
        InputError
            If its parts do not fit together.
        """
        try:
            width = int(state["width"])
            roots, feature, threshold, children, value = (
                state[name].numpy() for name in ("roots", "feature", "threshold", "children", "value")
            )
            n = len(feature)
            inside = feature != _LEAF
            after = np.arange(n)[inside, None] < children[inside]  # so that every way ends
            whole = (
                n > 0
                and len(roots) > 0
                and threshold.shape == value.shape == (n,)
                and children.shape == (n, 2)
                and bool(after.all())
                and int(children.max()) < n
                and int(roots.min()) >= 0
                and int(roots.max()) < n
                and int(feature.max()) < width
                and int(feature.min()) >= _LEAF
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(f"its trees are damaged ({error})") from error
        if not whole:
            raise InputError("its trees do not fit together")
        return cls(roots, feature, threshold, children, value, width)
