"""The campaign file: which compounds, how slabs are cut, which engine; checked line by line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stores.errors import InputError
from workflows.analysis.verdicts import VerdictThresholds
from workflows.flows.campaign_problems import dotted, line_of, problems, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pymatgen.core import Structure

    from stores.records import Provenance

MillerIndex = tuple[int, int, int]
_ELEMENT = re.compile(r"[A-Z][a-z]?")
STRUCTURE_FILES = ("*.cif", "*.vasp", "*.poscar", "POSCAR*", "CONTCAR*")
"""Which files of a folder are read as structures."""


def _facet(value: Any) -> Any:
    from workflows.structures.naming import parse_miller

    try:
        return parse_miller(value)
    except InputError as error:
        raise ValueError(str(error)) from None


def _choose(word: str, allowed: Iterable[str], what: str) -> str:
    names = list(allowed)
    if word not in names:
        hint = suggestion(word, names)
        raise ValueError(f"{what} {word!r} is not known{hint or ';'} allowed: {', '.join(names)}")
    return word


def _campaign_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} may hold letters, digits, - and _ only")
    return name


def _engine_name(name: str) -> str:
    from workflows.engines.registry import BUILT_IN, available_engines

    if name in BUILT_IN or ":" in name:
        return name
    return _choose(name, available_engines(), "engine")


def _prototype_name(name: str) -> str:
    from workflows.structures.prototype_data import PROTOTYPES
    from workflows.structures.prototypes import prototype

    try:
        prototype(name)
    except InputError:
        _choose(name, [kind.name for kind in PROTOTYPES], "prototype")
    return name


Facet = Annotated[MillerIndex, BeforeValidator(_facet)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Compound(_Section):
    """One entry of `compounds`: an element, a decorated prototype, a file or a folder of files."""

    formula: Text | None = Field(
        default=None, description="An element (its ground state), or with `prototype` a compound, e.g. MgAg"
    )
    prototype: Annotated[str, AfterValidator(_prototype_name)] | None = Field(
        default=None, description="Strukturbericht symbol, e.g. B2, C14, A12"
    )
    file: Text | None = Field(default=None, description="A CIF or POSCAR, relative to the campaign file")
    folder: Text | None = Field(
        default=None, description="A folder of CIFs and POSCARs, relative to the campaign file"
    )
    facets: list[Facet] | None = Field(
        default=None,
        min_length=1,
        description="Only these planes, (hkl) or (hkil) of the conventional standard cell; "
        "by default all up to slabs.max_miller_index",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Compound:
        given = [name for name in ("formula", "file", "folder") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of formula, file, folder; found {found}")
        if self.prototype is not None and self.formula is None:
            raise ValueError("prototype goes with formula, not with file or folder")
        if self.formula is not None and self.prototype is None and not _ELEMENT.fullmatch(self.formula):
            raise ValueError(
                f"{self.formula} is no element: add `prototype` (B2, C14, ...), or give its `file` instead"
            )
        return self


class SlabSettings(_Section):
    """How slabs are cut."""

    max_miller_index: int = Field(default=1, ge=1, le=5, description="Largest |h|, |k|, |l| of a facet")
    min_thickness: float = Field(default=10.0, gt=0, description="Least slab thickness, atom to atom (A)")
    vacuum: float = Field(
        default=15.0, ge=10.0, description="Between the slab and its image (A); plateaus need at least 10"
    )
    free_depth: float = Field(default=3.0, ge=0, description="Whole layers this near a surface relax (A)")
    layer_tolerance: float = Field(
        default=0.1, gt=0, lt=1.0, description="Atomic planes closer than this count as one layer (A)"
    )
    max_terminations: int | None = Field(
        default=None, ge=1, description="Keep only so many terminations of each plane, the widest gaps first"
    )
    max_atoms: int = Field(default=200, ge=1, description="Refuse slabs with more atoms")


class EngineSettings(_Section):
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
        if info.data.get("name") != "gpaw":
            return preset
        from workflows.engines.gpaw_presets import PRESETS

        return _choose(preset, PRESETS, "preset")


class Campaign(_Section):
    """A set of compounds run as one."""

    name: Annotated[str, AfterValidator(_campaign_name)] = Field(
        description="Letters, digits, - and _; stored with every record"
    )
    compounds: list[Compound] = Field(min_length=1, description="At least one")
    slabs: SlabSettings = Field(default_factory=SlabSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    verdicts: VerdictThresholds = Field(default_factory=VerdictThresholds)
    store: Text | None = Field(
        default=None, description="sqlite:///path, mongodb://... or memory://; --store and MGSURF_STORE win"
    )
    work_dir: Text | None = Field(
        default=None, description="Raw files of the engine; ./mgsurf_runs by default"
    )

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


class CampaignStructure(NamedTuple):
    """A bulk crystal that a campaign asks for.

    Attributes
    ----------
    label
        For people, e.g. ``MgAg B2`` or ``Mg2Ni (Mg2Ni.cif)``.
    structure
        Before relaxation (A).
    provenance
        Where it came from.
    facets
        Planes wanted; None for all.
    where
        Its place in the campaign file, for messages.
    """

    label: str
    structure: Structure
    provenance: Provenance
    facets: list[MillerIndex] | None
    where: str


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = suggestion(path.name, [entry.name for entry in path.parent.glob("*.y*ml")])
        raise InputError(f"{path}: no such campaign file{near or '; check the path'}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the campaign file (YAML) inside it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; a campaign file is YAML") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None


def _parse(text: str, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        key = str(error.problem).split('"')[1]
        raise InputError(
            f"{path}:{mark.line + 1}: the key {key!r} is there twice; keep one of them"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context)
        if "\\t" in problem:
            problem = "a tab; YAML indents with spaces only"
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(f"{path}{place}: not valid YAML: {problem}") from None
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None


def _plain(node: Any) -> Any:
    """Turn ruamel.yaml's round-trip types into plain Python, which strict validation asks for."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def load_campaign(path: Path | str) -> Campaign:
    """Read and check a campaign file.

    Parameters
    ----------
    path
        The YAML file.

    Returns
    -------
    Campaign

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line per problem, each with
        file, line, field and what is allowed; all problems at once.
    """
    path = Path(path)
    document = _parse(_read_text(path), path)
    if document is None:
        raise InputError(f"{path}: is empty; a campaign needs at least `name` and `compounds`")
    if not isinstance(document, dict):
        raise InputError(
            f"{path}:1: expected `key: value` lines at the top level, such as `name: my-campaign`"
        )
    try:
        campaign = Campaign.model_validate(_plain(document))
    except ValidationError as error:
        raise InputError("\n".join(problems(error, document, Campaign, str(path)))) from None
    campaign._path = path
    campaign._document = document
    return campaign


def campaign_structures(campaign: Campaign) -> list[CampaignStructure]:
    """Build or read every bulk crystal that a campaign asks for.

    Parameters
    ----------
    campaign
        From `load_campaign`.

    Returns
    -------
    list of CampaignStructure
        In the order of the file; the files of a folder in alphabetical order.

    Raises
    ------
    InputError
        If files are missing or structures cannot be used: one line per problem, each with its place in the
        campaign file; all problems at once.
    """
    found: list[CampaignStructure] = []
    failed: list[str] = []
    for number, compound in enumerate(campaign.compounds):
        origin = next(name for name in ("formula", "file", "folder") if getattr(compound, name) is not None)
        where = campaign.where("compounds", number, origin)
        try:
            for structure, provenance, name in _crystals(compound, campaign.directory):
                label = _label(structure, name)
                found.append(CampaignStructure(label, structure, provenance, compound.facets, where))
        except InputError as error:
            failed += [f"{where}: {line}" for line in str(error).splitlines()]
    if failed:
        raise InputError("\n".join(failed))
    return found


def _crystals(compound: Compound, directory: Path) -> Iterator[tuple[Structure, Provenance, str]]:
    from stores.records import Provenance

    if compound.formula is not None and compound.prototype is not None:
        from workflows.structures.prototypes import prototype, structure_for

        symbol = prototype(compound.prototype).name
        provenance = Provenance(source="prototype", identifiers=[symbol], lattice_is_guess=True)
        yield structure_for(compound.formula, compound.prototype), provenance, symbol
    elif compound.formula is not None:
        from workflows.structures.elements import ground_state, ground_state_prototype

        symbol = ground_state_prototype(compound.formula)
        yield ground_state(compound.formula), Provenance(source="element", identifiers=[symbol]), symbol
    else:
        from workflows.structures.reading import read_structure

        for path in _files(compound, directory):
            provenance = Provenance(source="file", identifiers=[path.name])
            yield read_structure(path), provenance, path.name


def _files(compound: Compound, directory: Path) -> list[Path]:
    if compound.file is not None:
        return [directory / Path(compound.file).expanduser()]
    folder = directory / Path(str(compound.folder)).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; the path is relative to the campaign file")
    files = sorted({path for pattern in STRUCTURE_FILES for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise InputError(f"{folder}: holds no structures; expected files named {', '.join(STRUCTURE_FILES)}")
    return files


def _label(structure: Structure, name: str) -> str:
    from workflows.structures.naming import mg_first_formula

    formula = mg_first_formula(structure.composition)
    return f"{formula} ({name})" if "." in name else f"{formula} {name}"


def check_runnable(structure: Structure, where: str) -> None:
    """Refuse what has no surface energy by the definition used: compounds without Mg, or beyond binaries.

    Parameters
    ----------
    structure
        Bulk crystal.
    where
        Put first in the message: place in the campaign file, or label of the compound.

    Raises
    ------
    InputError
        If `structure` holds no Mg, or three or more elements.
    """
    elements = sorted(str(element) for element in structure.composition.elements)
    formula = structure.composition.reduced_formula
    if "Mg" not in elements:
        raise InputError(
            f"{where}: {formula} holds no Mg; mgsurf run computes Mg and its compounds, remove it "
            "(mgsurf slabs accepts it)"
        )
    if len(elements) > 2:
        raise InputError(
            f"{where}: {formula} has {len(elements)} elements; surface energies are defined for elements and "
            "binaries, remove it (mgsurf slabs accepts it)"
        )
