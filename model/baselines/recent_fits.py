"""The last fits of a process, and those being computed in another thread.

Trainings may differ in what trees and Gaussian process do not see: those of a study of transfer do, whose
networks start from other weights. And trees and process are fitted ahead while networks train, see
`model.baselines.kinds.fitting_ahead`.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_BYTES = 128 << 20
"""Memory of the fits that are remembered: those of a few thousand slabs for each source of a study."""

_RECENT: OrderedDict[str, Future[Any]] = OrderedDict()
_LOCK = Lock()


def recall(fit: Callable[..., T], *inputs: Any) -> T:
    """Return `fit(*inputs)`, which must be repeatable and not be changed later; computed once.

    Arrays among the inputs count by their content, other inputs by their text. What another thread is
    computing is waited for.
    """
    digest = sha256(f"{fit.__module__}.{fit.__qualname__}".encode())
    for value in inputs:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(f"{value!r};".encode())
    key = digest.hexdigest()
    with _LOCK:
        known = _RECENT.get(key)
        future: Future[T] = known or Future()
        _RECENT[key] = future
        _RECENT.move_to_end(key)
    if known is None:  # outside of the lock: threads fit side by side
        try:
            future.set_result(fit(*inputs))
        except BaseException as error:
            with _LOCK:
                _RECENT.pop(key, None)
            future.set_exception(error)
            raise
    found = future.result()
    with _LOCK:
        sizes = {name: _bytes(one.result()) for name, one in _RECENT.items() if one.done()}
        for name in list(sizes):
            if sum(sizes.values()) > MOST_BYTES:
                del _RECENT[name], sizes[name]
    return found


def _bytes(value: Any) -> int:
    """Memory of the arrays in a value, its fields and its items."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple | list):
        return sum(map(_bytes, value))
    return sum(map(_bytes, list(vars(value).values()))) if hasattr(value, "__dict__") else 0
