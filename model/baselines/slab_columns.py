"""Descriptors of slabs, and behind them what a potential knows of each, where their graphs carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.baselines.descriptors import describe_slabs, descriptor_names
from model.foundation.features import feature_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import SlabGraph


def slab_columns(graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
    """Describe slabs: [n, D] float32, or [n, D + F] where all graphs carry the features of a potential."""
    described = describe_slabs(graphs)
    known = [graph.potential for graph in graphs if graph.potential is not None]
    if not known or len(known) < len(graphs):
        return described
    return np.hstack([described, np.stack(known)])


def slab_column_names(width: int) -> tuple[str, ...]:
    """Return the names of so many columns: of the descriptors, or also of a potential's features."""
    names = descriptor_names()
    return names if width <= len(names) else (*names, *(f"potential: {name}" for name in feature_names()))
