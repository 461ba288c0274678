"""Threads of a training: the same bits for any number of them, and for every repetition.

With several threads torch and BLAS add numbers in an order that depends on how many there are, torch even on
chance. Both work with one here; the sums over edges (`model.network.numba_kernels`), most of the work, are
divided so that any number of threads gives the same bits, and keep as many as there were.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_EDGE_THREADS: list[int] = []
"""Threads there were outside of `repeatable`, which may be nested."""


def edge_threads() -> int:
    """Return in how many threads sums over edges are done."""
    return _EDGE_THREADS[0] if _EDGE_THREADS else torch.get_num_threads()


@contextmanager
def repeatable() -> Iterator[None]:
    """Keep torch and BLAS to one thread each."""
    before = torch.get_num_threads()
    with ExitStack() as stack:
        with suppress(ImportError):  # of scikit-learn, without which no Gaussian process is fitted
            stack.enter_context(import_module("threadpoolctl").threadpool_limits(1, "blas"))
        _EDGE_THREADS.append(before)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            _EDGE_THREADS.pop()
