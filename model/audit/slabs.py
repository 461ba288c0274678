"""The labelled slabs of a store as an audit looks at them: one method at a time, with their facets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.audit.facet_peers import MAGNESIUM, Compound, Facet, formula_type, profile
from model.baselines.descriptors import describe_slabs, descriptor_names
from model.data.dataset import Dataset
from model.graphs.graph import GraphSettings
from stores.connections import open_store
from stores.labelled import OWN_TARGETS, labelled_slabs, of_methods

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Entry
    from model.graphs.cache import GraphCache

    Array = NDArray[np.float64]

GRAPHS = GraphSettings(min_thickness=20.0, fold=True)
"""Slabs of one crystal have the same descriptors from 20 A on, see `model.baselines.descriptors`."""


@dataclass(frozen=True, eq=False)
class AuditSlabs:
    """N labelled slabs of one method.

    Attributes
    ----------
    method
        Its fingerprint.
    entries
        [N].
    labels
        By target: [N], NaN where the label is missing.
    units
        [N], formula units of the slab as labelled per area of both sides (1/A^2): counted by the partner
        atoms, by all atoms for compounds without Mg.
    descriptors
        [N, D], see `model.baselines.descriptors`.
    compounds
        Those of the slabs, by key.
    members
        Numbers of the slabs of each compound, by its key.
    """

    method: str
    entries: tuple[Entry, ...]
    labels: dict[str, Array]
    units: Array
    descriptors: NDArray[np.float32]
    compounds: dict[str, Compound]
    members: dict[str, list[int]]


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
    uri
        The store.
    method
        Only this one; a beginning that fits it alone will do.
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
        found = of_methods(
            [slab for slab in labelled_slabs(store, with_slabs=False) if slab.targets],
            None if method is None else [method],
        )
    known = [name for name in OWN_TARGETS if any(name in slab.targets for slab in found)]
    dataset = Dataset.from_store(
        uri,
        known or list(OWN_TARGETS),
        settings=GRAPHS,
        methods=None if method is None else [method],
        separate=True,
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

    descriptors = describe_slabs([entry.graph for entry in entries])
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
            graph = entries[i].graph
            atoms = compositions[entries[i].record_id]
            n_units = sum(n for symbol, n in atoms.items() if Element(symbol).Z in counted) / per_unit
            units[i] = n_units / (2 * graph.area)
            if density[i] > 0:
                facets.append(Facet(i, profile(graph, 1 / density[i])))
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
