"""Graphs of many slabs: from the cache where they are, else built and put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.graph import SlabGraph, graph_of_plain
from model.graph_cache import GraphCache, graph_key
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.graph import GraphSettings
    from model.slab_frame import PlainSlab

_BATCH = 200
"""Graphs put into the cache at once: what is built so far survives an interruption."""


def build_graphs(
    slabs: Sequence[PlainSlab],
    settings: GraphSettings,
    *,
    cache: GraphCache | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[SlabGraph | InputError]:
    """Return a graph for each slab, or the reason why there is none.

    Parameters
    ----------
    slabs
        As `PlainSlab.from_structure` or `from_dict` make them.
    settings
        How graphs are built.
    cache
        Where graphs are looked for and kept; None builds all.
    tick
        Called with the number of graphs done and how many there are.
    """
    keys = [graph_key(slab, settings) for slab in slabs] if cache is not None else [""] * len(slabs)
    found = cache.get(keys) if cache is not None else {}
    graphs: list[SlabGraph | InputError] = []
    fresh: dict[str, SlabGraph] = {}
    for slab, key in zip(slabs, keys, strict=True):
        graph: SlabGraph | InputError | None = found.get(key)
        if graph is None:
            try:
                graph = graph_of_plain(slab, settings)
            except InputError as error:
                graph = error
            else:
                fresh[key] = graph
        graphs.append(graph)
        if cache is not None and (len(fresh) >= _BATCH or len(graphs) == len(slabs)):
            cache.put(fresh)
            fresh = {}
        if tick is not None:
            tick(len(graphs), len(slabs))
    return graphs
