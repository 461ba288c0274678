"""A composition as a grey-scale image: a cell for each of 58 properties, a channel for each of 7 statistics.

Arrangements of the cells:

``likeness``  properties that vary alike lie near each other: average linkage on 1 − |r|, r the correlation of
              two properties over the training compositions averaged over the statistics; the order of the
              leaves that brings neighbours nearest (Bar-Joseph et al., Bioinformatics 17, S22, 2001), laid
              along a Hilbert curve, so that what is near in the order is near in both directions.
``expert``    properties of one kind lie side by side, in the order of the table, along strips of two rows.
``random``    the same random cells always: what an arrangement is worth shows beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.compositions.composition import PlainComposition
from model.compositions.element_properties import element_properties
from model.compositions.features import STATISTICS, composition_features
from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 8  # cells of an edge; six of the 64 stay empty

LAYOUTS = ("likeness", "expert", "random")


def property_cells(features: NDArray[np.float32], layout: str = "likeness") -> NDArray[np.int64]:
    """Return the cell of each property.

    Parameters
    ----------
    features
        [n, 406] of the training compositions, at least two; only ``likeness`` reads them.
    layout
        One of `LAYOUTS`.

    Returns
    -------
    int64
        [58] row times `SIDE` plus column, each cell at most once.

    Raises
    ------
    InputError
        If the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise InputError(
            f"layout {layout!r} of the image of a composition: choose one of {', '.join(LAYOUTS)}"
        )
    count = len(element_properties().names)
    if layout == "expert":
        order, path = np.arange(count), _strips()
    elif layout == "random":
        order, path = np.arange(count), np.random.default_rng(0).permutation(SIDE * SIDE)
    else:
        order, path = _leaf_order(likeness(features)), _hilbert_curve()
    cells = np.empty(count, dtype=np.int64)
    cells[order] = path[:count]
    return cells


def likeness(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return |r| of each two properties, averaged over the statistics: [58, 58]; 0 where one is constant."""
    found = np.zeros((len(element_properties().names),) * 2)
    for values in np.split(features.astype(np.float64), len(STATISTICS), axis=1):
        centred = values - values.mean(axis=0)
        size = np.sqrt((centred**2).sum(axis=0))
        varies = size > 1e-9 * np.abs(values).max(axis=0, initial=1.0) * np.sqrt(len(values))
        scaled = np.where(varies, centred / np.where(varies, size, 1.0), 0.0)
        found += np.abs(scaled.T @ scaled)
    return np.asarray(np.clip(found / len(STATISTICS), 0.0, 1.0))


def composition_images(
    features: NDArray[np.float32],
    cells: NDArray[np.int64],
    darkest: NDArray[np.float32],
    brightest: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Arrange features as images.

    Parameters
    ----------
    features
        [n, 406].
    cells
        [58] of the properties, see `property_cells`.
    darkest, brightest
        [406] features that are 0 and 1 on the grey scale, such as the ends over the training set; what lies
        beyond is cut.

    Returns
    -------
    float32
        [n, 7, SIDE, SIDE], 0 in empty cells.
    """
    width = np.where(brightest > darkest, brightest - darkest, 1.0)
    grey = np.clip((features - darkest) / width, 0.0, 1.0)
    images = np.zeros((len(features), len(STATISTICS), SIDE * SIDE), dtype=np.float32)
    images[:, :, cells] = grey.reshape(len(features), len(STATISTICS), -1)
    return images.reshape(-1, len(STATISTICS), SIDE, SIDE)


def reference_features() -> NDArray[np.float32]:
    """Return the features of the elements 1 to 100 and of their 1:1 mixtures: [5050, 406].

    What images are arranged and scaled by where there is no training set.
    """
    first, second = np.triu_indices(len(element_properties().symbols) - 1)
    mixtures = [
        PlainComposition(np.array([a, b]), np.array([0.5, 0.5]))
        if a != b
        else PlainComposition(np.array([a]), np.array([1.0]))
        for a, b in zip(first + 1, second + 1, strict=True)
    ]
    return composition_features(mixtures)


def _leaf_order(alike: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order of the leaves of a tree of clusters, neighbours as alike as the tree allows."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    distance = 1.0 - (alike + alike.T) / 2
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def _hilbert_curve() -> NDArray[np.int64]:
    """Cells in the order of Hilbert's curve through a square of `SIDE` (a power of two) cells."""
    path = np.zeros((1, 2), dtype=np.int64)
    size = 1
    while size < SIDE:
        across = path[:, ::-1]
        backwards = size - 1 - across
        last = np.column_stack([backwards[:, 0], backwards[:, 1] + size])
        below, beside = path + np.array([size, 0]), path + size
        path = np.concatenate([across, below, beside, last])
        size *= 2
    return path[:, 0] * SIDE + path[:, 1]


def _strips() -> NDArray[np.int64]:
    """Cells along strips of two rows, there and back, so that each ten or so make a block."""
    path = []
    for top in range(0, SIDE, 2):
        columns = range(SIDE) if top % 4 == 0 else range(SIDE - 1, -1, -1)
        for step, column in enumerate(columns):
            rows = (top, top + 1) if step % 2 == 0 else (top + 1, top)
            path += [row * SIDE + column for row in rows]
    return np.array(path, dtype=np.int64)
