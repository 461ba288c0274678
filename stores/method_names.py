"""Which fingerprints of a store are one method, and the name under which records of several compounds meet.

A fingerprint covers the setups of a record's own elements. Those of two compounds may thus differ although
nothing does but the setups of elements that only one of them holds: then they are one method. Where an
element was computed with two setups, records with that element are of two methods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from stores.verdicts import STATUSES, TARGETS

if TYPE_CHECKING:
    from stores.records import Method
    from stores.surfaces import SurfaceStore

MeetingName = Callable[[str, Iterable[str]], str]
"""From a record's fingerprint and its elements to the name of its method."""


_REHEARSALS = {"$gte": "mlip-", "$lt": "mlip."}  # fingerprints that begin with mlip-, as an index finds them


def quantity_of(target: str) -> str:
    """Return what a target measures: its name without the method or data set behind an @."""
    return target.partition("@")[0]


def is_dft(fingerprint: str) -> bool:
    """Whether a method is DFT: the engine mlip, which rehearses campaigns with a potential, is not."""
    return not fingerprint.startswith("mlip-")


def rehearsal_filter(store: SurfaceStore, collection: str, *, rehearsed: bool) -> dict[str, Any]:
    """Return the filter of the records of rehearsals, or of all others: empty where nothing was rehearsed."""
    if rehearsed:
        return {"method_fingerprint": _REHEARSALS}
    found = store.query({"method_fingerprint": _REHEARSALS}, ["id"], limit=1, collection=collection)
    return {} if next(iter(found), None) is None else {"method_fingerprint": {"$not": _REHEARSALS}}


def count_records(store: SurfaceStore, collection: str, criteria: dict[str, Any], *, rehearsed: bool) -> int:
    """Count the records of rehearsals that match a filter, or all others that do."""
    # the others by subtraction: an index counts all, but not those outside of a range
    found = store.count({**criteria, "method_fingerprint": _REHEARSALS}, collection)
    return found if rehearsed else store.count(criteria, collection) - found


def count_verdicts(
    store: SurfaceStore, criteria: dict[str, Any], *, rehearsed: bool
) -> dict[str, dict[str, int]]:
    """Count the surfaces that match a filter by target and status; zeros are left out.

    rehearsed: those of rehearsals with a potential, else all others.
    """
    found: dict[str, dict[str, int]] = {target: {} for target in TARGETS}
    for target, counts in found.items():
        for status in STATUSES:
            wanted = {**criteria, f"verdicts.{target}.status": status}
            if number := count_records(store, "surfaces", wanted, rehearsed=rehearsed):
                counts[status] = number
    return found


def stored_methods(store: SurfaceStore, collection: str) -> dict[str, Method]:
    """Return the methods of a collection by fingerprint: of records of any version, but of no imported ones.

    A record whose fingerprint is not that of its method, or whose method cannot be read, is left out.
    """
    from pydantic import ValidationError

    from stores.records import Method

    found: dict[str, Method] = {}
    for fingerprint in store.distinct("method_fingerprint", collection=collection):
        one = {"method_fingerprint": fingerprint}
        for document in store.query(one, ["method"], collection=collection):
            with suppress(ValidationError):  # ends at the first that can be read
                method = Method.model_validate(document["method"])
                if fingerprint in (method.fingerprint, method.whole_fingerprint):
                    found[fingerprint] = method
                break
    return found


def names_of_family(store: SurfaceStore, method: Method, collection: str) -> set[str]:
    """Return the fingerprints of all that differs from a method in nothing but its tables by element."""
    known = stored_methods(store, collection).items()
    there = {fingerprint for fingerprint, other in known if other.family == method.family}
    return there | {method.family, method.fingerprint, method.whole_fingerprint}


def meeting_names(store: SurfaceStore, *collections: str) -> MeetingName:
    """Return the function that names the method under which a record meets others of the collections.

    The name is the record's own fingerprint where it is the only one of its family; else the family's, unless
    an element of the record was computed with several setups: then those of such elements are part of it.
    """
    methods: dict[str, Method] = {}
    holders: dict[str, set[str]] = defaultdict(set)
    there = {name for one in collections for name in store.distinct("method_fingerprint", collection=one)}
    if len(there) > 1:  # else pydantic need not be imported
        for collection in collections:
            methods |= stored_methods(store, collection)
    families: dict[str, list[str]] = defaultdict(list)
    for fingerprint, method in methods.items():
        families[method.family].append(fingerprint)
    shared = {one: family for family, members in families.items() if len(members) > 1 for one in members}
    for fingerprint in shared:
        for collection in collections:
            systems = store.distinct("chemsys", {"method_fingerprint": fingerprint}, collection=collection)
            holders[fingerprint].update(element for system in systems for element in system.split("-"))

    ways: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fingerprint, family in shared.items():
        for element in holders[fingerprint]:
            ways[family, element].add(methods[fingerprint].for_elements((element,)).fingerprint)

    @cache
    def name(fingerprint: str, elements: frozenset[str]) -> str:
        family = shared.get(fingerprint)
        if family is None:
            return fingerprint
        disputed = {element for element in elements if len(ways[family, element]) > 1}
        return methods[fingerprint].for_elements(disputed).fingerprint if disputed else family

    return lambda fingerprint, elements: name(fingerprint, frozenset(elements))
