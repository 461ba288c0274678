"""Facets counted by campaign: read once, then only what is new; a large store takes too long to count."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from stores.errors import MgsurfError
from stores.method_names import is_dft
from stores.verdicts import verdict_status

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

LARGEST = 300_000
"""Facets of which campaigns are counted; more would need too much memory."""

RECOUNT = 900.0
"""Seconds after which everything is read again: a record may have been replaced by an older one."""

AT_ONCE = 4000
"""Facets that a page counts itself (0.1 s); more are counted in a thread."""


class Facet(NamedTuple):
    """What is counted of a facet."""

    campaign: str
    formula: str
    surface_energy: str
    work_function: str
    created_at: str
    rehearsal: bool  # computed by a potential, not by DFT


class SurfaceTally:
    """Counts of facets by campaign, kept in memory, brought up to date by every page that asks."""

    def __init__(self) -> None:
        # no more than a weak reference: a store that was replaced must close, or it counts as in use
        self._store: weakref.ref[SurfaceStore] | None = None
        self._facets: dict[str, Facet] = {}
        self._last, self._counted = "", 0.0
        self._found: list[dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def campaigns(self, store: SurfaceStore) -> list[dict[str, Any]] | None:
        """Return a row for each campaign, the latest first; None while they are counted for the first time.

        A store with more than `AT_ONCE` facets is counted in a thread, once; then only what is new is read.
        """
        total = store.count()
        if total > LARGEST:
            return []
        if not self._lock.acquire(blocking=False):
            return self._found  # another page, or the thread, counts
        apart = total > AT_ONCE and not self._is_known(store)
        try:
            if apart:
                threading.Thread(target=self._count_apart, args=(store,), daemon=True).start()
            else:
                self._update(store, total)
        finally:
            if not apart:
                self._lock.release()
        return self._found

    def _is_known(self, store: SurfaceStore) -> bool:
        same = self._store is not None and self._store() is store
        return same and time.monotonic() - self._counted < RECOUNT

    def _count_apart(self, store: SurfaceStore) -> None:
        try:
            self._count(store)
        except MgsurfError:
            self._store = None  # the page reports what is wrong
        finally:
            self._lock.release()

    def _update(self, store: SurfaceStore, total: int) -> None:
        changed = self._is_known(store) and self._since(store, self._last)
        if not self._is_known(store) or len(self._facets) != total:
            self._count(store)  # new, or facets were removed or written with an earlier time
        elif changed:
            self._found = rows(self._facets.values())

    def _count(self, store: SurfaceStore) -> None:
        self._facets, self._last = {}, ""
        self._since(store, "")
        self._found = rows(self._facets.values())
        self._store, self._counted = weakref.ref(store), time.monotonic()

    def _since(self, store: SurfaceStore, moment: str) -> bool:
        """Read the facets written at or after a moment; whether any differs from what is known."""
        fields = ["id", "campaign", "formula", "verdicts", "created_at", "method_fingerprint"]
        criteria = {"created_at": {"$gte": moment}} if moment else {}
        changed = False
        for document in store.query(criteria, fields):
            facet = Facet(
                document.get("campaign") or "",
                document["formula"],
                verdict_status(document, "surface_energy"),
                verdict_status(document, "work_function"),
                document["created_at"],
                not is_dft(document.get("method_fingerprint") or ""),
            )
            if self._facets.get(document["id"]) != facet:
                self._facets[document["id"]] = facet
                changed = True
            self._last = max(self._last, facet.created_at)
        return changed


def rows(facets: Any) -> list[dict[str, Any]]:
    """Return the counts of each campaign, the one written last first; what was rehearsed has its own row."""
    found: dict[tuple[str, bool], dict[str, Any]] = {}
    for facet in facets:
        row = found.setdefault(
            (facet.campaign, facet.rehearsal),
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
            "rehearsal": rehearsal,
            "facets": row["facets"],
            "compounds": len(row["compounds"]),
            "latest": row["latest"],
            "surface_energy": dict(row["surface_energy"]),
            "work_function": dict(row["work_function"]),
        }
        for (name, rehearsal), row in found.items()
    ]
    return sorted(plain, key=lambda row: row["latest"], reverse=True)
