"""Sets that are joined pair by pair (union-find)."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K", int, str)


class DisjointSets(Generic[K]):
    """Disjoint sets; the smallest member represents each."""

    def __init__(self) -> None:
        self._parent: dict[K, K] = {}

    def find(self, item: K) -> K:
        """Return the representative of an item's set; a new item is a set of its own."""
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: K, other: K) -> None:
        """Join the sets of two items."""
        a, b = self.find(one), self.find(other)
        self._parent[max(a, b)] = min(a, b)
