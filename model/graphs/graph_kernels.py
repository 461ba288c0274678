"""Folded graphs of many slabs in one go, compiled by Numba: the plain code's steps without its overhead.

`neighbour_edges` and `fold` of `model.graphs.graph` say what a graph is and why. The graphs have the same
nodes, edges, distances and multiplicities to the last bit. Where edges of an atom that are joined into one
have equal distances, and cosines that differ by less than the tolerance, another one's cosine may stand for
them. Atoms on top of each other and hundreds of neighbours are left to the plain code, which
also words the errors. No signature is made. The functions hold no lock of the interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.network.compiled import exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Integers = NDArray[np.int64]

MOST_EDGES = 64
"""Neighbours of an atom for which there is room; slabs with more are left to the plain code."""

_MOST_NEAR = 1024  # candidates for the neighbours of an atom
_ROOM = 1e-9  # for rounding, in units of the in-plane cell


@exact
def _sort_together(keys: Any, values: Integers, n: int) -> None:
    """Sort the first n keys, and values with them; of equal keys the lower value comes first (Shell's)."""
    gap = 1
    while 3 * gap < n:
        gap = 3 * gap + 1
    while gap:
        for i in range(gap, n):
            key, value = keys[i], values[i]
            k = i - gap
            while k >= 0 and (keys[k] > key or (keys[k] == key and values[k] > value)):
                keys[k + gap], values[k + gap] = keys[k], values[k]
                k -= gap
            keys[k + gap], values[k + gap] = key, value
        gap //= 3


@exact
def _place(ascending: Floats, n: int, value: float) -> int:
    """How many of the first n numbers are not above a value."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@exact
def _images(
    cell: Floats, plane: Floats, heights: Floats, area: float, radius: float
) -> tuple[Floats, Floats, Integers, int]:
    """Atoms within a distance of the cell's parallelogram, by height: x and y [M, 2], heights, atoms, M."""
    reach_u = radius / (area / np.hypot(cell[1, 0], cell[1, 1]))
    reach_v = radius / (area / np.hypot(cell[0, 0], cell[0, 1]))
    n_u, n_v = int(np.ceil(reach_u)), int(np.ceil(reach_v))
    low_u, high_u, low_v, high_v = 1.0, 0.0, 1.0, 0.0
    by, order = np.empty(len(plane)), np.empty(len(plane), np.int64)
    for i in range(len(plane)):
        low_u, high_u = min(low_u, plane[i, 0]), max(high_u, plane[i, 0])
        low_v, high_v = min(low_v, plane[i, 1]), max(high_v, plane[i, 1])
        by[i], order[i] = heights[i], i
    _sort_together(by, order, len(order))
    low_u, high_u = low_u - reach_u - _ROOM, high_u + reach_u + _ROOM
    low_v, high_v = low_v - reach_v - _ROOM, high_v + reach_v + _ROOM
    most = len(plane) * (2 * n_u + 1) * (2 * n_v + 1)
    points, levels, atoms, n = np.empty((most, 2)), np.empty(most), np.empty(most, np.int64), 0
    for atom in order:
        for i in range(-n_u, n_u + 1):
            u = plane[atom, 0] + i
            if u < low_u or u > high_u:
                continue
            for j in range(-n_v, n_v + 1):
                v = plane[atom, 1] + j
                if v < low_v or v > high_v:
                    continue
                points[n, 0] = u * cell[0, 0] + v * cell[1, 0]
                points[n, 1] = u * cell[0, 1] + v * cell[1, 1]
                levels[n] = heights[atom]
                atoms[n] = atom
                n += 1
    return points, levels, atoms, n


@exact
def _nearest(
    points: Floats,
    levels: Floats,
    n_points: int,
    place: Floats,
    radius: float,
    distance: Floats,
    image: Integers,
) -> int:
    """Fill distance and image with what lies within a radius, itself included; how many, -1: no room."""
    n = 0
    squared = radius * radius
    # by height, so that those near enough in height are a range
    for m in range(_place(levels, n_points, place[2] - radius), n_points):
        x, y, z = place[0] - points[m, 0], place[1] - points[m, 1], place[2] - levels[m]
        if z < -radius:
            break
        apart = x * x + y * y + z * z
        if apart < squared:
            if n == len(distance):
                return -1
            distance[n] = np.sqrt(apart)
            image[n] = m
            n += 1
    return n


@exact
def _highest(values: Any) -> Any:
    found = values[0]
    for value in values:
        found = max(found, value)
    return found


@exact
def _edges(
    cell: Floats,
    plane: Floats,
    heights: Floats,
    area: float,
    wanted: int,
    cutoff: float,
    tolerance: float,
    least: float,
    neighbour: Integers,
    distances: Floats,
    rises: Floats,
    degree: Integers,
) -> bool:
    """Fill the rows of neighbours [N, MOST_EDGES] and degrees [N]; False: left to the plain code."""
    n_atoms = len(heights)
    thickness = _highest(heights)
    volume = area * max(thickness, 2.0) / n_atoms
    radius = min((2.0 * (wanted + 4) * volume * 3 / (4 * np.pi)) ** (1 / 3), cutoff)
    points, levels, atoms, n_points = _images(cell, plane, heights, area, radius)
    distance, image = np.empty(_MOST_NEAR), np.empty(_MOST_NEAR, np.int64)
    place = np.empty(3)
    for i in range(n_atoms):
        place[0] = plane[i, 0] * cell[0, 0] + plane[i, 1] * cell[1, 0]
        place[1] = plane[i, 0] * cell[0, 1] + plane[i, 1] * cell[1, 1]
        place[2] = heights[i]
        while True:
            n = _nearest(points, levels, n_points, place, radius, distance, image)
            if n < 0:
                return False
            _sort_together(distance, image, n)
            if radius >= cutoff or (n > wanted and distance[wanted] + tolerance <= radius):
                break
            radius = min(radius * 1.3, cutoff)
            points, levels, atoms, n_points = _images(cell, plane, heights, area, radius)
        n -= 1  # the first is the atom itself
        near, found = distance[1 : n + 1], image[1 : n + 1]
        if n and near[0] < least:
            return False
        # whole shells; an atom with no more neighbours has them all
        last = near[wanted - 1] + tolerance if n > wanted else np.inf
        n_kept = 0
        while n_kept < n and near[n_kept] <= last:
            n_kept += 1
        if n_kept > MOST_EDGES:
            return False
        for m in range(n_kept):
            neighbour[i, m], distances[i, m] = atoms[found[m]], near[m]
            rises[i, m] = levels[found[m]] - place[2]
        degree[i] = n_kept
    return True


@exact
def _class_starts(values: Floats, tolerance: float, widest: float) -> int:
    """Replace values by the lowest of each class, see `model.graphs.graph._classes`; how many there are."""
    values.sort()
    n, start, block, before = 0, 0.0, 0, 0.0
    for i in range(len(values)):
        value = values[i]
        if i == 0 or value - before > tolerance:
            start, block = value, 0
            new = True
        else:
            now = int(np.floor((value - start) / (widest * tolerance)))
            new = now != block
            block = now
        before = value
        if new:
            values[n] = value
            n += 1
    return n


@exact
def _scrambled(value: Any) -> Any:
    """Mix a 64-bit number well (the finaliser of splitmix64)."""
    mixed = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@exact
def _number_by_first(keys: Any, colour: Integers) -> int:
    """Give equal keys the same number, by the atom that has them first; return how many there are."""
    order = np.arange(len(keys))
    first = np.empty(len(keys), np.int64)  # of each atom, the first atom with its key
    _sort_together(keys, order, len(keys))
    lead = 0
    for k in range(len(keys)):
        if keys[k] != keys[lead]:
            lead = k
        first[order[k]] = order[lead]
    n = 0
    for i in range(len(keys)):
        if first[i] == i:
            colour[i] = n
            n += 1
        else:
            colour[i] = colour[first[i]]
    return n


@exact
def _fold(
    numbers: Integers,
    depth: Singles,
    neighbour: Integers,
    distances: Singles,
    cosines: Singles,
    degree: Integers,
    length_tolerance: float,
    cosine_tolerance: float,
    widest: float,
    colour: Integers,
    kind: Integers,
) -> int:
    """Find the class of each atom, numbered by first atoms, and kinds of edges; return how many classes."""
    n_atoms, n_edges = len(numbers), 0
    for i in range(n_atoms):
        n_edges += degree[i]
    lengths, angles, depths = np.empty(n_edges), np.empty(n_edges), np.empty(n_atoms)
    e = 0
    for i in range(n_atoms):
        depths[i] = depth[i]
        for m in range(degree[i]):
            lengths[e], angles[e] = distances[i, m], cosines[i, m]
            e += 1
    n_lengths = _class_starts(lengths, length_tolerance, widest)
    n_angles = _class_starts(angles, cosine_tolerance, widest)
    n_depths = _class_starts(depths, length_tolerance, widest)
    for i in range(n_atoms):
        for m in range(degree[i]):
            angle = _place(angles, n_angles, cosines[i, m])
            kind[i, m] = _place(lengths, n_lengths, distances[i, m]) * (n_angles + 1) + angle
    keys = np.empty(n_atoms, np.uint64)
    for i in range(n_atoms):
        keys[i] = np.uint64(numbers[i] * (n_atoms + 1) + _place(depths, n_depths, depth[i]))
    n_colours = _number_by_first(keys, colour)
    while True:
        for i in range(n_atoms):
            total = np.uint64(0)
            for m in range(degree[i]):
                total += _scrambled(kind[i, m] * n_atoms + colour[neighbour[i, m]])
            # the own colour enters, so that classes are only ever divided
            keys[i] = _scrambled(total) + _scrambled(colour[i])
        refined = _number_by_first(keys, colour)
        if refined == n_colours:
            return n_colours
        n_colours = refined


def graphs(
    numbers: Integers,
    first: Integers,
    cell: Floats,
    plane: Floats,
    heights: Floats,
    area: Floats,
    limits: tuple[int, float, float, float],
    tolerances: tuple[float, float, float, float],
    out_numbers: Any,
    out_depth: Singles,
    out_multiplicity: Singles,
    out_degree: Any,
    out_neighbours: Any,
    out_edges: Singles,
    counts: Integers,
) -> None:
    """Make the folded graphs of n slabs from their frames.

    numbers [N], plane [N, 2] and heights [N] of all atoms, those of slab i being `first[i]:first[i + 1]`;
    cell [n, 2, 2], area [n]. limits: neighbours wanted, cutoff, tolerance of shells, least distance
    of atoms; tolerances: `MIDDLE` and those of `fold`. Filled, one slab after the other:
    out_numbers, out_depth, out_multiplicity and out_degree [N], neighbours [N x MOST_EDGES] and distances,
    cosines and multiplicities of edges [3, N x MOST_EDGES]; counts [n, 2], nodes and edges of each slab, -1
    where it is left to the plain code.
    """
    wanted, cutoff, tolerance, least = limits
    middle, length_tolerance, cosine_tolerance, widest = tolerances
    node, edge = 0, 0
    for s in range(len(cell)):
        atoms = slice(first[s], first[s + 1])
        own, height = numbers[atoms], heights[atoms]
        n = len(own)
        neighbour = np.empty((n, MOST_EDGES), np.int64)
        distances, rises = np.empty((n, MOST_EDGES)), np.empty((n, MOST_EDGES))
        degree = np.empty(n, np.int64)
        if not _edges(
            cell[s], plane[atoms], height, area[s], wanted, cutoff, tolerance, least,
            neighbour, distances, rises, degree,
        ):  # fmt: skip
            counts[s] = -1
            continue
        thickness = _highest(height)
        depth = np.empty(n, np.float32)
        lengths, cosines = np.empty((n, MOST_EDGES), np.float32), np.empty((n, MOST_EDGES), np.float32)
        for i in range(n):
            depth[i] = np.float32(min(height[i], thickness - height[i]))
            outward = min(max((height[i] - thickness / 2) / middle, -1.0), 1.0)
            for m in range(degree[i]):
                lengths[i, m] = np.float32(distances[i, m])
                cosines[i, m] = np.float32(rises[i, m] / distances[i, m] * outward)
        colour, kind = np.empty(n, np.int64), np.empty((n, MOST_EDGES), np.int64)
        n_colours = _fold(
            own, depth, neighbour, lengths, cosines, degree, length_tolerance, cosine_tolerance, widest,
            colour, kind,
        )  # fmt: skip
        multiplicity = np.zeros(n_colours, np.float32)
        for i in range(n):
            multiplicity[colour[i]] += np.float32(1)
        begin, seen = edge, 0
        order, to = np.empty(MOST_EDGES, np.int64), np.empty(MOST_EDGES)
        for i in range(n):
            if colour[i] != seen:
                continue  # classes are numbered in the order of their first atoms
            seen += 1
            out_numbers[node], out_depth[node] = own[i], depth[i]
            out_multiplicity[node] = multiplicity[colour[i]]
            # by class of the neighbour, then by kind; equal ones keep their order
            most = 1
            for m in range(degree[i]):
                most = max(most, kind[i, m] + 1)
            for m in range(degree[i]):
                to[m], order[m] = float(colour[neighbour[i, m]] * most + kind[i, m]), m
            _sort_together(to, order, degree[i])
            before = edge
            for k in range(degree[i]):
                m = order[k]
                if k and to[k] == to[k - 1]:
                    out_edges[2, edge - 1] += np.float32(1)
                    continue
                out_neighbours[edge] = colour[neighbour[i, m]]
                out_edges[0, edge], out_edges[1, edge] = lengths[i, m], cosines[i, m]
                out_edges[2, edge] = np.float32(1)
                edge += 1
            out_degree[node] = edge - before
            node += 1
        counts[s, 0], counts[s, 1] = n_colours, edge - begin
