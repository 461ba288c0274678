"""Labelled slabs, crystals and compositions as a network sees them; which stay together in a split."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Self

from model.data.composition_entries import Compositions, check_one_kind
from model.data.formula_key import formula_key
from model.data.identical_slabs import compound_keys, group_identical
from model.data.model_input import kind_of
from model.graphs.bulk_graph import PlainBulk
from model.graphs.cache import GraphCache, build_graphs
from model.graphs.graph import GraphSettings, SlabGraph
from model.graphs.slab_frame import PlainSlab, frame_of
from model.graphs.thickness import crystal_inside
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import (
    OWN_TARGETS,
    count_excluded,
    heads_of,
    labelled_slabs,
    left_out_line,
    of_methods,
    units_of_heads,
    values_by_head,
    wanted_targets,
)
from stores.learning.snapshots import find_snapshot, snapshot_slabs
from stores.method_names import is_dft

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from model.data.model_input import ModelInput
    from stores.labelled import LabelledSlab
    from stores.learning.snapshots import Snapshot


@dataclass(frozen=True, eq=False)
class Entry:
    """One labelled slab, bulk crystal or composition."""

    record_id: str  # of the record in the store
    graph: ModelInput  # of the as-cut slab or the crystal; of a composition itself
    targets: dict[str, float | None]  # every target of the data set by name; None where the slab has no label
    formula: str  # reduced formula of the compound, or of the slab where the compound is not known
    chemsys: str  # elements in alphabetical order, e.g. Ag-Mg
    elements: tuple[str, ...]  # the same as a tuple
    # key of the compound: slabs that were cut from one crystal share it, records of one composition too
    compound: str
    group: int  # number of the group of identical slabs; a group must never straddle a split
    # name of the compound made of its own composition only, see `model.data.formula_key.formula_key`
    crystal: str = ""
    source_id: str = ""  # of an imported slab in its source, by which published splits name it

    @property
    def kind(self) -> str:
        """What it is: ``slab``, ``bulk`` or ``composition``."""
        return kind_of(self.graph)


def noun_of(kinds: Mapping[str, Collection[str]]) -> str:
    """Name what all targets are of, by their kinds: slab, crystal, structure for both, or composition."""
    found = {kind for own in kinds.values() for kind in own}
    names = {"slab": "slab", "bulk": "crystal", "composition": "composition"}
    return names[found.pop()] if len(found) == 1 else "structure"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled slabs and crystals, or compositions, and the names of their targets, in a fixed order."""

    entries: tuple[Entry, ...]  # sorted as in their source
    targets: tuple[str, ...]  # names of the targets
    _: KW_ONLY
    skipped: tuple[str, ...] = ()  # one line for each labelled slab that no graph could be made of
    snapshot: str | None = None  # id of the snapshot that they come from, if any
    excluded: Mapping[str, int] = field(default_factory=dict)  # labels that an audit keeps out, by target
    left_out: str = ""  # see `stores.labelled.left_out_line`
    # names of the classes of those targets that are no quantities: a label is a place among them
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extras: tuple[str, ...] = ()  # names of the numeric columns of its compositions, in their order
    units: Mapping[str, str] = field(default_factory=dict)  # of targets other than `OWN_TARGETS`, where known
    rehearsed: frozenset[str] = frozenset()  # targets whose labels are a potential's, not DFT's

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    @property
    def noun(self) -> str:
        """Word for an entry in messages: slab, crystal, structure or composition."""
        return noun_of({"": {entry.kind for entry in self.entries}}) if self.entries else "slab"

    def subset(self, indices: Sequence[int]) -> Dataset:
        """Return the entries with these numbers, in this order."""
        entries = tuple(self.entries[i] for i in indices)
        return replace(self, entries=entries, skipped=(), left_out="")

    @classmethod
    def from_store(
        cls,
        uri: str | Sequence[str],
        targets: Sequence[str] | None = None,
        *,
        settings: GraphSettings | None = None,
        methods: Sequence[str] | None = None,
        separate: bool = False,
        cache: GraphCache | None = None,
        tick: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Join the imported slabs and the accepted surfaces of a store, or of several.

        Parameters
        ----------
        uri
            The store, or the stores: a target may be labelled in some of them only.
        targets
            Names wanted; by default all that the store has labels of.
        settings
            How graphs are built; the defaults are the paper's.
        methods
            Only labels of these method fingerprints; a beginning that fits one of them alone will do.
        separate
            Where a target was computed by several methods, make one target of each, named
            ``target@fingerprint``, instead of refusing.
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
            If there is no such store, target or method, no label at all, a target has labels of several
            methods, or two stores hold different records under one id.
        StoreError
            If the store cannot be read.
        """
        uris = (uri,) if isinstance(uri, str) else tuple(uri)
        found: dict[str, tuple[LabelledSlab, str]] = {}
        arrays: dict[str, PlainSlab] = {}
        for one in uris:
            with open_store(one, must_exist=True) as store:
                for slab in labelled_slabs(store):
                    if slab.record_id not in found:
                        found[slab.record_id] = (_without_structure(slab, arrays), one)
                    other, where = found[slab.record_id]
                    if _labels_of(other) != _labels_of(slab):
                        raise InputError(
                            f"The record {slab.record_id} has other labels in {where} than in {one}; "
                            "bring one of the stores up to date."
                        )
        everything = [found[name][0] for name in sorted(found)]
        slabs = of_methods(everything, methods, separate=separate)
        named = ", ".join(uris)
        place = f"The store {named}" if len(uris) == 1 else f"What the stores {named} hold together"
        left_out = left_out_line(everything, slabs) if methods is None else ""
        heads = heads_of(slabs, wanted_targets(slabs, targets, place, left_out), separate=separate)
        return replace(cls._build(slabs, arrays, heads, settings, cache, tick), left_out=left_out)

    @classmethod
    def from_snapshot(
        cls,
        uri: str,
        snapshot: str,
        targets: Sequence[str] | None = None,
        *,
        settings: GraphSettings | None = None,
        cache: GraphCache | None = None,
        tick: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Read the labelled slabs of a snapshot: what `from_store` gave when it was made, to the last digit.

        Parameters
        ----------
        uri
            The store.
        snapshot
            Id, or a beginning that fits one alone.
        targets
            Names of the snapshot's heads, or of targets, each of which may have several; by default all.
        settings, cache, tick
            See `from_store`.

        Raises
        ------
        InputError
            If there is no such store, snapshot or target.
        StoreError
            If the snapshot cannot be read, or has lost data.
        """
        with open_store(uri, must_exist=True) as store:
            found = find_snapshot(store, snapshot)
            heads: dict[tuple[str, str], str] = {}
            for wanted in _names_of(found) if targets is None else targets:
                fitting = [head for head in found.heads if wanted in (head.name, head.target)]
                if not fitting:
                    there = ", ".join(head.name for head in found.heads)
                    raise InputError(f"The snapshot {found.id} has no labels {wanted}; it has {there}.")
                heads |= {(head.target, head.method): head.name for head in fitting}
            arrays: dict[str, PlainSlab] = {}
            slabs = [_without_structure(slab, arrays) for slab in snapshot_slabs(store, found)]
        units = {head.name: head.unit for head in found.heads if head.unit and head.name in heads.values()}
        return replace(cls._build(slabs, arrays, heads, settings, cache, tick, found.id), units=units)

    @classmethod
    def _build(
        cls,
        slabs: list[LabelledSlab],
        arrays: Mapping[str, PlainSlab],
        heads: Mapping[tuple[str, str], str],
        settings: GraphSettings | None,
        cache: GraphCache | None,
        tick: Callable[[int, int], None] | None,
        snapshot: str | None = None,
    ) -> Self:
        """Join graphs, or compositions, and values of the records that have one of the heads."""
        excluded = count_excluded(slabs, {target for target, _ in heads})
        rehearsed = frozenset(name for (_, method), name in heads.items() if not is_dft(method))
        values = values_by_head(slabs, heads)
        kept = [i for i, value in enumerate(values) if any(v is not None for v in value.values())]
        slabs, values = [slabs[i] for i in kept], [values[i] for i in kept]
        if check_one_kind(slabs, {target for target, _ in heads}):
            found = Compositions.of(slabs)
            return cls(
                _composition_entries(slabs, values, found),
                tuple(heads.values()),
                snapshot=snapshot,
                excluded=excluded,
                classes=_classes_of(slabs, heads),
                extras=found.extras,
                units=units_of_heads(slabs, heads),
                rehearsed=rehearsed,
            )
        built = build_graphs(
            [arrays[slab.record_id] for slab in slabs], settings or GraphSettings(), cache=cache, tick=tick
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
            [slab.compound or _compound(slab.formula, arrays[slab.record_id]) for slab, _, _ in usable],
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
                crystal=formula_key(slab.formula, slab.chemsys, slab.compound),
                source_id=slab.source_id,
            )
            for (slab, value, graph), group, (formula, key) in zip(usable, groups, compounds, strict=True)
        )
        return cls(
            entries,
            tuple(heads.values()),
            skipped=skipped,
            snapshot=snapshot,
            excluded=excluded,
            classes=_classes_of(slabs, heads),
            units=units_of_heads(slabs, heads),
            rehearsed=rehearsed,
        )


@dataclass
class SnapshotData:
    """The data set of a snapshot, read once for each way of building graphs."""

    uri: str  # of the store
    snapshot: str  # id
    heads: tuple[str, ...]  # names of its heads

    def __post_init__(self) -> None:
        """Start with nothing read."""
        self._read: dict[GraphSettings, Dataset] = {}

    def __call__(self, settings: GraphSettings, targets: tuple[str, ...] = ()) -> Dataset:
        """Return it with these graphs; `targets` are those of a preset, the snapshot's own are taken."""
        if settings not in self._read:
            self._read[settings] = Dataset.from_snapshot(
                self.uri, self.snapshot, self.heads, settings=settings, cache=GraphCache()
            )
        return self._read[settings]


def _composition_entries(
    slabs: Sequence[LabelledSlab], values: Sequence[dict[str, float | None]], found: Compositions
) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            record_id=slab.record_id,
            graph=found.inputs[i],
            targets=values[i],
            formula=slab.formula,
            chemsys=slab.chemsys,
            elements=tuple(slab.chemsys.split("-")),
            compound=found.compounds[i],
            group=found.groups[i],
            crystal=found.crystals[i],
            source_id=slab.source_id,
        )
        for i, slab in enumerate(slabs)
    )


def _names_of(snapshot: Snapshot) -> list[str]:
    """Return the names of heads in the order of `from_store`: our targets first, then the others by name."""
    heads = sorted(snapshot.heads, key=lambda head: (head.target not in OWN_TARGETS, head.name))
    return [head.name for head in heads]


def _labels_of(slab: LabelledSlab) -> tuple[object, ...]:
    """Return what must agree where two stores hold one record: values and what they mean."""
    return slab.targets, slab.method, slab.classes


def _classes_of(
    slabs: Sequence[LabelledSlab], heads: Mapping[tuple[str, str], str]
) -> dict[str, tuple[str, ...]]:
    """Return the classes of each head that has some; InputError if its labels do not agree about them."""
    found: dict[str, tuple[str, ...]] = {}
    for slab in slabs:
        for name in slab.targets:
            head = heads.get((name, slab.method))
            own = slab.classes.get(name, ())
            if head is not None and found.setdefault(head, own) != own:
                one, other = (", ".join(names) or "numbers" for names in (found[head], own))
                raise InputError(
                    f"Labels {name} are of the classes {one} in some records and {other} in others; import "
                    "them again from one file."
                )
    return {head: names for head, names in found.items() if names}


def _without_structure(slab: LabelledSlab, arrays: dict[str, PlainSlab]) -> LabelledSlab:
    """Move a slab's structure into `arrays` by record: as arrays it takes a tenth of the memory."""
    name = slab.record_id
    if slab.fractions is not None:
        return slab
    if slab.bulk:
        arrays[name] = PlainBulk.from_dict(slab.slab or {}, f"the crystal of record {name}")
    else:
        arrays[name] = PlainSlab.from_dict(slab.slab or {}, f"the slab of record {name}")
    return replace(slab, slab=None)


def _compound(formula: str, slab: PlainSlab) -> str:
    """Return the compound of our own slab as an imported slab has it; its formula is known."""
    try:
        return f"{formula} {crystal_inside(frame_of(slab))[1]:.3f}"
    except InputError:  # also of what is no slab: its graph is refused with the reason
        return formula
