"""The sources of a campaign as objects, and its own compounds as candidates."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.paths import expand_user
from stores.records import content_hash
from workflows.flows.campaign.sources import ORIGINS
from workflows.structures.sources.merge import full_identifiers
from workflows.structures.sources.page_cache import default_cache_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from workflows.flows.campaign.settings import Campaign, MillerIndex
    from workflows.flows.campaign.sources import CandidateSource
    from workflows.structures.sources.protocol import Candidate, Source


@dataclass
class Origin:
    """One entry of `sources`, or all of `compounds`.

    Attributes
    ----------
    where
        Its place in the campaign file, for messages.
    source
        None if it could not be made.
    problems
        What it could not deliver.
    drawn
        Its candidates, where they had to be looked at already.
    failed
        True if it could not be asked at all.
    """

    where: str
    source: Source | None = None
    problems: list[str] = field(default_factory=list)
    drawn: list[Candidate] | None = None
    failed: bool = False

    @property
    def answered(self) -> bool:
        """Whether it was asked and did not break off, so that asking the same again brings the same."""
        return not self.failed and bool(getattr(self.source, "whole", True))

    @property
    def whole(self) -> bool:
        """Whether it delivered all that it has; what it has but cannot be used does not count."""
        return self.answered and not getattr(self.source, "short", False)

    def candidates(self, directory: Path) -> Iterator[Candidate]:
        """Yield the candidates, paths relative to the campaign's folder; what is wrong goes to `problems`."""
        if self.drawn is not None:
            yield from self.drawn
            return
        if self.source is None:
            return
        try:
            for candidate in self.source.candidates():
                yield _relative(candidate, directory)
            self.problems += [_without(directory, line) for line in self.source.problems]
        except InputError as error:
            self.failed = True
            self.problems.append(f"{self.where}: {_without(directory, str(error))}")
        except sqlite3.Error as error:
            self.failed = True
            self.problems.append(
                f"{self.where}: the cache of answers cannot be used ({error}); run again, or delete "
                f"{default_cache_file()}"
            )
        except OSError as error:
            self.failed = True
            self.problems.append(f"{self.where}: {error.filename}: {error.strerror}; check the path")

    def fingerprint(self, directory: Path) -> str | None:
        """Return a hash of what will come; None if that must be asked of a database first."""
        of_source = getattr(self.source, "fingerprint", None)
        if of_source is not None and self.drawn is None:
            try:
                found: str | None = of_source()
            except InputError:
                return None
            return found
        if self.drawn is None:
            self.drawn = list(self.candidates(directory))
        return content_hash([self.problems, [plain_candidate(c) for c in self.drawn]])


def origins_of(
    campaign: Campaign,
    *,
    refresh: bool = False,
    max_age: timedelta | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[Origin]:
    """Return the sources of a campaign; one that cannot be made has a problem instead.

    Parameters
    ----------
    campaign
        With sources.
    refresh
        Query the databases again.
    max_age
        Of their answers on disk; the sources' own limits if None.
    progress
        Called with a name, how much has come, and how much there is or None.
    """
    origins = []
    for number, entry in enumerate(campaign.sources or []):
        key = next(name for name in ORIGINS if getattr(entry, name) is not None)
        origin = Origin(campaign.where("sources", number, key))
        try:
            origin.source = _MAKERS[key](campaign, entry, refresh, max_age, progress)
        except InputError as error:
            origin.failed = True
            origin.problems.append(f"{origin.where}: {_without(campaign.directory, str(error))}")
        origins.append(origin)
    return origins


def _optimade(
    campaign: Campaign,
    entry: CandidateSource,
    refresh: bool,
    max_age: timedelta | None,
    progress: Callable[[str, int, int | None], None] | None,
) -> Source:
    from workflows.structures.sources.optimade import OptimadeSource

    wanted = campaign.filters
    limits: dict[str, Any] = {}
    if entry.timeout is not None:
        limits["timeout"] = entry.timeout
    if max_age is not None:
        limits["max_age"] = max_age
    return OptimadeSource(
        entry.optimade or [],
        partners=wanted.partners,
        exclude=wanted.exclude,
        max_elements=wanted.max_elements,
        max_atoms=wanted.max_atoms,
        refresh=refresh,
        progress=progress,
        **limits,
    )


def _materials_project(
    campaign: Campaign,
    entry: CandidateSource,
    refresh: bool,
    max_age: timedelta | None,
    progress: Callable[[str, int, int | None], None] | None,
) -> Source:
    from workflows.structures.sources.materials_project import MAX_AGE, MaterialsProjectSource

    wanted = campaign.filters
    return MaterialsProjectSource(
        partners=wanted.partners,
        exclude=wanted.exclude,
        max_elements=wanted.max_elements,
        max_atoms=wanted.max_atoms,
        include_gnome=entry.gnome is not False,
        max_age=MAX_AGE if max_age is None else max_age.total_seconds(),
        refresh=refresh,
        progress=progress,
    )


def _prototypes(campaign: Campaign, entry: CandidateSource, *_: object) -> Source:
    from workflows.structures.sources.local import PrototypeSource

    partners = entry.partners or ([] if entry.formulas else campaign.filters.partners or [])
    return PrototypeSource(entry.formulas or [], partners, entry.prototypes)


def _files(campaign: Campaign, entry: CandidateSource, *_: object) -> Source:
    from workflows.structures.sources.local import FileSource

    path = campaign.directory / expand_user(entry.folder or entry.file or "")
    if entry.file is not None and path.is_dir():
        raise InputError(f"{path} is a folder; write `folder:` instead of `file:`")
    if entry.folder is not None and path.is_file():
        raise InputError(f"{path} is a file; write `file:` instead of `folder:`")
    return FileSource(path)


_MAKERS: dict[str, Callable[..., Source]] = {
    "optimade": _optimade,
    "materials_project": _materials_project,
    "prototypes": _prototypes,
    "folder": _files,
    "file": _files,
}


@dataclass(frozen=True)
class Wanted:
    """A compound that the campaign file names itself: no filter applies to it.

    Attributes
    ----------
    candidate
        Its crystal.
    facets
        Planes wanted; None for all.
    """

    candidate: Candidate
    facets: list[MillerIndex] | None

    @property
    def names(self) -> set[tuple[str, str]]:
        """Formula and identifiers, by which it is found in the merged list."""
        from workflows.structures.naming import mg_first_formula

        formula = mg_first_formula(self.candidate.structure.composition)
        return {(formula, name) for name in full_identifiers(self.candidate.provenance)}


def wanted_compounds(campaign: Campaign) -> list[Wanted]:
    """Return the compounds that a campaign file names.

    Raises
    ------
    InputError
        One line for each that cannot be had.
    """
    from workflows.flows.campaign.file import compound_structures
    from workflows.structures.sources.protocol import Candidate

    return [
        Wanted(
            _relative(Candidate(entry.structure, entry.provenance, entry.label), campaign.directory),
            entry.facets,
        )
        for entry in compound_structures(campaign)
    ]


def _relative(candidate: Candidate, directory: Path) -> Candidate:
    """Write the paths of files from the campaign's folder on: the same on every machine."""
    if candidate.provenance.source != "file":
        return candidate
    names = [_without(directory, name) for name in candidate.provenance.identifiers]
    return replace(candidate, provenance=candidate.provenance.model_copy(update={"identifiers": names}))


def _without(directory: Path, text: str) -> str:
    return text.replace(f"{directory}/", "") if directory != Path() else text


def plain_candidate(candidate: Candidate) -> list[object]:
    """Return all that is in a candidate as plain values."""
    structure = candidate.structure
    return [
        structure.lattice.matrix.tolist(),
        [site.specie.symbol for site in structure],
        structure.frac_coords.tolist(),
        candidate.provenance.model_dump(mode="json"),
        [[v.method, v.formation_energy, v.energy_above_hull, v.band_gap] for v in candidate.values],
    ]
