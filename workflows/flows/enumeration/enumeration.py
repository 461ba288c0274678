"""From the sources of a campaign to its compounds: filtered, merged, near the hull, slabs counted.

Merging and counting thousands of compounds takes minutes, so the result is kept on disk under a hash of all
that it was made of.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from stores.errors import InputError
from stores.files import write_file
from stores.input_files import LARGEST
from stores.records import content_hash
from workflows.analysis.hull import HullEntry, atomic_fractions, keep_near_hull
from workflows.flows.enumeration.cost import Meshes, Work, count_all
from workflows.flows.enumeration.lock_file import checked_lock, dump_lock, sections_of
from workflows.flows.enumeration.lock_model import (
    LockedCompound,
    LockedHull,
    LockFile,
    rounded,
    rounded_energy,
)
from workflows.flows.enumeration.resolved_sources import (
    RequestedCompound,
    ResolvedSource,
    plain_candidate,
    requested_compounds,
    resolve_sources,
)
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.filters import Screening
from workflows.structures.sources.merge import MergedCandidate, full_identifiers, merge
from workflows.structures.sources.page_cache import default_cache_file
from workflows.structures.sources.protocol import DatabaseValues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.analysis.hull import HullPosition
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.campaign.values import MillerIndex
    from workflows.flows.enumeration.lock_model import Phase
    from workflows.structures.sources.protocol import Candidate

Progress = Callable[[str, int, int | None], None]
"""Called with a stage or a source's name, how much is done, and how much there is or None."""

COUNTING = ("max_miller_index", "min_thickness", "layer_tolerance", "max_terminations", "max_atoms")
"""Slab settings that decide the counts."""

KEPT = 20  # number of enumerations kept on disk; older ones are removed


class RefusedPhases:
    """Phases that filters, hull or slab counting refused: not computed, but they bound the windows of others.

    Kept is the lowest energy of each formula and method.
    """

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, str], Phase] = {}

    def add(self, candidate: Candidate | MergedCandidate) -> None:
        """Note the formation energies of a candidate, if databases give any."""
        formula = mg_first_formula(candidate.structure.composition)
        merged = isinstance(candidate, MergedCandidate)
        names = candidate.provenance.identifiers if merged else full_identifiers(candidate.provenance)
        for values in candidate.values:
            energy = rounded_energy(values.formation_energy)
            if energy is None or not isfinite(energy):
                continue
            phase = formula, energy, values.method, _name_by(values.method, names)
            known = self._lowest.setdefault((formula, values.method), phase)
            if (phase[1], phase[3]) < (known[1], known[3]):
                self._lowest[formula, values.method] = phase

    def entries(self) -> Iterator[HullEntry]:
        """Yield the phases noted so far."""
        for formula, energy, method, _ in self._lowest.values():
            yield HullEntry(formula, energy, method)

    def of_systems(self, systems: set[frozenset[str]]) -> list[Phase]:
        """Return the phases noted whose elements are exactly those of one of some systems, sorted."""
        return sorted(p for p in self._lowest.values() if frozenset(atomic_fractions(p[0])) in systems)


def _name_by(method: str, names: Sequence[str]) -> str:
    """Return the identifier in the database whose method it is, else the first one."""
    # of `alexandria PBEsol` it is alexandria-pbesol:agm9, not alexandria:agm7
    words = method.lower().split(" ")
    for start in ("-".join(words) + ":", f"{words[0]}:", f"{words[0]}-"):
        if own := next((name for name in names if name.lower().startswith(start)), ""):
            return own
    return next(iter(names), "")


@dataclass
class Enumeration:
    """The compounds of a campaign."""

    # lock, text: content of the lock file, and its text
    lock: LockFile
    text: str
    works: list[Work]  # work of each compound, in their order
    n_candidates: int  # number of structures that the sources delivered
    problems: list[str] = field(default_factory=list)  # one line for each structure or source that is missing
    # one line for each thing left out on purpose: by filters, hull, number of atoms
    notes: list[str] = field(default_factory=list)
    # False if a source could not be queried, broke off, or ended before all that it promised had come; what
    # is missing is not known
    whole: bool = True
    from_cache: bool = False  # True if nothing had to be worked out


_STORED = TypeAdapter(Enumeration)


def enumerate_campaign(
    campaign: Campaign,
    meshes: Meshes,
    *,
    refresh: bool = False,
    max_age: timedelta | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Enumeration:
    """List the compounds of a campaign with sources.

    Parameters
    ----------
    campaign
        From `workflows.flows.campaign.file.load_campaign`.
    meshes
        Of the campaign's engine, for the cost.
    refresh
        Query the databases again, whatever the cache holds.
    max_age
        Of answers in the cache; the sources' own limits if None.
    workers
        Processes that count slabs; one per core if None.
    progress
        See `Progress`.

    Raises
    ------
    InputError
        If the campaign has no sources, or a compound that it names itself cannot be used.
    """
    if campaign.sources is None:
        raise InputError(
            f"{campaign.path}: has no sources; its compounds are those it names (mgsurf run --dry-run "
            "lists their slabs and cost)"
        )
    requested = requested_compounds(campaign)
    sources = resolve_sources(campaign, refresh=refresh, max_age=max_age, progress=progress)
    cache = EnumerationCache()
    fixed = [
        sections_of(campaign),
        _counting(campaign),
        asdict(meshes),
        [[plain_candidate(r.candidate), r.facets] for r in requested],
    ]
    key = cache.key(fixed, _fingerprints(campaign, sources))
    if key is not None and (known := cache.get(key)) is not None:
        return known
    begun = monotonic()
    found = _work_out(campaign, requested, sources, meshes, workers, progress)
    # what has just come is in the sources' own cache now; older answers that stood in for it do not count
    oldest = timedelta(0) if refresh else max_age
    if oldest is not None:
        oldest += timedelta(seconds=monotonic() - begun)
    again = resolve_sources(campaign, max_age=oldest)
    for source, fetched in zip(again, sources, strict=True):
        source.drawn = fetched.drawn
        source.problems = fetched.problems if fetched.drawn is not None else source.problems
    key = cache.key(fixed, _fingerprints(campaign, again))
    found.whole = key is not None and all(source.whole for source in sources)
    if key is not None and all(source.answered for source in sources):
        cache.put(key, found)
    return found


def _fingerprints(campaign: Campaign, sources: list[ResolvedSource]) -> list[str | None]:
    return [source.fingerprint(campaign.directory) for source in sources]


def _counting(campaign: Campaign) -> dict[str, Any]:
    return {name: getattr(campaign.slabs, name) for name in COUNTING}


def _work_out(
    campaign: Campaign,
    requested: list[RequestedCompound],
    sources: list[ResolvedSource],
    meshes: Meshes,
    workers: int | None,
    progress: Progress | None,
) -> Enumeration:
    selection = _Selection(campaign, requested)
    problems: list[str] = []
    merged = merge(selection.candidates(sources), problems=problems, progress=progress)
    problems += [line for source in sources for line in source.problems]
    chosen, hull_lines = selection.near_hull(selection.without_gap(merged))
    listed = [_locked(candidate, position, selection.facets(candidate)) for candidate, position in chosen]
    report = None if progress is None else lambda done: progress("slabs", done, len(listed))
    counts = count_all(listed, campaign.slabs.settings(), meshes, workers, report)
    compounds, works = [], []
    for (candidate, _), compound, counted in zip(chosen, listed, counts, strict=True):
        if counted.problem:
            problems.append(f"{compound.label}: {counted.problem}")
            selection.refused.add(candidate)
        else:
            compound.slabs = counted.planes
            compounds.append(compound)
            works.append(counted.work)
    notes = [*selection.screening.summary(), *hull_lines]
    if too_large := sum(counted.n_too_large for counted in counts):
        notes.append(
            f"{too_large} slabs of more than {campaign.slabs.max_atoms} atoms are left out (slabs.max_atoms)"
        )
    sections = sections_of(campaign)
    systems = {frozenset(site[0] for site in compound.sites) for compound in compounds}
    lock = LockFile(
        mgsurf=_version(),
        made_from=content_hash(sections),
        sections=sections,
        slab_settings=_counting(campaign),
        left_out=sorted(problems),
        compounds=compounds,
        competing=selection.refused.of_systems(systems),
    )
    return Enumeration(lock, dump_lock(lock), works, selection.n_drawn, problems, notes)


class _Selection:
    """Filters of a campaign: what they refuse competes in hulls, what the campaign names always stays."""

    def __init__(self, campaign: Campaign, requested: list[RequestedCompound]) -> None:
        self.n_drawn = 0
        self.refused = RefusedPhases()
        # that a compound has a gap may be known to one database alone: checked once they are merged
        self.screening = Screening(replace(campaign.filters.candidate_filter(), metals_only=False))
        self._campaign, self._requested = campaign, requested
        self._by_name = {name: one for one in requested for name in one.names}

    def candidates(self, sources: list[ResolvedSource]) -> Iterator[Candidate]:
        """Yield the compounds that the campaign names, then those of the sources that pass the filters."""
        yield from (one.candidate for one in self._requested)
        for source in sources:
            for candidate in source.candidates(self._campaign.directory):
                self.n_drawn += 1
                if self.screening.accepts(candidate):
                    yield candidate
                else:
                    self.refused.add(candidate)

    def without_gap(self, merged: list[MergedCandidate]) -> list[MergedCandidate]:
        """Leave out what has a band gap, if metals are wanted."""
        self.screening.filter = self._campaign.filters.candidate_filter()
        return self._kept(merged, self.screening.accepts)

    def near_hull(
        self, merged: list[MergedCandidate]
    ) -> tuple[list[tuple[MergedCandidate, HullPosition | None]], list[str]]:
        """Leave out what is far from the hull; return positions, in the order of the list, and lines."""
        limit = self._campaign.filters.max_energy_above_hull
        near = keep_near_hull(merged, limit, self.refused.entries())
        positions = {id(candidate): position for candidate, position in [*near.kept, *near.removed]}
        removed = {id(candidate) for candidate, _ in near.removed}
        kept = self._kept(merged, lambda candidate: id(candidate) not in removed)
        # that an energy is unknown matters only where energies decide
        lines = [x for x in near.lines() if limit is not None or "without an energy" not in x]
        return [(candidate, positions[id(candidate)]) for candidate in kept], lines

    def facets(self, candidate: MergedCandidate) -> list[MillerIndex] | None:
        """Return the planes requested of a candidate; None for all."""
        facets = [one.facets for one in self._named(candidate)]
        if not facets or None in facets:
            return None
        return list(dict.fromkeys(facet for some in facets for facet in some or []))

    def _named(self, candidate: MergedCandidate) -> list[RequestedCompound]:
        own = ((candidate.formula, name) for name in candidate.provenance.identifiers)
        return [self._by_name[name] for name in own if name in self._by_name]

    def _kept(
        self, merged: list[MergedCandidate], accepts: Callable[[MergedCandidate], bool]
    ) -> list[MergedCandidate]:
        kept = []
        for candidate in merged:
            if self._named(candidate) or accepts(candidate):
                kept.append(candidate)
            else:
                self.refused.add(candidate)
        return kept


def _locked(
    candidate: MergedCandidate, position: HullPosition | None, facets: list[MillerIndex] | None
) -> LockedCompound:
    """Return the entry of a compound, its slabs not yet counted."""
    lattice, sites = rounded(candidate.structure)
    hull = None
    if position is not None:
        energy = round(float(position.energy_above_hull), 6) + 0.0
        hull = LockedHull(energy=energy, method=position.method)
    return LockedCompound(
        label=candidate.label,
        formula=candidate.formula,
        spacegroup_number=candidate.spacegroup_number,
        spacegroup_symbol=candidate.spacegroup_symbol,
        n_atoms=candidate.n_atoms,
        provenance=candidate.provenance,
        values=[
            DatabaseValues(
                values.method,
                rounded_energy(values.formation_energy),
                rounded_energy(values.energy_above_hull),
                rounded_energy(values.band_gap),
            )
            for values in candidate.values
        ],
        hull=hull,
        facets=facets,
        slabs={},
        lattice=lattice,
        sites=sites,
    )


def _version() -> str:
    try:
        return version("mgsurf")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


@cache
def _code_version() -> str:
    """Return a hash of the source text and the libraries that decide what an enumeration gives."""
    import numpy
    import pymatgen.core
    import spglib

    workflows = Path(__file__).parents[2]
    files = [
        *workflows.glob("structures/**/*.py"),
        *workflows.glob("analysis/*hull*.py"),
        *workflows.glob("flows/enumeration/*.py"),
        *map(workflows.joinpath, ("flows/campaign/settings.py", "engines/kpoints.py", "jobs/progress.py")),
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    digest.update(f"{numpy.__version__} {pymatgen.core.__version__} {spglib.__version__}".encode())
    return digest.hexdigest()


class EnumerationCache:
    """Folder of enumerations beside the cache of the databases' answers; its errors are ignored."""

    def __init__(self) -> None:
        self.folder = default_cache_file().with_name("enumerations")

    def key(self, fixed: Any, fingerprints: Sequence[str | None]) -> str | None:
        """Return the key of an enumeration; None if a source does not know yet what it will deliver."""
        if None in fingerprints:
            return None
        return content_hash([_code_version(), fixed, list(fingerprints)])

    def get(self, key: str) -> Enumeration | None:
        """Return an enumeration, None if it is not there or cannot be read."""
        try:
            packed = zlib.decompressobj()
            plain = orjson.loads(packed.decompress((self.folder / key).read_bytes(), LARGEST))
            lock = checked_lock(orjson.loads(plain["text"]), self.folder / key, "mgsurf enumerate")
            return _STORED.validate_python({**plain, "lock": lock, "from_cache": True})
        except (OSError, ValueError, KeyError, TypeError, zlib.error, InputError):
            return None

    def put(self, key: str, found: Enumeration) -> None:
        """Keep an enumeration."""
        names = ("text", "works", "n_candidates", "problems", "notes", "whole")
        text = orjson.dumps({name: getattr(found, name) for name in names})
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self.folder / key, zlib.compress(text, 1), durable=False)
            kept = sorted(self.folder.iterdir(), key=lambda path: -path.stat().st_mtime)
            for path in kept[KEPT:]:
                path.unlink(missing_ok=True)
