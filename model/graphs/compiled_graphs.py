"""Graphs of many slabs by compiled code, for predictions: see `model.graphs.graph_kernels`.

The graphs are those of `model.graphs.graph.graph_of_plain`, which also makes the few that compiled code
leaves to it; only identity and signature are missing, which no prediction looks at.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from model.graphs import graph
from model.graphs.graph import COSINE_TOLERANCE, LENGTH_TOLERANCE, MIDDLE, SlabGraph, graph_of_plain
from model.graphs.slab_frame import MIN_DISTANCE, SlabFrame
from model.graphs.thickness import NoRepeatError, thicken_frame
from stores.errors import InputError
from stores.structures import vacuum
from stores.structures.reading import MAX_EDGE, MAX_FRACTION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.graphs.graph import GraphSettings
    from model.graphs.slab_frame import PlainSlab

    Array = NDArray[Any]

_TOLERANCES = (MIDDLE, LENGTH_TOLERANCE, COSINE_TOLERANCE, float(graph._WIDEST))
_NOTHING = np.zeros(0, dtype=np.float32)


def can_compile(settings: GraphSettings) -> bool:
    """Whether compiled code can make graphs of these settings: folded, of whole shells, and Numba is there.

    Where a shell is cut, which of equal neighbours stay follows from the order of a k-d tree's answers.
    """
    return settings.fold and settings.whole_shells and _kernels() is not None


def compiled_graphs(slabs: Sequence[PlainSlab], settings: GraphSettings) -> list[SlabGraph | InputError]:
    """Return the graph of each slab without identity and signature, or the reason why there is none.

    `settings`: some for which `can_compile` is true. Threads that call this run side by side.
    """
    kernels = _kernels()
    assert kernels is not None
    usual = [i for i, slab in enumerate(slabs) if _is_plain(slab)]
    found: dict[int, SlabGraph | InputError] = {}
    if usual:
        for i, made in zip(usual, _of_usual([slabs[i] for i in usual], settings, *kernels), strict=True):
            if made is not None:
                found[i] = made
    return [found[i] if i in found else graph_or_reason(slab, settings) for i, slab in enumerate(slabs)]


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None]] | None:
    """Return the compiled `frames` and `graphs`; None without Numba."""
    try:
        from model.graphs import frame_kernels, graph_kernels
        from model.network.compiled import compiled
    except ImportError:
        return None
    return compiled(frame_kernels.frames, exact=True), compiled(graph_kernels.graphs, exact=True)


def graph_or_reason(slab: PlainSlab, settings: GraphSettings) -> SlabGraph | InputError:
    """Return the graph of a slab by the plain code, or the reason why there is none."""
    try:
        return graph_of_plain(slab, settings)
    except InputError as error:
        return error


def _is_plain(slab: PlainSlab) -> bool:
    """Whether its numbers can be reckoned with: atoms, and a finite cell that is not flat."""
    lattice, fractional = slab.lattice, slab.fractional
    return bool(
        len(slab.numbers)
        and np.abs(lattice).max() <= MAX_EDGE  # not of NaN
        and np.abs(fractional).max() <= MAX_FRACTION
        and abs(np.linalg.det(lattice)) > 1.0
    )


def _of_usual(
    slabs: Sequence[PlainSlab],
    settings: GraphSettings,
    find_frames: Callable[..., None],
    make_graphs: Callable[..., None],
) -> list[SlabGraph | None]:
    """Return the graphs of slabs; None where they are left to the plain code."""
    n = len(slabs)
    sizes = np.array([len(slab.numbers) for slab in slabs])
    first = np.concatenate([[0], np.cumsum(sizes)])
    numbers = np.concatenate([slab.numbers for slab in slabs]).astype(np.int64)
    fractional = np.concatenate([slab.fractional for slab in slabs]).astype(np.float64)
    lattice = np.array([slab.lattice for slab in slabs], dtype=np.float64)
    cell, plane, heights = np.empty((n, 2, 2)), np.empty((len(numbers), 2)), np.empty(len(numbers))
    lengths, usual = np.zeros((n, 2)), np.zeros(n, dtype=np.bool_)
    find_frames(
        lattice, np.linalg.inv(lattice), fractional, first, vacuum._LEAST, vacuum._FEW,
        cell, plane, heights, lengths, usual,
    )  # fmt: skip
    frames: dict[int, SlabFrame] = {
        i: SlabFrame(numbers[a:b], cell[i], plane[a:b], heights[a:b], float(lengths[i, 1]))
        for i, (a, b) in enumerate(zip(first[:-1].tolist(), first[1:].tolist(), strict=True))
        if usual[i]
    }
    for i in np.flatnonzero(usual & (lengths[:, 0] < settings.min_thickness)).tolist():
        with suppress(NoRepeatError):
            frames[i] = thicken_frame(frames[i], settings.min_thickness)
    made = dict(zip(frames, _of_frames(list(frames.values()), settings, make_graphs), strict=True))
    return [made.get(i) for i in range(n)]


def _of_frames(
    frames: Sequence[SlabFrame], settings: GraphSettings, make_graphs: Callable[..., None]
) -> list[SlabGraph | None]:
    """Return the graphs of slabs in their frames; None where they are left to the plain code."""
    from model.graphs.graph_kernels import MOST_EDGES

    if not frames:
        return []
    first = np.concatenate([[0], np.cumsum([len(one.numbers) for one in frames])])
    numbers = np.concatenate([one.numbers for one in frames])
    cell = np.array([one.cell for one in frames])
    n_atoms = len(numbers)
    area = np.abs(np.linalg.det(cell))
    kinds, depth = np.empty(n_atoms, np.int16), np.empty(n_atoms, np.float32)
    multiplicity = np.empty(n_atoms, np.float32)
    degree, neighbours = np.empty(n_atoms, np.int32), np.empty(n_atoms * MOST_EDGES, np.int32)
    edges = np.empty((3, n_atoms * MOST_EDGES), np.float32)
    counts = np.empty((len(frames), 2), np.int64)
    make_graphs(
        numbers, first, cell, np.concatenate([one.plane for one in frames]),
        np.concatenate([one.heights for one in frames]), area,
        (
            settings.max_neighbours, settings.cutoff, settings.shell_tolerance, MIN_DISTANCE,
        ),
        _TOLERANCES, kinds, depth, multiplicity, degree, neighbours, edges, counts,
    )  # fmt: skip
    n_nodes, n_edges = np.maximum(counts, 0).sum(axis=0).tolist()
    neighbours, edges = neighbours[:n_edges].copy(), edges[:, :n_edges].copy()  # without the room
    ends = np.zeros(n_nodes + 1, np.int32)
    np.cumsum(degree[:n_nodes], out=ends[1:])
    found: list[SlabGraph | None] = []
    node, edge = 0, 0
    for frame, own_area, (nodes, own_edges) in zip(frames, area.tolist(), counts.tolist(), strict=True):
        if nodes < 0:
            found.append(None)
            continue
        of_nodes, of_edges = slice(node, node + nodes), slice(edge, edge + own_edges)
        found.append(
            SlabGraph(
                numbers=kinds[of_nodes],
                depth=depth[of_nodes],
                thickness=frame.thickness,
                area=own_area,
                offsets=ends[node : node + nodes + 1] - ends[node],
                neighbours=neighbours[of_edges],
                distances=edges[0, of_edges],
                cosines=edges[1, of_edges],
                multiplicity=multiplicity[of_nodes],
                edge_multiplicity=edges[2, of_edges],
                identity="",
                signature=_NOTHING,
            )
        )
        node, edge = node + nodes, edge + own_edges
    return found
