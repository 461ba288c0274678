"""The structures of a results store as the reference server's package sees a collection of entries.

Bulks and slabs are one listing, in the order of their ids or of the properties to sort by. A page begins
after the place where the one before ended (``page_above``), so that the hundredth page costs what the first
does, and records that are written meanwhile shift nothing.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cmp_to_key, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from optimade.exceptions import BadRequest, OptimadeHTTPException  # type: ignore[import-untyped]
from optimade.models import LinksResource, StructureResource  # type: ignore[import-untyped]
from optimade.server.entry_collections import EntryCollection  # type: ignore[import-untyped]
from optimade.server.mappers import LinksMapper, StructureMapper  # type: ignore[import-untyped]

from stores.backends.filters import checked, predicate
from stores.backends.values import MISSING, order_key, value_at
from workflows.web.optimade.entries import KINDS, SERVED, SORTABLE, attributes, site_attributes
from workflows.web.optimade.filters import Narrowed, PropertyTransformer, all_of, narrow

if TYPE_CHECKING:
    from optimade.server.config import ServerConfig  # type: ignore[import-untyped]

    from stores.surfaces import SurfaceStore
    from workflows.web.optimade.entries import Kind

MOST_SKIPPED = 10_000
"""Largest ``page_offset``; links to the next page have none."""
MOST_TESTED = 2000
"""Records that a page with at least one match looks through, where indexes do not answer the filter."""
_PATIENCE = 2.0  # s; how long a search through many records waits for another one, holding a thread

Order = list[tuple[str, int]]
Key = list[Any]


class BusyError(OptimadeHTTPException):  # type: ignore[misc]
    """Too many searches at the same time."""

    status_code = 503
    title = "Service Unavailable"


@dataclass(frozen=True)
class _Search:
    """What a request asks for."""

    filter: dict[str, Any]
    order: Order
    after: Key | None
    skip: int
    limit: int
    whole: bool
    """Whether cells and sites are returned."""
    used: set[str]
    """Properties in the filter."""
    params: Any


class StructureCollection(EntryCollection):  # type: ignore[misc]
    """Bulks and slabs of a store.

    Parameters
    ----------
    store
        Returns the store, each time it is needed.
    config
        Settings of the reference server's package.
    """

    def __init__(self, store: Callable[[], SurfaceStore], config: ServerConfig) -> None:
        mapper = StructureMapper(config)
        super().__init__(StructureResource, mapper, PropertyTransformer(mapper=mapper), config)
        self._open = store
        self._turn = threading.Lock()

    def __len__(self) -> int:
        """Return the number of structures."""
        return sum(self._open().count(collection=kind.collection) for kind in KINDS)

    def get_attribute_fields(self) -> set[str]:
        """Return the standard properties that are sent where a request names none."""
        found: set[str] = super().get_attribute_fields()
        return found & SERVED

    def insert(self, data: list[Any]) -> None:
        """Refuse to write."""
        raise NotImplementedError("The store is only read.")

    def count(self, **kwargs: Any) -> int | None:
        """Return the number of structures, whatever the filter."""
        return len(self)

    def handle_query_params(self, params: Any) -> dict[str, Any]:
        """Turn the parameters of a request into what `_run_db_query` needs, and the fields to return."""
        criteria = super().handle_query_params(params)
        order = [(field, direction) for field, direction in criteria.get("sort", [])]
        for field, _ in order:
            if field not in SORTABLE:
                raise BadRequest(f"Structures are not sorted by {field}; use {', '.join(SORTABLE)}.")
        skip = criteria.get("skip", 0)
        if skip > MOST_SKIPPED:
            raise BadRequest(
                f"page_offset is {skip}, at most {MOST_SKIPPED} is supported; follow links.next from page to "
                "page, or narrow the filter."
            )
        filter_ = checked(criteria["filter"])
        fields: set[str] = criteria["fields"]
        heavy = set().union(*(kind.heavy for kind in KINDS))
        search = _Search(
            filter=filter_,
            order=order,
            after=_read_place(getattr(params, "page_above", None), order),
            skip=max(skip, 0),
            limit=criteria["limit"],
            whole=bool(heavy & fields),
            used={name.partition(".")[0] for name in _names(filter_)},
            params=params,
        )
        return {"search": search, "fields": fields}

    def get_next_query_params(self, params: Any, results: Any) -> dict[str, list[str]]:
        """Return the parameters of the next page; an empty list removes one."""
        return {"page_above": [params.following], "page_offset": [], "page_number": []}

    def _run_db_query(
        self, criteria: dict[str, Any], single_entry: bool = False
    ) -> tuple[list[dict[str, Any]], int | None, bool]:
        search: _Search = criteria["search"]
        store = self._open()
        narrowed = {
            kind.name: narrow(search.filter, kind, _Distinct(store, kind.collection)) for kind in KINDS
        }
        if all(part.exact for part in narrowed.values()):
            counts = [_count(store, kind, narrowed[kind.name]) for kind in KINDS]
            found, more, _ = _page(store, search, narrowed)
            return found, sum(counts), more
        with self._one_at_a_time():
            found, more, number = _page(store, search, narrowed)
            if number is None and sum(_count(store, k, narrowed[k.name]) for k in KINDS) <= MOST_TESTED:
                number = sum(1 for _ in _matches(store, search, narrowed))
            return found, number, more

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=_PATIENCE):
            raise BusyError("The server searches for others; try again later, or filter by elements.")
        try:
            yield
        finally:
            self._turn.release()


class _Distinct:
    """The different values of a field, looked up once in a request."""

    def __init__(self, store: SurfaceStore, collection: str) -> None:
        self._store, self._collection = store, collection
        self._known: dict[str, list[Any]] = {}

    def __call__(self, field: str) -> list[Any]:
        if field not in self._known:
            self._known[field] = self._store.distinct(field, collection=self._collection)
        return self._known[field]


def _names(filter_: Any) -> Iterator[str]:
    """Yield the names of the properties in a filter."""
    if isinstance(filter_, list):
        for part in filter_:
            yield from _names(part)
    else:
        for name, value in filter_.items():
            if name in ("$and", "$or"):
                yield from _names(value)
            else:
                yield name


def _criteria(narrowed: Narrowed) -> dict[str, Any]:
    return narrowed.criteria if isinstance(narrowed.criteria, dict) else {}


def _count(store: SurfaceStore, kind: Kind, narrowed: Narrowed) -> int:
    return 0 if narrowed.criteria is False else store.count(_criteria(narrowed), kind.collection)


def _key(kind: Kind, document: dict[str, Any], order: Order) -> Key:
    """Return what a record is sorted by: the values of the order, and its id."""
    fields = [kind.columns.get(name) for name, _ in order]
    values = [value_at(document, tuple(field.split("."))) if field else None for field in fields]
    return [*(None if value is MISSING else value for value in values), document["id"]]


def _compare(order: Order, one: tuple[Key, Any], other: tuple[Key, Any]) -> int:
    directions = [*(direction for _, direction in order), 1]
    for direction, left, right in zip(directions, one[0], other[0], strict=True):
        a, b = order_key(left), order_key(right)
        if a != b:
            return direction if a > b else -direction
    return 0


def _after(kind: Kind, order: Order, place: Key) -> dict[str, Any] | bool:
    """Return the filter of the records that come after a place; True: all, False: none."""
    alternatives: list[dict[str, Any]] = []
    equal: list[dict[str, Any]] = []
    for (name, direction), value in zip([*order, ("id", 1)], place, strict=True):
        field = kind.columns.get(name)
        if field is None:  # null in every record of the kind
            if value is None:
                continue
            if direction < 0:
                alternatives.append({"$and": equal} if equal else {})
            break  # none equals the value
        beyond: list[dict[str, Any]] = []
        if value is None:
            beyond = [{field: {"$ne": None}}] if direction > 0 else []
        else:
            beyond = [{field: {"$gt" if direction > 0 else "$lt": value}}]
            beyond += [{field: {"$eq": None}}] if direction < 0 else []
        alternatives += [{"$and": [*equal, part]} if equal else part for part in beyond]
        equal.append({field: {"$eq": value}})
    if {} in alternatives:
        return True
    if len(alternatives) > 1:
        return {"$or": alternatives}
    return alternatives[0] if alternatives else False


def _records(
    store: SurfaceStore,
    search: _Search,
    narrowed: dict[str, Narrowed],
    whole: bool,
    place: Key | None,
    most: int,
) -> Iterator[tuple[Key, tuple[Kind, dict[str, Any]]]]:
    """Yield the records that indexes find, in order, with what they are sorted by."""
    streams = []
    for kind in KINDS:
        part = narrowed[kind.name]
        if place is not None:
            part = all_of([part, Narrowed(_after(kind, search.order, place), exact=True)])
        if part.criteria is False:
            continue
        sort = {kind.columns[name]: direction for name, direction in search.order if name in kind.columns}
        query = partial(
            store.query,
            _criteria(part),
            None if whole else dict.fromkeys(store.collection(kind.collection).heavy, 0),
            {**sort, "id": 1} if "id" not in sort else sort,
            collection=kind.collection,
        )
        streams.append(_stream(query, partial(_count, store, kind, part), kind, search.order, most))
    yield from heapq.merge(*streams, key=cmp_to_key(partial(_compare, search.order)))


def _stream(
    query: Callable[..., Iterator[dict[str, Any]]],
    count: Callable[[], int],
    kind: Kind,
    order: Order,
    most: int,
) -> Iterator[tuple[Key, tuple[Kind, dict[str, Any]]]]:
    found = query(limit=most)
    if most:
        read = list(found)
        # fewer than there are: damaged ones were left out of this number
        found = query() if len(read) < most < count() else iter(read)
    for document in found:
        yield _key(kind, document, order), (kind, document)


def _matches(
    store: SurfaceStore,
    search: _Search,
    narrowed: dict[str, Narrowed],
    place: Key | None = None,
    most: int = 0,
) -> Iterator[tuple[int, Key, Kind, dict[str, Any]]]:
    """Yield the matching records after a place, in order, each with the number of records looked at."""
    test = predicate(search.filter) if search.filter else None
    heavy = any(search.used & kind.heavy for kind in KINDS)
    records = _records(store, search, narrowed, heavy, place, most)
    for number, (key, (kind, document)) in enumerate(records, start=1):
        if test is not None and not narrowed[kind.name].exact:
            entry = attributes(kind, document, search.used)
            if heavy:
                entry |= site_attributes(kind, document)
            if not test(entry):
                continue
        yield number, key, kind, document


def _page(
    store: SurfaceStore, search: _Search, narrowed: dict[str, Narrowed]
) -> tuple[list[dict[str, Any]], bool, int | None]:
    """Return the entries of a page, whether there are more, and how many match in all where that is known."""
    exact = all(part.exact for part in narrowed.values())
    most = search.skip + search.limit + 1 if exact else 0
    chosen: list[tuple[Key, Kind, dict[str, Any]]] = []
    skipped, more = 0, False
    for number, key, kind, document in _matches(store, search, narrowed, search.after, most):
        if skipped < search.skip:
            skipped += 1
            continue
        if len(chosen) == search.limit or (chosen and not exact and number > MOST_TESTED):
            more = True
            break
        chosen.append((key, kind, document))
    if more:
        search.params.following = _write_place(chosen[-1][0], search.order)
    complete = not more and search.after is None
    return _entries(store, search, chosen), more, skipped + len(chosen) if complete else None


def _entries(
    store: SurfaceStore, search: _Search, chosen: list[tuple[Key, Kind, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return entries of records; cells and sites are read for these alone."""
    whole: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in KINDS if search.whole else ():
        ids = [key[-1] for key, its, _ in chosen if its is kind]
        stored = store.collection(kind.collection).by_id(ids)
        whole |= {(kind.name, document["id"]): document for document in stored}
    entries = []
    for key, kind, document in chosen:
        if not search.whole:
            entries.append(attributes(kind, document))
        else:
            found = whole.get((kind.name, key[-1]))  # none: its structure is damaged, or it was just removed
            sites = site_attributes(kind, found) if found else dict.fromkeys(kind.heavy)
            entries.append(attributes(kind, found or document) | sites)
    return entries


def _write_place(key: Key, order: Order) -> str:
    """Write where a page ended: the id, or with an order its values and the id."""
    return orjson.dumps(key).decode() if order else str(key[-1])


def _read_place(text: str | None, order: Order) -> Key | None:
    if text is None:
        return None
    if not order:
        return [text]
    try:
        key = orjson.loads(text)
    except orjson.JSONDecodeError:
        key = None
    plain = isinstance(key, list) and all(v is None or type(v) in (str, int, float) for v in key)
    if not plain or len(key) != len(order) + 1 or not isinstance(key[-1], str):
        raise BadRequest(f"page_above is {text[:60]!r}; take it from links.next of the page before.")
    return list(key)


class LinksCollection(EntryCollection):  # type: ignore[misc]
    """The few links of this server, held in memory.

    Parameters
    ----------
    config
        Settings of the reference server's package.
    links
        Entries with all their attributes beside ``id``.
    """

    def __init__(self, config: ServerConfig, links: list[dict[str, Any]]) -> None:
        mapper = LinksMapper(config)
        super().__init__(LinksResource, mapper, PropertyTransformer(mapper=mapper), config)
        self._links = links

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self._links)

    def insert(self, data: list[Any]) -> None:
        """Refuse to write."""
        raise NotImplementedError("Links are fixed.")

    def count(self, **kwargs: Any) -> int | None:
        """Return the number of links, whatever the filter."""
        return len(self)

    def _run_db_query(
        self, criteria: dict[str, Any], single_entry: bool = False
    ) -> tuple[list[dict[str, Any]], int | None, bool]:
        filter_ = checked(criteria["filter"])
        found = [link for link in self._links if not filter_ or predicate(filter_)(link)]
        skip, limit = criteria.get("skip", 0), criteria["limit"]
        page = [dict(link) for link in islice(found, skip, skip + limit)]
        return page, len(found), skip + len(page) < len(found)
