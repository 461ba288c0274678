"""Whether there is anything for a refresh to do; asked without torch and without jobflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.learning.history import last_refresh

if TYPE_CHECKING:
    from model.promotion.readiness import Readiness
    from stores.learning.history import Refresh as Entry
    from stores.surfaces import SurfaceStore
    from workflows.flows.campaign.settings import Refresh


def recipe_of(settings: Refresh) -> dict[str, Any]:
    """Return what decides how a model is trained, as plain values."""
    return settings.model_dump(exclude={"after_campaign", "min_new_records"})


def look(store: SurfaceStore, settings: Refresh) -> tuple[Entry | None, Readiness]:
    """Say what a refresh would do now.

    Returns
    -------
    unfinished, readiness
        A refresh that was interrupted and would go on, None if there is none; what else would be begun.

    Raises
    ------
    InputError
        If targets or method cannot be used.
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


def goes_on(unfinished: Entry | None, found: Readiness, *, force: bool) -> bool:
    """Say whether there is anything to do; `force` trains even if few records are new."""
    return unfinished is not None or found.ready or (force and found.can_be_forced)
