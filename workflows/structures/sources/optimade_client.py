"""Structures of one OPTIMADE provider, page by page into the cache, by the client of the `optimade` package.

The client writes the request, follows the pages and hands each to a callback. What it lacks comes from the
session below it (`workflows.structures.sources.patient_session`) and from the callback: pages are kept as
they come, an interrupted fetch is resumed, and a server that turns in circles is noticed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import orjson

from stores.structures import reading
from workflows.structures.sources import optimade_entries, optimade_providers
from workflows.structures.sources.optimade_entries import STRUCTURE_PROPERTIES, UnusableError, read_entry
from workflows.structures.sources.optimade_providers import (
    essential_filter,
    full_filter,
    meets_essential,
    provider_at,
)
from workflows.structures.sources.patient_session import (
    FailedError,
    NoAnswerError,
    PatientSession,
    RefusedError,
    StoppedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflows.structures.sources.filters import CandidateFilter
    from workflows.structures.sources.optimade_providers import Provider
    from workflows.structures.sources.page_cache import Fetch, PageCache
    from workflows.structures.sources.patient_session import Patience


@cache
def _code_version() -> str:
    """Return a hash of the source text that decides what an entry becomes."""
    digest = hashlib.sha256()
    for module in (optimade_entries, optimade_providers, reading):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


@dataclass
class ProviderFetch:
    """The answer of one provider, from the cache or its server."""

    provider: Provider  # replaced by the server's own description when it was given by a URL
    known: bool  # whether the provider is one of the table
    wanted: CandidateFilter
    cache: PageCache
    patience: Patience
    # called with the provider's name, the number of structures that have come, and of all or None
    progress: Callable[[str, int, int | None], None]
    max_age: float  # of an answer in the cache (s)
    refresh: bool = False

    def key(self) -> str:
        """Return the hash of the request."""
        provider = self.provider
        text = provider.select(full_filter(self.wanted))
        request = [provider.base_url, text, provider.properties, _code_version()]
        return hashlib.sha256(orjson.dumps(request)).hexdigest()

    def cached(self) -> Fetch | None:
        """Return a complete answer in the cache that is young enough."""
        self._look_up_prefix(-1 if self.refresh else self.max_age)
        whole = self.cache.latest(self.key(), finished=True)
        return whole if whole and whole.begun >= time.time() - self.max_age and not self.refresh else None

    def run(self) -> tuple[Fetch | None, str | None]:
        """Return the best answer there is, fetched if necessary, and a line if it is not complete."""
        try:
            with self.cache.turn(self._lock_name(), self.patience.stop.is_set):
                return self._run()
        except StoppedError:
            return None, None

    def _run(self) -> tuple[Fetch | None, str | None]:
        name = self.provider.name
        try:
            self._ask_prefix()
        except NoAnswerError as trouble:
            if self._look_up_prefix(float("inf")):
                return self._partial(str(trouble))
            return None, f"{name}: {trouble}: check the base URL {self.provider.base_url}, or try again later"
        if whole := self.cached():  # another process fetched it while this one waited
            return whole, None
        begun = self.cache.latest(self.key(), finished=False)
        if begun and (self.refresh or begun.begun < time.time() - self.max_age):
            begun = None
        try:
            self._fetch(begun)
        except NoAnswerError as trouble:
            return self._partial(str(trouble))
        except (sqlite3.Error, OSError) as error:
            return self._partial(f"the cache {self.cache.path} cannot be written ({error})")
        return self.cache.latest(self.key(), finished=True), None

    def _partial(self, why: str) -> tuple[Fetch | None, str]:
        """Return the older complete answer or the pages that came, and the line about it."""
        name = self.provider.name
        whole = self.cache.latest(self.key(), finished=True)
        if whole:
            day = time.strftime("%Y-%m-%d", time.localtime(whole.begun))
            return whole, f"{name}: {why}: its answer of {day} is used; try again later for a newer one"
        begun = self.cache.latest(self.key(), finished=False)
        if not begun or not begun.pages:
            return None, f"{name}: {why}: nothing came from it; try again later, or leave {name} out"
        came = self.cache.count(begun.number)
        there = f" of {begun.total}" if begun.total else ""
        again = "to resume there" if begun.next else "to start from scratch, for that page was given up"
        return begun, (
            f"{name}: {why}: stopped after page {begun.pages} ({came}{there} structures); run again {again}"
        )

    def _lock_name(self) -> str:
        return hashlib.sha256(f"{self.provider.base_url} {self.wanted}".encode()).hexdigest()

    def _look_up_prefix(self, max_age: float) -> bool:
        """Take the prefix from the cache; return whether the provider is known."""
        if not self.known:
            prefix = self.cache.fact(f"prefix {self.provider.base_url}", max_age)
            if prefix is not None:
                self.provider, self.known = provider_at(self.provider.base_url, prefix), True
        return self.known

    def _ask_prefix(self) -> None:
        """Request the prefix of a server that was given by its URL."""
        if self._look_up_prefix(-1 if self.refresh else self.max_age):
            return
        with PatientSession.with_patience(self.patience)() as session:
            content = session.get(f"{self.provider.base_url}/v1/info").json()
        meta = content.get("meta")
        described = meta.get("provider") if isinstance(meta, dict) else None
        prefix = described.get("prefix") if isinstance(described, dict) else None
        prefix = prefix if isinstance(prefix, str) else ""
        self.cache.write_fact(f"prefix {self.provider.base_url}", prefix)
        self.provider, self.known = provider_at(self.provider.base_url, prefix), True

    def _fetch(self, begun: Fetch | None) -> None:
        """Fetch all pages, or those after `begun`; from a more modest request if a server refuses one."""
        if begun and begun.pages and begun.next is None:  # ended between its last page and the mark
            note = PageReader(self, begun, PatientSession).note()
            self.cache.finish(begun.number, self.key(), note)
            return
        if begun and begun.next:
            try:
                self._pages(begun, begun.next, None, None)
            except RefusedError:  # the address of the page is no longer good
                begun = None
            except FailedError:  # for the second time, with a pause of the user's own between
                now = self.cache.latest(self.key(), finished=False)
                if now and now.next == begun.next:
                    self.cache.give_up(begun.number)
                raise
            else:
                return
        full, essential = (self.provider.select(f(self.wanted)) for f in (full_filter, essential_filter))
        largest = self.provider.page_limit
        plans = [(full, largest), (full, min(largest, 20)), (full, None), (essential, None)]
        for number, (text, limit) in enumerate(plans, start=1):
            fetch = self.cache.begin(self.key())
            try:
                self._pages(fetch, None, text, limit)
            except RefusedError:
                now = self.cache.latest(self.key(), finished=False)
                if number == len(plans) or (now and now.number == fetch.number and now.pages):
                    raise
            else:
                return

    def _pages(self, fetch: Fetch, start: str | None, text: str | None, limit: int | None) -> None:
        from optimade.client import OptimadeClient  # type: ignore[import-untyped]

        session = PatientSession.with_patience(self.patience)
        reader = PageReader(self, fetch, session)
        client = OptimadeClient(
            base_urls=[self.provider.base_url],
            max_results_per_provider=-1,
            use_async=False,
            silent=True,
            http_client=session,
            callbacks=[reader],
        )
        # silent does not reach the lines about errors: rich sets print on each Progress, not on its class
        client._progress.console.quiet = True
        answer = client.get_one(
            "structures",
            text or "",
            self.provider.base_url,
            response_fields=[*STRUCTURE_PROPERTIES, *self.provider.properties],
            page_limit=limit,
            override_url=start,
        )
        # the client turns exceptions into text
        trouble = reader.trouble or session.trouble
        if trouble:
            raise trouble
        if not reader.last:
            errors = "; ".join(str(error) for result in answer.values() for error in result.errors)
            raise NoAnswerError(f"the client gave up ({errors[:160]})")
        self.cache.finish(fetch.number, self.key(), reader.note())


_MANY = 10**9  # more pages than any server has


class PageReader:
    """Writes each page that the client hands over to the cache.

    `trouble` is the error of a page, `last` whether the last page has come, `promised` whether that page
    announces more.
    """

    def __init__(self, source: ProviderFetch, fetch: Fetch, session: type[PatientSession]) -> None:
        self.source = source
        self.fetch = fetch
        self.session = session
        self.trouble: Exception | None = None
        self.last = self.promised = False
        self.came = source.cache.count(fetch.number)
        self.total = fetch.total

    def __call__(self, url: str, page: dict[str, Any]) -> dict[str, Any]:
        """Write the page that came from an address; return the address of the next one to the client."""
        try:
            following = self._read(url, page)
        except Exception as error:
            self.trouble = error
            raise
        # What the client is left with: a page that is not empty, as it takes an empty one for the end, of a
        # database without end, as it reckons the number of pages from a count that servers get wrong.
        page.update(
            data=[{}], included=[], errors=[], links={"next": following}, meta={"data_available": _MANY}
        )
        return {"next": following}

    def note(self) -> str | None:
        """Return a line if the server promised more than it sent."""
        if self.total is None and self.promised:
            number = f"{self.came} structures came and more were promised"
        elif self.total is None or self.came >= self.total:
            return None
        else:
            number = f"{self.came} of {self.total} structures came"
        return f"{self.source.provider.name}: {number}, but no further page; --refresh fetches it again"

    def _read(self, url: str, page: dict[str, Any]) -> str | None:
        data, meta, links = page.get("data"), page.get("meta"), page.get("links")
        if not isinstance(data, list):
            raise NoAnswerError("answer holds no list of structures")
        meta = meta if isinstance(meta, dict) else {}
        following = _next_page(url, links if isinstance(links, dict) else {})
        rows = [self._row(entry) for entry in data]
        if data and all(content.get("o") == "not requested" for _, content in rows):
            raise NoAnswerError("sends structures that were not requested")
        total = meta.get("data_returned")
        total = total if isinstance(total, int) and not isinstance(total, bool) else None
        new = self.source.cache.add_page(self.fetch.number, rows, following, total)
        self.came += new
        self.total = total if total is not None else self.total
        self.source.progress(self.source.provider.name, self.came, self.total)
        if following and not new:
            raise NoAnswerError("sends page after page without anything new")
        delay = meta.get("request_delay")
        self.session.delay = min(float(delay), 5.0) if isinstance(delay, int | float) else 0.0
        self.last, self.promised = following is None, meta.get("more_data_available") is True
        return following

    def _row(self, entry: Any) -> tuple[str, dict[str, Any]]:
        """Return the id of an entry and its content for the cache."""
        # the content has ``i`` (identifier), ``c`` (lattice, symbols, fractional coordinates) and ``v``
        # (values by method); or ``x`` (why it is unusable) and ``e`` (elements, if known); or ``o`` (why it
        # is left out silently)
        provider = self.source.provider
        if not isinstance(entry, dict) or not isinstance(entry.get("attributes"), dict):
            text = orjson.dumps(entry, default=str)
            return f"malformed {hashlib.sha256(text).hexdigest()[:16]}", {"i": "", "x": "malformed entry"}
        attributes = entry["attributes"]
        entry_id = str(entry.get("id", ""))
        identifier = provider.identify(entry_id, attributes)
        if not entry_id:
            identifier, entry_id = "", hashlib.sha256(orjson.dumps(attributes)).hexdigest()[:16]
        if provider.only_ids and not entry_id.startswith(provider.only_ids):
            return entry_id, {"o": "from elsewhere"}
        try:
            structure = read_entry(attributes)
        except UnusableError as why:
            elements = _elements(attributes.get("elements"))
            if elements and not meets_essential(self.source.wanted, elements):
                return entry_id, {"o": "not requested"}
            return entry_id, {"i": identifier, "x": str(why), "e": elements}
        symbols = [site.specie.symbol for site in structure]
        if not meets_essential(self.source.wanted, symbols):
            return entry_id, {"o": "not requested"}
        return entry_id, {
            "i": identifier,
            "c": [structure.lattice.matrix.tolist(), symbols, structure.frac_coords.tolist()],
            "v": [astuple(values) for values in provider.values(attributes)],
        }


def _elements(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        value = value.split(",")
    return [str(element).strip() for element in value] if isinstance(value, list) else []


def _next_page(url: str, links: dict[str, Any]) -> str | None:
    """Return the address of the next page, which may be a text, an object, or relative."""
    following = links.get("next")
    if isinstance(following, dict):
        following = following.get("href")
    if not following:
        return None
    if not isinstance(following, str):
        raise NoAnswerError("names no readable address of the next page")
    return urljoin(url, following)
