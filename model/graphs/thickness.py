"""Thicker slabs with the same surfaces, and the crystal inside a slab.

A slab that was cut from a crystal contains the crystal: some motion along the normal (a shift, with a
rotation or reflection in the plane where the crystal has screw axes or glide planes) maps its inside onto
itself. That motion is found from the atoms alone; then the slab is opened in the middle and the inside is
repeated until the slab is thick enough. Both surfaces stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from model.graphs.slab_frame import SlabFrame
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pymatgen.core import Structure

TOLERANCES = (0.003, 0.01, 0.05)
"""An atom is mapped onto another that is this close, tried in turn (A): an exact motion before one that is
only nearly one (Mg2Ni (001) has both)."""
MIN_OVERLAP = 2.0  # part of the slab, at least, that the motion must map onto the slab (A)
MARGINS = (0.0, 2.0, 4.0)
"""Depths of outer atoms that need not obey the motion, tried in turn (A): relaxed slabs, ad-layers."""

_ENTRIES = np.array(list(product((-1, 0, 1), repeat=4))).reshape(-1, 2, 2)
_UNIMODULAR = _ENTRIES[np.abs(np.linalg.det(_ENTRIES)) > 0.5]
_UNIMODULAR = _UNIMODULAR[
    np.argsort([not np.array_equal(turn, np.eye(2)) for turn in _UNIMODULAR], kind="stable")
]


class NoRepeatError(InputError):
    """A slab is too thin, or too disturbed, to show how its crystal continues."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion that maps a crystal onto itself and leads along the surface normal."""

    turn: NDArray[np.int64]  # [2, 2] integers; acts on in-plane coordinates: ``plane @ turn + shift``
    shift: NDArray[np.float64]  # [2], in units of the in-plane cell
    rise: float  # along the normal (A)

    def __call__(
        self, plane: NDArray[np.float64], heights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places of atoms after the motion."""
        return plane @ self.turn + self.shift, heights + self.rise


def thicken_frame(frame: SlabFrame, min_thickness: float) -> SlabFrame:
    """Return a slab with the same surfaces, at least so thick (A, from lowest to highest atom).

    Raises NoRepeatError if the slab does not show how its crystal continues.
    """
    if frame.thickness >= min_thickness:
        return frame
    motion = find_motion(frame)
    repeats = ceil((min_thickness - frame.thickness) / motion.rise - 1e-9)
    heights = frame.heights
    cut = _opening(frame, motion)
    # between two layers: the atoms of one repeat below the cut are those that the repeats are made of
    above = heights > cut
    inside = (heights > cut - motion.rise) & ~above
    plane, height, numbers = [frame.plane[~above]], [heights[~above]], [frame.numbers[~above]]
    part, part_heights = frame.plane[inside], heights[inside]
    top, top_heights = frame.plane[above], heights[above]
    for _ in range(repeats):
        part, part_heights = motion(part, part_heights)
        top, top_heights = motion(top, top_heights)
        plane.append(part)
        height.append(part_heights)
        numbers.append(frame.numbers[inside])
    everything = np.concatenate([*plane, top])
    return SlabFrame(
        numbers=np.concatenate([*numbers, frame.numbers[above]]),
        cell=frame.cell,
        plane=everything - np.floor(everything),
        heights=np.concatenate([*height, top_heights]),
        vacuum=frame.vacuum,
    )


def crystal_inside(frame: SlabFrame) -> tuple[dict[int, int], float]:
    """Return what a slab was cut from: atoms in one repeat by atomic number, and the volume per atom (A^3).

    Raises NoRepeatError if the slab does not show how its crystal continues.
    """
    cut, motion = find_opening(frame)
    inside = (frame.heights > cut - motion.rise) & (frame.heights <= cut)
    numbers, counts = np.unique(frame.numbers[inside], return_counts=True)
    amounts = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    return amounts, frame.area * motion.rise / int(inside.sum())


def bulk_cell(frame: SlabFrame) -> Structure:
    """Return a cell of the crystal that a slab was cut from, with a and b in the surface plane.

    The surface is thus the plane (001) of this cell. A motion with a rotation or reflection is repeated until
    it is a translation. Raises NoRepeatError if the slab does not show how its crystal continues.
    """
    from pymatgen.core import Element, Lattice, Structure

    cut, motion = find_opening(frame)
    inside = (frame.heights > cut - motion.rise) & (frame.heights <= cut)
    part, heights = frame.plane[inside], frame.heights[inside]
    turn, shift = motion.turn, motion.shift
    parts = [(part, heights)]
    while not np.array_equal(turn, np.eye(2)):
        part, heights = motion(part, heights)
        parts.append((part, heights))
        turn, shift = turn @ motion.turn, shift @ motion.turn + motion.shift
    lattice = np.zeros((3, 3))
    lattice[:2, :2] = frame.cell
    lattice[2] = [*(shift @ frame.cell), motion.rise * len(parts)]
    positions = np.vstack([np.column_stack([plane @ frame.cell, height]) for plane, height in parts])
    species = [Element.from_Z(int(number)) for number in frame.numbers[inside]] * len(parts)
    return Structure(Lattice(lattice), species, positions, coords_are_cartesian=True, to_unit_cell=True)


def find_opening(frame: SlabFrame) -> tuple[float, Motion]:
    """Return the height (A) at which to open a slab, and the motion whose repeat ends there.

    Raises NoRepeatError if the slab does not show how its crystal continues.
    """
    motion = find_motion(frame)
    return _opening(frame, motion), motion


def _opening(frame: SlabFrame, motion: Motion) -> float:
    """Return the height at which to open the slab: in the widest gap near the middle."""
    # the cut and its image under the motion's inverse lie at equal places of the crystal, so that whichever
    # gap is taken the result is the same crystal; a wide one is safe from rounding
    centre = frame.thickness / 2 + motion.rise / 2  # the repeated part is then the middle one
    levels = np.unique(np.round(frame.heights, 6))
    gaps, places = np.diff(levels), (levels[1:] + levels[:-1]) / 2
    near = np.abs(places - centre) <= max(motion.rise / 2, 1.0)
    # the repeated part must lie inside the slab
    near &= places - motion.rise > -1e-6
    if not near.any():
        near = places - motion.rise > -1e-6
    if not near.any():
        raise NoRepeatError(_refusal(frame))
    best = np.flatnonzero(near)
    wide = best[gaps[best] >= gaps[best].max() - 1e-3]
    return float(places[wide[np.abs(places[wide] - centre).argmin()]])


def find_motion(frame: SlabFrame) -> Motion:
    """Find the shortest motion along the normal that maps the inside of a slab onto itself.

    Raises NoRepeatError if none has an overlap of `MIN_OVERLAP`, or the overlap shows fewer than two layers.
    """
    turns = _turns(frame.cell)
    for margin, tolerance in product(MARGINS, TOLERANCES):
        inner = (frame.heights >= margin - 1e-6) & (frame.heights <= frame.thickness - margin + 1e-6)
        if inner.sum() < 2:
            break
        numbers, plane, heights = frame.numbers[inner], frame.plane[inner], frame.heights[inner]
        for motion in _candidates(numbers, plane, heights, turns, tolerance):
            if _maps(frame.cell, numbers, plane, heights, motion, tolerance):
                return motion
    raise NoRepeatError(_refusal(frame))


def _refusal(frame: SlabFrame) -> str:
    return f"The slab is {frame.thickness:.1f} A thick and does not show how its crystal continues."


def _turns(cell: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the point operations of a reduced plane lattice, the identity first."""
    # for reduced vectors all entries are -1, 0 or 1
    metric = cell @ cell.T
    turned = _UNIMODULAR @ metric @ _UNIMODULAR.transpose(0, 2, 1)
    fits = (np.abs(turned - metric) <= 1e-2 + 2e-3 * np.abs(metric)).all(axis=(1, 2))
    return list(_UNIMODULAR[fits])


def _candidates(
    numbers: NDArray[np.int64],
    plane: NDArray[np.float64],
    heights: NDArray[np.float64],
    turns: list[NDArray[np.int64]],
    tolerance: float,
) -> Iterator[Motion]:
    """Yield motions that take the lowest atom to another one of its element, the shortest first."""
    bottom, top = heights.min(), heights.max()
    lowest = int(heights.argmin())
    rises = heights - heights[lowest]
    targets = np.flatnonzero(
        (numbers == numbers[lowest]) & (rises > 0.3) & (top - bottom - rises >= MIN_OVERLAP)
    )
    targets = targets[np.argsort(rises[targets], kind="stable")]
    for group in np.split(targets, np.flatnonzero(np.diff(rises[targets]) > tolerance) + 1):
        if not len(group):
            continue
        rise = float(rises[group].mean())
        moved = heights[heights <= top - rise + tolerance] + rise
        # a level that the slab does not have where the motion puts one: no need to look in the plane
        if np.abs(moved[:, None] - heights).min(axis=1).max() > tolerance:
            continue
        if len(np.unique(np.round(moved / 0.5))) < 2:
            continue
        for turn in turns:
            for target in group:
                yield Motion(turn, plane[target] - plane[lowest] @ turn, float(rises[target]))


def _maps(
    cell: NDArray[np.float64],
    numbers: NDArray[np.int64],
    plane: NDArray[np.float64],
    heights: NDArray[np.float64],
    motion: Motion,
    tolerance: float,
) -> bool:
    """Whether every inner atom that stays inside lands on an atom, and every upper one is landed on."""
    top, bottom = heights.max(), heights.min()
    stays = heights <= top - motion.rise + tolerance
    reached = heights >= bottom + motion.rise - tolerance
    if stays.sum() != reached.sum():
        return False
    moved, moved_heights = motion(plane[stays], heights[stays])
    apart = moved[:, None, :] - plane[None, reached, :]
    apart -= np.round(apart)
    squared = ((apart @ cell) ** 2).sum(axis=2) + (moved_heights[:, None] - heights[reached]) ** 2
    near = (squared < tolerance**2) & (numbers[stays][:, None] == numbers[reached])
    return bool(near.any(axis=1).all() and near.any(axis=0).all())
