"""What a campaign file may say: compounds, slabs, engine, verdicts, store.

The section `refresh` of a campaign file: when a new model is trained, and how.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from stores.errors import InputError
from workflows.analysis.verdicts import VerdictThresholds
from workflows.flows.campaign.fields import Formula, PathText, PrototypeName, Section, Text, choose
from workflows.flows.campaign.problems import dotted, line_of
from workflows.flows.campaign.resources import Resources
from workflows.flows.campaign.sources import CandidateSource, Filters
from workflows.structures.tolerances import MAX_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from workflows.structures.slabs import SlabSettings

PRESETS = (
    *("best", "sem-cgcnn", "surface", "gradnorm", "mtl"),
    *("stl-surface-energy", "stl-work-function"),
)
"""Names of `model.training.presets.PRESETS`, which cannot be asked without importing torch; a test compares
them."""


def _preset(name: str) -> str:
    return choose(name, PRESETS, "preset")


class Refresh(Section):
    """When a new model is trained, and how."""

    after_campaign: bool = Field(default=False, description="mgsurf run ends with a refresh")
    min_new_records: int = Field(
        default=50, ge=1, description="Accepted records that must be new since the champion was trained"
    )
    preset: Annotated[str, AfterValidator(_preset)] = Field(
        default="best", description="Of the network, as for mgsurf train"
    )
    members: int = Field(default=5, ge=1, le=50, description="Networks of the ensemble")
    epochs: int | None = Field(default=None, ge=1, description="Instead of the preset's")
    method: Text | None = Field(
        default=None,
        description="Only labels of this method or source, its fingerprint or its beginning; by default the "
        "champion's, else the only one of the store",
    )
    targets: list[Text] | None = Field(
        default=None, min_length=1, description="What is learned; by default surface energy and work function"
    )


MillerIndex = tuple[int, int, int]
_ELEMENT = re.compile(r"[A-Z][a-z]?")


def _facet(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    from workflows.structures.naming import parse_miller

    try:
        plane = parse_miller(value)
    except InputError as error:
        raise ValueError(str(error)) from None
    handler(plane)  # returns a plain tuple, that a FourIndex was written would be lost
    return plane


def _campaign_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} may hold letters, digits, - and _ only")
    return name


def _engine_name(name: str) -> str:
    from workflows.engines.registry import BUILT_IN, available_engines

    if name in BUILT_IN or re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name):
        return name
    if ":" in name:
        raise ValueError(f"{name!r} is no place of a class; write it as package.module:Class")
    return choose(name, available_engines(), "engine")


def _pre_relaxation(name: str) -> str:
    from workflows.jobs.pre_relaxation import PRE_RELAXATIONS

    return choose(name, PRE_RELAXATIONS, "pre-relaxation")


def _store(uri: str) -> str:
    from stores.connections import parse_uri

    try:
        parse_uri(uri)
    except InputError as error:
        raise ValueError(str(error)) from None
    return uri


Facet = Annotated[MillerIndex, WrapValidator(_facet)]


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
        "by default all up to slabs.max_miller_index",
    )
    symprec: float | None = Field(
        default=None,
        ge=SYMPREC,
        le=MAX_SYMPREC,
        description="With `file` or `folder`: move atoms and cell to the symmetry found within this distance "
        "(A) before anything else; by default they stay as they are",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Compound:
        given = [name for name in ("formula", "file", "folder") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of formula, file, folder; found {found}")
        if self.symprec is not None and self.formula is not None:
            raise ValueError("symprec goes with file or folder; what is built from a formula is symmetric")
        if self.prototype is not None and self.formula is None:
            raise ValueError("prototype goes with formula, not with file or folder")
        if self.formula is not None and self.prototype is None and not _ELEMENT.fullmatch(self.formula):
            raise ValueError(
                f"{self.formula} is no element: add `prototype` (B2, C14, ...), or give its `file` instead"
            )
        return self


class SlabSection(Section):
    """How slabs are cut."""

    max_miller_index: int = Field(default=1, ge=1, le=5, description="Largest |h|, |k|, |l| of a facet")
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
    pre_relaxation: Annotated[str, AfterValidator(_pre_relaxation)] = Field(
        default="none",
        description="chgnet: a machine-learned potential moves the free atoms before DFT does "
        "(needs the extra forcefields); none: DFT starts from the slab as cut",
    )

    def settings(self) -> SlabSettings:
        """Return them for the functions that cut slabs."""
        from workflows.structures.slabs import SlabSettings

        return SlabSettings(**self.model_dump())


class EngineSettings(Section):
    """Which engine computes, and how."""

    name: Annotated[str, AfterValidator(_engine_name)] = Field(
        default="gpaw", description="Name of the engine, or its class as package.module:Class"
    )
    preset: Text = Field(
        default="demo", description="demo: minutes on a laptop; production: the paper's settings"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the engine as they are (ranks, overrides)"
    )

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str, info: ValidationInfo) -> str:
        name = info.data.get("name")
        if name == "gpaw":
            from workflows.engines.gpaw.presets import PRESETS as GPAW_PRESETS

            return choose(preset, GPAW_PRESETS, "preset")
        if name == "vasp":
            from workflows.engines.vasp.inputs import PRESETS as VASP_PRESETS

            return choose(preset, VASP_PRESETS, "preset")
        return preset


class Campaign(Section):
    """A set of compounds run as one."""

    name: Annotated[str, AfterValidator(_campaign_name)] = Field(
        description="Letters, digits, - and _; stored with every record"
    )
    compounds: list[Compound] = Field(
        default_factory=list, min_length=1, description="At least one, unless there are sources"
    )
    sources: list[CandidateSource] | None = Field(
        default=None, min_length=1, description="Where mgsurf enumerate looks for compounds"
    )
    filters: Filters = Field(
        default_factory=Filters, description="Which of the compounds of the sources are wanted"
    )
    slabs: SlabSection = Field(default_factory=SlabSection, description="How slabs are cut")
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="Which engine computes, and how"
    )
    verdicts: VerdictThresholds = Field(
        default_factory=VerdictThresholds, description="Limits beyond which values are rejected"
    )
    store: Annotated[Text, AfterValidator(_store)] | None = Field(
        default=None,
        description="sqlite:///path, mongodb://... or memory://; --store wins; MGSURF_STORE does not",
    )
    work_dir: PathText | None = Field(
        default=None, description="Raw files of the engine; ./mgsurf_runs by default"
    )
    resources: Resources | None = Field(
        default=None, description="What jobs ask of a queue, for mgsurf submit; by default the worker's own"
    )
    refresh: Refresh = Field(
        default_factory=Refresh, description="When a new model is trained on the records, and how"
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
        """What relative paths inside the campaign file start from."""
        return self._path.parent

    def where(self, *location: int | str) -> str:
        """Name a place in the file for a message, e.g. ``quickstart.yaml:7: compounds[2].file``.

        Parameters
        ----------
        *location
            Keys and list positions (from 0) from the top down.
        """
        line = line_of(self._document, location)
        return f"{self._path}:{line}: {dotted(location)}" if line else f"{self._path}: {dotted(location)}"
