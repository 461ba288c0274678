"""Labelled slabs that came from elsewhere: data sets of others, folders for CGCNN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.collection import SCHEMA_VERSION
from stores.method import content_hash
from stores.records import StructureDict
from stores.values import timestamp

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

COLLECTION = "labels"


def source_fingerprint(name: str) -> str:
    """Return the method fingerprint of everything that comes from one source.

    Parameters
    ----------
    name
        Of the source. What it computed, and how, is not known; slabs of one source are taken to be alike.
    """
    return f"imported-{name}-{content_hash({'source': name}, 16)}"


class LabelRecord(BaseModel):
    """A slab with any number of targets, as its source has it."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Content hash of the source and the slab's name in it")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the record's layout")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), description="When imported (UTC)")
    source: str = Field(description="Name of the source, e.g. mg_intermetallic_slabs")
    source_id: str = Field(description="The slab's name in its source")
    method_fingerprint: str = Field(description="Of the source; targets of two fingerprints never mix")
    formula: str = Field(description="Reduced formula of the slab, Mg first")
    chemsys: str = Field(description="Elements in alphabetical order, e.g. Ag-Mg")
    composition: dict[str, int] = Field(description="Atoms of each element in the slab")
    n_atoms: int
    compound: str = Field(
        description="Reduced formula of the crystal inside the slab and its volume per atom (A^3); "
        "the slab's formula where it does not show its crystal"
    )
    slab: StructureDict = Field(description="The model's input (A)")
    geometry: Literal["as_cut", "relaxed"] = Field(description="Whether `slab` is as cut or relaxed")
    targets: dict[str, float | None] = Field(description="Values by name; null where the source has none")
    units: dict[str, str] = Field(default_factory=dict, description="Units of the targets, where known")
    excluded: dict[str, str] | None = Field(
        default=None, description="Targets that mgsurf audit keeps out of training, with the reason"
    )
    miller_index: tuple[int, int, int] | None = Field(default=None, description="hkl, where known")
    termination: str | None = Field(default=None, description="Name of the termination, where known")


def add_labels(store: SurfaceStore, records: Iterable[LabelRecord]) -> int:
    """Write records; equal ones stay as they are.

    Returns
    -------
    int
        Number of records that were new or had changed.
    """
    from stores.exclusion_marks import carry_exclusions

    documents = []
    for record in records:
        document = record.model_dump(mode="json")
        document["created_at"] = timestamp(record.created_at)
        if record.excluded is None:  # as records of earlier versions, so that equal ones stay as they are
            del document["excluded"]
        documents.append(document)
    carry_exclusions(store.collection(COLLECTION), documents)
    return store.collection(COLLECTION).upsert(documents, keep=("created_at",))


def label_documents(
    store: SurfaceStore, criteria: dict[str, Any] | None = None, properties: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield imported slabs as plain values, in the order of their import."""
    return store.collection(COLLECTION).query(criteria, properties)
