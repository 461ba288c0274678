"""Pages of an OPTIMADE server, from the client into the cache."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import orjson

from workflows.structures.sources.optimade_entries import UnusableError, read_entry
from workflows.structures.sources.patient_session import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.structures.sources.optimade_fetch import ProviderFetch
    from workflows.structures.sources.page_cache import Fetch
    from workflows.structures.sources.patient_session import PatientSession

_MANY = 10**9  # more pages than any server has


class PageReader:
    """Takes each page from the client and writes it to the cache.

    Attributes
    ----------
    trouble
        What went wrong with a page.
    last
        Whether the last page has come.
    promised
        Whether the last page says that there is more.
    """

    def __init__(self, told: ProviderFetch, fetch: Fetch, session: type[PatientSession]) -> None:
        self.told = told
        self.fetch = fetch
        self.session = session
        self.trouble: Exception | None = None
        self.last = self.promised = False
        self.came = told.cache.count(fetch.number)
        self.total = fetch.total

    def __call__(self, url: str, page: dict[str, Any]) -> dict[str, Any]:
        """Take the page that came from an address; return the address of the next one to the client."""
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
        return f"{self.told.provider.name}: {number}, but no further page; --refresh asks anew"

    def _read(self, url: str, page: dict[str, Any]) -> str | None:
        data, meta, links = page.get("data"), page.get("meta"), page.get("links")
        if not isinstance(data, list):
            raise NoAnswerError("answer holds no list of structures")
        meta = meta if isinstance(meta, dict) else {}
        following = _next_page(url, links if isinstance(links, dict) else {})
        rows = [self._row(entry) for entry in data]
        if data and all(content.get("o") == "not asked for" for _, content in rows):
            raise NoAnswerError("sends structures that were not asked for")
        total = meta.get("data_returned")
        total = total if isinstance(total, int) and not isinstance(total, bool) else None
        new = self.told.cache.add_page(self.fetch.number, rows, following, total)
        self.came += new
        self.total = total if total is not None else self.total
        self.told.tell(self.told.provider.name, self.came, self.total)
        if following and not new:
            raise NoAnswerError("sends page after page without anything new")
        delay = meta.get("request_delay")
        self.session.delay = min(float(delay), 5.0) if isinstance(delay, int | float) else 0.0
        self.last, self.promised = following is None, meta.get("more_data_available") is True
        return following

    def _row(self, entry: Any) -> tuple[str, dict[str, Any]]:
        """Return the id of an entry and its content for the cache.

        The content has ``i`` (identifier) and ``c`` (lattice, symbols, coordinates) and ``v`` (values by
        method), or ``x`` (why it is unusable) and ``e`` (elements, if known), or ``o`` (why it is left out
        without a word).
        """
        provider = self.told.provider
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
            crystal = read_entry(attributes)
        except UnusableError as why:
            elements = _elements(attributes.get("elements"))
            if elements and not self.told.query.asked_for(elements):
                return entry_id, {"o": "not asked for"}
            return entry_id, {"i": identifier, "x": str(why), "e": elements}
        if not self.told.query.asked_for(crystal.symbols):
            return entry_id, {"o": "not asked for"}
        values = [
            [v.method, v.formation_energy, v.energy_above_hull, v.band_gap]
            for v in provider.values(attributes)
        ]
        return entry_id, {
            "i": identifier,
            "c": [crystal.lattice, crystal.symbols, crystal.coords],
            "v": values,
        }


def _elements(told: Any) -> Sequence[str]:
    if isinstance(told, str):
        told = told.split(",")
    return [str(element).strip() for element in told] if isinstance(told, list) else []


def _next_page(url: str, links: dict[str, Any]) -> str | None:
    """Return the address of the next page, which may be a text, an object, or relative."""
    told = links.get("next")
    if isinstance(told, dict):
        told = told.get("href")
    if not told:
        return None
    if not isinstance(told, str):
        raise NoAnswerError("names no readable address of the next page")
    return urljoin(url, told)
