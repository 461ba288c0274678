"""The sources of a campaign as objects, and its own compounds as candidates."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.records import content_hash
from workflows.flows.campaign.file import compound_structures, file_source
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.merge import full_identifiers
from workflows.structures.sources.page_cache import default_cache_file
from workflows.structures.sources.protocol import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from pathlib import Path

    from workflows.flows.campaign.settings import Campaign, CandidateSource
    from workflows.flows.campaign.values import MillerIndex
    from workflows.structures.sources.protocol import Source


@dataclass
class ResolvedSource:
    """One entry of `sources`."""

    where: str  # its place in the campaign file, for messages
    source: Source | None = None  # None if it could not be made
    problems: list[str] = field(default_factory=list)  # one line for each thing that it could not deliver
    drawn: list[Candidate] | None = None  # its candidates, where `fingerprint` had to draw them
    failed: bool = False  # True if it could not be used at all

    @property
    def answered(self) -> bool:
        """Whether it did not break off, so that the same request brings the same candidates."""
        return not self.failed and bool(getattr(self.source, "whole", True))

    @property
    def whole(self) -> bool:
        """Whether it delivered all that it has; what it has but cannot be used does not count."""
        return self.answered and not getattr(self.source, "short", False)

    def candidates(self, directory: Path) -> Iterator[Candidate]:
        """Yield the candidates with paths relative to the campaign's folder; errors go to `problems`."""
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
            self._fail(_without(directory, str(error)))
        except sqlite3.Error as error:
            self._fail(
                f"the cache of answers cannot be used ({error}); run again, or delete {default_cache_file()}"
            )
        except OSError as error:
            self._fail(f"{error.filename}: {error.strerror}; check the path")

    def _fail(self, problem: str) -> None:
        self.failed = True
        self.problems.append(f"{self.where}: {problem}")

    def fingerprint(self, directory: Path) -> str | None:
        """Return a hash of what will come; None if a database must be queried first."""
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


def resolve_sources(
    campaign: Campaign,
    *,
    refresh: bool = False,
    max_age: timedelta | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[ResolvedSource]:
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
    resolved = []
    for number, entry in enumerate(campaign.sources or []):
        one = ResolvedSource(campaign.where("sources", number, entry.kind))
        try:
            one.source = _source_of(campaign, entry, max_age, refresh=refresh, progress=progress)
        except InputError as error:
            one._fail(_without(campaign.directory, str(error)))
        resolved.append(one)
    return resolved


def _source_of(
    campaign: Campaign, entry: CandidateSource, max_age: timedelta | None, **options: Any
) -> Source:
    """Make the source of one entry; `options` are those of both kinds of databases."""
    filters = campaign.filters
    if entry.optimade is not None:
        from workflows.structures.sources.optimade import OptimadeSource

        if entry.timeout is not None:
            options["timeout"] = entry.timeout
        if max_age is not None:
            options["max_age"] = max_age
        return OptimadeSource(entry.optimade, filters.candidate_filter(), **options)
    if entry.materials_project:
        from workflows.structures.sources.materials_project import MaterialsProjectSource

        if max_age is not None:
            options["max_age"] = max_age.total_seconds()
        gnome = entry.gnome is not False
        return MaterialsProjectSource(filters.candidate_filter(), include_gnome=gnome, **options)
    if entry.prototypes is not None:
        from workflows.structures.sources.local import PrototypeSource

        partners = entry.partners or ([] if entry.formulas else filters.partners or [])
        return PrototypeSource(entry.formulas or [], partners, entry.prototypes)
    return file_source(entry, campaign.directory)


@dataclass(frozen=True)
class RequestedCompound:
    """A compound that the campaign file names itself: no filter applies to it."""

    candidate: Candidate  # its crystal
    facets: list[MillerIndex] | None  # planes requested; None for all

    @property
    def names(self) -> set[tuple[str, str]]:
        """Formula and identifiers, by which it is found in the merged list."""
        formula = mg_first_formula(self.candidate.structure.composition)
        return {(formula, name) for name in full_identifiers(self.candidate.provenance)}


def requested_compounds(campaign: Campaign) -> list[RequestedCompound]:
    """Return the compounds that a campaign file names; errors as of `compound_structures`."""
    return [
        RequestedCompound(
            _relative(Candidate(entry.structure, entry.provenance, entry.label), campaign.directory),
            entry.facets,
        )
        for entry in compound_structures(campaign)
    ]


def _relative(candidate: Candidate, directory: Path) -> Candidate:
    """Make the paths of files relative to the campaign's folder: the same on every machine."""
    if candidate.provenance.source != "file":
        return candidate
    names = [_without(directory, name) for name in candidate.provenance.identifiers]
    return replace(candidate, provenance=candidate.provenance.model_copy(update={"identifiers": names}))


def _without(directory: Path, text: str) -> str:
    return text.replace(f"{directory}/", "") if str(directory) != "." else text


def plain_candidate(candidate: Candidate) -> list[object]:
    """Return the content of a candidate as plain values."""
    structure = candidate.structure
    return [
        structure.lattice.matrix.tolist(),
        [site.specie.symbol for site in structure],
        structure.frac_coords.tolist(),
        candidate.provenance.model_dump(mode="json"),
        [astuple(values) for values in candidate.values],
    ]
