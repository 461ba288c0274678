"""Records of calculations, bulks, references and surfaces, with the unit of every field; their methods."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from stores.backends.collection import SCHEMA_VERSION as SCHEMA_VERSION
from stores.plain import PlainDict, plain_values
from stores.standard_setups import DEFAULT, OLD_NAME, STANDARD, TABLES


def content_hash(payload: Any, length: int = 24) -> str:
    """Hash a JSON-able payload; equal content gives an equal hash on every machine.

    Parameters
    ----------
    payload
        Anything orjson can write. Round floats first: the hash sees every digit.
    """
    text = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(text).hexdigest()[:length]


class Method(BaseModel):
    """Everything that decides the numbers a DFT engine returns, the structure aside.

    Records of different fingerprints live in one store but never meet in one surface energy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field(description="Name of the engine: gpaw, vasp, ...")
    preset: str = Field(description="Name of the engine's preset: demo, production, ...")
    functional: str = Field(description="Exchange-correlation functional, e.g. PBE")
    cutoff: float = Field(description="Plane-wave cut-off (eV)")
    k_density: float = Field(
        description="k points per reciprocal length, 2 pi included (A): N_i = ceil(k_density |b_i|)"
    )
    smearing: str = Field(description="Kind of occupation smearing, e.g. fermi-dirac")
    smearing_width: float = Field(description="Width of the smearing (eV)")
    setups: dict[str, str] = Field(
        default_factory=dict,
        description="PAW setups or POTCAR labels by element, in records those of the record's own elements; "
        "'default' names what every other element takes",
    )
    force_tolerance: float = Field(description="Largest force left on a free atom (eV/A)")
    label_convention: str = Field(
        default="mg_rich", description="Chemical potential at which surface_energy is given"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Further engine settings that change results, as plain values; 'start_moments' and "
        "'setups_package' may be tables by element, as setups are",
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_fields(cls, fields: Any) -> Any:
        return plain_values(fields) if isinstance(fields, dict) else fields

    @property
    def fingerprint(self) -> str:
        """Hash over all fields (16 hexadecimal digits), prefixed by engine and preset.

        In place of each table by element stands the preset's standard one (`stores.standard_setups`) with the
        entries that differ from it. Records have the fingerprint of `for_elements`, which covers what the
        calculation used: entries of other elements do not change it.
        """
        values = plain_values(self.model_dump())
        for name, table in self._tables(values):
            standard, is_whole = self._standard(name, table), self._is_whole
            listed = set(table) | (set(standard) if is_whole else set())
            own = {element: self._entry(name, table, element) for element in listed - {DEFAULT}}
            changed = {e: entry for e, entry in own.items() if entry != _of(standard, e)}
            if is_whole:  # an element that was added is the business of calculations with it
                changed = {e: entry for e, entry in changed.items() if _of(standard, e) is not None}
            _put(values, name, {**standard, **changed})
        return f"{self.engine}-{self.preset}-{content_hash(values, 16)}"

    @property
    def whole_fingerprint(self) -> str:
        """Hash over all fields as they are, tables included: the fingerprint of old records."""
        return f"{self.engine}-{self.preset}-{content_hash(plain_values(self.model_dump()), 16)}"

    @property
    def family(self) -> str:
        """Fingerprint of what calculations of all elements share: everything but tables by element."""
        return self.for_elements(()).fingerprint

    def for_elements(self, elements: Iterable[str]) -> Method:
        """Return the method as a calculation of some elements uses it: its tables cut to these elements."""
        values = plain_values(self.model_dump())
        for name, table in self._tables(values):
            standard = self._standard(name, table)
            entries = {e: self._entry(name, table, e) for e in sorted(set(elements))}
            differing = {e: entry for e, entry in entries.items() if entry != _of(standard, e)}
            if name in STANDARD.get((self.engine, self.preset), {}):
                known = {e: entry for e, entry in entries.items() if entry is not None}
                _put(values, name, known | differing, keep=True)
            else:  # what is not listed is known by the default alone, which stays
                _put(values, name, standard | differing)
        return Method.model_validate(values)

    def covers(self, other: Method, elements: Iterable[str]) -> bool:
        """Return whether a calculation of some elements by `other` is one by this method as well.

        The tables of `other`, the method of a record, are cut to its elements or, in old records, whole.
        """
        source = self.extra.get("setups_package")
        if isinstance(source, dict) and other.extra.get("setups_package") == source.get(OLD_NAME):
            other = other.model_copy(update={"extra": {**other.extra, "setups_package": source}})
        own = tuple(elements)
        return self.for_elements(own).fingerprint == other.for_elements(own).fingerprint

    def _standard(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table that fingerprints take for granted."""
        default = {DEFAULT: table[DEFAULT]} if DEFAULT in table else {}
        return STANDARD.get((self.engine, self.preset), {}).get(name, default)

    @property
    def _is_whole(self) -> bool:
        """True if the tables are an engine's, False if they are cut to elements or there is no standard."""
        standard = STANDARD.get((self.engine, self.preset), {}).get("setups", {})
        return bool(standard) and (DEFAULT in self.setups or set(standard) <= set(self.setups))

    def _entry(self, name: str, table: Mapping[str, Any], element: str) -> Any:
        """Return what an element takes; None if a whole table leaves it out."""
        if element in table or DEFAULT in table or self._is_whole:
            return _of(table, element)
        return _of(self._standard(name, table), element)

    @staticmethod
    def _tables(values: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        places = (
            (name, values["setups"] if name == "setups" else values["extra"].get(name)) for name in TABLES
        )
        return [(name, table) for name, table in places if isinstance(table, dict)]


def _of(table: Mapping[str, Any], element: str) -> Any:
    return table.get(element, table.get(DEFAULT))


def _put(values: dict[str, Any], name: str, table: dict[str, Any], *, keep: bool = False) -> None:
    if name == "setups":
        values["setups"] = {e: label for e, label in table.items() if label is not None}
    elif set(table) == {DEFAULT}:  # as where there is no table
        values["extra"][name] = table[DEFAULT]
    elif table or keep:
        values["extra"][name] = table
    else:
        values["extra"].pop(name)


def plain_structure(structure: Any) -> Any:
    """Turn a pymatgen structure, or its dictionary, into plain values without import paths."""
    return plain_values(structure.as_dict(verbosity=0) if hasattr(structure, "as_dict") else structure)


StructureDict = Annotated[dict[str, Any], BeforeValidator(plain_structure)]
"""pymatgen's ``Structure.as_dict(verbosity=0)`` as plain values, read by `stores.structures.document`."""


class VerdictStatus(StrEnum):
    """Judgement on a value."""

    ACCEPTED = "accepted"
    UNCONVERGED = "unconverged"
    NEGATIVE = "negative"
    RECONSTRUCTED = "reconstructed"
    VACUUM_NOT_FLAT = "vacuum_not_flat"
    ASYMMETRIC = "asymmetric"
    INCONSISTENT_SETTINGS = "inconsistent_settings"
    FAULTY = "faulty"
    FAILED = "failed"


class CalculationKind(StrEnum):
    """The four calculations an engine offers."""

    BULK_RELAX = "bulk_relax"
    BULK_STATIC = "bulk_static"
    SLAB_RELAX = "slab_relax"
    SLAB_STATIC = "slab_static"


class CalculationStatus(StrEnum):
    """How a calculation ended. Failed ones are tried again by the next run, unconverged ones are not."""

    OK = "ok"
    UNCONVERGED = "unconverged"
    FAILED = "failed"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Verdict(_Model):
    """A judgement on one value, with its reason in words."""

    status: VerdictStatus = Field(description="accepted, or why the value is rejected")
    reason: str = Field(default="", description="One line: what was found and against which threshold")


class Verdicts(_Model):
    """One verdict for each target."""

    surface_energy: Verdict
    work_function: Verdict


class PlanarPotential(_Model):
    """Electrostatic (Hartree + ionic, no XC) potential averaged over planes parallel to the surface."""

    z: list[float] = Field(description="Distance along the surface normal from the cell's bottom (A)")
    potential: list[float] = Field(description="Planar average at each z (eV, on the scale of fermi_energy)")


class CalculationOutput(_Model):
    """What every engine returns for every calculation (one common schema)."""

    status: CalculationStatus = Field(description="ok, unconverged or failed")
    reason: str = Field(default="", description="Why status is not ok, in one line")
    structure: StructureDict | None = Field(default=None, description="Final structure (A)")
    energy: float | None = Field(
        default=None, description="Total energy extrapolated to zero smearing (eV per cell)"
    )
    fermi_energy: float | None = Field(default=None, description="Fermi energy (eV)")
    vbm: float | None = Field(default=None, description="Valence band maximum of a gapped system (eV)")
    cbm: float | None = Field(default=None, description="Conduction band minimum of a gapped system (eV)")
    max_force: float | None = Field(default=None, description="Largest force on a free atom (eV/A)")
    total_magnetization: float | None = Field(
        default=None, description="Total moment (Bohr magnetons per cell)"
    )
    site_magnetizations: list[float] | None = Field(
        default=None, description="Moment of each atom (Bohr magnetons)"
    )
    kpoints: tuple[int, int, int] | None = Field(default=None, description="Gamma-centred k mesh")
    setups: dict[str, str] = Field(
        default_factory=dict, description="PAW setup or POTCAR actually used, by element"
    )
    potential: PlanarPotential | None = Field(default=None, description="Only of slab_static")
    scf_steps: int | None = Field(default=None, description="Electronic steps, all ionic steps together")
    ionic_steps: int | None = Field(default=None, description="Ionic (or equation-of-state) steps")
    retried: bool = Field(default=False, description="True if the gentler settings were needed")
    wall_time: float | None = Field(default=None, description="Wall time (s)")
    engine_version: str = Field(default="", description="Version of the DFT code")
    directory: str = Field(default="", description="Where the raw files lie")
    details: PlainDict = Field(
        default_factory=dict, description="What only this engine returns (equation-of-state points, ...)"
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_fields(cls, fields: Any) -> Any:
        """Take what engines return: numbers and arrays of NumPy, paths, tuples, in every field."""
        if not isinstance(fields, dict):
            return fields
        own = ("structure", "details")  # plain by their own types
        return {name: value if name in own else plain_values(value) for name, value in fields.items()}


def _now() -> datetime:
    return datetime.now(UTC)


class Record(_Model):
    """Fields that every stored record has."""

    id: str = Field(description="Content hash of the request, never of relaxed coordinates")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the record's layout")
    created_at: datetime = Field(default_factory=_now, description="When the record was written (UTC)")
    formula: str = Field(description="Reduced formula, Mg first, e.g. MgAg, Mg17Al12")
    chemsys: str = Field(description="Elements in alphabetical order, e.g. Ag-Mg")
    method: Method = Field(description="How it was computed")
    method_fingerprint: str = Field(description="Hash of `method`; records of two fingerprints never mix")


class CalculationRecord(Record):
    """One finished engine run; looked up by id before anything is run again."""

    kind: CalculationKind
    label: str = Field(description="For people, e.g. 'MgAg (110) Mg slab relax'")
    identity: PlainDict = Field(description="What was hashed into the id")
    output: CalculationOutput


class Provenance(_Model):
    """Where a bulk structure came from."""

    source: str = Field(description="Name of the Source, e.g. prototype, file")
    identifiers: list[str] = Field(
        default_factory=list, description="Identifiers in that source: path, prototype label, mp-id, ..."
    )
    lattice_is_guess: bool = Field(
        default=False, description="True when the lattice parameters were estimated, not computed or measured"
    )


class BulkRecord(Record):
    """A relaxed bulk crystal."""

    bulk_key: str = Field(description="Hash of the crystal before relaxation, independent of its setting")
    provenance: Provenance
    initial_structure: StructureDict = Field(description="Before relaxation (A)")
    structure: StructureDict = Field(description="Relaxed conventional standard cell (A)")
    spacegroup_number: int = Field(description="After relaxation")
    spacegroup_symbol: str
    initial_spacegroup_number: int = Field(description="Before relaxation")
    energy_per_atom: float = Field(description="eV/atom")
    energy_per_formula_unit: float = Field(description="eV per reduced formula, conventional cell's k mesh")
    formation_energy: float | None = Field(
        default=None, description="Relative to the elements' ground states (eV per reduced formula)"
    )
    total_magnetization: float | None = Field(default=None, description="Bohr magnetons per cell")
    calculation_id: str


class ReferenceRecord(Record):
    """An element's ground state, the zero of its chemical potential."""

    element: str
    prototype: str = Field(description="Strukturbericht symbol, e.g. A3")
    structure: StructureDict = Field(description="Relaxed (A)")
    energy_per_atom: float = Field(description="mu0 (eV/atom)")
    total_magnetization: float | None = Field(default=None, description="Bohr magnetons per cell")
    calculation_id: str


class Reconstruction(_Model):
    """How far a slab's free atoms left their places, graded against the frozen core."""

    displacement: float = Field(
        description="Largest displacement of a free atom over its nearest-neighbour distance (1)"
    )
    bonds_changed: float = Field(description="Share of the surface atoms' bonds broken or formed (0 to 1)")
    layers_swapped: bool = Field(description="True if two atomic layers changed their order")


class SurfaceRecord(Record):
    """One facet: a termination of a crystal plane, its surface energy, work function and verdicts."""

    campaign: str = Field(default="", description="Name of the first campaign that computed it")
    bulk_id: str = Field(
        description="Id of the BulkRecord the slab was cut from; empty for an ingested slab without one"
    )
    provenance: Provenance
    spacegroup_number: int = Field(description="Of the relaxed bulk; 0 without one")
    miller_index: tuple[int, int, int] = Field(
        description="hkl in the conventional standard cell of the relaxed bulk; 0 0 0 for an ingested slab "
        "whose plane is not known"
    )
    equivalent_planes: list[tuple[int, int, int]] = Field(
        default_factory=list,
        description="All hkl that the crystal's symmetry, with inversion, makes of `miller_index`",
    )
    termination: int = Field(description="Number of the termination of this plane, from 0")
    termination_label: str = Field(description="Outermost layer, e.g. Mg, Ag, Mg2Zn-b")
    termination_key: str = Field(
        description="Order of the layers from the surface inward, hashed into the id"
    )
    cut: float = Field(description="Cut position along the normal modulo `period` (A)")
    period: float = Field(description="Smallest shift along the normal that preserves the crystal (A)")
    n_layers: int = Field(description="Atomic layers in the slab")
    n_atoms: int
    composition: dict[str, int] = Field(description="Atoms of each element in the slab")
    thickness: float = Field(description="From the lowest to the highest atom (A), as cut")
    vacuum: float = Field(description="From the highest atom to the next image's lowest (A), as cut")
    area: float = Field(description="Of one side of the slab (A^2)")
    slab: StructureDict = Field(description="As cut from the relaxed bulk; the model's input (A)")
    relaxed_slab: StructureDict | None = Field(default=None, description="After relaxation (A)")

    energy: float | None = Field(default=None, description="Relaxed slab (eV)")
    bulk_energy: float | None = Field(
        default=None, description="E_b from the facet's oriented cell (eV per reduced formula)"
    )
    chemical_potentials: dict[str, float] = Field(
        default_factory=dict, description="mu0 of the elements whose reference is known (eV/atom)"
    )
    formation_energy: float | None = Field(
        default=None, description="dH_f from the conventional cell (eV per reduced formula)"
    )
    surface_energy: float | None = Field(
        default=None,
        description="Mg-rich value, the training label (eV/A^2); without Mg rich in `reference_element`; an "
        "element's own value",
    )
    surface_energy_x_rich: float | None = Field(
        default=None, description="X-rich value (eV/A^2); null without an X reference or if dH_f > 0"
    )
    surface_energy_slope: float | None = Field(
        default=None, description="d gamma / d dmu of Mg, or `reference_element` (1/A^2)"
    )
    chemical_potential_window: tuple[float, float] | None = Field(
        default=None, description="dmu of Mg, or `reference_element`, from X-rich to rich in it (eV)"
    )
    reference_element: str | None = Field(
        default=None,
        description="Of binaries without Mg the element in its place: the less electronegative on Pauling's "
        "scale; no field of compounds with Mg and of elements",
    )
    excess: dict[str, float] = Field(
        default_factory=dict,
        description="Excess of each element over the other's share of bulk, both sides (atoms)",
    )

    work_function: float | None = Field(default=None, description="Mean of both sides minus E_F (eV)")
    work_function_sides: tuple[float, float] | None = Field(
        default=None, description="Bottom and top side (eV)"
    )
    vacuum_slopes: tuple[float, float] | None = Field(default=None, description="Of the plateaus (eV/A)")
    vacuum_spreads: tuple[float, float] | None = Field(
        default=None, description="Largest minus smallest value in the plateau (eV)"
    )
    fermi_energy: float | None = Field(default=None, description="eV, on the scale of `potential`")
    vbm: float | None = Field(default=None, description="Of a gapped slab (eV)")
    cbm: float | None = Field(default=None, description="Of a gapped slab (eV)")
    potential: PlanarPotential | None = None
    total_magnetization: float | None = Field(default=None, description="Bohr magnetons per cell")

    reconstruction: Reconstruction | None = None
    verdicts: Verdicts
    calculation_ids: dict[str, str] = Field(
        default_factory=dict, description="Ids of the calculations behind it, by their role"
    )

    @model_serializer(mode="wrap")
    def _plain_dict(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = serialize(self)
        if plain.get("reference_element", "") is None:  # records of Mg compounds stay as they were
            del plain["reference_element"]
        return plain
