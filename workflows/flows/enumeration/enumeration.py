"""From the sources of a campaign to its compounds: drawn, filtered, merged, near the hull, slabs counted.

What an enumeration gave, kept on disk under a hash of all that it was made of.

Merging and counting thousands of compounds takes minutes; asking again for what has not changed takes none.

Phases that a campaign does not compute, but that bound the windows of those that it does.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
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

from stores.errors import InputError
from stores.files import write_file
from stores.input_files import LARGEST
from stores.records import content_hash
from workflows.analysis.hull import HullEntry, atomic_fractions, keep_near_hull
from workflows.flows.enumeration.cost import Meshes, Work
from workflows.flows.enumeration.lock_file import (
    ENERGY_DIGITS,
    LENGTH_DIGITS,
    POSITION_DIGITS,
    dump_lock,
    sections_of,
)
from workflows.flows.enumeration.lock_model import (
    LockedCompound,
    LockedHull,
    LockedValues,
    LockFile,
    Site,
    Vector,
)
from workflows.flows.enumeration.origins import Origin, Wanted, origins_of, plain_candidate, wanted_compounds
from workflows.flows.enumeration.slab_counts import Bulk, count_all
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.filters import Screening
from workflows.structures.sources.merge import MergedCandidate, full_identifiers, merge
from workflows.structures.sources.page_cache import default_cache_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from workflows.analysis.hull import HullPosition
    from workflows.flows.campaign.settings import Campaign, MillerIndex
    from workflows.flows.enumeration.lock_model import Phase
    from workflows.structures.sources.protocol import Candidate


class RefusedPhases:
    """Energies of what filters, hull or slab counting refused: the lowest of each formula and method."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, str], Phase] = {}

    def add(self, candidate: Candidate | MergedCandidate) -> None:
        """Note what databases say of a candidate; nothing if they give no formation energy."""
        formula = mg_first_formula(candidate.structure.composition)
        for values in candidate.values:
            energy = values.formation_energy
            if energy is None or not isfinite(energy):
                continue
            name = _name_by(values.method, _identifiers(candidate))
            phase = formula, round(float(energy), ENERGY_DIGITS) + 0.0, values.method, name
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


def _identifiers(candidate: Candidate | MergedCandidate) -> Sequence[str]:
    if isinstance(candidate, MergedCandidate):
        return candidate.provenance.identifiers
    return full_identifiers(candidate.provenance)


def _name_by(method: str, names: Sequence[str]) -> str:
    """Return the identifier in the database whose method it is, else the first one.

    Of `alexandria PBEsol` it is alexandria-pbesol:agm9, not alexandria:agm7.
    """
    words = method.lower().split(" ")
    for start in ("-".join(words) + ":", f"{words[0]}:", f"{words[0]}-"):
        if own := next((name for name in names if name.lower().startswith(start)), ""):
            return own
    return next(iter(names), "")


Progress = Callable[[str, int, int | None], None]
"""Called with a stage or a source's name, how much is done, and how much there is or None."""

COUNTING = ("max_miller_index", "min_thickness", "layer_tolerance", "max_terminations", "max_atoms")
"""Slab settings that decide the counts."""


@dataclass
class Enumeration:
    """The compounds of a campaign.

    Attributes
    ----------
    lock, text
        What goes into the lock file, and the text of it.
    works
        What there is to compute for each compound, in their order.
    n_candidates
        Structures that the sources delivered.
    problems
        What was left out though it was asked for, one line each.
    notes
        What was done on purpose, one line each: filters, hull, slabs with too many atoms.
    whole
        False if a source could not be asked, broke off, or ended before all that it promised had come; what
        is missing is not known.
    from_cache
        True if nothing had to be worked out.
    """

    lock: LockFile
    text: str
    works: list[Work]
    n_candidates: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whole: bool = True
    from_cache: bool = False


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
        Of the engine that will compute, for the cost.
    refresh
        Query the databases again, whatever the cache holds.
    max_age
        Of answers in the cache; the sources' own limits if None.
    workers
        Processes that count slabs; one per core if None.
    progress
        Told what is done.

    Raises
    ------
    InputError
        If the campaign has no sources, or a compound that it names itself cannot be had.
    """
    if campaign.sources is None:
        raise InputError(
            f"{campaign.path}: has no sources to ask; its compounds are those it names (mgsurf run --dry-run "
            "lists their slabs)"
        )
    wanted = wanted_compounds(campaign)
    origins = origins_of(campaign, refresh=refresh, max_age=max_age, progress=progress)
    cache = EnumerationCache()
    fixed = [
        sections_of(campaign),
        _counting(campaign),
        asdict(meshes),
        [[plain_candidate(w.candidate), w.facets] for w in wanted],
    ]
    key = cache.key(fixed, _fingerprints(campaign, origins))
    if key is not None and (known := cache.get(key)) is not None:
        return known
    begun = monotonic()
    found = _work_out(campaign, wanted, origins, meshes, workers, progress)
    # what has just come is in the sources' own cache now; older answers that stood in for it do not count
    oldest = timedelta(0) if refresh else max_age
    if oldest is not None:
        oldest += timedelta(seconds=monotonic() - begun)
    again = origins_of(campaign, max_age=oldest)
    for origin, fetched in zip(again, origins, strict=True):
        origin.drawn = fetched.drawn
        origin.problems = fetched.problems if fetched.drawn is not None else origin.problems
    key = cache.key(fixed, _fingerprints(campaign, again))
    found.whole = key is not None and all(origin.whole for origin in origins)
    if key is not None and all(origin.answered for origin in origins):
        cache.put(key, found)
    return found


def _fingerprints(campaign: Campaign, origins: list[Origin]) -> list[str | None]:
    return [origin.fingerprint(campaign.directory) for origin in origins]


def _counting(campaign: Campaign) -> dict[str, Any]:
    return {name: getattr(campaign.slabs, name) for name in COUNTING}


def _work_out(
    campaign: Campaign,
    wanted: list[Wanted],
    origins: list[Origin],
    meshes: Meshes,
    workers: int | None,
    progress: Progress | None,
) -> Enumeration:
    drawn = _Drawn(campaign, wanted, origins)
    problems: list[str] = []
    merged = merge(drawn.candidates(), problems=problems, progress=progress)
    problems += [line for origin in origins for line in origin.problems]
    names = {name: w for w in wanted for name in w.names}
    merged = drawn.without_gap(merged, names)
    chosen, hull_lines = _near_hull(
        merged, names, campaign.filters.max_energy_above_hull, drawn.refused.entries()
    )
    near = {id(candidate) for candidate, _ in chosen}
    for candidate in merged:
        if id(candidate) not in near:
            drawn.refused.add(candidate)
    compounds, works, too_large = [], [], 0
    bulks = [_bulk(m, names) for m, _ in chosen]
    told = None if progress is None else lambda done: progress("slabs", done, len(bulks))
    counts = count_all(bulks, campaign.slabs.settings(), meshes, workers, told)
    for (candidate, position), bulk, counted in zip(chosen, bulks, counts, strict=True):
        if counted.problem:
            problems.append(f"{candidate.label}: {counted.problem}")
            drawn.refused.add(candidate)
            continue
        too_large += counted.n_too_large
        compounds.append(_locked(candidate, position, bulk, counted.planes))
        works.append(counted.work)
    notes = [*drawn.screening.summary(), *hull_lines]
    if too_large:
        notes.append(
            f"{too_large} slabs of more than {campaign.slabs.max_atoms} atoms are left out (slabs.max_atoms)"
        )
    sections = sections_of(campaign)
    lock = LockFile(
        mgsurf=_version(),
        made_from=content_hash(sections),
        sections=sections,
        slab_settings=_counting(campaign),
        left_out=sorted(problems),
        compounds=compounds,
        competing=drawn.refused.of_systems(
            {frozenset(site[0] for site in compound.sites) for compound in compounds}
        ),
    )
    return Enumeration(lock, dump_lock(lock), works, drawn.number, problems, notes)


class _Drawn:
    """The candidates of all origins, filtered on the way; those refused still compete in hulls."""

    def __init__(self, campaign: Campaign, wanted: list[Wanted], origins: list[Origin]) -> None:
        self.number = 0
        self.refused = RefusedPhases()
        # that a compound has a gap may be known to one database alone: looked at once they are merged
        self.screening = Screening(replace(campaign.filters.candidate_filter(), metals_only=False))
        self._campaign, self._wanted, self._origins = campaign, wanted, origins

    def candidates(self) -> Iterator[Candidate]:
        yield from (w.candidate for w in self._wanted)
        for origin in self._origins:
            for candidate in origin.candidates(self._campaign.directory):
                self.number += 1
                passed = False
                for kept in self.screening.passing([candidate]):
                    passed = True
                    yield kept
                if not passed:
                    self.refused.add(candidate)

    def without_gap(
        self, merged: list[MergedCandidate], names: dict[tuple[str, str], Wanted]
    ) -> list[MergedCandidate]:
        """Leave out what has a band gap, if metals are wanted; what the campaign file names stays."""
        self.screening.filter = self._campaign.filters.candidate_filter()
        kept = []
        for candidate in merged:
            named = bool(_named(candidate, names))
            if named or any(True for _ in self.screening.passing([candidate])):
                kept.append(candidate)
            else:
                self.refused.add(candidate)
        return kept


def _near_hull(
    merged: list[MergedCandidate],
    names: dict[tuple[str, str], Wanted],
    limit: float | None,
    competing: Iterable[HullEntry],
) -> tuple[list[tuple[MergedCandidate, HullPosition | None]], list[str]]:
    """Return what is near the hull, or named in the campaign file, in the order of the list."""
    near = keep_near_hull(merged, limit, competing)
    positions = {
        id(candidate): position
        for candidate, position in [
            *zip(near.kept, near.kept_positions, strict=True),
            *zip(near.removed, near.removed_positions, strict=True),
        ]
    }
    removed = {id(candidate) for candidate in near.removed}
    chosen = [(m, positions[id(m)]) for m in merged if id(m) not in removed or _named(m, names)]
    # that nothing is known of an energy matters only where energies decide
    lines = [x for x in near.lines() if limit is not None or "without an energy" not in x]
    return chosen, lines


def _named(candidate: MergedCandidate, names: dict[tuple[str, str], Wanted]) -> list[Wanted]:
    """Return the compounds of the campaign file that went into a candidate."""
    own = ((candidate.formula, name) for name in candidate.provenance.identifiers)
    return [names[name] for name in own if name in names]


def _facets(candidate: MergedCandidate, names: dict[tuple[str, str], Wanted]) -> list[MillerIndex] | None:
    asked = [wanted.facets for wanted in _named(candidate, names)]
    if not asked or None in asked:
        return None
    return list(dict.fromkeys(facet for facets in asked for facet in facets or []))


def _bulk(candidate: MergedCandidate, names: dict[tuple[str, str], Wanted]) -> Bulk:
    lattice, sites = rounded(candidate.structure)
    return Bulk(lattice, sites, _facets(candidate, names))


def rounded(structure: Structure) -> tuple[tuple[Vector, Vector, Vector], list[Site]]:
    """Return lattice and sites as they stand in a lock file: rounded, inside the cell, sorted.

    Parameters
    ----------
    structure
        Conventional standard cell.
    """
    a, b, c = (tuple(round(float(x), LENGTH_DIGITS) + 0.0 for x in row) for row in structure.lattice.matrix)
    sites = []
    for site in structure:
        x, y, z = (round(float(u), POSITION_DIGITS) % 1.0 + 0.0 for u in site.frac_coords)
        sites.append((site.specie.symbol, x, y, z))
    return (a, b, c), sorted(sites, key=lambda site: (site[0] != "Mg", site))  # type: ignore[return-value]


def _locked(
    candidate: MergedCandidate, position: HullPosition | None, bulk: Bulk, planes: dict[str, int]
) -> LockedCompound:
    hull = position and LockedHull(energy=_energy(position.energy_above_hull), method=position.method)
    return LockedCompound(
        label=candidate.label,
        formula=candidate.formula,
        spacegroup_number=candidate.spacegroup_number,
        spacegroup_symbol=candidate.spacegroup_symbol,
        n_atoms=candidate.n_atoms,
        provenance=candidate.provenance,
        values=[
            LockedValues(
                method=values.method,
                formation_energy=_energy(values.formation_energy),
                energy_above_hull=_energy(values.energy_above_hull),
                band_gap=_energy(values.band_gap),
            )
            for values in candidate.values
        ],
        hull=hull,
        facets=bulk.facets,
        slabs=planes,
        lattice=bulk.lattice,
        sites=bulk.sites,
    )


def _energy(value: float | None) -> Any:
    return None if value is None else round(float(value), ENERGY_DIGITS) + 0.0


def _version() -> str:
    try:
        return version("mgsurf")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


KEPT = 20
"""Enumerations kept; older ones are removed."""


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
        *map(workflows.joinpath, ("flows/campaign/sources.py", "engines/kpoints.py", "jobs/progress.py")),
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    digest.update(f"{numpy.__version__} {pymatgen.core.__version__} {spglib.__version__}".encode())
    return digest.hexdigest()


class EnumerationCache:
    """A folder beside the cache of the databases' answers. Nothing that goes wrong with it matters.

    Parameters
    ----------
    folder
        Made when the first enumeration is put in.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_cache_file().with_name("enumerations")

    def key(self, fixed: Any, fingerprints: Sequence[str | None]) -> str | None:
        """Return the key of an enumeration; None if a source does not know yet what it will deliver."""
        if None in fingerprints:
            return None
        return content_hash([_code_version(), fixed, list(fingerprints)])

    def get(self, key: str) -> Enumeration | None:
        """Return an enumeration, None if it is not there or cannot be read."""
        from workflows.flows.enumeration.lock_file import checked_lock

        try:
            packed = zlib.decompressobj()
            plain = orjson.loads(packed.decompress((self.folder / key).read_bytes(), LARGEST))
            lock = checked_lock(orjson.loads(plain["text"]), self.folder / key, "mgsurf enumerate")
            works = [Work(bulk, tuple(oriented), tuple(slabs)) for bulk, oriented, slabs in plain["works"]]
            counts = int(plain["n_candidates"])
            problems, notes, whole = list(plain["problems"]), list(plain["notes"]), bool(plain["whole"])
        except (OSError, ValueError, KeyError, TypeError, zlib.error, InputError):
            return None
        return Enumeration(lock, plain["text"], works, counts, problems, notes, whole, from_cache=True)

    def put(self, key: str, found: Enumeration) -> None:
        """Keep an enumeration."""
        text = orjson.dumps(
            {
                "text": found.text,
                "works": [[work.bulk, work.oriented, work.slabs] for work in found.works],
                "n_candidates": found.n_candidates,
                "problems": found.problems,
                "notes": found.notes,
                "whole": found.whole,
            }
        )
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self.folder / key, zlib.compress(text, 1), durable=False)
            kept = sorted(self.folder.iterdir(), key=lambda path: -path.stat().st_mtime)
            for path in kept[KEPT:]:
                path.unlink(missing_ok=True)
