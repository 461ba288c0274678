"""Bulk structures of the Materials Project, by its own client mp-api.

Its OPTIMADE server has the same crystals and needs no key; this source adds band gaps. Structures and band
gaps come from the summary endpoint, energies from the thermo endpoint, which keeps apart what the summary
mixes: one value for each thermo type. mp-api fetches whole collections from S3 when a search has no
condition; every search here has one, so all of them go to the REST API.
"""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, install_command
from stores.records import Provenance, content_hash
from stores.secrets import masked, remember
from stores.structures.document import structure_from_document
from stores.structures.reading import check_structure
from stores.structures.vacuum import check_bulk
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.page_cache import PageCache
from workflows.structures.sources.protocol import Candidate, DatabaseValues, number_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


KEYS_PAGE = "https://next-gen.materialsproject.org/api"
KEY_LENGTH = 32
SUMMARY_FIELDS = ("material_id", "structure", "band_gap", "symmetry", "deprecated")
THERMO_FIELDS = ("material_id", "thermo_type", "formation_energy_per_atom", "energy_above_hull")

THERMO_TYPES = ("GGA_GGA+U", "GGA_GGA+U_R2SCAN", "R2SCAN")
"""Hulls of the Materials Project, the one nearest to PBE first; the website shows the second."""

MAX_AGE = 30 * 86400.0  # how long an answer is kept (s)

_PAGE = 300  # documents; their identifiers fit into one URL
_READ_TIMEOUT = 60  # s
_RETRIES = 4
_LONGEST_WAIT = 60  # s, also where the server demands more
_CONNECT_TIMEOUT = (10, 30)  # s, to connect and to read
_SYSTEMS_AT_ONCE = 20
_MOST_SYSTEMS = 2000  # beyond this the requests go by partner
_MOST_FAILURES = 2  # in a row, after which the server counts as down
_MAGNETIC_CELLS = 4  # primitive cells that a magnetic cell may hold
_UPDATE = "pip install -U mp-api"
_UNREADABLE = "the answer cannot be read; it is no document of the API"


class RequestFailedError(Exception):
    """A request without an answer; the text is the reason.

    `hopeless` if the next request will fail, too: a refused key, a client that is too old.
    """

    def __init__(self, text: str, *, hopeless: bool = False) -> None:
        super().__init__(text)
        self.hopeless = hopeless


def find_key(given: str | None = None) -> str:
    """Return the API key: the one given, else ``MP_API_KEY``, else pymatgen's setting ``PMG_MAPI_KEY``.

    Raises `InputError`, which never shows the key, if there is none or it is not one of the present API.
    """
    import os

    from pymatgen.core import SETTINGS

    for where, key in (
        ("api_key", given),
        ("MP_API_KEY", os.environ.get("MP_API_KEY")),
        ("PMG_MAPI_KEY", SETTINGS.get("PMG_MAPI_KEY")),
    ):
        if key and key.strip():
            key = str(key).strip()
            if len(key) != KEY_LENGTH or not key.isalnum():
                raise InputError(
                    f"Materials Project: the key in {where} is none of the present API, whose keys have "
                    f"{KEY_LENGTH} letters and digits: copy yours from {KEYS_PAGE}"
                )
            remember(key)
            return key
    raise InputError(
        f"Materials Project: no API key: get one (free) at {KEYS_PAGE} and set it with export MP_API_KEY=..."
    )


class Client:
    """Connection to the API, made with the first request, since importing mp-api takes seconds."""

    def __init__(self, key: str, endpoint: str | None = None, *, backoff: float = 1.0) -> None:
        self.notices: list[str] = []
        self._key = key
        self._endpoint = endpoint
        self._backoff = backoff

    def search(self, **conditions: Any) -> list[dict[str, Any]]:
        """Return the summary documents that meet conditions, each with its ``thermo`` documents.

        `conditions` are those of mp-api's `SummaryRester.search`. Raises `RequestFailedError` if an answer is
        missing or cannot be read.
        """
        summary, thermo = self._request(lambda: self._resters)
        summaries = self._request(
            lambda: _documents(summary.search(**conditions, **_options(SUMMARY_FIELDS)))
        )
        by_id = {str(s["material_id"]): s | {"thermo": []} for s in summaries if not s.get("deprecated")}
        ids = list(by_id)
        for start in range(0, len(ids), _PAGE):
            some = ids[start : start + _PAGE]
            search = partial(thermo.search, material_ids=some, **_options(THERMO_FIELDS, per_material=3))
            for document in self._request(lambda: _documents(search())):  # noqa: B023  called at once
                if str(document["material_id"]) in by_id:
                    by_id[str(document["material_id"])]["thermo"].append(document)
        return list(by_id.values())

    @cached_property
    def _resters(self) -> tuple[Any, Any]:
        """mp-api's clients of the two endpoints."""
        from mp_api.client import MPRester
        from mp_api.client.core.utils import validate_endpoint
        from mp_api.client.routes.materials.summary import SummaryRester
        from mp_api.client.routes.materials.thermo import ThermoRester
        from requests import get
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        endpoint = validate_endpoint(self._endpoint)
        get(endpoint + "heartbeat", timeout=_CONNECT_TIMEOUT)  # mp-api itself would wait without end
        session = MPRester(self._key, endpoint=endpoint).session  # compares versions, too
        retry = Retry(
            total=_RETRIES,
            backoff_factor=self._backoff,
            backoff_max=_LONGEST_WAIT,
            retry_after_max=_LONGEST_WAIT,
            status_forcelist=(429, 500, 502, 503, 504),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        return (
            _narrowed(SummaryRester, SUMMARY_FIELDS, self._key, endpoint, session),
            _narrowed(ThermoRester, THERMO_FIELDS, self._key, endpoint, session),
        )

    def _request(self, request: Callable[[], Any]) -> Any:
        from mp_api.client.core.exceptions import MPRestError
        from requests.exceptions import RequestException

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = request()
            except (MPRestError, RequestException) as error:
                raise self._in_words(error) from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RequestFailedError(_UNREADABLE) from error
        if any("may not be compatible" in str(warning.message) for warning in caught):
            notice = (
                f"mp-api {version('mp-api')} may not fit the server; if structures are missing: {_UPDATE}"
            )
            if notice not in self.notices:
                self.notices.append(notice)
        return answer

    def _in_words(self, error: Exception) -> RequestFailedError:
        """Return the reason in one line without the key and the URL."""
        from requests.exceptions import ChunkedEncodingError, JSONDecodeError, Timeout
        from requests.exceptions import ConnectionError as RequestsConnectionError

        causes = (error, error.__context__)  # mp-api re-raises errors of requests
        text = str(error)
        found = re.search(r"error status code (\d{3})", text)
        status = int(found[1]) if found else 400 if "does not support the request" in text else None
        if status in (401, 403):
            return RequestFailedError(
                f"the API key is refused (status {status}): copy yours from {KEYS_PAGE} into MP_API_KEY",
                hopeless=True,
            )
        if status in (400, 404, 422):
            return RequestFailedError(
                f"the server does not know the request (status {status}); mp-api {version('mp-api')} may be "
                f"too old: {_UPDATE}",
                hopeless=True,
            )
        if status is not None:
            return RequestFailedError(f"the server fails (status {status}); try again later")
        for kind, reason in (
            (JSONDecodeError, _UNREADABLE),
            (ChunkedEncodingError, "the connection broke in the middle of an answer; try again"),
            (Timeout, "no answer in time; try again later"),
            (RequestsConnectionError, "no connection; check the network and HTTPS_PROXY"),
        ):
            if any(isinstance(cause, kind) for cause in causes) or (kind is Timeout and "timed out" in text):
                return RequestFailedError(reason, hopeless=kind is RequestsConnectionError)
        short = " ".join(masked(text).split())[:160]
        return RequestFailedError(short or type(error).__name__)


def _narrowed(rester: type, fields: Sequence[str], key: str, endpoint: str, session: Any) -> Any:
    """Make a client of one endpoint that knows the requested fields and no others."""
    # mp-api works out the schema of the whole document once for each field of each request, 0.3 s altogether
    from pydantic import create_model

    model = create_model("Document", **dict.fromkeys(fields, (Any, None)))  # type: ignore[call-overload]
    return type(rester.__name__, (rester,), {"document_model": model})(
        api_key=key,
        endpoint=endpoint,
        session=session,
        timeout=_READ_TIMEOUT,
        use_document_model=False,
        mute_progress_bars=True,
    )


def _options(fields: Sequence[str], per_material: int = 1) -> dict[str, Any]:
    return {"fields": list(fields), "all_fields": False, "chunk_size": per_material * _PAGE}


def _documents(answer: Any) -> list[dict[str, Any]]:
    """Check that an answer is a list of documents with identifiers."""
    if not isinstance(answer, list) or not all(isinstance(d, dict) and d.get("material_id") for d in answer):
        raise ValueError("no documents")
    return answer


@dataclass(frozen=True)
class _Request:
    """A group of chemical systems."""

    label: str
    conditions: dict[str, Any]


class MaterialsProjectSource:
    """Structures with Mg of the Materials Project, with formation energies, hulls and band gaps.

    Requested in groups of chemical systems, one after the other; each answer is kept on disk.

    Parameters
    ----------
    wanted
        Conditions on elements and atoms; binaries of Mg if left out. Magnetic cells up to four times as large
        as `max_atoms` are requested as well.
    include_gnome
        Request the GNoME structures, too (CC BY-NC; shown to accounts that accepted their terms).
    api_key
        If None, ``MP_API_KEY`` or pymatgen's setting ``PMG_MAPI_KEY``.
    endpoint
        Base URL of the API; mp-api's default if None.
    cache
        File of answers; the one of all sources if None.
    max_age
        Of an answer on disk (s); an older one serves only if a new one cannot be fetched.
    refresh
        Fetch everything again.
    backoff
        Wait before a second retry (s); it doubles with each further one.
    progress
        Called with ``mp``, the number of groups done and of all.

    Raises
    ------
    InputError
        If mp-api is missing, there is no key, or the key cannot be one.
    """

    name = "mp"

    def __init__(
        self,
        wanted: CandidateFilter | None = None,
        *,
        include_gnome: bool = True,
        api_key: str | None = None,
        endpoint: str | None = None,
        cache: Path | None = None,
        max_age: float = MAX_AGE,
        refresh: bool = False,
        backoff: float = 1.0,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        try:
            version("mp-api")
        except PackageNotFoundError:
            raise InputError(
                f"Materials Project: the package mp-api is missing: {install_command('materials-project')}"
            ) from None
        self.problems: list[str] = []
        self.whole = True  # False once an answer did not come
        self._client = Client(find_key(api_key), endpoint, backoff=backoff)
        self._requests = _requests(wanted or CandidateFilter(), include_gnome)
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
        for number, request in enumerate(self._requests, start=1):
            try:
                if failures >= _MOST_FAILURES or (reason is not None and reason.hopeless):
                    raise reason or RequestFailedError("no answer")
                rows = self._answer(request)
                failures = 0
            except RequestFailedError as error:
                reason, failures = error, failures + 1
                rows = self._old_answer(request)
                missing += [] if rows is not None else [request.label]
            for identifier, row in rows or ():
                if identifier in seen:
                    continue
                seen.add(identifier)
                if row is None or "refused" in row:
                    skipped["damaged in the cache" if row is None else row["refused"]] += 1
                else:
                    yield _candidate(identifier, row)
            if self._progress is not None:
                self._progress(self.name, number, len(self._requests))
        self._conclude(missing, reason, skipped)

    def _conclude(self, missing: list[str], reason: RequestFailedError | None, skipped: Counter[str]) -> None:
        self.whole = reason is None
        if missing:
            what = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more groups"
            part = "nothing came" if len(missing) == len(self._requests) else f"missing are {what}"
            self.problems.append(f"mp: {part}: {reason}")
        elif reason is not None:
            self.problems.append(f"mp: older answers are used, for: {reason}")
        if skipped:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(skipped.items()))
            self.problems.append(f"mp: {sum(skipped.values())} structures skipped: {kinds}")
        self.problems += [f"mp: {notice}" for notice in self._client.notices]

    def _answer(self, request: _Request) -> list[tuple[str, Any]]:
        key = self._key(request)
        with self._cache.turn(key, lambda: False):
            kept = self._cache.latest(key, finished=True)
            if kept is not None and kept.finished and time.time() - kept.finished < self._max_age:
                return list(self._cache.entries(kept.number))
            rows = [
                (str(document["material_id"]), _row(document))
                for document in self._client.search(**request.conditions)
            ]
            fetch = self._cache.begin(key)
            self._cache.add_page(fetch.number, rows, None, len(rows))
            self._cache.finish(fetch.number, key, None)
            return list(self._cache.entries(fetch.number))

    def _old_answer(self, request: _Request) -> list[tuple[str, Any]] | None:
        kept = self._cache.latest(self._key(request), finished=True)
        return None if kept is None else list(self._cache.entries(kept.number))

    def _key(self, request: _Request) -> str:
        return content_hash(
            {"source": self.name, "layout": 1, "endpoint": self._endpoint, "asked": request.conditions}
        )


def _requests(wanted: CandidateFilter, include_gnome: bool) -> list[_Request]:
    """Split a filter into requests of a few hundred structures."""
    from pymatgen.core.periodic_table import Element

    symbols = [e.symbol for e in Element if e.Z <= 103] if wanted.partners is None else wanted.partners
    partners = sorted({s for s in symbols if s != "Mg" and s not in wanted.exclude and s not in ("D", "T")})
    sizes = range(1, wanted.max_elements)
    common: dict[str, Any] = {} if include_gnome else {"include_gnome": False}
    if wanted.max_atoms is not None:
        common["num_sites"] = [1, _MAGNETIC_CELLS * wanted.max_atoms]
    if sum(comb(len(partners), size) for size in sizes) <= _MOST_SYSTEMS:
        systems = ["-".join(sorted(("Mg", *some))) for size in sizes for some in combinations(partners, size)]
        groups = [systems[i : i + _SYSTEMS_AT_ONCE] for i in range(0, len(systems), _SYSTEMS_AT_ONCE)]
        return [
            _Request(
                f"{group[0]} to {group[-1]}" if len(group) > 1 else group[0], {"chemsys": group} | common
            )
            for group in groups
        ]
    number = [2, wanted.max_elements]
    return [
        _Request(f"Mg with {partner}", {"elements": ["Mg", partner], "num_elements": number} | common)
        for partner in partners
    ]


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """Reduce a document to plain types: the crystal and its values."""
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
        "band_gap": number_or_none(document.get("band_gap")),
        "thermo": [
            [
                str(thermo.get("thermo_type")).upper(),
                number_or_none(thermo.get("formation_energy_per_atom")),
                number_or_none(thermo.get("energy_above_hull")),
            ]
            for thermo in document["thermo"]
        ],
    }


def _candidate(identifier: str, row: dict[str, Any]) -> Candidate:
    from pymatgen.core.structure import Structure

    structure = Structure(row["lattice"], row["symbols"], row["coords"])
    energies = {kind: (formation, hull) for kind, formation, hull in row["thermo"]}
    values = [DatabaseValues(f"mp {kind}", *energies[kind]) for kind in THERMO_TYPES if kind in energies]
    if row["band_gap"] is not None:  # the summary does not name the functional
        values.append(DatabaseValues("mp", band_gap=row["band_gap"]))
    name = " ".join(filter(None, (mg_first_formula(structure.composition), row["spacegroup"], identifier)))
    return Candidate(
        structure=structure,
        provenance=Provenance(source=MaterialsProjectSource.name, identifiers=[identifier]),
        label=name,
        values=tuple(values),
    )
