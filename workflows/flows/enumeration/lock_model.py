"""Compounds and fields of a lock file, and whether a compound is what its entry states."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

from stores.errors import InputError
from stores.records import Provenance
from workflows.structures.naming import format_plane, mg_first_formula
from workflows.structures.sources.protocol import DatabaseValues
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from pymatgen.core import Structure

LOCK_VERSION = 3
"""Before 3 there were no checksums. Before 2 `sections` left defaults out, so that a changed default was not
seen."""

Vector = tuple[float, float, float]
Site = tuple[str, float, float, float]
Phase = tuple[str, float, str, str]  # formula, formation energy (eV/atom), method, identifier

LENGTH_DIGITS = 6  # of lattice vectors (A)
POSITION_DIGITS = 8  # of fractional coordinates
ENERGY_DIGITS = 6  # (eV/atom or eV)

_TOLERANCES = (SYMPREC, LOOSE_SYMPREC, SYMPREC / 10)
"""Of the symmetry search (A). Lists of files and of databases are made with the first and the second; the
third stands for files of older versions, whose search was narrower in angles."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LockedHull(_Model):
    """Distance of a compound from stability."""

    energy: float = Field(description="Above the hull (eV/atom)")
    method: str = Field(description="Method of the energy")


class LockedCompound(_Model):
    """A compound of the list."""

    label: str = Field(description="For people, unique in the list")
    formula: str = Field(description="Reduced, Mg first")
    spacegroup_number: int
    spacegroup_symbol: str
    n_atoms: int = Field(ge=1, description="In the primitive cell")
    provenance: Provenance
    values: list[DatabaseValues] = Field(default_factory=list)
    hull: LockedHull | None = None
    facets: list[tuple[int, int, int]] | None = Field(
        default=None, description="Only these planes; all up to slabs.max_index if None"
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

    def check_formula(self, where: str, remedy: str) -> None:
        """Compare the stated formula with the sites, without pymatgen unless there is no Mg.

        Raises `InputError` in one line with both formulas.
        """
        counts = Counter(site[0] for site in self.sites)
        if "Mg" not in counts and "Mg" not in self.formula:
            return  # an element or a compound without Mg: `checked_structure` compares it with its crystal
        formula = mg_first_formula(counts) if "Mg" in counts else "without Mg"
        if formula != self.formula:
            raise InputError(f"{where}: its sites are {formula}, its formula is {self.formula}; {remedy}")

    def checked_structure(self, where: str, remedy: str) -> Structure:
        """Return the crystal, compared with the entry.

        Parameters
        ----------
        where
            File and label, for messages.
        remedy
            What to do, for messages.

        Raises
        ------
        InputError
            In one line with both sides, if the sites are no bulk crystal, or contradict the stated formula,
            space group or number of atoms.
        """
        from stores.structures.reading import check_structure
        from stores.structures.vacuum import check_bulk
        from workflows.structures.space_group import search

        try:
            structure = self.structure()
        except ValueError as error:  # no such element
            raise InputError(f"{where}: {error}; {remedy}") from None
        check_structure(structure, where)
        check_bulk(structure, where)
        formula = mg_first_formula(structure.composition)
        if formula != self.formula or self.label.split(" ")[0] != formula:
            raise InputError(
                f"{where}: its sites are {formula}, its formula is {self.formula}, its label {self.label}; "
                f"{remedy}"
            )
        stated = (self.spacegroup_number, self.spacegroup_symbol, self.n_atoms, len(self.sites))
        found: list[tuple[int, str, int, int]] = []
        for tolerance in _TOLERANCES:
            dataset = search(structure, tolerance)
            if dataset is None:
                continue
            n_primitive = len(set(dataset.mapping_to_primitive.tolist()))
            group = (int(dataset.number), str(dataset.international), n_primitive, len(dataset.std_types))
            if group == stated:
                return structure
            found.append(group)
        sides = (
            f"its sites make {_words(found[0])}" if found else "its sites have no symmetry that can be found"
        )
        raise InputError(f"{where}: {sides}, its entry states {_words(stated)}; {remedy}")

    def check_planes(self, structure: Structure, settings: dict[str, Any], where: str, remedy: str) -> str:
        """Count the slabs with the `slab_settings` of the lock file, and compare the counts.

        Only files without checksums need it. Counts decide nothing that is computed, and another version may
        count otherwise, so that other counts are no error but the line that is returned (empty if they
        agree). Raises `InputError` if planes were chosen, and others are listed, or nothing can be counted
        with `slab_settings`.
        """
        from workflows.structures.crystal import crystal_of
        from workflows.structures.slabs import SlabSettings, count_slabs

        crystal = crystal_of(structure)
        try:
            facets = count_slabs(crystal, SlabSettings(**settings), miller_indices=self.facets)
        except (InputError, TypeError) as error:  # an argument by no such name is a TypeError
            raise InputError(
                f"{where}: its slabs cannot be counted with slab_settings ({error}); {remedy}"
            ) from None
        counts = {format_plane(f.miller_index, crystal.spacegroup_number): len(f.slabs) for f in facets}
        if counts == self.slabs:
            return ""
        sides = f"its slabs are listed as {_counts(self.slabs)}, its crystal has {_counts(counts)}"
        if self.facets is not None and set(counts) != set(self.slabs):
            raise InputError(f"{where}: {sides}; {remedy}")
        return f"{where}: {sides}; the crystal is what is computed"


class LockFile(_Model):
    """Content of a lock file."""

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


def rounded(structure: Structure) -> tuple[tuple[Vector, Vector, Vector], list[Site]]:
    """Return lattice and sites of a conventional cell as in a lock file: rounded, inside the cell, sorted."""
    a, b, c = (tuple(round(float(x), LENGTH_DIGITS) + 0.0 for x in row) for row in structure.lattice.matrix)
    sites = []
    for site in structure:
        x, y, z = (round(float(u), POSITION_DIGITS) % 1.0 + 0.0 for u in site.frac_coords)
        sites.append((site.specie.symbol, x, y, z))
    return (a, b, c), sorted(sites, key=lambda site: (site[0] != "Mg", site))  # type: ignore[return-value]


def rounded_energy(value: float | None) -> float | None:
    """Return an energy (eV/atom or eV) as in a lock file."""
    return None if value is None else round(float(value), ENERGY_DIGITS) + 0.0


def _words(group: tuple[int, str, int, int]) -> str:
    number, symbol, n_primitive, n_sites = group
    return (
        f"space group {symbol} ({number}) with {n_primitive} atoms in the primitive cell, {n_sites} in the "
        "conventional one"
    )


def _counts(slabs: dict[str, int]) -> str:
    return " ".join(f"{plane}:{number}" for plane, number in slabs.items()) or "none"
