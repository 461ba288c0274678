"""Slabs in chunks, from arrays to graphs to numbers, on several cores.

Many slabs get their graphs from compiled code (`model.graphs.compiled_graphs`), which like networks and trees
holds no lock of the interpreter: threads take a chunk each from its slabs to its numbers. Without Numba, for
bulk crystals, with a potential and where graphs are kept in a cache, processes build the graphs.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from model.graphs.bulk_graph import PlainBulk
from model.graphs.cache import build_graphs
from model.graphs.compiled_graphs import can_compile
from stores.cgcnn_elements import MAX_NUMBER
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from model.graphs.cache import GraphCache
    from model.graphs.graph import GraphSettings, SlabGraph
    from model.graphs.slab_frame import PlainSlab

Item = TypeVar("Item")
Answer = TypeVar("Answer")
T = TypeVar("T")

MANY = 600
"""Starting processes, or reading compiled code, takes a second or two; fewer slabs are done before that."""

_CHUNK = 64  # slabs that are built, predicted and reported at once


def in_chunks(
    items: Iterable[Item],
    slab_of: Callable[[Item], PlainSlab],
    finish: Callable[[Sequence[Item], Sequence[SlabGraph | str]], Answer],
    settings: GraphSettings,
    workers: int,
    cache: GraphCache | None,
) -> Iterator[Answer]:
    """Yield what becomes of each chunk of items, in their order.

    Parameters
    ----------
    items
        Read as they are needed, so that they are not all held at once.
    slab_of
        Returns the slab or crystal of an item.
    finish
        Called with a chunk and its graphs, or the reasons why there are none; with compiled graphs in several
        threads at once.
    settings, cache
        Of the graphs, see `model.graphs.cache.build_graphs`.
    workers
        Threads or processes, from `MANY` items on.
    """
    given = iter(items)
    first = list(islice(given, MANY))
    many = len(first) == MANY
    compiled = many and cache is None and not settings.potential and can_compile(settings)
    compiled = compiled and not any(isinstance(slab_of(item), PlainBulk) for item in first)
    chunks = _chunks(chain(first, given))

    def whole(chunk: Sequence[Item]) -> Answer:
        return finish(chunk, graphs_of([slab_of(item) for item in chunk], settings, cache, bare=compiled))

    if workers == 1 or not many:
        yield from map(whole, chunks)
    elif compiled:
        with _one_thread(), ThreadPoolExecutor(workers, thread_name_prefix="slabs") as threads:
            yield from _ahead((threads.submit(whole, chunk) for chunk in chunks), 2 * workers)
    else:
        context = multiprocessing.get_context("spawn")
        with _one_thread(), ProcessPoolExecutor(workers, mp_context=context) as pool:
            waiting: deque[list[Item]] = deque()

            def submitted() -> Iterator[Future[list[SlabGraph | str]]]:
                for chunk in chunks:
                    waiting.append(chunk)
                    yield pool.submit(graphs_of, [slab_of(item) for item in chunk], settings, cache)

            for graphs in _ahead(submitted(), 2 * workers):
                yield finish(waiting.popleft(), graphs)


def graphs_of(
    slabs: Sequence[PlainSlab], settings: GraphSettings, cache: GraphCache | None, *, bare: bool = False
) -> list[SlabGraph | str]:
    """Return the graph of each slab, or in words why there is none; `bare` as in `build_graphs`."""
    strange = [int(slab.numbers.max(initial=0)) > MAX_NUMBER for slab in slabs]
    known = [slab for slab, refused in zip(slabs, strange, strict=True) if not refused]
    built = iter(build_graphs(known, settings, cache=cache, bare=bare))
    return [
        f"The slab holds element {slab.numbers.max()}; elements up to {MAX_NUMBER} are known."
        if refused
        else str(graph)
        if isinstance(graph := next(built), InputError)
        else graph
        for slab, refused in zip(slabs, strange, strict=True)
    ]


def _ahead(futures: Iterator[Future[T]], most: int) -> Iterator[T]:
    """Yield results in order, a few ahead: what is done waits for its reader, not all of it in memory."""
    waiting: deque[Future[T]] = deque()
    try:
        for future in futures:
            waiting.append(future)
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # after an interruption
            future.cancel()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the network to one thread while others work: waiting threads would take their cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, _CHUNK)):
        yield chunk
