"""Bulk structures from databases that speak OPTIMADE (https://www.optimade.org)."""

from __future__ import annotations

import hashlib
import importlib.util
import queue
import sqlite3
import threading
from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, install_command
from stores.records import Provenance
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.optimade_providers import (
    base_url,
    meets_full,
    provider_at,
    provider_named,
)
from workflows.structures.sources.page_cache import PageCache
from workflows.structures.sources.protocol import Candidate, DatabaseValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from workflows.structures.sources.optimade_client import ProviderFetch
    from workflows.structures.sources.optimade_providers import Provider
    from workflows.structures.sources.page_cache import Fetch

_NEEDS = ("optimade", "httpx2")
_NAMED = 3  # as many skipped structures are named one by one


class OptimadeSource:
    """Structures from one or several OPTIMADE databases, fetched at the same time.

    The candidates come in the order of the providers, those of a provider sorted by its ids. Answers are kept
    in a cache on disk; a provider that is down, breaks off or sends nonsense costs only the pages it did not
    send, and one line in `problems`.

    Parameters
    ----------
    providers
        Short names (``mp``, ``oqmd``, ``alexandria``, ...: see docs/sources.md) or base URLs.
    wanted
        Conditions on elements and atoms; binaries of Mg if left out. Cells of up to four times `max_atoms`
        sites pass, as some databases serve conventional cells: the primitive cell must be checked afterwards.
    timeout
        For one answer (s).
    max_age
        Of answers in the cache.
    cache
        File of the cache; ``sources.sqlite`` in ``$MGSURF_CACHE`` or the user's cache folder if left out.
    refresh
        Fetch everything again the first time, whatever the cache holds.
    progress
        Called with the provider's name, the number of structures that have come, and of all or None.
    attempts, backoff
        At one page, and the first pause between two (s); each further pause is twice as long.

    Raises
    ------
    InputError
        If a provider is neither a known name nor a URL.
    """

    name = "optimade"
    whole = True  # False once an answer broke off

    short = False  # True once a database ended its answer in good order before all that it promised had come

    def __init__(
        self,
        providers: Sequence[str],
        wanted: CandidateFilter | None = None,
        *,
        timeout: float = 60.0,
        max_age: timedelta = timedelta(days=7),
        cache: Path | None = None,
        refresh: bool = False,
        progress: Callable[[str, int, int | None], None] | None = None,
        attempts: int = 5,
        backoff: float = 1.0,
    ) -> None:
        found: dict[str, tuple[Provider, bool]] = {}
        for text in providers:
            known = provider_named(text)
            address = known.base_url if known else base_url(text)
            found.setdefault(address, (known or provider_at(address, None), known is not None))
        self.providers = tuple(found.values())
        self.wanted = wanted or CandidateFilter()
        self.timeout, self.attempts, self.backoff = timeout, attempts, backoff
        self.max_age = max_age
        self.cache = PageCache(cache)
        self.refresh = refresh
        self.progress = progress
        self.problems: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Fetch what the cache does not hold, then yield every structure that meets the conditions.

        Raises `InputError` if something has to be fetched and the extra ``databases`` is not installed.
        """
        self.problems, self.whole, self.short = [], True, False
        self.cache.open()
        for fetch, answer, problem in self._answers():
            if problem:
                self.problems.append(problem)
                self.whole = False
            if answer:
                yield from self._of_answer(fetch, answer)

    def fingerprint(self) -> str | None:
        """Return a hash of what `candidates` will yield; None if something has to be fetched first."""
        self.cache.open()
        digest = hashlib.sha256(repr(self.wanted).encode())
        for fetch in self._fetches(threading.Event(), lambda *_: None):
            try:
                whole = fetch.cached()
            except sqlite3.Error:  # `candidates` reports what is wrong with the file
                return None
            if whole is None:
                return None
            digest.update(f"{fetch.key()} {whole.number} {whole.begun}".encode())
        return digest.hexdigest()

    def _fetches(
        self, stop: threading.Event, progress: Callable[[str, int, int | None], None]
    ) -> list[ProviderFetch]:
        from workflows.structures.sources.optimade_client import ProviderFetch
        from workflows.structures.sources.patient_session import Patience

        patience = Patience(timeout=self.timeout, attempts=self.attempts, backoff=self.backoff, stop=stop)
        return [
            ProviderFetch(
                provider=provider,
                known=known,
                wanted=self.wanted,
                cache=self.cache,
                patience=patience,
                progress=progress,
                max_age=self.max_age.total_seconds(),
                refresh=self.refresh,
            )
            for provider, known in self.providers
        ]

    def _answers(self) -> list[tuple[ProviderFetch, Fetch | None, str | None]]:
        """Return the answer of each provider, fetched at the same time, in the order of the providers."""
        stop = threading.Event()
        news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        fetches = self._fetches(stop, lambda *counts: news.put(counts))
        answers: dict[int, tuple[Fetch | None, str | None]] = {
            i: (whole, None) for i, fetch in enumerate(fetches) if (whole := fetch.cached())
        }
        if len(answers) < len(fetches) and any(importlib.util.find_spec(name) is None for name in _NEEDS):
            raise InputError(f"OPTIMADE databases need more packages: {install_command('databases')}")
        for i, fetch in enumerate(fetches):
            if i not in answers:
                # daemons: a request that hangs does not keep the program from ending
                threading.Thread(target=_run, args=(i, fetch, news), daemon=True).start()
        try:
            while len(answers) < len(fetches):
                message = news.get()
                if len(message) == 2:
                    answers[message[0]] = message[1]
                elif self.progress:
                    self.progress(*message)
        finally:
            stop.set()
        self.refresh = False  # what came is as new as it can be
        return [(fetch, *answers[i]) for i, fetch in enumerate(fetches)]

    def _of_answer(self, fetch: ProviderFetch, answer: Fetch) -> Iterator[Candidate]:
        provider = fetch.provider
        skipped: dict[str, list[str]] = defaultdict(list)
        for _, content in self.cache.entries(answer.number):
            if content is None:
                skipped["damaged in the cache"].append("")
            elif "x" in content:
                elements = content.get("e")
                if not elements or meets_full(self.wanted, elements, 0):
                    skipped[content["x"]].append(content["i"])
            elif "o" not in content and (candidate := self._candidate(provider, content)):
                yield candidate
        if "damaged in the cache" in skipped:
            self.whole = False
            self.cache.remove(answer.number)  # the next run fetches it again
        if answer.note:
            self.short = True
            self.problems.append(answer.note)
        self.problems += _lines_about(provider.name, skipped)

    def _candidate(self, provider: Provider, content: dict[str, Any]) -> Candidate | None:
        from pymatgen.core.structure import Structure

        lattice, symbols, coords = content["c"]
        if not meets_full(self.wanted, symbols, len(symbols)):
            return None
        identifier = content["i"]
        return Candidate(
            structure=Structure(lattice, symbols, coords),
            provenance=Provenance(source=provider.name, identifiers=[identifier]),
            label=f"{mg_first_formula(Counter(symbols))} {identifier}",
            values=tuple(DatabaseValues(*values) for values in content["v"]),
        )


def _run(i: int, fetch: ProviderFetch, news: queue.SimpleQueue[Any]) -> None:
    """Run one provider's fetch in a thread and report its answer."""
    try:
        answer = fetch.run()
    except Exception as error:  # noqa: BLE001 -- one provider must not take the others down with it
        why = " ".join(str(error).split())[:160] or type(error).__name__
        answer = (None, f"{fetch.provider.name}: {type(error).__name__}: {why}: nothing came from it")
    news.put((i, answer))


def _lines_about(provider: str, skipped: dict[str, list[str]]) -> list[str]:
    """Return a line for each of a few skipped structures, one line for all of many."""
    number = sum(len(identifiers) for identifiers in skipped.values())
    if number <= _NAMED and all(all(identifiers) for identifiers in skipped.values()):
        return [f"{i}: {reason}, skipped" for reason, ids in sorted(skipped.items()) for i in sorted(ids)]
    reasons = sorted(skipped.items(), key=lambda item: (-len(item[1]), item[0]))
    summary = ", ".join(f"{reason} ({len(identifiers)})" for reason, identifiers in reasons)
    named = sorted(i for identifiers in skipped.values() for i in identifiers if i)
    example = f", e.g. {named[0]}" if named else ""
    plural = "s" if number != 1 else ""
    return [f"{provider}: {number} structure{plural} skipped: {summary}{example}"]
