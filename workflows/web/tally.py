"""Facets counted by campaign: read once, then only what is new; a large store takes too long to count."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from stores.errors import MgsurfError

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore
    from workflows.web.source import StoreSource

LARGEST = 300_000
"""Facets of which campaigns are counted; more would need too much memory."""

RECOUNT = 900.0
"""Seconds after which everything is read again: a record may have been replaced by an older one."""

PATIENCE = 0.1
"""Longest time (s) that a page waits for the numbers."""


class Facet(NamedTuple):
    """What is counted of a facet."""

    campaign: str
    formula: str
    surface_energy: str
    work_function: str
    created_at: str


class SurfaceTally:
    """Counts of facets by campaign, kept in memory and brought up to date in a thread."""

    def __init__(self, source: StoreSource) -> None:
        self._source = source
        self._store: SurfaceStore | None = None
        self._facets: dict[str, Facet] = {}
        self._last, self._counted = "", 0.0
        self._found: list[dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def campaigns(self) -> list[dict[str, Any]] | None:
        """Return a row for each campaign, the latest first; None while they are counted for the first time.

        What is new since the last call is read in a thread, for which at most `PATIENCE` is waited: of a
        large store the numbers may be those of the call before.
        """
        thread = threading.Thread(target=self._update, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        return self._found

    def _update(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another page has it done
        try:
            self._source.read(self._read)
        except MgsurfError:
            return  # the page itself reports it
        finally:
            self._lock.release()

    def _read(self, store: SurfaceStore) -> None:
        total = store.count()
        if total > LARGEST:
            self._found = []
            return
        recount = store is not self._store or time.monotonic() - self._counted > RECOUNT
        if not recount:
            changed = self._since(store, self._last)
            recount = len(self._facets) != total  # removed, or written with an earlier time
            if not changed and not recount:
                return
        if recount:
            self._store, self._facets, self._last = store, {}, ""
            self._counted = time.monotonic()
            self._since(store, "")
        self._found = rows(self._facets.values())

    def _since(self, store: SurfaceStore, moment: str) -> bool:
        """Read the facets written at or after a moment; whether any differs from what is known."""
        fields = ["id", "campaign", "formula", "verdicts", "created_at"]
        criteria = {"created_at": {"$gte": moment}} if moment else {}
        changed = False
        for document in store.query(criteria, fields):
            verdicts = document["verdicts"]
            facet = Facet(
                document.get("campaign") or "",
                document["formula"],
                verdicts["surface_energy"]["status"],
                verdicts["work_function"]["status"],
                document["created_at"],
            )
            if self._facets.get(document["id"]) != facet:
                self._facets[document["id"]] = facet
                changed = True
            self._last = max(self._last, facet.created_at)
        return changed


def rows(facets: Any) -> list[dict[str, Any]]:
    """Return the counts of each campaign, the one written last first."""
    found: dict[str, dict[str, Any]] = {}
    for facet in facets:
        row = found.setdefault(
            facet.campaign,
            {
                "facets": 0,
                "compounds": set(),
                "latest": "",
                "surface_energy": Counter(),
                "work_function": Counter(),
            },
        )
        row["facets"] += 1
        row["compounds"].add(facet.formula)
        row["latest"] = max(row["latest"], facet.created_at)
        row["surface_energy"][facet.surface_energy] += 1
        row["work_function"][facet.work_function] += 1
    plain = [
        {
            "campaign": name,
            "facets": row["facets"],
            "compounds": len(row["compounds"]),
            "latest": row["latest"],
            "surface_energy": dict(row["surface_energy"]),
            "work_function": dict(row["work_function"]),
        }
        for name, row in found.items()
    ]
    return sorted(plain, key=lambda row: row["latest"], reverse=True)
