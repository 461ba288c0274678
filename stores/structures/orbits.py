"""All atoms of a cell from its sites: symmetry operations applied to rounded coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stores.structures.space_groups import Setting

_SAME = 1e-4  # fractional; added to the rounding
_EXACT = 1e-7  # fractional, after the site was moved onto its special position
_ONE_ATOM = 0.02  # A; images this close are one position whatever the digits
_CLOSE = 0.4  # A; images further apart than this are distinct atoms whatever the digits
_WORTH_NOTING = 1e-5  # fractional; one third written with five digits is not


class OrbitError(ValueError):
    """A site whose images are neither equal nor distinct.

    Attributes
    ----------
    site
        Its index.
    distance
        Of the images from the site, at most (A).
    """

    def __init__(self, site: int, distance: float) -> None:
        super().__init__(f"site {site}: images {distance:.2g} A apart fit no special position")
        self.site = site
        self.distance = distance


@dataclass(frozen=True, eq=False)
class Orbits:
    """The atoms of a cell.

    Attributes
    ----------
    site
        [N] int64, index of the site that each atom is an image of.
    fractional
        [N, 3], in [0, 1).
    moved
        By site index: its coordinates on the special position, where rounding had put it beside.
    """

    site: NDArray[np.int64]
    fractional: NDArray[np.float64]
    moved: dict[int, NDArray[np.float64]]


def expand(
    positions: NDArray[np.float64],
    rounding: NDArray[np.float64],
    setting: Setting,
    lattice: NDArray[np.float64],
) -> Orbits:
    """Apply a space group to sites.

    A site that an operation maps onto itself within the rounding of its coordinates lies on a special
    position; it is moved there, to the mean of these images, before the others are made.

    Parameters
    ----------
    positions
        [n, 3], fractional coordinates as written.
    rounding
        [n, 3], largest errors of these: one unit of the last digit, 0 where exact.
    setting
        The operations.
    lattice
        [3, 3], vectors as rows (A).

    Raises
    ------
    OrbitError
        If no special position fits all operations that nearly map a site onto itself.
    """
    if setting.is_trivial:
        return Orbits(np.arange(len(positions)), positions, {})
    sites, images, moved = [], [], {}
    changes = np.abs(setting.rotations - np.eye(3, dtype=int))
    for index, (position, slack) in enumerate(zip(positions, rounding, strict=True)):
        offsets = _offsets(position, setting)
        near = np.all(np.abs(offsets) <= changes @ slack + _SAME, axis=1)
        distances = np.linalg.norm(offsets @ lattice, axis=1)
        near = (near & (distances < _CLOSE)) | (distances < _ONE_ATOM)
        special = position + offsets[near].mean(axis=0)
        fixed = np.all(np.abs(_offsets(special, setting)) <= _EXACT, axis=1)
        orbit = _distinct(special @ setting.rotations.transpose(0, 2, 1) + setting.translations)
        shift = special - position
        rounded = np.all(np.abs(shift) <= slack + _SAME) or np.linalg.norm(shift @ lattice) < _ONE_ATOM
        if not rounded or not np.array_equal(fixed, near) or len(orbit) * int(fixed.sum()) != len(fixed):
            raise OrbitError(index, float(distances[near].max()))
        if np.abs(shift).max() > _WORTH_NOTING:
            moved[index] = special
        sites += [index] * len(orbit)
        images.append(orbit)
    return Orbits(np.array(sites, dtype=np.int64), np.concatenate(images), moved)


def _offsets(position: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
    """Return the nearest image of a position under each operation, relative to the position: [G, 3]."""
    offsets = setting.rotations @ position + setting.translations - position
    return np.asarray(offsets - np.round(offsets))


def _distinct(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return images that differ, wrapped into the cell, in their order."""
    images = images - np.floor(images)
    images[images > 1 - _EXACT] = 0.0
    offsets = images[:, None] - images[None]
    same = np.all(np.abs(offsets - np.round(offsets)) < 10 * _EXACT, axis=2)
    first = same.argmax(axis=1)
    return np.asarray(images[first == np.arange(len(images))])
