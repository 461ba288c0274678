"""The campaign file: read, checked line by line, turned into bulk structures that an engine can compute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.nodes import ScalarNode, SequenceNode

from stores.errors import EngineError, InputError, pluralize
from stores.input_files import TooDeepError, load_yaml, read_text
from stores.paths import expand_user
from workflows.analysis.surface_energy import reference_element
from workflows.flows.campaign.problems import problems, suggestion
from workflows.flows.campaign.settings import Campaign, Compound
from workflows.flows.campaign.values import MillerIndex
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from stores.records import Provenance
    from workflows.engines.protocol import Engine
    from workflows.flows.campaign.settings import CandidateSource
    from workflows.structures.sources.local import FileSource
    from workflows.structures.sources.protocol import Candidate

Schema = TypeVar("Schema", bound=BaseModel)


class _Constructor(RoundTripConstructor):
    """Keeps `facets` as text: 0110 is four digits, not the number 110 or 72."""

    def construct_mapping(  # type: ignore[override] # as ruamel's own round-trip constructor
        self, node: Any, maptyp: Any, deep: bool = False
    ) -> Any:
        for key, value in node.value:
            if key.value == "facets" and isinstance(value, SequenceNode):
                for plane in value.value:
                    if isinstance(plane, ScalarNode):
                        plane.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, maptyp, deep)


MOST_NAMED = 12  # compounds without Mg that a note names
LARGEST_FILE = 1 << 21  # bytes of a campaign file: 4,000 compounds have 220,000


class CampaignStructure(NamedTuple):
    """A bulk crystal of a campaign."""

    label: str  # for people, e.g. ``MgAg (B2)`` or ``Mg2Ni (Mg2Ni.cif)``
    structure: Structure  # before relaxation (A)
    provenance: Provenance  # where it came from
    facets: list[MillerIndex] | None  # planes requested; None for all
    where: str  # its place in the campaign file, for messages


def _read_text(path: Path, kind: str) -> str:
    try:
        return read_text(path, LARGEST_FILE)
    except FileNotFoundError:
        near = suggestion(path.name, [entry.name for entry in path.parent.glob("*.y*ml")])
        raise InputError(f"{path}: no such {kind} file{near or '; check the path'}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the {kind} file (YAML) inside it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; a {kind} file is YAML") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check path and permissions") from None


def _parse(text: str, path: Path) -> Any:
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt")
    yaml.Constructor = _Constructor
    try:
        return load_yaml(text, yaml)
    except TooDeepError as error:
        raise InputError(f"{path}:{error.lineno}: {error}; correct the file") from None
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
    except (ValueError, OverflowError) as error:  # what looks like a date, but is none: 2026-13-01
        raise InputError(f"{path}: a date or number cannot be read ({error}); write it in quotes") from None


def plain(node: Any) -> Any:
    """Turn ruamel.yaml's round-trip types into plain Python, which strict validation needs."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def read_document(path: Path, kind: str = "campaign") -> Any:
    """Read a YAML file that a user names, with ruamel.yaml's line numbers; None if it is empty.

    `kind` names the file in messages.

    Raises InputError, with the place in the file, if it is missing or is not YAML.
    """
    return _parse(_read_text(path, kind), path)


def checked_document(document: Any, schema: type[Schema], path: Path) -> Schema:
    """Return a document of `read_document` as its schema; InputError with a line for each problem."""
    try:
        return schema.model_validate(plain(document))
    except ValidationError as error:
        raise InputError("\n".join(problems(error, document, schema, str(path)))) from None


def checked_file(path: Path, schema: type[Schema], kind: str, example: str) -> Schema:
    """Read and check a YAML file of a kind; example: keys that such a file has, for messages.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line for each problem.
    """
    document = read_document(path, kind)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected `key: value` lines, such as {example}")
    return checked_document(document, schema, path)


def load_campaign(path: Path | str) -> Campaign:
    """Read and check a campaign file (YAML).

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line per problem, each with
        file, line, field and what is allowed; all problems at once.
    """
    path = Path(path)
    document = read_document(path)
    if document is None:
        raise InputError(f"{path}: is empty; a campaign needs at least `name` and `compounds` or `sources`")
    if not isinstance(document, dict):
        raise InputError(
            f"{path}:1: expected `key: value` lines at the top level, such as `name: my-campaign`"
        )
    campaign = checked_document(document, Campaign, path)
    campaign._path = path
    campaign._document = document
    return campaign


def campaign_structures(campaign: Campaign) -> list[CampaignStructure]:
    """Return every bulk crystal of a campaign: its compounds, or those of its lock file if it has sources.

    Raises
    ------
    InputError
        As `compound_structures`; or if the lock file is missing, damaged, older than the sources, or the
        atoms of an entry contradict its formula.
    """
    found = compound_structures(campaign) if campaign.sources is None else _locked_structures(campaign)
    for entry in found:
        if entry.provenance.source == "file":
            _show_axes(entry, campaign.slabs.max_miller_index)
    return found


def _locked_structures(campaign: Campaign) -> list[CampaignStructure]:
    """Return the structures of a campaign's lock file, checked."""
    from stores.structures.reading import show_notes
    from workflows.flows.enumeration.lock_file import campaign_lock, lock_path, locked_structures

    path = lock_path(campaign)
    lock = campaign_lock(campaign)
    structures, lines = locked_structures(lock, path, f"mgsurf enumerate {campaign.path}")
    show_notes(lines)
    return [
        CampaignStructure(c.label, structure, c.provenance, c.facets, f"{path}: {c.label}")
        for c, structure in zip(lock.compounds, structures, strict=True)
    ]


def compound_structures(campaign: Campaign) -> list[CampaignStructure]:
    """Build or read every bulk crystal that a campaign file names under `compounds`, in its order.

    The files of a folder come in alphabetical order.

    Raises
    ------
    InputError
        If files are missing or structures cannot be used: one line per problem, each with its place in the
        campaign file; all problems at once.
    """
    found: list[CampaignStructure] = []
    failed: list[str] = []
    for number, compound in enumerate(campaign.compounds):
        where = campaign.where("compounds", number, compound.kind)
        try:
            candidates, problems_found = _candidates(compound, campaign.directory)
        except InputError as error:
            candidates, problems_found = [], str(error).splitlines()
        except OSError as error:  # a name too long, a loop of links, no permission
            candidates, problems_found = [], [f"{error.filename}: {error.strerror}; check the path"]
        failed += [f"{where}: {line}" for line in problems_found]
        facets = None if compound.facets is None else [(h, k, l) for h, k, l in compound.facets]
        for candidate in candidates:
            formula = mg_first_formula(candidate.structure.composition)
            label = f"{formula} ({candidate.label})"
            found.append(CampaignStructure(label, candidate.structure, candidate.provenance, facets, where))
            try:
                if compound.facets:
                    _check_facets(candidate.structure, compound.facets)
            except InputError as error:
                place = campaign.where("compounds", number, "facets")
                failed.append(f"{place}: {candidate.label}: {error}")
    if failed:
        raise InputError("\n".join(failed))
    return found


def _candidates(compound: Compound, directory: Path) -> tuple[list[Candidate], list[str]]:
    """Return the structures of one entry, and one line for each file that cannot be used."""
    from stores.records import Provenance
    from workflows.structures.sources.protocol import Candidate

    if compound.formula is not None and compound.prototype is not None:
        from workflows.structures.prototypes import prototype, structure_for

        symbol = prototype(compound.prototype).name
        made = structure_for(compound.formula, compound.prototype)
        provenance = Provenance(source="prototype", identifiers=[symbol], lattice_is_guess=True)
        return [Candidate(made, provenance, symbol)], []
    if compound.formula is not None:
        from workflows.structures.elements import ground_state, ground_state_prototype

        symbol = ground_state_prototype(compound.formula)
        provenance = Provenance(source="element", identifiers=[symbol])
        return [Candidate(ground_state(compound.formula), provenance, symbol)], []

    source = file_source(compound, directory)
    candidates = list(source.candidates())
    return candidates, source.problems


def file_source(section: Compound | CandidateSource, directory: Path) -> FileSource:
    """Return the source of a section's `file` or `folder`, which is relative to a directory."""
    from workflows.structures.sources.local import FileSource

    path = directory / expand_user(section.file or section.folder or "")
    if section.file is not None and path.is_dir():
        raise InputError(f"{path} is a folder; write `folder:` instead of `file:`")
    if section.folder is not None and path.is_file():
        raise InputError(f"{path} is a file; write `file:` instead of `folder:`")
    return FileSource(path, getattr(section, "symprec", None))


def _check_facets(structure: Structure, facets: list[MillerIndex]) -> None:
    """Refuse planes that a crystal does not have."""
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import check_indices

    crystal = crystal_of(structure)
    for facet in facets:
        check_indices(crystal, facet)


def _show_axes(entry: CampaignStructure, max_miller_index: int) -> None:
    """Log what the planes of a crystal are in the axes of its file."""
    from stores.structures.reading import show_notes
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import axes_note, facets_of

    crystal = crystal_of(entry.structure)
    show_notes(axes_note(crystal, facets_of(crystal, max_miller_index, entry.facets), entry.label))


def runnable_structures(
    campaign: Campaign, structures: Sequence[CampaignStructure], engine: Engine
) -> tuple[list[CampaignStructure], list[str]]:
    """Return the structures that an engine can compute, and lines about those left out or without Mg.

    A compound that the campaign file names itself is never left out: there it is an error.

    Raises
    ------
    InputError
        If a compound under `compounds` has no surface energy, or nothing is left.
    EngineError
        If the engine refuses one of its elements.
    """
    if campaign.sources is None:
        for entry in structures:
            check_runnable(entry.structure, entry.where)
        engine.check_elements(sorted({s.specie.symbol for entry in structures for s in entry.structure}))
        return list(structures), without_mg_lines(entry.structure for entry in structures)
    kept: list[CampaignStructure] = []
    reasons: dict[str, list[str]] = {}
    for entry in structures:
        reason = why_not(entry.structure.symbol_set, engine)
        if reason:
            reasons.setdefault(reason, []).append(entry.label)
        else:
            kept.append(entry)
    lines = [left_out_line(reason, labels) for reason, labels in sorted(reasons.items())]
    if not kept:
        raise InputError("\n".join(lines) or f"{campaign.path}: its lock file lists no compound")
    return kept, [*lines, *without_mg_lines(entry.structure for entry in kept)]


def without_mg_lines(structures: Iterable[Structure]) -> list[str]:
    """Return the line that names the compounds and elements without Mg; none if all hold Mg."""
    named: dict[str, None] = {}
    for structure in structures:
        elements = structure.symbol_set
        if "Mg" not in elements:
            rich = f" ({reference_element(elements)}-rich)" if len(elements) == 2 else ""
            named[mg_first_formula(structure.composition) + rich] = None
    if not named:
        return []
    listed = ", ".join(list(named)[:MOST_NAMED]) + (", ..." if len(named) > MOST_NAMED else "")
    are = "is" if len(named) == 1 else f"these {len(named)} are"
    return [f"without Mg: {listed}: {are} computed, but no Mg intermetallic; trainings keep them apart"]


def check_runnable(structure: Structure, where: str) -> None:
    """Raise `InputError`, which begins with `where`, unless a structure is an element or a binary."""
    if reason := why_not(structure.symbol_set):
        formula = structure.composition.reduced_formula
        raise InputError(f"{where}: {formula} holds {reason}; remove it (mgsurf slabs accepts it)")


def why_not(elements: Sequence[str], engine: Engine | None = None) -> str:
    """Return why a compound of these elements cannot be computed; empty if it can."""
    if len(elements) > 2:
        return "more than two elements, for which no surface energy is defined"
    try:
        if engine is not None:
            engine.check_elements(elements)
    except EngineError as error:
        return str(error)
    return ""


def left_out_line(reason: str, labels: Sequence[str]) -> str:
    """Return the line that names the compounds left out of a run for one reason."""
    named = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
    return f"{pluralize(len(labels), 'compound')} left out of the run ({reason}): {named}"
