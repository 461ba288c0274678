"""Which descriptions show the same crystal.

Two do if formula, space group and numbers of equivalent atoms agree in one of their views
(`workflows.structures.sources.symmetry`), and pymatgen's StructureMatcher maps one onto the other at equal
volume per atom. Its tolerances are narrower here than by default, where crystals merge whose c/a differ by
40 %; they follow from what differs between databases:

- Volumes differ by some 5 % between functionals, more under pressure: up to `VOLUME_RATIO` it is one crystal.
  The volume of a guessed prototype says nothing.
- Axial ratios differ by a few per cent; a guess has those of the compound that gave the type its name.
- Atoms differ by hundredths of an angstrom; in a guess by a few tenths.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from workflows.structures.identity import pair_sums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

    from workflows.structures.sources.symmetry import View

VOLUME_RATIO = 1.25
"""Largest ratio of the volumes per atom of one crystal in two databases."""


@dataclass(frozen=True)
class Tolerances:
    """How far two descriptions of one crystal may lie apart, for pymatgen's StructureMatcher.

    Attributes
    ----------
    length, angle
        Share of a lattice vector's length, and degrees.
    site
        Largest displacement in units of the cube root of the volume per atom.
    pair_sum
        Difference of the logarithms of pair sums (`workflows.structures.identity.pair_sums`, wide Gaussian)
        beyond which no mapping is sought.
    """

    length: float
    angle: float
    site: float
    pair_sum: float


BETWEEN_DATABASES = Tolerances(length=0.08, angle=4.0, site=0.15, pair_sum=0.7)
WITH_A_GUESS = Tolerances(length=0.15, angle=6.0, site=0.2, pair_sum=1.4)


@dataclass(frozen=True, eq=False)
class Sighting:
    """A crystal as one source describes it.

    Attributes
    ----------
    formula
        Reduced.
    views
        How it looks with several tolerances, from `workflows.structures.sources.symmetry.views_of`.
    volume
        Per atom (A^3).
    guess
        True if the lattice is an estimate.
    """

    formula: str
    views: tuple[View, ...]
    volume: float
    guess: bool


S = TypeVar("S", bound=Sighting)


def distinct(sightings: Iterable[S]) -> list[list[S]]:
    """Group sightings of one formula by crystal.

    Each is compared with the first of every group so far, the most similar one first.

    Returns
    -------
    list of lists
        The crystals in the order in which their first sightings come; the sightings of each likewise.
    """
    return _Comparison[S]().distinct(sightings)


def same_crystal(one: Structure, other: Structure) -> bool:
    """Tell whether two structures of ordered crystals, computed or measured, are the same crystal."""
    from workflows.structures.sources.symmetry import views_of

    sightings = [
        Sighting(s.reduced_formula, tuple(views_of(s)), s.volume / len(s), guess=False) for s in (one, other)
    ]
    return sightings[0].formula == sightings[1].formula and len(distinct(sightings)) == 1


class _Comparison(Generic[S]):
    """Tells the distinct crystals among candidates of one formula."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[Any, ...], list[tuple[int, View]]] = defaultdict(list)
        self._groups: list[list[S]] = []
        self._prepared: dict[int, tuple[Structure, NDArray[np.float64]]] = {}

    def distinct(self, sightings: Iterable[S]) -> list[list[S]]:
        for sighting in sightings:
            group = self._same(sighting)
            if group is None:
                for view in sighting.views:
                    self._buckets[_bucket(view)].append((len(self._groups), view))
                self._groups.append([sighting])
            else:
                self._groups[group].append(sighting)
        return self._groups

    def _same(self, sighting: S) -> int | None:
        """Return the number of the group whose first sighting is the most similar and the same crystal."""
        pairs = [
            (self._difference(view, other), number, view, other)
            for view in sighting.views
            for number, other in self._buckets.get(_bucket(view), ())
            if _volumes_agree(sighting, self._groups[number][0])
        ]
        for difference, number, view, other in sorted(pairs, key=lambda pair: pair[:2]):
            guess = sighting.guess or self._groups[number][0].guess
            tolerances = WITH_A_GUESS if guess else BETWEEN_DATABASES
            if difference <= tolerances.pair_sum and _matcher(tolerances).fit(
                self._prepare(other)[0], self._prepare(view)[0], skip_structure_reduction=True
            ):
                return number
        return None

    def _difference(self, one: View, other: View) -> float:
        return float(np.abs(self._prepare(one)[1] - self._prepare(other)[1]).max())

    def _prepare(self, view: View) -> tuple[Structure, NDArray[np.float64]]:
        if id(view) not in self._prepared:
            structure = view.structure
            sums = [wide for _, (_, wide) in sorted(pair_sums(structure).items())]
            self._prepared[id(view)] = structure, np.log(np.maximum(sums, 1e-6))
        return self._prepared[id(view)]


def _bucket(view: View) -> tuple[Any, ...]:
    return view.spacegroup, view.orbits


def _volumes_agree(one: Sighting, other: Sighting) -> bool:
    ratio = max(one.volume, other.volume) / min(one.volume, other.volume)
    return one.guess or other.guess or ratio <= VOLUME_RATIO


@lru_cache
def _matcher(tolerances: Tolerances) -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher as PymatgenMatcher

    return PymatgenMatcher(
        ltol=tolerances.length,
        stol=tolerances.site,
        angle_tol=tolerances.angle,
        primitive_cell=False,
        scale=True,
    )
