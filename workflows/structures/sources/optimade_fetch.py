"""One provider's structures, page by page into the cache, by the client of the `optimade` package.

The client writes the request, follows the pages and hands each to a callback. What it lacks comes from
`PatientSession` below it (pauses, Retry-After, 5xx, answers that break off) and from the callback: pages are
kept as they come, a fetch goes on where it stopped, and a server that turns in circles is noticed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from stores.structures import reading
from workflows.structures.sources import optimade_entries, optimade_providers
from workflows.structures.sources.optimade_entries import STRUCTURE_PROPERTIES
from workflows.structures.sources.optimade_pages import PageReader
from workflows.structures.sources.optimade_providers import provider_at
from workflows.structures.sources.patient_session import (
    FailedError,
    NoAnswerError,
    Patience,
    PatientSession,
    RefusedError,
    StoppedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.structures.sources.optimade_providers import Provider
    from workflows.structures.sources.optimade_query import Query
    from workflows.structures.sources.page_cache import Fetch, PageCache


@cache
def _code_version() -> str:
    """Return a hash of the source text that decides what an entry becomes."""
    digest = hashlib.sha256()
    for module in (optimade_entries, optimade_providers, reading):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


@dataclass
class ProviderFetch:
    """The answer of one provider to a query.

    Attributes
    ----------
    provider
        Asked; replaced by what its server says of itself when it was given by a URL.
    known
        Whether the provider is one of the table.
    tell
        Called with the provider's name, the number of structures that have come, and that there are or None.
    max_age
        Of an answer in the cache (s).
    """

    provider: Provider
    known: bool
    query: Query
    cache: PageCache
    patience: Patience
    tell: Callable[[str, int, int | None], None]
    max_age: float
    refresh: bool = False

    def key(self) -> str:
        """Return the hash of the question."""
        asked = [
            self.provider.base_url,
            self.query.text(self.provider),
            self.provider.properties,
            _code_version(),
        ]
        return hashlib.sha256(orjson.dumps(asked)).hexdigest()

    def cached(self) -> Fetch | None:
        """Return an answer in the cache that is whole and young enough."""
        self._look_up_prefix(-1 if self.refresh else self.max_age)
        whole = self.cache.latest(self.key(), finished=True)
        return whole if whole and whole.begun >= time.time() - self.max_age and not self.refresh else None

    def run(self) -> tuple[Fetch | None, str | None]:
        """Fetch what is not in the cache; return the best answer there is, and a line if it is not whole."""
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
        """Return the older whole answer or the pages that came, and the line about it."""
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
        again = "to go on from there" if begun.next else "to begin anew, for that page was given up"
        return begun, (
            f"{name}: {why}: stopped after page {begun.pages} ({came}{there} structures); run again {again}"
        )

    # ------------------------------------------------------------------ asking

    def _lock_name(self) -> str:
        return hashlib.sha256(f"{self.provider.base_url} {self.query}".encode()).hexdigest()

    def _look_up_prefix(self, max_age: float) -> bool:
        """Take the prefix from the cache; tell whether the provider is known."""
        if not self.known:
            prefix = self.cache.fact(f"prefix {self.provider.base_url}", max_age)
            if prefix is not None:
                self.provider, self.known = provider_at(self.provider.base_url, prefix), True
        return self.known

    def _ask_prefix(self) -> None:
        """Ask a server that was given by its URL for the prefix of its properties."""
        if self._look_up_prefix(-1 if self.refresh else self.max_age):
            return
        with PatientSession.with_patience(self.patience)() as session:
            content = session.get(f"{self.provider.base_url}/v1/info").json()
        meta = content.get("meta")
        told = meta.get("provider") if isinstance(meta, dict) else None
        prefix = told.get("prefix") if isinstance(told, dict) else None
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
        full, essential = self.query.text(self.provider), self.query.essential_text()
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
            said = "; ".join(str(error) for result in answer.values() for error in result.errors)
            raise NoAnswerError(f"the client gave up ({said[:160]})")
        self.cache.finish(fetch.number, self.key(), reader.note())
