"""What a model learns from and predicts: graphs of slabs and crystals, or compositions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from model.compositions.composition import PlainComposition
from model.graphs.bulk_graph import is_bulk
from model.graphs.graph import SlabGraph

if TYPE_CHECKING:
    from collections.abc import Iterable

ModelInput: TypeAlias = SlabGraph | PlainComposition
"""The graph of a slab or bulk crystal, or a composition."""


def kind_of(one: ModelInput) -> str:
    """Return what an input is of: ``slab``, ``bulk`` or ``composition``."""
    if isinstance(one, PlainComposition):
        return "composition"
    return "bulk" if is_bulk(one) else "slab"


def graphs_among(inputs: Iterable[ModelInput]) -> list[SlabGraph]:
    """Return inputs that are graphs, all of them.

    Raises
    ------
    TypeError
        If there is a composition among them: what calls this is for structures alone.
    """
    found = list(inputs)
    graphs = [one for one in found if isinstance(one, SlabGraph)]
    if len(graphs) < len(found):
        raise TypeError("compositions have no graphs")
    return graphs
