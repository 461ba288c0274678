"""Graphs of slabs with what a potential knows of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from model.foundation.energies import EnergyCache, magnesium_energy, slab_energies
from model.foundation.features import describe_energies
from model.graphs.bulk_graph import is_bulk
from model.graphs.graph import SlabGraph, frame_for
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.graphs.graph import GraphSettings
    from model.graphs.slab_frame import PlainSlab


def attach_features(
    slabs: Sequence[PlainSlab],
    graphs: Sequence[SlabGraph | InputError],
    settings: GraphSettings,
    *,
    cache: EnergyCache | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[SlabGraph | InputError]:
    """Return the graphs with the features of `settings.potential`; bulk crystals stay as they are.

    Parameters
    ----------
    slabs
        What the graphs were built from; thin ones are made thicker here as there.
    graphs
        One for each slab, or the reason why there is none.
    settings
        Of the graphs.
    cache, tick
        See `model.foundation.energies.slab_energies`.

    Raises
    ------
    InputError
        If the potential is unknown or not installed.
    """
    places = [i for i, graph in enumerate(graphs) if isinstance(graph, SlabGraph) and not is_bulk(graph)]
    frames = [frame_for(slabs[i], settings) for i in places]
    answers = slab_energies(frames, settings.potential, cache=cache, tick=tick)
    found = list(graphs)
    magnesium = magnesium_energy(settings.potential, cache) if places else 0.0
    for i, frame, answer in zip(places, frames, answers, strict=True):
        graph = found[i]
        if isinstance(answer, InputError):
            found[i] = answer
        elif isinstance(graph, SlabGraph):
            found[i] = replace(graph, potential=describe_energies(frame, answer, magnesium))
    return found
