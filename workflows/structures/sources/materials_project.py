"""Bulk structures of the Materials Project, by its own API.

Its OPTIMADE server has the same crystals and needs no key; this source adds band gaps.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from math import comb, isfinite
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.method import content_hash
from stores.records import Provenance
from stores.structures.document import structure_from_document
from stores.structures.reading import check_structure
from stores.structures.vacuum import check_bulk
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.materials_project_client import (
    Client,
    RequestFailedError,
    check_installed,
    find_key,
)
from workflows.structures.sources.page_cache import PageCache
from workflows.structures.sources.protocol import Candidate, DatabaseValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pymatgen.core.structure import Structure

THERMO_TYPES = ("GGA_GGA+U", "GGA_GGA+U_R2SCAN", "R2SCAN")
"""Hulls of the Materials Project, the one nearest to PBE first; the website shows the second."""

MAX_AGE = 30 * 86400.0
"""How long an answer is kept (s)."""

_SYSTEMS_AT_ONCE = 20
_MOST_SYSTEMS = 2000  # beyond this it is asked by partner instead
_MOST_FAILURES = 2  # in a row, after which the server counts as down
_MAGNETIC_CELLS = 4  # primitive cells that a magnetic cell may hold


@dataclass(frozen=True)
class _Question:
    """Some chemical systems."""

    label: str
    conditions: dict[str, Any]


class MaterialsProjectSource:
    """Structures with Mg of the Materials Project, with formation energies, hulls and band gaps.

    Asked in groups of chemical systems, one after the other; each answer is kept on disk.

    Parameters
    ----------
    partners
        Elements beside Mg; all if None.
    exclude
        Elements not wanted.
    min_elements, max_elements
        Number of elements, Mg included.
    max_atoms
        In the primitive cell; magnetic cells up to four times as large are asked for as well.
    include_gnome
        Ask for the GNoME structures, too (CC BY-NC; shown to accounts that accepted their terms).
    api_key
        If None, ``MP_API_KEY`` or pymatgen's setting ``PMG_MAPI_KEY``.
    endpoint
        Base URL of the API; mp-api's default if None.
    cache
        File of answers; the one of all sources if None.
    max_age
        Of an answer on disk (s); an older one serves only if there is no new one to be had.
    refresh
        Ask anew in any case.
    backoff
        Wait before a second retry (s).
    progress
        Called with ``mp``, the number of groups done and of all.

    Raises
    ------
    InputError
        If mp-api is missing, there is no key, the key cannot be one, or an element is none.
    """

    name = "mp"

    def __init__(
        self,
        *,
        partners: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        min_elements: int = 2,
        max_elements: int = 2,
        max_atoms: int | None = None,
        include_gnome: bool = True,
        api_key: str | None = None,
        endpoint: str | None = None,
        cache: Path | None = None,
        max_age: float = MAX_AGE,
        refresh: bool = False,
        backoff: float = 1.0,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        wanted = CandidateFilter(  # checks its arguments
            partners=partners,
            exclude=exclude,
            min_elements=min_elements,
            max_elements=max_elements,
            max_atoms=max_atoms,
        )
        check_installed()
        self.problems: list[str] = []
        self.whole = True  # False once an answer did not come
        self._client = Client(find_key(api_key), endpoint, backoff=backoff)
        self._questions = _questions(wanted, include_gnome)
        self._endpoint = endpoint or ""
        self._cache = PageCache(cache)
        self._max_age = 0.0 if refresh else max_age
        self._progress = progress

    def candidates(self) -> Iterator[Candidate]:
        """Yield the structures by chemical system; what did not come adds one line to `problems`."""
        self.problems, self.whole = [], True
        self._cache.open()
        missing: list[str] = []
        reason: RequestFailedError | None = None
        failures = 0
        rows: list[tuple[str, Any]] | None
        skipped: Counter[str] = Counter()
        seen: set[str] = set()
        for number, question in enumerate(self._questions, start=1):
            try:
                if failures >= _MOST_FAILURES or (reason is not None and reason.hopeless):
                    raise reason or RequestFailedError("no answer")
                rows = self._answer(question)
                failures = 0
            except RequestFailedError as error:
                reason, failures = error, failures + 1
                rows = self._old_answer(question)
                missing += [] if rows is not None else [question.label]
            for identifier, row in rows or ():
                if identifier in seen:
                    continue
                seen.add(identifier)
                if row is None or "refused" in row:
                    skipped["damaged in the cache" if row is None else row["refused"]] += 1
                else:
                    yield _candidate(identifier, row)
            if self._progress is not None:
                self._progress(self.name, number, len(self._questions))
        self._conclude(missing, reason, skipped)

    def _conclude(self, missing: list[str], reason: RequestFailedError | None, skipped: Counter[str]) -> None:
        self.whole = reason is None
        if missing:
            what = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more groups"
            part = "nothing came" if len(missing) == len(self._questions) else f"missing are {what}"
            self.problems.append(f"mp: {part}: {reason}")
        elif reason is not None:
            self.problems.append(f"mp: older answers are used, for: {reason}")
        if skipped:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(skipped.items()))
            self.problems.append(f"mp: {sum(skipped.values())} structures skipped: {kinds}")
        self.problems += [f"mp: {notice}" for notice in self._client.notices]

    def _answer(self, question: _Question) -> list[tuple[str, Any]]:
        key = self._key(question)
        with self._cache.turn(key, lambda: False):
            kept = self._cache.latest(key, finished=True)
            if kept is not None and kept.finished and time.time() - kept.finished < self._max_age:
                return list(self._cache.entries(kept.number))
            rows = [
                (str(document["material_id"]), _row(document))
                for document in self._client.search(**question.conditions)
            ]
            fetch = self._cache.begin(key)
            self._cache.add_page(fetch.number, rows, None, len(rows))
            self._cache.finish(fetch.number, key, None)
            return list(self._cache.entries(fetch.number))

    def _old_answer(self, question: _Question) -> list[tuple[str, Any]] | None:
        kept = self._cache.latest(self._key(question), finished=True)
        return None if kept is None else list(self._cache.entries(kept.number))

    def _key(self, question: _Question) -> str:
        return content_hash(
            {"source": self.name, "layout": 1, "endpoint": self._endpoint, "asked": question.conditions}
        )


def _questions(wanted: CandidateFilter, include_gnome: bool) -> list[_Question]:
    """Split what is wanted into questions of a few hundred structures."""
    from pymatgen.core.periodic_table import Element

    symbols = [e.symbol for e in Element if e.Z <= 103] if wanted.partners is None else wanted.partners
    partners = sorted({s for s in symbols if s != "Mg" and s not in wanted.exclude and s not in ("D", "T")})
    sizes = range(wanted.min_elements - 1, wanted.max_elements)
    common: dict[str, Any] = {} if include_gnome else {"include_gnome": False}
    if wanted.max_atoms is not None:
        common["num_sites"] = [1, _MAGNETIC_CELLS * wanted.max_atoms]
    if sum(comb(len(partners), size) for size in sizes) <= _MOST_SYSTEMS:
        systems = ["-".join(sorted(("Mg", *some))) for size in sizes for some in combinations(partners, size)]
        groups = [systems[i : i + _SYSTEMS_AT_ONCE] for i in range(0, len(systems), _SYSTEMS_AT_ONCE)]
        return [
            _Question(
                f"{group[0]} to {group[-1]}" if len(group) > 1 else group[0], {"chemsys": group} | common
            )
            for group in groups
        ]
    elements = [wanted.min_elements, wanted.max_elements]
    return [
        _Question(f"Mg with {partner}", {"elements": ["Mg", partner], "num_elements": elements} | common)
        for partner in partners
    ]


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """Reduce a document to plain types: the crystal and what is said of it."""
    try:
        structure = structure_from_document(document.get("structure"), "the structure")
        check_structure(structure, "the structure")
        check_bulk(structure, "the structure")
    except InputError as error:
        known = [word for word in ("overlapping", "disordered", "vacuum") if word in str(error)]
        return {"refused": known[0] if known else "no readable structure"}
    symmetry = document.get("symmetry")
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "symbols": [site.specie.symbol for site in structure],
        "coords": structure.frac_coords.tolist(),
        "spacegroup": symmetry.get("symbol") if isinstance(symmetry, dict) else None,
        "band_gap": _number(document.get("band_gap")),
        "thermo": [
            [
                str(thermo.get("thermo_type")).upper(),
                _number(thermo.get("formation_energy_per_atom")),
                _number(thermo.get("energy_above_hull")),
            ]
            for thermo in document["thermo"]
        ],
    }


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if is_number else None


def _candidate(identifier: str, row: dict[str, Any]) -> Candidate:
    from pymatgen.core.structure import Structure as PymatgenStructure

    structure: Structure = PymatgenStructure(row["lattice"], row["symbols"], row["coords"])
    energies = {kind: (formation, hull) for kind, formation, hull in row["thermo"]}
    values = [DatabaseValues(f"mp {kind}", *energies[kind]) for kind in THERMO_TYPES if kind in energies]
    if row["band_gap"] is not None:  # the summary does not say by which functional
        values.append(DatabaseValues("mp", band_gap=row["band_gap"]))
    name = " ".join(filter(None, (mg_first_formula(structure.composition), row["spacegroup"], identifier)))
    return Candidate(
        structure=structure,
        provenance=Provenance(source=MaterialsProjectSource.name, identifiers=[identifier]),
        label=name,
        values=tuple(values),
    )
