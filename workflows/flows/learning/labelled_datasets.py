"""Labels of stores as data sets with cached graphs, in a form that other processes can be handed."""

from __future__ import annotations

import logging
from functools import cache, partial
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.data.dataset import Dataset
    from model.graphs.graph import GraphSettings
    from model.training.runs import Datasets

    Tick = Callable[[str, float, float], None]
    """Takes the name of a potential, and how many of how many structures it has seen."""

LOG = logging.getLogger(__name__)


def labelled_datasets(
    stores: Sequence[str | None],
    method: str | None,
    snapshot: str | None = None,
    *,
    separate: bool = False,
    tick: Tick | None = None,
) -> Datasets:
    """Return the labelled slabs of stores as a picklable function that builds data sets, graphs cached.

    Parameters
    ----------
    stores
        URIs; None is the default store, and so is an empty list.
    method, snapshot
        Only labels of this method, or those of this snapshot of the store.
    separate
        Whether each method has targets of its own.
    tick
        Called while a potential sees the structures; picklable.

    Raises
    ------
    InputError
        If a snapshot is combined with a method or several stores, which it fixes itself.
    """
    from stores.connections import resolve_store_uri

    uris = tuple(dict.fromkeys(resolve_store_uri(uri) for uri in stores or [None]))
    if method is not None and snapshot is not None:
        raise InputError(
            "--method and --snapshot exclude each other: a snapshot has its methods; leave one out"
        )
    if snapshot is not None and (len(uris) > 1 or separate):
        raise InputError("--snapshot goes with one --store and without --separate: it fixes what is in it")
    return partial(_load, uris, method, snapshot, separate, tick)


@cache
def _load(
    uris: tuple[str, ...],
    method: str | None,
    snapshot: str | None,
    separate: bool,
    tick: Tick | None,
    settings: GraphSettings,
    targets: tuple[str, ...],
) -> Dataset:
    from model.data.dataset import Dataset
    from model.graphs.cache import GraphCache
    from stores.exclusions import excluded_line

    # graphs alone take seconds; a potential is called for minutes
    show = partial(tick, settings.potential) if tick is not None and settings.potential else None
    if snapshot is not None:
        found = Dataset.from_snapshot(
            uris[0], snapshot, targets or None, settings=settings, cache=GraphCache(), tick=show
        )
    else:
        methods = None if method is None else [method]
        found = Dataset.from_store(
            uris,
            targets or None,
            settings=settings,
            methods=methods,
            separate=separate,
            cache=GraphCache(),
            tick=show,
        )
    if found.skipped:
        LOG.warning("%d labelled slabs are left out; the first: %s", len(found.skipped), found.skipped[0])
    if found.left_out:
        LOG.warning("%s", found.left_out)
    if line := excluded_line(found.excluded):
        LOG.warning("%s", line)
    return found
