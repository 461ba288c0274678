"""What trees and a Gaussian process see of each kind of input: descriptors, one in a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.baselines.bulk_descriptors import bulk_descriptor_names, describe_crystals
from model.baselines.composition_descriptors import composition_descriptor_names, describe_compositions
from model.baselines.descriptors import describe_slabs, descriptor_names
from model.foundation.features import feature_names
from model.graphs.bond_angles import angle_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.graphs.bulk_graph import BulkGraph
    from model.graphs.graph import SlabGraph


@dataclass(frozen=True)
class Description:
    """Descriptors of inputs of one kind."""

    names: Callable[[int], tuple[str, ...]]  # of the descriptors, of which a model has so many
    of: Callable[[Sequence[Any]], NDArray[np.float32]]  # [n, D] of n graphs, or compositions


def _slab_columns(graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
    return _joined(describe_slabs(graphs), [graph.potential for graph in graphs])


def _slab_names(width: int) -> tuple[str, ...]:
    return _names(descriptor_names(), [f"potential: {name}" for name in feature_names()], width)


def _crystal_columns(graphs: Sequence[BulkGraph]) -> NDArray[np.float32]:
    return _joined(describe_crystals(graphs), [graph.angles for graph in graphs])


def _crystal_names(width: int) -> tuple[str, ...]:
    return _names(bulk_descriptor_names(), angle_names(), width)


def _joined(
    described: NDArray[np.float32], further: Sequence[NDArray[np.float32] | None]
) -> NDArray[np.float32]:
    """Return [n, D] descriptors, or [n, D + F] where all of the n inputs carry F further numbers."""
    known = [numbers for numbers in further if numbers is not None]
    return np.hstack([described, np.stack(known)]) if known and len(known) == len(further) else described


def _names(names: tuple[str, ...], further: Sequence[str], width: int) -> tuple[str, ...]:
    return names if width <= len(names) else (*names, *further)


DESCRIPTIONS = {
    "slab": Description(_slab_names, _slab_columns),
    "bulk": Description(_crystal_names, _crystal_columns),
    "composition": Description(composition_descriptor_names, describe_compositions),
}
"""By kind of input, see `model.data.model_input.kind_of`."""
