"""What a lock file holds: pydantic models of the list and of its compounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

from stores.records import Provenance

if TYPE_CHECKING:
    from pymatgen.core import Structure

LOCK_VERSION = 3
"""Before 3 there were no checksums. Before 2 `sections` left defaults out, so that a changed default was not
seen."""

Vector = tuple[float, float, float]
Site = tuple[str, float, float, float]
Phase = tuple[str, float, str, str]
"""Formula, formation energy (eV/atom), method, identifier."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LockedValues(_Model):
    """What a database says of a compound (see `workflows.structures.sources.protocol.DatabaseValues`)."""

    method: str
    formation_energy: float | None = None
    energy_above_hull: float | None = None
    band_gap: float | None = None


class LockedHull(_Model):
    """How far a compound is from stability."""

    energy: float = Field(description="Above the hull (eV/atom)")
    method: str = Field(description="Whose energy decided")


class LockedCompound(_Model):
    """A compound of the list."""

    label: str = Field(description="For people, unique in the list")
    formula: str = Field(description="Reduced, Mg first")
    spacegroup_number: int
    spacegroup_symbol: str
    n_atoms: int = Field(ge=1, description="In the primitive cell")
    provenance: Provenance
    values: list[LockedValues] = Field(default_factory=list)
    hull: LockedHull | None = None
    facets: list[tuple[int, int, int]] | None = Field(
        default=None, description="Only these planes; all up to slabs.max_miller_index if None"
    )
    slabs: dict[str, int] = Field(description="Symmetric slabs by plane, 0 for a polar direction")
    lattice: tuple[Vector, Vector, Vector] = Field(description="Conventional standard cell (A)")
    sites: list[Site] = Field(min_length=1, description="Element and fractional coordinates")

    @property
    def n_slabs(self) -> int:
        """Number of symmetric slabs."""
        return sum(self.slabs.values())

    def structure(self) -> Structure:
        """Return the crystal."""
        from pymatgen.core import Structure

        return Structure(self.lattice, [site[0] for site in self.sites], [site[1:] for site in self.sites])


class LockFile(_Model):
    """All that is in a lock file."""

    lock_version: int = LOCK_VERSION
    mgsurf: str = Field(description="Version that wrote it")
    made_from: str = Field(description="Hash of `sections`")
    sections: dict[str, JsonValue] = Field(description="Contents of the campaign file, defaults included")
    slab_settings: dict[str, JsonValue] = Field(description="What the slabs were counted with")
    left_out: list[str] = Field(default_factory=list, description="What the sources could not deliver")
    compounds: list[LockedCompound]
    competing: list[Phase] = Field(
        default_factory=list,
        description="Known phases in the systems of the compounds that filters or hull refused, the lowest "
        "of each formula and method: they are not computed, but bound the windows of those that are",
    )
    _removed: list[str] = PrivateAttr(default_factory=list)

    @property
    def removed(self) -> list[str]:
        """Labels of compounds that were deleted from the file by hand: they are not computed."""
        return self._removed
