"""Labelled slabs as the network sees them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from model.building import build_graphs
from model.graph import GraphSettings, SlabGraph
from model.grouping import compound_keys, group_identical
from model.recut import NoRepeatError, crystal_inside
from model.slab_frame import PlainSlab, frame_of
from stores.connections import open_store
from stores.errors import InputError
from stores.labels import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from model.graph_cache import GraphCache
    from stores.surfaces import SurfaceStore

OWN_TARGETS = ("surface_energy", "work_function")
"""Targets that a SurfaceRecord has, each with a verdict."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One labelled slab.

    Attributes
    ----------
    record_id
        Of the record in the store.
    graph
        Of the as-cut slab.
    targets
        Every target of the data set by name; None where the slab has no label.
    formula
        Reduced formula of the compound, or of the slab where the compound is not known.
    chemsys
        Elements in alphabetical order, e.g. Ag-Mg.
    elements
        The same as a tuple.
    compound
        Key of the compound: slabs that were cut from one crystal share it.
    group
        Number of the group of identical slabs; a group must never straddle a split.
    """

    record_id: str
    graph: SlabGraph
    targets: dict[str, float | None]
    formula: str
    chemsys: str
    elements: tuple[str, ...]
    compound: str
    group: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled slabs and the names of their targets, in a fixed order.

    Attributes
    ----------
    entries
        Sorted as in their source.
    targets
        Names of the targets.
    skipped
        One line for each labelled slab that no graph could be made of.
    """

    entries: tuple[Entry, ...]
    targets: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    def subset(self, indices: Sequence[int]) -> Dataset:
        """Return the entries with these numbers, in this order."""
        return Dataset(tuple(self.entries[i] for i in indices), self.targets)

    @classmethod
    def from_store(
        cls,
        uri: str,
        targets: Sequence[str] | None = None,
        *,
        settings: GraphSettings | None = None,
        methods: Sequence[str] | None = None,
        separate: bool = False,
        criteria: dict[str, Any] | None = None,
        cache: GraphCache | None = None,
        tick: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Join the imported slabs and the accepted surfaces of a store.

        Parameters
        ----------
        uri
            The store.
        targets
            Names wanted; by default all that the store has labels of.
        settings
            How graphs are built; the defaults are the paper's.
        methods
            Only labels of these method fingerprints; a beginning that fits one of them alone will do.
        separate
            Where a target was computed by several methods, make one target of each, named
            ``target@fingerprint``, instead of refusing.
        criteria
            MongoDB filter on fields that imported slabs and surfaces share: chemsys, composition, ...
        cache
            Of graphs; None builds all.
        tick
            Called with the number of graphs done and how many there are.

        Returns
        -------
        Dataset
            Slabs with at least one label, in the order of their ids.

        Raises
        ------
        InputError
            If there is no such store, target or method, no label at all, or a target has labels of several
            methods.
        StoreError
            If the store cannot be read.
        """
        with open_store(uri, must_exist=True) as store:
            slabs = sorted(_labelled(store, criteria), key=lambda slab: slab.record_id)
        slabs = _of_methods(slabs, methods)
        names = _wanted(slabs, targets, uri)
        values, names = _values(slabs, names, separate)
        kept = [i for i, value in enumerate(values) if any(v is not None for v in value.values())]
        slabs, values = [slabs[i] for i in kept], [values[i] for i in kept]

        built = build_graphs(
            [slab.slab for slab in slabs], settings or GraphSettings(), cache=cache, tick=tick
        )
        skipped = tuple(
            f"{slab.record_id}: {graph}"
            for slab, graph in zip(slabs, built, strict=True)
            if isinstance(graph, InputError)
        )
        usable = [
            (slab, value, graph)
            for slab, value, graph in zip(slabs, values, built, strict=True)
            if isinstance(graph, SlabGraph)
        ]
        groups = group_identical([graph for _, _, graph in usable], [slab.same for slab, _, _ in usable])
        compounds = compound_keys(
            [slab.compound for slab, _, _ in usable],
            [slab.chemsys for slab, _, _ in usable],
            [slab.composition for slab, _, _ in usable],
        )
        entries = tuple(
            Entry(
                record_id=slab.record_id,
                graph=graph,
                targets=value,
                formula=formula,
                chemsys=slab.chemsys,
                elements=tuple(sorted(slab.composition)),
                compound=key,
                group=group,
            )
            for (slab, value, graph), group, (formula, key) in zip(usable, groups, compounds, strict=True)
        )
        return cls(entries, tuple(names), skipped)


@dataclass(frozen=True, eq=False)
class _Slab:
    """What an imported slab and a surface have in common."""

    record_id: str
    slab: PlainSlab
    targets: dict[str, float]
    method: str
    chemsys: str
    composition: dict[str, int]
    compound: str
    same: Hashable


def _labelled(store: SurfaceStore, criteria: dict[str, Any] | None) -> Iterator[_Slab]:
    for document in store.query(criteria, collection=COLLECTION):
        yield _Slab(
            record_id=document["id"],
            slab=PlainSlab.from_dict(document["slab"]),
            targets={name: value for name, value in document["targets"].items() if value is not None},
            method=document["method_fingerprint"],
            chemsys=document["chemsys"],
            composition=document["composition"],
            compound=document["compound"],
            same=None,
        )
    fields = ["id", "slab", "verdicts", "method_fingerprint", "chemsys", "composition", "formula", "bulk_id"]
    fields += [*OWN_TARGETS, "miller_index", "termination_key"]
    for document in store.query(criteria, fields):
        plain = PlainSlab.from_dict(document["slab"])
        yield _Slab(
            record_id=document["id"],
            slab=plain,
            targets={
                name: document[name]
                for name in OWN_TARGETS
                if document.get(name) is not None and document["verdicts"][name]["status"] == "accepted"
            },
            method=document["method_fingerprint"],
            chemsys=document["chemsys"],
            composition=document["composition"],
            compound=_compound(document["formula"], plain),
            same=(document["bulk_id"], tuple(document["miller_index"]), document["termination_key"]),
        )


def _compound(formula: str, slab: PlainSlab) -> str:
    """Return the compound of our own slab as an imported slab has it; its formula is known."""
    try:
        return f"{formula} {crystal_inside(frame_of(slab))[1]:.3f}"
    except NoRepeatError:
        return formula


def _of_methods(slabs: list[_Slab], methods: Sequence[str] | None) -> list[_Slab]:
    if methods is None:
        return slabs
    there = sorted({slab.method for slab in slabs})
    chosen = set()
    for wanted in methods:
        fitting = [wanted] if wanted in there else [name for name in there if name.startswith(wanted)]
        if len(fitting) != 1:
            found = f"fits {', '.join(fitting)}" if fitting else "is not there"
            raise InputError(f"The method {wanted} {found}; the store has {', '.join(there) or 'no labels'}.")
        chosen.add(fitting[0])
    return [slab for slab in slabs if slab.method in chosen]


def _wanted(slabs: list[_Slab], targets: Sequence[str] | None, uri: str) -> list[str]:
    """Return the names of the targets: those asked for, else ours first, then the others by name."""
    counts = Counter(name for slab in slabs for name in slab.targets)
    if not counts:
        raise InputError(
            f"The store {uri} has no labelled slabs that fit; mgsurf import or mgsurf run adds some."
        )
    if targets is None:
        return sorted(counts, key=lambda name: (name not in OWN_TARGETS, name))
    for name in targets:
        if not counts[name]:
            raise InputError(f"The store {uri} has no labels {name}; it has {', '.join(sorted(counts))}.")
    return list(targets)


def _values(
    slabs: list[_Slab], names: list[str], separate: bool
) -> tuple[list[dict[str, float | None]], list[str]]:
    """Return every slab's value of every target, and the targets' names: one method to each."""
    methods: dict[str, Counter[str]] = defaultdict(Counter)
    for slab in slabs:
        for name in names:
            if name in slab.targets:
                methods[name][slab.method] += 1
    heads: dict[tuple[str, str], str] = {}
    for name in names:
        several = len(methods[name]) > 1
        if several and not separate:
            found = ", ".join(f"{method} ({count})" for method, count in methods[name].most_common())
            raise InputError(
                f"Labels {name} come from several methods, which never meet in one target: {found}; "
                f"choose one (--method)."
            )
        for method in sorted(methods[name]):
            heads[name, method] = f"{name}@{method}" if several else name
    values: list[dict[str, float | None]] = []
    for slab in slabs:
        own: dict[str, float | None] = dict.fromkeys(heads.values())
        for name, value in slab.targets.items():
            if (name, slab.method) in heads:
                own[heads[name, slab.method]] = value
        values.append(own)
    return values, list(heads.values())
