"""Candidates: slabs that were cut and not computed, with the values that a model predicts.

``candidates``  one document for each slab; its id is that of the SurfaceRecord it would become
``cuts``        which candidates came of cutting one crystal with one set of settings, so that it need not be
                cut again to know them
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION, check_version
from stores.errors import InputError
from stores.method_names import stored_methods
from stores.records import Method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stores.surfaces import SurfaceStore

CANDIDATES = "candidates"
CUTS = "cuts"

_AT_ONCE = 1000  # documents read or written together

SlabKey = tuple[str, tuple[int, ...], str]
"""Bulk key, hkl and termination key, which identify a computed slab. The number of layers is left out, for it
changes with the lattice, which is an estimate until the bulk is relaxed."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PackedSlab(_Model):
    """A slab in few bytes: pymatgen's dictionary of it would be seven times larger."""

    numbers: list[int] = Field(description="Atomic numbers")
    lattice: list[list[float]] = Field(description="Rows (A)")
    fractional: list[list[float]] = Field(description="Coordinates")


class Predicted(_Model):
    """A model's prediction of one target."""

    value: float | None = Field(description="In the target's unit; null where it is no number")
    sigma: float | None = Field(description="Standard deviation; null where the model gives none")
    shared: float | None = Field(
        default=None,
        description="Part of it that all slabs of the compound share; null where the model does not know it",
    )


class CandidateRecord(_Model):
    """A slab that was cut and not computed."""

    id: str = Field(description="Id of the SurfaceRecord that computing it would give")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the record's layout")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), description="When cut (UTC)")
    campaign: str = Field(description="Name of the campaign that listed it first")
    formula: str = Field(description="Reduced formula of the compound, Mg first")
    chemsys: str = Field(description="Elements in alphabetical order, e.g. Ag-Mg")
    spacegroup_number: int = Field(description="Of the crystal it was cut from")
    bulk_key: str = Field(description="Hash of the crystal before relaxation, as in BulkRecord")
    bulk_id: str = Field(
        description="Id of the BulkRecord it was cut from; empty if cut before the bulk was relaxed"
    )
    lattice_is_guess: bool = Field(description="True if the crystal's lattice was estimated")
    miller_index: tuple[int, int, int] = Field(description="hkl in the conventional standard cell")
    termination_label: str = Field(description="Outermost layer, e.g. Mg, Ag, Mg2Zn-b")
    termination_key: str = Field(description="Order of the layers from the surface inward")
    method_fingerprint: str = Field(description="With which it would be computed")
    n_layers: int
    n_atoms: int
    volume: float = Field(description="Of the cell, vacuum included (A^3)")
    kpoints: tuple[int, int, int] = Field(description="Mesh of the slab")
    slab: PackedSlab = Field(description="As cut (A)")

    model: str = Field(default="", description="Version of the model behind the numbers; empty: none yet")
    predictions: dict[str, Predicted] = Field(
        default_factory=dict, description="By target; none if the model cannot take the slab"
    )
    distance: float | None = Field(
        default=None, description="From the training slabs; above 1 it is unlike them"
    )
    place: list[float] = Field(
        default_factory=list, description="In the model's embedding, see model.evaluation.familiarity"
    )
    warnings: list[str] = Field(default_factory=list, description="Reasons to trust the numbers less")


class CutSlab(_Model):
    """One slab of a cut."""

    id: str
    miller_index: tuple[int, int, int]
    termination_key: str


class CutRecord(_Model):
    """What cutting one crystal gave."""

    id: str = Field(description="Hash of the crystal as it was given, settings of the cut and method")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the record's layout")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), description="When cut (UTC)")
    bulk_key: str
    bulk_id: str = Field(description="Id of the BulkRecord that was cut; empty if none was there yet")
    method: Method = Field(description="With which the slabs would be computed")
    method_fingerprint: str
    slabs: list[CutSlab] = Field(description="All its slabs, those that are computed included")


def add_candidates(
    store: SurfaceStore, candidates: Iterable[CandidateRecord], cuts: Iterable[CutRecord] = ()
) -> int:
    """Write candidates, then the cuts they came of (a cut that is there had all its candidates).

    Returns the number of candidates that were new or had changed.
    """
    written = _write(store, CANDIDATES, candidates)
    _write(store, CUTS, cuts)
    return written


def update_candidates(store: SurfaceStore, documents: Sequence[dict[str, Any]]) -> int:
    """Put whole documents, as `candidate_documents` yields them with their slabs, in place of the stored."""
    return store.collection(CANDIDATES).upsert(documents, keep=("created_at",))


def candidate_documents(
    store: SurfaceStore, criteria: dict[str, Any] | None = None, *, with_slabs: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield candidates as plain values; an `InputError` if one was written by a newer mgsurf."""
    return _checked(store, store.collection(CANDIDATES).query(criteria, _fields(with_slabs=with_slabs)))


def candidates_by_id(
    store: SurfaceStore, ids: Sequence[str], *, with_slabs: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield those of these candidates that are there, in the order of the ids, a thousand in memory."""
    collection, fields = store.collection(CANDIDATES), _fields(with_slabs=with_slabs)
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        found = {document["id"]: document for document in _checked(store, collection.by_id(part, fields))}
        yield from (found[name] for name in part if name in found)


def _fields(*, with_slabs: bool) -> list[str]:
    return [name for name in CandidateRecord.model_fields if with_slabs or name != "slab"]


def _checked(store: SurfaceStore, documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        check_version(document.get("schema_version"), f"The candidate {document['id']} in {store.uri}")
        yield document


def known_cuts(store: SurfaceStore, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return those of these cuts that were made before, as plain values by their ids."""
    found = store.collection(CUTS).by_id(ids, ["id", "bulk_key", "bulk_id", "slabs"])
    return {cut["id"]: cut for cut in found}


def method_of_candidates(store: SurfaceStore) -> Method:
    """Return the one method with which the candidates of a store would be computed.

    An `InputError` if there are no candidates, or they are of several methods.
    """
    there = store.distinct("method_fingerprint", collection=CANDIDATES)
    newest = {"created_at": -1}
    methods = {
        name: Method.model_validate(cut["method"])
        for name in there
        for cut in store.query({"method_fingerprint": name}, ["method"], newest, limit=1, collection=CUTS)
    }
    families = {methods[name].family if name in methods else name for name in there}
    if len(families) != 1:
        what = f"candidates of several methods ({', '.join(there)})" if there else "no candidates"
        raise InputError(
            f"The store {store.uri} holds {what}; name a campaign: mgsurf suggest CAMPAIGN.yaml."
        )
    if not methods:
        raise InputError(f"The store {store.uri} has lost how its candidates were cut; name their campaign.")
    last = store.query({"method_fingerprint": {"$in": there}}, ["method"], newest, limit=1, collection=CUTS)
    return Method.model_validate(next(iter(last))["method"])


def known_candidates(store: SurfaceStore, ids: Iterable[str]) -> set[str]:
    """Return which of these candidates are there."""
    return {document["id"] for document in store.collection(CANDIDATES).by_id(ids, ["id"])}


def slab_key(document: dict[str, Any]) -> SlabKey:
    """Return what a candidate and the surface that is made of it have in common."""
    return document["bulk_key"], tuple(document["miller_index"]), document["termination_key"]


def computed_slabs(store: SurfaceStore, method: Method) -> dict[SlabKey, bool]:
    """Return every slab that was computed with a method and its setups of the slab's elements.

    True if neither surface energy nor work function came out, for a calculation failed.
    """
    known = stored_methods(store, "surfaces")
    keys = {bulk["id"]: bulk["bulk_key"] for bulk in store.query({}, ["id", "bulk_key"], collection="bulks")}
    fields = ["bulk_id", "miller_index", "termination_key", "surface_energy", "work_function"]
    fields += ["method_fingerprint", "chemsys"]

    @cache
    def by_method(fingerprint: str, system: str) -> bool:
        elements = system.split("-")
        if fingerprint not in known:
            return fingerprint == method.for_elements(elements).fingerprint
        return method.covers(known[fingerprint], elements)

    return {
        (keys[surface["bulk_id"]], tuple(surface["miller_index"]), surface["termination_key"]): (
            surface["surface_energy"] is None and surface["work_function"] is None
        )
        for surface in store.query({}, fields)
        if surface["bulk_id"] in keys and by_method(surface["method_fingerprint"], surface["chemsys"])
    }


def remove_candidates(store: SurfaceStore, ids: Iterable[str]) -> int:
    """Remove candidates; return how many were there."""
    return store.remove({"id": {"$in": list(ids)}}, collection=CANDIDATES)


def _write(store: SurfaceStore, name: str, records: Iterable[CandidateRecord | CutRecord]) -> int:
    collection, rest, written = store.collection(name), iter(records), 0
    while part := [record.model_dump() for record in islice(rest, _AT_ONCE)]:
        written += collection.upsert(part, keep=("created_at",))
    return written
