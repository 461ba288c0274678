"""Whether a refresh is needed; light enough for the command line: no torch, no jobflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.learning.history import last_refresh

if TYPE_CHECKING:
    from model.promotion.readiness import Readiness
    from stores.learning.history import Refresh as Entry
    from stores.surfaces import SurfaceStore
    from workflows.flows.campaign.settings import Refresh

DECISION = "refresh: decision"
"""Label of the announcement that a model was promoted or rejected."""


def recipe_of(settings: Refresh) -> dict[str, Any]:
    """Return the settings of the training as plain values."""
    return settings.model_dump(exclude={"after_campaign", "min_new_records"})


def look(store: SurfaceStore, settings: Refresh) -> tuple[Entry | None, Readiness]:
    """Return an interrupted refresh that would be resumed, or None, and the readiness for a new one.

    Raises `InputError` if targets or method cannot be used.
    """
    from model.promotion.readiness import readiness

    last = last_refresh(store)
    unfinished = last is not None and not last.finished and last.recipe == recipe_of(settings)
    found = readiness(
        store,
        min_new_records=settings.min_new_records,
        targets=settings.targets,
        method=settings.method,
    )
    return (last if unfinished else None), found


def is_needed(unfinished: Entry | None, found: Readiness, *, force: bool) -> bool:
    """Return whether there is anything to do; `force` trains even if few records are new."""
    return unfinished is not None or found.ready or (force and found.can_be_forced)
