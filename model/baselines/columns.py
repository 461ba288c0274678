"""What trees and a Gaussian process see of each kind of input: descriptors, one in a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.baselines.bulk_descriptors import bulk_descriptor_names, describe_crystals
from model.baselines.composition_descriptors import composition_descriptor_names, describe_compositions
from model.baselines.descriptors import describe_slabs, descriptor_names
from model.foundation.features import feature_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


@dataclass(frozen=True)
class Description:
    """Descriptors of inputs of one kind."""

    names: Callable[[int], tuple[str, ...]]  # of the descriptors, of which a model has so many
    of: Callable[[Sequence[Any]], NDArray[np.float32]]  # [n, D] of n graphs, or compositions


DESCRIPTIONS = {
    "slab": Description(slab_column_names, slab_columns),
    "bulk": Description(lambda _: bulk_descriptor_names(), describe_crystals),
    "composition": Description(composition_descriptor_names, describe_compositions),
}
"""By kind of input, see `model.data.model_input.kind_of`."""
