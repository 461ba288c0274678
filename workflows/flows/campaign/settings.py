"""The campaign file's sections as pydantic models: compounds, sources, filters, slabs, engine, refresh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from workflows.analysis.verdicts import VerdictThresholds
from workflows.flows.campaign.notifications import Notify
from workflows.flows.campaign.problems import dotted, line_of
from workflows.flows.campaign.resources import Resources
from workflows.flows.campaign.values import (
    CampaignName,
    EngineName,
    Facet,
    Formula,
    ModelPreset,
    Partner,
    PathText,
    PreRelaxation,
    PrototypeName,
    Provider,
    StoreUri,
    Text,
    as_value_errors,
    choose,
    only_key,
)
from workflows.structures.tolerances import MAX_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from workflows.structures.slabs import SlabSettings
    from workflows.structures.sources.filters import CandidateFilter

SOURCE_KEYS = ("optimade", "materials_project", "prototypes", "folder", "file")
"""Keys of which each entry of `sources` has one."""

_GOES_WITH = {
    "timeout": "optimade",
    "gnome": "materials_project",
    "partners": "prototypes",
    "formulas": "prototypes",
}
_ELEMENT = re.compile(r"[A-Z][a-z]?")


class Section(BaseModel):
    """A mapping of the campaign file: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Refresh(Section):
    """When a new model is trained, and how."""

    after_campaign: bool = Field(default=False, description="mgsurf run ends with a refresh")
    min_new_records: int = Field(
        default=50, ge=1, description="Accepted records that must be new since the champion was trained"
    )
    preset: ModelPreset = Field(default="best", description="Of the network, as for mgsurf train")
    members: int = Field(default=5, ge=1, le=50, description="Networks of the ensemble")
    epochs: int | None = Field(default=None, ge=1, description="Instead of the preset's")
    method: Text | None = Field(
        default=None,
        description="Only labels of this method or source, its fingerprint or its beginning; by default the "
        "champion's, else the only one of the store",
    )
    targets: list[Text] | None = Field(
        default=None, min_length=1, description="Targets; by default surface energy and work function"
    )


class CandidateSource(Section):
    """One entry of `sources`: databases, decorated prototypes, a file or a folder of files."""

    optimade: list[Provider] | None = Field(
        default=None,
        min_length=1,
        description="Databases that speak OPTIMADE, by name (mp, oqmd, alexandria, ...) or base URL",
    )
    timeout: float | None = Field(
        default=None, gt=0, description="With optimade: longest wait for an answer of a provider (s)"
    )
    materials_project: bool | None = Field(
        default=None, description="true: the Materials Project's own interface (needs a key)"
    )
    gnome: bool | None = Field(
        default=None, description="With materials_project: false leaves out the GNoME structures (CC BY-NC)"
    )
    prototypes: list[PrototypeName] | None = Field(
        default=None, min_length=1, description="Structure types to decorate, e.g. B2, C14"
    )
    partners: list[Partner] | None = Field(
        default=None,
        min_length=1,
        description="With prototypes: elements beside Mg; by default those of filters.partners",
    )
    formulas: list[Formula] | None = Field(
        default=None, min_length=1, description="With prototypes: compounds instead of partner elements"
    )
    folder: PathText | None = Field(
        default=None, description="A folder of CIFs and POSCARs, relative to the campaign file"
    )
    file: PathText | None = Field(default=None, description="A CIF or POSCAR, relative to the campaign file")

    @model_validator(mode="after")
    def _one_source(self) -> CandidateSource:
        kind = self.kind
        if self.materials_project is False:
            raise ValueError("materials_project is true, or left out")
        for key, source in _GOES_WITH.items():
            if getattr(self, key) is not None and kind != source:
                raise ValueError(f"{key} goes with {source}, not with {kind}")
        return self

    @property
    def kind(self) -> str:
        """The one of `SOURCE_KEYS` that is given."""
        return only_key(self, SOURCE_KEYS)


class Filters(Section):
    """Conditions on the compounds of the sources. Every one holds Mg."""

    partners: list[Partner] | None = Field(
        default=None, min_length=1, description="Elements allowed beside Mg; null for all"
    )
    exclude: list[Partner] = Field(default_factory=list, description="Elements not allowed")
    radioactive: bool = Field(default=False, description="Allow elements without a stable isotope")
    max_elements: int = Field(
        default=2, ge=2, le=10, description="Elements, Mg included; run computes those of two only"
    )
    max_atoms: int | None = Field(
        default=None, ge=1, description="Atoms in the primitive cell; null for any number"
    )
    metals_only: bool = Field(default=True, description="Refuse what is known to have a band gap")
    max_energy_above_hull: float | None = Field(
        default=None, ge=0, description="Distance from stability (eV/atom); null for any"
    )

    @model_validator(mode="after")
    @as_value_errors()
    def _make_sense(self) -> Filters:
        self.candidate_filter()
        return self

    def candidate_filter(self) -> CandidateFilter:
        """Return the conditions on a single compound."""
        from workflows.structures.sources.filters import CandidateFilter

        return CandidateFilter(
            partners=self.partners,
            exclude=self.exclude,
            radioactive=self.radioactive,
            max_elements=self.max_elements,
            max_atoms=self.max_atoms,
            metals_only=self.metals_only,
        )


class Compound(Section):
    """One entry of `compounds`: an element, a decorated prototype, a file or a folder of files."""

    formula: Formula | None = Field(
        default=None, description="An element (its ground state), or with `prototype` a compound, e.g. MgAg"
    )
    prototype: PrototypeName | None = Field(
        default=None, description="Strukturbericht symbol, e.g. B2, C14, A12"
    )
    file: PathText | None = Field(default=None, description="A CIF or POSCAR, relative to the campaign file")
    folder: PathText | None = Field(
        default=None, description="A folder of CIFs and POSCARs, relative to the campaign file"
    )
    facets: list[Facet] | None = Field(
        default=None,
        min_length=1,
        description="Only these planes, (hkl) or (hkil) of the conventional standard cell; "
        "by default all up to slabs.max_index",
    )
    symprec: float | None = Field(
        default=None,
        ge=SYMPREC,
        le=MAX_SYMPREC,
        description="With `file` or `folder`: move atoms and cell to the symmetry found within this distance "
        "(A) before anything else; by default they stay as they are",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Compound:
        self.kind  # noqa: B018  raises if not exactly one is given
        if self.symprec is not None and self.formula is not None:
            raise ValueError("symprec goes with file or folder; what is built from a formula is symmetric")
        if self.prototype is not None and self.formula is None:
            raise ValueError("prototype goes with formula, not with file or folder")
        if self.formula is not None and self.prototype is None and not _ELEMENT.fullmatch(self.formula):
            raise ValueError(
                f"{self.formula} is no element: add `prototype` (B2, C14, ...), or give its `file` instead"
            )
        return self

    @property
    def kind(self) -> str:
        """The one of formula, file and folder that is given."""
        return only_key(self, ("formula", "file", "folder"))


class SlabSection(Section):
    """How slabs are cut."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    # max_miller_index is the old spelling
    max_miller_index: int = Field(
        default=1, ge=1, le=5, alias="max_index", description="Largest |h|, |k|, |l| of a facet"
    )
    min_thickness: float = Field(
        default=10.0, gt=0, le=1000, description="Least slab thickness, atom to atom (A)"
    )
    vacuum: float = Field(
        default=15.0,
        ge=12.5,
        le=1000,
        description="Between the slab and its image (A); at least 12.5, because the potential is averaged "
        "from 5 A beyond the atoms over at least 1 A on either side, and relaxation takes a little",
    )
    free_depth: float = Field(default=3.0, ge=0, description="Whole layers this near a surface relax (A)")
    layer_tolerance: float = Field(
        default=0.1, gt=0, lt=1.0, description="Atomic planes closer than this count as one layer (A)"
    )
    max_terminations: int | None = Field(
        default=None, ge=1, description="Keep only so many terminations of each plane, the widest gaps first"
    )
    max_atoms: int = Field(default=200, ge=1, description="Refuse slabs with more atoms")
    pre_relaxation: PreRelaxation = Field(
        default="none",
        description="chgnet: a machine-learned potential moves the free atoms before DFT does "
        "(needs the extra forcefields); none: DFT starts from the slab as cut",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: Any) -> Any:
        if isinstance(values, dict) and {"max_index", "max_miller_index"} <= set(values):
            raise ValueError("max_index and max_miller_index are two spellings of one key; keep max_index")
        return values

    def settings(self) -> SlabSettings:
        """Return them for the functions that cut slabs."""
        from workflows.structures.slabs import SlabSettings

        return SlabSettings(**self.model_dump())


class EngineSettings(Section):
    """Which engine computes, and how."""

    name: EngineName = Field(
        default="gpaw", description="Name of the engine, or its class as package.module:Class"
    )
    preset: Text = Field(
        default="demo", description="demo: minutes on a laptop; production: the paper's settings"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the engine as they are (ranks, overrides)"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str, info: ValidationInfo) -> str:
        name = info.data.get("name")
        if name == "gpaw":
            from workflows.engines.gpaw.presets import PRESETS as GPAW_PRESETS

            return choose(preset, GPAW_PRESETS, "preset")
        if name == "mlip":
            from workflows.engines.mlip.potentials import PRESETS as POTENTIALS

            return choose(preset, ("demo", *POTENTIALS), "preset")
        if name == "vasp":
            from workflows.engines.vasp.inputs import PRESETS as VASP_PRESETS

            return choose(preset, VASP_PRESETS, "preset")
        return preset


class Campaign(Section):
    """A set of compounds run as one."""

    name: CampaignName = Field(description="Letters, digits, - and _; stored with every record")
    compounds: list[Compound] = Field(
        default_factory=list, min_length=1, description="At least one, unless there are sources"
    )
    sources: list[CandidateSource] | None = Field(
        default=None, min_length=1, description="Where mgsurf enumerate looks for compounds"
    )
    filters: Filters = Field(
        default_factory=Filters, description="Conditions on the compounds of the sources"
    )
    slabs: SlabSection = Field(default_factory=SlabSection, description="How slabs are cut")
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="Which engine computes, and how"
    )
    verdicts: VerdictThresholds = Field(
        default_factory=VerdictThresholds, description="Limits beyond which values are rejected"
    )
    store: StoreUri | None = Field(
        default=None,
        description="sqlite:///path, mongodb://... or memory://; --store wins; MGSURF_STORE does not",
    )
    work_dir: PathText | None = Field(
        default=None, description="Raw files of the engine; ./mgsurf_runs by default"
    )
    resources: Resources | None = Field(
        default=None,
        description="Requests of jobs on a queue, for mgsurf submit; by default the worker's own",
    )
    refresh: Refresh = Field(
        default_factory=Refresh, description="When a new model is trained on the records, and how"
    )
    notify: Notify | None = Field(
        default=None, description="Webhook or command that gets a text when the campaign ends, ..."
    )

    @model_validator(mode="after")
    def _something_to_compute(self) -> Campaign:
        if not self.compounds and self.sources is None:
            raise ValueError("there is nothing to compute; give compounds, sources or both")
        if self.sources is None and "filters" in self.model_fields_set:
            raise ValueError("filters choose among the compounds of sources; give sources, or remove filters")
        if self.sources is not None and self.filters.partners is None:
            for number, source in enumerate(self.sources, start=1):
                if source.prototypes is not None and source.partners is None and source.formulas is None:
                    raise ValueError(
                        f"sources[{number}]: prototypes need elements; give partners or formulas beside "
                        "them, or filters.partners"
                    )
        return self

    _path: Path = PrivateAttr(default=Path("campaign.yaml"))
    _document: Any = PrivateAttr(default=None)

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self._path

    @property
    def directory(self) -> Path:
        """Folder that paths inside the campaign file are relative to."""
        return self._path.parent

    def where(self, *location: int | str) -> str:
        """Return a place in the file for a message, e.g. ``quickstart.yaml:7: compounds[2].file``.

        `location` holds keys and list positions (from 0) from the top down.
        """
        line = line_of(self._document, location)
        return f"{self._path}:{line}: {dotted(location)}" if line else f"{self._path}: {dotted(location)}"
