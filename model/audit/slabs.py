"""The labelled slabs of a store for an audit: one method at a time, with equal facets of similar compounds.

A slab is described by the density of Mg and of its partner over the depth below the surface, in units of the
cube root of the volume per atom: (111) of D0_3 Mg3La and of Mg3Ce, cut in the same way, have the same
profile, whatever their lattice parameters. Compounds of one formula type (Mg3X) that share most facets are
peers; the nearest are those whose partners have similar properties
(`model.graphs.element_features.chemical_features`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from model.baselines.descriptors import describe_slabs, descriptor_names
from model.data.dataset import Dataset
from model.data.model_input import graphs_among
from model.graphs.element_features import chemical_features
from model.graphs.graph import GraphSettings
from stores.connections import open_store
from stores.labelled import OWN_TARGETS, labelled_slabs, left_out_line, of_methods
from stores.method_names import is_dft

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Entry
    from model.graphs.cache import GraphCache
    from model.graphs.graph import SlabGraph

    Array = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

MAGNESIUM = 12
DEPTHS = np.arange(-0.4, 3.6, 0.1)
"""Where the profile is sampled (cube roots of the volume per atom, about 2.9 A)."""
WIDTH = 0.15  # of the Gaussian that an atom is smeared with (the same unit)
SAME_FACET = 0.25
"""Profiles that differ by less, relative to their norm, are of one facet. Over the lanthanides the facets of
D0_3 Mg3X differ by 0.005 to 0.2, other facets by 0.4 and more."""
FEWEST_FACETS = 3  # facets that two compounds must share to be compared
FARTHEST = 0.8
"""Root mean square difference of the partners' standardised properties up to which they are similar: La and
Ce 0.1, La and Nd 0.7, Ag and Au 0.5, Ni and Cu 0.6, Al and Sc 1."""
MOST_PEERS = 6


@dataclass(frozen=True, eq=False)
class Facet:
    """A slab as it is compared with those of other compounds."""

    number: int  # of the slab
    profile: Array  # [2 * len(DEPTHS)], of Mg and of the partners


@dataclass(frozen=True, eq=False)
class Compound:
    """The slabs of one compound."""

    key: str  # see `model.data.dataset.Entry.compound`
    formula: str  # reduced
    kind: tuple[int, ...]  # formula type: the amounts of Mg and of the partners, e.g. (3, 1)
    partners: tuple[int, ...]  # their atomic numbers
    facets: tuple[Facet, ...]  # one for each slab


@dataclass(frozen=True, eq=False)
class Peer:
    """A compound to compare with."""

    compound: str  # its key
    distance: float  # between the partners, see `FARTHEST`
    pairs: tuple[tuple[int, int], ...]  # numbers of the slabs of equal facets: ours and its


def profile(graph: SlabGraph, volume: float) -> Array:
    """Profile of a slab [2 * len(DEPTHS)] from its graph and the crystal's volume per atom (A^3)."""
    length = volume ** (1 / 3)
    depth = graph.depth.astype(np.float64) / length
    seen = np.exp(-(((depth[:, None] - DEPTHS) / WIDTH) ** 2)) * graph.multiplicity[:, None]
    seen *= length**2 / (2 * graph.area)
    magnesium = graph.numbers == MAGNESIUM
    return np.concatenate([seen[magnesium].sum(axis=0), seen[~magnesium].sum(axis=0)])


def formula_type(amounts: Mapping[int, int]) -> tuple[int, ...]:
    """Return the amounts of Mg (0 without) and of the partners in ascending order, without common divisor."""
    divisor = gcd(*amounts.values()) or 1
    partners = sorted(count // divisor for number, count in amounts.items() if number != MAGNESIUM)
    return (amounts.get(MAGNESIUM, 0) // divisor, *partners)


def find_peers(compounds: Sequence[Compound]) -> dict[str, list[Peer]]:
    """Return up to `MOST_PEERS` similar compounds of each compound, the most similar first."""
    by_kind: dict[tuple[int, ...], list[Compound]] = defaultdict(list)
    for compound in compounds:
        if len(compound.facets) >= FEWEST_FACETS and compound.partners:
            by_kind[compound.kind].append(compound)
    found: dict[str, list[Peer]] = {}
    for alike in by_kind.values():
        for one in alike:
            peers = []
            for other in alike:
                if one.partners == other.partners:
                    continue
                distance = partner_distance(one.partners, other.partners)
                if distance > FARTHEST:
                    continue
                pairs = equal_facets(one, other)
                fewest = max(FEWEST_FACETS, min(len(one.facets), len(other.facets)) / 2)
                if len(pairs) >= fewest:
                    peers.append(Peer(other.key, distance, pairs))
            peers.sort(key=lambda peer: (peer.distance, peer.compound))
            found[one.key] = peers[:MOST_PEERS]
    return found


def partner_distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return how different the partners of two compounds are, see `FARTHEST`."""
    table = chemical_features().table.astype(np.float64)
    difference = (
        table[sorted(one)] - table[sorted(other)] if len(one) == len(other) else np.full((1, 1), np.inf)
    )
    return float(np.sqrt((difference**2).mean()))


def equal_facets(one: Compound, other: Compound) -> tuple[tuple[int, int], ...]:
    """Return the pairs of slabs (numbers) of two compounds that are of one facet, see `SAME_FACET`."""
    ours = np.stack([facet.profile for facet in one.facets])
    theirs = np.stack([facet.profile for facet in other.facets])
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2) / np.linalg.norm(ours, axis=1)[:, None]
    nearest, back = apart.argmin(axis=1), apart.argmin(axis=0)
    return tuple(
        (one.facets[i].number, other.facets[j].number)
        for i, j in enumerate(nearest)
        if back[j] == i and apart[i, j] < SAME_FACET
    )


GRAPHS = GraphSettings(min_thickness=20.0, fold=True)
"""Slabs of one crystal have the same descriptors from 20 A on, see `model.baselines.descriptors`."""


@dataclass(frozen=True, eq=False)
class AuditSlabs:
    """N labelled slabs of one method."""

    method: str  # its fingerprint
    entries: tuple[Entry, ...]  # [N]
    labels: dict[str, Array]  # by target: [N], NaN where the label is missing
    # [N], formula units of the slab as labelled per area of both sides (1/A^2): counted by the partner atoms,
    # by all atoms for compounds without Mg
    units: Array
    descriptors: NDArray[np.float32]  # [N, D], see `model.baselines.descriptors`
    compounds: dict[str, Compound]  # those of the slabs, by key
    members: dict[str, list[int]]  # numbers of the slabs of each compound, by its key


def read_audit_slabs(
    uri: str,
    method: str | None = None,
    *,
    cache: GraphCache | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[AuditSlabs]:
    """Read the labelled slabs of a store, method by method.

    Parameters
    ----------
    method
        Only this fingerprint, or the only one that begins so; if None all but those of rehearsals.
    cache, tick
        See `model.data.dataset.Dataset.from_store`.

    Raises
    ------
    InputError
        If there is no such store or method, or no label of a surface energy or work function.
    StoreError
        If the store cannot be read.
    """
    with open_store(uri, must_exist=True) as store:
        labelled = [s for s in labelled_slabs(store, with_slabs=False) if s.targets and s.has_surface]
    if method is None:
        found = [slab for slab in labelled if is_dft(slab.method)]
        if found and (line := left_out_line(labelled, found)):
            _LOG.warning("%s", line)
    else:
        found = of_methods(labelled, [method])
    chosen = sorted({slab.method for slab in found}) or None
    known = [name for name in OWN_TARGETS if any(name in slab.targets for slab in found)]
    dataset = Dataset.from_store(
        uri,
        known or list(OWN_TARGETS),
        settings=GRAPHS,
        methods=chosen,
        separate=chosen is not None,
        cache=cache,
        tick=tick,
    )
    compositions = {slab.record_id: slab.composition for slab in found}
    methods = {slab.record_id: slab.method for slab in found}
    by_method: dict[str, list[Entry]] = defaultdict(list)
    for entry in dataset:
        by_method[methods[entry.record_id]].append(entry)
    return [_of_method(name, by_method[name], compositions) for name in sorted(by_method)]


def _of_method(method: str, entries: Sequence[Entry], compositions: dict[str, dict[str, int]]) -> AuditSlabs:
    from pymatgen.core import Composition, Element

    graphs = graphs_among(entry.graph for entry in entries)
    descriptors = describe_slabs(graphs)
    density = descriptors[:, descriptor_names().index("bulk density")].astype(np.float64)
    members: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        members[entry.compound].append(i)
    compounds, units = {}, np.zeros(len(entries))
    for key, numbers in members.items():
        formula = entries[numbers[0]].formula
        amounts: dict[int, Any] = {
            Element(str(e)).Z: int(n) for e, n in Composition(formula).get_el_amt_dict().items()
        }
        partners = tuple(sorted(number for number in amounts if number != MAGNESIUM))
        counted = set(partners) if MAGNESIUM in amounts and partners else set(amounts)
        per_unit = sum(amounts[number] for number in counted)
        facets = []
        for i in numbers:
            atoms = compositions[entries[i].record_id]
            n_units = sum(n for symbol, n in atoms.items() if Element(symbol).Z in counted) / per_unit
            units[i] = n_units / (2 * graphs[i].area)
            if density[i] > 0:
                facets.append(Facet(i, profile(graphs[i], 1 / density[i])))
        compounds[key] = Compound(key, formula, formula_type(amounts), partners, tuple(facets))
    return AuditSlabs(
        method=method,
        entries=tuple(entries),
        labels={target: _labels(entries, target, method) for target in OWN_TARGETS},
        units=units,
        descriptors=descriptors,
        compounds=compounds,
        members=dict(members),
    )


def _labels(entries: Sequence[Entry], target: str, method: str) -> Array:
    values = [entry.targets.get(target, entry.targets.get(f"{target}@{method}")) for entry in entries]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
