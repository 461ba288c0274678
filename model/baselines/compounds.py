"""Which compound of the training set a slab was cut from, by its graph.

A slab that was cut from a crystal keeps the crystal's bonds. Two slabs of the same elements are taken for
slabs of one compound where the shortest bond between every two elements is equally long below the surface,
and the elements have the same shares there. No search for the crystal's period is needed, which would take
half as long as building the graph. Relaxed slabs are recognised as far as their inside is the crystal's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from model.baselines.gaussian_process import NO_COMPOUND
from stores.errors import InputError, refusing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import SlabGraph

    Array = NDArray[np.float64]
    Elements = tuple[int, ...]

BELOW_SURFACE = 4.0
"""Atoms deeper than this have all neighbours of the crystal (A)."""
SAME_LENGTH = 0.01  # difference of bond lengths that are taken to be equal (A)
SAME_SHARE = 0.15
"""Difference of the shares of an element: how many of its atoms lie so deep depends on the facet."""
_NONE = -1.0  # stands for a bond that no deep atom has among its neighbours


@dataclass(frozen=True, eq=False)
class CompoundTable:
    """Bonds of the training slabs, by their elements."""

    # by elements: [m, e^2 + e], lengths of the shortest bonds in units of `SAME_LENGTH` and shares of the
    # elements in units of `SAME_SHARE`, and [m], number of each slab's compound
    bonds: dict[Elements, Array]
    numbers: dict[Elements, NDArray[np.int64]]

    @classmethod
    def of(cls, graphs: Sequence[SlabGraph], compounds: NDArray[np.int64]) -> Self:
        """Describe training slabs, whose compounds [n] are known."""
        rows: dict[Elements, list[Array]] = {}
        numbers: dict[Elements, list[int]] = {}
        for graph, number in zip(graphs, compounds.tolist(), strict=True):
            elements, row = _bonds(graph)
            rows.setdefault(elements, []).append(row)
            numbers.setdefault(elements, []).append(number)
        return cls(
            {elements: np.stack(found) for elements, found in rows.items()},
            {elements: np.array(found) for elements, found in numbers.items()},
        )

    def recognise(self, graphs: Sequence[SlabGraph]) -> NDArray[np.int64]:
        """Return the number of the compound of each slab [n], `NO_COMPOUND` for none of the training set."""
        return np.array([self._one(graph) for graph in graphs], dtype=np.int64)

    def _one(self, graph: SlabGraph) -> int:
        elements = tuple(np.unique(graph.numbers).tolist())
        if elements not in self.bonds:
            return NO_COMPOUND
        _, row = _bonds(graph)
        known = self.bonds[elements]
        apart = np.abs(known - row)
        apart[(known == _NONE) | (row == _NONE)] = 0
        worst = apart.max(axis=1)
        best = int(worst.argmin())
        return int(self.numbers[elements][best]) if worst[best] <= 1 else NO_COMPOUND

    def unseen_elements(self, graphs: Sequence[SlabGraph]) -> NDArray[np.bool_]:
        """Return for each slab [n] whether it has an element that no training slab has."""
        return with_other_elements(graphs, {z for elements in self.bonds for z in elements})

    def state(self) -> dict[str, Any]:
        """Return tensors for a file."""
        return {
            "elements": [list(elements) for elements in self.bonds],
            "bonds": [torch.from_numpy(rows) for rows in self.bonds.values()],
            "numbers": [torch.from_numpy(self.numbers[elements]) for elements in self.bonds],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        with refusing("its table of compounds is damaged"):
            keys = [tuple(int(z) for z in elements) for elements in state["elements"]]
            bonds = dict(zip(keys, (rows.double().numpy() for rows in state["bonds"]), strict=True))
            numbers = dict(zip(keys, (rows.long().numpy() for rows in state["numbers"]), strict=True))
            whole = all(
                rows.shape == (len(numbers[key]), len(key) ** 2 + len(key)) and np.isfinite(rows).all()
                for key, rows in bonds.items()
            )
        if not whole:
            raise InputError("the parts of its table of compounds do not fit together")
        return cls(bonds, numbers)


def with_other_elements(graphs: Sequence[SlabGraph], known: Collection[int]) -> NDArray[np.bool_]:
    """Return for each slab [n] whether it has an element other than those of these atomic numbers."""
    known = frozenset(known)
    return np.array([not known.issuperset(graph.numbers.tolist()) for graph in graphs], dtype=bool)


def _bonds(graph: SlabGraph) -> tuple[Elements, Array]:
    """Return atomic numbers of a slab's elements, and its row of `CompoundTable.bonds`."""
    elements, kind = np.unique(graph.numbers, return_inverse=True)
    e = len(elements)
    deep = graph.depth >= min(BELOW_SURFACE, graph.thickness / 4)
    centre = np.repeat(np.arange(graph.n_nodes), np.diff(graph.offsets))
    used = deep[centre]
    pair = (kind[centre] * e + kind[graph.neighbours])[used]
    shortest = np.full(e * e, np.inf)
    np.minimum.at(shortest, pair, graph.distances[used])
    amounts = np.bincount(kind[deep], graph.multiplicity[deep], e)
    row = np.concatenate([shortest / SAME_LENGTH, amounts / max(amounts.sum(), 1.0) / SAME_SHARE])
    return tuple(elements.tolist()), np.where(np.isfinite(row), row, _NONE)
