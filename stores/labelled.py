"""Labelled slabs of a store, imported or computed, bulk crystals, compositions; methods of their labels.

What a training reads, and what a snapshot keeps, is decided here alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION, Document, check_version
from stores.backends.values import timestamp
from stores.errors import InputError, pluralize
from stores.exclusion_marks import excluded_targets, write_marked
from stores.method_names import is_dft, meeting_names
from stores.records import StructureDict, content_hash
from stores.verdicts import TARGETS, verdict_status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from stores.surfaces import SurfaceStore


COLLECTION = "labels"


BULK = "bulk"  # geometry of crystals without surface; a source has slabs or crystals, whose labels never meet
COMPOSITION = "composition"
"""Geometry of a composition without a structure; their labels meet neither those of slabs nor of crystals."""


def source_fingerprint(name: str, *, geometry: str = "") -> str:
    """Return the method fingerprint of all records of one source: they are taken as alike.

    geometry: `BULK` or `COMPOSITION`; slabs without.
    """
    if geometry:
        return f"imported-{name}-{geometry}-{content_hash({'source': name, 'geometry': geometry}, 16)}"
    return f"imported-{name}-{content_hash({'source': name}, 16)}"


class LabelRecord(BaseModel):
    """A slab, a bulk crystal or a composition with any number of targets, as its source has it."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Content hash of the source and the slab's name in it")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the record's layout")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), description="When imported (UTC)")
    source: str = Field(description="Name of the source, e.g. mg_intermetallic_slabs")
    source_id: str = Field(description="The slab's name in its source")
    method_fingerprint: str = Field(description="Of the source; targets of two fingerprints never mix")
    formula: str = Field(description="Reduced formula of the slab, Mg first")
    chemsys: str = Field(description="Elements in alphabetical order, e.g. Ag-Mg")
    composition: dict[str, int] = Field(
        description="Atoms of each element in the slab; empty for a composition, which has `fractions`"
    )
    n_atoms: int = Field(description="In the cell; 0 for a composition")
    compound: str = Field(
        description="Reduced formula of the crystal inside the slab and its volume per atom (A^3); "
        "the slab's formula where it does not show its crystal"
    )
    slab: StructureDict | None = Field(
        default=None, description="The model's input (A); None for a composition"
    )
    geometry: Literal["as_cut", "relaxed", "bulk", "composition"] = Field(
        description="Whether `slab` is a slab as cut or relaxed, or a crystal periodic in three directions; "
        "or a composition without a structure"
    )
    fractions: dict[str, float] | None = Field(
        default=None, description="Share of the atoms by element, their sum is 1; of a composition only"
    )
    extras: dict[str, float | None] | None = Field(
        default=None,
        description="Numeric columns of a composition by name, e.g. of its processing, in the source's units",
    )
    composition_unit: Literal["at%", "wt%"] | None = Field(
        default=None, description="In which the source gives the amounts of a composition"
    )
    targets: dict[str, float | None] = Field(description="Values by name; null where the source has none")
    units: dict[str, str] = Field(
        default_factory=dict, description='Units of the targets, where known; "scaled" if without one'
    )
    classes: dict[str, list[str]] | None = Field(
        default=None,
        description="Names of the classes of targets that are no quantities; a value is a place in the list",
    )
    excluded: dict[str, str] | None = Field(
        default=None, description="Targets that mgsurf audit keeps out of training, with the reason"
    )
    miller_index: tuple[int, int, int] | None = Field(default=None, description="hkl, where known")
    termination: str | None = Field(default=None, description="Name of the termination, where known")


_LEFT_OUT = ("slab", "fractions", "extras", "composition_unit", "excluded", "classes")
"""Fields that a document has only where they have a value."""


def add_labels(
    store: SurfaceStore,
    records: Iterable[LabelRecord],
    merged: Callable[[Document, Document], Document | None] | None = None,
) -> int:
    """Write records, equal ones stay as they are; return how many were new or had changed.

    `merged`: see `stores.exclusion_marks.write_marked`.
    """
    documents = []
    for record in records:
        document = record.model_dump(mode="json")
        document["created_at"] = timestamp(record.created_at)
        for name in _LEFT_OUT:
            if document[name] is None:  # as records of earlier versions, so that equal ones stay as they are
                del document[name]
        documents.append(document)
    return write_marked(store.collection(COLLECTION), documents, merged)


OWN_TARGETS = TARGETS  # that a SurfaceRecord has; other records may have any

WITHOUT_MG = "-without-mg"
"""Ending of the method of computed surfaces without Mg, whose values thus never meet those of Mg compounds.

Their surface energies are given at another chemical potential than Mg-rich, and a model of Mg intermetallics
is not meant for them. `of_methods` takes them by the name of this method, as targets of their own, or from a
store that holds nothing else by the method. Imported slabs are as their source has them.
"""

_SHARED = ("id", "schema_version", "slab", "method_fingerprint", "formula", "chemsys", "composition")
_OF_SURFACES = (*_SHARED, "bulk_id", "miller_index", "termination_key", "verdicts", *OWN_TARGETS)
_OF_LABELS = (*_SHARED, "source_id", "compound", "targets", "excluded", "geometry", "classes",
              "fractions", "extras", "units")  # fmt: skip


@dataclass(frozen=True, eq=False)
class LabelledSlab:
    """An imported slab, bulk crystal or composition, or a computed surface, with its accepted values."""

    record_id: str  # of the record
    kind: str  # its collection: ``surfaces`` or ``labels``
    slab: dict[str, Any] | None  # the structure as stored, as cut (A); None where it was left out
    targets: dict[str, float]  # accepted values by name, in their units
    # name of the method of all values, equal for all that may meet (`stores.method_names`); computed slabs
    # without Mg have one of their own (`WITHOUT_MG`)
    method: str
    # formula, chemsys, composition: of the compound, of the slab for imported ones; the last counts the
    # slab's atoms
    formula: str
    chemsys: str
    composition: dict[str, int]
    # see `stores.labelled.LabelRecord.compound`; None for surfaces, whose formula is known
    compound: str | None = None
    # bulk, plane and termination of a surface: equal for one termination cut at two thicknesses
    same: tuple[str, tuple[int, ...], str] | None = None
    # targets that an audit keeps out, see `stores.exclusions`; they are not among `targets`
    excluded: tuple[str, ...] = ()
    source_id: str = ""  # of an imported slab in its source
    bulk: bool = False  # whether it is a crystal without surface
    # names of the classes of targets that are no quantities
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # share of the atoms by element, of a composition; None for slabs and crystals
    fractions: Mapping[str, float] | None = None
    # numeric columns of a composition by name
    extras: Mapping[str, float | None] = field(default_factory=dict)
    # of the targets that are not `OWN_TARGETS`, where known
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_surface(self) -> bool:
        """Whether it is a slab."""
        return not self.bulk and self.fractions is None


def labelled_slabs(store: SurfaceStore, *, with_slabs: bool = True) -> Iterator[LabelledSlab]:
    """Yield the imported slabs and the surfaces of a store with their accepted values, which may be none.

    Without structures, which are most of what is read, unless `with_slabs`. `InputError` if a record was
    written by a newer mgsurf.
    """

    def fields(names: Sequence[str]) -> list[str]:
        return [name for name in names if with_slabs or name != "slab"]

    for document in store.query(properties=fields(_OF_LABELS), collection=COLLECTION):
        out = excluded_targets(document)
        targets = document["targets"].items()
        yield LabelledSlab(
            **_shared(document, COLLECTION),
            targets={name: value for name, value in targets if value is not None and name not in out},
            compound=document["compound"],
            excluded=tuple(out),
            source_id=document["source_id"],
            bulk=document.get("geometry") == BULK,
            fractions=document.get("fractions"),
            extras=document.get("extras") or {},
            classes={name: tuple(names) for name, names in (document.get("classes") or {}).items()},
            units={
                name: unit for name, unit in (document.get("units") or {}).items() if name not in OWN_TARGETS
            },
        )
    name = meeting_names(store, "surfaces")
    for document in store.query(properties=fields(_OF_SURFACES)):
        elements = document["chemsys"].split("-")
        kept_apart = "" if "Mg" in elements else WITHOUT_MG
        method = name(document["method_fingerprint"], elements) + kept_apart
        yield LabelledSlab(
            **_shared(document, "surfaces") | {"method": method},
            targets={
                name: document[name]
                for name in OWN_TARGETS
                if document.get(name) is not None and verdict_status(document, name) == "accepted"
            },
            same=(document["bulk_id"], tuple(document["miller_index"]), document["termination_key"]),
            excluded=tuple(excluded_targets(document)),
        )


def _shared(document: dict[str, Any], kind: str) -> dict[str, Any]:
    check_version(document.get("schema_version"), f"The record {document['id']} in {kind}")
    return {
        "record_id": document["id"],
        "kind": kind,
        "slab": document.get("slab"),
        "method": document["method_fingerprint"],
        "formula": document["formula"],
        "chemsys": document["chemsys"],
        "composition": document["composition"],
    }


def of_methods(
    slabs: Sequence[LabelledSlab], methods: Sequence[str] | None, *, separate: bool = False
) -> list[LabelledSlab]:
    """Return the slabs of these method fingerprints; if None of any.

    Without a choice slabs of rehearsals with a potential are left out, and computed slabs without Mg
    (`WITHOUT_MG`) where other slabs have labels, unless every method makes a target of its own (`separate`).

    A beginning that fits one fingerprint alone will do, with or without `WITHOUT_MG`: then it means the slabs
    with Mg; else an `InputError`.
    """
    if methods is None:
        if separate:
            return list(slabs)
        by_dft = [slab for slab in slabs if is_dft(slab.method)]
        others = [slab for slab in by_dft if not slab.method.endswith(WITHOUT_MG)]
        return others if any(slab.targets and slab.has_surface for slab in others) else by_dft
    there = sorted({slab.method for slab in slabs})
    chosen = set()
    for wanted in methods:
        fitting = [wanted] if wanted in there else [name for name in there if name.startswith(wanted)]
        if len(fitting) == 2 and fitting[1] == fitting[0] + WITHOUT_MG:  # sorted
            fitting.pop()
        if len(fitting) != 1:
            found = f"fits {', '.join(fitting)}" if fitting else "is not there"
            raise InputError(f"The method {wanted} {found}; the store has {', '.join(there) or 'no labels'}.")
        chosen.add(fitting[0])
    return [slab for slab in slabs if slab.method in chosen]


def left_out_line(slabs: Sequence[LabelledSlab], chosen: Sequence[LabelledSlab]) -> str:
    """State how many labelled slabs `of_methods` left out without a choice, why, and how to take them.

    Empty if none.
    """
    kept = {slab.record_id for slab in chosen}
    left: dict[str, Counter[str]] = defaultdict(Counter)
    for slab in slabs:
        if slab.targets and slab.record_id not in kept:
            if not is_dft(slab.method):
                left["of a rehearsal without DFT"][slab.method] += 1
            elif slab.method.endswith(WITHOUT_MG):
                left["without Mg"][slab.method] += 1
    return "; ".join(
        f"{pluralize(methods.total(), 'slab')} {what} left out; --method {min(methods)} takes them"
        for what, methods in left.items()
    )


def wanted_targets(
    slabs: Sequence[LabelledSlab], targets: Sequence[str] | None, place: str, left_out: str = ""
) -> list[str]:
    """Return the targets: the given ones, else surface energy and work function, then the others by name.

    left_out: see `left_out_line`.

    Raises
    ------
    InputError
        If there is no label at all, or none of a given target.
    """
    counts = Counter(name for slab in slabs for name in slab.targets)
    if not counts:
        remedy = left_out or "mgsurf import or mgsurf run adds some."
        raise InputError(f"{place} has no labelled slabs that fit; {remedy}")
    if targets is None:
        return sorted(counts, key=lambda name: (name not in OWN_TARGETS, name))
    for name in targets:
        if not counts[name]:
            raise InputError(f"{place} has no labels {name}; it has {', '.join(sorted(counts))}.")
    return list(targets)


def heads_of(
    slabs: Sequence[LabelledSlab], names: Sequence[str], *, separate: bool = False
) -> dict[tuple[str, str], str]:
    """Return the name of the training target of every target and method: one method to each.

    Where a target was computed by several methods, `separate` makes one of each, named
    ``target@fingerprint``; else that is an `InputError`.
    """
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
    return heads


def units_of_heads(slabs: Iterable[LabelledSlab], heads: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the unit of each head that states one; all of them, joined by "or", where labels differ."""
    found: dict[str, set[str]] = defaultdict(set)
    for slab in slabs:
        for name in slab.targets.keys() & slab.units.keys():
            if (head := heads.get((name, slab.method))) is not None:
                found[head].add(slab.units[name])
    return {head: " or ".join(sorted(units)) for head, units in sorted(found.items())}


def count_excluded(slabs: Sequence[LabelledSlab], names: Collection[str]) -> dict[str, int]:
    """Return how many values of each of the targets an audit keeps out of training."""
    counts = Counter(name for slab in slabs for name in slab.excluded if name in names)
    return dict(sorted(counts.items()))


def values_by_head(
    slabs: Sequence[LabelledSlab], heads: Mapping[tuple[str, str], str]
) -> list[dict[str, float | None]]:
    """Return every slab's value of every head, None where it has none."""
    values: list[dict[str, float | None]] = []
    for slab in slabs:
        own: dict[str, float | None] = dict.fromkeys(heads.values())
        for name, value in slab.targets.items():
            if (name, slab.method) in heads:
                own[heads[name, slab.method]] = value
        values.append(own)
    return values
