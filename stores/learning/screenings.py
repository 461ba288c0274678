"""Screened compounds: averages over their Wulff shapes and their dissolution potentials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from stores.backends.collection import SCHEMA_VERSION
from stores.learning.model_card import read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stores.surfaces import SurfaceStore

COLLECTION = "screenings"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScreenedFacet(_Model):
    """A facet by its termination of lowest surface energy."""

    miller_index: tuple[int, int, int]
    termination: str
    surface_energy: float = Field(description="At the chemical potential of the screening (eV/A^2)")
    surface_energy_sigma: float = Field(description="Standard deviation (eV/A^2); 0 for DFT")
    work_function: float | None = Field(description="(eV)")
    work_function_sigma: float = Field(description="Standard deviation (eV); 0 for DFT")
    source: str = Field(description="dft or model")
    area_fraction: float = Field(description="Share of the Wulff shape's area (1)")
    appears: float = Field(description="Share of the draws in which the facet is on the shape (1)")


class PastValues(_Model):
    """Values of the screening before, by an earlier model or other records."""

    model: str
    surface_energy: float | None = None
    work_function: float | None = None
    potential: float | None = None


class ScreeningRecord(_Model):
    """A compound's values, and what they follow from."""

    id: str = Field(description="Content hash of crystal and settings")
    schema_version: int = SCHEMA_VERSION
    inputs: str = Field(description="Content hash of model, records and formation energy behind the values")
    label: str
    formula: str = Field(description="Reduced, Mg first")
    bulk_key: str = Field(description="Of the crystal; of a composition without one a hash of its formula")
    spacegroup_number: int = Field(description="0 without a crystal")
    spacegroup_symbol: str = Field(description="Empty without a crystal, as cell, species and positions")
    lattice: list[list[float]] = Field(
        description="Conventional standard cell that planes refer to, rows (A)"
    )
    species: list[str]
    positions: list[list[float]] = Field(description="Fractional coordinates")
    settings: dict[str, JsonValue]
    model: str = Field(description="Version or folder; empty if DFT records gave all facets")
    surface_energy: float | None = Field(default=None, description="Area-weighted (eV/A^2)")
    surface_energy_sigma: float | None = Field(default=None, description="Standard deviation (eV/A^2)")
    work_function: float | None = Field(default=None, description="Area-weighted (eV)")
    work_function_sigma: float | None = Field(default=None, description="Standard deviation (eV)")
    shape_factor: float | None = Field(default=None, description="Area over volume^(2/3) (1)")
    facets: list[ScreenedFacet] = Field(default_factory=list)
    dmu: float = Field(default=0.0, description="Of the reference element (eV)")
    potential: float | None = Field(default=None, description="Dissolution equilibrium (V against SHE)")
    potential_sigma: float | None = Field(
        default=None, description="Standard deviation by that of the formation energy (V)"
    )
    cations: list[str] = Field(default_factory=list, description="Formed in the dissolution, such as Mg2+")
    formation_energy: float | None = Field(default=None, description="(eV/atom)")
    formation_energy_sigma: float | None = Field(
        default=None, description="Standard deviation (eV/atom) if a model of compositions predicted it"
    )
    energy_source: str = Field(default="", description="Of the formation energy")
    semiconductor: str = Field(default="", description="Why it is taken for one; empty for metals")
    unseen_elements: list[str] = Field(default_factory=list, description="Not in the model's training set")
    notes: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list, description="Why a value is missing")
    past: PastValues | None = None
    screened_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def stored_screenings(store: SurfaceStore, ids: Sequence[str]) -> dict[str, ScreeningRecord]:
    """Return screened compounds by id; unknown ids are left out.

    Raises
    ------
    InputError
        If one was written by a newer mgsurf.
    """
    found = store.query({"id": {"$in": list(ids)}}, collection=COLLECTION)
    return {d["id"]: read_entry(ScreeningRecord, d, f"Screening {d['label']}", store.uri) for d in found}


def latest_screenings(store: SurfaceStore, most: int = 0) -> list[ScreeningRecord]:
    """Return the compounds screened with the settings and the model of the latest screening, by formula.

    Compounds that need no model, since DFT records gave all facets, go with any.

    Parameters
    ----------
    store
        Where they are.
    most
        Read no more than so many, the latest ones; 0 for all.

    Raises
    ------
    InputError
        If one was written by a newer mgsurf.
    """
    found = [
        read_entry(ScreeningRecord, d, f"Screening {d['label']}", store.uri)
        for d in store.query(
            {}, sort={"screened_at": -1} if most else None, limit=most, collection=COLLECTION
        )
    ]
    if not found:
        return []
    last = max(found, key=lambda record: (record.screened_at, record.id))
    with_model = [r for r in found if r.settings == last.settings and r.model]
    model = max(with_model, key=lambda r: (r.screened_at, r.id)).model if with_model else ""
    chosen = [r for r in found if r.settings == last.settings and r.model in ("", model)]
    return sorted(chosen, key=lambda r: (r.formula, r.spacegroup_number, r.id))


def keep_screenings(store: SurfaceStore, records: Iterable[ScreeningRecord]) -> None:
    """Write screened compounds over those of the same crystal and settings."""
    store.collection(COLLECTION).upsert([_document(record) for record in records])


def _document(record: ScreeningRecord) -> dict[str, Any]:
    document = record.model_dump(mode="json")
    for name in ("potential_sigma", "formation_energy_sigma"):
        if document[name] is None:  # older versions know no such field
            del document[name]
    return document
